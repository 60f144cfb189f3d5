"""The languages of BFCL's categories: their types, how a value is read from its text, and how a call is.

A Java or JavaScript argument is handed over as the text of an expression, and the leaderboard's checker converts that
text by patterns: what does not fit the declared type stays a text. No parser is needed for it. Only the reading
``prompting`` takes whole calls in these languages apart, by tree-sitter in the very versions of the leaderboard
(``sloop[bfcl]``): whether a broken call is mended or refused depends on them.

What is odd, and kept:

- Java: ``long`` wants its ``L`` and ``float`` its ``f``; texts in an array keep their quotes, and in an ``ArrayList``
  lose them; commas and brackets in strings part elements; sets, queues and hash tables raise.
- JavaScript: an object ends at its first ``}``; in an array of arrays the declared type of items counts for nothing.
- Calls: the first call of an answer is its only one; the text of a Java node is cut from letters by the count of bytes.

The rules are those of ``eval_checker/ast_eval/type_convertor/``, ``model_handler/parser/`` and
``constants/type_mappings.py`` of bfcl-eval 2026.3.23 (ShishirPatil/gorilla at 6ea57973).
"""

from __future__ import annotations

import json
import re
from bisect import bisect_left
from collections.abc import Callable, Mapping
from functools import cache
from importlib import import_module, metadata
from typing import Any, NamedTuple

from sloop.records import UserError

VERSIONS = {"tree-sitter": "0.21.3", "tree-sitter-java": "0.21.0", "tree-sitter-javascript": "0.21.4"}
"""Of the parsers that the leaderboard names."""
UNNAMED = "**"
"""Name of an argument that is given without one, which no function has."""

# --- Java ---------------------------------------------------------------------------------------------------------

_WHOLE, _DECIMAL = r"(-?\d+)", r"(-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)"
_JAVA_NUMBERS: Mapping[str, tuple[re.Pattern[str], type]] = {
    **dict.fromkeys(("byte", "short", "integer"), (re.compile(f"{_WHOLE}$"), int)),
    "long": (re.compile(f"{_WHOLE}[lL]$"), int),
    "float": (re.compile(f"{_DECIMAL}[fF]$"), float),
    "double": (re.compile(f"{_DECIMAL}$"), float),
}
_BOOLEANS = {"true": True, "false": False}
_AS_LIST = re.compile(r"new\s+ArrayList<\w*>\(Arrays\.asList\((.+?)\)\)")
_ADDED = re.compile(r"new\s+ArrayList<\w*>\(\)\s*\{\{\s*(.+?)\}\}", re.S)
_NEW_LIST = re.compile(r"new\s+ArrayList<\w*>\(\)")
_ARRAY = re.compile(r"new\s+\w+\[\]\s*\{([^}\n]*)\}")
_MAP, _NEW_MAP = re.compile(r"new\s+HashMap<"), re.compile(r"new\s+HashMap<.*?>\s*\(\)")
_MAP_BODY = re.compile(r">\s*+\(\)\s*+\{\s*+\{?+([^}]*+)\}")
_PUT = re.compile(r"put\(\"(.*?)\",\s*(.*?)\)")


def read_java(text: str, declared: str, inner: str | None = None) -> Any:
    """The value of a Java expression; the text where it is none of the declared type.

    Args:
        text: the expression.
        declared: a key of Java's types.
        inner: type of an array's items.

    Raises:
        NotImplementedError: the checker cannot read values of that type.
        ValueError: a number is too long.
    """
    match declared:
        case "boolean":
            return _BOOLEANS.get(text, text)
        case "ArrayList":
            return _java_list(text, inner)
        case "Array":
            found = _ARRAY.search(text)
            return [_java_item(item, inner) for item in _parts(found[1]) if item] if found else text
        case "HashMap":
            return _java_map(text)
        case "Set" | "Hashtable" | "Queue" | "Stack":
            raise NotImplementedError(declared)
    if declared in _JAVA_NUMBERS:
        form, kind = _JAVA_NUMBERS[declared]
        return kind(found[1]) if (found := form.match(text)) else text
    return text


def _java_list(text: str, inner: str | None) -> Any:
    if found := _AS_LIST.search(text):
        items = _parts(found[1])
    elif found := _ADDED.search(text):
        items = [item.strip() for item in re.findall(r"add\((.+?)\)", found[1])]
    else:
        return [] if _NEW_LIST.search(text) else text
    return [item[1:-1] if inner in ("char", "String") else _java_item(item, inner) for item in items]


