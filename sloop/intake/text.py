"""What datasets write into text: calls, tools and results, as JSON or as Python prints it.

Calls in the formats that models speak are read by `sloop.calls.formats`. Beyond these, datasets write
``<functioncall>`` (Glaive), ``<TOOLCALL>`` (When2Call), ``Action:`` and ``Action Input:`` (ToolBench), Python's quotes
(Hermes, Toucan) and names with spaces (ToolACE).
"""

from __future__ import annotations

import ast
import json
import re
import warnings
from collections.abc import Collection, Iterator
from contextlib import suppress
from typing import Any

from sloop.calls.formats import FORMATS, Parsed, after_thinking, parse
from sloop.records import ToolCall, from_json
from sloop.tools.definitions import PARAMETERS, TOOLBENCH
from sloop.tools.dialects import is_schema

MAX_LITERAL = 500_000
"""Characters that are read as Python; its parser takes seconds over more."""
MAX_FAILED = 5
"""Brackets of a system message that may turn out to hold no tools."""
_CONSTANTS = {"true": True, "false": False, "null": None}
_QUOTED = re.compile(r"""["']arguments["']\s*:\s*'(?=\{)""")
"""What arguments in single quotes begin with: JSON that may hold an apostrophe (Glaive)."""
TAGS = {
    "<functioncall>": "",
    "<TOOLCALL>": "</TOOLCALL>",
    "<tool_call>": "</tool_call>",
    "<function_call>": "</function_call>",
}
"""Before and after calls; empty: up to the end."""
_TAG = re.compile("|".join(TAGS))
_ACTION = re.compile(r"^Action:[ \t]*(?P<name>[^\n]+)\n\s*Action Input:(?P<arguments>.*)", re.S | re.M)
_MARKED = re.compile(r"[<\[{`]|Action:")
"""What every call in text holds; the rest is words, and read no further."""
_TOOLS = re.compile(r"""\[\s*\{\s*["']|\{\s*["'](?:name|type|function)["']\s*:""")
_WRAPPED = re.compile(
    r"(?:```\w*[ \t]*\n|<(?P<tag>tool_code|execute|api_call)>)(?P<body>.*?)\s*(?:```|</(?P=tag)>)?", re.S
)
"""What calls alone stand in."""
_CALLED = ("name", "tool", "function", "action")
"""Keys under which the name of a called tool stands."""
_TAKEN = ("arguments", "args", "parameters", "params", "input", "kwargs")
_LISTED = re.compile(r"<tools>(.*?)</tools>", re.S)
_RESULT = re.compile(r"<tool_response>(.*?)</tool_response>", re.S)


def wrong(what: str, value: Any, allowed: str) -> ValueError:
    """What to raise for a part of a row."""
    shown = json.dumps(value, ensure_ascii=False, default=str)
    return ValueError(f"{what} is {shown if len(shown) < 80 else shown[:77] + '...'}; allowed: {allowed}.")


class _Constants(ast.NodeTransformer):
    """JSON's words in Python's place."""

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return ast.Constant(_CONSTANTS[node.id]) if node.id in _CONSTANTS else node


def literal(text: str) -> Any:
    """The value that a text is, in JSON or as Python prints it.

    Raises:
        ValueError: it is none.
    """
    try:
        return from_json(text)
    except ValueError as error:
        if len(text) > MAX_LITERAL:
            raise
        begin, end = _QUOTED.search(text), text.rfind("}'") + 1
        quoted = [text[: begin.end() - 1] + json.dumps(text[begin.end() : end]) + text[end + 1 :]] if begin else []
        for candidate in (*quoted, text):
            for read in (from_json, _python):
                with suppress(ValueError):
                    return read(candidate)
        raise error


def _python(text: str) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of escapes that Python does not know
            tree = _Constants().visit(ast.parse(text.strip(), mode="eval"))
        return from_json(json.dumps(ast.literal_eval(tree), allow_nan=False))
    except (SyntaxError, TypeError, MemoryError, RecursionError) as error:
        raise ValueError(str(error)) from error


