"""Definitions of tools as anybody writes them: OpenAI, MCP, Anthropic, Gemini, Bedrock, LangChain, xLAM, ToolBench, the
operations of OpenAPI documents.

A definition is read whole or refused: parameters that stand where nobody looks for them make no tool without any.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from sloop.calls.schema import validator
from sloop.records import Tool, UserError, from_json
from sloop.tools.dialects import is_schema, parameters, shown
from sloop.tools.operations import is_document, operations

FORM = '{"type": "function", "function": {"name": ..., "description": ..., "parameters": {...}}}'
WRAPPERS = ("tools", "functions", "functionDeclarations", "function_declarations", "api_list", "function")
"""Keys under which definitions stand together."""
INNER = ("function", "toolSpec")
"""Keys under which one stands: OpenAI's and Bedrock's."""
PARAMETERS = (
    *("parameters", "inputSchema", "input_schema", "parametersJsonSchema", "parameters_json_schema"),
    *("args_schema", "args", "arguments", "inputs", "parameter_definitions"),
)
"""Keys under which parameters stand: of OpenAI, MCP, Anthropic, Gemini, LangChain, ACEBench, smolagents, Cohere."""
NAMED = ("name", "api_name", "title")
DESCRIBED = ("description", "api_description")
DOCUMENT = "Documentation"
"""Key under which ToolAlpaca keeps an OpenAPI document, as text."""
TOOLBENCH = ("required_parameters", "optional_parameters")
_MOST_TEXTS = 3
"""How often JSON may be written as text in JSON."""
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

    What is none is among them, or an error, for `read_tool` to say so: one that is bad hides no other.
    """
    if isinstance(given, Mapping) and isinstance(text := given.get(DOCUMENT), str) and text.lstrip()[:1] == "{":
        given, where = text, f"{where}, {DOCUMENT}"
    if isinstance(given, str):
        try:
            given = _parsed(given, where)
        except ValueError:
            yield where, given
            return
    wrapped = _wrapped(given) if isinstance(given, Mapping) else {}
    if is_document(given):
        yield from ((place, row) for place, row, _ in operations(given, where))
    elif isinstance(given, list):
        for number, row in enumerate(given, 1):
            yield from definitions(row, f"{where}, tool {number}")
    elif wrapped:
        for key, rows in wrapped.items():
            for place, row in definitions(rows, where if key in ("tools", "result") else f"{where}, {key}"):
                yield place, {"split": given["split"], **row} if "split" in given and isinstance(row, Mapping) else row
        if given.get("nextCursor"):
            yield where, ValueError(f'{where}: "nextCursor" says that more tools follow. Add all pages, and remove it.')
    elif isinstance(given, Mapping) and _is_by_name(given):
        for name, row in given.items():
            yield f"{where}, {shown(name)}", {"name": name, **row}
    elif given is not None:
        yield where, given


def _wrapped(given: Mapping[str, Any]) -> dict[str, Any]:
    """What of a mapping that is no definition holds some: lists of them, or what an MCP server answers."""
    if any(key in given for key in (*PARAMETERS, *TOOLBENCH)):
        return {}
    if isinstance(result := given.get("result"), Mapping):
        return {"result": result}
    return {key: given[key] for key in WRAPPERS if isinstance(given.get(key), list | str)}


def read_tool(given: Any, where: str) -> Tool:
    """The tool that one definition tells of; its name is kept as it is.

    Args:
        given: the definition, or its JSON.
        where: its place, for messages.

    Raises:
        ValueError: it is none, its parameters are no JSON Schema of an object, or they would be lost.
    """
    if isinstance(given, ValueError):
        raise given
    given = _parsed(given, where)
    if not isinstance(given, Mapping):
        raise ValueError(f"{where} is no object. Write {FORM}.")
    spec = dict(given)
    for key in INNER:
        if isinstance(inner := _parsed(given.get(key), where), Mapping):
            spec = {**{name: value for name, value in given.items() if name not in (*INNER, "type")}, **inner}
    name = next((spec[key] for key in NAMED if isinstance(spec.get(key), str) and spec[key].strip()), None)
    if name is None:
        kind = f", of type {shown(spec['type'])}," if spec.get("type") not in (None, "function") else ""
        raise ValueError(f"{where}{kind} has no function name. Write {FORM}.")
    description = next((spec[key] for key in DESCRIBED if spec.get(key) is not None), "")
    if not isinstance(description, str):
        raise ValueError(f"{where}, {name}: the description is no text: {shown(description)}.")
    try:
        tool = Tool(name=name, description=description, parameters=_declared(spec))
        validator(tool)
    except ValueError as error:
        raise ValueError(f"{where}, {name}: {str(error).rstrip('.')}.") from error
    except UserError as error:
        raise ValueError(f"{where}: {error}") from error
    missing = [key for key in tool.required if key not in tool.properties]
    if missing and "patternProperties" not in tool.parameters:
        raise ValueError(f"{where}, {name}: required but not among the properties: {', '.join(map(str, missing))}.")
    return tool


