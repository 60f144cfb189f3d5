"""How official evaluators read an answer before they compare it: BFCL's handlers, and ACEBench's one way.

They are more lenient than `sloop.calls.formats` here and stricter there, and serve those benchmarks' verdicts alone. A
reading gives whatever the evaluator would go on with, mostly ``[{name: {argument: value}}, ...]`` with Python's values
(a tuple stays one, a key of an object need not be a string); None is what it fails to decode.

======================== ============================================================================================
reading                  what it takes
======================== ============================================================================================
``fc``                   calls handed over apart: arguments as JSON's text, in which a key may stand twice (the last
                         one counts) and ``NaN`` is a number; an object, or nothing at all, is not decoded
``qwen_fc``              ``<tool_call>``, a line feed, JSON, a line feed, ``</tool_call>``; blocks that are no JSON, and
                         all words, are passed over; arguments are an object
``prompting``            a Python list of calls: backquotes, spaces and line feeds around it are taken off, brackets
                         that lack are added
``prompting java``,      the same in the two other languages (`sloop.calls.bfcl_languages`): the first call is the
``prompting javascript`` only one, and values are the texts of expressions
``prompting json``,      from the first ``[`` to the last ``]``, there from ``[{`` to the next ``}]``: objects with
                         ``function`` and ``parameters``, all else passed over; what is no JSON is no call
``prompting concise_xml``  what stands between ``<functions>`` and ``</functions>`` as XML, values by the type that
``prompting verbose_xml``  each parameter names
``prompting ... tag``    the same within ``<TOOLCALL>`` and ``</TOOLCALL>``, also of a list in Python
``read_bracketed``       the same for ACEBench: the first outermost ``[...]`` of a single turn; in a step of a dialogue
                         all white space is removed instead, that in strings too, and words around are an error
======================== ============================================================================================

In Python's form positional arguments are dropped, a bare name is a string, any sign negates, and a call as an argument
is an object (in BFCL one without keywords is its text). Arithmetic, which the evaluators hand to Python's ``eval``, is
computed here where it is of numbers, strings and lists and no larger than `LARGEST`; what else ``eval`` would run
cannot be read.

The rules are those of ``model_handler/utils.py``, ``model_handler/parser/``, ``api_inference/openai_completion.py`` and
``local_inference/qwen_fc.py`` of bfcl-eval 2026.3.23 (ShishirPatil/gorilla at 6ea57973), and of ``eval_main.py`` and
``model_inference/utils.py`` of chenchen0103/ACEBench at 56dd66c.
"""

from __future__ import annotations

import ast
import json
import operator
import re
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any
from xml.etree import ElementTree

from sloop.calls.bfcl_languages import CALL_READERS, UNNAMED
from sloop.calls.formats import MAX_PYTHON

Call = dict[str, dict[str, Any]]

UNREADABLE = (
    ArithmeticError, AttributeError, LookupError, MemoryError, RecursionError, SyntaxError, TypeError, ValueError,
)  # fmt: skip
"""What decoding raises, here and there."""
LARGEST = 10_000
"""Bits of a computed number, or items of a computed text or list."""
ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod, ast.Pow: operator.pow, ast.LShift: operator.lshift,
    ast.RShift: operator.rshift, ast.BitOr: operator.or_, ast.BitAnd: operator.and_, ast.BitXor: operator.xor,
}  # fmt: skip
SIGNS: dict[type[ast.unaryop], Callable[[Any], Any]] = {
    ast.USub: operator.neg, ast.UAdd: operator.pos, ast.Invert: operator.invert, ast.Not: operator.not_,
}  # fmt: skip
SEQUENCES = (str, bytes, list, tuple)
XML_TYPES: dict[str, Callable[[str], Any]] = {
    "integer": int, "float": float, "boolean": lambda text: text.lower() == "true", "null": lambda text: None,
}  # fmt: skip
"""How the text of a parameter is read, beside literals; one of any other type stays a text."""
_BLOCK = re.compile(r"<tool_call>\n(.*?)\n</tool_call>", re.S)
_OBJECTS, _OBJECTS_END = re.compile(r"\[\s*+\{"), re.compile(r"\}\s*+\]")


# --- BFCL ---------------------------------------------------------------------------------------------------------