def one_call(given: Any) -> dict[str, Any]:
    """Name and arguments of a call in any spelling: OpenAI's nested one, flat, LangChain's ``args``, ``parameters``.

    Raises:
        ValueError: it names no function, or its arguments are no object; says which.
    """
    function = given.get("function") if isinstance(given, dict) else None
    function = given if function is None else function
    name = function.get("name") if isinstance(function, dict) else None
    if not isinstance(function, dict) or not isinstance(name, str) or not name.strip():
        raise ValueError("name")
    arguments = next((function[key] for key in ("arguments", "args", "parameters", "input") if key in function), None)
    if isinstance(arguments, str) and arguments.strip():
        arguments = literal(arguments)
    if not isinstance(arguments, dict) and arguments not in (None, "", []):
        raise ValueError("arguments")
    return {"name": name, "arguments": arguments or {}}


def calls_in(value: Any) -> tuple[ToolCall, ...]:
    """The calls of a value: one, or a list of them.

    Raises:
        ValueError: it holds anything else.
    """
    return tuple(ToolCall.model_validate(one_call(given)) for given in (value if isinstance(value, list) else [value]))


def said(text: str, offered: Collection[str]) -> Parsed:
    """What the text of an assistant's message says: words, calls, or (``error``) a call that cannot be read.

    Calls of tools on offer count in every notation; others only where the text plainly opens a call.
    """
    words = Parsed(content=text)
    near = [name for name in offered if name in text]
    if not near and not _MARKED.search(text):
        return words
    plain = parse("hermes", text)  # which says of every other format whether it is plainly one
    own = [found for reader in (_tagged, _action, _named) if (found := reader(text, offered))]
    own += [found] if near and (found := _alone(text, near)) else []
    calling = [reading for reading in (*(parse(name, text) for name in FORMATS), *own) if reading.calls]
    for reading in calling:
        if all(call.name in offered for call in reading.calls):
            return reading
    if own or plain.error or plain.calls:
        return calling[0] if calling else Parsed(content=text, error="format")
    return words


def _tagged(text: str, offered: Collection[str]) -> Parsed | None:
    """JSON or Python between tags."""
    answer = after_thinking(text, "hermes")
    tags = list(_TAG.finditer(answer))
    if not tags:
        return None
    words, calls = [answer[: tags[0].start()]], list[ToolCall]()
    try:
        for tag, following in zip(tags, [*(tag.start() for tag in tags[1:]), len(answer)], strict=True):
            body, closed, rest = answer[tag.end() : following].partition(TAGS[tag[0]] or "\0")
            calls += calls_in(literal(body.strip()))
            words.append(rest if closed else "")
    except ValueError:
        return Parsed(content=words[0].strip(), error="format")
    return Parsed(calls=tuple(calls), content="\n".join(word.strip() for word in words if word.strip()))


def _action(text: str, offered: Collection[str]) -> Parsed | None:
    """A thought, an action and its input."""
    found = _ACTION.search(text)
    if not found:
        return None
    words = re.sub(r"\A\s*Thought:", "", text[: found.start()]).strip()
    try:
        value = found["arguments"].partition("\nObservation:")[0].strip()
        return Parsed(calls=calls_in({"name": found["name"].strip(), "arguments": value}), content=words)
    except ValueError:
        return Parsed(content=words, error="format")


def _named(text: str, offered: Collection[str]) -> Parsed | None:
    """A list of Python's calls of tools whose names are none of Python's."""
    odd = sorted((name for name in offered if not name.isidentifier()), key=len, reverse=True)
    if not odd or not text.lstrip().startswith("["):
        return None
    names = re.compile(rf"(?<=[\[,])\s*({'|'.join(map(re.escape, odd))})\s*\(")
    spelled = names.sub(lambda found: f" sloop_tool_{odd.index(found[1])}(", text)
    if spelled == text:
        return None
    found = parse("pythonic", spelled)
    calls = tuple(call.model_copy(update={"name": _back(call.name, odd)}) for call in found.calls)
    if any("sloop_tool_" in str(call.arguments) for call in calls):  # the name stood in a text
        return Parsed(content=found.content, error="format")
    return found.model_copy(update={"calls": calls})


