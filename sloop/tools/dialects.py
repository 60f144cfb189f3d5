"""JSON Schemas as people write them, made the draft that sloop checks calls by (2020-12).

What is written otherwise and means the same is converted: types of Python, Java, TypeScript, BFCL, xLAM, ToolBench and
Gemini, earlier drafts, OpenAPI 3.0, keys that a table of records filled up with null. What means nothing that can be
told is a `ValueError`, which names the place. A schema of the draft comes out as it was, in its order.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from jsonschema import Draft202012Validator

from sloop.calls.schema import json_type, pointed
from sloop.records import from_json

NAMES: Mapping[str, Mapping[str, Any]] = {
    name: schema
    for names, schema in (
        ("string str text char character varchar enum file binary bytes callable geopoint", {"type": "string"}),
        ("integer int long short byte bigint int8 int16 int32 int64 uint8 uint16 uint32 uint64", {"type": "integer"}),
        ("number float double decimal numeric real float32 float64", {"type": "number"}),
        ("boolean bool", {"type": "boolean"}),
        ("array list tuple sequence iterable collection arraylist queue stack vector ndarray", {"type": "array"}),
        ("set frozenset hashset", {"type": "array", "uniqueItems": True}),
        ("object dict dictionary map mapping record hashmap hashtable struct json", {"type": "object"}),
        ("null none nonetype", {"type": "null"}),
        ("any unknown mixed", {}),
        ("objectarray", {"type": "array", "items": {"type": "object"}}),
        ("date", {"type": "string", "format": "date"}),
        ("time", {"type": "string", "format": "time"}),
        ("datetime date-time timestamp", {"type": "string", "format": "date-time"}),
        ("uuid uri email", {"type": "string"}),
    )
    for name in names.split()
}
"""Schema of each type that is written in one word, small letters."""
GENERIC = ("optional", "union", "literal", "annotated")
"""Types that say something of those in their brackets."""
JSON_TYPES = ("string", "integer", "number", "boolean", "array", "object", "null")
MAPS = frozenset({"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"})
"""Keywords that hold schemas by name."""
LISTS = frozenset({"anyOf", "oneOf", "allOf", "prefixItems"})
SINGLE = frozenset(
    {"items", "additionalProperties", "unevaluatedProperties", "unevaluatedItems", "propertyNames"}
    | {"contains", "not", "if", "then", "else"}
)
COUNTS = frozenset({"minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties"})
"""Keywords of whole numbers, which Gemini's JSON writes as text."""
WRAPPED = ("json", "jsonSchema", "json_schema", "schema")
"""Keys under which Bedrock and the AI SDK put a schema of parameters, alone."""
KEYWORDS = frozenset(
    {*Draft202012Validator.VALIDATORS, *MAPS, *LISTS, *SINGLE, "title", "description", "default", "examples", "example"}
    | {"$schema", "$id", "id", "$comment", "$anchor", "format", "nullable", "deprecated", "readOnly", "writeOnly"}
    | {"then", "else", "dependencies", "additionalItems", "discriminator", "propertyOrdering", "optional", "strict"}
)
_LEFT_OUT = re.compile(
    r"[\s,;]*[(\[]?\b(?:optional|default\b.*)[)\]]?\s*$|^[(\[]?optional\b[)\]]?(?=[\s,;])", re.IGNORECASE
)
_NEEDED = re.compile(r"[\s,;]*[(\[]?\brequired\b[)\]]?\s*$", re.IGNORECASE)
_OF = re.compile(r"\b(?:list|array) of (\w+)", re.IGNORECASE)
_BEHIND = re.compile(r"([\w.]+)\[\]")
_TYPE_KEY = re.compile(r"(?:data|value|param|arg)?_?type_?(?:hint|name)?", re.IGNORECASE)
"""What a type is called elsewhere: ``type_`` (Semantic Kernel), ``dataType``, ``type_hint``."""
_FLAG_KEY = re.compile(r"is_?(?:required|optional)|default_?value", re.IGNORECASE)
_SPEC = KEYWORDS | {"param_type"}
_LONGEST_TYPE = 300
_MOST_REFERENCES = 8


def pointer(at: str, *keys: str | int) -> str:
    """The JSON pointer (RFC 6901) of a part of what stands at one."""
    return at + "".join(f"/{str(key).replace('~', '~0').replace('/', '~1')}" for key in keys)