def _read_fc(result: Any) -> Any:
    named = [(list(call.keys())[0], call) for call in result]  # noqa: RUF015  one without a name must raise
    return [{name: json.loads(call[name])} for name, call in named]


def _read_qwen_fc(result: Any) -> Any:
    return [{call["name"]: dict(call["arguments"].items())} for call in _json_blocks(result)]


def _json_blocks(result: Any) -> list[dict[str, Any]]:
    found = []
    for block in _blocks(result):
        try:
            found.append(json.loads(block))
        except (ValueError, RecursionError):
            continue
    if any(type(call) is not dict for call in found):
        raise ValueError("not a call")
    return found


def _bracketed(result: Any) -> Any:
    text = result.strip("`\n ")
    text = text if text.startswith("[") else f"[{text}"
    return text if text.endswith("]") else f"{text}]"


def _read_python(text: str) -> Any:
    return _calls(text.strip().strip("'"), bare_as_text=True)


def _read_prompting_by(read: Callable[[str], Any]) -> Callable[[Any], Any]:
    return lambda result: read(_bracketed(result)[1:-1])


def _read_json(text: str) -> Any:
    start, end = text.find("["), text.rfind("]")
    if 0 <= start < end:
        text = text[start : end + 1]
    if (first := _OBJECTS.search(text)) and (last := _OBJECTS_END.search(text, first.end())):
        text = text[first.start() : last.end()]
    try:
        found = json.loads(text)
    except json.JSONDecodeError:
        return []
    return [{call["function"]: call["parameters"]} for call in found if isinstance(call, dict)]


def _read_xml(text: str, *, verbose: bool) -> Any:
    # No entity can be declared between the two marks, so that none can grow.
    root = ElementTree.fromstring(f"<functions>{_between(text, '<functions>', '</functions>')}</functions>")
    found = []
    for function in root.findall("function"):
        given: Any = function
        if verbose and (inner := function.find("params")) is not None:
            given = inner
        values: dict[Any, Any] = {}
        for part in given.findall("param"):
            kind, own = part.attrib.get("type", "string"), part.attrib
            if verbose:
                values[own.get("name")] = _typed(own.get("value", ""), kind)
            else:
                name = own["name"]
                values[name] = _typed((part.text or "").strip(), kind)
        found.append({function.attrib["name"]: values})
    return found


def _typed(text: str, kind: str) -> Any:
    """What a text of XML says, by the type that it bears."""
    if kind in ("array", "tuple", "object", "dict"):
        if len(text) > MAX_PYTHON:
            raise ValueError("too long")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.literal_eval(text)
    convert: Callable[[str], Any] = XML_TYPES.get(kind, str)
    return convert(text)


def _between(text: str, opening: str, closing: str) -> str:
    """What stands between two marks; raises ValueError where one is not there."""
    inside, closed, _ = text.partition(opening)[2].partition(closing)
    if not closed:
        raise ValueError(f"no {opening} that ends")
    return inside


def _asked_for(read: Callable[[str], Any], *, tagged: bool) -> Callable[[Any], Any]:
    """A reading of a text with brackets around it, or of what stands in it between the tags."""
    if not tagged:
        return lambda result: read(_bracketed(result))
    return lambda result: read(_between(_bracketed(result), "<TOOLCALL>", "</TOOLCALL>").strip())


RETURNED: Mapping[str, Callable[[str], Any]] = {
    "python": _read_python,
    "json": _read_json,
    "verbose_xml": partial(_read_xml, verbose=True),
    "concise_xml": partial(_read_xml, verbose=False),
}
"""The forms in which prompts of format sensitivity ask for calls."""
BFCL: Mapping[str, Callable[[Any], Any]] = {
    "fc": _read_fc, "qwen_fc": _read_qwen_fc, "prompting": _asked_for(_read_python, tagged=False),
    **{f"prompting {language}": _read_prompting_by(read) for language, read in CALL_READERS.items()},
    **{
        f"prompting {form}{' tag' * tagged}": _asked_for(read, tagged=tagged)
        for form, read in RETURNED.items()
        for tagged in (False, True)
    },
}  # fmt: skip
"""By the name of the reading: an answer as BFCL's result files hold it, decoded; raises one of `UNREADABLE`."""


