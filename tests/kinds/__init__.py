"""Inputs that real servers, models and files give, a row a kind: what it looks like, its source, what must come of it.

A table is a module here with ``TITLE``, ``ABOUT`` and ``KINDS``; a test beside the others runs every row of it, and
``scripts/compatibility.py`` makes ``docs/compatibility.md`` of all. A new report is a new row.
"""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import dataclass
from types import ModuleType
from typing import Any


@dataclass(frozen=True)
class Kind:
    """One kind of input."""

    name: str
    """Unique in its table; names the test."""
    source: str
    """Where it was reported or is documented: ``owner/repository#number``, an address, or a format's own page."""
    looks: str
    """What it looks like, in a phrase or a short quotation; for the page."""
    read_as: str
    """What sloop makes of it, in a phrase; for the page."""
    given: Any
    """The input."""
    comes: Any
    """What must come of it, as the table's test compares it."""

    def __str__(self) -> str:
        return self.name


def tables() -> list[ModuleType]:
    """Every table, by name."""
    return [importlib.import_module(f"{__name__}.{found.name}") for found in pkgutil.iter_modules(__path__)]
