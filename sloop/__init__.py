"""sloop: the closed data loop for LLM tool calling, measured and citable."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sloop.version import __version__

if TYPE_CHECKING:
    from sloop.runs.find import rounds

__all__ = ["__version__", "rounds"]


def __getattr__(name: str) -> object:
    """`sloop.rounds` is loaded when asked for: ``import sloop`` stays light."""
    if name == "rounds":
        import importlib

        return importlib.import_module("sloop.runs.find").rounds
    raise AttributeError(f"module 'sloop' has no attribute {name!r}")
