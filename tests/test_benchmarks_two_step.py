"""Tasks of several steps, graded by the state that they end in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from acme_tools import share_of
from phonebook_student import PhonebookStudent

from sloop.benchmarks.base import Benchmark
from sloop.benchmarks.two_step import TwoStepBenchmark
from sloop.engine.build import build
from sloop.engine.stage import Made, Place, run_stage
from sloop.records import Decode, Grade, Prediction, Sample, Score, ToolCall, UserError
from sloop.rollout import replay
from sloop.stages.evaluate import GRADES, SCORES, Evaluate, EvaluateSummary, grades_of
from sloop.store import predictions_at, read_rows


def bench(folder: Path, **changes: Any) -> TwoStepBenchmark:
    settings: dict[str, Any] = {"name": "two_step", "num_tasks": 20, "seed": 0, "max_steps": 6}
    return TwoStepBenchmark(**{**settings, **changes}, cache_path=str(folder / "cache"))


def evaluated(out: Path, student: PhonebookStudent, batch_size: int = 8) -> Made[EvaluateSummary]:
    benchmark = bench(out.parent)
    stage = Evaluate(
        benchmark=benchmark,
        data=benchmark.data,
        student=student,
        checkpoint=student.start(benchmark.data, seed=0, out=out),
        decode=Decode(),
        batch_size=batch_size,
    )
    return run_stage(stage, Place(out))


def played(folder: Path, write: Any, **changes: Any) -> list[Grade]:
    grades = []
    for episode in bench(folder, **changes).episodes():
        replay(episode, write)
        grades += episode.grade()
    return grades


def test_it_is_a_benchmark(tmp_path: Path) -> None:
    assert isinstance(bench(tmp_path), Benchmark)


def test_a_share_of_the_tasks_that_is_the_students_skill_is_right(tmp_path: Path) -> None:
    made = evaluated(tmp_path / "eval", PhonebookStudent(skill=0.5))
    data = bench(tmp_path).data
    right = [share_of(sample.request) < 0.5 for sample in data]
    assert [grade.correct for grade in grades_of(made.folder)] == right
    found = {score.name: score for score in read_rows(made.folder / SCORES, Score) if not score.slice}
    assert (found["call_accuracy"].value, found["call_accuracy"].n) == (sum(right) / 20, 20)


def test_every_step_has_its_answer_and_every_episode_its_grade(tmp_path: Path) -> None:
    made = evaluated(tmp_path / "eval", PhonebookStudent(skill=1.0))
    answers = predictions_at(made.folder / "predictions.jsonl")
    assert len(answers) == 3 * 20
    assert [grade.sample_id for grade in grades_of(made.folder)] == bench(tmp_path).data.ids()
    assert all(grade.correct for grade in grades_of(made.folder))


def test_an_interrupted_evaluation_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    dying = PhonebookStudent(skill=0.5)
    dying.deaths.append(30)
    with pytest.raises(KeyboardInterrupt):
        evaluated(tmp_path / "a" / "eval", dying)
    again = PhonebookStudent(skill=0.5)
    resumed = evaluated(tmp_path / "a" / "eval", again)
    whole = evaluated(tmp_path / "b" / "eval", PhonebookStudent(skill=0.5))
    assert 0 < len(again.asked) < 60
    assert resumed.record == whole.record
    for name in ("predictions.jsonl", GRADES, SCORES, "stage.json"):
        assert (resumed.folder / name).read_bytes() == (whole.folder / name).read_bytes()


def test_one_that_stops_at_once_has_not_done_it(tmp_path: Path) -> None:
    grades = played(tmp_path, lambda sample: Prediction(sample_id=sample.id, content="no"))
    assert {grade.correct for grade in grades} == {False}
    assert {grade.attempted for grade in grades} == {False}


def test_one_that_calls_on_is_stopped(tmp_path: Path) -> None:
    def calls_on(sample: Sample) -> Prediction:
        return Prediction(sample_id=sample.id, calls=(ToolCall(name="find_number", arguments={"name": "Ada Lind"}),))

    grades = played(tmp_path, calls_on, max_steps=4)
    assert {grade.reason for grade in grades} == {"steps: it called on to the last of 4 answers"}


def test_where_the_model_failed_nothing_is_measured(tmp_path: Path) -> None:
    grades = played(tmp_path, lambda sample: Prediction(sample_id=sample.id, error="model"))
    assert {(grade.correct, grade.error) for grade in grades} == {(None, "model")}


def test_the_first_tasks_are_the_same_for_any_number_of_them(tmp_path: Path) -> None:
    few, many = (bench(tmp_path, num_tasks=number).data.ids() for number in (5, 20))
    assert many[:5] == few
    assert bench(tmp_path, seed=1).data.ids()[0] != few[0]


@pytest.mark.parametrize("change", [{"num_tasks": 0}, {"max_steps": 0}])
def test_no_task_or_no_step_is_refused(change: dict[str, int], tmp_path: Path) -> None:
    spec = {"_target_": "sloop.benchmarks.two_step.TwoStepBenchmark", "name": "two_step", "num_tasks": 5, "seed": 0}
    spec |= {"max_steps": 6, "cache_path": str(tmp_path)}
    with pytest.raises(UserError, match=rf"benchmark\.{next(iter(change))}=0: give a whole number from 1"):
        build(spec | change, "benchmark")
