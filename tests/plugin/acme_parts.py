"""More of a stranger's own: a sampler, a source of tools, a benchmark, a stage, each a class."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import ClassVar

from sloop.benchmarks.base import single_turns
from sloop.engine.executor import Worker
from sloop.engine.stage import Desk
from sloop.measures.metrics import grade, scores
from sloop.records import Grade, Prediction, Record, Sample, Score, Tool
from sloop.rollout import Episode
from sloop.store import Dataset
from sloop.tools.sources import load_tools


class FirstTools:
    """A sampler: requests are about the first few tools alone."""

    def __init__(self, *, count: int) -> None:
        self.count = count

    def wanted(self, tools: Sequence[Tool], rng: Random) -> Iterator[Tool]:
        while True:
            yield rng.choice(tools[: self.count])


class Catalogue:
    """A source of tools: a shop's catalogue, here a file beside this one."""

    def __init__(self, *, shop: str) -> None:
        self.shop = shop

    def tools(self) -> Sequence[Tool]:
        return load_tools(Path(__file__).with_name(f"{self.shop}_tools.json"))


class Quiz:
    """A benchmark: the questions of a file, each right where the answer calls the tool whose name is longest."""

    def __init__(self, *, name: str, path: str) -> None:
        self.name = name
        self.data = Dataset(Path(path))

    def episodes(self, ids: Iterable[str] | None = None) -> Iterator[Episode]:
        return single_turns(self.data, self._grade, ids)

    def score(self, grades: Iterable[Grade]) -> list[Score]:
        return scores(grades)

    def notes(self) -> list[str]:
        return ["A quiz."]

    def _grade(self, sample: Sample, answer: Prediction) -> Grade:
        longest = max((tool.name for tool in sample.tools), key=len)
        return grade(sample, answer).model_copy(update={"correct": longest in {call.name for call in answer.calls}})


class CensusSummary(Record):
    """How many samples call each tool."""

    calls: dict[str, int]


@dataclass(frozen=True, kw_only=True)
class Census:
    """A stage: counts the calls of a dataset, sample by sample."""

    name: ClassVar[str] = "census"
    MODULES: ClassVar[tuple[str, ...]] = ("acme_parts",)
    summary_type: ClassVar[type[CensusSummary]] = CensusSummary

    data: Dataset

    def plan(self) -> Iterator[Mapping[str, str]]:
        yield {sample_id: sample_id for sample_id in self.data.ids()}

    def make(self, desk: Desk) -> CensusSummary:
        counts: Counter[str] = Counter()
        with desk.writing("calls.jsonl") as append:
            for _, records in desk.map(self.plan(), count_calls, self, (Score,), what="census"):
                for record in records:
                    if isinstance(record, Score):
                        append["calls.jsonl"](record)
                        counts[record.name] += record.n
        return CensusSummary(calls=dict(sorted(counts.items())))


async def count_calls(task: Census, worker: Worker, sample_id: str) -> list[Score]:
    """The calls of one sample's label, by tool."""
    sample = next(task.data.pick([sample_id]))
    names = Counter(call.name for call in (sample.label.calls if sample.label else ()))
    return [Score(name=name, value=float(count), n=count) for name, count in sorted(names.items())]
