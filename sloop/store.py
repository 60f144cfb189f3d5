"""Run files: stage folders under a key, journals, digests, datasets. The only module that writes them.

A stage folder holds, while it is being made, ``begun.json`` (the key) and ``journal.jsonl`` (finished units in the
order in which they finished); once it is done, its data files and ``stage.json``, written last. What stands under
``sidecar/`` (clock times, usage, partial state) is covered by no digest.
"""

from __future__ import annotations

import contextlib
import functools
import gzip
import hashlib
import io
import json
import os
import shutil
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Generic, Literal, TypeVar, cast

from filelock import FileLock
from pydantic import ValidationError

from sloop.executor import Executor
from sloop.types import Checkpoint, Prediction, Record, Rejected, Sample, UserError, canonical_json, digest

R = TypeVar("R", bound=Record)
Unit = TypeVar("Unit")

STAGE_FILE = "stage.json"
NOT_RESULTS = frozenset({"cli.py", "track.py", "__main__.py"})
"""Modules that show results and cannot change them: an edit of theirs leaves finished stages valid."""
NOT_DIGESTED = frozenset({"begun.json", "journal.jsonl", "run.json"})
"""Files of a stage folder that are no result; the last one, of a stage used alone, is written on after the stage."""
MAX_FAILED_SHARE = 0.05
"""A stage in which more units than this share fail is not worth finishing: its cause is not one sample."""


# --- files ------------------------------------------------------------------------------------------------------


def open_text(path: Path, mode: Literal["r", "w"] = "r") -> IO[str]:
    """Open UTF-8 text, gzipped if the name ends in ``.gz`` (without name and time, so that bytes repeat)."""
    if path.suffix != ".gz":
        return open(path, mode, encoding="utf-8", newline="\n")
    if mode == "r":
        return gzip.open(path, "rt", encoding="utf-8")
    raw = open(path, "wb")  # noqa: SIM115
    binary = gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0)
    binary.myfileobj = cast(Any, raw)  # closing the text closes the file, too
    return io.TextIOWrapper(cast(IO[bytes], binary), encoding="utf-8", newline="\n")


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    partial.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    partial.replace(path)


def read_json(path: Path) -> Any:
    """Read a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def row_of(record: Record) -> dict[str, Any]:
    """The record as it stands on disk; a sample's row begins with its id."""
    row = record.model_dump(mode="json")
    return {"id": record.id, **row} if isinstance(record, Sample) else row


def line_of(record: Record) -> str:
    """The record as one JSON line."""
    return json.dumps(row_of(record), ensure_ascii=False, allow_nan=False) + "\n"


def write_rows(path: Path, rows: Iterable[Record]) -> int:
    """Write JSON lines whole or not at all; returns their number."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name("partial-" + path.name)
    count = 0
    with open_text(partial, "w") as file:
        for count, row in enumerate(rows, 1):  # noqa: B007
            file.write(line_of(row))
    partial.replace(path)
    return count


def read_rows(path: Path, kind: type[R]) -> Iterator[R]:
    """Read JSON lines one by one.

    Raises:
        UserError: the file is missing, or a line is not such a record; names file and line.
    """
    if not path.is_file():
        raise UserError(f"no such file: {path}. A dataset is a file of JSON lines, one {kind.__name__} a line.")
    with open_text(path) as file:
        for number, line in enumerate(file, 1):
            try:
                row = json.loads(line)
                if not isinstance(row, dict):
                    raise ValueError("a line must hold a JSON object")
                row.pop("id", None)
                record = kind.model_validate(row)
            except ValueError as error:
                reason = _first_reason(error)
                raise UserError(f"{path}, line {number}, is not a {kind.__name__}: {reason}") from error
            yield record


def _first_reason(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(str(part) for part in first['loc']) or 'record'}: {first['msg']}"
    return str(error)


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _is_sidecar(relative: Path) -> bool:
    return any(part == "sidecar" or part.startswith(".") for part in relative.parts)


def folder_digest(path: Path) -> str:
    """SHA-256 over the names and bytes of all files of a folder (hidden ones and ``sidecar/`` apart)."""
    files = (file for file in path.rglob("*") if file.is_file())
    named = {str(file.relative_to(path)): file for file in files}
    kept = {name: file for name, file in named.items() if not _is_sidecar(file.relative_to(path))}
    return digest({name: file_digest(kept[name]) for name in sorted(kept)})


def checkpoint_at(path: Path) -> Checkpoint:
    """The checkpoint in a folder.

    Raises:
        UserError: the folder is missing or has no ``config.json``.
    """
    if not (path / "config.json").is_file():
        raise UserError(f"no checkpoint at {path}: a checkpoint is a folder with config.json and model.safetensors.")
    return Checkpoint(path=str(path), digest=folder_digest(path))


@functools.cache
def code_digest() -> str:
    """Digest of the package's sources, which every stage's key contains."""
    root = Path(__file__).parent
    files = sorted(p for p in root.rglob("*") if p.suffix in {".py", ".jinja", ".json", ".yaml"})
    kept = [p for p in files if p.name not in NOT_RESULTS and "conf" not in p.relative_to(root).parts]
    return digest({str(p.relative_to(root)): file_digest(p) for p in kept})


def now() -> str:
    """The time, UTC, ISO 8601 to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