def _java_item(text: str, inner: str | None) -> Any:
    return read_java(text, inner) if inner else _java_guess(text)


def _java_map(text: str) -> Any:
    if not (start := _MAP.search(text)):
        return text
    if body := _MAP_BODY.search(text, start.end()):
        return {key: _java_guess(value.strip()) for key, value in _PUT.findall(body[1])}
    return {} if _NEW_MAP.search(text, start.start()) else text


def _java_guess(text: str) -> Any:
    """A value whose type nothing declares."""
    for kind in ("long", "float"):
        if type(value := read_java(text, kind)) is not str:
            return value
    return _guess(text, '"')


def write_java(value: Any, declared: str, inner: str | None = None) -> str:
    """The expression that `read_java` reads as the value, where there is one."""
    match value:
        case str():
            return value
        case list() if declared == "ArrayList":
            quoted = inner in ("char", "String")
            items = ", ".join(_java_literal(item) if quoted else write_java(item, inner or "") for item in value)
            return f"new ArrayList<>(Arrays.asList({items}))" if value else "new ArrayList<>()"
        case list():
            kind = {None: "Object", "any": "Object", "integer": "int"}.get(inner, inner)
            return f"new {kind}[]{{{', '.join(write_java(item, inner or '') for item in value)}}}"
        case dict():
            puts = (f"put({json.dumps(key)}, {_java_literal(item)});" for key, item in value.items())
            return f"new HashMap<>() {{{{ {' '.join(puts)} }}}}"
    return json.dumps(value) + {"long": "L", "float": "f"}.get(declared, "")


def _java_literal(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else write_java(value, "")


# --- JavaScript ---------------------------------------------------------------------------------------------------

_JS_NUMBERS: Mapping[str, tuple[re.Pattern[str], Callable[[str], Any]]] = {
    "integer": (re.compile(r"-?\d+$"), int),
    "float": (re.compile(r"-?\d+(\.\d+)?$"), float),
    "Bigint": (re.compile(r"-?\d+n$"), lambda text: int(text[:-1])),
}
_JS_ARRAY = re.compile(r"\[([^\]\n]*)\]|new\s+Array\(([^)\n]*)\)")
_JS_ROWS = re.compile(r"(?:(\[)|new\s+Array\()\s*\[")
_JS_ROW = re.compile(r"\[([^\]\n]*)\]")
_JS_NEXT = re.compile(r"\s*(?:,\s*\[)?")
_JS_OBJECT = re.compile(r"\{([^}\n]*)\}")
_JS_PAIR = re.compile(r"([^:]+):\s*(.*?)(?:,\s*(?=[^,]+:)|$)")


def read_javascript(text: str, declared: str, inner: str | None = None) -> Any:
    """The value of a JavaScript expression; the text where it is none of the declared type.

    Args:
        text: the expression.
        declared: a key of JavaScript's types.
        inner: type of an array's items.

    Raises:
        ValueError: a number is too long, or a line feed stands behind one that ends in ``n``.
    """
    match declared:
        case "String":
            return text[1:-1] if _quoted(text, "\"'") else text
        case "Boolean":
            return _BOOLEANS.get(text, text)
        case "array":
            return _js_array(text.strip(), inner)
        case "dict":
            return _js_object(text.strip())
    if declared in _JS_NUMBERS:
        form, kind = _JS_NUMBERS[declared]
        return kind(text) if form.match(text) else text
    return text


def _js_array(code: str, inner: str | None) -> Any:
    if (start := _JS_ROWS.match(code)) and (end := _rows_end(code, start.end(), "]" if start[1] else ")")):
        rows = [row.strip() for row in _JS_ROW.findall(code[:end])]
        rows[0] = rows[0].removeprefix("[")  # the outer bracket
        return [[_js_guess(item) for item in _parts(row)] for row in rows]
    if not (found := _JS_ARRAY.match(code)):
        return code
    body = (found[2] if found[1] is None else found[1]).strip()
    try:
        return [read_javascript(item, inner) if inner else _js_guess(item) for item in _parts(body)] if body else []
    except ValueError:
        return code


def _rows_end(code: str, start: int, closing: str) -> int | None:
    """Where ``[...], [...]`` and the bracket after it end, as a pattern that goes back finds it; None: nowhere.

    Args:
        code: the expression.
        start: of the first row's items.
        closing: the bracket after the rows.
    """
    ends = [position for position in range(start, len(code)) if code[position] == "]"]
    found: dict[int, int] = {}
    """The end of all by the end of a row after which there is one."""

    def first(begin: int) -> int | None:
        line = code.find("\n", begin)
        for end in ends[bisect_left(ends, begin) :]:
            if 0 <= line < end:
                return None
            if end in found:
                return found[end]
        return None

    for end in reversed(ends):
        after = _JS_NEXT.match(code, end + 1)
        assert after is not None
        here = after.end()
        whole = first(here) if after[0].endswith("[") else here + 1 if code[here : here + 1] == closing else None
        if whole is not None:
            found[end] = whole
    return first(start)


def _js_object(code: str) -> Any:
    if not (found := _JS_OBJECT.match(code)):
        return code
    pairs = _JS_PAIR.findall(found[1]) if ":" in found[1] else []
    return {key.strip().strip("'\""): _js_member(value.strip()) for key, value in pairs}


def _js_member(text: str) -> Any:
    return _js_array(text, None) if text.startswith("[") and text.endswith("]") else _js_guess(text.strip("'\""))


def _js_guess(text: str) -> Any:
    return _guess(text.strip(), "\"'")


def write_javascript(value: Any, declared: str, inner: str | None = None) -> str:
    """The expression that `read_javascript` reads as the value, where there is one."""
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False) + ("n" if declared == "Bigint" else "")


