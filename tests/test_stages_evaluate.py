"""The evaluate stage: every question answered once, graded, summed up."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

import pytest
from acme_tools import LookupStudent, StrictJudge, share_of
from running import questions

from sloop.benchmarks.base import Benchmark, SampleBenchmark
from sloop.engine.stage import Made, Place, run_stage
from sloop.records import Checkpoint, Decode, Judgement, Label, Prediction, Rubric, Sample, Score, UserError, Verdict
from sloop.stages.evaluate import GRADES, JUDGEMENTS, PREDICTIONS, SCORES, Evaluate, EvaluateSummary, grades_of
from sloop.store import Dataset, predictions_at, read_rows, write_rows

Finished = Made[EvaluateSummary]


@pytest.fixture
def benchmark() -> SampleBenchmark:
    return SampleBenchmark(name="dev", path=str(questions()))


@pytest.fixture
def few(tmp_path: Path) -> SampleBenchmark:
    write_rows(tmp_path / "few.jsonl", islice(Dataset(questions()), 24))
    return SampleBenchmark(name="few", path=str(tmp_path / "few.jsonl"))


class DrawingStudent(LookupStudent):
    """Right in a share of the trials that is its skill; fails a batch that holds an unlucky sample."""

    unlucky: frozenset[str] = frozenset()
    asked = 0

    def predict(self, samples: Sequence[Sample], decode: Decode) -> list[Prediction]:
        self.asked += len(samples)
        if self.unlucky & {sample.id for sample in samples}:
            raise RuntimeError("no memory")
        lucky = (share_of(s.id, str(decode.trial), str(decode.seed)) < self.skill for s in samples)
        return [
            Prediction(sample_id=s.id, calls=s.label.calls if right and s.label else (), content="no", logprob=-1 / 3)
            for s, right in zip(samples, lucky, strict=True)
        ]


class FailingJudge(StrictJudge):
    """Fails at one sample as long as it is told to."""

    def __init__(self) -> None:
        super().__init__(abstain=0.0)
        self._fails: set[str] = set()

    async def judge(self, sample: Sample, answers: Sequence[Label | None], rng: Random) -> list[Verdict]:
        if sample.id in self._fails:
            raise RuntimeError("no answer")
        return [
            Verdict(correct=True, rubric=Rubric(tool_relevance=0.4, argument_quality=share_of(sample.id), clarity=0))
        ]


def drawn(out: Path, benchmark: SampleBenchmark, student: LookupStudent | None = None, **changes: Any) -> Finished:
    place = Place(out, report=changes.pop("report", None), retry_failed=changes.pop("retry_failed", False))
    student = student or DrawingStudent(name="drawing", skill=0.7)
    settings: dict[str, Any] = {
        "benchmark": benchmark,
        "data": benchmark.data,
        "student": student,
        "checkpoint": student.start(benchmark.data, seed=0, out=out.parent / "start"),
        "decode": Decode(temperature=0.7),
        "batch_size": 4,
        "judge": FailingJudge(),
        "trials": 3,
    }
    return run_stage(Evaluate(**{**settings, **changes}), place)


def evaluated(out: Path, benchmark: SampleBenchmark, *, skill: float = 0.5, batch_size: int = 16) -> Finished:
    student = LookupStudent(name="acme", skill=skill)
    checkpoint: Checkpoint = student.start(benchmark.data, seed=0, out=out.parent / f"start-{skill}")
    stage = Evaluate(
        benchmark=benchmark,
        data=benchmark.data,
        student=student,
        checkpoint=checkpoint,
        decode=Decode(),
        batch_size=batch_size,
        judge=StrictJudge(abstain=0.0),
    )
    return run_stage(stage, Place(out))


def scores(stage: Finished) -> dict[str, Score]:
    return {score.name: score for score in read_rows(stage.folder / SCORES, Score) if not score.slice}


def test_every_question_is_answered_and_graded_once(tmp_path: Path, benchmark: SampleBenchmark) -> None:
    stage = evaluated(tmp_path / "eval", benchmark)
    ids = benchmark.data.ids()
    assert sorted(predictions_at(stage.folder / "predictions.jsonl").ids()) == sorted(ids)
    assert [grade.sample_id for grade in grades_of(stage.folder)] == ids


def test_scores_are_the_mean_of_the_grades(tmp_path: Path, benchmark: SampleBenchmark) -> None:
    stage = evaluated(tmp_path / "eval", benchmark)
    grades = list(grades_of(stage.folder))
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


# --- trials ---


def test_every_question_is_answered_in_every_trial(tmp_path: Path, few: SampleBenchmark) -> None:
    stage = drawn(tmp_path / "eval", few)
    grades = list(grades_of(stage.folder))
    assert [(g.sample_id, g.trial) for g in grades] == [(i, t) for i in few.data.ids() for t in range(3)]
    found = scores(stage)
    assert found["call_accuracy"].value == sum(bool(g.correct) for g in grades) / len(grades)
    assert (found["pass_hat_1"].value, found["pass_hat_1"].n) == (pytest.approx(found["call_accuracy"].value), 24)
    all_right = [all(g.correct for g in grades[start : start + 3]) for start in range(0, len(grades), 3)]
    assert found["pass_hat_3"].value == pytest.approx(sum(all_right) / len(all_right))
    assert found["judge_score"].n == 24
    assert stage.summary.trials == 3


def test_response_quality_is_the_judges_score_of_answers_that_call_nothing(
    tmp_path: Path, few: SampleBenchmark
) -> None:
    stage = drawn(tmp_path / "eval", few, trials=1)
    final = {p.sample_id for p in predictions_at(stage.folder / PREDICTIONS) if not p.calls}
    said = [
        judged.verdict.rubric.score
        for judged in read_rows(stage.folder / JUDGEMENTS, Judgement)
        if judged.sample_id in final and judged.verdict.rubric
    ]
    quality = scores(stage)["response_quality"]
    assert 0 < quality.n == len(said) < 24
    assert quality.value == pytest.approx(sum(said) / len(said))
    assert quality.low is not None
    assert "execution_success" not in scores(stage)  # nothing can be run here


def test_one_trial_leaves_no_word_of_trials_in_the_files(tmp_path: Path, few: SampleBenchmark) -> None:
    stage = drawn(tmp_path / "eval", few, trials=1)
    for path in stage.folder.glob("*.jsonl"):
        assert "trial" not in path.read_text()
        assert "pass_hat" not in path.read_text()


def test_trials_do_not_depend_on_the_size_of_a_batch_and_do_on_the_seed(tmp_path: Path, few: SampleBenchmark) -> None:
    first, second = (drawn(tmp_path / f"b{size}", few, batch_size=size) for size in (4, 50))
    other = drawn(tmp_path / "seed", few, seed=1)
    assert (first.folder / GRADES).read_bytes() == (second.folder / GRADES).read_bytes()
    assert (first.folder / GRADES).read_bytes() != (other.folder / GRADES).read_bytes()


def test_another_number_of_trials_or_another_temperature_needs_another_folder(
    tmp_path: Path, few: SampleBenchmark
) -> None:
    drawn(tmp_path / "eval", few)
    for change, differing in (({"trials": 2}, "trials"), ({"decode": Decode(temperature=0.8)}, "decode")):
        with pytest.raises(UserError, match=rf"differing: {differing}\)"):
            drawn(tmp_path / "eval", few, **change)


def test_the_seed_is_no_part_of_what_a_greedy_evaluation_depends_on(tmp_path: Path, few: SampleBenchmark) -> None:
    keys = [
        drawn(tmp_path / f"{seed}-{decode.temperature}" / "eval", few, decode=decode, trials=1, seed=seed).key
        for decode in (Decode(), Decode(temperature=0.7))
        for seed in (0, 1)
    ]
    assert keys[0] == keys[1] != keys[2] != keys[3] != keys[0]


def test_trials_of_a_greedy_student_in_this_process_are_refused(tmp_path: Path, few: SampleBenchmark) -> None:
    with pytest.raises(UserError, match=r"trials=3 at decode\.temperature=0: .* decode\.temperature=0\.7"):
        drawn(tmp_path / "eval", few, decode=Decode())
    assert not (tmp_path / "eval").exists()


# --- failures, asked for again ---


def test_what_failed_is_asked_for_again_and_the_result_is_that_of_no_failure(
    tmp_path: Path, benchmark: SampleBenchmark
) -> None:
    student, judge = DrawingStudent(name="drawing", skill=0.7), FailingJudge()
    ids = benchmark.data.ids()
    student.unlucky, judge._fails = frozenset(ids[:1]), {ids[-1]}
    given = {"student": student, "judge": judge}
    failed = drawn(tmp_path / "a" / "eval", benchmark, **given).summary.failed
    assert failed == {"answers": 12, "verdicts": 3}
    student.unlucky, judge._fails = frozenset(), set()
    before, asked = (tmp_path / "a" / "eval" / SCORES).read_bytes(), student.asked
    drawn(tmp_path / "a" / "eval", benchmark, **given)
    assert (student.asked, (tmp_path / "a" / "eval" / SCORES).read_bytes()) == (asked, before)
    drawn(tmp_path / "a" / "eval", benchmark, **given, retry_failed=True)
    assert student.asked == asked + 12
    whole = drawn(tmp_path / "b" / "eval", benchmark)
    for path in whole.folder.glob("*.json*"):
        assert path.read_bytes() == (tmp_path / "a" / "eval" / path.name).read_bytes(), path.name


def test_an_evaluation_without_failures_is_not_taken_up_again(tmp_path: Path, few: SampleBenchmark) -> None:
    before = (drawn(tmp_path / "eval", few).folder / SCORES).stat().st_mtime_ns
    assert (drawn(tmp_path / "eval", few, retry_failed=True).folder / SCORES).stat().st_mtime_ns == before


def test_a_retry_that_is_cut_short_leaves_the_result_as_it_was_and_is_gone_on_with(
    tmp_path: Path, benchmark: SampleBenchmark
) -> None:
    student = DrawingStudent(name="drawing", skill=0.7)
    student.unlucky = frozenset(benchmark.data.ids()[:1])
    drawn(tmp_path / "eval", benchmark, student)
    before = {path.name: path.read_bytes() for path in (tmp_path / "eval").glob("*.json*")}
    student.unlucky = frozenset()

    def stop(what: str, done: int, total: int) -> None:
        if total == 90 and done == 88:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        drawn(tmp_path / "eval", benchmark, student, retry_failed=True, report=stop)
    after = {path.name: path.read_bytes() for path in (tmp_path / "eval").glob("*.json*") if path.name in before}
    assert after == before
    asked = student.asked
    again = drawn(tmp_path / "eval", benchmark, student, retry_failed=True)
    assert (student.asked - asked, again.summary.failed["answers"]) == (8, 0)


# --- what stands beside the scores, and what they depend on ---


class ReadingStudent(DrawingStudent):
    """Says how it is asked and read."""

    def identity(self, checkpoint: Checkpoint) -> dict[str, str]:
        return {"parser": "hermes", "template": checkpoint.digest[:4]}


def test_constant_answers_stand_beside_the_scores_and_a_headline_that_they_do_not_win(
    tmp_path: Path, benchmark: SampleBenchmark
) -> None:
    found = scores(evaluated(tmp_path / "eval", benchmark))
    refusals = sum(not (sample.label or Label()).calls for sample in benchmark.data) / len(benchmark.data)
    assert found["baseline/always_refuse/call_accuracy"].value == pytest.approx(refusals)
    for answer in ("always_refuse", "most_frequent_tool"):
        assert found[f"baseline/{answer}/harmonic_accuracy"].value == 0.0
    headline = found["harmonic_accuracy"]
    assert headline.value is not None
    assert headline.low is not None
    assert 0 < headline.low < headline.value


def test_an_evaluation_records_what_no_setting_names(tmp_path: Path, few: SampleBenchmark) -> None:
    known = drawn(tmp_path / "a" / "eval", few, ReadingStudent(name="drawing", skill=0.7)).summary.identity
    assert set(known) == {"prompt", "tools", "parser", "template"}
    assert known["parser"] == "hermes"
    silent = drawn(tmp_path / "b" / "eval", few).summary.identity
    assert silent == {name: known[name] for name in ("prompt", "tools")}


def test_trials_say_how_often_answers_flip(tmp_path: Path, few: SampleBenchmark) -> None:
    stage = drawn(tmp_path / "eval", few)
    right = [bool(grade.correct) for grade in grades_of(stage.folder)]
    pairs = [(right[k], right[k + 1], right[k + 2]) for k in range(0, len(right), 3)]
    share = sum(((a != b) + (a != c) + (b != c)) / 3 for a, b, c in pairs) / len(pairs)
    assert scores(stage)["flip_rate"].value == pytest.approx(share)
