"""Texts that a regular expression matches, written from what `re` reads in it.

Anchors and looks ahead or behind write nothing, so a text is a proposal: whether it matches is for who asked.
"""

from __future__ import annotations

import string
from collections.abc import Iterable
from random import Random
from typing import Any

from sloop.calls.schema.patterns import compiled

_USUAL = string.ascii_letters + string.digits
_OTHERS = string.punctuation + " "
_KINDS = {
    "CATEGORY_DIGIT": str.isdigit,
    "CATEGORY_SPACE": str.isspace,
    "CATEGORY_WORD": lambda mark: mark.isalnum() or mark == "_",
}
_REPEATS = ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT")


def proposed(pattern: str, rng: Random, more: int) -> str:
    """A text for a pattern; what may be repeated without end is at most ``more`` times more than it must.

    Raises:
        Undecided: it is no regular expression, or too large.
    """
    return _written(compiled(pattern).parsed, rng, more, {})


def _written(parts: Iterable[Any], rng: Random, more: int, groups: dict[int, str]) -> str:
    return "".join(_part(str(kind), given, rng, more, groups) for kind, given in parts)


def _part(kind: str, given: Any, rng: Random, more: int, groups: dict[int, str]) -> str:
    if kind == "LITERAL":
        return chr(given)
    if kind in ("IN", "NOT_LITERAL", "ANY"):
        members = given if kind == "IN" else [("NEGATE", None), *([("LITERAL", given)] if kind != "ANY" else [])]
        return rng.choice(_marks(members))
    if kind in _REPEATS:
        least, most, inner = given
        return "".join(
            _written(inner, rng, more, groups) for _ in range(rng.randint(least, max(least, min(most, least + more))))
        )
    if kind == "SUBPATTERN":
        text = groups[given[0]] = _written(given[-1], rng, more, groups)
        return text
    if kind == "BRANCH":
        return _written(rng.choice(given[1]), rng, more, groups)
    if kind == "ATOMIC_GROUP":
        return _written(given, rng, more, groups)
    return groups.get(given, "") if kind == "GROUPREF" else ""


def _marks(members: list[Any]) -> str:
    """The marks that a set allows: letters and digits where it allows any."""
    named = "".join(chr(given if str(kind) == "LITERAL" else given[0]) for kind, given in members if _has_mark(kind))
    is_not = any(str(kind) == "NEGATE" for kind, _ in members)
    for marks in (_USUAL, _OTHERS + named):
        if fitting := "".join(mark for mark in marks if any(_is_in(mark, *each) for each in members) != is_not):
            return fitting
    return " "


def _has_mark(kind: Any) -> bool:
    return str(kind) in ("LITERAL", "RANGE")


def _is_in(mark: str, kind: Any, given: Any) -> bool:
    if str(kind) == "RANGE":
        return bool(given[0] <= ord(mark) <= given[1])
    if str(kind) == "CATEGORY":
        name = str(given)
        return _KINDS[name.replace("_NOT_", "_")](mark) != ("_NOT_" in name)
    return str(kind) == "LITERAL" and given == ord(mark)
