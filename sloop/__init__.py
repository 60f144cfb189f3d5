"""sloop: the closed data loop for LLM tool calling, measured and citable."""

__version__ = "0.1.0"
