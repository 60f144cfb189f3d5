"""A file of values by key that only grows, one JSON line each; several processes may append to it."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

from sloop.records import UserError, from_json
from sloop.store.files import named, next_line, reading
from sloop.store.lines import Lines


class Cache:
    """Values by key on disk; only keys and offsets are in memory. A torn last line is passed over (`Lines`)."""

    def __init__(self, path: Path) -> None:
        """Index what is there; no file is made before the first `put`."""
        self.path = path
        self._lines = Lines(path)
        self._offsets: dict[str, int] = {}
        self._reading: IO[bytes] | None = None
        self._files = ExitStack()
        foreign = self._read_on(0)
        self.torn_lines = self._lines.torn_lines + foreign
        """Lines that could not be read."""

    def __len__(self) -> int:
        return len(self._offsets)

    def get(self, key: str) -> Any:
        """The value of a key; None: there is none.

        Raises:
            UserError: the file was changed by something else.
        """
        offset = self._offsets.get(key)
        if offset is None:
            return None
        if self._reading is None:
            self._reading = self._files.enter_context(reading(self.path))
        self._reading.seek(offset)
        try:
            return from_json(next_line(self._reading, self.path).decode(), wraps=2)["value"]
        except (ValueError, LookupError, TypeError) as error:
            raise UserError(f"{named(self.path)} was changed while it was in use: give the command again.") from error

    def put(self, key: str, value: Any) -> Any:
        """Keep a value, unless the key has one; on disk when this returns.

        Returns:
            The value of the key, from now on and for every process: the one that stands first in the file, where
            another process has put one meanwhile.
        """
        self._read_on(self._lines.read_to)
        if key not in self._offsets:
            offset = self._lines.append({"key": key, "value": value})
            if offset != self._lines.read_to:  # somebody has written between the two
                self._read_on(self._lines.read_to)
            self._offsets.setdefault(key, offset)
        return self.get(key)

    def _read_on(self, start: int) -> int:
        """Index the lines from an offset on; returns how many of them are none of a cache."""
        foreign = 0
        for offset, row in self._lines.read(start):
            if isinstance(row, dict) and isinstance(row.get("key"), str) and "value" in row:
                self._offsets.setdefault(row["key"], offset)
            else:
                foreign += 1
        return foreign

    def close(self) -> None:
        """Close the file."""
        self._files.close()
        self._reading = None
        self._lines.close()
