"""When two requests say the same words."""

from __future__ import annotations

import re
import unicodedata

_TOKEN = re.compile(r"\w+|[^\w\s.,;:!?'\"…¿¡“”‘’]")


def request_tokens(text: str) -> tuple[str, ...]:
    """Words and symbols of a text without case, spacing and sentence punctuation; ``5 + 3`` and ``5 - 3`` differ."""
    return tuple(_TOKEN.findall(unicodedata.normalize("NFKC", text).casefold()))


def request_key(text: str) -> str:
    """What two requests share that say the same words: the form in which forbidden requests are listed."""
    return " ".join(request_tokens(text))
