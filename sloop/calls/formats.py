"""Text to calls and back, one small function per chat format; the checkpoint records the format's name.

What is read here is text that a model made up, so nothing in it raises: whatever opens a call and does not finish one
is ``error="format"``, an attempted call, and never an empty list of calls.

======== ================================================================= ======================================
format   a call                                                            models
======== ================================================================= ======================================
hermes   ``<tool_call>{"name": "f", "arguments": {}}</tool_call>``         Hermes 2 and 3, Qwen 2.5 and 3, ours
llama3   ``{"name": "f", "parameters": {}}``, ``<|python_tag|>...``        Llama 3.1 to 3.3
mistral  ``[TOOL_CALLS][{"name": "f", "arguments": {}}]`` or ``f[ARGS]{}`` Mistral, Mixtral, Ministral, Magistral
pythonic ``[f(x=1), g(y='a')]``                                            Llama 3.2 and 4, ToolACE, BFCL's prompts
json     a bare or fenced object or list, ``arguments`` or ``parameters``  any model told to answer in JSON
======== ================================================================= ======================================

Calls that a server hands over apart from the text (OpenAI's ``tool_calls``) are read by `parse_tool_calls`.
"""

from __future__ import annotations

import ast
import json
import re
import warnings
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator

from sloop.records import Label, Record, ToolCall, UserError, finite, no_constant, whole_number
from sloop.records.ranges import refused

MAX_PYTHON = 50_000
"""Characters of a pythonic answer that are read; Python's parser takes long over more, which no call needs."""

OPEN, CLOSE = "<tool_call>", "</tool_call>"
PYTHON_TAG = "<|python_tag|>"
TOOL_CALLS, CALL_ID, ARGS = "[TOOL_CALLS]", "[CALL_ID]", "[ARGS]"
THINK_OPEN, THINK_CLOSE = "<think>", "</think>"
SPACE = re.compile(r"[ \t\r\n]*")


class Parsed(Record):
    """What a text says: calls and the words around them."""

    calls: tuple[ToolCall, ...] = ()
    content: str = ""
    """The words outside the calls, reasoning apart, without white space at the ends."""
    error: Literal["format"] | None = None
    """``format``: a call was attempted and cannot be read; ``calls`` is then empty."""


def _formats() -> str:
    return f"allowed: {', '.join(sorted(FORMATS))}. Set student.answer_format to one of these"


def _known(format: str) -> str:
    if format not in FORMATS:
        raise refused(_formats())
    return format


FormatName = Annotated[str, AfterValidator(_known)]


def parse(format: str, text: str) -> Parsed:
    """Read a model's answer. A call that is plainly one of another format is an attempt that cannot be read.

    Args:
        format: a name in `FORMATS`.
        text: the answer as it was generated, end-of-turn token removed.

    Raises:
        UserError: there is no such format. No text raises.
    """
    if format not in FORMATS:
        raise UserError(f"unknown tool-call format {format!r}: {_formats()}.")
    parsed = FORMATS[format](text)
    if not parsed.calls and not parsed.error and opens_call(parsed.content):
        return parsed.model_copy(update={"error": "format"})
    return parsed


def opens_call(text: str) -> bool:
    """True where a text opens a call in any known format: what to ask of an answer that was cut off.

    JSON counts where a name is followed by arguments; an object with a name alone may be an answer.
    """
    return _UNMISTAKABLE.search(text) is not None


def parse_hermes(text: str) -> Parsed:
    """Read the Hermes form, which Qwen 2.5 and 3 write: ``<tool_call>``, a JSON object, ``</tool_call>``, repeated.

    The object has a non-empty ``name`` and ``arguments`` (a JSON object, a string that holds one, or absent for none),
    and no other key.
    Text before, between and after the calls is content. Reasoning up to ``</think>`` is dropped, and a call inside it
    is no call. A tag inside a JSON string is text. A close without an open is an error too: a call whose opening
    was lost.
    """
    visible = after_thinking(text, "hermes")
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


def parse_llama3(text: str) -> Parsed:
    """Read the Llama 3 form: JSON objects with ``name`` and ``parameters``, apart by ``;`` or white space.

    They stand alone, or after ``<|python_tag|>`` and the words before it; there, the call of a built-in tool stands in
    Python's form: ``brave_search.call(query="...")`` calls ``brave_search``. Code after the tag is an error.
    """
    visible = after_thinking(text, "llama3")
    words, tagged, body = visible.partition(PYTHON_TAG)
    if not tagged:
        words, body = "", visible
        if not MARKS["llama3"].match(body):
            return Parsed(content=body.strip())
    try:
        if tagged and not body.lstrip().startswith("{"):
            return Parsed(calls=tuple(_python_calls(body, built_in=True)), content=words.strip())
        bodies = _json_values(body, separator=";")
        return Parsed(calls=tuple(_call(_plain(item), "parameters") for item in bodies), content=words.strip())
    except (ValueError, RecursionError):
        return _unreadable([words])