# --- both ---------------------------------------------------------------------------------------------------------


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",")]


def _quoted(text: str, quotes: str) -> bool:
    return any(text.startswith(quote) and text.endswith(quote) for quote in quotes)


def _guess(text: str, quotes: str) -> Any:
    """A value whose type nothing declares, by Python's numbers."""
    if text in _BOOLEANS:
        return _BOOLEANS[text]
    if _quoted(text, quotes):
        return text[1:-1]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


class Language(NamedTuple):
    """A language of functions."""

    name: str
    hint: str
    """What a model is told of a function's syntax."""
    types: Mapping[str, type]
    """Python's type for each of the declared ones."""
    lists: frozenset[str]
    """Types whose items have a type."""
    short: str = ""
    """In names of errors."""
    read: Callable[[str, str, str | None], Any] | None = None
    """Reads an argument's text; None: arguments are values already."""
    write: Callable[[Any, str, str | None], str] | None = None


PYTHON = Language(
    "Python",
    "Python 3 syntax",
    {
        "string": str, "integer": int, "float": float, "boolean": bool, "array": list, "tuple": list, "dict": dict,
        "any": str,
    },
    frozenset({"array", "tuple"}),
)  # fmt: skip
JAVA = Language(
    "Java",
    "Java 8 SDK syntax",
    {
        "byte": int, "short": int, "integer": int, "long": int, "float": float, "double": float, "boolean": bool,
        "char": str, "String": str, "any": str, "Array": list, "ArrayList": list, "Queue": list, "Stack": list,
        "Set": set, "HashMap": dict, "Hashtable": dict,
    },
    frozenset({"Array", "ArrayList"}),
    "java",
    read_java,
    write_java,
)  # fmt: skip
JAVASCRIPT = Language(
    "JavaScript",
    "JavaScript syntax",
    {
        "String": str, "integer": int, "float": float, "Bigint": int, "Boolean": bool, "dict": dict, "array": list,
        "any": str,
    },
    frozenset({"array"}),
    "js",
    read_javascript,
    write_javascript,
)  # fmt: skip


def language_of(category: str) -> Language:
    """The language of a category's functions."""
    if "javascript" in category:
        return JAVASCRIPT
    return JAVA if "java" in category else PYTHON


# --- whole calls --------------------------------------------------------------------------------------------------


