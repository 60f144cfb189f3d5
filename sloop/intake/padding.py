"""Nulls that a table put where nothing was: Arrow gives every object of a column the keys of all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sloop.calls.schema import BRANCHES, OPENING, pointed
from sloop.records import Tool

KEPT = frozenset({"const", "default", "enum", "examples"})
"""Keywords of a schema whose value may be or hold a null of its own."""


def without_nulls(definition: Any) -> Any:
    """A tool's definition without the keys that hold nothing."""
    if isinstance(definition, list):
        return [without_nulls(item) for item in definition]
    if not isinstance(definition, Mapping):
        return definition
    return {
        key: value if key in KEPT else without_nulls(value)
        for key, value in definition.items()
        if value is not None or key in ("const", "default")
    }


def unpadded(arguments: Mapping[str, Any], tool: Tool) -> dict[str, Any]:
    """Arguments without the nulls that their tool's schema has no place for and does not ask for."""
    cleaned: dict[str, Any] = _cleaned(arguments, tool.parameters, tool.parameters)
    return cleaned


def _cleaned(value: Any, schema: Any, root: dict[str, Any]) -> Any:
    schema = _target(schema, root)
    parts = next((schema[key] for key in BRANCHES if isinstance(schema.get(key), list)), ())
    if len(only := [part for part in parts if _target(part, root).get("type") != "null"]) == 1:
        schema = {**schema, **_target(only[0], root)}
    if isinstance(value, list):
        return [_cleaned(item, schema.get("items"), root) for item in value]
    if not isinstance(value, Mapping) or not isinstance(declared := schema.get("properties"), Mapping):
        return value
    is_open = any(schema.get(key, False) is not False for key in OPENING)
    required = schema.get("required") or ()
    return {
        name: _cleaned(part, declared.get(name), root)
        for name, part in value.items()
        if part is not None
        or name in required
        or (_takes_null(declared[name], root, 0) if name in declared else is_open)
    }


def _target(schema: Any, root: dict[str, Any]) -> dict[str, Any]:
    """What a schema says, or the one that it refers to."""
    if isinstance(schema, dict) and isinstance(schema.get("$ref"), str):
        return pointed(root, schema["$ref"])
    return schema if isinstance(schema, dict) else {}


def _takes_null(schema: Any, root: dict[str, Any], depth: int) -> bool:
    schema = _target(schema, root)
    branches = next((schema[key] for key in BRANCHES if isinstance(schema.get(key), list)), None)
    if branches is not None:
        return depth < 8 and any(_takes_null(branch, root, depth + 1) for branch in branches)
    if "enum" in schema:
        return None in schema["enum"]
    types = schema.get("type", "null")
    return "null" in (types if isinstance(types, list) else [types])