def parse_mistral(text: str) -> Parsed:
    """Read the Mistral form: ``[TOOL_CALLS]`` and a JSON list of calls, or from v11 on ``[TOOL_CALLS]name[ARGS]{...}``.

    Calls may have an ``id``, which is dropped. Text before the first call is content; after it, anything is an error.
    """
    visible = after_thinking(text, "mistral")
    words, *bodies = visible.split(TOOL_CALLS)
    calls: list[ToolCall] = []
    try:
        for body in bodies:
            if body.lstrip().startswith("["):
                (found,) = _json_values(body)
                calls += [_call(_plain(item, "id")) for item in found]
                continue
            name, given, arguments = body.partition(ARGS)
            if not given:
                raise ValueError("a call without arguments")
            (found,) = _json_values(arguments)
            calls.append(_call({"name": name.partition(CALL_ID)[0].strip(), "arguments": found}))
        if bodies and not calls:
            raise ValueError("no call after the mark")
    except (ValueError, RecursionError, TypeError):
        return _unreadable([words])
    return Parsed(calls=tuple(calls), content=words.strip())


def parse_pythonic(text: str) -> Parsed:
    """Read a list of Python calls with keyword arguments: ``[f(x=1), g.h(y=[True, None])]``. Nothing is evaluated.

    Values are literals; ``true``, ``false`` and ``null`` count as such, and a tuple is a list. A positional argument is
    an error, as nothing says which one it is.
    """
    visible = after_thinking(text, "pythonic")
    if not MARKS["pythonic"].match(visible):
        return Parsed(content=visible.strip())
    try:
        return Parsed(calls=tuple(_python_calls(visible)))
    except (ValueError, RecursionError):
        return _unreadable([])


def parse_json(text: str) -> Parsed:
    """Read one JSON object with a call, or a list of them, bare or in one code fence with words around it.

    ``parameters`` stands for ``arguments`` too, and OpenAI's ``{"type": "function", "function": {...}}`` is read. JSON
    that names no function is content.
    """
    visible = after_thinking(text, "json")
    fenced = _FENCE.search(visible)
    body = fenced[1] if fenced else visible
    words = [visible[: fenced.start()], visible[fenced.end() :]] if fenced else []
    if not MARKS["json"].search(visible):
        return Parsed(content=visible.strip())
    try:
        (found,) = _json_values(body)
        return Parsed(calls=tuple(map(_any_call, found if isinstance(found, list) else [found])), content=_join(words))
    except (ValueError, RecursionError):
        return _unreadable(words)


def render_hermes(label: Label) -> str:
    """The text that a student is trained to write, which `parse_hermes` reads back: content, then one block a call."""
    blocks = [f"{OPEN}\n{_hermes_body(call)}\n{CLOSE}" for call in label.calls]
    return "\n".join([label.content, *blocks] if label.content else blocks)


def parse_tool_calls(content: str, calls: Sequence[tuple[str, str]]) -> Parsed:
    """Read the OpenAI form, in which a server hands over (name, text of the arguments) apart from the words.

    Arguments are a JSON object, or nothing at all for none. Words that hold or attempt a call in a known format are a
    call that the server could not read. Reasoning is dropped.
    """
    words = after_thinking(content, "hermes").strip()
    if not calls:
        parsed = parse_hermes(content)
        if parsed.calls or parsed.error:
            return Parsed(content=parsed.content, error="format")
        return Parsed(content=words, error="format" if opens_call(words) else None)
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


def after_thinking(text: str, format: str) -> str:
    """The answer proper. Templates may put the opening tag into the prompt, so the close alone is enough."""
    head, closed, answer = text.partition(THINK_CLOSE)
    if closed and not MARKS[format].search(head.partition(THINK_OPEN)[0]):
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


def _json_values(text: str, separator: str = "") -> list[Any]:
    """The JSON values that a text consists of.

    Raises:
        ValueError: there is none, or anything else beside them.
    """
    values, at = [], _skip_space(text, 0)
    while at < len(text):
        value, at = _DECODER.raw_decode(text, at)
        values.append(value)
        at = _skip_space(text, at)
        if separator and text.startswith(separator, at):
            at = _skip_space(text, at + len(separator))
    if not values:
        raise ValueError("nothing to read")
    return values


def _plain(body: Any, *also: str) -> Any:
    """A call's object without what is no part of the call: ``"type": "function"``, and the keys named."""
    if not isinstance(body, dict):
        return body
    return {k: v for k, v in body.items() if k not in also and (k, v) != ("type", "function")}


def _any_call(body: Any) -> ToolCall:
    """The call of an object in whichever spelling of the arguments."""
    body = _plain(body, "id")
    if isinstance(body, dict) and body.keys() == {"function"}:
        body = body["function"]
    return _call(body, "parameters" if isinstance(body, dict) and "parameters" in body else "arguments")


