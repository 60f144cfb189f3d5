"""The file that only grows: whole lines are kept and torn ones passed over, whoever appends."""

from __future__ import annotations

import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

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


def test_no_file_is_made_before_there_is_a_line(tmp_path: Path) -> None:
    assert read(tmp_path / "l.jsonl") == []
    Lines(tmp_path / "l.jsonl").close()
    assert not list(tmp_path.iterdir())
