"""The operations of an OpenAPI 3.0 or 3.1 document as tools; called, where the reader names the address, over HTTP.

The document is a stranger's: no reference leads outside it (`sloop.tools.operations`), and the addresses that it names
are asked nothing.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import yaml
from yarl import URL

from sloop.records import Tool, UserError, from_json, to_json
from sloop.records.ranges import Name, PathText, Seconds
from sloop.store.files import read_text
from sloop.tools.contract import ToolError
from sloop.tools.operations import FORM, Operation, is_document, operations
from sloop.tools.sources import SOURCE, checked_tools

READING = frozenset({"get", "head", "options", "trace"})
"""Methods that change nothing (RFC 9110, section 9.2.1)."""
MOST_NODES = 500_000
"""Of a document, what YAML's aliases repeat counted as often as it stands there."""
MOST_BYTES = 1 << 20
"""Of an answer."""


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
        self._notes: list[str] = []

    def tools(self) -> Sequence[Tool]:
        """Its operations, in the document's order.

        Raises:
            UserError: the file is no OpenAPI 3 document, or an operation cannot be read (see ``keep_going``): its
                place as a JSON pointer, and why.
        """
        return tuple(tool for tool, _ in self._read())

    def notes(self) -> Sequence[str]:
        """What was left out when it was last read, and which names were changed, a sentence each."""
        return tuple(self._notes)

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
        found = list(operations(_document(Path(self.document)), self.document))
        rows = [(place, definition) for place, definition, _ in found]
        if not rows:
            raise UserError(f'{self.document}: it has no operations under "paths".')
        by_name = {definition["name"]: operation for _, definition, operation in found if operation}
        self._notes.clear()
        tools = checked_tools(self.document, rows, keep_going=self._keep_going, tell=self._notes.append)
        return [(tool, by_name[own]) for own, tool in tools]


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
            if self._operation.media and "*" not in self._operation.media:  # such as application/merge-patch+json
                headers["Content-Type"] = self._operation.media
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
    if not is_document(given):
        version = given.get("openapi") if isinstance(given, dict) else None
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
            text = _simple(value, part, own)
            if text in ("", ".", ".."):
                raise ToolError(f"{argument}: {text!r} cannot stand in a path")
            path = path.replace(f"{{{own}}}", text)
        elif at == "query":
            query += _query(own, value, part)
        elif at == "header":
            headers[own] = _simple(value, part, own, encode=str)
        else:
            pair = f"{own}={','.join(map(quote, _texts(_flat(value))))}"
            headers["Cookie"] = f"{headers['Cookie']}; {pair}" if "Cookie" in headers else pair
    if "{" in path:
        raise ToolError(f"a part of the path {operation.path} is missing")
    return path, query, headers, body


def _query(name: str, value: Any, part: Mapping[str, Any]) -> list[tuple[str, str]]:
    """A parameter of the query, in the style that its definition names."""
    style = part.get("style", "form")
    explode = part.get("explode", style == "form")
    if isinstance(value, dict) and (explode or style == "deepObject"):
        deep = style == "deepObject"
        return [(f"{name}[{key}]" if deep else key, one) for key, row in value.items() for one in _texts(row)]
    texts = _texts(_flat(value))
    if explode:
        return [(name, one) for one in texts]
    return [(name, {"spaceDelimited": " ", "pipeDelimited": "|"}.get(style, ",").join(texts))]


def _quoted(text: str) -> str:
    return quote(text, safe="")


def _simple(value: Any, part: Mapping[str, Any], name: str, encode: Callable[[str], str] = _quoted) -> str:
    """A part of the path or a header, in the style that its definition names: ``simple``, ``label`` or ``matrix``.

    As RFC 6570 expands {name}, {.name} and {;name}, to which OpenAPI refers (3.1.1, Style Values).
    """
    style, explode = part.get("style", "simple"), bool(part.get("explode"))
    mark, between = {"label": (".", "."), "matrix": (";", ";")}.get(style, ("", ","))
    if explode and isinstance(value, dict):
        return mark + between.join(
            f"{encode(key)}={encode(text)}" for key, row in value.items() for text in _texts(row)
        )
    texts = [encode(text) for text in _texts(_flat(value))]
    if style == "matrix":
        return "".join(f";{name}={text}" for text in (texts if explode else [",".join(texts)]))
    return mark + (between if explode else ",").join(texts)


def _flat(value: Any) -> Any:
    """An object as a list of its names and values by turns; anything else as it is."""
    return [one for pair in value.items() for one in pair] if isinstance(value, dict) else value


def _texts(value: Any) -> list[str]:
    """A value, or each of a list of them, as it stands in an address."""
    return [
        each if isinstance(each, str) else to_json(each) for each in (value if isinstance(value, list) else [value])
    ]
