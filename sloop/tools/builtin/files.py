"""Files of a workspace: read, listed and written, and nothing else reached.

A path is walked component by component from an open folder, no link followed at any of them, so that what is checked
is what is opened, whatever another process swaps meanwhile.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sloop.records import UserError

LONGEST = 1024
"""Characters of a path."""
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC  # a fifo would wait for a writer
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_PATH = {"type": "string", "description": "Path relative to the workspace, such as notes/today.txt"}


class _InWorkspace:
    def __init__(self, *, root: str | Path) -> None:
        """Take the workspace.

        Raises:
            UserError: it is no folder.
        """
        self.root = Path(root).absolute()
        if not self.root.is_dir():
            raise UserError(f"root={root}: no such folder. Make it, or name another.")

    @contextlib.contextmanager
    def _folder(self, parts: list[str], path: str, *, make: bool = False) -> Iterator[int]:
        """The open folder of that name."""
        held = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for part in parts:
                if make:
                    with contextlib.suppress(OSError):  # of which opening it tells
                        os.mkdir(part, 0o755, dir_fd=held)
                above, held = held, _opened(part, _FOLDER, held, path)
                os.close(above)
            yield held
        finally:
            os.close(held)


def _parts(path: str) -> list[str]:
    """The components of a path.

    Raises:
        ValueError: it leads out of the workspace, or can be no path.
    """
    if len(path) > LONGEST:
        raise ValueError(f"the path has {len(path)} characters; {LONGEST} are allowed")
    if any(not mark.isprintable() for mark in path):
        raise ValueError(f"path {path!r}: characters that cannot be printed are not allowed")
    if path.startswith("/"):
        raise ValueError(f"path {path!r}: absolute paths are not allowed; give one relative to the workspace")
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise ValueError(f"path {path!r}: .. is not allowed; give a path inside the workspace")
    return parts


def _named(path: str) -> tuple[list[str], str]:
    *above, name = _parts(path) or [""]
    if not name or path.endswith("/"):
        raise ValueError(f"path {path!r} names no file")
    return above, name


def _opened(name: str, flags: int, folder: int, path: str) -> int:
    """A descriptor.

    Raises:
        ValueError: there is none of the kind, or a link is in its place.
    """
    try:
        if stat.S_ISLNK(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
            raise ValueError(f"path {path!r}: {name} is a symbolic link, which is not followed")
        return os.open(name, flags, dir_fd=folder)
    except OSError as error:  # ELOOP, where a link has taken the place since
        raise ValueError(f"path {path!r}: {name}: {error.strerror}") from error


def _regular(name: str, folder: int, path: str, *, may_be_new: bool = False) -> None:
    """Refuse what is no file of its own.

    Raises:
        ValueError: it is a link, a folder, a device, a pipe or a socket, or has a second name elsewhere.
    """
    try:
        found = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except OSError as error:
        if may_be_new and isinstance(error, FileNotFoundError):
            return
        raise ValueError(f"path {path!r}: {name}: {error.strerror}") from error
    if stat.S_ISLNK(found.st_mode):
        raise ValueError(f"path {path!r}: {name} is a symbolic link, which is not followed")
    if not stat.S_ISREG(found.st_mode):
        raise ValueError(f"path {path!r}: {name} is no regular file")
    if found.st_nlink > 1:
        raise ValueError(f"path {path!r}: {name} is a file with another name (a hard link), maybe outside")


class ReadFile(_InWorkspace):
    """A text file of the workspace."""

    def __init__(self, *, root: str | Path, most_bytes: int = 64 * 1024) -> None:
        """Take the workspace, and what is read of a file at most."""
        super().__init__(root=root)
        self.most_bytes = most_bytes

    def description(self) -> str:
        """What it reads."""
        return f"Reads a text file of the workspace, of up to {self.most_bytes} bytes."

    def arguments(self) -> dict[str, Any]:
        """A path."""
        return {"type": "object", "properties": {"path": _PATH}, "required": ["path"]}

    def call(self, args: Mapping[str, Any], /) -> str:
        """The text.

        Raises:
            ValueError: it is outside, no regular file, too large or not UTF-8.
        """
        path = args["path"]
        above, name = _named(path)
        with self._folder(above, path) as folder:
            _regular(name, folder, path)
            with open(_opened(name, _FILE, folder, path), "rb") as file:
                found = os.fstat(file.fileno())
                if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
                    raise ValueError(f"path {path!r}: {name} changed while it was opened")
                data = file.read(self.most_bytes + 1)
        if len(data) > self.most_bytes:
            raise ValueError(f"path {path!r}: the file is larger than {self.most_bytes} bytes")
        try:
            return data.decode()
        except UnicodeDecodeError as error:
            raise ValueError(f"path {path!r}: the file is no UTF-8 text") from error


class ListFiles(_InWorkspace):
    """A folder of the workspace."""

    def __init__(self, *, root: str | Path, most: int = 500) -> None:
        """Take the workspace, and the most entries that are listed."""
        super().__init__(root=root)
        self.most = most

    def description(self) -> str:
        """What it lists."""
        return "Lists a folder of the workspace: each entry with its kind and, of files, its size in bytes."

    def arguments(self) -> dict[str, Any]:
        """A path, the workspace itself where it is left out."""
        told = "Folder relative to the workspace; left out: the workspace itself"
        return {"type": "object", "properties": {"path": {"type": "string", "description": told}}}

    def call(self, args: Mapping[str, Any], /) -> dict[str, Any]:
        """Entries by name, and how many more there are.

        Raises:
            ValueError: it is outside or no folder.
        """
        path = args.get("path", "")
        with self._folder(_parts(path), path) as folder:
            with os.scandir(folder) as found:
                names = sorted(entry.name for entry in found)
            entries = [_entry(name, folder) for name in names[: self.most]]
        return {"entries": [each for each in entries if each], "left_out": max(0, len(names) - self.most)}


def _entry(name: str, folder: int) -> dict[str, Any]:
    try:
        found = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except OSError:  # gone since
        return {}
    shown = name.encode(errors="backslashreplace").decode()
    kinds = {stat.S_IFREG: "file", stat.S_IFDIR: "folder", stat.S_IFLNK: "link"}
    kind = kinds.get(stat.S_IFMT(found.st_mode), "special")
    return {"name": shown, "kind": kind} | ({"size": found.st_size} if kind == "file" else {})


class WriteFile(_InWorkspace):
    """A text file of the workspace, made or replaced as a whole."""

    mutates = True

    def __init__(
        self, *, root: str | Path, most_bytes: int = 64 * 1024, most_total: int = 16 << 20, most_files: int = 1000
    ) -> None:
        """Take the workspace, and what may be written to a file, be in the workspace, and be of files in it."""
        super().__init__(root=root)
        self.most_bytes, self.most_total, self.most_files = most_bytes, most_total, most_files

    def description(self) -> str:
        """What it writes."""
        return (
            f"Writes a text file of the workspace, of up to {self.most_bytes} bytes. Folders are made as needed, and a "
            "file of that name is replaced."
        )

    def arguments(self) -> dict[str, Any]:
        """A path and a text."""
        told = {"path": _PATH, "text": {"type": "string", "description": "All that the file will hold"}}
        return {"type": "object", "properties": told, "required": list(told)}

    def call(self, args: Mapping[str, Any], /) -> str:
        """What was written.

        Raises:
            ValueError: it is outside, in place of something that is no regular file, or too large.
        """
        path, data = args["path"], args["text"].encode()
        above, name = _named(path)
        if len(data) > self.most_bytes:
            raise ValueError(f"the text has {len(data)} bytes; {self.most_bytes} are allowed")
        held, files = self._held(Path(*above, name))
        if held + len(data) > self.most_total or files + len(above) + 1 > self.most_files:
            raise ValueError(
                f"the workspace would hold more than {self.most_total} bytes or {self.most_files} files and folders"
            )
        with self._folder(above, path, make=True) as folder:
            _regular(name, folder, path, may_be_new=True)
            beside = f".{secrets.token_hex(8)}.part"
            try:
                with open(os.open(beside, _NEW, 0o644, dir_fd=folder), "wb") as file:
                    file.write(data)
                os.replace(beside, name, src_dir_fd=folder, dst_dir_fd=folder)  # of a link, the link itself
            except OSError as error:
                with contextlib.suppress(OSError):
                    os.unlink(beside, dir_fd=folder)
                raise ValueError(f"path {path!r}: {error.strerror}") from error
        return f"wrote {len(data)} bytes to {path}"

    def _held(self, path: Path) -> tuple[int, int]:
        """Bytes, and files and folders, of the workspace, but for a file and the folders that lead to it."""
        total = number = 0
        apart = {path, *path.parents}
        for top, folders, files, folder in os.fwalk(self.root, follow_symlinks=False):
            place = Path(top).relative_to(self.root)
            number += sum(place / name not in apart for name in (*folders, *files))
            for name in files:
                with contextlib.suppress(OSError):
                    if place / name != path:
                        total += os.stat(name, dir_fd=folder, follow_symlinks=False).st_size
        return total, number
