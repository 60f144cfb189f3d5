"""The engine behind probe and evaluate: episodes in batches that are fixed beforehand, answered, kept, asked again."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sloop.engine.build import Components
from sloop.engine.executor import Worker
from sloop.engine.stage import Desk
from sloop.records import Checkpoint, Decode, Prediction, Record, Rejected, Sample, Step, trial_id
from sloop.rollout import Episode, replay, rollout
from sloop.store import Rows, predictions_at
from sloop.students.base import RemoteStudent, SharingStudent, Student

MODULES = (
    "sloop.records.base",
    "sloop.records.episodes",
    "sloop.records.samples",
    "sloop.rollout",
    "sloop.students.answering",
)
"""The modules whose code can change answers, beside the student's."""
PREDICTIONS = "predictions.jsonl"
BEGINNING = 80
"""Characters of a message by which samples with the same tools are ordered."""


class Batch(NamedTuple):
    """Episodes that are answered together, for one of the trials."""

    trial: int
    ids: list[str]


@dataclass(frozen=True, kw_only=True)
class Asking(ABC):
    """A stage that has a student answer. It can be sent to where that is done."""

    student: Any
    """The specification of who answers."""
    checkpoint: Checkpoint
    """With which weights."""
    decode: Decode
    batch_size: int
    """Episodes in a batch, where the student takes batches."""

    @property
    def decoding(self) -> Decode:
        """How the student answers, in the first trial."""
        return self.decode

    @abstractmethod
    def questions(self, components: Components) -> Iterable[Sample]:
        """The first question of every episode."""

    @abstractmethod
    def opened(self, components: Components, ids: Sequence[str]) -> Iterable[Episode]:
        """Fresh episodes with these ids, in this order."""

    def batches(self, desk: Desk, trials: int = 1) -> dict[str, Batch]:
        """What is answered together, fixed before anything runs; see `plan_trials`."""
        student = desk.part(self.student, Student, "student")
        return plan_trials(self.questions(desk.executor.components), student, self.batch_size, trials)


def prompt_size(sample: Sample) -> int:
    """A cheap stand-in for the prompt's length, by which episodes are put into batches of similar length."""
    listing = sum(len(tool.name) + sum(map(len, tool.properties)) for tool in sample.tools)
    return listing + sum(len(message.content) for message in sample.messages)


def beginning(sample: Sample) -> tuple[list[str], list[str]]:
    """What a prompt begins with: those that begin alike are put into one batch."""
    return [tool.name for tool in sample.tools], [message.content[:BEGINNING] for message in sample.messages]


def plan_batches(
    questions: Iterable[Sample], batch_size: int, key: Callable[[Sample], Any] = prompt_size
) -> dict[str, list[str]]:
    """Batches of episodes' ids, by key, ordered by the first question's size, then id: fixed before anything runs.

    Args:
        questions: the first one of each episode, by whose id the episode is known.
        batch_size: how many there are in a batch, but for the last.
        key: other than the size, by which the first questions are ordered.
    """
    keys = {sample.id: key(sample) for sample in questions}
    ordered = sorted(keys, key=lambda sample_id: (keys[sample_id], sample_id))
    starts = range(0, len(ordered), batch_size)
    return {f"b{number:06d}": ordered[start : start + batch_size] for number, start in enumerate(starts)}


def plan_trials(questions: Iterable[Sample], student: Student, batch_size: int, trials: int = 1) -> dict[str, Batch]:
    """Every batch of every trial, by key, one trial after another; see `plan_batches`.

    A student over a network gets one episode at a time, many at once: a batch would wait for its slowest. The order of
    the answers is the same for any size of batch.
    """
    key = beginning if isinstance(student, SharingStudent) and student.shares else prompt_size
    batches = plan_batches(questions, 1 if isinstance(student, RemoteStudent) else batch_size, key)
    return {
        f"t{trial}-{name}" if trial else name: Batch(trial, ids)
        for trial in range(trials)
        for name, ids in batches.items()
    }


async def answer_batch(task: Asking, worker: Worker, batch: Batch) -> Sequence[Record]:
    """The answers to one batch: episode by episode, each in the order of its steps."""
    student = worker.part(task.student, Student, "student")
    worker.opened("weights", lambda: student.load(task.checkpoint))
    asked = task.decoding.model_copy(update={"trial": batch.trial})

    async def answer(samples: Sequence[Sample]) -> Sequence[Prediction]:
        if isinstance(student, RemoteStudent):
            answers = [await student.answer(samples[0], asked)]
        else:
            answers = student.predict(samples, asked)
        return [given.model_copy(update={"trial": batch.trial}) for given in answers] if batch.trial else answers

    return await rollout(list(task.opened(worker.components, batch.ids)), answer)


def answer_all(desk: Desk, task: Asking, batches: Mapping[str, Batch], what: str) -> int:
    """Answer the batches (see `plan_trials`) and write ``predictions.jsonl``, in their order.

    Returns:
        How many of the answers could not be had.
    """
    student = desk.part(task.student, Student, "student")
    width = student.in_flight if isinstance(student, RemoteStudent) else 1
    failed = 0
    with desk.writing(PREDICTIONS) as append:
        for key, records in desk.map([batches], answer_batch, task, (Prediction,), width=width, what=what):
            for given in _answers(desk, task, batches[key], records):
                append[PREDICTIONS](given)
                failed += given.failed
    return failed


def _answers(desk: Desk, task: Asking, batch: Batch, records: Sequence[Record]) -> list[Prediction]:
    """The answers of a batch; one that failed, so often that it was given up, has a model error at every question."""
    if any(isinstance(record, Rejected) for record in records):

        def missing(sample: Sample) -> Prediction:
            return Prediction(sample_id=sample.id, error="model", trial=batch.trial)

        opened = task.opened(desk.executor.components, batch.ids)
        return [step.answer for episode in opened for step in replay(episode, missing)]
    return [record for record in records if isinstance(record, Prediction)]


def recorded(episode: Episode, answers: Rows[Prediction], trial: int) -> list[Step]:
    """Replay a fresh episode with the answers that stand in a file, whose ids its questions find again."""
    return replay(episode, lambda sample: next(answers.pick([trial_id(sample.id, trial)])))


def answered_batches(desk: Desk, task: Asking, batches: Mapping[str, Batch]) -> Iterator[tuple[str, list[Prediction]]]:
    """The batches of a finished stage in which no answer and no reply to one failed, with their answers."""
    answers = predictions_at(desk.folder / PREDICTIONS)
    for key, (trial, ids) in batches.items():
        opened = task.opened(desk.executor.components, ids)
        found = [step.answer for episode in opened for step in recorded(episode, answers, trial)]
        if not any(answer.failed for answer in found):
            yield key, found
