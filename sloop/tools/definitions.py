"""Definitions of tools as anybody writes them: OpenAI, MCP, Anthropic, Gemini, Bedrock, LangChain, xLAM, ToolBench.

A definition is read whole or refused: parameters that stand where nobody looks for them make no tool without any.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from sloop.calls.schema import validator
from sloop.calls.schema.validation import Unusable, checked
from sloop.records import Tool, UserError, from_json
from sloop.tools.dialects import is_schema, parameters, shown

FORM = '{"type": "function", "function": {"name": ..., "description": ..., "parameters": {...}}}'
WRAPPERS = ("tools", "functions", "functionDeclarations", "function_declarations", "api_list", "function", "result")
"""Keys under which definitions stand together."""
INNER = ("function", "toolSpec")
"""Keys under which one stands: OpenAI's and Bedrock's."""
PARAMETERS = (
    *("parameters", "inputSchema", "input_schema", "parametersJsonSchema", "parameters_json_schema"),
    *("args_schema", "args", "arguments", "inputs"),
)
"""Keys under which parameters stand: OpenAI's, MCP's, Anthropic's, Gemini's, LangChain's, ACEBench's, smolagents'."""
NAMED = ("name", "api_name", "title")
DESCRIBED = ("description", "api_description")
TOOLBENCH = ("required_parameters", "optional_parameters")
_OTHER = re.compile(r"out|return|response|result|example|meta|annotation", re.IGNORECASE)
_PARAMETERS = re.compile(r"param|arg|input|schema|propert", re.IGNORECASE)


def read_tools(given: Any, where: str) -> list[Tool]:
    """All definitions of a value, in whatever they are wrapped.

    Raises:
        ValueError: as of `read_tool`.
    """
    return [read_tool(row, place) for place, row in definitions(given, where)]


def definitions(given: Any, where: str) -> Iterator[tuple[str, Any]]:
    """Single definitions, each with its place, of a list of them, of one, or of either as JSON text or under a key.

    What is none is among them, for `read_tool` to say so: one that is bad hides no other.
    """
    if isinstance(given, str):
        try:
            given = _parsed(given, where)
        except ValueError:
            yield where, given
            return
    wrapped = _wrapped(given) if isinstance(given, Mapping) else {}
    if isinstance(given, list):
        for number, row in enumerate(given, 1):
            yield from definitions(row, f"{where}, tool {number}")
    elif wrapped:
        for key, rows in wrapped.items():
            yield from definitions(rows, where if key in ("tools", "result") else f"{where}, {key}")
    elif isinstance(given, Mapping) and _is_by_name(given):
        for name, row in given.items():
            yield f"{where}, {shown(name)}", {"name": name, **row}
    elif given is not None:
        yield where, given


def _wrapped(given: Mapping[str, Any]) -> dict[str, Any]:
    """What of a mapping holds definitions: lists of them, or what an MCP server answers."""
    return {
        key: given[key]
        for key in WRAPPERS
        if isinstance(given.get(key), list | str) or (key == "result" and isinstance(given.get(key), Mapping))
    }


def read_tool(given: Any, where: str) -> Tool:
    """The tool that one definition tells of; its name is kept as it is.

    Args:
        given: the definition, or its JSON.
        where: its place, for messages.

    Raises:
        ValueError: it is none, its parameters are no JSON Schema of an object, or they would be lost.
    """
    given = _parsed(given, where)
    if not isinstance(given, Mapping):
        raise ValueError(f"{where} is no object. Write {FORM}.")
    spec = dict(given)
    for key in INNER:
        if isinstance(inner := _parsed(given.get(key), where), Mapping):
            spec = {**{name: value for name, value in given.items() if name not in (*INNER, "type")}, **inner}
    name = next((spec[key] for key in NAMED if isinstance(spec.get(key), str) and spec[key].strip()), None)
    if name is None:
        raise ValueError(f"{where} has no function name. Write {FORM}.")
    description = next((spec[key] for key in DESCRIBED if spec.get(key) is not None), "")
    if not isinstance(description, str):
        raise ValueError(f"{where}, {name}: the description is no text: {shown(description)}.")
    try:
        schema = _declared(spec)
        checked(schema)
        tool = Tool(name=name, description=description, parameters=schema)
        validator(tool)
    except Unusable as error:
        raise ValueError(f"{where}, {name}: parameters are no JSON Schema ({error}).") from error
    except ValueError as error:
        raise ValueError(f"{where}, {name}: {str(error).rstrip('.')}.") from error
    except UserError as error:
        raise ValueError(f"{where}: {error}") from error
    missing = [key for key in tool.required if key not in tool.properties]
    if missing and "patternProperties" not in schema:
        raise ValueError(f"{where}, {name}: required but not among the properties: {', '.join(map(str, missing))}.")
    return tool


