"""The evaluate stage: a student answers a benchmark, answers are graded and summed up with intervals."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from statistics import mean
from typing import NamedTuple

from sloop.benchmarks.base import Benchmark
from sloop.engine.build import describe
from sloop.engine.executor import concurrent, units_in_flight
from sloop.engine.folder import Stage, stage_key
from sloop.engine.identity import unit_rng
from sloop.judges.base import Judge
from sloop.measures.metrics import pass_hat_scores
from sloop.measures.stats import mean_score
from sloop.records import Checkpoint, Decode, Grade, Judgement, Record, Sample, Score, Step, UserError, trial_id
from sloop.rollout import Episode
from sloop.store import predictions_at, read_rows
from sloop.students.answering import (
    PREDICTIONS,
    Batch,
    answer_batches,
    answer_key,
    answered_batches,
    plan_trials,
    recorded,
)
from sloop.students.base import RemoteStudent, Student

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
    trials: int = 1,
    seed: int = 0,
    experiment: Path | None = None,
    report: Callable[[int, int], None] | None = None,
    retry_failed: bool = False,
) -> Stage:
    """Answer a benchmark and score the answers.

    Args:
        benchmark: the questions and how answers are graded.
        student: who answers.
        checkpoint: with which weights.
        decode: how it answers.
        batch_size: episodes in a batch.
        judge: gives each answer its rubric score (metric ``judge_score``); None leaves that metric out.
        out: the stage's folder: ``predictions.jsonl``, ``grades.jsonl``, ``scores.jsonl``.
        trials: how often every question is asked; from 2 there are metrics ``pass_hat_<k>``.
        seed: of what is drawn, where the temperature is above 0.
        experiment: where a finished stage with the same key is looked for.
        report: told (batches done, batches in all).
        retry_failed: of a finished stage, ask again for the batches in which an answer failed (over a network each
            episode is one) and for the verdicts that failed, and only for those.

    Returns:
        The finished stage; its summary's ``failed`` says how many answers and verdicts could not be had.

    Raises:
        UserError: several trials of a student that can only repeat itself.
    """
    if trials > 1 and not decode.temperature and not isinstance(student, RemoteStudent):
        raise UserError(
            f"trials={trials} at decode.temperature=0: a student in this process gives the likeliest answer, the same "
            "in every trial. Give it a temperature, such as decode.temperature=0.7, or trials=1."
        )
    data = benchmark.data
    decode = decode.model_copy(update={"seed": seed if decode.temperature else 0})
    key = stage_key(
        "evaluate",
        benchmark=describe(benchmark),
        judge=describe(judge) if judge else None,
        trials=trials,
        **answer_key([data], student, checkpoint, decode, batch_size),
    )
    with Stage(out, key, experiment) as stage:
        finished = stage.done  # looked at once: another process may take the stage up meanwhile
        if finished and not (retry_failed and any(stage.summary["failed"].values())):
            return stage
        batches = plan_trials(_first_questions(benchmark), student, batch_size, trials)
        if finished:
            stage.reopen(_kept(stage, benchmark, batches))
        failed = answer_batches(
            stage, benchmark.episodes, student, checkpoint, decode=decode, batches=batches, report=report
        )
        stage.write(GRADES, _grades(stage, benchmark, trials))
        summary = benchmark.score(grades_of(stage))
        if trials > 1:
            summary += pass_hat_scores(grades_of(stage), trials)
        unjudged = 0
        if judge:
            score, unjudged = _judge_answers(stage, benchmark, judge, trials)
            summary.append(score)
        stage.write(SCORES, summary)
        stage.finish(
            {
                "benchmark": benchmark.name,
                "samples": len(data),
                "trials": trials,
                "failed": {"answers": failed, "verdicts": unjudged},
                "notes": benchmark.notes(),
            }
        )
    return stage


def grades_of(stage: Stage) -> Iterator[Grade]:
    """The grades that an evaluation wrote, in the benchmark's order, those of one question's trials together."""
    return read_rows(stage.folder / GRADES, Grade)


def _first_questions(benchmark: Benchmark) -> Iterator[Sample]:
    return (sample for episode in benchmark.episodes() if (sample := episode.ask()) is not None)


class _Played(NamedTuple):
    """An episode that is over, in one of the trials, with its steps."""

    episode: Episode
    trial: int
    steps: list[Step]


def _played(stage: Stage, benchmark: Benchmark, trials: int) -> Iterator[list[_Played]]:
    """Every episode replayed with the recorded answers, in the benchmark's order, its trials together."""
    answers = predictions_at(stage.folder / PREDICTIONS)
    for episodes in zip(*(benchmark.episodes() for _ in range(trials)), strict=True):
        yield [_Played(episode, trial, recorded(episode, answers, trial)) for trial, episode in enumerate(episodes)]


