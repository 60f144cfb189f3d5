"""Calls in Python's form, ``f(x=1)``, alone in a list or between marks. Nothing is evaluated."""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Mapping
from typing import Any

from sloop.calls.formats.base import (
    NAME,
    Body,
    Found,
    Tools,
    blocks,
    call_of,
    json_values,
    made,
    no_duplicates,
    until,
)
from sloop.records import ToolCall, finite

MAX_PYTHON = 20_000
"""Characters of a pythonic answer that are read; Python's parser takes long over more, which no call needs."""

_DOTTED = re.compile(NAME)
_WORDS = {"true": True, "false": False, "null": None}


def python_calls(text: str, *, built_in: bool = False) -> list[ToolCall]:
    """The calls that Python expressions say, one after another or in lists.

    Args:
        text: the expressions.
        built_in: ``f.call(...)`` calls ``f``.

    Raises:
        ValueError: they are none, or hold anything but calls with literals as keyword arguments.
    """
    calls: list[ToolCall] = []
    for statement in _parsed(text):
        if not isinstance(statement, ast.Expr):
            raise ValueError("code is no call")
        calls += [_call(item, built_in) for item in _items(statement.value)]
    if not calls:
        raise ValueError("no call")
    return calls


_BARE = re.compile(r"\s*+(?:\w++\s*+=\s*+)?(?:[\[(]\s*+)*+[\w.]++\s*+\(")


def bare_calls(text: str, tools: Tools) -> list[ToolCall] | None:
    """The calls of tools on offer that are the whole of a text, in a fence or not, in Python or as ``{"f": {...}}``.

    None: it is anything else. A call that holds more than literals by name is one, and gives none.
    """
    if not any(tool.name in text for tool in tools):
        return None
    opened = _FENCED.match(text)
    body = text[opened.end() :].rstrip().removesuffix("```") if opened else text
    if body.lstrip().startswith(("{", "[{")):
        return _by_name(body, {tool.name: tool.properties for tool in tools})
    if not _BARE.match(body):
        return None
    nodes: list[ast.expr] = []
    try:
        for statement in _parsed(body):
            if not isinstance(statement, ast.Expr | ast.Assign):
                return None
            for node in _items(statement.value):
                nodes += node.args if isinstance(node, ast.Call) and ast.unparse(node.func) == "print" else [node]
        names = [ast.unparse(node.func) if isinstance(node, ast.Call) else "" for node in nodes]
        if not names or not set(names) <= {tool.name for tool in tools}:
            return None
    except (ValueError, RecursionError):
        return None
    try:
        return [_call(node, False) for node in nodes]
    except (ValueError, RecursionError):
        return []


def _by_name(text: str, names: Mapping[str, Mapping[str, Any]]) -> list[ToolCall] | None:
    try:
        values, end = json_values(text)
    except (ValueError, RecursionError):
        return None
    bodies = [body for value in values for body in (value if isinstance(value, list) else [value])]
    pairs = [pair for body in bodies for pair in (body.items() if isinstance(body, dict) else [("", None)])]
    if end < len(text) or not pairs:
        return None
    for name, given in pairs:
        if name not in names or not isinstance(given, dict) or not given.keys() <= names[name].keys():
            return None
    return [made(name, given) for name, given in pairs]


def _items(node: ast.expr) -> list[ast.expr]:
    return node.elts if isinstance(node, ast.List | ast.Tuple) else [node]


def literal(text: str) -> Any:
    """The JSON value that a Python literal says.

    Raises:
        ValueError: it is none.
    """
    (statement,) = _parsed(text)
    if not isinstance(statement, ast.Expr):
        raise ValueError("code is no literal")
    return _literal(statement.value)


def _parsed(text: str) -> list[ast.stmt]:
    if len(text) > MAX_PYTHON:
        raise ValueError("too long")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of escapes that Python does not know
            return ast.parse(text.strip()).body
    except (SyntaxError, MemoryError) as error:
        raise ValueError(str(error)) from None


def _call(node: ast.expr, built_in: bool) -> ToolCall:
    if not isinstance(node, ast.Call) or node.args or any(keyword.arg is None for keyword in node.keywords):
        raise ValueError("a call has keyword arguments alone")
    name = ast.unparse(node.func)
    if not _DOTTED.fullmatch(name):
        raise ValueError(f"{name} is no name")
    given = no_duplicates([(str(keyword.arg), _literal(keyword.value)) for keyword in node.keywords])
    return made(name.removesuffix(".call") if built_in else name, given)


