"""The operations of an OpenAPI 3.0 or 3.1 document, read as definitions of tools.

An operation's parameters and the properties of its body are a tool's arguments, as people who write such tools by hand
have them; a body that is no object is the argument ``body``. No reference leads outside the document.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sloop.calls.schema import pointed, rewritten
from sloop.records import digest

METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
UNTOLD = frozenset({"accept", "content-type", "authorization"})
"""Header parameters that a document cannot define (OpenAPI 3.1, Parameter Object)."""
FORM = "application/x-www-form-urlencoded"
LONGEST_NAME = 64
SCHEMAS = "#/components/schemas/"


@dataclass(frozen=True)
class Operation:
    """What a call needs to know: where each argument goes."""

    method: str
    path: str
    places: Mapping[str, tuple[str, str, Mapping[str, Any]]]
    """By argument: path, query, header, cookie or body; its name there; the parameter's definition."""
    whole_body: bool
    """The argument ``body`` is the body."""
    media: str | None
    needs_body: bool
    """The body is required, though all in it may be left out."""


def is_document(given: Any) -> bool:
    """Whether a value is an OpenAPI 3.0 or 3.1 document."""
    version = given.get("openapi") if isinstance(given, dict) else None
    return isinstance(version, str) and version.startswith(("3.0", "3.1"))


def operations(document: dict[str, Any], where: str) -> Iterator[tuple[str, Any, Operation | None]]:
    """Its operations in its order: each one's place, ``<where>#<JSON pointer>``, its definition as OpenAI has it, and
    where its arguments go; of one that cannot be read, the error.
    """
    seen: set[str] = set()
    for pointer, path, method, shared, given in _operations(document):
        name = short(str(given.get("operationId") or f"{method}_{path.strip('/')}"))
        place = f"{where}#{pointer}"
        try:
            if name in seen:
                raise ValueError(f"a second operation is named {name}. Give it an operationId of its own")
            definition, operation = _definition(document, name, path, method, shared, given)
        except KeyError as error:
            yield place, ValueError(f"{place}: {error} is missing"), None
        except (ValueError, TypeError, AttributeError) as error:
            yield place, ValueError(f"{place}: {error}"), None
        else:
            seen.add(name)
            yield place, definition, operation


def short(name: str) -> str:
    """A name that servers take, its end replaced by a digest of the whole where it is too long."""
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 9]}_{digest(name)[:8]}"


def _operations(document: dict[str, Any]) -> Iterator[tuple[str, str, str, list[Any], dict[str, Any]]]:
    """Pointer, path, method, parameters of the path, and the operation itself."""
    paths = document.get("paths")
    for path, given in paths.items() if isinstance(paths, dict) else ():
        if not isinstance(given, dict):
            continue
        pointer = f"/paths/{path.replace('~', '~0').replace('/', '~1')}"
        try:
            item = {**_resolved(document, given), **given}
        except ValueError:  # of which reading it tells
            yield f"{pointer}/$ref", path, "get", [], given
            continue
        shared = item.get("parameters")
        for method in METHODS:
            if isinstance(operation := item.get(method), dict):
                yield f"{pointer}/{method}", path, method, shared if isinstance(shared, list) else [], operation


