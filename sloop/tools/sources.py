"""Tools from files: the packaged everyday set, or a file of the reader's own."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from sloop.calls.schema.validation import Unusable, checked
from sloop.records import Tool, UserError, from_json
from sloop.store.files import lines_of, named, read_text

EVERYDAY = Path(__file__).with_name("everyday.json")
SPLITS = ("train", "dev", "test")
_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_FORM = '{"type": "function", "function": {"name": ..., "description": ..., "parameters": {...}}}'


@runtime_checkable
class ToolSource(Protocol):
    """Where tools come from, where that is no file; a class of the reader's own, named by ``tools._target_``."""

    def tools(self) -> Sequence[Tool]:
        """The tools, in an order that stays; names are unique."""
        ...


def load_tools(path: str | Path, split: str | None = None) -> tuple[Tool, ...]:
    """Tools from OpenAI definitions, checked.

    Args:
        path: "everyday" for the packaged set, else a ``.json`` file (a list) or a ``.jsonl`` file (one definition a
            line), either of them gzipped if its name ends in ``.gz``. A definition may be a bare function object.
        split: keep the definitions whose extra key ``split`` says this; None: all of them.

    Returns:
        The tools in file order.

    Raises:
        UserError: no such file, not JSON, not a tool definition, a bad or repeated name, parameters that are no
            JSON Schema (Draft 2020-12) of type object, or nothing of that split.
    """
    source = EVERYDAY if str(path) == "everyday" else Path(path)
    rows = _rows(source)
    if split is not None:
        rows = [(place, row) for place, row in rows if row.get("split") == split]
    if not rows:
        wanted = f" with split={split}" if split is not None else ""
        raise UserError(
            f'{source} holds no tools{wanted}. Splits are written in the file, as a key beside "function": '
            f"{', '.join(SPLITS)}. Leave tools.split empty (null) to take all tools of the file."
        )
    tools: dict[str, Tool] = {}
    for place, row in rows:
        tool = _tool(row, place)
        if tool.name in tools:
            raise UserError(f"{place}: a second tool is named {tool.name}. Names are unique: rename one of the two.")
        tools[tool.name] = tool
    return tuple(tools.values())


def _rows(source: Path) -> list[tuple[str, Mapping[str, Any]]]:
    """Definitions with their place in the file, for messages."""
    names = source.name.removesuffix(".gz")
    if not names.endswith((".json", ".jsonl")):
        raise UserError(
            f"{source}: tools are read from .json or .jsonl files (or .json.gz, .jsonl.gz), or are the word everyday. "
            "Try tools.path=everyday, or tools.path=FILE.json."
        )
    wanted = f"Write a list of {_FORM}, or try tools.path=everyday."
    found: list[tuple[str, Any]]
    place = ""
    try:
        if names.endswith(".jsonl"):
            found = []
            for number, line in lines_of(source, wanted):
                place = f"line {number}"
                found.append((place, from_json(line)))
        else:
            whole = from_json(read_text(source, wanted))
            if not isinstance(whole, list):
                raise UserError(f"{source} holds no list. {wanted}")
            found = [(f"tool {n}", row) for n, row in enumerate(whole, 1)]
    except ValueError as error:
        where = f", {place}," if place else ""
        raise UserError(f"{named(source)}{where} is not JSON: {error}. {wanted}") from error
    for place, row in found:
        if not isinstance(row, Mapping):
            raise UserError(f"{source}, {place}, is no object. Write {_FORM}.")
    return [(f"{source}, {place}", row) for place, row in found]


def _tool(row: Mapping[str, Any], place: str) -> Tool:
    function = row.get("function", row)
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
        raise UserError(f"{place} has no function name. Write {_FORM}.")
    name = function["name"]
    if not _NAME.fullmatch(name):
        raise UserError(f"{place}: the name {name!r} is not allowed: 1 to 64 letters, digits, _ and - make a name.")
    description, parameters = function.get("description") or "", function.get("parameters") or {}
    if not isinstance(description, str):
        raise UserError(f"{place}, {name}: the description is no text: {description!r}.")
    if not isinstance(parameters, Mapping) or parameters.get("type", "object") != "object":
        raise UserError(f'{place}, {name}: parameters must be a JSON Schema of "type": "object".')
    schema = {"type": "object", "properties": {}, **parameters}
    try:
        checked(schema)
    except Unusable as error:
        raise UserError(f"{place}, {name}: parameters are no JSON Schema ({error}).") from error
    missing = [key for key in schema.get("required", ()) if key not in schema["properties"]]
    if missing:
        raise UserError(f"{place}, {name}: required but not among the properties: {', '.join(missing)}.")
    return Tool(name=name, description=description, parameters=schema)
