"""One sample of a run, as a person reads it."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path

import pytest
from running import acme, graded, sloop

from sloop.records import Ruling, Sample
from sloop.store import Dataset, read_rows


def test_show_tells_a_question_of_the_benchmark_whole(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = outputs / "acme" / "full0"
    sample = next(iter(Dataset(Path(acme()[-1].partition("=")[2]))))
    assert sloop("show", str(folder), sample.id[:16]) == 0
    out = capsys.readouterr().out
    assert f"sample {sample.id}" in out
    assert f"user: {sample.request}" in out
    for number in (1, 2):
        verdict = "right" if graded(folder, number)[sample.id] else "wrong"
        assert f"round_{number}/evaluate/dev: grade: {verdict}" in out
        assert f"round_{number}/evaluate/dev: answer: " in out
        assert f"round_{number}/evaluate/dev: judge: " in out


def test_show_tells_what_became_of_a_label(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = outputs / "acme" / "full0"
    ruling = next(iter(read_rows(folder / "round_1" / "optimize" / "rulings.jsonl", Ruling)))
    assert sloop("show", str(folder), ruling.sample_id) == 0
    assert f"round_1/optimize: ruling: {ruling.outcome}; label was " in capsys.readouterr().out


def test_show_keeps_to_the_round_that_is_named(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sample_id = next(iter(graded(outputs / "acme" / "full0", 1)))
    assert sloop("show", "variant=full,seed=0@2", sample_id, "--outputs", str(outputs)) == 0
    out = capsys.readouterr().out
    assert "round_2/evaluate/dev: grade: " in out
    assert "round_1/" not in out


@pytest.mark.parametrize(("beginning", "words"), [("", "samples have ids that begin"), ("zz", "no sample has an id")])
def test_show_names_what_it_cannot_find(
    beginning: str, words: str, outputs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sloop("show", str(outputs / "acme" / "full0"), beginning) == 2
    assert words in capsys.readouterr().err


def test_show_tells_what_a_sample_was_made_of_and_what_was_made_of_it(
    outputs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = outputs / "acme" / "full0"
    child = next(iter(read_rows(folder / "round_1" / "optimize" / "expanded.jsonl", Sample)))
    (parent,) = child.lineage.parents
    assert sloop("show", str(folder), parent) == 0
    assert f"child {child.id} ({child.lineage.axis}, round 1): {child.request}" in capsys.readouterr().out
    assert sloop("show", str(folder), child.id) == 0
    assert f"parent {parent}: " in capsys.readouterr().out


def test_show_tells_the_label_of_every_round(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sample_id = Dataset(outputs / "acme" / "static0" / "seed" / "portions" / "round_1.jsonl").ids()[0]
    for at, told in (("", [1, 2]), ("@2", [2])):
        assert sloop("show", f"variant=static,seed=0{at}", sample_id, "--outputs", str(outputs)) == 0
        lines = capsys.readouterr().out.splitlines()
        assert [line.split(":")[0] for line in lines if ": trained on: " in line] == [f"round_{n}" for n in told]


def test_a_run_of_before_is_given_its_questions(
    outputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shutil.copytree(outputs / "acme" / "full0", tmp_path / "run")
    given = Path(acme()[-1].partition("=")[2])
    sample = next(iter(Dataset(given)))
    kept = folder / "questions" / "dev.jsonl.gz"
    assert gzip.decompress(kept.read_bytes()) == given.read_bytes(), "a run keeps what it was asked"
    kept.unlink()
    assert sloop("show", str(folder), sample.id[:16]) == 2
    assert f"the question of sample {sample.id} is not in the run's folder" in capsys.readouterr().err
    assert sloop("show", str(folder), sample.id[:16], "--questions", str(given)) == 0
    assert f"user: {sample.request}" in capsys.readouterr().out
    assert sloop("show", str(folder), sample.id[:16], "--questions", "nowhere.jsonl") == 2
    assert "nowhere.jsonl" in capsys.readouterr().err
