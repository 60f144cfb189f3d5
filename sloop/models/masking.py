"""Where a key stands in somebody else's words: whole or in part, written otherwise, or with something between.

The rule: any `RUN` characters of the key that follow each other, in either case, with or without white space (or what
stands for it in JSON) between them, as they are, percent-encoded, as escapes of JSON or HTML, in hexadecimal digits or
in base64. A shorter key is found as a whole, as it is, and where it stands alone: local servers take ``x`` or ``test``.
"""

from __future__ import annotations

import base64
import functools
import re
from collections.abc import Iterator

RUN = 8
"""Characters: fewer stand in ordinary words, and tell little."""
MASK = "***"
_ONE = re.compile(
    r"(?P<gap>(?:\s|\\[nrt]|[\u00ad\u200b-\u200f\u2060\ufeff])+)"
    r"|%(?P<percent>[0-9a-fA-F]{2})|\\+[uU](?:0000)?00(?P<unicode>[0-9a-fA-F]{2})|\\+x(?P<hexadecimal>[0-9a-fA-F]{2})"
    r"|&#(?P<decimal>\d{1,3});|&#[xX](?P<entity>[0-9a-fA-F]{1,2});|(?P<plain>.)",
    re.DOTALL,
)


def masked(text: str, key: str) -> str:
    """The text with `MASK` in place of every part of the key."""
    if len(key) < RUN:
        return re.sub(rf"(?<![^\W_]){re.escape(key)}(?![^\W_])", MASK, text)
    if not _may_hold(text, key):
        return text
    letters = list(_letters(text))
    line = "".join(letter for letter, _, _ in letters)
    hidden = [False] * len(letters)
    for length, runs in _runs(key):
        for start in range(len(line) - length + 1):
            if line[start : start + length] in runs:
                hidden[start : start + length] = [True] * length
    if not any(hidden):
        return text
    told: list[str] = []
    at = 0
    for number, (_, start, end) in enumerate(letters):
        if not hidden[number]:
            continue
        if number == 0 or not hidden[number - 1]:
            told += [text[at:start], MASK]
        at = end
    return "".join([*told, text[at:]])


def _may_hold(text: str, key: str) -> bool:
    """A quick no for most texts."""
    if any(mark in text for mark in "%\\&\u00ad\ufeff") or _UNSEEN.search(text):
        return True
    line = "".join(text.split()).lower()
    return any(not runs.isdisjoint(_of_length(line, length)) for length, runs in _runs(key))


_UNSEEN = re.compile("[\u200b-\u200f\u2060]")


def _letters(text: str) -> Iterator[tuple[str, int, int]]:
    """Each character that a text says, in lower case, with where it stands; gaps are left out."""
    for match in _ONE.finditer(text):
        kind, said = match.lastgroup, match[match.lastgroup or 0]
        if kind == "gap":
            continue
        if kind != "plain":
            said = chr(int(said, 10 if kind == "decimal" else 16))
        lower = said.lower()
        yield lower if len(lower) == 1 else said, match.start(), match.end()


@functools.lru_cache(maxsize=16)
def _runs(key: str) -> tuple[tuple[int, frozenset[str]], ...]:
    """Runs of the key in each way that it may be written, by their length."""
    raw = "".join(key.split()).encode()
    # Base64 of the key with other bytes before it: three bytes make four characters, so that there are three ways.
    coded = [base64.b64encode(bytes(before) + raw).decode()[2 * before :].rstrip("=") for before in range(3)]
    coded += [text.replace("+", "-").replace("/", "_") for text in coded]
    plain = [raw.decode(), *coded]
    return (
        (RUN, frozenset(run for text in plain for run in _of_length(text.lower(), RUN))),
        (2 * RUN, frozenset(_of_length(raw.hex(), 2 * RUN))),
    )


def _of_length(text: str, length: int) -> Iterator[str]:
    return (text[start : start + length] for start in range(len(text) - length + 1))
