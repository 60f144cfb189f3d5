"""A file system in memory: folders, and files that hold text. Nothing in it is on a disk, and no clock is in it.

Its state is ``{"root": {name: text or {...}}, "_folder": path}``: a text is a file, an object a folder, and the path
says where one stands, which is no part of what was done (`sloop.environments.checks`). Paths are read as models write
them: from the root (``/notes/a.txt``), from the current folder (``a.txt``, ``./a.txt``, ``../b``), with or without a
slash at the end; ``..`` of the root is the root.
"""

from __future__ import annotations

import fnmatch
import functools
import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field

from sloop.environments.toolkit import Toolkit
from sloop.tools.contract import ToolError, tool

MAX_ENTRIES = 1_000
"""Files and folders."""
MAX_TEXT = 100_000
"""Characters of a file."""
MAX_TOTAL = 1_000_000
"""Characters of all files."""
MAX_DEPTH = 30
"""Folders within each other: what holds a state is JSON of limited depth (`sloop.records.from_json`)."""
MAX_NAME = 255
"""Characters of a name."""
MAX_FOUND = 100
"""Most lines or names that a search tells."""
BAD_NAME = re.compile(r"[\x00-\x1f\x7f/]")

Folder: TypeAlias = "dict[str, str | Folder]"
Path = Annotated[str, Field(min_length=1, max_length=4096)]
Text = Annotated[str, Field(max_length=MAX_TEXT)]