def _python_calls(text: str, *, built_in: bool = False) -> list[ToolCall]:
    """The calls of a Python expression.

    Raises:
        ValueError: it is none, or holds anything but calls with literals as keyword arguments.
    """
    if len(text) > MAX_PYTHON:
        raise ValueError("too long")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of escapes that Python does not know
            tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, MemoryError) as error:
        raise ValueError(str(error)) from None
    nodes = tree.elts if isinstance(tree, ast.List) else [tree]
    return [_python_call(node, built_in) for node in nodes]


def _python_call(node: ast.expr, built_in: bool) -> ToolCall:
    if not isinstance(node, ast.Call) or node.args or any(keyword.arg is None for keyword in node.keywords):
        raise ValueError("a call has keyword arguments alone")
    name = ast.unparse(node.func)
    if not _DOTTED.fullmatch(name):
        raise ValueError(f"{name} is no name")
    if built_in:
        name = name.removesuffix(".call")
    given = _no_duplicates([(str(keyword.arg), _literal(keyword.value)) for keyword in node.keywords])
    return _call({"name": name, "arguments": given})


def _literal(node: ast.expr) -> Any:
    """A JSON value written as a Python literal.

    Raises:
        ValueError: it is none.
    """
    if isinstance(node, ast.Constant) and isinstance(node.value, str | int | float | None):
        return finite(str(node.value)) if isinstance(node.value, float) else node.value
    if isinstance(node, ast.Name) and node.id in _WORDS:
        return _WORDS[node.id]
    if isinstance(node, ast.List | ast.Tuple):
        return [_literal(item) for item in node.elts]
    if isinstance(node, ast.Dict):
        keys = [_literal(key) if key else None for key in node.keys]
        if not all(isinstance(key, str) for key in keys):
            raise ValueError("a key is a string")
        return _no_duplicates(list(zip(map(str, keys), map(_literal, node.values), strict=True)))
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        value = _literal(node.operand)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return -value
    raise ValueError("not a literal")


def _call(body: Any, arguments_key: str = "arguments") -> ToolCall:
    """The call that a decoded block says.

    Raises:
        ValueError: it says none.
    """
    if not isinstance(body, dict):
        raise ValueError("a call is a JSON object")
    if unknown := body.keys() - {"name", arguments_key}:
        # "parameters" for "arguments" would otherwise be a call without any, and match a label that gives none
        raise ValueError(f"a call has no key {min(unknown)!r}")
    name, arguments = body.get("name"), body.get(arguments_key, {})
    if isinstance(arguments, str):
        arguments = _DECODER.decode(arguments)
    if not isinstance(name, str) or not name.strip() or not isinstance(arguments, dict):
        raise ValueError("a call has a name, and arguments that are an object")
    return ToolCall(name=name, arguments=arguments)


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands twice in an object")
    return found


_DECODER = json.JSONDecoder(
    object_pairs_hook=_no_duplicates, parse_float=finite, parse_int=whole_number, parse_constant=no_constant
)

_FENCE = re.compile(r"```(?:json)?[ \t]*\n(.*?)```", re.S)
_DOTTED = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")
_WORDS = {"true": True, "false": False, "null": None}

FORMATS: dict[str, Callable[[str], Parsed]] = {
    "hermes": parse_hermes,
    "llama3": parse_llama3,
    "mistral": parse_mistral,
    "pythonic": parse_pythonic,
    "json": parse_json,
}
"""Reader of each format, by the name that a checkpoint records."""
# Possessive quantifiers: with the usual ones a megabyte of white space takes minutes.
_KEY = r"\{\s*+\"(?:name|type|function|id|parameters|arguments)\"\s*+:"
MARKS: dict[str, re.Pattern[str]] = {
    "hermes": re.compile(re.escape(OPEN)),
    "llama3": re.compile(rf"{re.escape(PYTHON_TAG)}|\A\s*+{_KEY}"),
    "mistral": re.compile(re.escape(TOOL_CALLS)),
    "pythonic": re.compile(r"\A\s*+\[\s*+[^\W\d]\w*+(?:\.\w++)*+\("),
    "json": re.compile(rf"(?:\A|```(?:json)?[ \t]*+\n)\s*+(?:\[\s*+)?{_KEY}"),
}
"""What a call begins with, where the format is known."""
OPENINGS: dict[str, tuple[str, ...]] = {
    "hermes": (OPEN,),
    "llama3": (PYTHON_TAG, "{"),
    "mistral": (TOOL_CALLS,),
    "pythonic": ("[",),
    "json": ("{", "[", "```"),
}
"""Text before the first of these is content whatever follows: what of an answer may be sent before it is whole."""
_NAMED_CALL = r"\{\s*+\"name\"\s*+:\s*+\"[^\"\n]{1,128}\"\s*+,\s*+\"(?:arguments|parameters)\""
_UNMISTAKABLE = re.compile(
    rf"{re.escape(OPEN)}|{re.escape(PYTHON_TAG)}|{re.escape(TOOL_CALLS)}|{MARKS['pythonic'].pattern}|{_NAMED_CALL}"
)
