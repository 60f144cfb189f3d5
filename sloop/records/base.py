"""What every record is: an immutable value with one canonical form; and the mistakes that a reader is told of."""

from __future__ import annotations

import hashlib
import json
import math
from typing import Any

from pydantic import BaseModel, ConfigDict


class UserError(Exception):
    """A mistake of the reader's: shown as one message without a traceback, exit status 2.

    The text names the thing, the value, what is allowed and the next command.
    """


class OutOfBudget(UserError):
    """What may be spent is spent: what is on its way is let finish and kept, then the run ends."""


def canonical_json(value: Any) -> str:
    """One spelling per JSON value: sorted keys, no spaces, UTF-8; 1 and 1.0 stay different."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


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


_DECODER = json.JSONDecoder(parse_float=finite, parse_constant=no_constant)


def from_json(text: str) -> Any:
    """Read a JSON value.

    Raises:
        ValueError: it is none, or holds a number that JSON has no spelling for.
    """
    return _DECODER.decode(text)


def digest(value: Any) -> str:
    """SHA-256 (64 hex digits) of a JSON value's canonical form."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


class Record(BaseModel):
    """An immutable value; unknown fields are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")
