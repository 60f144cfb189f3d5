"""The growing file of values by key: nothing whole is lost, whatever the end of the file looks like."""

from __future__ import annotations

import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from sloop.store import Cache

VALUES = st.dictionaries(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1),
    st.text(st.characters(exclude_categories=["Cs"])),
    min_size=1,
    max_size=6,
)


def filled(path: Path, values: dict[str, str]) -> None:
    cache = Cache(path)
    for key, value in values.items():
        cache.put(key, value)
    cache.close()


@given(VALUES)
@settings(deadline=None, max_examples=40)
def test_what_was_put_is_found_at_once_and_after_reopening(values: dict[str, str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "c.jsonl"
        cache = Cache(path)
        for key, value in values.items():
            cache.put(key, value)
            assert cache.get(key) == value
        cache.close()
        again = Cache(path)
        assert {key: again.get(key) for key in values} == values
        assert again.get("not there\n") is None
        again.close()


@given(VALUES, st.integers(1))
@settings(deadline=None, max_examples=80)
def test_a_file_cut_anywhere_loses_the_torn_line_alone_and_takes_new_ones(values: dict[str, str], cut: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "c.jsonl"
        filled(path, values)
        whole = path.read_bytes()
        kept = whole[: len(whole) - cut % len(whole)]
        path.write_bytes(kept)
        cache = Cache(path)
        lines = kept.split(b"\n")
        complete = list(values)[: len(lines) - 1]
        assert all(cache.get(key) == values[key] for key in complete)
        cache.put("new", "value")
        cache.close()
        again = Cache(path)
        assert again.get("new") == "value"
        assert all(again.get(key) == values[key] for key in complete)
        assert again.torn_lines == cache.torn_lines <= 1
        again.close()


def test_two_writers_share_a_file(tmp_path: Path) -> None:
    one, two = Cache(tmp_path / "c.jsonl"), Cache(tmp_path / "c.jsonl")
    for number in range(20):
        one.put(f"one {number}", number)
        two.put(f"two {number}", number)
    assert [one.get(f"one {n}") for n in range(20)] == [two.get(f"two {n}") for n in range(20)] == list(range(20))
    one.close()
    two.close()
    again = Cache(tmp_path / "c.jsonl")
    assert (len(again), again.torn_lines) == (40, 0)
    again.close()


def test_the_first_value_of_a_key_is_that_of_every_process(tmp_path: Path) -> None:
    one, two = Cache(tmp_path / "c.jsonl"), Cache(tmp_path / "c.jsonl")
    assert (one.put("q", 1), two.put("q", 2), one.put("q", 3)) == (1, 1, 1)
    assert one.get("q") == two.get("q") == Cache(tmp_path / "c.jsonl").get("q") == 1
    assert len((tmp_path / "c.jsonl").read_text().splitlines()) == 1
    one.close()
    two.close()


def test_values_put_at_the_same_moment_are_the_same_for_all(tmp_path: Path) -> None:
    def put(number: int) -> list[int]:
        cache = Cache(tmp_path / "c.jsonl")
        began.wait()
        kept = [cache.put(f"key {turn}", number) for turn in range(200)]
        assert kept == [cache.get(f"key {turn}") for turn in range(200)]
        cache.close()
        return kept

    began = threading.Barrier(3)
    with ThreadPoolExecutor(3) as pool:
        first, *others = pool.map(put, range(3))
    again = Cache(tmp_path / "c.jsonl")
    assert all(kept == first for kept in others)
    assert first == [again.get(f"key {turn}") for turn in range(200)]
    again.close()