def shown(value: Any) -> str:
    """A value for a message."""
    text = json.dumps(value, ensure_ascii=False, default=repr)
    return text if len(text) <= 80 else f"{text[:77]}..."


def typed(text: str, at: str) -> tuple[dict[str, Any], bool]:
    """The schema of a type as it is written in words, and whether these say that it may be left out.

    Args:
        text: the type.
        at: its place, for messages.

    Raises:
        ValueError: it is no known type.
    """
    plain, left_out = _LEFT_OUT.subn("", text.strip())
    plain = _NEEDED.sub("", plain).strip()
    if not plain and left_out:
        return {}, True
    word = re.sub(r"\s*\(.*\)$", "", plain).lower()  # DATE (YYYY-MM-DD), as RapidAPI writes it
    if word in NAMES and not re.match(r"(?:list|tuple|array|set|dict)\(", plain.lower()):
        return dict(NAMES[word]), bool(left_out)
    source = re.sub(r"\s+or\s+", " | ", _BEHIND.sub(r"List[\1]", _OF.sub(r"List[\1]", plain)))
    try:
        if len(source) > _LONGEST_TYPE:
            raise ValueError(source)
        node = ast.parse(source.replace("<", "[").replace(">", "]"), mode="eval").body
        schema = _annotated(node)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ValueError(f"{at}: the type {shown(text)} is not known; allowed: {', '.join(JSON_TYPES)}") from None
    is_optional = isinstance(node, ast.Subscript) and _name(node.value) == "optional"
    return schema, bool(left_out) or is_optional