def _grades(stage: Stage, benchmark: Benchmark, trials: int) -> Iterator[Grade]:
    for played in _played(stage, benchmark, trials):
        graded = [[_of_trial(grade, trial) for grade in episode.grade()] for episode, trial, _ in played]
        yield from (grade for decision in zip_longest(*graded) for grade in decision if grade is not None)


def _of_trial(grade: Grade, trial: int) -> Grade:
    return grade.model_copy(update={"trial": trial}) if trial else grade


class _Judged(NamedTuple):
    """An answer that a judge is asked about: where its question is found again."""

    episode_id: str
    sample_id: str
    trial: int


def _answers_to_judge(stage: Stage, benchmark: Benchmark, trials: int) -> Iterator[_Judged]:
    """Every answer of every episode, step by step, those of a step's trials together."""
    for played in _played(stage, benchmark, trials):
        taken = [[_Judged(episode.id, step.asked.id, trial) for step in steps] for episode, trial, steps in played]
        yield from (answer for step in zip_longest(*taken) for answer in step if answer is not None)


def _judge_answers(stage: Stage, benchmark: Benchmark, judge: Judge, trials: int) -> tuple[Score, int]:
    """Mean over questions of the mean rubric score of the answers to them, and how many verdicts could not be had.

    An answer that could not be parsed scores as the judge scores None; where the model failed there is no answer to
    score.
    """
    answers = predictions_at(stage.folder / PREDICTIONS)

    async def work(judged: _Judged) -> list[Judgement]:
        (episode,) = benchmark.episodes([judged.episode_id])
        steps = recorded(episode, answers, judged.trial)
        sample, prediction = next((s.asked, s.answer) for s in steps if s.asked.id == judged.sample_id)
        if prediction.error == "model":
            return []
        rng = unit_rng(0, "evaluate", 0, trial_id(sample.id, judged.trial))
        verdict = (await judge.judge(sample.blind(), [prediction.answer], rng))[0]
        return [Judgement(sample_id=sample.id, verdict=verdict, trial=judged.trial)]

    owed = _answers_to_judge(stage, benchmark, trials)
    units = {_judge_unit(trial_id(judged.sample_id, judged.trial)): judged for judged in owed}
    judged = stage.map(units, work, concurrent(units_in_flight(1, judge)), (Judgement,))
    rubrics: dict[str, list[float]] = {}
    failed = 0
    with stage.writing(JUDGEMENTS) as append:
        for _, records in judged:
            for record in records:
                if not isinstance(record, Judgement):
                    failed += 1
                    continue
                append[JUDGEMENTS](record)
                if record.verdict.rubric:
                    rubrics.setdefault(record.sample_id, []).append(record.verdict.rubric.score)
    return mean_score("judge_score", [mean(scores) for scores in rubrics.values()]), failed


def _kept(stage: Stage, benchmark: Benchmark, batches: Mapping[str, Batch]) -> Iterator[tuple[str, Sequence[Record]]]:
    """The units of a finished evaluation that did not fail: batches of answers, and the verdicts on these answers."""
    kept: set[str] = set()
    for key, answers in answered_batches(stage, benchmark.episodes, batches):
        kept.update(trial_id(answer.sample_id, answer.trial) for answer in answers)
        yield key, answers
    path = stage.folder / JUDGEMENTS
    for judgement in read_rows(path, Judgement) if path.is_file() else ():
        if (answer_id := trial_id(judgement.sample_id, judgement.trial)) in kept:
            yield _judge_unit(answer_id), [judgement]


def _judge_unit(answer_id: str) -> str:
    return f"j-{answer_id}"
