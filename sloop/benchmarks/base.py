"""Benchmarks: frozen samples with the right decision, and how an answer to one is graded."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path
from typing import Protocol, runtime_checkable

from sloop.measures.metrics import grade, scores
from sloop.records import Grade, Prediction, Sample, Score
from sloop.store import Dataset


@runtime_checkable
class Benchmark(Protocol):
    """A set of questions with a way to grade answers."""

    name: str

    @property
    def data(self) -> Dataset:
        """The questions; their labels are for `grade` alone."""
        ...

    def grade(self, sample: Sample, prediction: Prediction) -> Grade:
        """Grade one answer."""
        ...

    def score(self, grades: Iterable[Grade]) -> list[Score]:
        """Sum up, overall and slice by slice."""
        ...

    def notes(self) -> list[str]:
        """What a reader of the scores must know, a sentence each."""
        ...


class SampleBenchmark:
    """A dataset in our form, graded by the strict comparator and METHOD's metrics."""

    def __init__(self, *, name: str, path: str) -> None:
        """Open the benchmark.

        Args:
            name: under which scores are reported.
            path: a ``.jsonl`` or ``.jsonl.gz`` file, or the name of a set that comes with sloop, such as
                ``sloop_bench/v1.jsonl.gz``.
        """
        self.name = name
        self.path = path
        packaged = Path(str(files("sloop.benchmark_data"))) / path
        self._data = Dataset(packaged if packaged.is_file() else Path(path))

    @property
    def data(self) -> Dataset:
        """The questions."""
        return self._data

    def grade(self, sample: Sample, prediction: Prediction) -> Grade:
        """Grade one answer by the strict comparator."""
        return grade(sample, prediction)

    def score(self, grades: Iterable[Grade]) -> list[Score]:
        """METHOD's metrics, overall and slice by slice."""
        return scores(list(grades))

    def notes(self) -> list[str]:
        """Which data these are."""
        return [f"{self.name}: {len(self.data)} samples of {self.path}, sha256 {self._data.sha256}"]
