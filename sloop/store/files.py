"""Files, whole or not at all: JSON, rows of records, digests."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import zlib
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Literal, TypeVar, cast

from pydantic import ValidationError

from sloop.records import Checkpoint, Record, Sample, Unreadable, UserError, Versioned, digest, from_json

R = TypeVar("R", bound=Record)
V = TypeVar("V", bound=Versioned)


BLANK = " \t\r\n"
"""JSON's white space: a line of nothing else holds no record."""


def open_text(path: Path, mode: Literal["r", "w"] = "r") -> IO[str]:
    """Open UTF-8 text, gzipped if the name ends in ``.gz`` (without name and time, so that bytes repeat)."""
    if path.suffix != ".gz":
        return open(path, mode, encoding="utf-8", newline="\n")
    if mode == "r":
        return gzip.open(path, "rt", encoding="utf-8", newline="\n")
    raw = open(path, "wb")  # noqa: SIM115
    binary = gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0)
    binary.myfileobj = cast(Any, raw)  # closing the text closes the file, too
    return io.TextIOWrapper(cast(IO[bytes], binary), encoding="utf-8", newline="\n")


UNREADABLE = (UnicodeDecodeError, gzip.BadGzipFile, EOFError, zlib.error)
"""What reading a file raises that is not what its name says."""


def lines_of(path: Path) -> Iterator[tuple[int, str]]:
    """The lines of a file that are not blank, each with its number from 1.

    Raises:
        UserError: the file is not UTF-8 text, or not gzip where its name says so.
    """
    number = 0
    with open_text(path) as file:
        try:
            for number, line in enumerate(file, 1):
                if line.strip(BLANK):
                    yield number, line
        except UNREADABLE as error:
            raise unreadable(path, error, f", after line {number}" if number else "") from error


def unreadable(path: Path, error: Exception, where: str = "") -> UserError:
    """What to say of a file that raised one of `UNREADABLE`."""
    kind = "gzipped UTF-8 text" if path.suffix == ".gz" else "UTF-8 text"
    return UserError(f"{path}{where}: not {kind} ({error}). Give the file whole, and in this form.")


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Hidden, so that what a killed write leaves behind enters no digest of a folder
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    partial.write_bytes(content)
    partial.replace(path)


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file whole or not at all."""
    write_bytes(path, (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode())


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
    """Read JSON lines one by one; blank lines are passed over.

    Raises:
        UserError: the file is missing, or a line is not such a record; names file and line.
    """
    if not path.is_file():
        raise UserError(f"no such file: {path}. A dataset is a file of JSON lines, one {kind.__name__} a line.")
    for number, line in lines_of(path):
        try:
            row = from_json(line)
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


def is_sidecar(relative: Path) -> bool:
    """True for what stands under ``sidecar/`` or is hidden: no digest covers it."""
    return any(part == "sidecar" or part.startswith(".") for part in relative.parts)


def folder_digest(path: Path) -> str:
    """SHA-256 over the names and bytes of all files of a folder (hidden ones and ``sidecar/`` apart)."""
    files = (file for file in path.rglob("*") if file.is_file())
    named = {str(file.relative_to(path)): file for file in files}
    kept = {name: file for name, file in named.items() if not is_sidecar(file.relative_to(path))}
    return digest({name: file_digest(kept[name]) for name in sorted(kept)})


def checkpoint_at(path: Path) -> Checkpoint:
    """The checkpoint in a folder.

    Raises:
        UserError: the folder is missing or has no ``config.json``.
    """
    if not (path / "config.json").is_file():
        raise UserError(f"no checkpoint at {path}: a checkpoint is a folder with config.json and model.safetensors.")
    return Checkpoint(path=str(path), digest=folder_digest(path))


def now() -> str:
    """The time, UTC, ISO 8601 to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def read_record(path: Path, kind: type[V]) -> V:
    """A versioned record.

    Raises:
        UserError: there is none, a broken one, or one of a later version.
    """
    try:
        return kind.read(read_json(path), path)
    except Unreadable as error:
        raise UserError(f"{error} Or move its folder away, or choose another.") from error
    except FileNotFoundError as error:
        raise UserError(f"{path}: there is no such record. The command that made its folder goes on.") from error
    except ValueError as error:
        raise UserError(f"{path}: broken JSON ({error}). Delete its folder to make it anew.") from error
