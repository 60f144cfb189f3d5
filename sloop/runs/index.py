"""Where in a run's JSON lines a sample is spoken of: an index beside the run, brought up to date whenever it is opened.

It holds places, never content: whoever opens one sample reads the lines that are about it and no others. It is made of
the files and may be deleted at any time; it is hidden, so that no digest covers it.
"""

from __future__ import annotations

import gzip
import json
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from io import BufferedIOBase
from pathlib import Path
from typing import Any, NamedTuple

from sloop.records import Sample
from sloop.stages.accept import TRUTH
from sloop.store.files import UNREADABLE, is_sidecar, unreadable

INDEX_FILE = ".index.sqlite"
SCHEMA = """
CREATE TABLE IF NOT EXISTS files (path TEXT PRIMARY KEY, size INTEGER, changed INTEGER);
CREATE TABLE IF NOT EXISTS lines (id TEXT, whole INTEGER, path TEXT, offset INTEGER);
CREATE TABLE IF NOT EXISTS children (parent TEXT, child TEXT, path TEXT);
CREATE INDEX IF NOT EXISTS by_id ON lines (id);
CREATE INDEX IF NOT EXISTS by_path ON lines (path);
CREATE INDEX IF NOT EXISTS by_parent ON children (parent);
"""


class Place(NamedTuple):
    """A line."""

    path: Path
    offset: int
    """In bytes of the (uncompressed) text."""


class Index:
    """The index of one run; a context manager."""

    def __init__(self, folder: Path) -> None:
        """Open the index of the run in a folder; in memory alone where none can be kept there."""
        self.folder = folder
        try:
            self._open(folder / INDEX_FILE)
        except sqlite3.Error:  # nobody may write there, or what lies there is none
            self._open(":memory:")

    def __enter__(self) -> Index:
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()

    def _open(self, where: Path | str) -> None:
        self._database = sqlite3.connect(where)
        with ExitStack() as unless_opened:
            unless_opened.callback(self._database.close)
            self._database.executescript(SCHEMA)
            self._refresh((*self._files(), *self._outside()), forget=True)
            unless_opened.pop_all()

    def add(self, paths: Iterable[Path]) -> None:
        """Take up files of samples from outside the run's folder."""
        self._refresh(paths, forget=False)

    def ids(self, beginning: str) -> list[str]:
        """The ids that begin so, of all samples that are spoken of."""
        query = "SELECT DISTINCT id FROM lines WHERE id >= ? AND id < ? ORDER BY id"
        return [sample_id for (sample_id,) in self._database.execute(query, (beginning, beginning + "\U0010ffff"))]

    def samples(self, sample_id: str) -> list[Place]:
        """Where the sample itself stands; files from outside come first."""
        return self._places("id = ? AND whole", sample_id)

    def words(self, sample_id: str) -> list[Place]:
        """Where something is said about the sample, in the order of the paths."""
        return self._places("id = ? AND NOT whole", sample_id)

    def children(self, sample_id: str) -> list[str]:
        """Ids of the samples that were made from it."""
        query = "SELECT DISTINCT child FROM children WHERE parent = ? ORDER BY child"
        return [child for (child,) in self._database.execute(query, (sample_id,))]

    def _places(self, condition: str, sample_id: str) -> list[Place]:
        found = self._database.execute(f"SELECT path, offset FROM lines WHERE {condition}", (sample_id,))
        places = [Place(self.folder / path, offset) for path, offset in found]
        return sorted(places, key=lambda p: (p.path.is_relative_to(self.folder), p.path.parts, p.offset))

    def _files(self) -> list[Path]:
        """The run's own; what a noisy annotator was given is nobody's to show."""
        found = (path for path in self.folder.rglob("*.jsonl") if path.name != TRUTH)
        return [path for path in found if not is_sidecar(path.relative_to(self.folder))]

    def _outside(self) -> list[Path]:
        """Files from outside that were taken up before and are still there."""
        known = (Path(name) for (name,) in self._database.execute("SELECT path FROM files"))
        return [path for path in known if path.is_absolute() and path.is_file()]

    def _refresh(self, paths: Iterable[Path], *, forget: bool) -> None:
        """Read the files that are not known as they are now; ``forget`` all others that are known."""
        known = {name: (size, changed) for name, size, changed in self._database.execute("SELECT * FROM files")}
        given = {self._name(path): path for path in paths}
        states = {name: (path.stat().st_size, path.stat().st_mtime_ns) for name, path in given.items()}
        gone = known.keys() - given.keys() if forget else set()
        stale = {name: given[name] for name, state in states.items() if known.get(name) != state}
        if not gone and not stale:
            return
        with self._database as change:
            for table in ("files", "lines", "children"):
                change.executemany(f"DELETE FROM {table} WHERE path = ?", [(name,) for name in (*gone, *stale)])
            for name, path in stale.items():
                change.execute("INSERT INTO files VALUES (?, ?, ?)", (name, *states[name]))
                own = not Path(name).is_absolute()
                for offset, row in _rows(path):
                    if own and "sample_id" in row:
                        change.execute("INSERT INTO lines VALUES (?, 0, ?, ?)", (row["sample_id"], name, offset))
                    elif sample_id := _sample_id(row, own):
                        change.execute("INSERT INTO lines VALUES (?, 1, ?, ?)", (sample_id, name, offset))
                        parents = row.get("lineage", {}).get("parents", ())
                        made = ((parent, sample_id, name) for parent in parents)
                        change.executemany("INSERT INTO children VALUES (?, ?, ?)", made)

    def _name(self, path: Path) -> str:
        return str(path.relative_to(self.folder) if path.is_relative_to(self.folder) else path.resolve())


def line_at(place: Place) -> dict[str, Any]:
    """The line at a place, without the id that begins a sample's."""
    with _open(place.path) as file:
        file.seek(place.offset)
        row: dict[str, Any] = json.loads(file.readline())
    row.pop("id", None)
    return row


def _sample_id(row: dict[str, Any], own: bool) -> str | None:
    """The id of the sample in a line, which a run's own files say; None where it holds none."""
    if own:
        return row["id"] if "messages" in row and "id" in row else None
    try:
        return Sample.model_validate({key: value for key, value in row.items() if key != "id"}).id
    except ValueError:
        return None


def _rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Offset and content of every line that holds an object; a line that is being written is passed over."""
    offset = 0
    with _open(path) as file:
        try:
            for line in file:
                row = _row(line)
                if isinstance(row, dict):
                    yield offset, row
                offset += len(line)
        except UNREADABLE as error:
            raise unreadable(path, error) from error


def _row(line: bytes) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return None


def _open(path: Path) -> BufferedIOBase:
    return gzip.open(path, "rb") if path.suffix == ".gz" else open(path, "rb")