def _declared(spec: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of a definition, wherever they stand; ValueError where they would be lost."""
    found = {}
    needed = spec.get("required") if isinstance(spec.get("required"), list) else []
    for key in PARAMETERS:
        if value := _parsed(spec.get(key), key):
            found[key] = parameters(_cohere(value) if key == "parameter_definitions" else value, f"#/{key}")
            own = value.get("required") if isinstance(value, Mapping) and is_schema(value) else None
            if needed and own and sorted(map(str, own)) != sorted(map(str, needed)):
                raise ValueError(f'"required" in "{key}" and beside it name other parameters each. Leave one of them')
            found[key] |= {"required": needed} if needed else {}
    if any(spec.get(key) for key in TOOLBENCH):
        found["required_parameters"] = _toolbench(spec)
    if not found and isinstance(spec.get("properties"), Mapping) and spec["properties"]:
        own = {key: value for key, value in spec.items() if key not in (*NAMED, *DESCRIBED, "strict")}
        found["properties"] = parameters({**own, "type": "object"}, "#")
    used = {key: schema for key, schema in found.items() if len(schema) > 2 or schema["properties"]} or found
    first, *rest = used or ("",)
    for key in rest:
        declared, other = (used[each]["properties"] for each in (first, key))
        if not isinstance(declared, Mapping) or not isinstance(other, Mapping) or set(declared) != set(other):
            raise ValueError(f'"{first}" and "{key}" hold other parameters each. Leave one of them')
    if first and (used[first]["properties"] or len(used[first]) > 2):
        return used[first]
    for key, value in spec.items():
        if key not in (*PARAMETERS, *TOOLBENCH, *INNER) and _is_lost(key, value):
            raise ValueError(f'"{key}" seems to hold its parameters, and nobody looks there. Write {FORM}')
    if not first and spec.get("type") not in (None, "function", "object"):
        raise ValueError(f"it is of type {shown(spec['type'])}, whose parameters its server knows. Write {FORM}")
    return used[first] if first else {"type": "object", "properties": {}, **({"required": needed} if needed else {})}


def _cohere(given: Any) -> Any:
    """Parameters by name, of which one is required where it says so."""
    parts = given.items() if isinstance(given, Mapping) else ()
    return {name: {"required": False, **part} if isinstance(part, Mapping) else part for name, part in parts} or given


def _toolbench(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters in two lists, as ToolBench has them; what it calls the default of a required one is an example."""
    properties: dict[str, Any] = {}
    needed = []
    for key in TOOLBENCH:
        rows = _parsed(spec.get(key), key) or []
        if not isinstance(rows, list):
            raise ValueError(f"{key} is {shown(rows)}; a list of parameters is wanted")
        for part in rows:
            row = {name: value for name, value in part.items() if value != ""} if isinstance(part, Mapping) else part
            if key == TOOLBENCH[0] and isinstance(row, Mapping):
                row = {("examples" if name == "default" else name): value for name, value in row.items()}
            found = parameters([row], f"#/{key}")["properties"]
            if again := [name for name in found if properties.get(name, found[name]) != found[name]]:
                raise ValueError(f"{key} has a second parameter called {again[0]}, and another than the first")
            properties |= found
            needed += [row["name"]] if key == TOOLBENCH[0] else []
    return {"type": "object", "properties": properties, **({"required": list(dict.fromkeys(needed))} if needed else {})}


def _is_lost(key: str, value: Any) -> bool:
    """Whether what stands under a key that nobody reads looks like parameters."""
    if _OTHER.search(key) or not value or isinstance(value, bool | int | float):
        return False
    if isinstance(value, str):
        is_json = value.lstrip()[:1] in ("{", "[")
        return is_json and ('"properties"' in value or bool(_PARAMETERS.search(key)))
    if _PARAMETERS.search(key) or (isinstance(value, Mapping) and "properties" in value and is_schema(value)):
        return True
    parts = list(value.values()) if isinstance(value, Mapping) else value if isinstance(value, list) else []
    told = {"type"} if isinstance(value, Mapping) else {"type", "name"}
    return bool(parts) and all(isinstance(part, Mapping) and told <= set(part) for part in parts)


def _is_by_name(given: Mapping[str, Any]) -> bool:
    """Whether a mapping holds definitions by their names."""
    rows = list(given.values())
    told = {*PARAMETERS, *TOOLBENCH}
    if not all(isinstance(row, Mapping) and "name" not in row and told.union(DESCRIBED) & set(row) for row in rows):
        return False
    return any(told & set(row) and not is_schema(row) for row in rows)


def _parsed(given: Any, where: str) -> Any:
    """What JSON text holds; empty text holds nothing."""
    try:
        for _ in range(_MOST_TEXTS):
            if isinstance(given, str):
                given = from_json(given) if given.strip() else None
    except ValueError as error:
        raise ValueError(f"{where} is text and no JSON ({error}): {shown(given)}. Write {FORM}.") from error
    return given
