"""A part of any benchmark, for a look that costs less: ``benchmark.limit=N``.

The first N of a file are no sample of it where it is sorted (EleutherAI/lm-evaluation-harness#2598), and N of each
slice are as many more as there are slices (modelscope/evalscope#1496). Here N is the number of all questions, each
slice has its share of them (where there are none, those with a call and those without), and which are taken depends on
the seed and on each question alone: the same for every student, and nearly all of them again in a larger part.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path

from sloop.benchmarks.base import Benchmark
from sloop.records import Grade, Score, digest
from sloop.records.ranges import PathText, Samples, Seed
from sloop.rollout import Episode, Given
from sloop.store import Dataset, write_rows


def whole_data(benchmark: Benchmark) -> Dataset:
    """All questions of a benchmark, also of one that is asked in part: none of them may be trained on."""
    return benchmark.whole.data if isinstance(benchmark, Part) else benchmark.data


class Part:
    """A part of a benchmark (`sloop.benchmarks.base.Benchmark`), stratified by slice."""

    MODULES = ("sloop.benchmarks.part",)
    NOT_RESULTS = frozenset({"cache_path"})

    def __init__(self, *, benchmark: Benchmark, limit: Samples, limit_seed: Seed, cache_path: PathText) -> None:
        """Take a benchmark.

        Args:
            benchmark: of which this is a part.
            limit: how many episodes at most; a dialogue that is graded as one is one.
            limit_seed: chooses them.
            cache_path: folder for the questions of the part.
        """
        self.whole = benchmark
        self.name = benchmark.name
        self.limit = limit
        self.seed = limit_seed
        self.cache_path = Path(cache_path)

    @property
    def data(self) -> Dataset:
        """The questions of the part."""
        return self._data

    @cached_property
    def _whole(self) -> dict[str, tuple[str, list[str]]]:
        """Of each episode of the whole, by its id: its stratum, and the ids of its questions."""
        found: dict[str, tuple[str, list[str]]] = {}
        for episode in self.whole.episodes():
            if (first := episode.ask()) is not None:
                given = episode.samples if isinstance(episode, Given) else (first,)
                kind = "with a call" if first.label and first.label.calls else "without a call"
                found[episode.id] = first.slice or kind, [sample.id for sample in given]
        return found

    @cached_property
    def _shares(self) -> dict[str, tuple[int, int]]:
        """How many episodes of each slice are asked, and how many there are."""
        sizes = Counter(part for part, _ in self._whole.values())
        return {part: (share, sizes[part]) for part, share in apportioned(sizes, self.limit).items()}

    @cached_property
    def _chosen(self) -> list[str]:
        """The episodes that are asked, in the order of the whole."""
        drawn = sorted(self._whole, key=lambda episode_id: digest([self.seed, episode_id]))
        taken: Counter[str] = Counter()
        chosen = set()
        for episode_id in drawn:
            part = self._whole[episode_id][0]
            if taken[part] < self._shares[part][0]:
                taken[part] += 1
                chosen.add(episode_id)
        return [episode_id for episode_id in self._whole if episode_id in chosen]

    @cached_property
    def _data(self) -> Dataset:
        if len(self._chosen) == len(self._whole):
            return self.whole.data
        asked = {sample_id for episode_id in self._chosen for sample_id in self._whole[episode_id][1]}
        target = self.cache_path / f"{digest([self.whole.data.sha256, sorted(asked)])[:32]}.jsonl"
        write_rows(target, (sample for sample in self.whole.data if sample.id in asked))
        return Dataset(target)

    def episodes(self, ids: Iterable[str] | None = None) -> Iterator[Episode]:
        """Those of the part, in the order of the whole, or those with these ids."""
        return self.whole.episodes(self._chosen if ids is None else ids)

    def score(self, grades: Iterable[Grade]) -> list[Score]:
        """As the whole is summed up."""
        return self.whole.score(grades)

    def notes(self) -> list[str]:
        """Those of the whole, and which part this is, if it is one."""
        if len(self._chosen) == len(self._whole):
            return self.whole.notes()
        parts = ", ".join(f"{part} {share} of {size}" for part, (share, size) in self._shares.items())
        told = (
            f"{self.name}: a part alone, {len(self._chosen)} of {len(self._whole)} ({parts}; "
            f"benchmark.limit={self.limit} benchmark.limit_seed={self.seed}), sha256 {self.data.sha256}"
        )
        return [*self.whole.notes(), told]


def apportioned(sizes: Mapping[str, int], limit: int) -> dict[str, int]:
    """How many of each slice are asked: its share of ``limit``, the last ones to the largest remainders."""
    total = sum(sizes.values())
    if total <= limit:
        return dict(sizes)
    shares = {part: limit * size // total for part, size in sizes.items()}
    owed = sorted(sizes, key=lambda part: (-(limit * sizes[part] % total), part))[: limit - sum(shares.values())]
    return {part: share + (part in owed) for part, share in shares.items()}