# --- datasets ---------------------------------------------------------------------------------------------------


class Rows(Generic[R]):
    """A file of records that are unique by a key, read as a stream; only keys and columns are ever whole in memory."""

    def __init__(self, path: Path, kind: type[R], key: Callable[[R], str], *, sha256: str | None = None) -> None:
        """Open a file of JSON lines.

        Args:
            path: ``.jsonl`` or ``.jsonl.gz``.
            kind: what a line holds.
            key: what a record is known by.
            sha256: of the file's bytes, where it is known.

        Raises:
            UserError: there is no such file.
        """
        if not path.is_file():
            raise UserError(f"no such file: {path}. It should hold JSON lines, one {kind.__name__} a line.")
        self.path = path
        self._kind = kind
        self._key = key
        self._sha256 = sha256
        self._offsets: dict[str, int] | None = None
        self._unzipped: bytes | None = None

    def __iter__(self) -> Iterator[R]:
        return read_rows(self.path, self._kind)

    def __len__(self) -> int:
        return len(self._index())

    def __contains__(self, key: object) -> bool:
        return key in self._index()

    @property
    def sha256(self) -> str:
        """Digest of the file's bytes (64 hex digits)."""
        if self._sha256 is None:
            self._sha256 = file_digest(self.path)
        return self._sha256

    def ids(self) -> list[str]:
        """Keys in file order.

        Raises:
            UserError: a key occurs twice.
        """
        return list(self._index())

    def column(self, name: str) -> list[Any]:
        """One field of every record, in file order."""
        return [getattr(record, name) for record in self]

    def pick(self, keys: Iterable[str]) -> Iterator[R]:
        """The records with these keys, in the order asked for, one at a time."""
        index = self._index()
        with self._open() as file:
            for key in keys:
                file.seek(index[key])
                row = json.loads(file.readline())
                row.pop("id", None)
                yield self._kind.model_validate(row)

    def _open(self) -> IO[bytes]:
        if self.path.suffix != ".gz":
            return open(self.path, "rb")
        if self._unzipped is None:  # seeking in gzip means unpacking it anew: these files are small, keep the text
            self._unzipped = gzip.decompress(self.path.read_bytes())
        return io.BytesIO(self._unzipped)

    def _index(self) -> dict[str, int]:
        """Byte offset of each record in the (uncompressed) text."""
        if self._offsets is None:
            offsets: dict[str, int] = {}
            for offset, record in zip(self._line_offsets(), self, strict=True):
                key = self._key(record)
                if key in offsets:
                    raise UserError(f"{self.path} holds {key} twice; it must be unique by id.")
                offsets[key] = offset
            self._offsets = offsets
        return self._offsets

    def _line_offsets(self) -> Iterator[int]:
        with self._open() as file:
            position = 0
            for line in file:
                yield position
                position += len(line)


class Dataset(Rows[Sample]):
    """A file of samples, unique by id."""

    def __init__(self, path: Path, *, sha256: str | None = None) -> None:
        """Open a dataset; see `Rows`."""
        super().__init__(path, Sample, lambda sample: sample.id, sha256=sha256)


def predictions_at(path: Path) -> Rows[Prediction]:
    """A student's answers, by sample id."""
    return Rows(path, Prediction, lambda prediction: prediction.sample_id)


JSON_COLUMNS = ("tools", "messages", "label", "lineage", "env")
"""Fields that Arrow would pad with nulls and retype; they travel as JSON strings."""


def to_datasets(data: Dataset) -> Any:
    """The dataset as a Hugging Face ``datasets.Dataset``; nested fields are JSON strings (see `JSON_COLUMNS`)."""
    import datasets

    def rows() -> Iterator[dict[str, Any]]:
        for sample in data:
            row = row_of(sample)
            yield {k: json.dumps(v, ensure_ascii=False) if k in JSON_COLUMNS else v for k, v in row.items()}

    return datasets.Dataset.from_list(list(rows()))