@cache
def parser_of(name: str) -> Any:
    """The leaderboard's parser of a language.

    Raises:
        UserError: it is not installed, or another version is.
    """
    install = "pip install 'sloop[bfcl]', or leave the category out of benchmark.categories"
    for package in ("tree-sitter", f"tree-sitter-{name.lower()}"):
        try:
            version = metadata.version(package)
        except metadata.PackageNotFoundError:
            raise UserError(f"benchmark.reading=prompting takes {name} apart by {package}, which is not installed: "
                            f"{install}.") from None  # fmt: skip
        if version != VERSIONS[package]:
            raise UserError(
                f"benchmark.reading=prompting takes {name} apart by {package} {VERSIONS[package]}, as the leaderboard "
                f"does; {version} is installed: {install}."
            )
    library, grammar = import_module("tree_sitter"), import_module(f"tree_sitter_{name.lower()}")
    parser = library.Parser()
    parser.set_language(library.Language(grammar.language(), name.lower()))
    return parser


def read_java_call(source: str) -> Any:
    """The first call of a Java text, ``[{name: {argument: text}}]``, or an empty object where there is none.

    Raises:
        ValueError: it is no Java, or an argument is given twice; other errors of malformed calls, as they come.
    """
    root = _root("Java", source)
    nodes = [root]
    while nodes:
        node = nodes.pop()
        if node.type == "method_invocation":
            cut = _Cut(source)
            owner = node.child_by_field_name("object")
            name = cut(node.child_by_field_name("name"))
            return [{f"{cut(owner)}.{name}" if owner else name: _java_arguments(cut, node)}]
        nodes += reversed(node.children)
    return {}


class _Cut(NamedTuple):
    """Cuts a node's text out of the source: by bytes, though these are letters."""

    source: str

    def __call__(self, node: Any) -> str:
        return self.source[node.start_byte : node.end_byte]


def _java_arguments(cut: _Cut, call: Any) -> dict[str, str]:
    given = []
    for child in call.child_by_field_name("arguments").children:
        if child.type == "assignment_expression":
            given.append((cut(child.children[0]), _java_text(cut, child.children[2], top=True)))
        elif child.type in ("identifier", "class_literal"):
            given.append((UNNAMED, _java_text(cut, child, top=True)))
    return _once(given)


def _java_text(cut: _Cut, node: Any, *, top: bool = False) -> str:
    """An expression's text without white space between its parts; a string at the top loses its quotes."""
    match node.type:
        case "string_literal" | "character_literal":
            return cut(node)[1:-1] if top else cut(node)
        case "identifier" | "class_literal" | "type_identifier" | "method_invocation":
            return cut(node)
        case "array_creation_expression":
            kind, value = node.child_by_field_name("type"), node.child_by_field_name("value")
            return f"new {_java_text(cut, kind)}[]{_java_text(cut, value)}"
        case "object_creation_expression":
            kind, arguments = node.child_by_field_name("type"), node.child_by_field_name("arguments")
            children = arguments.children if arguments else []
            texts = [_java_text(cut, child) for child in children if child.type not in (",", "(", ")")]
            return f"new {_java_text(cut, kind)}({', '.join(texts)})"
    return "".join(_java_text(cut, child) for child in node.children) if node.child_count else cut(node)


def read_javascript_call(source: str) -> Any:
    """The first call of a JavaScript text, ``[{name: {argument: text}}]``, or an empty object where there is none.

    Raises:
        ValueError: it is no JavaScript, or an argument is given twice; other errors of malformed calls, as they come.
    """
    for statement in _root("JavaScript", source).children:
        if statement.type == "expression_statement":
            for node in statement.children:
                if node.type == "call_expression":
                    return [{_text(node.children[0]): _js_arguments(node.children[1])}]
    return {}


def _js_arguments(node: Any) -> dict[str, str]:
    given = []
    for child in node.children:
        if child.type == "assignment_expression":
            value = _text(child.children[2])
            given.append((_text(child.children[0]), value[1:-1] if _quoted(value, "\"'") else value))
        elif child.type in ("identifier", "true"):
            given.append((UNNAMED, _text(child)))
    return _once(given)


def _text(node: Any) -> str:
    text: str = node.text.decode()
    return text


def _once(given: list[tuple[str, str]]) -> dict[str, str]:
    if len(dict(given)) < len(given):
        raise ValueError("an argument twice")
    return dict(given)


def _root(name: str, source: str) -> Any:
    root = parser_of(name).parse(source.encode()).root_node
    if "ERROR" in root.sexp():
        raise ValueError(f"no {name}")
    return root


CALL_READERS: Mapping[str, Callable[[str], Any]] = {"java": read_java_call, "javascript": read_javascript_call}
"""By the word for a language in a category's name."""
