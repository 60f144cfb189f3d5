"""The operations of an OpenAPI 3.0 or 3.1 document as tools; called, where the reader names the address, over HTTP.

An operation's parameters and the properties of its body are a tool's arguments, as people who write such tools by hand
have them; a body that is no object is the argument ``body``. The document is a stranger's: no reference leads outside
it, and the addresses that it names are asked nothing.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import yaml
from yarl import URL

from sloop.calls.schema import pointed, rewritten
from sloop.records import Tool, UserError, digest, from_json, to_json
from sloop.records.ranges import Name, PathText, Seconds
from sloop.store.files import read_text
from sloop.tools.contract import ToolError
from sloop.tools.sources import SOURCE, checked_tools

METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
READING = frozenset({"get", "head", "options", "trace"})
"""Methods that change nothing (RFC 9110, section 9.2.1)."""
UNTOLD = frozenset({"accept", "content-type", "authorization"})
"""Header parameters that a document cannot define (OpenAPI 3.1, Parameter Object)."""
FORM = "application/x-www-form-urlencoded"
MOST_NODES = 500_000
"""Of a document, what YAML's aliases repeat counted as often as it stands there."""
MOST_BYTES = 1 << 20
"""Of an answer."""
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


class OpenApi:
    """A document and its operations (`sloop.tools.sources.ToolSource`)."""

    MODULES = ("sloop.tools.openapi", *SOURCE)

    def __init__(
        self,
        *,
        document: PathText,
        base_url: str | None,
        token_variable: Name | None,
        keep_going: bool,
        seconds: Seconds,
    ) -> None:
        """Take the document's whereabouts.

        Args:
            document: a ``.json``, ``.yaml`` or ``.yml`` file, gzipped if its name ends in ``.gz``.
            base_url: where calls are sent, whatever servers the document names; None: tools are listed and none runs.
            token_variable: name of the environment variable whose value is sent as a bearer token: a key in a
                configuration would be kept with the run.
            keep_going: leave out operations that cannot be read.
            seconds: longest answer.

        Raises:
            UserError: the address is none.
        """
        if base_url is not None and not base_url.startswith(("http://", "https://")):
            raise UserError(f"base_url={base_url}: give an address that begins with http:// or https://.")
        self.document, self.base_url, self.token_variable, self.seconds = document, base_url, token_variable, seconds
        self._keep_going = keep_going

    def tools(self) -> Sequence[Tool]:
        """Its operations, in the document's order.

        Raises:
            UserError: the file is no OpenAPI 3 document, or an operation cannot be read (see ``keep_going``): its
                place as a JSON pointer, and why.
        """
        return tuple(tool for tool, _ in self._read())

    def runnable(self) -> dict[str, OpenApiTool]:
        """Its operations by name.

        Raises:
            UserError: as of `tools`; or no address is given.
        """
        if self.base_url is None:
            raise UserError(
                f"{self.document}: to call it, say where it is served, for example base_url=http://HOST/v1, or to "
                "sloop chat and sloop tools --base-url http://HOST/v1."
            )
        return {tool.name: OpenApiTool(self, tool, operation) for tool, operation in self._read()}

    def _read(self) -> list[tuple[Tool, Operation]]:
        document = _document(Path(self.document))
        rows: list[tuple[str, Any]] = []
        operations: dict[str, Operation] = {}
        for where, path, method, shared, given in _operations(document):
            name = _short(str(given.get("operationId") or f"{method}_{path.strip('/')}"))
            place = f"{self.document}#{where}"
            try:
                if name in operations:
                    raise ValueError(f"a second operation is named {name}. Give it an operationId of its own")
                definition, operations[name] = _definition(document, name, path, method, shared, given)
                rows.append((place, definition))
            except KeyError as error:
                rows.append((place, ValueError(f"{place}: {error} is missing")))
            except (ValueError, TypeError, AttributeError) as error:
                rows.append((place, ValueError(f"{place}: {error}")))
        if not rows:
            raise UserError(f'{self.document}: it has no operations under "paths".')
        found = checked_tools(self.document, rows, keep_going=self._keep_going)
        return [(tool, operations[own]) for own, tool in found]


