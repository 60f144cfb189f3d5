"""The evaluate stage: a student answers a benchmark, answers are graded and summed up with intervals."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from sloop.build import describe
from sloop.evaluate.benchmarks import Benchmark
from sloop.evaluate.metrics import Grade
from sloop.evaluate.stats import mean_score
from sloop.executor import concurrent
from sloop.gen import unit_rng
from sloop.probe import PREDICTIONS, answer_batches, answer_key
from sloop.store import Stage, predictions_at, read_rows, stage_key
from sloop.students.base import Student
from sloop.teachers.base import Judge, units_in_flight
from sloop.types import Checkpoint, Decode, Judgement, Score

GRADES, SCORES, JUDGEMENTS = "grades.jsonl", "scores.jsonl", "judgements.jsonl"


def evaluate(
    *,
    benchmark: Benchmark,
    student: Student,
    checkpoint: Checkpoint,
    decode: Decode,
    batch_size: int,
    judge: Judge | None,
    out: Path,
    experiment: Path | None = None,
    report: Callable[[int, int], None] | None = None,
) -> Stage:
    """Answer a benchmark greedily and score the answers.

    Args:
        benchmark: the questions and how answers are graded.
        student: who answers.
        checkpoint: with which weights.
        decode: how long an answer may get.
        batch_size: samples in a batch.
        judge: gives each answer its rubric score (metric ``judge_score``); None leaves that metric out.
        out: the stage's folder: ``predictions.jsonl``, ``grades.jsonl``, ``scores.jsonl``.
        experiment: where a finished stage with the same key is looked for.
        report: told (batches done, batches in all).

    Returns:
        The finished stage.
    """
    data = benchmark.data
    key = stage_key(
        "evaluate",
        benchmark=describe(benchmark),
        judge=describe(judge) if judge else None,
        **answer_key([data], student, checkpoint, decode, batch_size),
    )
    with Stage(out, key, experiment) as stage:
        if stage.done:
            return stage
        answer_batches(stage, [data], student, checkpoint, decode=decode, batch_size=batch_size, report=report)
        answers = predictions_at(stage.folder / PREDICTIONS)
        pairs = zip(data, answers.pick(data.ids()), strict=True)
        stage.write(GRADES, (benchmark.grade(sample, answer) for sample, answer in pairs))
        summary = benchmark.score(grades_of(stage))
        if judge:
            summary.append(_judge_answers(stage, benchmark, judge))
        stage.write(SCORES, summary)
        stage.finish({"benchmark": benchmark.name, "samples": len(data), "notes": benchmark.notes()})
    return stage


def grades_of(stage: Stage) -> Iterator[Grade]:
    """The grades that an evaluation wrote, in the benchmark's order."""
    return read_rows(stage.folder / GRADES, Grade)


def _judge_answers(stage: Stage, benchmark: Benchmark, judge: Judge) -> Score:
    """Mean rubric score of the answers; one that could not be parsed scores as the judge scores None, and where the
    model failed there is no answer to score.
    """
    answers = predictions_at(stage.folder / PREDICTIONS)

    async def work(sample_id: str) -> list[Judgement]:
        sample = next(benchmark.data.pick([sample_id]))
        prediction = next(answers.pick([sample_id]))
        if prediction.error == "model":
            return []
        verdict = (await judge.judge(sample.blind(), [prediction.answer], unit_rng(0, "evaluate", 0, sample_id)))[0]
        return [Judgement(sample_id=sample_id, verdict=verdict)]

    units = {f"j-{sample_id}": sample_id for sample_id in benchmark.data.ids()}
    judged = stage.map(units, work, concurrent(units_in_flight(1, judge)), (Judgement,))
    rubrics: list[float] = []
    with stage.writing(JUDGEMENTS) as append:
        for _, records in judged:
            for record in records:
                append[JUDGEMENTS](record)
                if isinstance(record, Judgement) and record.verdict.rubric:
                    rubrics.append(record.verdict.rubric.score)
    return mean_score("judge_score", rubrics)