def read_result(reading: str, result: Any) -> Any:
    """An answer as a handler of BFCL decodes it; None where that fails.

    Args:
        reading: a key of `BFCL`.
        result: a text, ``[{name: arguments}, ...]``, or whatever stands in a file of results.
    """
    try:
        return BFCL[reading](result)
    except UNREADABLE:
        return None


def written_call(name: Any, arguments: Mapping[str, Any], between: str = ",") -> str:
    """A call as the text that BFCL's multi-turn rules run."""
    return f"{name}({between.join(f'{key}={value!r}' for key, value in arguments.items())})"


def read_executed(reading: str, result: Any) -> list[str] | None:
    """A step of a multi-turn answer as a handler of BFCL decodes it to be run: the text of each call; None where that
    fails.

    Args:
        reading: ``fc``, ``qwen_fc`` or ``prompting``.
        result: a text, ``[{name: arguments}, ...]``, or whatever stands in a file of results.
    """
    try:
        return _EXECUTED[reading](result)
    except UNREADABLE:
        return None


def _executed_fc(result: Any) -> list[str]:
    calls = [result] if type(result) is dict else result
    named = [
        (name, json.loads(given) if type(given) is str else given) for call in calls for name, given in call.items()
    ]
    return [written_call(name, given) for name, given in named]


def _executed_qwen_fc(result: Any) -> list[str]:
    calls = _json_blocks(result)
    return _executed_fc([{call["name"]: call["arguments"]} for call in calls])


def _executed_prompting(result: Any) -> list[str]:
    return [_nested({name: given}) for call in BFCL["prompting"](result) for name, given in call.items()]


def _nested(value: Any) -> str:
    """A value's text: an object of objects alone is a call, of whose names the first counts."""
    if not isinstance(value, dict):
        return repr(value)
    if not all(isinstance(part, dict) for part in value.values()):
        return "{" + ", ".join(f"'{key}': {_nested(part)}" for key, part in value.items()) + "}"
    name = next(iter(value), None)
    if name is None:
        raise ValueError("a call without a name")
    return f"{name}({', '.join(f'{key}={_nested(part)}' for key, part in value[name].items())})"


_EXECUTED: Mapping[str, Callable[[Any], list[str]]] = {
    "fc": _executed_fc, "qwen_fc": _executed_qwen_fc, "prompting": _executed_prompting,
}  # fmt: skip


def is_calls(decoded: Any) -> bool:
    """Whether BFCL takes what was decoded for calls: a list, perhaps empty, of ``{name: {argument: value}}``."""
    return type(decoded) is list and all(
        type(call) is dict and len(call) == 1 and type(next(iter(call.values()))) is dict for call in decoded
    )


def _blocks(text: str) -> list[str]:
    """The texts of all blocks. Where none closes none is looked for: the pattern would try at every open tag."""
    end = text.rfind("\n</tool_call>")
    return _BLOCK.findall(text[: end + len("\n</tool_call>")]) if end >= 0 else []


# --- ACEBench -----------------------------------------------------------------------------------------------------


def read_bracketed(text: Any, *, step: bool) -> list[Call] | None:
    """The calls of an answer to ACEBench, ``[{name: {argument: value}}, ...]``; None where they cannot be read.

    Args:
        text: the answer without reasoning (`after_reasoning`); what is no text cannot be read.
        step: it is a step of a dialogue, and not a single turn.
    """
    try:
        return _calls("".join(text.split()) if step else _first_brackets(text), bare_as_text=False)
    except UNREADABLE:
        return None


def write_bracketed(calls: list[Call]) -> str:
    """Calls as ACEBench's prompts ask for them."""
    named = (pair for call in calls for pair in call.items())
    written = (f"{name}({', '.join(f'{key}={value!r}' for key, value in given.items())})" for name, given in named)
    return f"[{', '.join(written)}]"


def after_reasoning(text: str) -> str:
    """A text without what a model thought, as the official inference keeps it: after the last ``</think>``."""
    return text.rpartition("</think>")[2].lstrip("\n")


