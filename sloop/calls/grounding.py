"""Grounding: does every argument value stand in the dialogue? Asked by the door of a dataset and by judges."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from sloop.calls.surface import leaves, stands_in
from sloop.records import Label, Sample, Tool, canonical_json

_DEFAULT = re.compile(r"\bdefaults?\b\W*(?:is|to|value|:|=)?\W*([\w.-]+)", re.IGNORECASE)


def ungrounded(sample: Sample, label: Label) -> list[str]:
    """Argument values that stand nowhere in the dialogue, as ``tool.argument=value``.

    What the assistant said does not count. Exempt are: empty values; a parameter's default, by its schema or its
    description; constants; booleans and enum values of required parameters, for one of them must be chosen.
    """
    text = "\n".join(message.content for message in sample.messages if message.role != "assistant")
    return [
        f"{call.name}.{name}={leaf!r}"
        for call in label.calls
        if (tool := sample.tool(call.name)) is not None
        for name, value in call.arguments.items()
        for leaf, schema in leaves(value, schema_of(tool, name))
        if not _exempt(leaf, schema, name in tool.required) and not _stands(leaf, schema, text)
    ]


def _stands(value: Any, schema: Mapping[str, Any], text: str) -> bool:
    """Whether a value stands in a text; the folder and the last name of a path may stand apart."""
    if stands_in(value, schema, text):
        return True
    folder, slash, name = value.rpartition("/") if isinstance(value, str) and value.startswith("/") else ("", "", "")
    return bool(slash) and f"{folder}/" in text and stands_in(name, {}, text)


def _exempt(value: Any, schema: Mapping[str, Any], required: bool) -> bool:
    if value is None or value == "" or value == [] or value == {}:
        return True
    if "const" in schema or ("default" in schema and canonical_json(schema["default"]) == canonical_json(value)):
        return True
    if isinstance(value, bool) or "enum" in schema:
        return required or len(schema.get("enum", ())) == 1
    said = _DEFAULT.search(str(schema.get("description", "")))
    return said is not None and said.group(1).strip(".").casefold() == str(value).casefold()


def schema_of(tool: Tool, name: str) -> Mapping[str, Any]:
    """A parameter's schema; empty where there is none, or a bare ``true``."""
    schema = tool.properties.get(name)
    return schema if isinstance(schema, Mapping) else {}
