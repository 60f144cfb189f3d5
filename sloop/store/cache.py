"""A file of values by key that only grows, one JSON line each; several processes may append to it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


class Cache:
    """Values by key on disk; only keys and offsets are in memory.

    A torn last line (a process was killed while writing it) is closed and passed over, never cut off: another process
    may be writing behind it.
    """

    def __init__(self, path: Path) -> None:
        """Index what is there; no file is made before the first `put`."""
        self.path = path
        self.torn_lines = 0
        """Lines that could not be read."""
        self._offsets: dict[str, int] = {}
        self._end = b"\n"
        self._reading: Any = None
        self._writing: int | None = None
        if path.is_file():
            self._read_index()

    def __len__(self) -> int:
        return len(self._offsets)

    def get(self, key: str) -> Any:
        """The value of a key; None: there is none."""
        offset = self._offsets.get(key)
        if offset is None:
            return None
        if self._reading is None:
            self._reading = open(self.path, "rb")  # noqa: SIM115
        self._reading.seek(offset)
        return json.loads(self._reading.readline())["value"]

    def put(self, key: str, value: Any) -> None:
        """Keep a value; on disk when this returns."""
        if self._writing is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._writing = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        line = json.dumps({"key": key, "value": value}, ensure_ascii=False).encode() + b"\n"
        if self._end != b"\n":
            line, self._end = b"\n" + line, b"\n"
        os.write(self._writing, line)  # one write, so that lines of several processes do not mix
        # Where it landed is known only after the fact: another process may have written before it.
        self._offsets[key] = os.lseek(self._writing, 0, os.SEEK_CUR) - len(line.lstrip(b"\n"))

    def close(self) -> None:
        """Close the file."""
        if self._reading is not None:
            self._reading.close()
        if self._writing is not None:
            os.close(self._writing)
        self._reading = self._writing = None

    def _read_index(self) -> None:
        offset = 0
        with open(self.path, "rb") as file:
            for line in file:
                try:
                    self._offsets.setdefault(json.loads(line)["key"], offset)
                except (ValueError, KeyError, TypeError):
                    self.torn_lines += 1
                offset += len(line)
                self._end = line[-1:]
