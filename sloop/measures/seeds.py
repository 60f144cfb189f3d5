"""A metric over seeds."""

from __future__ import annotations

from collections.abc import Sequence

from sloop.measures.stats import mean_score
from sloop.records import Record, Score


class Mean(Record):
    """A metric of several seeds."""

    value: float
    low: float | None
    high: float | None
    n: int
    """Samples of all seeds."""
    seeds: int
    """That the interval is over; 1: it is over samples."""

    @property
    def over(self) -> str:
        """What the interval is over, in words."""
        return f"{self.seeds} seeds" if self.seeds > 1 else "questions"


def over_seeds(scores: Sequence[Score]) -> Mean | None:
    """The mean over seeds, each counted once, with Student's interval on the seeds' values, cut off at 0 and 1 where
    all of these lie between: they may be rewards.

    It covers the choice of the seed, on the samples that all were asked. Of one seed nothing is known of that, nor of
    seeds that are all the same (round 0 of a given checkpoint): there the interval is the seed's own, over samples.

    Args:
        scores: one a seed; those without a value are left out.

    Returns:
        None where nothing was measured.
    """
    known = [(score, score.value) for score in scores if score.value is not None]
    if not known:
        return None
    values = [value for _, value in known]
    alike = len(set(values)) == 1
    mean = known[0][0] if alike else mean_score("", values)
    low, high = mean.low, mean.high
    if low is not None and high is not None and all(0 <= value <= 1 for value in values):
        low, high = max(0.0, low), min(1.0, high)
    n = sum(score.n for score, _ in known)
    return Mean(value=mean.value or 0.0, low=low, high=high, n=n, seeds=1 if alike else len(values))
