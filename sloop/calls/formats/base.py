"""What the readers of all formats share: what a text says, how JSON is decoded, how a call stands in an object.

A reader takes the answer proper (no reasoning) and the tools on offer; it gives the calls and the words around them, or
raises a ValueError where a call is attempted that cannot be read without guessing or dropping something.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sloop.records import Record, Tool, ToolCall, finite, no_constant, whole_number


class Parsed(Record):
    """What a text says: calls and the words around them."""

    calls: tuple[ToolCall, ...] = ()
    content: str = ""
    """The words outside the calls, reasoning apart, without white space at the ends."""
    error: Literal["format"] | None = None
    """``format``: a call was attempted and cannot be read, or a thought was never finished; ``calls`` is then empty."""
    recovered: tuple[ToolCall, ...] = ()
    """Beside an error: the calls that a reader would find which takes every format, guesses ends and drops the rest."""


Tools = Sequence[Tool]
Found = tuple[list[ToolCall], list[str]]
Reader = Callable[[str, Tools], Found]
Body = Callable[[str, int, Tools], tuple[list[ToolCall], int]]
"""Reads what stands at a place behind an opening, and says where that ends."""


@dataclass(frozen=True)
class Format:
    """A chat format: a row of `sloop.calls.formats.table`."""

    name: str
    """As a checkpoint records it."""
    looks: str
    """A call in it."""
    models: str
    """Which models write it."""
    read: Reader
    mark: re.Pattern[str]
    """What a call begins with, where the format is known."""
    openings: tuple[str, ...]
    """Text before the first of these is content whatever follows."""
    closing: str = ""
    """What a lenient reader adds to a call that was never closed."""
    template: str = ""
    """Pattern that a chat template of this format holds; empty: no template tells it."""
    certain: bool = True
    """Whether its mark can be nothing but a call's."""


class Unreadable(ValueError):
    """A call that cannot be read, behind those that could be."""

    def __init__(self, reason: str, calls: Sequence[ToolCall]) -> None:
        """Take what is wrong, and the calls before it."""
        super().__init__(reason)
        self.calls = tuple(calls)


def no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object's pairs as a dict.

    Raises:
        ValueError: a key stands twice.
    """
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands twice in an object")
    return found


DECODER = json.JSONDecoder(
    object_pairs_hook=no_duplicates, parse_float=finite, parse_int=whole_number, parse_constant=no_constant
)
NAME = r"[^\W\d]\w*+(?:\.\w++)*+"
"""Of a function in Python's form."""
_SPACE = re.compile(r"[ \t\r\n]*+")


def skip_space(text: str, at: int) -> int:
    """Where the white space at a place ends."""
    match = _SPACE.match(text, at)
    return match.end() if match else at


def expect(text: str, at: int, mark: str) -> int:
    """Where a mark ends that has to stand at a place, white space before it apart.

    Raises:
        ValueError: it does not.
    """
    at = skip_space(text, at)
    if not text.startswith(mark, at):
        raise ValueError(f"{mark} is missing")
    return at + len(mark)


def until(text: str, at: int, mark: str) -> tuple[str, int]:
    """The text up to a mark, and where the mark ends.

    Raises:
        ValueError: there is none.
    """
    end = text.find(mark, at)
    if end < 0:
        raise ValueError(f"{mark} is missing")
    return text[at:end], end + len(mark)


_AROUND = re.compile(
    r"<\|(?:START|END)_(?:RESPONSE|TEXT)\|>"  # Command R7B, A
    r"|<start_function_response>|<\|tool_response>"  # FunctionGemma and Gemma 4 go on so behind a call
    r"|<\|start\|>assistant\b|<\|(?:end|return|call)\|>"  # gpt-oss
    r"|<\|(?:begin|end)_of_box\|>"  # GLM 4.5V
)
"""Special tokens that stand around words, and are none."""


def join(words: list[str]) -> str:
    """Words outside of calls as one text."""
    text = "\n".join(part for part in (word.strip() for word in words) if part)
    return _AROUND.sub("", text).strip() if "<" in text else text


def blocks(opening: re.Pattern[str], body: Body, closing: str | None = "", *, own: bool = True) -> Reader:
    """A reader of calls in blocks with words around them.

    Args:
        opening: what a block begins with.
        body: reads what stands in it.
        closing: what it ends with; empty: nothing, and no words may follow; None: the body reads its own end.
        own: the closing ends nothing but calls, so that one alone is the rest of a call.
    """

    def read(text: str, tools: Tools) -> Found:
        calls: list[ToolCall] = []
        words: list[str] = []
        at = 0
        try:
            while True:
                found = opening.search(text, at)
                words.append(text[at : found.start()] if found else text[at:])
                if closing and own and closing in words[-1]:
                    raise ValueError(f"{closing} without a call")
                if not found:
                    break
                read, at = body(text, skip_space(text, found.end()), tools)
                calls += read
                if closing:
                    at = expect(text, at, closing)
                elif closing is not None and (at := skip_space(text, at)) < len(text) and not opening.match(text, at):
                    raise ValueError("words behind a call")
            if len(words) > 1 and not calls:
                raise ValueError("no call behind the mark")
        except (ValueError, RecursionError) as error:
            raise Unreadable(str(error), calls) from None
        return calls, words

    return read


