"""The evaluate stage: a student answers a benchmark, answers are graded and summed up with intervals."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from statistics import mean
from typing import Any, ClassVar, NamedTuple

from pydantic import Field

from sloop.benchmarks.base import Benchmark
from sloop.engine.build import Components
from sloop.engine.executor import Worker
from sloop.engine.identity import known_as, unit_rng
from sloop.engine.stage import Desk
from sloop.environments.domains import MODULES as RUNNING
from sloop.judges.base import Judge
from sloop.measures.constants import constant_grades, headline_scores, named
from sloop.measures.metrics import pass_hat_scores
from sloop.measures.stats import mean_score
from sloop.records import Decode, Grade, Judgement, Record, Sample, Score, Step, UserError, digest, trial_id
from sloop.rollout import Episode, Spoken
from sloop.store import Dataset, predictions_at, read_rows
from sloop.students import answering
from sloop.students.answering import PREDICTIONS, Asking, answer_all, answered_batches, recorded
from sloop.students.base import AnsweredStudent, Identified, NotedStudent, RemoteStudent, Student

GRADES, SCORES, JUDGEMENTS = "grades.jsonl", "scores.jsonl", "judgements.jsonl"


class EvaluateSummary(Record):
    """What an evaluation made."""

    benchmark: str
    samples: int
    trials: int
    failed: dict[str, int]
    """Answers and verdicts that could not be had."""
    notes: tuple[str, ...]
    identity: dict[str, str] = Field(default_factory=dict)
    """What the scores depend on that no setting names: prompts and tools as they were asked, and how the student was
    asked and read (`sloop.students.base.Identified`). Compared by `sloop compare`."""


@dataclass(frozen=True, kw_only=True)
class Evaluate(Asking):
    """Answer a benchmark and score the answers: ``predictions.jsonl``, ``grades.jsonl``, ``scores.jsonl``.

    Where it is taken up again for what failed, the batches in which an answer failed are asked again (over a network
    each sample is one) and the verdicts that failed.
    """

    name: ClassVar[str] = "evaluate"
    MODULES: ClassVar[tuple[str, ...]] = (
        *answering.MODULES, "sloop.calls.formats", "sloop.calls.match.normalise", "sloop.calls.match.strict",
        "sloop.calls.schema", "sloop.measures.constants", "sloop.measures.metrics", "sloop.measures.stats",
        "sloop.records.judging", "sloop.stages.evaluate", *RUNNING,
    )  # fmt: skip
    summary_type: ClassVar[type[EvaluateSummary]] = EvaluateSummary

    benchmark: Any
    """The questions and how answers are graded."""
    data: Dataset
    """The questions."""
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
        if self.trials > 1 and isinstance(student, AnsweredStudent):
            raise UserError(f"trials={self.trials}: every question was answered once in {student.answered}: trials=1")
        if self.trials > 1 and not self.decode.temperature and not isinstance(student, RemoteStudent):
            benchmark = components.get(self.benchmark, Benchmark, "benchmark")
            if isinstance(next(benchmark.episodes(), None), Spoken):  # its user is drawn anew in every trial
                return
            raise UserError(
                f"trials={self.trials} at decode.temperature=0: a student in this process gives the likeliest answer, "
                "the same in every trial. Give it a temperature, such as decode.temperature=0.7, or trials=1."
            )

    def make(self, desk: Desk) -> EvaluateSummary:
        """Answer, grade, score."""
        benchmark = desk.part(self.benchmark, Benchmark, "benchmark")
        student = desk.part(self.student, Student, "student")
        failed = answer_all(desk, self, self.batches(desk, self.trials), "evaluate")
        desk.write(GRADES, _grades(desk.folder, benchmark, self.trials))
        summary = _scores(benchmark, list(grades_of(desk.folder)))
        if self.trials > 1:
            summary += pass_hat_scores(grades_of(desk.folder), self.trials)
        unjudged = 0
        if self.judge is not None:
            judged, unjudged = _judge_answers(self, desk)
            summary += judged
        asked, constants = _constants(digest([known_as(self.benchmark), self.data.sha256]), benchmark)
        desk.write(SCORES, [*summary, *constants])
        read = student.identity(self.checkpoint) if isinstance(student, Identified) else {}
        return EvaluateSummary(
            benchmark=benchmark.name,
            samples=len(self.data),
            trials=self.trials,
            failed={"answers": failed, "verdicts": unjudged},
            notes=(*benchmark.notes(), *(student.notes(self.data) if isinstance(student, NotedStudent) else ())),
            identity={**asked, **read},
        )

    @property
    def decoding(self) -> Decode:
        """How the student answers, in the first trial."""
        return self.decode.model_copy(update={"seed": self.seed})

    def opened(self, components: Components, ids: Sequence[str]) -> Iterator[Episode]:
        """Fresh episodes of the benchmark."""
        return components.get(self.benchmark, Benchmark, "benchmark").episodes(ids)

    def questions(self, components: Components) -> Iterator[Sample]:
        """The first question of every episode of the benchmark."""
        episodes = components.get(self.benchmark, Benchmark, "benchmark").episodes()
        return (sample for episode in episodes if (sample := episode.ask()) is not None)

    def kept(self, desk: Desk) -> Iterator[tuple[str, Sequence[Record]]]:
        """The units that did not fail: batches of answers, and the verdicts on these answers."""
        kept: set[str] = set()
        for key, answers in answered_batches(desk, self, self.batches(desk, self.trials)):
            kept.update(trial_id(answer.sample_id, answer.trial) for answer in answers)
            yield key, answers
        path = desk.folder / JUDGEMENTS
        for judgement in read_rows(path, Judgement) if path.is_file() else ():
            if (answer_id := trial_id(judgement.sample_id, judgement.trial)) in kept:
                yield _judge_unit(answer_id), [judgement]


def grades_of(folder: Path) -> Iterator[Grade]:
    """The grades that an evaluation wrote, in the benchmark's order, those of one question's trials together."""
    return read_rows(folder / GRADES, Grade)


def _scores(benchmark: Benchmark, grades: list[Grade]) -> list[Score]:
    return [*headline_scores(grades), *benchmark.score(grades)]


_CONSTANTS: dict[str, tuple[dict[str, str], list[Score]]] = {}
"""By benchmark: it is played once in a process, as the constant answers are the same in every round of a loop."""


def _constants(key: str, benchmark: Benchmark) -> tuple[dict[str, str], list[Score]]:
    """What a benchmark asks, by digests, and the scores of the answers that read none of it."""
    if key not in _CONSTANTS:
        asked, graded = constant_grades(benchmark.episodes)
        scores = [named(answer, score) for answer, grades in graded.items() for score in _scores(benchmark, grades)]
        _CONSTANTS[key] = asked.identity(), scores
    return _CONSTANTS[key]


class _Played(NamedTuple):
    """An episode that is over, in one of the trials, with its steps."""

    episode: Episode
    trial: int
    steps: list[Step]


def _played(folder: Path, benchmark: Benchmark, trials: int) -> Iterator[list[_Played]]:
    """Every episode replayed with the recorded answers, in the benchmark's order, its trials together."""
    answers = predictions_at(folder / PREDICTIONS)
    for episodes in zip(*(benchmark.episodes() for _ in range(trials)), strict=True):
        yield [_Played(episode, trial, recorded(episode, answers, trial)) for trial, episode in enumerate(episodes)]


