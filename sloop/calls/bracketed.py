"""Calls in a text as ACEBench's evaluator takes them: ``[f(x='a'), g()]``. Nothing is evaluated.

It is more lenient than `sloop.calls.formats.parse_pythonic`, and its readings are for that benchmark's verdict alone:

- Words around the first outermost ``[...]`` of a single turn do not matter.
- In a step of a dialogue all white space is removed instead, that in strings too, and words around are an error.
- Positional arguments are dropped, a bare name is a string, a call as an argument is an object, any sign negates.
- Where the official evaluator executes arithmetic with Python's ``eval``, ``+ - * / // %`` of numbers are computed
  here and anything else cannot be read.

The rules are those of the official ``model_inference/utils.py`` and ``eval_main.py`` (chenchen0103/ACEBench, read in
the fork zeppombal/ACEBench at c9391d09). The first is younger than that, and stands here as modelscope/evalscope's
pull request 1544 took it over.
"""

from __future__ import annotations

import ast
import operator
import warnings
from collections.abc import Callable
from typing import Any

from sloop.calls.formats import MAX_PYTHON, after_thinking

Call = dict[str, dict[str, Any]]

ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
STARRED = "**"
"""Name of what ``**arguments`` gives, which no function has."""


def read_bracketed(text: str, *, step: bool) -> list[Call] | None:
    """The calls of an answer, ``[{name: {argument: value}}, ...]``; None where they cannot be read.

    Values are Python's: a tuple stays one, and a key of an object need not be a string.

    Args:
        text: the answer as it was generated; reasoning up to ``</think>`` is dropped.
        step: it is a step of a dialogue, and not a single turn.
    """
    visible = after_thinking(text, "pythonic")
    body = "".join(visible.split()) if step else _first_brackets(visible)
    if len(body) > MAX_PYTHON:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of escapes that Python does not know
            tree = ast.parse(body, mode="eval").body
        if not isinstance(tree, ast.List | ast.Tuple | ast.Set):
            return None
        return [_call(node) for node in tree.elts]
    except (ArithmeticError, LookupError, MemoryError, RecursionError, SyntaxError, TypeError, ValueError):
        return None


def _first_brackets(text: str) -> str:
    """The first balanced ``[...]``, brackets in strings counted; empty where there is none."""
    depth = start = 0
    for position, letter in enumerate(text):
        if letter == "[":
            start = start if depth else position
            depth += 1
        elif letter == "]" and depth:
            depth -= 1
            if not depth:
                return text[start : position + 1]
    return ""


def _call(node: ast.expr) -> Call:
    if not isinstance(node, ast.Call):
        raise ValueError("not a call")
    return {_name(node.func): {keyword.arg or STARRED: _value(keyword.value) for keyword in node.keywords}}


def _name(node: ast.expr) -> str:
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if isinstance(node, ast.Name):
        parts.append(node.id)
    return ".".join(reversed(parts))


def _value(node: ast.expr | None) -> Any:
    """An argument's value.

    Raises:
        ArithmeticError: a quotient by 0, or one that is too large.
        KeyError: arithmetic of another kind than those that are computed.
        TypeError: a sign before something that has none, or a key that can be none.
        ValueError: an expression of another kind.
    """
    match node:
        case ast.Constant():
            return "..." if node.value is ... else node.value
        case ast.UnaryOp(operand=ast.Constant(value=value)):
            return -value  # type: ignore[operator]  # of a string it is the TypeError above
        case ast.List():
            return [_value(item) for item in node.elts]
        case ast.Tuple():
            return tuple(_value(item) for item in node.elts)
        case ast.Dict():
            return {_value(key): _value(value) for key, value in zip(node.keys, node.values, strict=True)}
        case ast.Name():
            return node.id
        case ast.Call():
            return _call(node)
        case ast.Subscript():
            return f"{ast.unparse(node.value)}[{ast.unparse(node.slice)}]"
        case ast.BinOp():
            return _computed(node)
    raise ValueError("no value")


def _computed(node: ast.expr) -> int | float:
    """Arithmetic, in which signs are Python's."""
    match node:
        case ast.Constant(value=int() | float() as value):
            return value
        case ast.UnaryOp(op=ast.USub()):
            return -_computed(node.operand)
        case ast.UnaryOp(op=ast.UAdd()):
            return _computed(node.operand)
        case ast.BinOp():
            found: int | float = ARITHMETIC[type(node.op)](_computed(node.left), _computed(node.right))
            return found
    raise ValueError("no arithmetic of numbers")
