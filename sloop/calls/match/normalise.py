"""One spelling per call, so that equal calls are the same value. The rules of the strict comparator live here.

- Strings: Unicode NFC, line ends as a line feed, white space at both ends removed; in a string of one line, runs of
  white space are one space. Upper and lower case differ, as do punctuation and accents. Strings under ``enum``,
  ``const``, ``pattern`` or ``format`` are compared as they are.
- Numbers: by value, 960 = 960.0; a boolean is no number, and "960" is none either.
- Arrays: in order, duplicates count. Objects: by key, whatever the order.
- An optional argument that is left out equals its declared ``default``; without one, leaving it out differs from
  every value, null included. A required argument has no default. The same holds inside nested objects.

A part of a schema that is no JSON Schema (``"required": true``) is taken as absent: nothing here raises. What is wrong
with it is for those to say who load tools or validate calls.

The rules only ever say that two spellings are one value; no rule corrects a mistake. That is deliberate: a false match
is paid for in training, while a false mismatch goes to the judge, which can still find both answers right.
"""

from __future__ import annotations

import functools
import json
import unicodedata
from collections.abc import Hashable, Iterator, Sequence
from typing import Any

from sloop.calls.schema import BRANCHES, json_type, pointed, rewritten
from sloop.records import Tool, ToolCall, canonical_json

EXACT = frozenset({"enum", "const", "pattern", "format"})
MAX_SCHEMA_NODES, MAX_SCHEMA_DEPTH = 20_000, 64
"""A schema is written out up to this size; what lies beyond is compared as plain JSON."""
SHAPES: dict[str, type | tuple[type, ...]] = {
    "properties": dict,
    "required": list,
    "allOf": list,
    "anyOf": list,
    "oneOf": list,
    "prefixItems": list,
    "enum": list,
    "pattern": str,
    "format": str,
    "type": (str, list),
}
"""What the keywords that are read here hold; anything else under them cannot be used."""


def normalise_call(call: ToolCall, tools: Sequence[Tool]) -> ToolCall:
    """The call in its one spelling: strings normalised, defaults filled in, keys sorted. Idempotent.

    A call to a tool that is not on offer is normalised without a schema.
    """
    return ToolCall(name=call.name, arguments=_normal(call.arguments, _schema(call.name, tools)))


def call_key(call: ToolCall, tools: Sequence[Tool]) -> Hashable:
    """A value that two calls share exactly where the comparator finds them equal."""
    return call.name, fingerprint(_normal(call.arguments, _schema(call.name, tools)))


def _schema(name: str, tools: Sequence[Tool]) -> dict[str, Any]:
    tool = next((tool for tool in tools if tool.name == name), None)
    return _written_out(canonical_json(tool.parameters)) if tool else {}


def fingerprint(value: Any) -> Hashable:
    """A JSON value as nested tuples; unlike Python's own equality, a boolean equals no number."""
    if isinstance(value, dict):
        return "object", tuple((key, fingerprint(value[key])) for key in sorted(value))
    if isinstance(value, (list, tuple)):
        return "array", tuple(fingerprint(item) for item in value)
    if isinstance(value, bool) or value is None:
        return json_type(value), value
    if isinstance(value, float) and value != value:
        return "number", "nan"  # so that a value always equals itself
    return "string" if isinstance(value, str) else "number", value


def normalise_text(text: str) -> str:
    """One spelling per free text. Idempotent."""
    text = unicodedata.normalize("NFC", text).replace("\r\n", "\n").replace("\r", "\n").strip()
    return text if "\n" in text else " ".join(text.split())


def _normal(value: Any, schema: Any) -> Any:
    schema = _effective(schema, value)
    if isinstance(value, str):
        return value if EXACT & schema.keys() else normalise_text(value)
    if isinstance(value, (list, tuple)):
        first = schema.get("prefixItems", ())
        rest = schema.get("items", {})
        return [_normal(item, first[k] if k < len(first) else rest) for k, item in enumerate(value)]
    if isinstance(value, dict):
        declared = schema.get("properties", {})
        other = schema.get("additionalProperties", {})
        required = schema.get("required", ())
        given = {**{name: d for name, d in _defaults(declared) if name not in required}, **value}
        return {name: _normal(given[name], declared.get(name, other)) for name in sorted(given)}
    return value


def _defaults(properties: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    return ((name, s["default"]) for name, s in properties.items() if isinstance(s, dict) and "default" in s)


def _effective(schema: Any, value: Any) -> dict[str, Any]:
    """The schema that speaks of this value: parts joined, and of several branches the one that allows its type.

    Where more than one branch does, none is chosen, and the value is compared as plain JSON.
    """
    whole: dict[str, Any] = schema if isinstance(schema, dict) else {}
    for part in whole.get("allOf", ()):
        whole = _joined(whole, _effective(part, value))
    for keyword in BRANCHES:
        fitting = [branch for branch in whole.get(keyword, ()) if _allows(branch, value)]
        if len(fitting) == 1:
            whole = _joined(whole, _effective(fitting[0], value))
    return whole


def _joined(schema: dict[str, Any], part: dict[str, Any]) -> dict[str, Any]:
    """Two schemas of one value as one; where both speak, the first stands."""
    properties = {**part.get("properties", {}), **schema.get("properties", {})}
    required = [*part.get("required", ()), *schema.get("required", ())]
    return {**part, **schema, "properties": properties, "required": required}


def _allows(branch: Any, value: Any) -> bool:
    """Whether a branch of a union admits the value's type."""
    if not isinstance(branch, dict):
        return branch is True
    kind = json_type(value)
    declared = branch.get("type")
    if declared is None:
        literals = branch.get("enum", [branch["const"]] if "const" in branch else None)
        return literals is None or any(json_type(literal) == kind for literal in literals)
    fitting = ("integer", "number") if kind in {"integer", "number"} else (kind,)
    return any(name in fitting for name in ([declared] if isinstance(declared, str) else declared))


@functools.lru_cache(maxsize=8192)
def _written_out(parameters: str) -> dict[str, Any]:
    """A tool's schema without references. One inside itself, or one that leads nowhere, says nothing."""
    root = json.loads(parameters)
    nodes = 0

    def write(schema: Any, depth: int, inside: frozenset[str]) -> Any:
        nonlocal nodes
        if depth > MAX_SCHEMA_DEPTH:
            return {}
        if isinstance(schema, list):
            return [write(item, depth + 1, inside) for item in schema]
        if not isinstance(schema, dict):
            return schema
        nodes += 1
        usable = {
            keyword: value
            for keyword, value in schema.items()
            if keyword not in {"$ref", "$defs"} and isinstance(value, SHAPES.get(keyword, object))
        }
        new = rewritten(usable, lambda _, part: write(part, depth + 1, inside))
        reference = schema.get("$ref")
        if not isinstance(reference, str) or reference in inside or nodes > MAX_SCHEMA_NODES:
            return new
        try:
            target = pointed(root, reference)
        except ValueError:
            return new
        return _joined(new, write(target, depth + 1, inside | {reference}))

    written: dict[str, Any] = write(root, 0, frozenset())
    return written
