"""Calls as JSON objects behind a mark, and names behind marks with JSON arguments."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from sloop.calls.formats.base import (
    DECODER,
    Body,
    Found,
    Reader,
    Tools,
    blocks,
    call_of,
    expect,
    json_object,
    json_values,
    made,
    skip_space,
    until,
)
from sloop.records import ToolCall


def objects_in(*keys: str, name: str = "name", one: bool = False) -> Body:
    """A body of call objects, in a list or one after another.

    Args:
        keys: see `call_of`.
        name: what the name is called.
        one: a block holds a single object.
    """

    def read(text: str, at: int, _: Tools) -> tuple[list[ToolCall], int]:
        values, at = json_values(text, at)
        found = [item for value in values for item in (value if isinstance(value, list) else [value])]
        if one and len(found) > 1:
            raise ValueError("a block holds one call")
        return [call_of(item, *keys, name=name) for item in found], at

    return read


HERMES = "<tool_call>", "</tool_call>"


def _hermes(text: str, at: int, _: Tools) -> tuple[list[ToolCall], int]:
    """One object: Qwen 2.5 and 3 repeat the block. A tag inside a JSON string is text."""
    body, at = DECODER.raw_decode(text, at)
    return [call_of(body)], at


read_hermes = blocks(re.compile(re.escape(HERMES[0])), _hermes, HERMES[1])
read_granite = blocks(re.compile(r"<\|tool_call\|>|<tool_call>"), objects_in())
_QUOTED = re.compile(r"""\{\s*+"name"\s*+:\s*+"([^"]++)"\s*+,\s*+"arguments"\s*+:\s*+'(.*)'\s*+\}\s*+\Z""", re.S)


def _function_call(text: str, at: int, tools: Tools) -> tuple[list[ToolCall], int]:
    """An object, in which Glaive's data has the arguments between single quotes."""
    if found := _QUOTED.match(text, at):
        return [made(found[1], found[2])], len(text)
    return objects_in(one=True)(text, at, tools)


read_function_call = blocks(re.compile(r"<function_?call>(?=\s*+\{)"), _function_call)
read_tool_calls_tag = blocks(re.compile("<tool_calls>"), objects_in(), "</tool_calls>")
read_nemotron = blocks(re.compile("<TOOLCALL>"), objects_in(), "</TOOLCALL>")
read_cohere = blocks(re.compile(r"<\|START_ACTION\|>"), objects_in("parameters", name="tool_name"), "<|END_ACTION|>")
read_command_r = blocks(
    re.compile(r"Action:\s*+```json\b"), objects_in("parameters", name="tool_name"), "```", own=False
)
read_internlm2 = blocks(
    re.compile(r"<\|action_start\|>\s*+<\|plugin\|>"), objects_in("parameters", "arguments", one=True), "<|action_end|>"
)


def _phi4(text: str, at: int, tools: Tools) -> tuple[list[ToolCall], int]:
    calls, at = objects_in("arguments", "parameters")(text, at, tools)
    close = skip_space(text, at)
    return calls, close + len("<|/tool_call|>") if text.startswith("<|/tool_call|>", close) else at


read_phi4 = blocks(re.compile(r"functools(?=\s*+\[)|<\|tool_call\|>"), _phi4)


def _apertus(text: str, at: int, _: Tools) -> tuple[list[ToolCall], int]:
    """A list of objects of one key, the name."""
    values, at = json_values(text, at)
    calls: list[ToolCall] = []
    for item in values[0] if len(values) == 1 and isinstance(values[0], list) else values:
        if not isinstance(item, dict) or len(item) != 1:
            raise ValueError("a call is an object of one key")
        calls += [made(name, arguments) for name, arguments in item.items()]
    return calls, at


read_apertus = blocks(re.compile(r"<\|tools_prefix\|>"), _apertus, "<|tools_suffix|>")


# --- Mistral -----------------------------------------------------------------------------------------------------

TOOL_CALLS, CALL_ID, ARGS = "[TOOL_CALLS]", "[CALL_ID]", "[ARGS]"
_MISTRAL_NAME = re.compile(r"\s*+([^\s\[\]{}]++)\s*+(?:\[CALL_ID\]\s*+\w*+\s*+)?(?:\[ARGS\])?")


def _mistral(text: str, at: int, _: Tools) -> tuple[list[ToolCall], int]:
    """A list of calls or, from v11 on, a name, an id perhaps, and arguments."""
    if text.startswith(("[", "{"), at):
        value, at = DECODER.raw_decode(text, at)  # one alone: the next block begins with a bracket, too
        if not isinstance(value, list):
            raise ValueError("calls are a list")
        return [call_of(item) for item in value], at
    name = _MISTRAL_NAME.match(text, at)
    if not name:
        raise ValueError("a call without a name")
    arguments, at = json_object(text, name.end())
    return [made(name[1], arguments)], at


