r"""Regular expressions of strangers' schemas, matched in bounded time and space.

They are Python's: `re` decides what is one, and what it means. JSON Schema asks for ECMA's, which agree on all but rare
constructs; what ECMA alone writes (``\p{L}``, ``(?<name>...)``, ``\u{1F600}``) is read, too. They are searched for,
not anchored, as JSON Schema says. Where pattern and length of text leave few ways to try, `re` matches. Where there may
be many, or a property of Unicode is asked for, the ``regex`` package does, which can be stopped; to it a combining mark
is part of a word, and the control characters 28 to 31 are no white space.
"""

from __future__ import annotations

import functools
import math
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

import regex

LONGEST = 2000
"""Characters of a pattern."""
LARGEST = 20_000
"""Of a pattern with its fixed repeats (``{12}``) written out, which is how it is compiled."""
SECONDS = 0.25
"""For one search, of processor time; what is decided at all is decided far sooner."""
MAX_WAYS = 100_000
"""In which `re` may try a pattern on a text."""
SECONDS_TOGETHER = 1.0
"""For all searches of one check; see `together`."""

_left: ContextVar[list[float] | None] = ContextVar("left", default=None)
_NO_QUANTIFIER = re.compile(r"(\\[pP]\{[^{}]*\}|\\.)|\{(?!\d*(?:,\d*)?\})", re.DOTALL)
_ECMA = re.compile(
    r"\\(?P<property>[pP]\{[^{}]*\})|\\u\{(?P<code>0*(?:10|[0-9a-fA-F])?[0-9a-fA-F]{1,4})\}|\\k<(?P<back>\w+)>|\\."
    r"|\(\?<(?P<group>\w+)>",
    re.DOTALL,
)
"""What `re` writes otherwise, or lacks."""


class Undecided(ValueError):
    """A pattern that cannot be used, or not on this text; says why."""


def found(pattern: str, text: str) -> bool:
    """Whether a pattern matches somewhere in a text.

    Raises:
        Undecided: it is no regular expression, is too large, or takes too long on this text.
    """
    matcher, parsed, plain = compiled(pattern)
    if plain and _ways(parsed, len(text)) * (len(text) + 1) <= MAX_WAYS:
        return plain.search(text) is not None
    left = _left.get()
    allowed = SECONDS if left is None else min(SECONDS, left[0])
    began = time.process_time()
    try:
        if allowed <= 0:
            raise TimeoutError
        return matcher.search(text, timeout=allowed) is not None
    except TimeoutError:
        raise Undecided(
            f"the pattern {_shown(pattern)} takes longer than {SECONDS:g} s on a text of {len(text)} characters, or "
            f"with those before it longer than {SECONDS_TOGETHER:g} s"
        ) from None
    finally:
        if left is not None:
            left[0] -= time.process_time() - began


def is_pattern(pattern: str) -> bool:
    """Whether it is a regular expression, and not too large."""
    try:
        compiled(pattern)
    except Undecided:
        return False
    return True


def fits(pattern: str, text: str) -> bool:
    """Whether a pattern is known to match somewhere in a text: as `found`, with no for what is not decided."""
    try:
        return found(pattern, text)
    except Undecided:
        return False


@contextmanager
def together() -> Iterator[None]:
    """All searches in this block share `SECONDS_TOGETHER`, so that many slow patterns are no way around the limit."""
    token = _left.set([SECONDS_TOGETHER])
    try:
        yield
    finally:
        _left.reset(token)


class Compiled(NamedTuple):
    """A pattern for either engine."""

    stoppable: regex.Pattern[str]
    parsed: Any
    """As `re` reads it."""
    plain: re.Pattern[str] | None
    """None: `re` lacks something of it."""


@functools.lru_cache(maxsize=1024)
def compiled(pattern: str) -> Compiled:
    """The pattern, compiled.

    Raises:
        Undecided: it is no regular expression, or too large.
    """
    if len(pattern) > LONGEST:
        raise Undecided(f"the pattern {_shown(pattern)} has {len(pattern)} characters, more than {LONGEST}")
    try:
        python, parsed, is_python = _read(pattern)
        if (size := _written_out(parsed)) > LARGEST:
            raise Undecided(f"the pattern {_shown(pattern)} repeats too much: written out it has {size} parts")
        # A brace that begins no quantifier is a brace to `re`, and may be a fuzzy match to `regex`.
        stoppable = regex.compile(_NO_QUANTIFIER.sub(lambda brace: brace[1] or r"\{", python), regex.V0)
        return Compiled(stoppable, parsed, re.compile(python) if is_python else None)
    except UNREADABLE as error:
        raise Undecided(f"the pattern {_shown(pattern)} is no regular expression: {error}") from None


UNREADABLE = (re.error, regex.error, RecursionError, OverflowError)
"""What is raised for a text that is no regular expression."""


def check_pattern(pattern: object) -> bool:
    """True; raises one of `UNREADABLE` for a text that is no regular expression, however large."""
    if isinstance(pattern, str):
        python, _, is_python = _read(pattern)
        if not is_python:
            regex.compile(python)
    return True


def _read(pattern: str) -> tuple[str, Any, bool]:
    """A pattern as Python writes it, the same as `re` reads it, and whether it does: a property of Unicode is no
    Python, and any part of a word in what was read.
    """
    # The only reader of patterns there is: `re` keeps it under a private name, and has no public one.
    parse = re._parser.parse  # type: ignore[attr-defined]
    try:
        return pattern, parse(pattern), True
    except re.error:
        python = _ECMA.sub(_in_python, pattern)
        plain = _ECMA.sub(lambda part: r"\w" if part["property"] else part[0], python)
        return python, parse(plain), plain == python


def _in_python(part: re.Match[str]) -> str:
    if part["code"]:
        return re.escape(chr(int(part["code"], 16)))
    return f"(?P={part['back']})" if part["back"] else f"(?P<{part['group']}>" if part["group"] else part[0]


def _repeat(part: Any) -> tuple[int, int, Any] | None:
    """Least and most times, and what is repeated, of a part of a parsed pattern that is a repeat."""
    is_one = isinstance(part, tuple) and len(part) == 3 and all(isinstance(number, int) for number in part[:2])
    return (int(part[0]), int(part[1]), part[2]) if is_one else None


def _parts(part: Any) -> Sequence[Any]:
    """What a part of a parsed pattern consists of."""
    return part if isinstance(part, tuple | list | re._parser.SubPattern) else ()  # type: ignore[attr-defined]


def _written_out(part: Any) -> int:
    """Parts of a parsed pattern, those that are repeated counted as often as they are at least."""
    repeat = _repeat(part)
    return max(1, repeat[0]) * _written_out(repeat[2]) if repeat else sum(map(_written_out, _parts(part))) or 1


def _ways(part: Any, length: int) -> float:
    """At most so many ways to match a part of a parsed pattern from one place of a text of this length."""
    if repeat := _repeat(part):
        least, most, inner = repeat
        ways = _ways(inner, length)
        if least == most:
            return ways**least if ways == 1 or least < 32 else math.inf
        return min(most, length) + 1 if ways == 1 else math.inf
    inner_ways = [_ways(inner, length) for inner in _parts(part)]
    # Alternatives stand in a list of parsed patterns; everything else follows one upon the other.
    is_branch = isinstance(part, list) and part and not isinstance(part[0], tuple)
    return sum(inner_ways) if is_branch else math.prod(inner_ways)


def _shown(pattern: str) -> str:
    return repr(pattern if len(pattern) <= 60 else f"{pattern[:60]}...")
