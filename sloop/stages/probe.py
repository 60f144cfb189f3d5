"""Greedy capability probing: the student answers a dataset, batch by batch, with the probability of each answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from sloop.engine.executor import Worker
from sloop.engine.stage import Desk
from sloop.records import Checkpoint, Decode, Prediction, Record, Rejected, Sample, trial_id
from sloop.store import Dataset, predictions_at
from sloop.students.base import RemoteStudent, Student

ANSWERING = ("sloop.records.base", "sloop.records.samples", "sloop.stages.probe")
"""The modules whose code can change answers, beside the student's."""
PREDICTIONS = "predictions.jsonl"


def prompt_size(sample: Sample) -> int:
    """A cheap stand-in for the prompt's length, by which samples are put into batches of similar length."""
    listing = sum(len(tool.name) + sum(map(len, tool.properties)) for tool in sample.tools)
    return listing + sum(len(message.content) for message in sample.messages)


def plan_batches(datasets: Sequence[Dataset], batch_size: int) -> dict[str, list[str]]:
    """Batches of sample ids, by key, ordered by prompt size, then id: fixed before anything runs."""
    sizes: dict[str, int] = {}
    for data in datasets:
        for sample in data:
            sizes[sample.id] = prompt_size(sample)
    ordered = sorted(sizes, key=lambda sample_id: (sizes[sample_id], sample_id))
    starts = range(0, len(ordered), batch_size)
    return {f"b{number:06d}": ordered[start : start + batch_size] for number, start in enumerate(starts)}


def pick_all(datasets: Sequence[Dataset], ids: Sequence[str]) -> dict[str, Sample]:
    """The samples with these ids, whichever dataset they stand in."""
    return {sample.id: sample for data in datasets for sample in data.pick(i for i in ids if i in data)}


class Batch(NamedTuple):
    """Samples that are answered together, for one of the trials."""

    trial: int
    ids: list[str]


def plan_trials(datasets: Sequence[Dataset], student: Student, batch_size: int, trials: int = 1) -> dict[str, Batch]:
    """Every batch of every trial, by key, one trial after another.

    A student over a network gets one sample at a time, many at once: a batch would wait for its slowest. The order of
    the answers is the same for any size of batch.
    """
    batches = plan_batches(datasets, 1 if isinstance(student, RemoteStudent) else batch_size)
    return {
        f"t{trial}-{key}" if trial else key: Batch(trial, ids)
        for trial in range(trials)
        for key, ids in batches.items()
    }


@dataclass(frozen=True, kw_only=True)
class Answering:
    """Who answers what, and how: what all batches share."""

    student: Any
    checkpoint: Checkpoint
    datasets: Sequence[Dataset]
    decode: Decode


async def answer_batch(task: Answering, worker: Worker, batch: Batch) -> Sequence[Record]:
    """The answers to one batch."""
    student = worker.part(task.student, Student, "student")
    worker.opened("weights", lambda: student.load(task.checkpoint))
    found = pick_all(task.datasets, batch.ids)
    samples = [found[sample_id] for sample_id in batch.ids]
    asked = task.decode.model_copy(update={"trial": batch.trial})
    if isinstance(student, RemoteStudent):
        answers = [await student.answer(samples[0], asked)]
    else:
        answers = student.predict(samples, asked)
    return [answer.model_copy(update={"trial": batch.trial}) for answer in answers] if batch.trial else answers


def answer_all(desk: Desk, task: Answering, batches: Mapping[str, Batch], what: str) -> int:
    """Answer the batches (see `plan_trials`) and write ``predictions.jsonl``, in their order.

    Returns:
        How many of the answers could not be had.
    """
    student = desk.part(task.student, Student, "student")
    width = student.in_flight if isinstance(student, RemoteStudent) else 1
    failed = 0
    with desk.writing(PREDICTIONS) as append:
        for key, records in desk.map([batches], answer_batch, task, (Prediction,), width=width, what=what):
            for answer in _answers(batches[key], records):
                append[PREDICTIONS](answer)
                failed += answer.error == "model"
    return failed


def _answers(batch: Batch, records: Sequence[Record]) -> list[Prediction]:
    """One answer a sample: those of a batch that failed, so often that it was given up, are model errors."""
    if any(isinstance(record, Rejected) for record in records):
        return [Prediction(sample_id=sample_id, error="model", trial=batch.trial) for sample_id in batch.ids]
    return [record for record in records if isinstance(record, Prediction)]


def answered_batches(folder: Path, batches: Mapping[str, Batch]) -> Iterator[tuple[str, list[Prediction]]]:
    """The batches of a finished stage in which no answer failed, with their answers."""
    answers = predictions_at(folder / PREDICTIONS)
    for key, (trial, ids) in batches.items():
        found = list(answers.pick(trial_id(sample_id, trial) for sample_id in ids))
        if all(answer.error != "model" for answer in found):
            yield key, found


class ProbeSummary(Record):
    """What a probe made."""

    samples: int
    failed: dict[str, int]
    """Answers that could not be had."""


@dataclass(frozen=True, kw_only=True)
class Probe:
    """Answer the training data, and what may join it, greedily: ``predictions.jsonl``, one `Prediction` a sample."""

    name: ClassVar[str] = "probe"
    MODULES: ClassVar[tuple[str, ...]] = ANSWERING
    summary_type: ClassVar[type[ProbeSummary]] = ProbeSummary

    data: Sequence[Dataset]
    """The datasets to answer."""
    student: Any
    checkpoint: Checkpoint
    decode: Decode
    batch_size: int
    """Samples in a batch, where the student takes batches."""

    def make(self, desk: Desk) -> ProbeSummary:
        """Answer what is owed."""
        failed = answer_all(desk, self.answering, self.batches(desk), "probe")
        return ProbeSummary(samples=sum(len(part) for part in self.data), failed={"answers": failed})

    def kept(self, desk: Desk) -> Iterator[tuple[str, Sequence[Record]]]:
        """The batches in which no answer failed."""
        return answered_batches(desk.folder, self.batches(desk))

    @property
    def answering(self) -> Answering:
        """What all batches share."""
        return Answering(
            student=self.student, checkpoint=self.checkpoint, datasets=tuple(self.data), decode=self.decode
        )

    def batches(self, desk: Desk) -> dict[str, Batch]:
        """Fixed before anything runs."""
        return plan_trials(self.data, desk.part(self.student, Student, "student"), self.batch_size)