def _literal(node: ast.expr) -> Any:
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
        return no_duplicates(list(zip(map(str, keys), map(_literal, node.values), strict=True)))
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        value = _literal(node.operand)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return -value
    raise ValueError("not a literal")


# --- lists of calls ---

START, END = "<|python_start|>", "<|python_end|>"
PYTHONIC = re.compile(rf"\A\s*+(?:{re.escape(START)}\s*+|(?=\[\s*+{NAME}\((?![^()\n]*+\)\]\()))|{re.escape(START)}\s*+")
"""A list of calls at the start of an answer, which a link in Markdown is not, or Llama 4's mark."""
_CERTAIN = rf"\[\s*+{NAME}\(\s*+(?:\w++\s*+=(?!=)|\)\s*+[,\]])"
_CUT = re.compile(rf"\[\s*+{NAME}\([^()]*+\Z")
_LINE = re.compile(rf"\n[ \t]*+(?={_CERTAIN})")
_LAST = re.compile(_CERTAIN)
_FENCED = re.compile(r"\s*+```\w*+\s*+")


def list_at(text: str) -> int:
    """Where a list of calls begins: at the start of the text, or certain ones (with keyword arguments, or none) at that
    of a line or at the text's end. Not within a block of code. -1: nowhere.
    """
    if "[" not in text and START not in text:
        return -1
    found = PYTHONIC.search(text)
    if found and (
        _LAST.match(text, found.end()) or found[0].strip() or _CUT.match(text, found.end()) or _all_calls(text)
    ):
        return found.end()
    end = text.rstrip()
    if not (found := _LINE.search(text)) and end.endswith(")]"):
        line = end.rfind("\n") + 1
        found = _LAST.search(end, line)
        return found.start() if found and not text.count("```", 0, line) % 2 else -1
    if not found or (text.count("```", 0, found.end()) % 2 and not _FENCED.fullmatch(text, 0, found.end())):
        return -1
    return found.end()


def _all_calls(text: str) -> bool:
    try:
        parsed = [statement.value for statement in _parsed(text) if isinstance(statement, ast.Expr)]
    except (ValueError, RecursionError):
        return False
    return all(isinstance(node, ast.List) and all(isinstance(e, ast.Call) for e in node.elts) for node in parsed)


def read_pythonic(text: str, _: Tools) -> Found:
    """A list of calls, or what stands behind Llama 4's mark."""
    at = list_at(text)
    if at < 0:
        return [], [text]
    words, body = text[:at].rstrip().removesuffix(START), text[at:].strip()
    if START in text or END in body:
        body = body.replace(START, "\n").replace(END, "\n").strip()
    if words and _FENCED.fullmatch(words) and body.endswith("```"):
        words, body = "", body.removesuffix("```")
    return python_calls(body), [words]


def _python_until(closing: str, *keys: str) -> Body:
    """Python, or JSON in which a call has its arguments under one of the keys."""

    def read(text: str, at: int, _: Tools) -> tuple[list[ToolCall], int]:
        body, end = until(text, at, closing)
        if body.lstrip().startswith(("{", "[{")):
            values, _end = json_values(body)
            return [
                call_of(item, *keys) for value in values for item in (value if isinstance(value, list) else [value])
            ], end - len(closing)
        return python_calls(body), end - len(closing)

    return read


read_lfm2 = blocks(re.compile(r"<\|tool_call_start\|>"), _python_until("<|tool_call_end|>"), "<|tool_call_end|>")
read_olmo3 = blocks(re.compile(r"<function_calls>(?!\s*+<)"), _python_until("</function_calls>"), "</function_calls>")
read_gemma3 = blocks(re.compile(r"```tool_code\b"), _python_until("```", "parameters", "arguments"), "```", own=False)
# HTML has the same tag: a line has to begin with it, and no argument is positional
SMOLLM3 = re.compile(rf"(?:\A\s*+|\n[ \t]*+)<code>(?=\s*+(?:\[\s*+)?{NAME}\(\s*+(?:\w++\s*+=(?!=)|\)))")
read_smollm3 = blocks(SMOLLM3, _python_until("</code>"), "</code>", own=False)
