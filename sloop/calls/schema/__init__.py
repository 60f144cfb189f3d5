"""Does a call satisfy its tool's JSON Schema (draft 2020-12)?

Four rules go beyond the standard, or are a reading of it:

- An argument that the tool does not declare is an error wherever ``properties`` are declared and
  ``additionalProperties`` is left out. JSON Schema would let it pass; the function behind the tool would not.
  ``additionalProperties: true``, a schema there, or ``patternProperties`` are taken at their word.
- A boolean is never a number. An integer is a number, and a float without a fraction (5.0) is an integer, as in
  JSON Schema: JSON has one number type.
- ``format`` is a note to the reader and checked by nothing, as in JSON Schema.
- What cannot be decided in bounded time (`sloop.calls.schema.validation`) is not satisfied.
"""

from __future__ import annotations

import functools
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

from sloop.calls.schema.patterns import Undecided, found
from sloop.calls.schema.validation import Unusable, checked, faults
from sloop.calls.schema.validation import validator as validator_of
from sloop.records import Tool, ToolCall, UserError, canonical_json

BRANCHES = ("anyOf", "oneOf")
PARTS = frozenset({*BRANCHES, "allOf", "not", "if", "then", "else", "dependentSchemas", "$defs", "definitions"})
"""Keywords whose schemas describe a part of a value, or none that stands here: only the whole can be closed."""
MAPS = frozenset({"properties", "patternProperties", "dependentSchemas", "$defs", "definitions"})
"""Keywords whose value holds schemas by name."""
DATA = frozenset({"enum", "const", "default", "examples", "required"})
"""Keywords whose value is no schema."""
OPENING = ("additionalProperties", "unevaluatedProperties", "patternProperties")


def call_errors(call: ToolCall, tools: Sequence[Tool]) -> tuple[str, ...]:
    """What is wrong with a call; empty where it satisfies its tool's schema.

    Each error is ``<code>:<path>`` and, after a space, words: ``unknown_tool:f``, ``missing_required:city``,
    ``undeclared_argument:town``, ``type:days[0] expected integer, got string``, ``enum:unit not an allowed value``,
    ``constraint:days maximum``. They are sorted, and no library's wording is in them.

    Raises:
        UserError: the tool's parameters are not a usable JSON Schema.
    """
    tool = next((tool for tool in tools if tool.name == call.name), None)
    if tool is None:
        return (f"unknown_tool:{call.name}",)
    try:
        told = {text for error in faults(validator(tool), call.arguments) for text in _describe(error)}
    except Undecided as error:
        told = {f"constraint: {error}"}
    except Unusable as error:
        raise _unusable(tool, str(error)) from error
    return tuple(sorted(told))


def validator(tool: Tool) -> Draft202012Validator:
    """The validator of a tool's arguments; made once per content of the schema.

    Raises:
        UserError: the tool's parameters are not a JSON Schema of type object, or refer to something outside it.
    """
    try:
        return _validator(canonical_json(tool.parameters))
    except ValueError as error:
        raise _unusable(tool, str(error)) from error
    except RecursionError as error:
        raise _unusable(tool, "it nests too deep") from error


def rewritten(schema: Mapping[str, Any], write: Callable[[str, Any], Any]) -> dict[str, Any]:
    """A schema with every schema in it, or list of such, written anew: ``write`` is given the keyword and the part."""
    new: dict[str, Any] = {}
    for keyword, value in schema.items():
        if keyword in DATA:
            new[keyword] = value
        elif keyword in MAPS and isinstance(value, dict):
            new[keyword] = {name: write(keyword, child) for name, child in value.items()}
        else:
            new[keyword] = write(keyword, value)
    return new


def pointed(root: dict[str, Any], reference: str) -> dict[str, Any]:
    """The schema that a local reference (``#/$defs/Place``) names.

    Raises:
        ValueError: it is not local, or names no schema.
    """
    node: Any = root
    if not reference.startswith("#"):
        raise ValueError(f"it refers to {reference!r}, which is outside it")
    for part in reference[1:].split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        node = node[int(key)] if isinstance(node, list) and key.isdecimal() and int(key) < len(node) else node
        node = node.get(key) if isinstance(node, dict) else node
    if not isinstance(node, dict):
        raise ValueError(f"it refers to {reference!r}, which it does not hold")
    return node


def json_type(value: Any) -> str:
    """JSON Schema's name for a value's type; 5 is an ``integer`` and 5.0 a ``number``."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    for python, name in ((str, "string"), (int, "integer"), (float, "number"), (list, "array")):
        if isinstance(value, python):
            return name
    return "object"


def dotted(path: Sequence[str | int]) -> str:
    """A path as text: ``stops[0].city``."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".")


