"""Text to calls and back, one small function per chat format; the checkpoint records the format's name.

What is read here is text that a model made up, so nothing in it raises: whatever opens a call and does not finish one
is ``error="format"``, an attempted call, and never an empty list of calls.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Sequence
from typing import Any, Literal

from sloop.types import Label, Record, ToolCall, UserError

MAX_DEPTH = 64
"""Deeper nesting of an argument is a format error, so that what is accepted does not hang on Python's stack."""

OPEN, CLOSE = "<tool_call>", "</tool_call>"
THINK_OPEN, THINK_CLOSE = "<think>", "</think>"
SPACE = re.compile(r"[ \t\r\n]*")


class Parsed(Record):
    """What a text says: calls and the words around them."""

    calls: tuple[ToolCall, ...] = ()
    content: str = ""
    """The words outside the calls, reasoning apart, without white space at the ends."""
    error: Literal["format"] | None = None
    """``format``: a call was attempted and cannot be read; ``calls`` is then empty."""


def parse(format: str, text: str) -> Parsed:
    """Read a model's answer.

    Args:
        format: a name in `FORMATS`.
        text: the answer as it was generated, end-of-turn token removed.

    Raises:
        UserError: there is no such format. No text raises.
    """
    if format not in FORMATS:
        raise UserError(
            f"unknown tool-call format {format!r}; allowed: {', '.join(sorted(FORMATS))}. "
            f"Set student.answer_format to one of these."
        )
    return FORMATS[format](text)


def opens_call(text: str) -> bool:
    """True where a text opens a call in any known format: what to ask of an answer that was cut off."""
    return any(mark in text for mark in MARKS.values())


def parse_hermes(text: str) -> Parsed:
    """Read the Hermes form, which Qwen 2.5 and 3 write: ``<tool_call>``, a JSON object, ``</tool_call>``, repeated.

    The object has a non-empty ``name`` and ``arguments`` (a JSON object, a string that holds one, or absent for none),
    and no other key.
    Text before, between and after the calls is content. Reasoning up to ``</think>`` is dropped, and a call inside it
    is no call. A tag inside a JSON string is text. A close without an open is an error too: a call whose opening
    was lost.
    """
    visible = after_thinking(text)
    calls: list[ToolCall] = []
    words: list[str] = []
    position = 0
    while (start := visible.find(OPEN, position)) >= 0:
        words.append(visible[position:start])
        at = _skip_space(visible, start + len(OPEN))
        try:
            body, at = _DECODER.raw_decode(visible, at)
            calls.append(_call(body))
        except (ValueError, RecursionError):
            return _unreadable(words)
        at = _skip_space(visible, at)
        if not visible.startswith(CLOSE, at):
            return _unreadable(words)
        position = at + len(CLOSE)
    words.append(visible[position:])
    if any(CLOSE in part for part in words):
        return _unreadable(words)
    return Parsed(calls=tuple(calls), content=_join(words))


def render_hermes(label: Label) -> str:
    """The text that a student is trained to write, which `parse_hermes` reads back: content, then one block a call."""
    blocks = [f"{OPEN}\n{_hermes_body(call)}\n{CLOSE}" for call in label.calls]
    return "\n".join([label.content, *blocks] if label.content else blocks)


def parse_tool_calls(content: str, calls: Sequence[tuple[str, str]]) -> Parsed:
    """Read the OpenAI form, in which a server hands over (name, text of the arguments) apart from the words.

    Arguments are a JSON object, or nothing at all for none. Words that hold or attempt a call in a known format are a
    call that the server could not read. Reasoning is dropped.
    """
    words = after_thinking(content).strip()
    if not calls:
        for read_text in FORMATS.values():
            parsed = read_text(content)
            if parsed.calls or parsed.error:
                return Parsed(content=parsed.content, error="format")
        return Parsed(content=words)
    try:
        read = tuple(_call({"name": name, "arguments": arguments.strip() or {}}) for name, arguments in calls)
    except (ValueError, RecursionError):
        return Parsed(content=words, error="format")
    return Parsed(calls=read, content=words)


def render_tool_calls(content: str, calls: Sequence[tuple[str, str]]) -> str:
    """The OpenAI form as one text, in Hermes blocks, with the arguments as they were written."""
    blocks = [
        f'{OPEN}\n{{"name": {json.dumps(name, ensure_ascii=False)}, "arguments": {arguments}}}\n{CLOSE}'
        for name, arguments in calls
    ]
    return "\n".join([content, *blocks] if content else blocks)


def _hermes_body(call: ToolCall) -> str:
    return json.dumps({"name": call.name, "arguments": call.arguments}, ensure_ascii=False, allow_nan=False)


def after_thinking(text: str) -> str:
    """The answer proper. Templates may put the opening tag into the prompt, so the close alone is enough."""
    head, closed, answer = text.partition(THINK_CLOSE)
    if closed and OPEN not in head.partition(THINK_OPEN)[0]:
        return answer
    opened = text.lstrip()
    return "" if opened.startswith(THINK_OPEN) and not closed else text


def _skip_space(text: str, at: int) -> int:
    match = SPACE.match(text, at)
    return match.end() if match else at


def _unreadable(words: list[str]) -> Parsed:
    return Parsed(content=_join(words), error="format")


def _join(words: list[str]) -> str:
    return "\n".join(part for part in (word.strip() for word in words) if part)


def _call(body: Any) -> ToolCall:
    """The call that a decoded block says.

    Raises:
        ValueError: it says none.
    """
    if not isinstance(body, dict):
        raise ValueError("a call is a JSON object")
    if unknown := body.keys() - {"name", "arguments"}:
        # "parameters" for "arguments" would otherwise be a call without any, and match a label that gives none
        raise ValueError(f"a call has no key {min(unknown)!r}")
    name, arguments = body.get("name"), body.get("arguments", {})
    if isinstance(arguments, str):
        arguments = _DECODER.decode(arguments)
    if not isinstance(name, str) or not name.strip() or not isinstance(arguments, dict):
        raise ValueError("a call has a name, and arguments that are an object")
    if _too_deep(arguments):
        raise ValueError("the arguments are nested too deeply")
    # A lone surrogate ("\ud800") is legal JSON and cannot be written as UTF-8: UnicodeEncodeError is a ValueError.
    json.dumps([name, arguments], ensure_ascii=False).encode()
    return ToolCall(name=name, arguments=arguments)


def _too_deep(value: Any) -> bool:
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            child
            for item in level
            if isinstance(item, (dict, list))
            for child in (item.values() if isinstance(item, dict) else item)
        ]
        if not level:
            return False
    return True


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands twice in an object")
    return found


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):  # 1e999 is legal JSON and becomes infinity
        raise ValueError(f"{text} is not a finite number")
    return number


def _no_constant(text: str) -> float:
    raise ValueError(f"{text} is not JSON")


_DECODER = json.JSONDecoder(object_pairs_hook=_no_duplicates, parse_float=_finite, parse_constant=_no_constant)

FORMATS: dict[str, Callable[[str], Parsed]] = {"hermes": parse_hermes}
"""Reader of each format, by the name that a checkpoint records."""
MARKS: dict[str, str] = {"hermes": OPEN}
"""What a call begins with, by format."""