class OpenApiTool:
    """An operation that is called over HTTP; it reads only, where its method is one that changes nothing."""

    def __init__(self, source: OpenApi, shown: Tool, operation: Operation) -> None:
        """Take the document, for where it is served."""
        self._source, self._shown, self._operation = source, shown, operation
        self.mutates = operation.method not in READING

    def description(self) -> str:
        """The document's."""
        return self._shown.description

    def arguments(self) -> Mapping[str, Any]:
        """The document's, references and dialect made good."""
        return self._shown.parameters

    async def call(self, args: dict[str, Any], /) -> str:
        """The text that the server answers with.

        Raises:
            ToolError: it does not answer, answers with an error, or an argument would lead to another path.
        """
        url, query, headers, body = _request(self._operation, args)
        if token := os.environ.get(self._source.token_variable or ""):
            headers["Authorization"] = f"Bearer {token}"
        asked: dict[str, Any] = {"params": query, "headers": headers, "allow_redirects": False}
        if body is not None and self._operation.media == FORM:
            asked["data"] = [(key, one) for key, value in body.items() for one in _texts(value)]
        elif body is not None:
            asked["json"] = body
        limit = aiohttp.ClientTimeout(total=self._source.seconds)
        where = URL(f"{str(self._source.base_url).rstrip('/')}{url}", encoded=True)
        try:
            async with (
                aiohttp.ClientSession(timeout=limit, cookie_jar=aiohttp.DummyCookieJar()) as session,
                session.request(self._operation.method.upper(), where, **asked) as response,
            ):
                content = await response.content.read(MOST_BYTES + 1)
                while len(content) <= MOST_BYTES and (more := await response.content.read(MOST_BYTES)):
                    content += more
        except TimeoutError as error:
            raise ToolError(f"no answer within {self._source.seconds:g} s") from error
        except (aiohttp.ClientError, ValueError) as error:
            raise ToolError(f"{type(error).__name__}: {error}") from error
        text = content[:MOST_BYTES].decode(errors="replace") + ("\n[cut]" if len(content) > MOST_BYTES else "")
        if response.status >= 300:
            raise ToolError(f"HTTP {response.status}: {text}")
        return text


def _document(path: Path) -> dict[str, Any]:
    """The document as JSON.

    Raises:
        UserError: it is none.
    """
    wanted = "Give an OpenAPI 3.0 or 3.1 document: tools.document=FILE."
    text = read_text(path, wanted)
    try:
        if path.name.removesuffix(".gz").endswith(".json"):
            given = from_json(text, wraps=2)
        else:
            given = yaml.safe_load(text)
            if _nodes(given, MOST_NODES) < 0:
                raise ValueError(f"it holds more than {MOST_NODES} values, what its aliases repeat counted in full")
            given = json.loads(json.dumps(given, default=str))  # dates, and numbers as keys
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        told = " ".join(str(error).split())[:300]
        raise UserError(f"{path}: it cannot be read: {told}. {wanted}") from error
    version = given.get("openapi") if isinstance(given, dict) else None
    if not isinstance(version, str) or not version.startswith(("3.0", "3.1")):
        raise UserError(f'{path}: its "openapi" is {version!r}, and 3.0 and 3.1 are read. {wanted}')
    return dict(given)


def _nodes(value: Any, left: int) -> int:
    """How many values are still allowed after those in this one; below 0: it has too many."""
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    left -= 1
    for part in parts:
        if left < 0:
            break
        left = _nodes(part, left)
    return left


def _short(name: str) -> str:
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


def _request(
    operation: Operation, args: Mapping[str, Any]
) -> tuple[str, list[tuple[str, str]], dict[str, str], dict[str, Any] | Any]:
    """Path, query, headers and body of a call.

    Raises:
        ToolError: a part of the path is missing, empty or would lead to another path.
    """
    path, query, headers = operation.path, list[tuple[str, str]](), dict[str, str]()
    body: Any = {} if operation.needs_body and not operation.whole_body else None
    for argument, given in args.items():
        if argument not in operation.places:
            raise ToolError(f"{argument}: no argument is called so; there are {', '.join(operation.places) or 'none'}")
        at, own, part = operation.places[argument]
        value = to_json(given) if part.get("content") else given
        if at == "body":
            body = value if operation.whole_body else {**(body or {}), own: value}
        elif at == "path":
            text = ",".join(_texts(value))
            if text in ("", ".", ".."):
                raise ToolError(f"{argument}: {text!r} cannot stand in a path")
            path = path.replace(f"{{{own}}}", quote(text, safe=""))
        elif at == "query" and isinstance(value, dict):
            deep = part.get("style") == "deepObject"
            query += [(f"{own}[{key}]" if deep else key, one) for key, row in value.items() for one in _texts(row)]
        elif at == "query":
            style = part.get("style", "form")
            explode = part.get("explode", style == "form")
            joined = {"spaceDelimited": " ", "pipeDelimited": "|"}.get(style, ",").join(_texts(value))
            query += [(own, one) for one in (_texts(value) if explode else [joined])]
        elif at == "header":
            headers[own] = ",".join(_texts(value))
        else:
            pair = f"{own}={quote(','.join(_texts(value)))}"
            headers["Cookie"] = f"{headers['Cookie']}; {pair}" if "Cookie" in headers else pair
    if "{" in path:
        raise ToolError(f"a part of the path {operation.path} is missing")
    return path, query, headers, body


def _texts(value: Any) -> list[str]:
    """A value, or each of a list of them, as it stands in an address."""
    return [
        each if isinstance(each, str) else to_json(each) for each in (value if isinstance(value, list) else [value])
    ]