def from_datasets(table: Iterable[Mapping[str, Any]]) -> Iterator[Sample]:
    """Samples from the rows of a `to_datasets` table; equal to those that it was made of."""
    for row in table:
        plain = {k: json.loads(v) if k in JSON_COLUMNS and isinstance(v, str) else v for k, v in row.items()}
        plain.pop("id", None)
        yield Sample.model_validate(plain)


# --- stages -----------------------------------------------------------------------------------------------------


def stage_key(name: str, **parts: Any) -> dict[str, Any]:
    """What a stage's result depends on: its name, its part of the config, seeds, input digests and the code."""
    return {"stage": name, "code": code_digest(), **parts}


class Stage:
    """One stage folder, opened under its key; a context manager that holds the key's lock while it works."""

    def __init__(self, folder: Path, key: Mapping[str, Any], experiment: Path | None = None) -> None:
        """Open or resume a stage.

        Args:
            folder: where its files go.
            key: see `stage_key`; plain data.
            experiment: folder of the runs among which a finished stage with the same key is linked, not computed
                again; None: look nowhere else.

        Raises:
            UserError: the folder holds a stage with another key.
        """
        self.folder = folder
        self.key_parts = json.loads(canonical_json(key))
        self.key = digest(self.key_parts)
        self.name: str = self.key_parts["stage"]
        self.torn_lines = 0
        self.failures: Counter[str] = Counter()
        self._experiment = experiment
        self._lock: FileLock | None = None
        self._files: dict[str, dict[str, Any]] = {}
        self._journal = folder / "journal.jsonl"
        self._offsets: dict[str, int] = {}

    def __enter__(self) -> Stage:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._check_key()
        if self._experiment is not None and not self.done:
            links = self._experiment / ".stages"
            links.mkdir(parents=True, exist_ok=True)
            self._lock = FileLock(links / f"{self.key[:32]}.lock")
            self._lock.acquire()
            self._link_from(links / self.key[:32])
        if not self.done:
            write_json(self.folder / "begun.json", {"key": self.key, "parts": self.key_parts})
            self._repair_journal()
        return self

    def __exit__(self, *_: object) -> None:
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    @property
    def done(self) -> bool:
        """True once the stage has been finished under this key."""
        return (self.folder / STAGE_FILE).is_file()

    @property
    def sidecar(self) -> Path:
        """Folder for what no digest covers: times, usage, partial state."""
        path = self.folder / "sidecar"
        path.mkdir(parents=True, exist_ok=True)
        return path

    @property
    def manifest(self) -> dict[str, Any]:
        """``stage.json`` of a finished stage: key, parts, files (rows, bytes, sha256) and summary."""
        manifest: dict[str, Any] = read_json(self.folder / STAGE_FILE)
        return manifest

    @property
    def summary(self) -> dict[str, Any]:
        """What `finish` was told."""
        summary: dict[str, Any] = self.manifest["summary"]
        return summary

    def map(
        self,
        units: Mapping[str, Unit],
        work: Callable[[Unit], Awaitable[Sequence[Record]]],
        run: Executor,
        kinds: Sequence[type[Record]],
        progress: Callable[[int, int], None] | None = None,
    ) -> Iterator[tuple[str, list[Record]]]:
        """Run the units that are still owed, journal each as it finishes, then yield all in unit order.

        A unit that raises is journalled as a `Rejected` record whose reason is ``failed:<exception>``.

        Args:
            units: by key, in the order of the fold.
            work: one unit in, its records out.
            run: how they run.
            kinds: the record classes that ``work`` may return.
            progress: told (units done, units in all).

        Raises:
            UserError: raised by a unit, or more than `MAX_FAILED_SHARE` of the units failed.
        """
        owed = [(key, unit) for key, unit in units.items() if key not in self._offsets]
        done = len(units) - len(owed)
        failed = 0
        with open(self._journal, "ab") as journal:
            for key, result in run(owed, work):
                if isinstance(result, UserError):
                    raise result
                if isinstance(result, Exception):
                    failed += 1
                    reason = f"failed:{type(result).__name__}"
                    self.failures[reason] += 1
                    if failed > max(1, MAX_FAILED_SHARE * len(units)):
                        raise UserError(
                            f"stage {self.name}: {failed} of {len(units)} units failed, the last ({key}) with "
                            f"{reason}: {result}. What was finished is kept: mend the cause and run it again."
                        ) from result
                    result = [Rejected(key=key, reason=reason, detail=str(result))]
                rows = [{"type": type(record).__name__, "row": row_of(record)} for record in result]
                self._offsets[key] = journal.tell()
                journal.write((json.dumps({"unit": key, "records": rows}, ensure_ascii=False) + "\n").encode())
                journal.flush()
                done += 1
                if progress:
                    progress(done, len(units))
        known: dict[str, type[Record]] = {kind.__name__: kind for kind in kinds}
        known["Rejected"] = Rejected
        with open(self._journal, "rb") as journal:
            for key in units:
                journal.seek(self._offsets[key])
                entry = json.loads(journal.readline())
                records = []
                for item in entry["records"]:
                    item["row"].pop("id", None)
                    records.append(known[item["type"]].model_validate(item["row"]))
                del self._offsets[key]
                yield key, records

    @contextlib.contextmanager
    def writing(self, *names: str) -> Iterator[dict[str, Callable[[Record], None]]]:
        """Write several data files side by side; they appear, whole, when the block ends.

        Yields:
            By file name, a function that appends one record.
        """
        partial = {name: self.folder / f"partial-{name}" for name in names}
        counts = dict.fromkeys(names, 0)
        with contextlib.ExitStack() as stack:
            files = {name: stack.enter_context(open_text(path, "w")) for name, path in partial.items()}

            def append(name: str, record: Record) -> None:
                files[name].write(line_of(record))
                counts[name] += 1

            yield {name: functools.partial(append, name) for name in names}
        for name, path in partial.items():
            path.replace(self.folder / name)
            self._files[name] = {"rows": counts[name]}

    def write(self, name: str, rows: Iterable[Record]) -> Path:
        """Write one data file of the stage."""
        with self.writing(name) as append:
            for row in rows:
                append[name](row)
        return self.folder / name

    def dataset(self, name: str) -> Dataset:
        """A data file of a finished stage, as a dataset."""
        return Dataset(self.folder / name, sha256=self.manifest["files"][name]["sha256"])

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Digest every file of the folder, write ``stage.json`` last, and make the stage known for linking."""
        for path in sorted(p for p in self.folder.rglob("*") if p.is_file()):
            relative = path.relative_to(self.folder)
            name = str(relative)
            if name in NOT_DIGESTED or _is_sidecar(relative):
                continue
            self._files[name] = {**self._files.get(name, {}), "bytes": path.stat().st_size, "sha256": file_digest(path)}
        write_json(self.sidecar / "times.json", {"finished": now(), "torn_lines": self.torn_lines})
        manifest = {"key": self.key, "parts": self.key_parts, "files": dict(sorted(self._files.items()))}
        write_json(self.folder / STAGE_FILE, {**manifest, "summary": json.loads(canonical_json(summary))})
        self._journal.unlink(missing_ok=True)
        if self._experiment is not None:
            source = os.path.relpath(self.folder, self._experiment)
            write_json(self._experiment / ".stages" / self.key[:32], source)

    def _check_key(self) -> None:
        for name in (STAGE_FILE, "begun.json"):
            path = self.folder / name
            if not path.is_file():
                continue
            found = read_json(path)
            if found["key"] != self.key:
                changed = sorted(
                    part
                    for part in {*found["parts"], *self.key_parts}
                    if found["parts"].get(part) != self.key_parts.get(part)
                )
                raise UserError(
                    f"{self.folder} holds a {found['parts']['stage']} stage made under other settings (differing: "
                    f"{', '.join(changed)}). Choose another output_dir, or delete the folder to make it anew."
                )
            return

    def _repair_journal(self) -> None:
        """Drop a torn last line (the process was killed while writing it) and index what is whole."""
        if not self._journal.is_file():
            return
        good = 0
        with open(self._journal, "rb") as journal:
            for line in journal:
                try:
                    entry = json.loads(line)
                except ValueError:
                    break
                if not line.endswith(b"\n"):
                    break
                self._offsets[entry["unit"]] = good
                good += len(line)
        if good < self._journal.stat().st_size:
            self.torn_lines += 1
            os.truncate(self._journal, good)

    def _link_from(self, link: Path) -> None:
        """Take over a finished stage with the same key, as hard links; one that has lost a file is made anew."""
        if not link.is_file() or self._experiment is None:
            return
        source = self._experiment / read_json(link)
        if source == self.folder or not (source / STAGE_FILE).is_file():
            return
        manifest = read_json(source / STAGE_FILE)
        if manifest["key"] != self.key or not all((source / name).is_file() for name in manifest["files"]):
            return
        for name in [*manifest["files"], STAGE_FILE]:
            target = self.folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileNotFoundError):
                target.unlink()
            try:
                os.link(source / name, target)
            except OSError:  # another file system, or one without hard links
                shutil.copy2(source / name, target)
        write_json(self.sidecar / "linked.json", {"from": str(source)})