def _declared(spec: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of a definition, wherever they stand; ValueError where they would be lost."""
    found = {key: parameters(value, key) for key in PARAMETERS if (value := _parsed(spec.get(key), key))}
    if any(spec.get(key) for key in TOOLBENCH):
        found["required_parameters"] = _toolbench(spec)
    if not found and isinstance(spec.get("properties"), Mapping) and spec["properties"]:
        own = {key: value for key, value in spec.items() if key not in (*NAMED, *DESCRIBED, "strict")}
        found["properties"] = parameters({**own, "type": "object"}, "parameters")
    used = {key: schema for key, schema in found.items() if len(schema) > 2 or schema["properties"]} or found
    first, *rest = used or ("",)
    for key in rest:
        if set(used[key]["properties"]) != set(used[first]["properties"]):
            raise ValueError(f'"{first}" and "{key}" hold other parameters each. Leave one of them')
    if first and (used[first]["properties"] or len(used[first]) > 2):
        return used[first]
    for key, value in spec.items():
        if key not in (*PARAMETERS, *TOOLBENCH, *INNER) and _is_lost(key, value):
            raise ValueError(f'"{key}" seems to hold its parameters, and nobody looks there. Write {FORM}')
    if not first and spec.get("type") not in (None, "function", "object"):
        raise ValueError(f"it is of type {shown(spec['type'])}, whose parameters its server knows. Write {FORM}")
    return used[first] if first else {"type": "object", "properties": {}}


def _toolbench(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters in two lists, as ToolBench has them; what it calls the default of a required one is an example."""
    properties: dict[str, Any] = {}
    needed = []
    for key in TOOLBENCH:
        for part in spec.get(key) or ():
            row = {name: value for name, value in part.items() if value != ""} if isinstance(part, Mapping) else part
            if key == TOOLBENCH[0] and isinstance(row, Mapping):
                row = {("examples" if name == "default" else name): value for name, value in row.items()}
            properties |= parameters([row], key)["properties"]
            needed += [row["name"]] if key == TOOLBENCH[0] else []
    return parameters({"type": "object", "properties": properties, "required": needed}, TOOLBENCH[0])


def _is_lost(key: str, value: Any) -> bool:
    """Whether what stands under a key that nobody reads looks like parameters."""
    if _OTHER.search(key) or not value or isinstance(value, bool | int | float):
        return False
    if isinstance(value, str):
        return bool(_PARAMETERS.search(key)) or ('"properties"' in value and value.lstrip().startswith("{"))
    parts = list(value.values()) if isinstance(value, Mapping) else value if isinstance(value, list) else []
    if _PARAMETERS.search(key) or (isinstance(value, Mapping) and "properties" in value and is_schema(value)):
        return True
    return bool(parts) and all(isinstance(part, Mapping) and "type" in part for part in parts)


def _is_by_name(given: Mapping[str, Any]) -> bool:
    """Whether a mapping holds definitions by their names."""
    return bool(given) and all(
        isinstance(row, Mapping) and "name" not in row and (set(row) & {*PARAMETERS, *TOOLBENCH}) and not is_schema(row)
        for row in given.values()
    )


def _parsed(given: Any, where: str) -> Any:
    """What JSON text holds; empty text holds nothing."""
    if not isinstance(given, str):
        return given
    try:
        return from_json(given) if given.strip() else None
    except ValueError as error:
        raise ValueError(f"{where} is text and no JSON ({error}): {shown(given)}. Write {FORM}.") from error
