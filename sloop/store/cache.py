"""A file of values by key that only grows, one JSON line each; several processes may append to it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sloop.store.lines import Lines


class Cache:
    """Values by key on disk; only keys and offsets are in memory. A torn last line is passed over (`Lines`)."""

    def __init__(self, path: Path) -> None:
        """Index what is there; no file is made before the first `put`."""
        self.path = path
        self._lines = Lines(path)
        self._offsets: dict[str, int] = {}
        self._reading: Any = None
        foreign = 0
        for offset, row in self._lines.read():
            if isinstance(row, dict) and "key" in row:
                self._offsets.setdefault(row["key"], offset)
            else:
                foreign += 1
        self.torn_lines = self._lines.torn_lines + foreign
        """Lines that could not be read."""

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
        self._offsets[key] = self._lines.append({"key": key, "value": value})

    def close(self) -> None:
        """Close the file."""
        if self._reading is not None:
            self._reading.close()
        self._reading = None
        self._lines.close()
