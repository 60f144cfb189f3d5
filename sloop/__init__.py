"""sloop: the closed data loop for LLM tool calling, measured and citable."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sloop.history import runs

__version__ = "0.1.0"
__all__ = ["__version__", "runs"]


def __getattr__(name: str) -> object:
    """`sloop.runs` is loaded when asked for: ``import sloop`` stays light."""
    if name == "runs":
        import importlib

        return importlib.import_module("sloop.history").runs
    raise AttributeError(f"module 'sloop' has no attribute {name!r}")
