"""A file of JSON lines that only grows; several processes may append to it, and any of them may be killed."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any


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
        self._writing: int | None = None
        self._torn_end = False

    def read(self) -> Iterator[tuple[int, Any]]:
        """Offset (bytes) and value of every whole line; nothing where there is no file."""
        if not self.path.is_file():
            return
        self.torn_lines = offset = 0
        with open(self.path, "rb") as file:
            for line in file:
                try:
                    yield offset, json.loads(line)
                except ValueError:
                    self.torn_lines += 1
                offset += len(line)

    def append(self, value: Any) -> int:
        """Keep a value; on disk when this returns. Returns its offset."""
        if self._writing is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._writing = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
            size = os.fstat(self._writing).st_size
            self._torn_end = size > 0 and os.pread(self._writing, 1, size - 1) != b"\n"
        line = json.dumps(value, ensure_ascii=False).encode() + b"\n"
        start = b"\n" if self._torn_end else b""
        os.write(self._writing, start + line)  # one write, so that lines of several processes do not mix
        self._torn_end = False
        # Where it landed is known only after the fact: another process may have written before it.
        return os.lseek(self._writing, 0, os.SEEK_CUR) - len(line)

    def close(self) -> None:
        """Close the file; another `append` opens it anew."""
        if self._writing is not None:
            os.close(self._writing)
        self._writing = None
