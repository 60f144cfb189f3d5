"""Whole benchmarks graded for tests: every question answered by one rule, or by another rule in each trial."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import yaml

from sloop.benchmarks.base import Benchmark
from sloop.cli import conf_folder
from sloop.records import Prediction, Sample, Score
from sloop.rollout import replay

Answer = Callable[[Sample], Prediction]
Scores = dict[tuple[str, str], Score]
"""By name and slice."""


def spec_of(name: str) -> dict[str, Any]:
    """The settings of a benchmark as they stand in its file, without those that choose a part of it."""
    spec: dict[str, Any] = yaml.safe_load((conf_folder() / "benchmark" / f"{name}.yaml").read_text())
    return {key: value for key, value in spec.items() if key not in ("limit", "limit_seed")}


def scores_of(benchmark: Benchmark, *trials: Answer) -> Scores:
    """What a student scores that answers every question by these rules, one in each trial."""
    grades = []
    for number, answer in enumerate(trials):
        for episode in benchmark.episodes():
            replay(episode, answer)
            grades += [grade.model_copy(update={"trial": number}) for grade in episode.grade()]
    return {(score.name, score.slice): score for score in benchmark.score(grades)}


def official_means(benchmark: Benchmark, trials: Sequence[Answer]) -> dict[tuple[str, str], float]:
    """The mean over the trials of every official score, each trial scored for itself."""
    each = [scores_of(benchmark, answer) for answer in trials]
    official = [key for key in each[0] if key[0].startswith("official")]
    return {key: sum(one[key].value or 0.0 for one in each) / len(trials) for key in official}
