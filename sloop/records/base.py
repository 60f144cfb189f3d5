"""What every record is: an immutable value with one canonical form; and the mistakes that a reader is told of."""

from __future__ import annotations

import hashlib
import json
import math
import re
from itertools import accumulate
from typing import Any

from pydantic import BaseModel, ConfigDict


class UserError(Exception):
    """A mistake of the reader's: shown as one message without a traceback, exit status 2.

    The text names the thing, the value, what is allowed and the next command.
    """


class OutOfBudget(UserError):
    """What may be spent is spent: what is on its way is let finish and kept, then the run ends."""


canonical_json = json.JSONEncoder(sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode
"""One spelling per JSON value: sorted keys, no spaces, UTF-8; 1 and 1.0 stay different."""
to_json = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode
"""A JSON value on one line, as files of records have it: keys in their order, UTF-8."""


def finite(text: str) -> float:
    """A JSON number, of which 1e999 would be read as infinity.

    Raises:
        ValueError: it is too large for a float.
    """
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is not a finite number")
    return number


def no_constant(text: str) -> float:
    """Refuse NaN and Infinity, which Python reads and JSON lacks.

    Raises:
        ValueError: always.
    """
    raise ValueError(f"{text} is not JSON")


MAX_DEPTH = 64
"""Lists and objects within each other, in text that others wrote: checking a schema takes Python's stack about twelve
frames a level, of its thousand."""
WRAP = 16
"""Levels, at most, of a record around the text of others that it holds."""
MAX_DIGITS = 308
"""Of a whole number: as for one with a point, what no float can hold is refused."""

_STEP = {"[": 1, "{": 1, "]": -1, "}": -1}
_NO_BRACKET = re.compile(r'(?:"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)|[^][{}"]++)++', re.S)
_ESCAPED_HALF = re.compile(r"\\u[dD][89a-fA-F]")


def whole_number(text: str) -> int:
    """A whole number of JSON, which Python refuses from 4300 digits on, and a float from `MAX_DIGITS`.

    Raises:
        ValueError: it is too large.
    """
    if len(text) > MAX_DIGITS:
        raise ValueError(f"{text[:20]}... has {len(text)} digits; allowed: up to {MAX_DIGITS}")
    return int(text)


_DECODER = json.JSONDecoder(parse_float=finite, parse_int=whole_number, parse_constant=no_constant)
_SHORT = json.JSONDecoder(parse_float=finite, parse_constant=no_constant)
"""For what is too short to hold a number of more than `MAX_DIGITS`."""


def from_json(text: str, wraps: int = 0) -> Any:
    """Read a JSON value: the one place that says how deep one may be, and what it may hold.

    Args:
        text: the value.
        wraps: how often sloop has put what others wrote into something of its own: 0 for their own text, 1 for a
            record that holds it, 2 for a file of such records. Each allows `WRAP` levels more than `MAX_DEPTH`.

    Raises:
        ValueError: it is none, is nested deeper than that, or holds what no JSON of ours can say again: a number beyond
            a float, or half of a surrogate pair.
    """
    most = MAX_DEPTH + wraps * WRAP
    if text.count("[") + text.count("{") > most:
        brackets = _NO_BRACKET.sub("", text)
        if max(accumulate(map(_STEP.__getitem__, brackets)), default=0) > most:
            raise ValueError(f"lists and objects are nested more than {most} deep")
    value = (_SHORT if len(text) <= MAX_DIGITS else _DECODER).decode(text)
    try:
        if not text.isascii():
            text.encode()
        if "\\u" in text and _ESCAPED_HALF.search(text):
            json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        half = f"\\u{ord(error.object[error.start]):04x}"
        raise ValueError(f"{half} is half of a surrogate pair and stands for no character") from error
    return value


def digest(value: Any) -> str:
    """SHA-256 (64 hex digits) of a JSON value's canonical form."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


class Record(BaseModel):
    """An immutable value; unknown fields are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")
