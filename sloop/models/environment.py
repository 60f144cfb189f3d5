"""Keys and addresses from the environment and ``.env``: the only code that touches a key before it is sent.

Precedence, first found wins: a value in the configuration (never a key), ``SLOOP_STRONG_*`` (teacher, judge, user) or
``SLOOP_WEAK_*`` (student) of the process, the same of ``.env``, ``OPENAI_*`` of the process, ``OPENAI_*`` of ``.env``.
An empty value counts as none.
"""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from dotenv import dotenv_values

from sloop.models.masking import masked
from sloop.records import UserError
from sloop.store.files import is_file, read_text

Role = Literal["teacher", "judge", "student", "user"]
"""What a model is asked for; ``user`` is the simulated one of a benchmark."""
KEY_OF: dict[Role, Literal["STRONG", "WEAK"]] = {
    "teacher": "STRONG", "judge": "STRONG", "user": "STRONG", "student": "WEAK",
}  # fmt: skip
"""The variables ``SLOOP_<...>_*`` of each role."""

VARIABLES = (
    *(f"SLOOP_{role}_{what}" for role in ("STRONG", "WEAK") for what in ("API_KEY", "BASE_URL", "MODEL")),
    "OPENAI_API_KEY",
    "OPENAI_BASE_URL",
)
"""All that is read, and all that is taken out of ``.env``."""
NO_KEY = "none"
"""Sent where there is no key: local servers want none, and a bearer token must not be empty."""


class Key:
    """An API key that says its value only when asked for it."""

    __slots__ = ("_value", "variable")

    def __init__(self, value: str, variable: str | None) -> None:
        """Take the key and the name of the variable that it came from; None: there is no key."""
        self._value = value
        self.variable = variable

    def reveal(self) -> str:
        """The key itself, for the request alone."""
        return self._value

    def hide_in(self, text: str) -> str:
        """The text with every part of the key struck out; see `sloop.models.masking`."""
        return masked(text, self._value) if self.variable else text

    def __repr__(self) -> str:
        return f"Key(from {self.variable})"

    def __reduce__(self) -> str:
        raise TypeError("a key is not to be written anywhere")


def load_env(path: Path = Path(".env")) -> None:
    """Take our variables from a ``.env`` file into the environment where the process does not set them.

    Raises:
        UserError: the file is there and cannot be read, or is not UTF-8.
    """
    for name in VARIABLES:
        if not os.environ.get(name, "").strip():
            os.environ.pop(name, None)
    if not is_file(path):
        return
    written = io.StringIO(read_text(path))
    for name, value in dotenv_values(stream=written, interpolate=False).items():
        if name in VARIABLES and value:
            os.environ.setdefault(name, value)


def key_for(role: Role, environment: Mapping[str, str] = os.environ) -> Key:
    """The key of a role."""
    for name in (f"SLOOP_{KEY_OF[role]}_API_KEY", "OPENAI_API_KEY"):
        if value := environment.get(name, "").strip():
            return Key(value, name)
    return Key(NO_KEY, None)


def checked_url(base_url: str) -> str:
    """The address without a slash at its end.

    Raises:
        UserError: it is no http(s) address, or holds a user's name or password, which would be written into records.
    """
    parts = urlsplit(base_url.strip())
    if "@" in parts.netloc or parts.query:
        raise UserError(
            f"base_url ({parts.scheme}://...{parts.hostname}): an address is kept in records and must hold no password "
            "or query. Put the key into the environment or .env instead: SLOOP_WEAK_API_KEY, SLOOP_STRONG_API_KEY."
        )
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UserError(f"base_url={base_url!r}: not an address. Give one such as http://127.0.0.1:8000/v1")
    return base_url.strip().rstrip("/")
