"""The version, open to all rooms."""

__version__ = "0.1.0"
