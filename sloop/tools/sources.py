"""Tools from files: the packaged everyday set, or a file of the reader's own."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from sloop.records import Tool, UserError, from_json
from sloop.store.files import lines_of, named, read_text
from sloop.tools.definitions import FORM, definitions, read_tool
from sloop.tools.operations import short

PACKAGED = {name: Path(__file__).with_name(f"{name}.json") for name in ("everyday", "server")}
"""Sets that come with sloop: what samples are made of, and another domain's tools (`sloop.stages.corrupt`)."""
SOURCE = (
    "sloop.tools.contract",
    "sloop.tools.definitions",
    "sloop.tools.dialects",
    "sloop.tools.operations",
    "sloop.tools.sources",
)
"""Modules by which a source reads definitions."""
SPLITS = ("train", "dev", "test")
_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_LONGEST_LIST = 5
"""Most definitions that an error names; with ``keep_going`` all are named."""


@runtime_checkable
class ToolSource(Protocol):
    """Where tools come from, where that is no file; a class of the reader's own, named by ``tools._target_``."""

    def tools(self) -> Sequence[Tool]:
        """The tools, in an order that stays; names are unique."""
        ...


@runtime_checkable
class NotedSource(ToolSource, Protocol):
    """A source of which a reader must know something once it was read."""

    def notes(self) -> Sequence[str]:
        """What that is, a sentence each, such as what was left out."""
        ...


def load_tools(
    path: str | Path,
    split: str | None = None,
    *,
    keep_going: bool = False,
    tell: Callable[[str], None] = lambda _: None,
) -> tuple[Tool, ...]:
    """Tools from a file of definitions in any known form (`sloop.tools.definitions`), checked.

    Names become such as servers take: letters, digits, _ and -, 64 at most. A definition that stands there again, word
    for word, is one tool.

    Args:
        path: the name of a packaged set, "everyday" or "server", else a ``.json`` file or a ``.jsonl`` file (a value a
            line), either of them gzipped if its name ends in ``.gz``.
        split: keep the definitions whose extra key ``split`` says this; None: all of them.
        keep_going: leave out what cannot be read.
        tell: told in a sentence what was left out or stands there again, and which names were changed.

    Returns:
        The tools in file order.

    Raises:
        UserError: no such file, not JSON, nothing of that split, or a definition that cannot be read: no tool, a bad or
            repeated name, parameters that are no JSON Schema (draft 2020-12) of type object, or would be lost.
    """
    source = PACKAGED.get(str(path), Path(path))
    rows = list(rows_of(source))
    if split is not None:
        rows = [(place, row) for place, row in rows if not isinstance(row, Mapping) or row.get("split") == split]
    if not rows:
        wanted = f" with split={split}" if split is not None else ""
        raise UserError(
            f'{source} holds no tools{wanted}. Splits are written in the file, as a key beside "function": '
            f"{', '.join(SPLITS)}. Leave tools.split empty (null) to take all tools of the file."
        )
    return tuple(tool for _, tool in checked_tools(str(source), rows, keep_going=keep_going, tell=tell))


def checked_tools(
    source: str, rows: Sequence[tuple[str, Any]], *, keep_going: bool, tell: Callable[[str], None] = lambda _: None
) -> list[tuple[str, Tool]]:
    """Tools of definitions, each with its place and in any known form: the name that it had, and the tool.

    Raises:
        UserError: as of `load_tools`.
    """
    tools: dict[str, Tool] = {}
    own: dict[str, Tool] = {}
    repeated = 0
    renamed: list[str] = []
    refused: list[str] = []
    for place, row in rows:
        try:
            given = read_tool(row, place)
            tool = given.model_copy(update={"name": _allowed(given.name, place)})
            if given == own.get(tool.name):
                repeated += 1
                continue
            if tool.name in tools:
                raise ValueError(
                    f"{place}: a second tool is named {tool.name}. Names are unique: rename one of the two."
                )
        except ValueError as error:
            refused.append(str(error))
            continue
        tools[tool.name], own[tool.name] = tool, given
        renamed += [f"{given.name!r} is {tool.name}"] if tool.name != given.name else []
    if refused and not (keep_going and tools):
        raise UserError(_refusal(refused, len(rows), can_go_on=bool(tools)))
    if refused:
        tell(f"{source}: {len(refused)} of {len(rows)} definitions are left out (tools.keep_going=true).")
    for reason in refused:
        tell(f"left out: {reason}")
    if repeated:
        tell(f"{source}: {repeated} of {len(rows)} definitions repeat an earlier one word for word.")
    if renamed:
        tell(f"{source}: servers take letters, digits, _ and - in a name, 64 at most, so {', '.join(renamed)}.")
    return [(own[name].name, tool) for name, tool in tools.items()]


def _refusal(refused: Sequence[str], total: int, *, can_go_on: bool) -> str:
    """What to say of definitions that cannot be read."""
    first, *others = refused[:_LONGEST_LIST]
    more = f" {len(refused)} of {total} definitions cannot be read; the others:" if others else ""
    listed = "".join(f"\n  {reason}" for reason in others)
    rest = f"\n  and {len(refused) - _LONGEST_LIST} more." if len(refused) > _LONGEST_LIST else ""
    end = "\n" if others else " "
    hint = f"{end}Or leave out what cannot be read: tools.keep_going=true" if can_go_on else ""
    return f"{first}{more}{listed}{rest}{hint}"


def _allowed(name: str, place: str) -> str:
    """The name, in letters, digits, _ and - alone, and no longer than servers take it.

    Raises:
        ValueError: none is left of it.
    """
    if _NAME.fullmatch(name):
        return name
    plain = "".join(mark for mark in unicodedata.normalize("NFKD", name) if not unicodedata.combining(mark))
    written = short(re.sub(r"[^a-zA-Z0-9_-]+", "_", plain).strip("_"))
    if not _NAME.fullmatch(written):
        raise ValueError(f"{place}: the name {name!r} is not allowed: 1 to 64 letters, digits, _ and - make a name.")
    return written


def rows_of(source: Path) -> Iterator[tuple[str, Any]]:
    """Definitions with their place in the file, for messages."""
    names = source.name.removesuffix(".gz")
    if not names.endswith((".json", ".jsonl")):
        raise UserError(
            f"{source}: tools are read from .json or .jsonl files (or .json.gz, .jsonl.gz), or are the word everyday. "
            "Try tools.path=everyday, or tools.path=FILE.json."
        )
    wanted = f"Write a list of {FORM}, or try tools.path=everyday."
    try:
        if names.endswith(".jsonl"):
            rows = lines_of(source, wanted)
        else:
            text = read_text(source, wanted)
            lines = [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
            if not (len(lines) > 1 and all(line[0] == "{" and line.rstrip()[-1] == "}" for _, line in lines)):
                yield from definitions(from_json(text), str(source))
                return
            rows = iter(lines)  # JSON lines under another name, as BFCL's
    except ValueError as error:
        raise UserError(f"{named(source)} is not JSON: {error}. {wanted}") from error
    for number, line in rows:
        place = f"{source}, line {number}"
        try:
            given = from_json(line)
        except ValueError as error:
            given = ValueError(f"{place}, is not JSON: {error}. {wanted}")
        yield from definitions(given, place)
