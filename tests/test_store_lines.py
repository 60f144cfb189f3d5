"""The file that only grows: whole lines are kept and torn ones passed over, whoever appends."""

from __future__ import annotations

import resource
import signal
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sloop.records import UserError
from sloop.store import Lines

VALUES = st.lists(st.recursive(st.integers() | st.text(), lambda part: st.lists(part, max_size=3)), max_size=6)


def read(path: Path) -> list[Any]:
    return [value for _, value in Lines(path).read()]


@given(VALUES, VALUES, st.integers(0))
@settings(deadline=None, max_examples=60)
def test_a_file_cut_anywhere_loses_the_torn_line_alone_and_takes_new_ones(
    values: list[Any], more: list[Any], cut: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "deep" / "l.jsonl"
        first = Lines(path)
        ends = [0]
        for value in values:
            first.append(value)
            ends.append(path.stat().st_size)
        first.close()
        if values:
            cut %= ends[-1] + 1
            path.write_bytes(path.read_bytes()[:cut])
        whole = sum(end - 1 <= cut for end in ends[1:])  # a line without its newline is whole
        second = Lines(path)
        offsets = [second.append(value) for value in more]
        second.close()
        found = [row for row in Lines(path).read() if row[0] in offsets]
        assert [value for _, value in found] == more
        assert len(read(path)) >= whole + len(more)


def test_several_that_append_at_once_mix_no_lines(tmp_path: Path) -> None:
    path = tmp_path / "l.jsonl"

    def write(number: int) -> None:
        lines = Lines(path)
        for turn in range(50):
            lines.append([number, turn, "x" * 200])
        lines.close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    assert sorted(value[:2] for value in read(path)) == [[n, t] for n in range(4) for t in range(50)]


def test_a_line_that_another_process_left_torn_takes_none_of_ours_with_it(tmp_path: Path) -> None:
    lines = Lines(tmp_path / "l.jsonl")
    lines.append({"k": 1})
    with open(lines.path, "ab") as other:
        other.write(b'{"k": "tor')
    offset = lines.append({"k": 2})
    lines.append({"k": 3})
    lines.close()
    again = Lines(lines.path)
    found = dict(again.read())
    assert (list(found.values()), found[offset], again.torn_lines) == ([{"k": 1}, {"k": 2}, {"k": 3}], {"k": 2}, 1)


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[None]:
    """No file may grow beyond 50 bytes."""
    limits, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    signal.signal(signal.SIGXFSZ, handler)


def test_a_line_that_does_not_fit_is_an_error_and_takes_no_other_with_it(tmp_path: Path, full_disk: None) -> None:
    lines = Lines(tmp_path / "l.jsonl")
    lines.append("x" * 30)
    with pytest.raises(UserError, match=r"l\.jsonl: it cannot be written: the disk is full"):
        lines.append("y" * 30)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limits[1], limits[1]))
    lines.append("z" * 30)
    lines.close()
    assert read(lines.path) == ["x" * 30, "z" * 30]


def test_reading_goes_on_behind_the_last_closed_line(tmp_path: Path) -> None:
    lines = Lines(tmp_path / "l.jsonl")
    lines.append(1)
    assert [value for _, value in lines.read()] == [1]
    lines.append(2)
    with open(lines.path, "ab") as other:
        other.write(b'"half')
    assert [value for _, value in lines.read(lines.read_to)] == [2]
    with open(lines.path, "ab") as other:
        other.write(b' a line"\n')
    assert [value for _, value in lines.read(lines.read_to)] == ["half a line"]
    assert lines.read_to == lines.path.stat().st_size
    lines.close()


def test_no_file_is_made_before_there_is_a_line(tmp_path: Path) -> None:
    assert read(tmp_path / "l.jsonl") == []
    Lines(tmp_path / "l.jsonl").close()
    assert not list(tmp_path.iterdir())
