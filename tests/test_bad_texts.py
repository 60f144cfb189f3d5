"""Long texts of models and strangers: whatever reads them ends, and takes twice as long for twice as much."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from sloop.calls.formats import FORMATS, opens_call, parse, parse_tool_calls
from sloop.calls.readings import read_bracketed
from sloop.calls.surface import stands_in
from sloop.judges.rules.reading import read
from sloop.models.prompts import last_brief
from sloop.models.structured import read_object
from sloop.records import Message

LENGTH = 20_000
SOON = 5.0
"""Seconds; the square of the length takes a minute."""
SEEDS = [
    *("(", "[", "{", '"', "'", " ", "\n", "\\", "<", "-", "_", "@", "a", "A", "1"),
    *("<tool_call>", "</tool_call>", "```json\n", "```json\n{}", "<think>", "[TOOL_CALLS]", '{"name":', "[f(x=["),
    *("a-", "a.", "a@", "1,", "12:", "Aa ", "one ", "http://", "['", "1A-"),
]


def object_of(text: str) -> None:
    with pytest.raises(ValueError, match=r".") as told:
        read_object(text, {})
    assert not isinstance(told.value, RecursionError)


READERS: dict[str, Callable[[str], object]] = {
    **{name: lambda text, name=name: parse(name, text) for name in FORMATS},  # type: ignore[misc]
    "opens_call": opens_call,
    "tool calls": lambda text: parse_tool_calls(text, [("f", text)]),
    "brackets": lambda text: read_bracketed(text, step=False),
    "brackets of a step": lambda text: read_bracketed(text, step=True),
    "value in text": lambda text: stands_in("ab", {}, text),
    "request": read,
    "brief": lambda text: last_brief([Message(role="user", content=text)]),
    "object": object_of,
}


@pytest.mark.parametrize("reader", READERS)
def test_a_long_text_is_read_in_bounded_time(reader: str) -> None:
    for seed in SEEDS:
        text = (seed * (LENGTH // len(seed))) + "!"
        began = time.perf_counter()
        READERS[reader](text)
        assert time.perf_counter() - began < SOON, seed