def _annotated(node: ast.expr) -> dict[str, Any]:
    """The schema of a type as Python writes it; ValueError for what is none."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str | None):
        return {"type": "null"} if node.value is None else typed(node.value, "")[0]
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return _either([_annotated(node.left), _annotated(node.right)])
    if isinstance(node, ast.Subscript | ast.Call):
        inner: Sequence[ast.expr] = node.args if isinstance(node, ast.Call) else _elements(node.slice)
        return _generic(_name(node.func if isinstance(node, ast.Call) else node.value), inner)
    name = _name(node)
    return dict(NAMES[name]) if name in NAMES else {}


def _generic(name: str, inner: Sequence[ast.expr]) -> dict[str, Any]:
    if name == "literal":
        values = [ast.literal_eval(each) for each in inner]
        if not all(isinstance(value, str | int | None) for value in values):
            raise ValueError(name)
        return {"enum": values}
    if name == "callable":
        return {"type": "string"}
    if name == "annotated":
        return _annotated(inner[0])
    is_open = len(inner) == 2 and isinstance(inner[1], ast.Constant) and inner[1].value is ...
    parts = [_annotated(each) for each in (inner[:1] if is_open else inner)]
    if name in ("optional", "union"):
        return _either([*parts, *([{"type": "null"}] if name == "optional" else [])])
    schema = dict(NAMES[name])
    if schema.get("type") == "array" and name == "tuple" and not is_open:
        return schema | {"prefixItems": parts, "minItems": len(parts), "maxItems": len(parts)}
    if schema.get("type") == "array" and len(parts) == 1:
        return schema | {"items": parts[0]}
    if schema.get("type") == "object" and len(parts) in (1, 2):
        return schema | {"additionalProperties": parts[-1]}
    raise ValueError(name)


def _elements(node: ast.expr) -> Sequence[ast.expr]:
    return node.elts if isinstance(node, ast.Tuple) else [node]


def _name(node: ast.expr) -> str:
    """A name of `NAMES` or `GENERIC`, whatever module it is of, and also where it is one of many."""
    text = (node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else "").lower()
    for name in (text, text.removesuffix("s")):
        if name in NAMES or name in GENERIC:
            return name
    raise ValueError(text)


def _either(parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    if {} in parts:
        return {}
    if all(set(part) == {"type"} and isinstance(part["type"], str) for part in parts):
        kinds = list(dict.fromkeys(part["type"] for part in parts))
        return {"type": kinds if len(kinds) > 1 else kinds[0]}
    return {"anyOf": list(parts)}


def plain_schema(given: Any, at: str) -> Any:
    """A schema of any dialect as one of draft 2020-12; ``at`` names its place.

    Raises:
        ValueError: it is none, or says what cannot be told in another way.
    """
    if isinstance(given, bool):
        return given
    if isinstance(given, str):
        return _of_type(given, {}, at)
    if not isinstance(given, Mapping):
        raise ValueError(f'{at} is {shown(given)}; a JSON Schema is wanted, such as {{"type": "string"}}')
    new: dict[str, Any] = {}
    for key, value in given.items():
        if "type" not in given and key not in KEYWORDS and _TYPE_KEY.fullmatch(key):
            raise ValueError(f'{at}: {shown(key)} is no keyword. Write "type": {shown(value)}')
        new |= _keyword(key, value, given, at)
    _require(new, given)
    _read_values(new, at)
    for end in ("Minimum", "Maximum"):
        _bound(new, f"exclusive{end}", end.lower(), at)
    if new.get("type") == "object":
        _check_declared(new, at)
    return _or_null(new) if new.pop("nullable", None) is True else new


def _keyword(key: str, value: Any, given: Mapping[str, Any], at: str) -> dict[str, Any]:
    """What a keyword of a schema becomes; one that is null is none, as in tables that fill up what a row lacks."""
    if key == "type":
        return {name: part for name, part in _of_type(value, given, at).items() if name not in given or name == key}
    if value is None:
        return {key: None} if key == "default" or (key == "const" and "type" not in given) else {}
    if key in MAPS and value in ([], ""):  # an empty map, as PHP writes it
        return {key: {}}
    if key in MAPS and isinstance(value, Mapping):
        return {key: {n: plain_schema(part, pointer(at, key, n)) for n, part in value.items() if part is not None}}
    if key in LISTS and isinstance(value, list):
        return {key: [plain_schema(part, pointer(at, key, k)) for k, part in enumerate(value)]}
    if key == "items" and isinstance(value, list):
        rest = given.get("additionalItems")
        first = [plain_schema(part, pointer(at, key, k)) for k, part in enumerate(value)]
        return {
            "prefixItems": first,
            **({"items": plain_schema(rest, pointer(at, "additionalItems"))} if rest is not None else {}),
        }
    if key in SINGLE:
        return {key: plain_schema(value, pointer(at, key))}
    if key in COUNTS and (value.isdecimal() if isinstance(value, str) else isinstance(value, float) and value % 1 == 0):
        return {key: int(value)}
    if key == "components" and isinstance(value, Mapping) and isinstance(value.get("schemas"), Mapping):  # OpenAPI
        named = value["schemas"].items()
        return {key: {**value, "schemas": {n: plain_schema(part, pointer(at, key, "schemas", n)) for n, part in named}}}
    if key == "dependencies" and isinstance(value, Mapping):
        lists = {name: part for name, part in value.items() if isinstance(part, list)}
        schemas = {name: plain_schema(part, at) for name, part in value.items() if name not in lists}
        return {k: part for k, part in (("dependentRequired", lists), ("dependentSchemas", schemas)) if part}
    if key == "examples" and not isinstance(value, list):
        named = list(value.values()) if isinstance(value, Mapping) else [value]
        return {key: [each.get("value", each) if isinstance(each, Mapping) else each for each in named]}
    if key == "required" and isinstance(value, list):
        return {key: [name for k, name in enumerate(value) if name is not None and name not in value[:k]]}
    is_nothing = (key == "required" and value in (True, False, {}, "")) or (key == "enum" and value == [])
    return {} if is_nothing or (key == "additionalItems" and isinstance(given.get("items"), list)) else {key: value}


def parameters(given: Any, at: str) -> dict[str, Any]:
    """Parameters of any form as one JSON Schema of type object: a schema, types by name, or a list of parameters.

    Raises:
        ValueError: as of `plain_schema`, or they are no object.
    """
    if isinstance(given, list):
        given = _listed(given, at)
    if not isinstance(given, Mapping):
        raise ValueError(f'{at} is {shown(given)}; a JSON Schema of "type": "object" is wanted')
    if len(given) == 1 and (key := next(iter(given))) in WRAPPED and _declares(given[key]):
        return parameters(given[key], pointer(at, key))
    schema = plain_schema(given if is_schema(given) else _by_name(given, at), at)
    schema.pop("$schema", None)
    schema = _opened(schema, schema)
    for key, parts in schema.items():
        if key in LISTS and isinstance(parts, list):
            schema[key] = [_opened(part, schema) for part in parts]
    if isinstance(schema.get("type"), list) and "object" in schema["type"]:
        schema["type"] = "object"
    if schema.get("type", "object") != "object":
        raise ValueError(f'{at} has the type {shown(schema["type"])}; a JSON Schema of "type": "object" is wanted')
    return {"type": "object", "properties": {}, **schema}


def _opened(schema: Any, root: dict[str, Any]) -> Any:
    """The schema without a reference in its place, as generators write that name every schema."""
    for _ in range(_MOST_REFERENCES):
        if not isinstance(schema, dict) or not isinstance(schema.get("$ref"), str):
            break
        target = pointed(root, schema["$ref"])
        schema = {**target, **{key: part for key, part in schema.items() if key != "$ref"}}
    return schema


def is_schema(given: Mapping[str, Any]) -> bool:
    """Whether a mapping is a schema itself, and no parameters by name, of which one may be called ``type``."""
    kind, declared = given.get("type"), given.get("properties")
    if isinstance(declared, Mapping) and not (isinstance(declared.get("type"), str) and set(declared) <= KEYWORDS):
        return True
    if isinstance(kind, list) or (isinstance(kind, str) and (_is_object(kind) or set(given) <= KEYWORDS)):
        return True
    return (
        "$schema" in given
        or any(isinstance(given.get(key), list) for key in (*LISTS, "required", "properties"))
        or (isinstance(given.get("$ref"), str) or isinstance(given.get("additionalProperties"), bool) or given == {})
    )


def _declares(given: Any) -> bool:
    return isinstance(given, Mapping) and isinstance(given.get("properties", {}), Mapping) and is_schema(given)


def _is_object(kind: str) -> bool:
    return NAMES.get(kind.lower(), {}).get("type") == "object"


def _by_name(given: Mapping[str, Any], at: str) -> dict[str, Any]:
    """A schema of parameters by name: each a type in words, or a schema; one with a default may be left out."""
    properties: dict[str, Any] = {}
    required = []
    for name, spec in given.items():
        if spec is None:
            continue
        where = pointer(at, name)
        if not isinstance(spec, Mapping | str) or (isinstance(spec, Mapping) and spec and not _SPEC & set(spec)):
            raise ValueError(
                f'{where} is {shown(spec)}; a type or a JSON Schema is wanted, such as {{"type": "string"}}'
            )
        part = {"type": spec} if isinstance(spec, str) else dict(spec)
        if "param_type" in part:  # Llama Stack
            part["type"] = part.pop("param_type")
        if lost := next((key for key in part if _FLAG_KEY.fullmatch(key)), None):
            raise ValueError(f'{where}: {shown(lost)} is no keyword. Write "required": true or false, or "default"')
        kind = part.get("type")
        may = isinstance(kind, str) and typed(kind, where)[1]
        flags = [part.pop("optional", False), "default" in part, part.get("nullable"), part.get("required") is False]
        if not may and not any(flag is True for flag in flags):
            required.append(name)
        properties[name] = part
    return {"type": "object", "properties": properties, **({"required": required} if required else {})}


def _read_values(schema: dict[str, Any], at: str) -> None:
    """Put values that are written as text for what they are; a default that says nothing is none."""
    kind = schema.get("type")
    if not isinstance(kind, str) or kind == "string":
        return
    if isinstance(default := schema.get("default"), str):
        schema["default"] = _read_value(default, kind)
        if default == "":
            del schema["default"]
    values = [value for value in schema.get("enum") or () if value is not None]
    if kind in ("integer", "number", "boolean") and values and not any(_is_of(value, kind) for value in values):
        schema["enum"] = [_read_value(value, kind) for value in schema["enum"]]
        others = [value for value in schema["enum"] if value is not None and not _is_of(value, kind)]
        if len(others) == len(values):
            raise ValueError(f"{at}: the enum {shown(values)} holds no value of its type {shown(kind)}")
        if others:  # "dontcare" among "True" and "False", as dialogue corpora have it
            schema["type"] = list(dict.fromkeys([kind, *map(json_type, others)]))


def _read_value(value: Any, kind: str) -> Any:
    try:
        read = from_json(value.lower() if kind == "boolean" else value) if isinstance(value, str) else value
    except ValueError:
        return value
    return read if _is_of(read, kind) else value


def _is_of(value: Any, kind: str) -> bool:
    return json_type(value) == kind or (kind == "number" and json_type(value) == "integer")


def _listed(given: Sequence[Any], at: str) -> dict[str, Any]:
    """Parameters by name of a list of them, as OpenAPI and ToolBench have it."""
    named: dict[str, Any] = {}
    for k, part in enumerate(given):
        if not isinstance(part, Mapping) or not isinstance(part.get("name"), str):
            raise ValueError(
                f'{pointer(at, k)} is {shown(part)}; a parameter is wanted, such as {{"name": ..., "type": ...}}'
            )
        inner = part["schema"] if isinstance(part.get("schema"), Mapping) else {}
        spec = {key: value for key, value in part.items() if key not in ("name", "in", "schema")} | dict(inner)
        if "in" in part or inner:
            spec.setdefault("required", False)  # in OpenAPI
        elif spec.get("required") is True:
            spec.pop("default", None)
        if named.get(part["name"], spec) != spec:
            raise ValueError(
                f"{pointer(at, k)} is a second parameter called {part['name']}, and another than the first"
            )
        named[part["name"]] = spec
    return named


def _of_type(kind: Any, given: Mapping[str, Any], at: str) -> dict[str, Any]:
    """What stands for a keyword ``type``."""
    if isinstance(kind, str) and kind in JSON_TYPES:
        return {"type": kind}
    if isinstance(kind, str) and kind.lower() == "enum" and given.get("enum"):
        return {}
    if isinstance(kind, str):
        return typed(kind, at)[0] if kind.strip() else {}
    if isinstance(kind, list):
        return _either([_of_type(each, {}, at) for each in kind]) if kind else {}
    if kind is not None:
        raise ValueError(f"{at}: the type {shown(kind)} is not known; allowed: {', '.join(JSON_TYPES)}")
    return {}


def _require(new: dict[str, Any], given: Mapping[str, Any]) -> None:
    """Say of the object what draft 3 says of its properties: ``required: true``."""
    declared = given.get("properties")
    parts = declared.items() if isinstance(declared, Mapping) else ()
    flagged = [name for name, part in parts if isinstance(part, Mapping) and part.get("required") is True]
    if flagged:
        new["required"] = list(dict.fromkeys([*new.get("required", ()), *flagged]))


def _bound(new: dict[str, Any], exclusive: str, plain: str, at: str) -> None:
    """A bound as draft 4 and OpenAPI 3.0 exclude it."""
    if not isinstance(new.get(exclusive), bool):
        return
    if new.pop(exclusive):
        if plain not in new:
            raise ValueError(f'{at}: "{exclusive}": true, and no "{plain}". Write the bound, such as "{exclusive}": 0')
        new[exclusive] = new.pop(plain)


def _or_null(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema, or null: OpenAPI's ``nullable``."""
    kind = schema.get("type")
    new = dict(schema)
    if isinstance(new.get("enum"), list) and None not in new["enum"]:
        new["enum"] = [*new["enum"], None]
    if kind is not None:
        new["type"] = list(dict.fromkeys([*([kind] if isinstance(kind, str) else kind), "null"]))
    elif isinstance(new.get("anyOf"), list):
        new["anyOf"] = [*new["anyOf"], {"type": "null"}]
    elif {"$ref", "oneOf", "allOf"} & set(new):
        told: dict[str, Any] = {key: new.pop(key) for key in ("title", "description", "default") if key in new}
        new = {**told, "anyOf": [new, {"type": "null"}]}
    return new


def _check_declared(schema: Mapping[str, Any], at: str) -> None:
    """Refuse an object whose properties stand beside its keywords."""
    for key, part in schema.items():
        kind = part.get("type") if isinstance(part, Mapping) else None if schema.get("properties") else part
        if key not in KEYWORDS and not key.startswith("x-") and isinstance(kind, str) and kind.lower() in NAMES:
            raise ValueError(f'{at}: {shown(key)} is no keyword. Write "properties": {{{shown(key)}: {shown(part)}}}')
