"""What a setting may be: the types that settings are declared by, and the one sentence that refuses another value.

Each type knows in words what it allows, so that a mistake reads ``key=value: give what is allowed``. Numbers have an
upper bound as well: one beyond which a run would hang or fill the memory before it could say so.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any

from pydantic import AfterValidator, GetCoreSchemaHandler, TypeAdapter, ValidationError
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from sloop.records.base import UserError

LONGEST_NAME = 100
"""Bytes of a name: run folders join two of them and more, and file systems end at 255."""
LONGEST_PATH = 4095
"""Bytes; the limit of Linux."""
LONGEST_SHOWN = 80
"""Characters of a value in a message."""


def refused(allowed: str) -> PydanticCustomError:
    """What a validator raises: ``allowed`` says, after a colon, what to give instead."""
    return PydanticCustomError("allowed", "{allowed}", {"allowed": allowed})


@dataclass(frozen=True)
class Within:
    """Annotation of a number: from ``low`` to ``high``, both included. true and false are no numbers, nor is NaN."""

    low: float
    high: float
    what: str = ""
    """Said before the bounds; where it is empty, the kind of number is."""
    above: bool = False
    """``low`` itself is not allowed."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """The number's own schema, and the bounds."""
        what = self.what or ("a whole number" if source is int else "a number")
        bounds = f"above {self.low:.15g} and up to" if self.above else f"from {self.low:.15g} to"
        refusal = refused(f"give {what} {bounds} {self.high:.15g}")

        def check(value: Any, read: core_schema.ValidatorFunctionWrapHandler) -> Any:
            if isinstance(value, bool):
                raise refusal
            try:
                number = read(value)
            except ValidationError:
                raise refusal from None
            if not self.low <= number <= self.high or (self.above and number == self.low):
                raise refusal
            return number

        return core_schema.no_info_wrap_validator_function(check, handler(source))


def _name(text: str) -> str:
    if not text.strip() or not text.isprintable() or text[0] == "." or {"/", "\\"} & set(text):
        raise refused(
            "a folder or file is called so. Give a name of printable characters, without / and \\, that does not "
            "begin with a dot"
        )
    if len(text.encode()) > LONGEST_NAME:
        raise refused(f"a folder or file is called so. Give a name of at most {LONGEST_NAME} bytes")
    return text


def _path(text: str) -> str:
    if not text.strip() or "\0" in text or len(text.encode()) > LONGEST_PATH:
        raise refused(f"give a path of 1 to {LONGEST_PATH} bytes")
    return text


def _sha256(text: str) -> str:
    if len(text) != 64 or set(text) - set("0123456789abcdef"):
        raise refused("give the 64 hex digits of a SHA-256, in small letters")
    return text


Share = Annotated[float, Within(0, 1, "a share")]
PositiveShare = Annotated[float, Within(0, 1, "a share", above=True)]
Weight = Annotated[float, Within(0, 1e6)]
"""What counts as how much."""
Temperature = Annotated[float, Within(0, 100)]
Heat = Annotated[float, Within(0, 100, above=True)]
"""Where an answer is drawn in any case."""
ServedTemperature = Annotated[float, Within(0, 2)]
"""Of models behind endpoints."""
Seconds = Annotated[float, Within(0, 86_400, "seconds,", above=True)]
Pause = Annotated[float, Within(0, 3_600, "seconds,")]
Count = Annotated[int, Within(0, 10**9)]
Positive = Annotated[int, Within(1, 10**9)]
Samples = Annotated[int, Within(1, 10**8)]
Tokens = Annotated[int, Within(1, 10**6)]
"""Of one text."""
Batch = Annotated[int, Within(1, 65_536)]
"""Things in memory, or on their way, at a time."""
Threads = Annotated[int, Within(1, 1_024)]
Port = Annotated[int, Within(0, 65_535)]
Seed = Annotated[int, Within(0, 2**32 - 1)]
Name = Annotated[str, AfterValidator(_name)]
"""What becomes the name of a folder or file."""
Sha256 = Annotated[str, AfterValidator(_sha256)]
PathText = Annotated[str, AfterValidator(_path)]


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def checked(kind: Any, value: Any, key: str) -> Any:
    """A value of one of these types.

    Raises:
        UserError: it is none; ``key`` says which setting it is.
    """
    try:
        return _adapter(kind).validate_python(value)
    except ValidationError as error:
        raise UserError(told(error, key, getattr(kind, "model_fields", ()))) from error


def told(error: ValidationError, above: str = "", known: Iterable[str] = ()) -> str:
    """The first mistake as one sentence: ``key=value: what is allowed``.

    Args:
        error: of settings.
        above: the key of what was validated.
        known: its own keys, to be told where there is another one.
    """
    first = error.errors()[0]
    key = key_of(first["loc"], above)
    if first["type"].startswith("missing"):
        return f"{key} is missing. Give it, for example: {key}=VALUE"
    if first["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        allowed = ", ".join(key_of((name,), above) for name in known) if len(first["loc"]) == 1 else ""
        return f"{key}={shown(first['input'])}: no such key.{f' Allowed: {allowed}.' if allowed else ''}"
    return f"{key}={shown(first['input'])}: {first['msg'].replace('Input should be', 'give')}."


def key_of(location: tuple[int | str, ...], above: str = "") -> str:
    """A place in settings as it is written on the command line: ``student.scratch.layers[0]``."""
    text = above
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def shown(value: Any) -> str:
    """A value in a message: printable, and never long."""
    try:
        text = ascii(value) if isinstance(value, str) and not value.isprintable() else repr(value)
    except ValueError:  # an integer of thousands of digits has no text
        text = "a number of thousands of digits"
    return text if len(text) <= LONGEST_SHOWN else f"{text[: LONGEST_SHOWN - 3]}..."


def check_plain(value: Any, key: str = "") -> None:
    """Refuse what no record could hold: NaN and infinity, and text that UTF-8 cannot write.

    Raises:
        UserError: names the key.
    """
    if isinstance(value, Mapping):
        for name, item in value.items():
            check_plain(str(name), key)
            check_plain(item, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            check_plain(item, f"{key}[{index}]")
    elif isinstance(value, float) and not math.isfinite(value):
        raise UserError(f"{key}={value}: give a finite number.")
    elif isinstance(value, int) and not -(10**300) <= value <= 10**300:
        raise UserError(f"{key}={shown(value)}: give a number of at most 300 digits.")
    elif isinstance(value, str) and not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise UserError(f"{key}={value!a}: give text that is valid UTF-8.") from error
