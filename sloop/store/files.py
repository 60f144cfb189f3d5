"""Files, whole or not at all: the one place that opens them for reading and for writing, and says what is wrong.

What is read is a regular file of UTF-8 text, gzipped if its name ends in ``.gz``; whatever else it is, and whatever a
disk refuses, is one `UserError` that names the file.
"""

from __future__ import annotations

import errno
import gzip
import json
import os
import re
import sqlite3
import stat
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, TypeVar, cast

from pydantic import ValidationError

from sloop.records import Record, Sample, Unreadable, UserError, Versioned, from_json, to_json

R = TypeVar("R", bound=Record)
V = TypeVar("V", bound=Versioned)


BLANK = b" \t\r\n"
"""JSON's white space: a line of nothing else holds no record."""
MAX_VALUE = 64 * 2**20
"""Bytes of one JSON value, a line or a whole file: a thousand times the largest sample there is, and what Python makes
of it still fits into the memory of a laptop."""
MAX_UNPACKED = 2**30
"""Bytes that a gzipped file may hold: its records are picked from memory, and a megabyte can unpack to a gigabyte."""
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
"""What some editors begin UTF-8 text with; it is passed over."""

REASONS = {
    errno.EACCES: "there is no permission for it",
    errno.EPERM: "there is no permission for it",
    errno.EISDIR: "it is a folder, and a file is wanted",
    errno.EEXIST: "something else stands in its place",
    errno.ENOTDIR: "a part of its path is no folder",
    errno.ENOTEMPTY: "it is a folder that holds something",
    errno.ELOOP: "it is a link that leads back to itself",
    errno.ENAMETOOLONG: "its name is longer than a file's may be",
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "your share of the disk is used up",
    errno.EFBIG: "it is larger than a file may be (ulimit -f)",
    errno.EROFS: "the disk is read-only",
    errno.EIO: "the disk failed",
    errno.EMFILE: "too many files are open (ulimit -n)",
    errno.ENFILE: "too many files are open",
}
"""What a disk refuses, by its number."""
REMEDIES = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some space",
    errno.EFBIG: "lift the limit",
    errno.EIO: "look after the disk",
    errno.EMFILE: "lift the limit",
    errno.ENFILE: "end other programs",
    errno.EISDIR: "move it away",
    errno.EEXIST: "move it away",
    errno.ENOTDIR: "move that away",
    errno.ENOTEMPTY: "move it away",
}
"""What to do where something could not be written; else: choose another folder."""
_SQLITE = {
    sqlite3.SQLITE_FULL: errno.ENOSPC,
    sqlite3.SQLITE_IOERR: errno.EIO,
    sqlite3.SQLITE_READONLY: errno.EROFS,
    sqlite3.SQLITE_CANTOPEN: errno.EACCES,
}
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}


# --- what is wrong with a file ------------------------------------------------------------------------------------


def named(path: Path) -> str:
    """A path for a message: no longer than a line or two, and with nothing that a terminal would act on."""
    text = "".join(mark if mark.isprintable() else ascii(mark)[1:-1] for mark in str(path))
    return text if len(text) <= 300 else f"{text[:140]}...{text[-140:]}"


UNREADABLE = (OSError, EOFError, zlib.error, UnicodeDecodeError)
"""What reading a file raises that cannot be read, or is not what its name says."""


def unreadable(path: Path, error: Exception, where: str = "", what: str = "") -> UserError:
    """What to say of a file that raised one of `UNREADABLE`, or a ValueError for its path.

    Args:
        path: of the file.
        error: that was raised.
        where: in the file, behind its name.
        what: the file should be; a sentence.
    """
    if isinstance(error, FileNotFoundError):
        link = ", but a link that leads nowhere" if path.is_symlink() else ""
        return UserError(f"no such file: {named(path)}{link}. {what}".rstrip())
    if isinstance(error, OSError) and error.errno is not None:
        reason = REASONS.get(error.errno, error.strerror)
        return UserError(f"{named(path)}{where}: it cannot be read: {reason}. {what or 'Give one that can be.'}")
    kind = "gzipped UTF-8 text" if path.suffix == ".gz" else "UTF-8 text"
    return UserError(f"{named(path)}{where}: not {kind} ({error}). Give the file whole, and in this form.")


def disk_fault(error: BaseException | None) -> int | None:
    """The number (`errno`) of what a disk refused, as it stands in an error or in what caused it; None: no disk did."""
    while error is not None:
        number = None
        if isinstance(error, OSError):
            number = error.errno
        elif isinstance(error, sqlite3.Error):
            number = _SQLITE.get(getattr(error, "sqlite_errorcode", 0) & 0xFF)
        elif found := re.search(r"\(os error (\d+)\)", str(error)):  # libraries in Rust, such as safetensors
            number = int(found[1])
        if number in REASONS:
            return number
        error = error.__cause__ or error.__context__
    return None


