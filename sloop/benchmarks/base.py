"""Benchmarks: frozen episodes, what is right in them, and how they are graded and summed up."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib.resources import files
from pathlib import Path
from typing import ClassVar, Protocol, runtime_checkable

from sloop.environments.domains import MODULES as RUNNING
from sloop.measures.metrics import grade, scores
from sloop.records import Grade, Prediction, Sample, Score
from sloop.records.ranges import Name, PathText
from sloop.rollout import Episode, Given
from sloop.store import Dataset

GRADING = (
    "sloop.benchmarks.base",
    "sloop.calls.formats",
    "sloop.calls.match.normalise",
    "sloop.calls.match.strict",
    "sloop.calls.schema",
    *RUNNING,
    "sloop.measures.metrics",
    "sloop.measures.stats",
    "sloop.records.base",
    "sloop.records.judging",
    "sloop.records.samples",
    "sloop.rollout",
)
"""The modules whose code can change what a strict grader says, and its scores."""

Grader = Callable[[Sample, Prediction], Grade]
"""Grades one answer."""


@runtime_checkable
class Benchmark(Protocol):
    """A set of episodes that grade themselves, and how their grades are summed up."""

    name: str

    @property
    def data(self) -> Dataset:
        """The questions that stand before anything is answered; their labels are for grades alone."""
        ...

    def episodes(self, ids: Iterable[str] | None = None) -> Iterator[Episode]:
        """Fresh episodes: all, in the benchmark's order, or those with these ids, in the order asked for."""
        ...

    def score(self, grades: Iterable[Grade]) -> list[Score]:
        """Sum up, overall and slice by slice."""
        ...

    def notes(self) -> list[str]:
        """What a reader of the scores must know, a sentence each."""
        ...


class SampleEpisode(Given):
    """Questions that are given, each graded for itself."""

    def __init__(self, samples: Sequence[Sample], grader: Grader) -> None:
        """Take one sample or more, in the order in which they are asked."""
        super().__init__(samples)
        self._grader = grader

    def grade(self) -> tuple[Grade, ...]:
        """A grade a sample."""
        return tuple(self._grader(sample, given) for sample, given in zip(self.samples, self.answers, strict=True))


def single_turns(data: Dataset, grader: Grader, ids: Iterable[str] | None = None) -> Iterator[Episode]:
    """Episodes of one sample each: of all samples, or of those with these ids."""
    return (SampleEpisode((sample,), grader) for sample in (data if ids is None else data.pick(ids)))


def packaged(path: str) -> str:
    """Where a set lies: one that comes with sloop by its name, any other where its path says."""
    own = Path(str(files("sloop.benchmark_data"))) / path
    return str(own) if os.path.isfile(own) else path  # noqa: PTH113 - any path will do


class SampleBenchmark:
    """A dataset in our form, graded by the strict comparator and METHOD's metrics."""

    MODULES: ClassVar[tuple[str, ...]] = GRADING

    def __init__(self, *, name: Name, path: PathText) -> None:
        """Open the benchmark.

        Args:
            name: under which scores are reported.
            path: a ``.jsonl`` or ``.jsonl.gz`` file, or the name of a set that comes with sloop, such as
                ``sloop_bench/v1.jsonl.gz``.
        """
        self.name = name
        self.path = path
        self._data = Dataset(Path(packaged(path)))

    @property
    def data(self) -> Dataset:
        """The questions."""
        return self._data

    def episodes(self, ids: Iterable[str] | None = None) -> Iterator[Episode]:
        """An episode a sample, graded by the strict comparator."""
        return single_turns(self.data, grade, ids)

    def score(self, grades: Iterable[Grade]) -> list[Score]:
        """METHOD's metrics, overall and slice by slice."""
        return scores(list(grades))

    def notes(self) -> list[str]:
        """Which data these are."""
        return [f"{self.name}: {len(self.data)} samples of {self.path}, sha256 {self._data.sha256}"]
