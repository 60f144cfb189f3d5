"""Stage folders under a key.

A stage folder holds, while it is being made, ``begun.json`` (the key) and ``journal.jsonl`` (finished units in the
order in which they finished); once it is done, its data files and ``stage.json``, written last. A finished stage may
be taken up again (`StageFolder.reopen`), to do over what failed. ``stage.json`` covers
what the stage wrote and nothing else: neither a file that somebody else left in the folder, nor what stands under
``sidecar/`` (clock times, usage, partial state, the lock).
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from itertools import chain, takewhile
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock

from sloop.engine.executor import Result
from sloop.records import (
    BegunRecord,
    FileRecord,
    Record,
    Rejected,
    StageRecord,
    UserError,
    canonical_json,
    digest,
    from_json,
    to_json,
)
from sloop.store.content import file_digest, is_sidecar
from sloop.store.files import (
    disk,
    filling,
    is_file,
    line_of,
    named,
    next_line,
    now,
    read_json,
    read_record,
    reading,
    row_of,
    write_json,
    writing,
)

Unit = TypeVar("Unit")

STAGE_FILE = "stage.json"
BEGUN_FILE = "begun.json"
MAX_FAILED_SHARE = 0.05
"""A stage in which more units than this share fail is not worth finishing: its cause is not one sample."""


class StageFolder:
    """One stage folder, opened under its key; a context manager that holds its lock while it works.

    A second process that opens the same folder, or another of the experiment under the same key, waits until the first
    is through. A finished stage that has lost one of its files is made anew.
    """

    def __init__(self, folder: Path, key: Mapping[str, Any], experiment: Path | None = None) -> None:
        """Open or resume a stage.

        Args:
            folder: where its files go.
            key: see `sloop.engine.identity.stage_key`; plain data.
            experiment: folder of the runs among which a finished stage with the same key is linked, not computed
                again; None: look nowhere else.

        Raises:
            UserError: (when it is entered) the folder holds a stage with another key, or data that no stage made.
        """
        self.folder = folder
        self.key_parts = json.loads(canonical_json(key))
        self.key = digest(self.key_parts)
        self.name: str = self.key_parts["stage"]
        self.torn_lines = 0
        self._handed: Counter[Any] = Counter()
        self._failed: Counter[Any] = Counter()
        self._experiment = experiment
        self._locks = contextlib.ExitStack()
        self._rows: dict[str, int] = {}
        self._journal = folder / "journal.jsonl"
        self._offsets: dict[str, int] = {}
        self._reopened = False

    def __enter__(self) -> StageFolder:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._check_key()
        if self.done and _is_whole(self.folder):
            return self
        with contextlib.ExitStack() as locks:
            locks.enter_context(FileLock(self.sidecar / "lock"))
            self._check_key()
            if not (self.done and _is_whole(self.folder)):
                self._check_free()
                # First, so that what a killed process leaves of its own, or of what it linked, is known as the stage's
                write_json(self.folder / BEGUN_FILE, {"key": self.key, "parts": self.key_parts})
                self._sweep()
            if self._experiment is not None and not self.done:
                links = self._experiment / ".stages"
                links.mkdir(parents=True, exist_ok=True)
                locks.enter_context(FileLock(links / f"{self.key[:32]}.lock"))
                self._link_from(links / self.key[:32])
            if not self.done:
                self._repair_journal()
            self._locks = locks.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._locks.close()

    @property
    def done(self) -> bool:
        """True once the stage has been finished under this key, unless it was taken up again since."""
        return not self._reopened and is_file(self.folder / STAGE_FILE)

    def reopen(self, kept: Iterable[tuple[str, Sequence[Record]]]) -> None:
        """Take a finished stage up again, to do over all units but some.

        Until the first of its files is written anew it stays finished, whatever happens; from then on, and until
        `finish`, it is a stage that was interrupted.

        Args:
            kept: units that are not done over, with their records; read once this process alone works in the folder,
                and not at all where an earlier attempt at the same was cut short: it is gone on with.
        """
        self._locks.enter_context(FileLock(self.sidecar / "lock"))
        if not is_file(self._journal):
            with writing(self._journal) as file:
                for key, records in kept:
                    file.write(_journal_line({"unit": key}, records))
        self._repair_journal()
        self._reopened = True

    @property
    def sidecar(self) -> Path:
        """Folder for what no digest covers: times, usage, partial state."""
        path = self.folder / "sidecar"
        path.mkdir(parents=True, exist_ok=True)
        return path

    @property
    def record(self) -> StageRecord:
        """``stage.json`` of a finished stage."""
        return read_stage(self.folder)

    def map(
        self,
        units: Mapping[str, Unit],
        work: Hashable,
        run: Callable[[Iterable[tuple[str, Unit]], Any], Iterator[Result]],
        kinds: Sequence[type[Record]],
        progress: Callable[[int, int], None] | None = None,
    ) -> Iterator[tuple[str, list[Record]]]:
        """Run the units that are still owed, journal each as it finishes, then yield all in unit order.

        A unit that raises is journalled as a `Rejected` record whose reason is ``failed:<exception>``; a resumed stage
        tries it again.

        Args:
            units: by key, in the order of the fold.
            work: what is done with each; failures are counted by it.
            run: takes units and ``work``; yields (key, records or the exception), in any order.
            kinds: the record classes that ``work`` may return.
            progress: told (units done, units in all).

        Raises:
            UserError: raised by a unit (`OutOfBudget`, too); or of all units that were handed in for this ``work``,
                here and before, more than `MAX_FAILED_SHARE` and more than one, or the only one, failed. Once that is
                known no other is begun, and those on their way are finished and journalled.
        """
        self._work_off(units, work, run, progress)
        named_kinds: list[type[Record]] = [*kinds, Rejected]
        known = {kind.__name__: kind for kind in named_kinds}
        with reading(self._journal) as journal:
            for key in units:
                journal.seek(self._offsets.pop(key))
                entry = _journal_entry(next_line(journal, self._journal))
                try:
                    records = [
                        known[item["type"]].model_validate(_without_id(item["row"])) for item in entry["records"]
                    ]
                except (AttributeError, ValueError, LookupError, TypeError) as error:
                    raise UserError(
                        f"{named(self._journal)}: the line of unit {key} is none that this stage writes. Delete the "
                        "folder to make it anew, or choose another output_dir."
                    ) from error
                yield key, records

    def _work_off(
        self,
        units: Mapping[str, Unit],
        work: Hashable,
        run: Callable[[Iterable[tuple[str, Unit]], Any], Iterator[Result]],
        progress: Callable[[int, int], None] | None,
    ) -> None:
        """Have every unit of `map` in the journal, or raise."""
        owed = [(key, unit) for key, unit in units.items() if key not in self._offsets]
        done = len(units) - len(owed)
        # Over all calls: an order that takes a failed one's place may come alone and fail as well.
        self._handed[work] += len(units)
        stops: list[UserError] = []
        with disk(self._journal), open(self._journal, "ab") as journal:
            for key, result in run(takewhile(lambda _: not stops, owed), work):
                if isinstance(result, UserError):
                    stops.append(result)
                    continue
                line, error = _journalled(key, result)
                if error:
                    stops.extend(self._failing(work, key, error))
                self._offsets[key] = journal.tell()
                journal.write(line)
                journal.flush()
                done += 1
                if progress:
                    progress(done, len(units))
        if stops:
            raise stops[0]

    def _failing(self, work: Hashable, key: str, error: Exception) -> Iterator[UserError]:
        """Count a unit that failed; yields what ends the stage where too many have."""
        self._failed[work] += 1
        failed, handed = self._failed[work], self._handed[work]
        if failed > max(1, MAX_FAILED_SHARE * handed) or failed == handed:
            stop = UserError(
                f"stage {self.name}: {failed} of {handed} units failed, the last ({key}) with "
                f"{_failed_of(error)}: {error}. What was finished is kept: mend the cause and run it again."
            )
            stop.__cause__ = error
            yield stop

    @contextlib.contextmanager
    def writing(self, *names: str) -> Iterator[dict[str, Callable[[Record], None]]]:
        """Write several data files side by side; they appear, whole, when the block ends.

        Yields:
            By file name, a function that appends one record.
        """
        partial = {name: self.sidecar / f"partial-{name}" for name in names}
        counts = dict.fromkeys(names, 0)
        with contextlib.ExitStack() as stack:
            files = {name: stack.enter_context(filling(path, self.folder / name)) for name, path in partial.items()}

            def append(name: str, record: Record) -> None:
                files[name].write(line_of(record).encode())
                counts[name] += 1

            yield {name: functools.partial(append, name) for name in names}
        if self._reopened:
            (self.folder / STAGE_FILE).unlink(missing_ok=True)
        for name, path in partial.items():
            path.replace(self.folder / name)
            self._rows[name] = counts[name]

    def write(self, name: str, rows: Iterable[Record]) -> Path:
        """Write one data file of the stage."""
        with self.writing(name) as append:
            for row in rows:
                append[name](row)
        return self.folder / name

    def finish(self, summary: Mapping[str, Any], also: Sequence[str] = ()) -> None:
        """Digest what the stage made, write ``stage.json`` last, and make the stage known for linking.

        Args:
            summary: plain data.
            also: names of files and folders, beside those of `write` and `writing`, that the stage made.
        """
        made = {name: self.folder / name for name in self._rows}
        for name in also:
            path = self.folder / name
            inner = (p for p in path.rglob("*") if p.is_file() and not is_sidecar(p.relative_to(path)))
            made |= {str(p.relative_to(self.folder)): p for p in (inner if path.is_dir() else [path])}
        files: dict[str, FileRecord] = {}
        for name, path in sorted(made.items()):
            rows, size = self._rows.get(name), path.stat().st_size
            files[name] = FileRecord(rows=rows, bytes=size, sha256=file_digest(path))
        write_json(self.sidecar / "times.json", {"finished": now(), "torn_lines": self.torn_lines})
        told = json.loads(canonical_json(summary))
        record = StageRecord(key=self.key, parts=self.key_parts, files=files, summary=told)
        write_json(self.folder / STAGE_FILE, record.plain())
        self._journal.unlink(missing_ok=True)
        self._reopened = False
        if self._experiment is not None:
            source = os.path.relpath(self.folder, self._experiment)
            write_json(self._experiment / ".stages" / self.key[:32], source)

    def _check_key(self) -> None:
        for name, kind in ((STAGE_FILE, StageRecord), (BEGUN_FILE, BegunRecord)):
            path = self.folder / name
            if not is_file(path):
                continue
            found = read_record(path, kind)
            if found.key != self.key:
                changed = sorted(
                    part
                    for part in {*found.parts, *self.key_parts}
                    if found.parts.get(part) != self.key_parts.get(part)
                )
                raise UserError(
                    f"{self.folder} holds a {found.name} stage made under other settings (differing: "
                    f"{', '.join(changed)}). Choose another output_dir, or delete the folder to make it anew."
                )
            return

    def _check_free(self) -> None:
        """A stage replaces files of its folder by name: they must be its own."""
        data = sorted(path.name for path in self.folder.glob("*.jsonl*"))
        if data and not any(is_file(self.folder / name) for name in (BEGUN_FILE, STAGE_FILE)):
            raise UserError(
                f"{self.folder} holds {', '.join(data[:3])}, which the {self.name} stage did not make and might write "
                "over. Choose another output_dir, or move the files away."
            )

    def _sweep(self) -> None:
        """Remove what a killed write left behind, and the word of a stage that has lost files that it is done."""
        (self.folder / STAGE_FILE).unlink(missing_ok=True)
        left = [self.sidecar.glob("partial-*"), self.folder.glob("*/.*.partial")]
        left += [self.folder.glob(f".{name}.*.partial") for name in (STAGE_FILE, BEGUN_FILE)]
        for path in chain.from_iterable(left):
            path.unlink()

    def _repair_journal(self) -> None:
        """Drop a torn last line (the process was killed while writing it) and index what is whole."""
        if not is_file(self._journal):
            return
        good = 0
        with reading(self._journal) as journal:
            while (line := next_line(journal, self._journal)).endswith(b"\n"):
                entry = _journal_entry(line)
                if not entry:
                    self.torn_lines += 1
                elif not entry.get("failed"):  # a unit that failed is tried again
                    self._offsets[entry["unit"]] = good
                good += len(line)
        if good < self._journal.stat().st_size:
            self.torn_lines += 1
            os.truncate(self._journal, good)

    def _link_from(self, link: Path) -> None:
        """Take over a finished stage with the same key, as hard links, if it has all its files."""
        if self._experiment is None or not is_file(link):
            return
        source = self._experiment / str(read_json(link, "Delete it: it only says where an equal stage is."))
        if source == self.folder or not is_file(source / STAGE_FILE) or not _is_whole(source):
            return
        record = read_stage(source)
        if record.key != self.key:
            return
        for name in [*record.files, STAGE_FILE]:
            target = self.folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileNotFoundError):
                target.unlink()
            try:
                os.link(source / name, target)
            except OSError:  # another file system, or one without hard links
                shutil.copy2(source / name, target)
        self._journal.unlink(missing_ok=True)  # of this folder's own attempt, if it was killed
        write_json(self.sidecar / "linked.json", {"from": str(source)})


def _failed_of(error: Exception) -> str:
    return f"failed:{type(error).__name__}"


def _journalled(key: str, result: Sequence[Record] | Exception) -> tuple[bytes, Exception | None]:
    """The line of a unit, and what it failed of: its own error, or that it gave what no file can hold."""
    if not isinstance(result, Exception):
        try:
            return _journal_line({"unit": key}, result), None
        except ValueError as error:  # such as a number that is none
            result = error
    rejected = Rejected(key=key, reason=_failed_of(result), detail=_sayable(result))
    return _journal_line({"unit": key, "failed": True}, [rejected]), result


def _journal_line(entry: Mapping[str, Any], records: Sequence[Record]) -> bytes:
    """A unit with its records; raises ValueError where they hold what no file can."""
    rows = [{"type": type(record).__name__, "row": row_of(record)} for record in records]
    return (to_json({**entry, "records": rows}) + "\n").encode()


def _journal_entry(line: bytes) -> dict[str, Any]:
    """What a line of a journal says; empty where it is none."""
    try:
        entry = from_json(line.decode(), wraps=2)
    except ValueError:
        return {}
    sound = isinstance(entry, dict) and isinstance(entry.get("unit"), str) and isinstance(entry.get("records"), list)
    return entry if sound else {}


def _without_id(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != "id"}


def _sayable(error: Exception) -> str:
    """The text of an error, whatever characters it quotes."""
    return str(error).encode(errors="backslashreplace").decode()


def read_stage(folder: Path) -> StageRecord:
    """The record of a finished stage; errors as of `sloop.store.read_record`."""
    return read_record(folder / STAGE_FILE, StageRecord)


def _is_whole(folder: Path) -> bool:
    """Whether every file of a finished stage is there, in its recorded size."""
    paths = {folder / name: file.bytes for name, file in read_stage(folder).files.items()}
    return all(is_file(path) and path.stat().st_size == size for path, size in paths.items())
