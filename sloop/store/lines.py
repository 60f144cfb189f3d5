"""A file of JSON lines that only grows; several processes may append to it, and any of them may be killed."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sloop.records import from_json
from sloop.store.files import disk, is_file, next_line, reading


class Lines:
    """JSON values, one a line, on disk as soon as they are appended.

    A torn last line (a process was killed while writing it) is closed and passed over, never cut off: another process
    may be writing behind it.
    """

    def __init__(self, path: Path) -> None:
        """Take the path; no file is made before the first `append`."""
        self.path = path
        self.torn_lines = 0
        """Lines that `read` could not read."""
        self.read_to = 0
        """Offset (bytes) behind the last line that `read` found closed."""
        self._writing: int | None = None

    def read(self, start: int = 0) -> Iterator[tuple[int, Any]]:
        """Offset (bytes) and value of every whole line; nothing where there is no file.

        Args:
            start: offset of the first line to read, such as `read_to`.

        Raises:
            UserError: the file cannot be read.
        """
        self.torn_lines, self.read_to = 0, start
        if not is_file(self.path):
            return
        with reading(self.path) as file:
            file.seek(start)
            while line := next_line(file, self.path):
                try:
                    yield self.read_to, from_json(line.decode(), wraps=2)
                except ValueError:
                    self.torn_lines += bool(line.strip())
                if line.endswith(b"\n"):
                    self.read_to += len(line)

    def append(self, value: Any) -> int:
        """Keep a value; on disk when this returns. Returns its offset.

        Raises:
            UserError: it could not be written whole, as on a full disk; what was written of it is passed over.
        """
        with disk(self.path):
            return self._append(value)

    def _append(self, value: Any) -> int:
        if self._writing is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._writing = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
        line = json.dumps(value, ensure_ascii=False).encode() + b"\n"
        # Looked at every time: another process may have been killed at it, or this one's last line was cut short.
        size = os.fstat(self._writing).st_size
        closed = size == 0 or os.pread(self._writing, 1, size - 1) == b"\n"
        whole = line if closed else b"\n" + line
        written = os.write(self._writing, whole)  # one write, so that lines of several processes do not mix
        if written < len(whole):
            raise OSError(errno.ENOSPC, f"only {written} of {len(whole)} bytes could be written", str(self.path))
        # Where it landed is known only after the fact: another process may have written before it.
        return os.lseek(self._writing, 0, os.SEEK_CUR) - len(line)

    def close(self) -> None:
        """Close the file; another `append` opens it anew."""
        if self._writing is not None:
            os.close(self._writing)
        self._writing = None