def _unusable(tool: Tool, reason: str) -> UserError:
    return UserError(
        f"tool {tool.name!r}: its parameters are not a JSON Schema (draft 2020-12) of type object that stands alone: "
        f"{reason}. Correct the tool's definition."
    )


@functools.lru_cache(maxsize=8192)
def _validator(parameters: str) -> Draft202012Validator:
    schema = json.loads(parameters)
    checked(schema)
    if schema.get("type", "object") != "object":
        raise ValueError(f"its type is {schema['type']!r}")
    return validator_of(_closed(schema, schema, set(), is_part=False))


def _closed(schema: Any, root: dict[str, Any], met: set[str], *, is_part: bool) -> Any:
    """The schema with other properties forbidden wherever an object's are declared and nothing is said of others.

    Raises:
        ValueError: a reference leads nowhere, or to what is no schema.
    """
    if isinstance(schema, list):
        return [_closed(item, root, met, is_part=is_part) for item in schema]
    if not isinstance(schema, dict):
        return schema
    reference = schema.get("$ref")
    if isinstance(reference, str) and reference not in met:
        met.add(reference)
        checked(pointed(root, reference))  # it may stand where no schema is looked for
    new = rewritten(schema, lambda keyword, part: _closed(part, root, met, is_part=keyword in PARTS))
    places = list(_declarations(schema, root, frozenset(), Counter()))
    if places and not is_part and not any(keyword in schema for keyword in OPENING):
        new["additionalProperties" if len(places) == 1 and places[0] is schema else "unevaluatedProperties"] = False
    return new


def _declarations(
    schema: Any, root: dict[str, Any], seen: frozenset[str], met: Counter[int]
) -> Iterator[dict[str, Any]]:
    """The schemas, itself or its parts, that declare properties of one and the same object.

    One that is met again and again is told of twice: parts that refer to the same ones double at every step.
    """
    if not isinstance(schema, dict) or met[id(schema)] > 1:
        return
    met[id(schema)] += 1
    if "properties" in schema:
        yield schema
    for keyword in ("allOf", *BRANCHES):
        parts = schema.get(keyword)
        for part in parts if isinstance(parts, list) else ():  # else under a keyword that JSON Schema does not know
            yield from _declarations(part, root, seen, met)
    for keyword in ("then", "else"):
        yield from _declarations(schema.get(keyword), root, seen, met)
    reference = schema.get("$ref")
    if isinstance(reference, str) and reference not in seen:
        yield from _declarations(pointed(root, reference), root, seen | {reference}, met)


def _describe(error: ValidationError) -> list[str]:
    """Our words for one finding."""
    path, keyword, schema = tuple(error.absolute_path), str(error.validator), error.schema
    value: Any = error.instance
    wanted: Any = error.validator_value
    where = dotted(path)
    if keyword == "required":
        return [f"missing_required:{dotted((*path, name))}" for name in wanted if name not in value]
    if keyword == "dependentRequired":
        needed = [name for one, names in wanted.items() if one in value for name in names]
        return [f"missing_required:{dotted((*path, name))}" for name in needed if name not in value]
    if keyword == "additionalProperties" and wanted is False and isinstance(schema, dict):
        patterns, declared = schema.get("patternProperties", {}), schema.get("properties", {})
        extra = [name for name in value if name not in declared and not any(found(p, name) for p in patterns)]
        return [f"undeclared_argument:{dotted((*path, name))}" for name in extra]
    if keyword == "unevaluatedProperties":
        return [f"undeclared_argument:{where}"]
    types = _wanted_types(error)
    if types:
        return [f"type:{where} expected {' or '.join(types)}, got {json_type(value)}"]
    if keyword in {"enum", "const"}:
        return [f"enum:{where} not an allowed value"]
    return [f"constraint:{where} {keyword}"]


def _wanted_types(error: ValidationError) -> list[str]:
    """The types asked for, where the value's type is all that is wrong; empty elsewhere."""
    wanted: Any = error.validator_value
    if error.validator == "type":
        return [wanted] if isinstance(wanted, str) else list(wanted)
    if error.validator not in BRANCHES or not error.context:
        return []
    per_branch = [_wanted_types(inner) if not inner.relative_path else [] for inner in error.context]
    return list(dict.fromkeys(name for names in per_branch for name in names)) if all(per_branch) else []
