"""What the comparators of published benchmarks share: the verdict, and how both of them standardise a string."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

RAISED = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""What the official checkers raise on schemas and answers that they do not foresee."""
_IGNORED = str.maketrans("", "", " ,./-_*^")


@dataclass(frozen=True, slots=True)
class OfficialMatch:
    """The official verdict on one output."""

    valid: bool
    error_type: str | None
    """The first error found, in the official words, or ``exception:<Type>``; None: there is none."""


VALID = OfficialMatch(valid=True, error_type=None)


def standardise(value: Any) -> Any:
    """A string without spaces and ``,./-_*^``, in lower case, with one kind of quote; any other value as it is."""
    return value.translate(_IGNORED).lower().replace("'", '"') if type(value) is str else value