@contextmanager
def disk(place: Path, *, hidden: Path | None = None) -> Iterator[None]:
    """Turn what a disk refuses in a block that writes into one sentence: which file, why, and how to go on.

    Args:
        place: the file, where the error does not name one.
        hidden: a file that the reader knows nothing of, because it becomes the place.

    Raises:
        UserError: as said; every other error passes.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        if (number := disk_fault(error)) is None:
            raise
        name = getattr(error, "filename", None)
        path = Path(os.fsdecode(name)) if isinstance(name, str | bytes) else place
        path = place if path == hidden else path
        raise UserError(
            f"{named(path)}: it cannot be written: {REASONS[number]}. What was finished is kept: "
            f"{REMEDIES.get(number, 'make that folder writable, or choose another,')} and give the same command again."
        ) from error


# --- reading ------------------------------------------------------------------------------------------------------


def check_file(path: Path, what: str = "") -> os.stat_result:
    """Refuse what is no regular file: a pipe would be waited for, and a device has no end. Says how it stands.

    Raises:
        UserError: as said, or it is missing or cannot be looked at; ``what`` says what it should be.
    """
    try:
        found = path.stat()
    except OSError as error:
        raise unreadable(path, error, what=what) from error
    except ValueError as error:
        raise UserError(f"{named(path)}: no file can have this name ({error}). {what}".rstrip()) from error
    if not stat.S_ISREG(found.st_mode):
        kind = _KINDS.get(stat.S_IFMT(found.st_mode), "something else")
        raise UserError(f"{named(path)} is {kind}, and a file is wanted. {what}".rstrip())
    return found


def is_file(path: Path) -> bool:
    """Whether there is a file.

    Raises:
        UserError: something else stands there, or it cannot be looked at.
    """
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except (OSError, ValueError):
        pass
    check_file(path)
    return True


@contextmanager
def reading(path: Path, what: str = "", *, packed: bool = False) -> Iterator[IO[bytes]]:
    """A file, opened for its bytes; unpacked if its name ends in ``.gz``, but where it is wanted ``packed``.

    Raises:
        UserError: it cannot be read, or is no file; ``what`` says what it should be.
    """
    check_file(path, what)
    try:
        with open(path, "rb") as raw:
            if packed or path.suffix != ".gz":
                yield raw
            else:
                with gzip.GzipFile(fileobj=raw) as unpacked:
                    yield cast(IO[bytes], unpacked)
    except UNREADABLE as error:
        raise unreadable(path, error, what=what) from error


def whole(file: IO[bytes], path: Path, most: int = MAX_VALUE) -> bytes:
    """All that is left of a file.

    Raises:
        UserError: it is more than ``most`` bytes.
    """
    content = file.read(most + 1)
    if len(content) > most:
        raise UserError(f"{named(path)} holds more than {most >> 20} MiB. Cut it into several files, or unpack it.")
    return content


def next_line(file: IO[bytes], path: Path, number: int | None = None) -> bytes:
    """The next line of a file, with its end; empty at the end of the file.

    Raises:
        UserError: it is longer than `MAX_VALUE`.
    """
    line = file.readline(MAX_VALUE + 1)
    if len(line) > MAX_VALUE:
        where = f", line {number}," if number else ""
        raise UserError(
            f"{named(path)}{where} holds more than {MAX_VALUE >> 20} MiB in one line. Write one JSON value a line, and "
            "none that large."
        )
    return line


def raw_lines(path: Path, what: str = "") -> Iterator[tuple[int, int, bytes]]:
    """The lines of a file that are not blank, each with its number from 1 and its offset in the unpacked bytes.

    Raises:
        UserError: as `reading` and `next_line`; or what is gzipped is no such file, or more than `MAX_UNPACKED` bytes.
    """
    number = position = 0
    with reading(path, what) as file:
        try:
            while line := next_line(file, path, number + 1):
                number += 1
                given, offset = line, position
                position += len(line)
                if path.suffix == ".gz" and position > MAX_UNPACKED:
                    raise UserError(f"{named(path)} unpacks to more than {MAX_UNPACKED >> 20} MiB. Unpack it.")
                if number == 1 and line.startswith(BYTE_ORDER_MARK):
                    given, offset = line[len(BYTE_ORDER_MARK) :], len(BYTE_ORDER_MARK)
                if given.strip(BLANK):
                    yield number, offset, given
        except UNREADABLE as error:
            raise unreadable(path, error, f", after line {number}" if number else "") from error


def decoded(content: bytes, path: Path, where: str = "") -> str:
    """UTF-8 text.

    Raises:
        UserError: it is none; ``where`` says which part of the file it is.
    """
    try:
        return content.removeprefix(BYTE_ORDER_MARK).decode()
    except UnicodeDecodeError as error:
        if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
            raise UserError(f"{named(path)}{where}: not UTF-8 text, but UTF-16. Save it as UTF-8.") from error
        byte = f"byte {error.start + 1} is {error.object[error.start]:#04x}"
        raise UserError(f"{named(path)}{where}: not UTF-8 text ({byte}). Save it as UTF-8.") from error


def lines_of(path: Path, what: str = "") -> Iterator[tuple[int, str]]:
    """The lines of a file that are not blank, each with its number from 1.

    Raises:
        UserError: as `raw_lines`, or a line is not UTF-8 text.
    """
    return ((number, decoded(line, path, f", line {number}")) for number, _, line in raw_lines(path, what))


def read_bytes(path: Path, what: str = "", most: int = MAX_VALUE) -> bytes:
    """The bytes of a file, unpacked; errors as of `reading` and `whole`."""
    with reading(path, what) as file:
        return whole(file, path, most)


def read_text(path: Path, what: str = "") -> str:
    """The text of a file; errors as of `read_bytes`, or it is not UTF-8."""
    return decoded(read_bytes(path, what), path)


def read_json(path: Path, what: str = "", wraps: int = 2) -> Any:
    """A JSON file; ``wraps`` as of `sloop.records.from_json`.

    Raises:
        UserError: it cannot be read, or is broken; ``what`` says what it should be, or what to do about it.
    """
    text = read_text(path, what)
    try:
        return from_json(text, wraps)
    except ValueError as error:
        problem = f"broken JSON ({error})" if text.strip() else "it is empty"
        raise UserError(f"{named(path)}: {problem}. {what or 'Give a JSON file.'}") from error


def record_in(line: bytes, kind: type[R], path: Path, where: str) -> R:
    """The record in a line of a file.

    Raises:
        UserError: it holds none; names file and place.
    """
    text = decoded(line, path, f", {where}")
    try:
        row = from_json(text, wraps=1)
        if not isinstance(row, dict):
            raise ValueError("a line must hold a JSON object")
        row.pop("id", None)
        return kind.model_validate(row)
    except ValueError as error:
        raise UserError(f"{named(path)}, {where}, is not a {kind.__name__}: {first_fault(error)}") from error


def read_rows(path: Path, kind: type[R]) -> Iterator[R]:
    """Read JSON lines one by one; blank lines are passed over.

    Raises:
        UserError: the file cannot be read, or a line is not such a record; names file and line.
    """
    return (record for _, record in placed_rows(path, kind))


def placed_rows(path: Path, kind: type[R]) -> Iterator[tuple[int, R]]:
    """The same, each with the offset of its line in the unpacked bytes."""
    for number, offset, line in raw_lines(path, f"It should hold JSON lines, one {kind.__name__} a line."):
        yield offset, record_in(line, kind, path, f"line {number}")


REMADE = "Move it away, and the command that made its folder makes it anew; or choose another folder."


def read_record(path: Path, kind: type[V]) -> V:
    """A versioned record.

    Raises:
        UserError: there is none, a broken one, or one of a later version.
    """
    if not os.path.lexists(path):
        raise UserError(f"{named(path)}: there is no such record. The command that made its folder goes on.")
    try:
        return kind.read(read_json(path, REMADE), named(path))
    except Unreadable as error:
        raise UserError(f"{error} {REMADE}") from error


# --- writing ------------------------------------------------------------------------------------------------------


@contextmanager
def filling(partial: Path, path: Path) -> Iterator[IO[bytes]]:
    """A new file, for its bytes; it is gone where the block fails.

    Args:
        partial: the file; its folder is made where it is missing.
        path: what it is to become, for messages.

    Raises:
        UserError: see `disk`.
    """
    filled = False
    try:
        with disk(path, hidden=partial):
            partial.parent.mkdir(parents=True, exist_ok=True)
            partial.unlink(missing_ok=True)
            with open(partial, "xb") as raw:  # never through a link that stands there in a stranger's folder
                yield raw
        filled = True
    finally:
        if not filled:
            with suppress(OSError):
                partial.unlink()


@contextmanager
def writing(path: Path, *, pack: bool = False) -> Iterator[IO[bytes]]:
    """A file that stands there, whole, when the block ends, or not at all.

    Args:
        path: the file; its folder is made where it is missing.
        pack: gzip it, without name and time, so that bytes repeat.

    Raises:
        UserError: see `disk`.
    """
    # Hidden, so that what a killed write leaves behind enters no digest of a folder
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    with disk(path, hidden=partial):
        with filling(partial, path) as raw:
            if pack:
                with gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0) as file:
                    yield cast(IO[bytes], file)
            else:
                yield raw
        try:
            partial.replace(path)
        except OSError:
            partial.unlink()
            raise


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    with writing(path) as file:
        file.write(content)


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file whole or not at all."""
    write_bytes(path, (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode())


def row_of(record: Record) -> dict[str, Any]:
    """The record as it stands on disk; a sample's row begins with its id."""
    row = record.model_dump(mode="json")
    return {"id": record.id, **row} if isinstance(record, Sample) else row


def line_of(record: Record) -> str:
    """The record as one JSON line."""
    return to_json(row_of(record)) + "\n"


def write_rows(path: Path, rows: Iterable[Record]) -> int:
    """Write JSON lines whole or not at all; returns their number."""
    count = 0
    with writing(path, pack=path.suffix == ".gz") as file:
        for count, row in enumerate(rows, 1):  # noqa: B007
            file.write(line_of(row).encode())
    return count


def first_fault(error: Exception) -> str:
    """What an error says; of a record that is none, the place of the first fault, and what it is."""
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(str(part) for part in first['loc']) or 'record'}: {first['msg']}"
    return str(error)


def now() -> str:
    """The time, UTC, ISO 8601 to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