class FileSystem:
    """The tools, over a state."""

    def __init__(self, state: dict[str, Any]) -> None:
        """Take a state.

        Raises:
            ToolError: it is none, or is larger than the limits.
        """
        if not isinstance(state.get("root"), dict) or not isinstance(state.setdefault("_folder", "/"), str):
            raise ToolError('a state is {"root": {NAME: TEXT or FOLDER}, "_folder": PATH}')
        if extra := state.keys() - {"root", "_folder"}:
            raise ToolError(f"a state has no {min(extra)}")
        self.state = state
        self._root: Folder = state["root"]
        self._check()
        if not isinstance(self._at(self._parts(state["_folder"])), dict):
            raise ToolError(f"the current folder {state['_folder']} is none")

    @tool
    def list_folder(self, path: Path = ".", recursive: bool = False) -> dict[str, Any]:
        """List the files and folders in a folder.

        Args:
            path: The folder; the current one if it is left out.
            recursive: Whether to list what is in the folders within it as well.
        """
        parts, folder = self._folder(path)
        within = self._below(parts) if recursive else (((*parts, name), part) for name, part in sorted(folder.items()))
        return {"folder": _said(parts), "entries": [_entry(place, part, len(parts)) for place, part in within]}

    @tool(mutates=True)
    def change_folder(self, path: Path) -> str:
        """Make a folder the current one, from which paths without a leading slash go.

        Args:
            path: The folder, such as /projects, notes or .. for the one above.
        """
        self.state["_folder"] = _said(self._folder(path)[0])
        return f"The current folder is {self.state['_folder']}."

    @tool
    def read_file(
        self,
        path: Path,
        start_line: Annotated[int, Field(ge=1)] = 1,
        line_count: Annotated[int, Field(ge=1)] | None = None,
    ) -> dict[str, Any]:
        """Read the text of a file, or some of its lines.

        Args:
            path: The file.
            start_line: The first line to read, counted from 1.
            line_count: How many lines to read; all that follow if it is left out.
        """
        parts, text = self._file(path)
        if start_line > 1 or line_count is not None:
            first = start_line - 1
            text = "".join(text.splitlines(keepends=True)[first : None if line_count is None else first + line_count])
        return {"path": _said(parts), "text": text}

    @tool
    def count_text(self, path: Path, unit: Literal["lines", "words", "characters"]) -> dict[str, Any]:
        """Count the lines, words or characters of a file.

        Args:
            path: The file.
            unit: What to count.
        """
        parts, text = self._file(path)
        count = {"lines": len(text.splitlines()), "words": len(text.split()), "characters": len(text)}[unit]
        return {"path": _said(parts), unit: count}

    @tool
    def find_files(
        self,
        pattern: Annotated[str, Field(min_length=1, max_length=MAX_NAME)],
        folder: Path = "/",
        kind: Literal["file", "folder", "any"] = "any",
    ) -> list[str]:
        """Find files and folders by their name, in a folder and all folders within it.

        Args:
            pattern: The name; * stands for any characters and ? for one, as in *.txt.
            folder: Where to look; everywhere if it is left out.
            kind: Whether to look for files, folders or both.
        """
        wanted = re.compile(fnmatch.translate(pattern.replace("[", "[[]")))
        kinds: tuple[type, ...] = {"file": (str,), "folder": (dict,), "any": (str, dict)}[kind]
        parts, _ = self._folder(folder)
        found = (p for p, part in self._below(parts) if isinstance(part, kinds) and wanted.match(p[-1]))
        return _first(map(_said, found))

    @tool
    def search_text(
        self,
        text: Annotated[str, Field(min_length=1, max_length=1000)],
        folder: Path = "/",
        case_sensitive: bool = False,
    ) -> list[str]:
        """Find the lines that hold a text, in the files of a folder and of all folders within it.

        Args:
            text: What to look for, as it stands in a line.
            folder: Where to look; everywhere if it is left out.
            case_sensitive: Whether capital and small letters differ.
        """
        wanted = text if case_sensitive else text.casefold()
        parts, _ = self._folder(folder)
        lines = (
            (f"{_said(place)}, line {number}: {line}", line if case_sensitive else line.casefold())
            for place, part in self._below(parts)
            if isinstance(part, str)
            for number, line in enumerate(part.splitlines(), start=1)
        )
        return _first(told for told, line in lines if wanted in line)

    @tool(mutates=True)
    def write_file(self, path: Path, text: Text, overwrite: bool = False) -> str:
        """Write a file that is not there yet, or one anew.

        Args:
            path: The file; its folder must be there.
            text: All that the file is to hold, word for word.
            overwrite: Whether a file of that name may be replaced.
        """
        parts = self._parts(path)
        there = self._at(parts)
        if isinstance(there, dict):
            raise ToolError(f"{_said(parts)} is a folder")
        if there is not None and not overwrite:
            raise ToolError(f"{_said(parts)} is there already; set overwrite to replace it, or append to it")
        self._put(parts, text)
        return f"{_said(parts)} is written."

    @tool(mutates=True)
    def append_text(self, path: Path, text: Text) -> str:
        """Add a line or lines at the end of a file.

        Args:
            path: The file, which must be there.
            text: What to add; it begins on a line of its own.
        """
        parts, old = self._file(path)
        self._put(parts, f"{old}\n{text}" if old and not old.endswith("\n") else old + text)
        return f"{_said(parts)} has grown."

    @tool(mutates=True)
    def replace_text(
        self, path: Path, old: Annotated[str, Field(min_length=1, max_length=MAX_TEXT)], new: Text
    ) -> dict[str, Any]:
        """Replace a text in a file, wherever it stands in it.

        Args:
            path: The file.
            old: What to replace, with capital and small letters as they stand there.
            new: What to put in its place.
        """
        parts, text = self._file(path)
        if not (count := text.count(old)):
            raise ToolError(f"{_said(parts)} does not hold {old!r:.200}")
        if len(text) + count * (len(new) - len(old)) > MAX_TEXT:  # before it is made
            raise ToolError(f"a file holds {MAX_TEXT} characters at most")
        self._put(parts, text.replace(old, new))
        return {"path": _said(parts), "replaced": count}

    @tool(mutates=True)
    def make_folder(self, path: Path) -> str:
        """Make a folder, and the folders that lead to it.

        Args:
            path: The folder.
        """
        parts = self._parts(path)
        if self._at(parts) is not None:
            raise ToolError(f"{_said(parts)} is there already")
        for end in range(1, len(parts) + 1):
            if self._at(parts[:end]) is None:
                self._put(parts[:end], {})
        return f"{_said(parts)} is made."

    @tool(mutates=True)
    def move(self, source: Path, target: Path) -> str:
        """Move or rename a file or folder.

        Args:
            source: What to move.
            target: Its new path; if that is a folder, it is moved into it under its own name.
        """
        parts, what = self._thing(source)
        place = self._target(parts, target)
        del self._holder(parts)[parts[-1]]  # first: it takes room but once
        self._put(place, what)
        if (here := self._parts(self.state["_folder"]))[: len(parts)] == parts:
            self.state["_folder"] = _said((*place, *here[len(parts) :]))
        return f"{_said(parts)} is now {_said(place)}."

    @tool(mutates=True)
    def copy(self, source: Path, target: Path) -> str:
        """Copy a file, or a folder with all that is in it.

        Args:
            source: What to copy.
            target: The path of the copy; if that is a folder, it is copied into it under its own name.
        """
        parts, what = self._thing(source)
        place = self._target(parts, target)
        self._put(place, _copied(what))
        return f"{_said(parts)} is copied to {_said(place)}."

    @tool(mutates=True)
    def delete(self, path: Path, recursive: bool = False) -> str:
        """Delete a file or folder.

        Args:
            path: What to delete.
            recursive: Whether a folder that is not empty may be deleted, with all that is in it.
        """
        parts, what = self._thing(path)
        if isinstance(what, dict) and what and not recursive:
            raise ToolError(f"{_said(parts)} is not empty; set recursive to delete all that is in it")
        if self._parts(self.state["_folder"])[: len(parts)] == parts:
            raise ToolError(f"the current folder is in {_said(parts)}; change it first")
        del self._holder(parts)[parts[-1]]
        return f"{_said(parts)} is deleted."

    # --- paths ----------------------------------------------------------------------------------------------------

    def _parts(self, path: str) -> tuple[str, ...]:
        """The names that lead from the root to a path, whether there is something or not.

        Raises:
            ToolError: no file or folder can have such a path.
        """
        parts = [] if path.startswith("/") else [part for part in self.state["_folder"].split("/") if part]
        for part in path.split("/"):
            if part == "..":
                parts = parts[:-1]
            elif part not in {"", "."}:
                parts.append(part)
        if bad := next((part for part in parts if len(part) > MAX_NAME or BAD_NAME.search(part)), None):
            raise ToolError(f"{bad!r:.100} is no name: {MAX_NAME} characters at most, and none that cannot be seen")
        if len(parts) > MAX_DEPTH:
            raise ToolError(f"folders lie {MAX_DEPTH} deep at most")
        return tuple(parts)

    def _at(self, parts: tuple[str, ...]) -> str | Folder | None:
        """What is there; None where nothing is."""
        here: str | Folder | None = self._root
        for part in parts:
            here = here.get(part) if isinstance(here, dict) else None
        return here

    def _thing(self, path: str) -> tuple[tuple[str, ...], str | Folder]:
        """A file or folder that can be moved, copied or deleted."""
        parts = self._parts(path)
        if not parts:
            raise ToolError("that cannot be done with the root")
        if (there := self._at(parts)) is None:
            raise ToolError(f"there is no {_said(parts)}")
        return parts, there

    def _file(self, path: str) -> tuple[tuple[str, ...], str]:
        parts = self._parts(path)
        there = self._at(parts)
        if not isinstance(there, str):
            raise ToolError(f"there is no {_said(parts)}" if there is None else f"{_said(parts)} is a folder")
        return parts, there

    def _folder(self, path: str) -> tuple[tuple[str, ...], Folder]:
        parts = self._parts(path)
        there = self._at(parts)
        if not isinstance(there, dict):
            raise ToolError(f"there is no folder {_said(parts)}" if there is None else f"{_said(parts)} is a file")
        return parts, there

    def _holder(self, parts: tuple[str, ...]) -> Folder:
        """The folder that holds a path."""
        return self._folder(_said(parts[:-1]))[1]

    def _target(self, source: tuple[str, ...], target: str) -> tuple[str, ...]:
        """Where a thing comes to lie; nothing is there yet."""
        parts = self._parts(target)
        if isinstance(self._at(parts), dict):
            parts = (*parts, source[-1])
        if parts[: len(source)] == source:
            raise ToolError(f"{_said(source)} cannot be put at or below itself")
        if self._at(parts) is not None:
            raise ToolError(f"{_said(parts)} is there already; delete it first, or choose another name")
        return parts

    # --- contents -------------------------------------------------------------------------------------------------

    def _put(self, parts: tuple[str, ...], what: str | Folder) -> None:
        """Let a path hold this.

        Raises:
            ToolError: there is no folder for it, or it is too much.
        """
        if not parts:
            raise ToolError("the root is a folder")
        self._holder(parts)[parts[-1]] = what
        self._check()

    def _below(self, parts: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str | Folder]]:
        """All that is in a folder and in those within it, by path."""
        there = self._at(parts)
        for name, part in sorted(there.items()) if isinstance(there, dict) else ():
            yield (*parts, name), part
            yield from self._below((*parts, name))

    def _check(self) -> None:
        """Hold the limits.

        Raises:
            ToolError: the state is beyond them, or is none.
        """
        entries = total = 0
        waiting: list[tuple[int, Any]] = [(0, self._root)]
        while waiting:
            depth, folder = waiting.pop()
            for name, part in folder.items():
                if name in {"", ".", ".."} or len(name) > MAX_NAME or BAD_NAME.search(name):
                    raise ToolError(f"{name!r:.100} is no name")
                if isinstance(part, dict):
                    waiting.append((depth + 1, part))
                elif not isinstance(part, str) or len(part) > MAX_TEXT:
                    raise ToolError(f"a file holds text, {MAX_TEXT} characters at most")
                entries += 1
                total += len(part) if isinstance(part, str) else 0
            if depth >= MAX_DEPTH and folder:
                raise ToolError(f"folders lie {MAX_DEPTH} deep at most")
            if entries > MAX_ENTRIES or total > MAX_TOTAL:
                raise ToolError(f"there is room for {MAX_ENTRIES} files and folders, with {MAX_TOTAL} characters")


def _said(parts: tuple[str, ...]) -> str:
    return "/" + "/".join(parts)


def _entry(place: tuple[str, ...], part: str | Folder, above: int) -> dict[str, Any]:
    """What a list tells of an entry, by its path within the folder that is listed."""
    name = "/".join(place[above:])
    return {"name": name, "kind": "file", "characters": len(part)} if isinstance(part, str) else {
        "name": name, "kind": "folder",
    }  # fmt: skip


def _copied(what: str | Folder) -> str | Folder:
    return what if isinstance(what, str) else {name: _copied(part) for name, part in what.items()}


def _first(found: Iterator[str]) -> list[str]:
    """The first of what was found, and that there is more."""
    told = [one for _, one in zip(range(MAX_FOUND + 1), found, strict=False)]
    return told if len(told) <= MAX_FOUND else [*told[:MAX_FOUND], "and more: narrow the search"]


Files = functools.partial(Toolkit, "files", FileSystem)
"""The environment."""
