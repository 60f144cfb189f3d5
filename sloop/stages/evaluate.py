"""The evaluate stage: a student answers a benchmark, answers are graded and summed up with intervals."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any, ClassVar

from sloop.benchmarks.base import Benchmark
from sloop.engine.build import Components
from sloop.engine.executor import Worker, units_in_flight
from sloop.engine.identity import unit_rng
from sloop.engine.stage import Desk
from sloop.judges.base import Judge
from sloop.measures.metrics import pass_hat_scores
from sloop.measures.stats import mean_score
from sloop.records import Checkpoint, Decode, Grade, Judgement, Record, Score, UserError, trial_id
from sloop.stages.probe import ANSWERING, PREDICTIONS, Answering, Batch, answer_all, answered_batches, plan_trials
from sloop.store import Dataset, predictions_at, read_rows
from sloop.students.base import RemoteStudent, Student

GRADES, SCORES, JUDGEMENTS = "grades.jsonl", "scores.jsonl", "judgements.jsonl"


class EvaluateSummary(Record):
    """What an evaluation made."""

    benchmark: str
    samples: int
    trials: int
    failed: dict[str, int]
    """Answers and verdicts that could not be had."""
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Answer a benchmark and score the answers: ``predictions.jsonl``, ``grades.jsonl``, ``scores.jsonl``.

    Where it is taken up again for what failed, the batches in which an answer failed are asked again (over a network
    each sample is one) and the verdicts that failed.
    """

    name: ClassVar[str] = "evaluate"
    MODULES: ClassVar[tuple[str, ...]] = (
        *ANSWERING, "sloop.calls.formats", "sloop.calls.match.normalise", "sloop.calls.match.strict",
        "sloop.calls.schema", "sloop.measures.metrics", "sloop.measures.stats", "sloop.records.judging",
        "sloop.stages.evaluate",
    )  # fmt: skip
    summary_type: ClassVar[type[EvaluateSummary]] = EvaluateSummary

    benchmark: Any
    """The questions and how answers are graded."""
    data: Dataset
    """The questions."""
    student: Any
    checkpoint: Checkpoint
    decode: Decode
    batch_size: int
    judge: Any = None
    """Gives each answer its rubric score (metric ``judge_score``); None leaves that metric out."""
    trials: int = 1
    """How often every question is asked; from 2 there are metrics ``pass_hat_<k>``."""
    seed: int = 0
    """Of what is drawn, where the temperature is above 0."""

    def __post_init__(self) -> None:
        """A seed of which nothing is drawn is none."""
        object.__setattr__(self, "seed", self.seed if self.decode.temperature else 0)

    def check(self, components: Components) -> None:
        """Raise a `UserError` for several trials of a student that can only repeat itself."""
        student = components.get(self.student, Student, "student")
        if self.trials > 1 and not self.decode.temperature and not isinstance(student, RemoteStudent):
            raise UserError(
                f"trials={self.trials} at decode.temperature=0: a student in this process gives the likeliest answer, "
                "the same in every trial. Give it a temperature, such as decode.temperature=0.7, or trials=1."
            )

    def make(self, desk: Desk) -> EvaluateSummary:
        """Answer, grade, score."""
        benchmark = desk.part(self.benchmark, Benchmark, "benchmark")
        task = Answering(
            student=self.student,
            checkpoint=self.checkpoint,
            datasets=(self.data,),
            decode=self.decode.model_copy(update={"seed": self.seed}),
        )
        failed = answer_all(desk, task, self.batches(desk), "evaluate")
        desk.write(GRADES, _grades(desk.folder, benchmark, self.trials))
        summary = benchmark.score(grades_of(desk.folder))
        if self.trials > 1:
            summary += pass_hat_scores(grades_of(desk.folder), self.trials)
        unjudged = 0
        if self.judge is not None:
            score, unjudged = _judge_answers(self, desk)
            summary.append(score)
        desk.write(SCORES, summary)
        return EvaluateSummary(
            benchmark=benchmark.name,
            samples=len(self.data),
            trials=self.trials,
            failed={"answers": failed, "verdicts": unjudged},
            notes=tuple(benchmark.notes()),
        )

    def batches(self, desk: Desk) -> dict[str, Batch]:
        """Fixed before anything runs."""
        student = desk.part(self.student, Student, "student")
        return plan_trials([self.data], student, self.batch_size, self.trials)

    def kept(self, desk: Desk) -> Iterator[tuple[str, Sequence[Record]]]:
        """The units that did not fail: batches of answers, and the verdicts on these answers."""
        kept: set[str] = set()
        for key, answers in answered_batches(desk.folder, self.batches(desk)):
            kept.update(trial_id(answer.sample_id, answer.trial) for answer in answers)
            yield key, answers
        path = desk.folder / JUDGEMENTS
        for judgement in read_rows(path, Judgement) if path.is_file() else ():
            if (answer_id := trial_id(judgement.sample_id, judgement.trial)) in kept:
                yield _judge_unit(answer_id), [judgement]


def grades_of(folder: Path) -> Iterator[Grade]:
    """The grades that an evaluation wrote, in the benchmark's order, those of one sample's trials together."""
    return read_rows(folder / GRADES, Grade)


def _grades(folder: Path, benchmark: Benchmark, trials: int) -> Iterator[Grade]:
    answers = predictions_at(folder / PREDICTIONS)
    for sample in benchmark.data:
        for answer in answers.pick(trial_id(sample.id, trial) for trial in range(trials)):
            grade = benchmark.grade(sample, answer)
            yield grade.model_copy(update={"trial": answer.trial}) if answer.trial else grade


async def judge_answer(task: Evaluate, worker: Worker, answer_id: str) -> list[Judgement]:
    """The verdict on one answer; none where the model failed, as there is no answer to judge."""
    answers = worker.opened("answers", lambda: predictions_at(worker.folder / PREDICTIONS))
    prediction = next(answers.pick([answer_id]))
    sample = next(task.data.pick([prediction.sample_id]))
    if prediction.error == "model":
        return []
    judge = worker.part(task.judge, Judge, "judge")
    verdict = (await judge.judge(sample.blind(), [prediction.answer], unit_rng(0, "evaluate", 0, answer_id)))[0]
    return [Judgement(sample_id=sample.id, verdict=verdict, trial=prediction.trial)]


def _judge_answers(stage: Evaluate, desk: Desk) -> tuple[Score, int]:
    """Mean over samples of the mean rubric score of their answers, and how many verdicts could not be had.

    An answer that could not be parsed scores as the judge scores None; where the model failed there is no answer to
    score.
    """
    ids = (trial_id(sample_id, trial) for sample_id in stage.data.ids() for trial in range(stage.trials))
    units = {_judge_unit(answer_id): answer_id for answer_id in ids}
    width = units_in_flight(1, desk.part(stage.judge, Judge, "judge"))
    rubrics: dict[str, list[float]] = {}
    failed = 0
    with desk.writing(JUDGEMENTS) as append:
        for _, records in desk.map([units], judge_answer, stage, (Judgement,), width=width):
            for record in records:
                if not isinstance(record, Judgement):
                    failed += 1
                    continue
                append[JUDGEMENTS](record)
                if record.verdict.rubric:
                    rubrics.setdefault(record.sample_id, []).append(record.verdict.rubric.score)
    return mean_score("judge_score", [mean(scores) for scores in rubrics.values()]), failed


def _judge_unit(answer_id: str) -> str:
    return f"j-{answer_id}"
