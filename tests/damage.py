"""Files as strangers give them: every way in which one may be no such file, and what must be said of it."""

from __future__ import annotations

import functools
import gzip
import os
from collections.abc import Callable
from pathlib import Path

Damage = Callable[[Path, bytes], None]
"""Puts something at a path where a sound file, of these bytes, is wanted."""


def _written(change: Callable[[bytes], bytes]) -> Damage:
    """Other text: gzipped where the name says so."""

    def damage(path: Path, sound: bytes) -> None:
        content = change(sound)
        path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)

    return damage


def _raw(change: Callable[[bytes], bytes]) -> Damage:
    """Other bytes on disk."""

    def damage(path: Path, sound: bytes) -> None:
        path.write_bytes(change(gzip.compress(sound) if path.suffix == ".gz" else sound))

    return damage


def _link_to_itself(path: Path, _: bytes) -> None:
    path.symlink_to(path.name)


@functools.cache
def _bomb() -> bytes:
    return gzip.compress(b" " * (65 << 20))


def _huge(path: Path, _: bytes) -> None:
    with path.open("wb") as file:
        file.truncate(65 << 20)


DEEP = b'{"a":' * 5_000 + b"1" + b"}" * 5_000

ANY: dict[str, tuple[Damage, str]] = {
    "folder": (lambda path, _: path.mkdir(), "is a folder"),
    "pipe": (lambda path, _: os.mkfifo(path), "is a pipe"),
    "endless": (lambda path, _: path.symlink_to("/dev/zero"), "is a device"),
    "link to nowhere": (lambda path, _: path.symlink_to("gone"), "a link that leads nowhere"),
    "link to itself": (_link_to_itself, "a link that leads back to itself"),
}
"""What is no file."""

TEXT: dict[str, tuple[Damage, str]] = {
    "another encoding": (_written(lambda _: '{"a": "café"}\n'.encode("latin-1")), "not .*UTF-8 text"),
    "UTF-16": (_written(lambda sound: sound.decode().encode("utf-16")), "UTF-16"),
    "noise": (_written(lambda _: bytes(range(128, 256))), "not .*UTF-8 text"),
}
"""What is no text."""

JSON: dict[str, tuple[Damage, str]] = {
    "no JSON": (_written(lambda _: b"{'a': 1}\n"), "Expecting property name"),
    "deep": (_written(lambda _: DEEP + b"\n"), "nested more than"),
    "deep lists": (_written(lambda _: b"[" * 100_000 + b"\n"), "nested more than"),
    "half a pair": (_written(lambda _: b'{"a": "\\ud800"}\n'), "half of a surrogate pair"),
    "long number": (_written(lambda _: b'{"a": ' + b"9" * 5_000 + b"}\n"), "5000 digits; allowed: up to 308"),
    "endless number": (_written(lambda _: b'{"a": 1e999}\n'), "not a finite number"),
    "no number": (_written(lambda _: b'{"a": NaN}\n'), "NaN is not JSON"),
}
"""What is no JSON of ours."""

GZIP: dict[str, tuple[Damage, str]] = {
    "cut short": (_raw(lambda whole: whole[: len(whole) // 2]), "not gzipped UTF-8 text"),
    "corrupt": (_raw(lambda whole: whole[:-8] + bytes([whole[-8] ^ 255]) + whole[-7:]), "not gzipped UTF-8 text"),
    "not gzipped": (_raw(gzip.decompress), "not gzipped UTF-8 text"),
    "bomb": (_raw(lambda _: _bomb()), "holds more than 64 MiB"),
}
"""What is no gzip, or too much of it."""


HUGE: dict[str, tuple[Damage, str]] = {"huge": (_huge, "holds more than 64 MiB")}
"""More than is read at a time."""


def kinds(path: str) -> dict[str, tuple[Damage, str]]:
    """What may be wrong with a file of that name."""
    return {**ANY, **TEXT, **(JSON if ".json" in path else {}), **(GZIP if path.endswith(".gz") else HUGE)}