def _definition(
    document: dict[str, Any], name: str, path: str, method: str, shared: list[Any], given: dict[str, Any]
) -> tuple[dict[str, Any], Operation]:
    """A tool's definition, and where its arguments go.

    Raises:
        ValueError: it cannot be called as a tool: a reference leads nowhere, or a body is neither JSON nor a form.
    """
    given = _resolved(document, given)
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for row in [*shared, *given.get("parameters", ())]:
        part = _resolved(document, row)
        if part["in"] != "header" or part["name"].lower() not in UNTOLD:
            found[part["in"], part["name"]] = part
    properties: dict[str, Any] = {}
    required: list[str] = []
    places: dict[str, tuple[str, str, Mapping[str, Any]]] = {}

    def take(own: str, at: str, schema: Any, *, needed: bool, part: Mapping[str, Any]) -> None:
        argument = own if own not in properties else f"{own}_{at}"
        properties[argument], places[argument] = schema, (at, own, part)
        if needed:
            required.append(argument)

    for (at, own), part in found.items():
        media: dict[str, Any] = next(iter((part.get("content") or {}).values()), {})
        schema = part.get("schema", media.get("schema", {}))
        about = {"description": part["description"]} if part.get("description") else {}
        shown = {**about, **schema} if isinstance(schema, dict) and "$ref" not in schema else schema
        take(own, at, shown, needed=bool(part.get("required")) or at == "path", part=part)
    body = _resolved(document, given["requestBody"]) if given.get("requestBody") else {}
    contents = body.get("content") or {}
    kind = next((each for each in contents if "json" in each), next((each for each in contents if each == FORM), None))
    if contents and kind is None and body.get("required"):
        raise ValueError(f"its body is {', '.join(contents)}, and JSON and forms are sent")
    schema = _resolved(document, contents[kind].get("schema", {})) if kind else {}
    beside = schema.get("properties")
    whole_body = bool(kind) and not (isinstance(beside, dict) and beside.keys() >= _declared(document, schema))
    if whole_body:
        take("body", "body", schema, needed=bool(body.get("required")), part={})
    elif kind:
        for own, part in schema["properties"].items():
            if not (isinstance(part, dict) and part.get("readOnly")):
                needed = bool(body.get("required")) and own in schema.get("required", ())
                take(own, "body", part, needed=needed, part={})
    texts = [str(given[key]).strip() for key in ("summary", "description") if given.get(key)]
    definition = {
        "name": name,
        "description": "\n\n".join(dict.fromkeys(texts)),
        "parameters": _standing_alone(
            document, {"type": "object", "properties": properties, **({"required": required} if required else {})}
        ),
    }
    return definition, Operation(method, path, places, whole_body, kind, bool(kind and body.get("required")))


def _declared(document: dict[str, Any], schema: dict[str, Any]) -> set[str]:
    """Names of the properties of a schema and of its branches; each is looked at once, as they may lead in a circle."""
    found, seen, waiting = set[str](), set[int](), [schema]
    while waiting:
        if id(part := waiting.pop()) not in seen:
            seen.add(id(part))
            found |= set(part.get("properties") or ())
            branches = [each for key in ("allOf", "anyOf", "oneOf") for each in part.get(key, ())]
            waiting += [_resolved(document, each) for each in branches if isinstance(each, dict)]
    return found


def _resolved(document: dict[str, Any], given: Any) -> dict[str, Any]:
    """What a reference, or several after each other, name.

    Raises:
        ValueError: one leads outside the document, nowhere, or in a circle.
    """
    seen: set[str] = set()
    while isinstance(given, dict) and isinstance(reference := given.get("$ref"), str):
        if reference in seen:
            raise ValueError(f"{reference} refers to itself")
        seen.add(reference)
        given = pointed(document, reference)
    if not isinstance(given, dict):
        raise ValueError(f"{given!r} is no object")
    return given


def _standing_alone(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """The schema with what it refers to in ``$defs``.

    Raises:
        ValueError: a reference leads outside the document, or nowhere.
    """
    definitions: dict[str, Any] = {}

    def write(_: str, part: Any) -> Any:
        if isinstance(part, list):
            return [write("", each) for each in part]
        if not isinstance(part, dict):
            return part
        if isinstance(reference := part.get("$ref"), str):
            name = reference.removeprefix(SCHEMAS).replace("/", ".").lstrip("#.")
            if name not in definitions:
                definitions[name] = {}
                definitions[name] = write("", pointed(document, reference))
            about = {key: value for key, value in part.items() if key == "description"}
            return {**about, "$ref": f"#/$defs/{name.replace('~', '~0')}"}
        return rewritten(part, write)

    written = write("", schema)
    return {**written, "$defs": definitions} if definitions else dict(written)
