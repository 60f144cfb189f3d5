"""Tools for tests that train on calls: by dotted path, as a user's are."""

from __future__ import annotations

import time
from typing import Any


def double(number: int) -> int:
    """Twice a number."""
    if number == 5:
        raise ValueError("five is not doubled")
    while number == 6:
        time.sleep(1)
    return 2 * number


class Square:
    """A tool that says of itself what it is."""

    def description(self) -> str:
        return "A number times itself."

    def arguments(self) -> dict[str, Any]:
        return {"type": "object", "properties": {"number": {"type": "integer"}}, "required": ["number"]}

    def call(self, arguments: dict[str, Any]) -> str:
        return str(arguments["number"] ** 2)
