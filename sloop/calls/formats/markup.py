"""Calls in tags, of which the values are bare text: the tool's schema says what type they have.

As in the parsers that serve these models (vllm-project/vllm ``coerce_to_schema_type``, sgl-project/sglang
``function_call``), a value that is of none of its schema's types stays as it is; the check of the schema says so.
"""

from __future__ import annotations

import re
from typing import Any

from sloop.calls.formats.base import DECODER, Body, Tools, blocks, expect, json_object, made, skip_space, until
from sloop.calls.formats.python import literal
from sloop.records import ToolCall

_ALIASES = {"int": "integer", "float": "number", "bool": "boolean", "dict": "object", "list": "array", "str": "string"}
_KINDS = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}


def types_of(schema: Any) -> set[str]:
    """The JSON types that a parameter's schema names, its enum and its alternatives included."""
    if not isinstance(schema, dict):
        return set()
    named, options = schema.get("type"), schema.get("enum")
    names = named if isinstance(named, list) else [named]
    types = {_ALIASES.get(name, name) for name in names if isinstance(name, str)}
    types |= {_kind(value) for value in (options if isinstance(options, list) else ())}
    for key in ("anyOf", "oneOf", "allOf"):
        parts = schema.get(key)
        for part in parts if isinstance(parts, list) else ():
            types |= types_of(part)
    return types


def _kind(value: Any) -> str:
    return _KINDS.get(type(value), "null")


def typed(value: str, types: set[str], *, unknown_is_text: bool = True) -> Any:
    """A value that stands as text, in the type that its schema has."""
    if types == {"string"} or (unknown_is_text and not types):
        return value
    bare = value.strip()
    if "boolean" in types and bare.lower() in ("true", "false"):
        return bare.lower() == "true"
    try:
        found = DECODER.decode(bare)
    except (ValueError, RecursionError):
        try:
            found = literal(bare) if types & {"object", "array"} else value
        except (ValueError, RecursionError):
            found = value
    fits = not types or _kind(found) in types or (type(found) is int and "number" in types)
    return found if fits or "string" not in types else value


def _types(tools: Tools, function: str, parameter: str) -> set[str]:
    for tool in tools:
        if tool.name == function:
            return types_of(tool.properties.get(parameter))
    return set()


def _once(arguments: dict[str, Any], name: str, value: Any) -> None:
    if not name or name in arguments:
        raise ValueError(f"an argument {name!r} that is none, or given twice")
    arguments[name] = value


def _trimmed(value: str) -> str:
    """Without the line ends that templates write around a value."""
    return value.removeprefix("\n").removesuffix("\n")


_PARAMETER = re.compile(r"<parameter=([^<>]*+)>")


def _function(text: str, at: int, tools: Tools) -> tuple[list[ToolCall], int]:
    """``f><parameter=x>v</parameter></function>``, as Qwen3-Coder and its kin write it, and a close of the block."""
    name, at = until(text, at, ">")
    name = name.strip()
    arguments: dict[str, Any] = {}
    while opened := _PARAMETER.match(text, skip_space(text, at)):
        value, at = until(text, opened.end(), "</parameter>")
        if _PARAMETER.search(value) or "</function>" in value:
            raise ValueError("a parameter that does not end")
        key = opened[1].strip()
        _once(arguments, key, typed(_trimmed(value), _types(tools, name, key)))
    at = expect(text, at, "</function>")
    if closed := _CLOSE.match(text, at):
        at = closed.end()
    return [made(name, arguments)], at


_CLOSE = re.compile(r"\s*+</(?:seed:)?tool_call>")
read_qwen3_coder = blocks(re.compile(r"(?:<tool_call>\s*+)?<function="), _function, None)
read_seed_oss = blocks(re.compile(r"(?:<seed:tool_call>\s*+)?<function="), _function, None)

_GLM_NAME = re.compile(r"\s*+([^\s<{]++)\s*+(?=<)")