def _grades(folder: Path, benchmark: Benchmark, trials: int) -> Iterator[Grade]:
    for played in _played(folder, benchmark, trials):
        graded = [[_of_trial(grade, trial) for grade in episode.grade()] for episode, trial, _ in played]
        yield from (grade for decision in zip_longest(*graded) for grade in decision if grade is not None)


def _of_trial(grade: Grade, trial: int) -> Grade:
    return grade.model_copy(update={"trial": trial}) if trial else grade


class Judged(NamedTuple):
    """An answer that a judge is asked about: where its question is found again."""

    episode_id: str
    sample_id: str
    trial: int


def _answers_to_judge(folder: Path, benchmark: Benchmark, trials: int) -> Iterator[Judged]:
    """Every answer of every episode, step by step, those of a step's trials together."""
    for played in _played(folder, benchmark, trials):
        taken = [[Judged(episode.id, step.asked.id, trial) for step in steps] for episode, trial, steps in played]
        yield from (answer for step in zip_longest(*taken) for answer in step if answer is not None)


async def judge_answer(task: Evaluate, worker: Worker, judged: Judged) -> list[Judgement]:
    """The verdict on one answer; none where the model failed, as there is no answer to judge."""
    answers = worker.opened("answers", lambda: predictions_at(worker.folder / PREDICTIONS))
    (episode,) = task.opened(worker.components, [judged.episode_id])
    steps = recorded(episode, answers, judged.trial)
    sample, prediction = next((s.asked, s.answer) for s in steps if s.asked.id == judged.sample_id)
    if prediction.error == "model":
        return []
    judge = worker.part(task.judge, Judge, "judge")
    rng = unit_rng(0, "evaluate", 0, trial_id(sample.id, judged.trial))
    verdict = (await judge.judge(sample.blind(), [prediction.answer], rng))[0]
    return [Judgement(sample_id=sample.id, verdict=verdict, trial=judged.trial)]


def _judge_answers(stage: Evaluate, desk: Desk) -> tuple[list[Score], int]:
    """``judge_score``, the mean over questions of the mean rubric score of the answers to them, and where there are any
    ``response_quality``, the same of final answers, which call nothing; and how many verdicts could not be had.

    An answer that could not be parsed scores as the judge scores None; where the model failed there is no answer to
    score.
    """
    owed = _answers_to_judge(desk.folder, desk.part(stage.benchmark, Benchmark, "benchmark"), stage.trials)
    units = {_judge_unit(trial_id(judged.sample_id, judged.trial)): judged for judged in owed}
    width = desk.executor.width(desk.part(stage.judge, Judge, "judge"))
    answers = predictions_at(desk.folder / PREDICTIONS)
    final = {trial_id(each.sample_id, each.trial) for each in answers if not (each.calls or each.error)}
    rubrics: dict[str, list[float]] = {}
    qualities: dict[str, list[float]] = {}
    failed = 0
    with desk.writing(JUDGEMENTS) as append:
        for _, records in desk.map([units], judge_answer, stage, (Judgement,), width=width):
            for record in records:
                if not isinstance(record, Judgement):
                    failed += 1
                    continue
                append[JUDGEMENTS](record)
                if rubric := record.verdict.rubric:
                    rubrics.setdefault(record.sample_id, []).append(rubric.score)
                    if trial_id(record.sample_id, record.trial) in final:
                        qualities.setdefault(record.sample_id, []).append(rubric.score)
    measured = {"judge_score": rubrics} | ({"response_quality": qualities} if qualities else {})
    return [mean_score(name, [mean(one) for one in scores.values()]) for name, scores in measured.items()], failed


def _judge_unit(answer_id: str) -> str:
    return f"j-{answer_id}"