def _first_brackets(text: str) -> str:
    """The first outermost ``[...]``, brackets in strings counted; a ``]`` before it takes one level from it.

    Raises:
        ValueError: there is none.
    """
    depth, start = 0, -1
    for position, letter in enumerate(text):
        if letter == "[":
            start = position if depth == 0 else start
            depth += 1
        elif letter == "]":
            depth -= 1
            if depth == 0 and start >= 0:
                return text[start : position + 1]
    raise ValueError("no list")


# --- Python's form ------------------------------------------------------------------------------------------------


def _calls(text: str, *, bare_as_text: bool) -> list[Call]:
    """The calls of a list; raises one of `UNREADABLE`.

    Args:
        text: Python's, an expression.
        bare_as_text: a call without keywords as an argument is its text, and not an object.
    """
    if len(text) > MAX_PYTHON:
        raise ValueError("too long")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of escapes that Python does not know
        tree = ast.parse(text, mode="eval").body
    if isinstance(tree, ast.Call) and bare_as_text:
        return [_call(tree, bare_as_text)]
    if not isinstance(tree, ast.List | ast.Tuple | ast.Set):
        raise ValueError("no list of calls")
    return [_call(node, bare_as_text) for node in tree.elts]


def _call(node: ast.expr, bare_as_text: bool) -> Call:
    if not isinstance(node, ast.Call):
        raise ValueError("not a call")
    given = {keyword.arg or UNNAMED: _value(keyword.value, bare_as_text) for keyword in node.keywords}
    return {_name(node.func): given}


def _name(node: ast.expr) -> str:
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if isinstance(node, ast.Name):
        parts.append(node.id)
    return ".".join(reversed(parts))


def _value(node: ast.expr | None, bare_as_text: bool) -> Any:
    """An argument's value; raises one of `UNREADABLE`."""
    match node:
        case ast.Constant():
            return "..." if node.value is ... else node.value
        case ast.UnaryOp(operand=ast.Constant(value=value)):
            return -value  # type: ignore[operator]  # of a string it is the TypeError above
        case ast.List():
            return [_value(item, bare_as_text) for item in node.elts]
        case ast.Tuple():
            return tuple(_value(item, bare_as_text) for item in node.elts)
        case ast.Dict():
            pairs = zip(node.keys, node.values, strict=True)
            return {_value(key, bare_as_text): _value(value, bare_as_text) for key, value in pairs}
        case ast.Name():
            return node.id
        case ast.Call():
            return ast.unparse(node) if bare_as_text and not node.keywords else _call(node, bare_as_text)
        case ast.Subscript():
            return f"{ast.unparse(node.value)}[{ast.unparse(node.slice)}]"
        case ast.BinOp():
            return _computed(node)
    raise ValueError("no value")


def _computed(node: ast.expr) -> Any:
    """What ``eval`` makes of constants, lists and operators; raises one of `UNREADABLE`."""
    match node:
        case ast.Constant(value=value):
            return value
        case ast.List():
            return [_computed(item) for item in node.elts]
        case ast.Tuple():
            return tuple(_computed(item) for item in node.elts)
        case ast.UnaryOp():
            return SIGNS[type(node.op)](_computed(node.operand))
        case ast.BinOp():
            left, right = _computed(node.left), _computed(node.right)
            if _size(node.op, left, right) > LARGEST:
                raise ValueError("too large")
            return ARITHMETIC[type(node.op)](left, right)
    raise ValueError("no arithmetic of constants")


def _size(operation: ast.operator, left: Any, right: Any) -> int:
    """How large what comes of it is, about; formatting may be of any size."""
    match operation:
        case ast.Mod() if isinstance(left, str | bytes):
            return LARGEST + 1
        case ast.Add() if isinstance(left, SEQUENCES) and isinstance(right, SEQUENCES):
            return len(left) + len(right)
        case ast.Mult() if isinstance(left, int) and isinstance(right, int):
            return left.bit_length() + right.bit_length()
        case ast.Mult() if isinstance(left, SEQUENCES):
            return len(left) * int(right)
        case ast.Mult() if isinstance(right, SEQUENCES):
            return int(left) * len(right)
        case ast.LShift():
            return int(right) + int(left).bit_length()
        case ast.Pow() if isinstance(left, int) and isinstance(right, int):
            return abs(right) * left.bit_length()
    return 0
