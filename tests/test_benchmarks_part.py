"""A part of any benchmark: stratified, by seed, told, and compared with itself alone."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from phonebook_student import two_step
from running import ALONE, acme, acme_loop, questions, rounds, sloop

from sloop.benchmarks.base import Benchmark, SampleBenchmark
from sloop.benchmarks.part import Part, apportioned, whole_data
from sloop.records import Label
from sloop.store import Dataset, read_json, write_rows


def part(folder: Path, limit: int, seed: int = 0, benchmark: Benchmark | None = None) -> Part:
    whole = benchmark or SampleBenchmark(name="dev", path=str(questions()))
    return Part(benchmark=whole, limit=limit, limit_seed=seed, cache_path=str(folder / "parts"))


def test_every_slice_has_its_share_and_the_order_stays(tmp_path: Path) -> None:
    found = part(tmp_path, 30)
    assert isinstance(found, Benchmark)
    whole = Counter(found.whole.data.column("slice"))
    asked = Counter(found.data.column("slice"))
    assert sum(asked.values()) == 30
    assert all(abs(asked[name] - 30 * number / sum(whole.values())) < 1 for name, number in whole.items())
    ids = found.data.ids()
    assert ids == [sample_id for sample_id in found.whole.data.ids() if sample_id in set(ids)]
    assert ids == [episode.id for episode in found.episodes()]


def test_a_part_is_the_same_whenever_it_is_made_another_for_another_seed_and_lies_in_a_larger_one(
    tmp_path: Path,
) -> None:
    first, again, other, larger = (
        part(tmp_path / name, limit, seed)
        for name, limit, seed in (("a", 30, 0), ("b", 30, 0), ("c", 30, 1), ("d", 60, 0))
    )
    assert first.data.sha256 == again.data.sha256 != other.data.sha256
    assert len(set(first.data.ids()) - set(larger.data.ids())) <= len(set(first.data.column("slice")))
    assert len(set(first.data.ids()) & set(other.data.ids())) < 20


def test_the_part_is_told_with_its_numbers_and_its_digest(tmp_path: Path) -> None:
    found = part(tmp_path, 30)
    (told,) = found.notes()[1:]
    assert told.startswith("dev: a part alone, 30 of ")
    assert "benchmark.limit=30 benchmark.limit_seed=0" in told
    assert found.data.sha256 in told
    assert sum(map(int, re.findall(r"(\d+) of \d+[,;]", told))) == 30


def test_a_limit_that_leaves_nothing_out_asks_the_same_data(tmp_path: Path) -> None:
    found = part(tmp_path, 10**6)
    assert found.data.sha256 == found.whole.data.sha256
    assert found.notes() == found.whole.notes()
    assert [e.id for e in found.episodes()] == [e.id for e in found.whole.episodes()]


def test_without_slices_those_with_a_call_and_those_without_have_their_shares(tmp_path: Path) -> None:
    plain = [sample.model_copy(update={"slice": ""}) for sample in Dataset(questions())]
    write_rows(tmp_path / "plain.jsonl", plain)
    found = part(tmp_path, 12, benchmark=SampleBenchmark(name="plain", path=str(tmp_path / "plain.jsonl")))
    calls = sum(bool((sample.label or Label()).calls) for sample in plain)
    asked = sum(bool((sample.label or Label()).calls) for sample in found.data)
    assert abs(asked - 12 * calls / len(plain)) < 1


def test_tasks_of_several_steps_are_counted_as_one(tmp_path: Path) -> None:
    whole = two_step(tmp_path, num_tasks=12)
    found = part(tmp_path, 5, benchmark=whole)
    assert len(found.data) == len(list(found.episodes())) == 5


def test_what_is_left_out_is_no_training_data_either(tmp_path: Path) -> None:
    found = part(tmp_path, 30)
    assert whole_data(found) is found.whole.data
    assert whole_data(found.whole) is found.whole.data


@given(st.dictionaries(st.text("abc", min_size=1), st.integers(1, 500), min_size=1), st.integers(1, 900))
def test_shares_add_up_and_differ_from_the_exact_ones_by_less_than_one(sizes: dict[str, int], limit: int) -> None:
    shares = apportioned(sizes, limit)
    total = sum(sizes.values())
    assert sum(shares.values()) == min(limit, total)
    for name, size in sizes.items():
        assert 0 <= shares[name] <= size
        assert abs(shares[name] - min(limit, total) * size / total) < 1


def test_a_run_asks_the_part_and_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = acme_loop(tmp_path / "whole", "loop.rounds=1")
    runs = {
        name: acme_loop(tmp_path / name, "loop.rounds=1", "benchmark.limit=30", f"benchmark.limit_seed={seed}")
        for name, seed in (("part", 0), ("other", 1))
    }
    assert "a part alone, 30 of 120" in capsys.readouterr().out
    scores = {score["name"]: score for score in rounds(runs["part"])[0]["metrics"] if not score["slice"]}
    assert scores["eval/dev/call_accuracy"]["n"] == 30
    assert scores["eval/dev/baseline/always_refuse/call_accuracy"]["n"] == 30
    keys = [read_json(run / "round_1/evaluate/dev/stage.json")["key"] for run in (whole, *runs.values())]
    assert len(set(keys)) == 3
    files = [read_json(run / "seed/pool/stage.json")["files"] for run in (whole, *runs.values())]
    assert files[0] == files[1] == files[2], "none of the whole is trained on"
    assert sloop("compare", str(runs["part"]), str(whole), "--benchmark", "dev") == 2
    assert "different data under the name dev" in capsys.readouterr().err


def test_a_limit_that_is_none_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for word, told in (
        ("benchmark.limit=0", "benchmark.limit=0: give"),
        ("benchmark.limit_seed=-1", "limit_seed=-1"),
    ):
        assert sloop("loop", *acme(), f"output_dir={tmp_path / 'run'}", ALONE, word) == 2
        assert told in capsys.readouterr().err
