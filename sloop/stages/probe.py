"""Greedy capability probing: the student answers a dataset, batch by batch, with the probability of each answer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import ClassVar

from sloop.engine.build import Components
from sloop.engine.stage import Desk
from sloop.records import Record, Sample
from sloop.rollout import Episode, Given
from sloop.store import Dataset
from sloop.students import answering
from sloop.students.answering import PREDICTIONS, Asking, answer_all, answered_batches

__all__ = ["PREDICTIONS", "Probe", "ProbeSummary"]


class ProbeSummary(Record):
    """What a probe made."""

    samples: int
    failed: dict[str, int]
    """Answers that could not be had."""


@dataclass(frozen=True, kw_only=True)
class Probe(Asking):
    """Answer the training data, and what may join it, greedily: ``predictions.jsonl``, one `Prediction` a sample."""

    name: ClassVar[str] = "probe"
    MODULES: ClassVar[tuple[str, ...]] = (*answering.MODULES, "sloop.stages.probe")
    summary_type: ClassVar[type[ProbeSummary]] = ProbeSummary

    data: Sequence[Dataset]
    """The datasets to answer."""

    def questions(self, components: Components) -> Iterator[Sample]:
        """The samples."""
        return chain.from_iterable(self.data)

    def opened(self, components: Components, ids: Sequence[str]) -> Iterator[Episode]:
        """The samples with these ids, whichever dataset they stand in, as episodes of length 1."""
        found = {sample.id: sample for part in self.data for sample in part.pick(i for i in ids if i in part)}
        return (Given((found[sample_id],)) for sample_id in ids)

    def make(self, desk: Desk) -> ProbeSummary:
        """Answer what is owed."""
        failed = answer_all(desk, self, self.batches(desk), "probe")
        return ProbeSummary(samples=sum(len(part) for part in self.data), failed={"answers": failed})

    def kept(self, desk: Desk) -> Iterator[tuple[str, Sequence[Record]]]:
        """The batches in which no answer failed."""
        return answered_batches(desk, self, self.batches(desk))