read_mistral = blocks(re.compile(re.escape(TOOL_CALLS)), _mistral)


# --- names with JSON arguments ------------------------------------------------------------------------------------


def _many(opening: str, one: Callable[[str, int], tuple[ToolCall, int]]) -> Body:
    """Calls of which each begins with the same mark."""

    def read(text: str, at: int, _: Tools) -> tuple[list[ToolCall], int]:
        calls: list[ToolCall] = []
        while text.startswith(opening, at):
            call, at = one(text, at + len(opening))
            calls.append(call)
            at = skip_space(text, at)
        return calls, at

    return read


_DEEPSEEK = "<｜tool▁call▁begin｜>", "<｜tool▁sep｜>", "<｜tool▁call▁end｜>"


def _deepseek_v3(text: str, at: int) -> tuple[ToolCall, int]:
    _, at = until(text, at, _DEEPSEEK[1])  # "function", of every call
    name, at = until(text, at, "\n")
    arguments, at = json_object(text, expect(text, at, "```json"))
    return made(name.strip(), arguments), expect(text, expect(text, at, "```"), _DEEPSEEK[2])


def _deepseek_v31(text: str, at: int) -> tuple[ToolCall, int]:
    name, at = until(text, at, _DEEPSEEK[1])
    arguments, at = json_object(text, at)
    return made(name.strip(), arguments), expect(text, at, _DEEPSEEK[2])


_SECTION = re.compile("<｜tool▁calls▁begin｜>")
read_deepseek_v3 = blocks(_SECTION, _many(_DEEPSEEK[0], _deepseek_v3), "<｜tool▁calls▁end｜>")
read_deepseek_v31 = blocks(_SECTION, _many(_DEEPSEEK[0], _deepseek_v31), "<｜tool▁calls▁end｜>")

_KIMI_ID = re.compile(r"(?:functions\.)?(.+?)(?::\d+)?", re.S)


def _kimi(text: str, at: int) -> tuple[ToolCall, int]:
    """A call's id is ``functions.<name>:<number>``."""
    given, at = until(text, at, "<|tool_call_argument_begin|>")
    name = _KIMI_ID.fullmatch(given.strip())
    arguments, at = json_object(text, at)
    return made(name and name[1], arguments), expect(text, at, "<|tool_call_end|>")


read_kimi = blocks(
    re.compile(r"<\|tool_calls_section_begin\|>"), _many("<|tool_call_begin|>", _kimi), "<|tool_calls_section_end|>"
)


def _llama_function(text: str, at: int, _: Tools) -> tuple[list[ToolCall], int]:
    name, at = until(text, at, ">")
    arguments, at = json_object(text, at)
    return [made(name.strip(), arguments)], at


read_llama3_custom: Reader = blocks(re.compile("<function="), _llama_function, "</function>")


# --- harmony ------------------------------------------------------------------------------------------------------

_HEADER = re.compile(
    r"(?:<\|start\|>(?P<role>[^<]*+))?<\|channel\|>(?P<channel>\w++)(?P<rest>[^<]*+)(?:<\|constrain\|>[^<]*+)?<\|message\|>"
)
_STARTS = re.compile(r"<\|(?:start|channel)\|>")
_ENDS = re.compile(r"<\|(?:end|call|return|start|channel)\|>")
_RECIPIENT = re.compile(r"\bto=(\S*+)")


def read_harmony(text: str, tools: Tools) -> Found:
    """gpt-oss: messages with a channel; one with a recipient is a call, what is analysed is reasoning."""
    calls: list[ToolCall] = []
    words: list[str] = []
    at = 0
    if _RECIPIENT.match(text.lstrip()):  # the prompt ended within this message's header
        text = f"<|start|>{text}"
    if started := _STARTS.search(text):
        words, at = [text[: started.start()]], started.start()
    while at < len(text):
        header = _HEADER.match(text, skip_space(text, at))
        if not header:
            if text.find("<|", at) >= 0 and "to=" in text[at:]:
                raise ValueError("a message without a header")
            words.append(text[at:])
            break
        found = _ENDS.search(text, header.end())
        body = text[header.end() : found.start() if found else len(text)]
        at = len(text) if not found else found.start() if found[0] in ("<|start|>", "<|channel|>") else found.end()
        to = _RECIPIENT.search(f"{header['role'] or ''} {header['rest']}")
        if to:
            value: Any = body.strip() or "{}"
            calls.append(made(to[1].removeprefix("functions."), value))
        elif header["channel"] != "analysis":
            words.append(body)
    return calls, words