def json_values(text: str, at: int = 0, separators: str = "") -> tuple[list[Any], int]:
    """The JSON objects and lists that stand at a place one after another, and where they end.

    Raises:
        ValueError: there is none.
    """
    values: list[Any] = []
    at = skip_space(text, at)
    while text.startswith(("{", "["), at):
        value, at = DECODER.raw_decode(text, at)
        values.append(value)
        at = skip_space(text, at)
        while separators and text.startswith(tuple(separators), at):
            at = skip_space(text, at + 1)
    if not values:
        raise ValueError("nothing to read")
    return values, at


def json_object(text: str, at: int) -> tuple[dict[str, Any], int]:
    """The JSON object at a place, white space before it apart, and where it ends.

    Raises:
        ValueError: there is none.
    """
    value, at = DECODER.raw_decode(text, skip_space(text, at))
    if not isinstance(value, dict):
        raise ValueError("arguments are an object")
    return value, at


def call_of(body: Any, *keys: str, name: str = "name") -> ToolCall:
    """The call that a decoded object says; ``type``, ``id`` and OpenAI's nested form say no more than that it is one.

    Args:
        body: the object.
        keys: what its arguments may be called; empty: ``arguments``.
        name: what its name is called.

    Raises:
        ValueError: it says none, or more.
    """
    if not isinstance(body, dict):
        raise ValueError("a call is a JSON object")
    keys = keys or ("arguments",)
    if len(body) == 2 and name in body:  # as nearly all are
        for key in keys:
            if key in body:
                return made(body[name], body[key])
    if body.keys() - {name, *keys}:
        body = {k: v for k, v in body.items() if k not in ("id", "tool_call_id") and (k, v) != ("type", "function")}
        if body.keys() == {"function"} and isinstance(body["function"], dict):
            body = body["function"]
    given = [key for key in keys if key in body]
    if unknown := body.keys() - {name, *given[:1]}:
        # "parameters" for "arguments" would otherwise be a call without any, and match a label that gives none
        raise ValueError(f"a call has no key {min(unknown)!r}")
    return made(body.get(name), body[given[0]] if given else {})


def made(name: Any, arguments: Any) -> ToolCall:
    """A call of a name with arguments, which may be a text that holds an object.

    Raises:
        ValueError: the name is none, or the arguments are no object.
    """
    if isinstance(arguments, str):
        arguments = DECODER.decode(arguments)
    if not isinstance(name, str) or not name.strip() or not isinstance(arguments, dict):
        raise ValueError("a call has a name, and arguments that are an object")
    return ToolCall(name=name, arguments=arguments)


# --- calls in JSON wherever it stands ---

_PAIRS: dict[str, tuple[str, ...]] = {
    "name": ("arguments", "parameters", "args", "input"),
    "function_name": ("arguments", "parameters", "args"),
    "tool_name": ("arguments", "parameters", "args"),
    "function": ("arguments", "parameters", "args"),
    "tool": ("arguments", "parameters", "args", "tool_input"),
    "action": ("action_input",),
}
_BEGINS = re.compile(r"""[\[{]\s*+[{"']""")
_ARGUMENTS = re.compile(r"""["'](?:arguments|parameters|args|input|tool_input|action_input)["']\s*+:""")
_BROKEN = re.compile(
    r"""\{\s*+(?:(?=[^{}]{0,200}?["']tool_use["'])(?P<use>))?(?:["'](?:type|id)["']\s*+:\s*+["'][^"'\n]{0,64}["']\s*+,\s*+)*+"""
    r"""["'](?:name|function|function_name|tool_name)["']\s*+:\s*+["'][^"'\n]{1,128}["']\s*+,\s*+"""
    r"""["'](?:arguments["']|parameters["']|args["'](?=\s*+:\s*+\{)|(?(use)input["']|(?!)))\s*+:"""
    r"""(?!\s*+\{\s*+["'](?:type["']\s*+:\s*+["']object|properties["']\s*+:))"""
)
MOST_BROKEN = 4
"""Pieces that look like JSON and are none, after which no more is tried: each may take as long as the text."""


def loose_call(body: dict[str, Any]) -> ToolCall | None:
    """The call that an object says in any of the spellings in use, whatever else it says; a definition says none."""
    for name, keys in _PAIRS.items():
        key = next((key for key in keys if key in body), None)
        if key is None or not isinstance(body.get(name), str) or (key == "input" and body.get("type") != "tool_use"):
            continue
        given = body[key]
        if key == "parameters" and ("description" in body or is_schema(given)):
            continue
        try:
            return made(body[name], given or {})
        except (ValueError, RecursionError):
            continue
    return None


def is_schema(value: Any) -> bool:
    """Whether an object is the schema of parameters."""
    return isinstance(value, dict) and (value.get("type") == "object" or isinstance(value.get("properties"), dict))


def json_calls(text: str) -> Iterator[ToolCall | None]:
    """The calls that JSON says anywhere in a text; None for one that breaks off, or whose text cannot be decoded."""
    if not _ARGUMENTS.search(text):
        return
    at = broken = 0
    while broken < MOST_BROKEN and (found := _BEGINS.search(text, at)):
        try:
            value, at = DECODER.raw_decode(text, found.start())
        except (ValueError, RecursionError):
            at = found.end() - 1
            broken += 1
            continue
        held = [value]
        while held:
            value = held.pop()
            if isinstance(value, dict) and (call := loose_call(value)):
                yield call
            elif isinstance(value, dict) and all(isinstance(value.get(key), str) for key in ("name", "arguments")):
                yield None
            elif isinstance(value, dict | list):
                held += reversed(list(value.values()) if isinstance(value, dict) else value)
    if broken and _BROKEN.search(text):
        yield None
