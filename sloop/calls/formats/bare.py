"""Calls in JSON that no mark, or a mark for code, announces; and ReAct's lines."""

from __future__ import annotations

import re
from typing import Any

from sloop.calls.formats.base import Found, Tools, call_of, is_schema, json_object, json_values, made
from sloop.calls.formats.python import python_calls
from sloop.records import ToolCall

PYTHON_TAG = "<|python_tag|>"
# Possessive quantifiers: with the usual ones a megabyte of white space takes minutes.
_KEY = r"\{\s*+\"(?:name|type|function|id|parameters|arguments|tool_calls)\"\s*+:"
LLAMA3 = re.compile(rf"{re.escape(PYTHON_TAG)}|\A\s*+(?:\[\s*+)?{_KEY}")
JSON = re.compile(rf"(?:\A|```(?:json)?[ \t]*+\n)\s*+(?:\[\s*+)?{_KEY}")
_FENCE = re.compile(r"```(?:json|tool_call)?[ \t]*+\n?\s*+(?=[\[{])")
_NAMED = re.compile(r'"(?:name|function)"\s*+:')


def read_llama3(text: str, tools: Tools) -> Found:
    """JSON objects with ``parameters``, apart by ``;``, ``,`` or white space, or a list of them.

    They stand alone, or after ``<|python_tag|>`` and the words before it; there, the call of a built-in tool stands in
    Python's form: ``brave_search.call(query="...")`` calls ``brave_search``. Code after the tag is an error.
    """
    words, tagged, body = text.partition(PYTHON_TAG)
    if not tagged:
        words, body = "", text
        if not body.lstrip().startswith(("{", "[")):
            return [], [body]
    elif not body.lstrip().startswith(("{", "[")):
        return python_calls(body, built_in=True), [words]
    items, end = _items(body, 0, ";,")
    if not tagged and not any(_says_call(item, tools) for item in items):
        return [], [body]
    if end < len(body) or not items:
        raise ValueError("words behind a call")
    return [call_of(item, "parameters", "arguments") for item in items], [words]


def read_json(text: str, tools: Tools) -> Found:
    """JSON objects with a call, or lists of them: the whole text, or in fences with words around them.

    JSON that names no function is words, and so is a fence of anything else.
    """
    if text.lstrip().startswith(("{", "[")):
        items, end = _items(text, 0)
        if not any(_says_call(item, tools) for item in items):
            return [], [text]
        if end < len(text):
            raise ValueError("words behind a call")
        return [call_of(item, "arguments", "parameters") for item in items], []
    calls: list[ToolCall] = []
    words: list[str] = []
    at = 0
    while (start := text.find("```", at)) >= 0:
        end = start + 3
        if opened := _FENCE.match(text, start):
            items, end = _items(text, opened.end())
            if any(_says_call(item, tools) for item in items):
                if not text.startswith("```", end):
                    raise ValueError("a fence that does not end")
                calls += [call_of(item, "arguments", "parameters") for item in items]
                words.append(text[at:start])
                at = end + 3
                continue
        close = text.find("```", end)
        end = len(text) if close < 0 else close + 3
        words.append(text[at:end])
        at = end
    return calls, [*words, text[at:]]


def _items(text: str, at: int, separators: str = "") -> tuple[list[Any], int]:
    """The objects of JSON at a place, lists and ``{"tool_calls": [...]}`` opened, and where they end.

    JSON that cannot be decoded holds none, unless it names something.

    Raises:
        ValueError: it does.
    """
    try:
        values, end = json_values(text, at, separators)
    except (ValueError, RecursionError):
        if _NAMED.search(text, at):
            raise
        return [], at
    items: list[Any] = []
    for value in values:
        held = value["tool_calls"] if isinstance(value, dict) and value.keys() == {"tool_calls"} else value
        items += held if isinstance(held, list) else [held]
    return items, end


def _says_call(body: Any, tools: Tools) -> bool:
    """Whether an object names a function: with arguments, or one on offer by its name alone."""
    if not isinstance(body, dict):
        return False
    if isinstance(body.get("function"), dict):
        body = body["function"]
    name = body.get("name")
    if not isinstance(name, str):
        return False
    if "description" in body or isinstance(body.get("parameters"), list) or is_schema(body.get("parameters")):
        return False  # it defines one
    return "arguments" in body or "parameters" in body or any(tool.name == name for tool in tools)


# --- names in lines ---

REACT = re.compile(r"(?:\A|\n)[ \t]*+Action[ \t]*+:[ \t]*+(?P<name>[^\s`{\[]++)[ \t]*+\r?\n\s*+Action Input[ \t]*+:")
GLM4 = re.compile(
    r"\A\s*+(?:functions\.)?(?P<name>[A-Za-z]\w*+(?:[.-]\w++)*+)(?::\d++)?\s*+(?=(?:```json\s*+)?\{\s*+[\"}])"
)


def read_react(text: str, _: Tools) -> Found:
    """``Action: f`` and ``Action Input: {...}`` at the end of a thought; what was made up behind it is an error."""
    found = REACT.search(text)
    if not found:
        return [], [text]
    arguments, end = json_object(text, found.end())
    if text[end:].strip():
        raise ValueError("words behind a call")
    return [made(found["name"], arguments)], [text[: found.start()]]


def read_glm4(text: str, tools: Tools) -> Found:
    """A function's name and its arguments: so are DeepSeek's, Kimi's and Mistral's calls without their tokens."""
    found = GLM4.match(text)
    if not found or not is_name(found["name"], tools):
        return [], [text]
    arguments, end = json_object(text, found.end())
    if text[end:].strip():
        raise ValueError("words behind a call")
    return [made(found["name"], arguments)], []


def is_name(word: str, tools: Tools) -> bool:
    """Whether a word can only be a function's name: it is on offer, or written as no word of a language is."""
    return any(tool.name == word for tool in tools) or "_" in word or "." in word
