"""Greedy capability probing: the student answers a dataset, batch by batch, with the probability of each answer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, ClassVar

from sloop.engine.build import Components
from sloop.engine.stage import Desk
from sloop.records import Checkpoint, Decode, Record
from sloop.rollout import Episode, Given
from sloop.store import Dataset
from sloop.students import answering
from sloop.students.answering import PREDICTIONS, Batch, answer_all, answered_batches, plan_trials
from sloop.students.base import Student

__all__ = ["PREDICTIONS", "Probe", "ProbeSummary"]


class ProbeSummary(Record):
    """What a probe made."""

    samples: int
    failed: dict[str, int]
    """Answers that could not be had."""


@dataclass(frozen=True, kw_only=True)
class Probe:
    """Answer the training data, and what may join it, greedily: ``predictions.jsonl``, one `Prediction` a sample."""

    name: ClassVar[str] = "probe"
    MODULES: ClassVar[tuple[str, ...]] = (*answering.MODULES, "sloop.stages.probe")
    summary_type: ClassVar[type[ProbeSummary]] = ProbeSummary

    data: Sequence[Dataset]
    """The datasets to answer."""
    student: Any
    checkpoint: Checkpoint
    decode: Decode
    batch_size: int
    """Samples in a batch, where the student takes batches."""

    @property
    def decoding(self) -> Decode:
        """How the student answers."""
        return self.decode

    def opened(self, components: Components, ids: Sequence[str]) -> Iterator[Episode]:
        """The samples with these ids, whichever dataset they stand in, as episodes of length 1."""
        found = {sample.id: sample for part in self.data for sample in part.pick(i for i in ids if i in part)}
        return (Given((found[sample_id],)) for sample_id in ids)

    def batches(self, desk: Desk) -> dict[str, Batch]:
        """Fixed before anything runs."""
        student = desk.part(self.student, Student, "student")
        return plan_trials(chain.from_iterable(self.data), student, self.batch_size)

    def make(self, desk: Desk) -> ProbeSummary:
        """Answer what is owed."""
        failed = answer_all(desk, self, self.batches(desk), "probe")
        return ProbeSummary(samples=sum(len(part) for part in self.data), failed={"answers": failed})

    def kept(self, desk: Desk) -> Iterator[tuple[str, Sequence[Record]]]:
        """The batches in which no answer failed."""
        return answered_batches(desk, self, self.batches(desk))
