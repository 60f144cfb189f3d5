"""Where in a run's JSON lines a sample is spoken of: an index beside the run, brought up to date whenever it is opened.

It holds places, never content: whoever opens one sample reads the lines that are about it and no others. It is made of
the files and may be deleted at any time; it is hidden, so that no digest covers it.

A run from elsewhere may bring an index of its own. So it is worked on in memory alone, where nothing that lies beside
it is looked at (a journal of SQLite's names files that SQLite would open and delete), and it says no more than places
in files that are the run's.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from sloop.records import Record, Sample, UserError, from_json
from sloop.runs.files import holds
from sloop.runs.questions import QUESTIONS, questions_of
from sloop.stages.accept import TRUTH
from sloop.store import write_bytes
from sloop.store.content import is_sidecar
from sloop.store.files import named, next_line, raw_lines, reading, record_in

R = TypeVar("R", bound=Record)

INDEX_FILE = ".index.sqlite"
SCHEMA = """
CREATE TABLE files (path TEXT PRIMARY KEY, size INTEGER, changed INTEGER);
CREATE TABLE lines (id TEXT, whole INTEGER, path TEXT, offset INTEGER);
CREATE TABLE children (parent TEXT, child TEXT, path TEXT);
CREATE INDEX by_id ON lines (id);
CREATE INDEX by_path ON lines (path);
CREATE INDEX by_parent ON children (parent);
"""


class Place(NamedTuple):
    """A line."""

    path: Path
    offset: int
    """In bytes of the (uncompressed) text."""


class Index:
    """The index of one run; a context manager."""

    def __init__(self, folder: Path) -> None:
        """Bring the index of the run in a folder up to date; it is kept there, where that is possible."""
        self.folder = folder
        self._files = {_name(folder, path): path for path in _own(folder)}
        path = folder / INDEX_FILE
        try:
            self._database = _loaded(path.read_bytes() if holds(folder, path) else b"")
            changed = self._refresh(self._files)
        except sqlite3.Error:  # what lies there is none, or a broken one
            self._database = _loaded(b"")
            changed = self._refresh(self._files)
        if changed and not path.is_dir():
            with suppress(OSError, UserError):  # nobody may write there
                write_bytes(path, self._database.serialize())

    def __enter__(self) -> Index:
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()

    def add(self, path: Path) -> None:
        """Take up a file of samples that the reader gave, for as long as this is open."""
        given = {str(path.resolve()): path}
        self._files |= given
        self._refresh(given)

    def ids(self, beginning: str) -> list[str]:
        """The ids that begin so, of all samples that are spoken of."""
        query = "SELECT DISTINCT CAST(id AS TEXT) FROM lines WHERE id >= ? AND id < ? ORDER BY id"
        return [sample_id for (sample_id,) in self._ask(query, beginning, beginning + "\U0010ffff")]

    def samples(self, sample_id: str) -> list[Place]:
        """Where the sample itself stands; a file that the reader gave comes first."""
        return self._places("id = ? AND whole", sample_id)

    def words(self, sample_id: str) -> list[Place]:
        """Where something is said about the sample, in the order of the paths."""
        return self._places("id = ? AND NOT whole", sample_id)

    def children(self, sample_id: str) -> list[str]:
        """Ids of the samples that were made from it."""
        query = "SELECT DISTINCT CAST(child AS TEXT) FROM children WHERE parent = ? ORDER BY child"
        return [child for (child,) in self._ask(query, sample_id)]

    def _places(self, condition: str, sample_id: str) -> list[Place]:
        query = f"SELECT CAST(path AS TEXT), CAST(offset AS INTEGER) FROM lines WHERE {condition}"
        found = self._ask(query, sample_id)
        places = [Place(self._files[name], offset) for name, offset in found if name in self._files]
        return sorted(places, key=lambda p: (p.path.is_relative_to(self.folder), p.path.parts, p.offset))

    def _writes(self, path: Path) -> bool:
        """Whether a stage of the run wrote the file: its lines say the ids of their samples."""
        return path.is_relative_to(self.folder) and path.parent != self.folder / QUESTIONS

    def _ask(self, query: str, *values: str) -> list[tuple[Any, ...]]:
        try:
            return self._database.execute(query, values).fetchall()
        except (sqlite3.Error, UnicodeError) as error:
            raise UserError(f"{self.folder / INDEX_FILE}: this index is broken ({error}). Delete it.") from error

    def _refresh(self, files: Mapping[str, Path]) -> bool:
        """Read the files that are not known as they are now, forget those that are none of the run's any more.

        Returns:
            Whether anything had changed.
        """
        query = "SELECT path, size, changed FROM files"
        known = {name: (size, changed) for name, size, changed in self._database.execute(query)}
        states = {name: (path.stat().st_size, path.stat().st_mtime_ns) for name, path in files.items()}
        gone = known.keys() - self._files.keys()
        stale = {name: files[name] for name, state in states.items() if known.get(name) != state}
        if not gone and not stale:
            return False
        with self._database as change:
            for table in ("files", "lines", "children"):
                change.executemany(f"DELETE FROM {table} WHERE path = ?", [(name,) for name in (*gone, *stale)])
            for name, path in stale.items():
                change.execute("INSERT INTO files VALUES (?, ?, ?)", (name, *states[name]))
                own = self._writes(path)
                for offset, row in _rows(path):
                    if own and "sample_id" in row:
                        told = (_text(row["sample_id"]), name, offset)
                        change.execute("INSERT INTO lines VALUES (?, 0, ?, ?)", told)
                    elif sample_id := _sample_id(row, own):
                        change.execute("INSERT INTO lines VALUES (?, 1, ?, ?)", (sample_id, name, offset))
                        made = ((parent, sample_id, name) for parent in _parents(row))
                        change.executemany("INSERT INTO children VALUES (?, ?, ?)", made)
        return True


def _own(folder: Path) -> Iterator[Path]:
    """The run's own files of rows; what a noisy annotator was given is nobody's to show."""
    for path in (*folder.rglob("*.jsonl"), *questions_of(folder)):
        if path.name != TRUTH and not is_sidecar(path.relative_to(folder)) and holds(folder, path):
            yield path


def _name(folder: Path, path: Path) -> str:
    return str(path.relative_to(folder))


def _loaded(content: bytes) -> sqlite3.Connection:
    """A database in memory, of what was kept; an empty one where that has another schema than ours."""
    database = sqlite3.connect(":memory:")
    database.text_factory = lambda text: text.decode(errors="replace")
    empty = sqlite3.connect(":memory:")
    empty.executescript(SCHEMA)
    query = "SELECT name, sql FROM sqlite_master"
    if content:
        database.deserialize(content)
        if list(database.execute(query)) == list(empty.execute(query)):
            empty.close()
            return database
    database.close()
    return empty


def row_at(place: Place, kind: type[R], sample_id: str) -> R:
    """The record in the line at a place: a sample, or what is said about one.

    Raises:
        UserError: the line is no such record, or another's; names file and place.
    """
    where = f"at byte {place.offset}"
    try:
        with reading(place.path) as file:
            try:
                file.seek(place.offset)
            except (OSError, ValueError) as error:
                raise ValueError(f"{named(place.path)}, {where}, is not a {kind.__name__}: no such place.") from error
            record = record_in(next_line(file, place.path), kind, place.path, where)
        if getattr(record, "sample_id", getattr(record, "id", None)) != sample_id:
            raise ValueError(f"{named(place.path)}, {where}, is not about the sample {sample_id}")
        return record
    except (UserError, ValueError) as error:
        raise UserError(
            f"{error} Take the run's file as it was made, and delete {INDEX_FILE} in its folder."
        ) from error


def _sample_id(row: dict[str, Any], own: bool) -> str | None:
    """The id of the sample in a line, which a run's own files say; None where it holds none."""
    if own:
        return _text(row.get("id")) if "messages" in row else None
    try:
        return Sample.model_validate({key: value for key, value in row.items() if key != "id"}).id
    except ValueError:
        return None


def _parents(row: dict[str, Any]) -> list[str]:
    """Ids of the samples that a sample says it was made from."""
    lineage = row.get("lineage")
    parents = lineage.get("parents") if isinstance(lineage, dict) else None
    return [name for parent in parents if (name := _text(parent))] if isinstance(parents, list) else []


def _text(value: Any) -> str | None:
    """A text that a database takes."""
    return value if isinstance(value, str) and value.isascii() and value.isprintable() else None


def _rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Offset and content of every line that holds an object; a line that is being written is passed over."""
    for _, offset, line in raw_lines(path):
        with suppress(ValueError):
            if isinstance(row := from_json(line.decode(), wraps=1), dict):
                yield offset, row
