"""The evaluate stage: every question answered once, graded, summed up."""

from __future__ import annotations

from pathlib import Path

import pytest
from acme_tools import LookupStudent, StrictJudge
from running import questions

from sloop.evaluate.benchmarks import Benchmark, SampleBenchmark
from sloop.evaluate.stage import GRADES, SCORES, evaluate, grades_of
from sloop.store import Stage, predictions_at, read_rows
from sloop.types import Checkpoint, Decode, Score, UserError


@pytest.fixture
def benchmark() -> SampleBenchmark:
    return SampleBenchmark(name="dev", path=str(questions()))


def evaluated(out: Path, benchmark: SampleBenchmark, *, skill: float = 0.5, batch_size: int = 16) -> Stage:
    student = LookupStudent(name="acme", skill=skill)
    checkpoint: Checkpoint = student.start(benchmark.data, seed=0, out=out.parent / f"start-{skill}")
    return evaluate(
        benchmark=benchmark,
        student=student,
        checkpoint=checkpoint,
        decode=Decode(),
        batch_size=batch_size,
        judge=StrictJudge(abstain=0.0),
        out=out,
    )


def scores(stage: Stage) -> dict[str, Score]:
    return {score.name: score for score in read_rows(stage.folder / SCORES, Score) if not score.slice}


def test_every_question_is_answered_and_graded_once(tmp_path: Path, benchmark: SampleBenchmark) -> None:
    stage = evaluated(tmp_path / "eval", benchmark)
    ids = benchmark.data.ids()
    assert sorted(predictions_at(stage.folder / "predictions.jsonl").ids()) == sorted(ids)
    assert [grade.sample_id for grade in grades_of(stage)] == ids


def test_scores_are_the_mean_of_the_grades(tmp_path: Path, benchmark: SampleBenchmark) -> None:
    stage = evaluated(tmp_path / "eval", benchmark)
    grades = list(grades_of(stage))
    found = scores(stage)["call_accuracy"]
    assert found.value == pytest.approx(sum(map(bool, (grade.correct for grade in grades))) / len(grades))
    assert found.n == len(grades)
    assert found.low is not None
    assert found.high is not None
    assert found.low < found.value < found.high


def test_a_perfect_student_is_right_everywhere(tmp_path: Path, benchmark: SampleBenchmark) -> None:
    found = scores(evaluated(tmp_path / "eval", benchmark, skill=1.0))
    assert found["call_accuracy"].value == 1.0
    assert found["false_refusal_rate"].value == 0.0


def test_the_size_of_a_batch_changes_no_grade(tmp_path: Path, benchmark: SampleBenchmark) -> None:
    first, second = (evaluated(tmp_path / str(size), benchmark, batch_size=size) for size in (1, 64))
    assert (first.folder / GRADES).read_bytes() == (second.folder / GRADES).read_bytes()


def test_a_finished_evaluation_is_not_made_again(tmp_path: Path, benchmark: SampleBenchmark) -> None:
    before = (evaluated(tmp_path / "eval", benchmark).folder / SCORES).stat().st_mtime_ns
    assert (evaluated(tmp_path / "eval", benchmark).folder / SCORES).stat().st_mtime_ns == before


def test_another_checkpoint_needs_another_folder(tmp_path: Path, benchmark: SampleBenchmark) -> None:
    evaluated(tmp_path / "eval", benchmark)
    with pytest.raises(UserError, match="checkpoint"):
        evaluated(tmp_path / "eval", benchmark, skill=0.6)


def test_a_benchmark_is_packaged_or_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for path in ("sloop_bench/v1.jsonl.gz", "sloop_bench/dev.jsonl.gz", str(questions())):
        opened = SampleBenchmark(name="bench", path=path)
        assert isinstance(opened, Benchmark)
        assert len(opened.data) > 0
        assert all(sample.label for sample in opened.data)
    with pytest.raises(UserError, match=r"nope\.jsonl"):
        SampleBenchmark(name="bench", path="nope.jsonl")


def test_the_frozen_sets_share_no_question() -> None:
    frozen, development = (
        {sample.request for sample in SampleBenchmark(name="bench", path=f"sloop_bench/{name}.jsonl.gz").data}
        for name in ("v1", "dev")
    )
    assert not frozen & development