def _alone(text: str, names: Collection[str]) -> Parsed | None:
    """An answer that is nothing but calls of these tools, in a notation of no format, or that begins like one."""
    answer = re.sub(r"\A\s*Thought:[^\n]*\n", "", text.rpartition("</think>")[2]).strip()
    wrapped = _WRAPPED.fullmatch(answer)
    body = wrapped["body"].strip() if wrapped else answer
    either = "|".join(map(re.escape, sorted(names, key=len, reverse=True)))
    with suppress(ValueError):
        if found := re.fullmatch(rf"({either})\(\s*(\{{.*\}})\s*\)", body, re.S):
            return Parsed(calls=calls_in({"name": found[1], "arguments": found[2]}))
        if body.startswith(("{", "[{")):
            value = literal(body)
            listed = value if isinstance(value, list) else [value]
            return Parsed(calls=calls_in([_spelled(each, names) for each in listed]))
    if re.match(rf"(?:{either})\(", body):
        line = re.sub(r"\)[;,]?[ \t]*\n\s*", "), ", body)
        if (plain := _named(f"[{line}]", names) or parse("pythonic", f"[{line}]")).calls and not plain.content:
            return plain
    opens = (
        rf"(?:print\(|\w+ = )?(?:\w+\.)*(?:{either})\(",
        rf"<(?:{either})[\s/>]",
        rf"\W*(?:action|tool|function|call|api)[ \w]*:\W*(?:{either})\b(?=\W*\Z|.{{0,40}}[\[({{])",
        *([rf"[\[\s]*\{{.*\"(?:{either})\"\s*[:,}}]"] if body.startswith(("{", "[{")) else ()),
    )
    is_call = (wrapped and wrapped["tag"]) or any(
        re.search(rf"^[ \t]*{each}", body, re.M | re.S | re.I) for each in opens
    )
    return Parsed(content=text, error="format") if is_call else None


def _spelled(given: Any, names: Collection[str]) -> dict[str, Any]:
    """A call whose keys have other names, or of which the tool's name is the key; ValueError where it is none."""
    if isinstance(given, dict) and len(given) == 1 and (name := next(iter(given))) in names:
        return {"name": name, "arguments": given[name]}
    plain = {re.sub(r"^(?:tool|function|action)_", "", key): part for key, part in given.items()} if given else {}
    name = next((plain[key] for key in _CALLED if isinstance(plain.get(key), str)), "")
    arguments = [plain[key] for key in _TAKEN if key in plain]
    if name not in names or len(arguments) != 1:
        raise ValueError("name")
    return {"name": name, "arguments": arguments[0]}


def _back(name: str, odd: list[str]) -> str:
    return odd[int(name.removeprefix("sloop_tool_"))] if name.startswith("sloop_tool_") else name


def results_in(text: str) -> list[str]:
    """The results in tags that a message consists of; the text itself where it is not of that kind."""
    if "</tool_response>" not in text or _RESULT.sub("", text).strip():
        return [text]
    return [found.strip() for found in _RESULT.findall(text)] or [text]


def tools_in(text: str) -> list[Any]:
    """The definitions that a system message lists: between ``<tools>`` tags, in a list, or one after another."""
    between = "\n".join(_LISTED.findall(text)).strip()
    found: list[Any] = []
    for value in _values(between or text):
        listed = value if isinstance(value, list) else [value]
        if all(map(_names_tool, listed)) and (between or any(map(_declares, listed))):
            found += listed
    return found


def _names_tool(value: Any) -> bool:
    function = value.get("function", value) if isinstance(value, dict) else None
    return isinstance(function, dict) and isinstance(function.get("name"), str) and len(function) > 1


def _declares(tool: dict[str, Any]) -> bool:
    """Whether it says what the tool takes: neither a record of something else, nor an example of a call."""
    function = tool.get("function", tool)
    given = [function[key] for key in (*PARAMETERS, *TOOLBENCH) if key in function]
    return bool(given) and (
        "description" in function or any(isinstance(each, dict) and is_schema(each) for each in given)
    )


def _values(text: str) -> Iterator[Any]:
    at = failed = 0
    while failed < MAX_FAILED and (start := _TOOLS.search(text, at)):
        end = _balanced(text, start.start())
        try:
            yield literal(text[start.start() : end])
            at = end
        except ValueError:
            failed += 1
            at = start.start() + 1


def _balanced(text: str, start: int) -> int:
    """Where the bracket that opens at ``start`` is closed, brackets in strings apart."""
    depth, quote, at = 0, "", start
    while at < len(text):
        letter = text[at]
        if quote:
            if letter == "\\":
                at += 1
            elif letter == quote:
                quote = ""
        elif letter in "\"'":
            quote = letter
        elif letter in "[{":
            depth += 1
        elif letter in "]}":
            depth -= 1
            if not depth:
                return at + 1
        at += 1
    return len(text)