def _glm(text: str, at: int, tools: Tools) -> tuple[list[ToolCall], int]:
    """``f`` and pairs of ``<arg_key>`` and ``<arg_value>``."""
    opened = _GLM_NAME.match(text, at)
    if not opened:
        raise ValueError("a call without a name")
    name, at = opened[1], opened.end()
    arguments: dict[str, Any] = {}
    while text.startswith("<arg_key>", at := skip_space(text, at)):
        key, at = until(text, at + len("<arg_key>"), "</arg_key>")
        value, at = until(text, expect(text, at, "<arg_value>"), "</arg_value>")
        if "<arg_key>" in value or "</tool_call>" in key:
            raise ValueError("a value that does not end")
        key = key.strip()
        _once(arguments, key, typed(_trimmed(value), _types(tools, name, key), unknown_is_text=False))
    return [made(name, arguments)], at


read_glm = blocks(re.compile("<tool_call>"), _glm, "</tool_call>")


def _invokes(mark: str = "") -> Body:
    """``<invoke name="f"><parameter name="x">v</parameter></invoke>``; DeepSeek's says which values are strings."""
    opening = re.compile(rf"<{mark}invoke\s++name=(?:\"([^\"<>]*+)\"|'([^'<>]*+)'|([^\s\"'<>]++))\s*+>")
    given = re.compile(
        rf"<{mark}parameter\s++name=(?:\"([^\"<>]*+)\"|'([^'<>]*+)'|([^\s\"'<>]++))(?:\s++string=\"(true|false)\")?\s*+>"
    )
    ends = f"</{mark}parameter>", f"</{mark}invoke>"

    def read(text: str, at: int, tools: Tools) -> tuple[list[ToolCall], int]:
        calls: list[ToolCall] = []
        while found := opening.match(text, skip_space(text, at)):
            name, at = (found[1] or found[2] or found[3] or "").strip(), found.end()
            arguments: dict[str, Any] = {}
            if text.startswith("{", skip_space(text, at)):
                arguments, at = json_object(text, at)
            while parameter := given.match(text, skip_space(text, at)):
                value, at = until(text, parameter.end(), ends[0])
                if given.search(value) or ends[1] in value:
                    raise ValueError("a parameter that does not end")
                key = (parameter[1] or parameter[2] or parameter[3] or "").strip()
                if parameter[4] == "true":
                    _once(arguments, key, value)
                else:
                    known = set() if parameter[4] else _types(tools, name, key)
                    _once(arguments, key, typed(_trimmed(value), known, unknown_is_text=not parameter[4]))
            at = expect(text, at, ends[1])
            calls.append(made(name, arguments))
        return calls, at

    return read


_INVOKES = _invokes()
read_minimax_m2 = blocks(re.compile("<minimax:tool_call>"), _INVOKES, "</minimax:tool_call>")
_NAMED = re.compile(r"<invoke>\s*+<tool_name>([^<>]*+)</tool_name>\s*+<parameters>")
_TAG = re.compile(r"<([^<>/\s]++)>")


def _claude(text: str, at: int, tools: Tools) -> tuple[list[ToolCall], int]:
    """As MiniMax's, or with a tag for the name and one that is called as each parameter (anthropic-tools)."""
    calls: list[ToolCall] = []
    while found := _NAMED.match(text, skip_space(text, at)):
        name, at = found[1].strip(), found.end()
        arguments: dict[str, Any] = {}
        while tag := _TAG.match(text, skip_space(text, at)):
            value, at = until(text, tag.end(), f"</{tag[1]}>")
            _once(arguments, tag[1], typed(value, _types(tools, name, tag[1])))
        at = expect(text, expect(text, at, "</parameters>"), "</invoke>")
        calls.append(made(name, arguments))
    return (calls, at) if calls else _INVOKES(text, at, tools)


read_claude = blocks(re.compile(r"<function_calls>(?=\s*+<invoke)"), _claude, "</function_calls>")


def _dsml(text: str, at: int, tools: Tools) -> tuple[list[ToolCall], int]:
    block, at = until(text, at, ">")
    calls, at = _DSML_INVOKES(text, at, tools)
    return calls, expect(text, at, f"</｜DSML｜{block}>")


_DSML_INVOKES = _invokes("｜DSML｜")
read_deepseek_v32 = blocks(re.compile(r"<｜DSML｜(?=(?:function|tool)_calls>)"), _dsml, None)
