"""Intervals and tests, all at 95%, all in closed form, so that no seed stands between a result and its repetition.

Samples of one cluster (a contrast pair, a dialogue) are alike, so n of them say less than n. Every interval here first
reduces n to the effective size n / deff, where deff is the design effect: the cluster variance of the estimate over
its variance under independence, at least 1. Resampling clusters was tried and covers less where it matters: near 0
and 1, where a percentile bootstrap knows only the values that it has seen (simulated with 50 clusters of one or two
samples at p = 0.97: 83% against 96% of the intervals below).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import NormalDist, stdev, variance

from sloop.types import Record, Score, UserError

LEVEL = 0.95

Outcomes = Mapping[str, bool | None]
"""Right or wrong by sample id; None where it was not measured."""
Sums = dict[str, tuple[int, int]]
"""(sum, number) by cluster."""


class Comparison(Record):
    """How much oftener ``b`` is right than ``a``, on the same samples."""

    delta: float
    """Share right in b minus share right in a."""
    low: float
    high: float
    p: float
    """McNemar's exact test, two-sided, on clusters: those in which b gained against those in which it lost."""
    n: int
    """Samples measured on both sides."""
    n01: int
    """Wrong in a, right in b."""
    n10: int
    """Right in a, wrong in b."""
    unmeasured: int = 0
    """Samples left out because one side has no result."""


class SeedComparison(Record):
    """The same difference between two arms that were each run under several seeds."""

    delta: float
    """Mean over seeds."""
    low: float | None
    """None where a single sample leaves nothing to estimate an interval from."""
    high: float | None
    p: float | None
    """Two-sided, of delta = 0."""
    seeds: int
    """With 1 the interval covers the choice of samples alone, not that of the seed."""
    n: int
    """Samples measured on both sides, summed over seeds."""
    deltas: dict[int, float]
    """By seed."""
    unmeasured: int = 0


def wilson(right: float, n: float) -> tuple[float | None, float | None]:
    """Wilson's score interval of a share; (None, None) for n = 0. An effective size need not be whole."""
    from statsmodels.stats.proportion import proportion_confint

    if n <= 0:
        return None, None
    low, high = proportion_confint(right, n, alpha=1 - LEVEL, method="wilson")
    share = right / n
    return max(0.0, min(float(low), share)), min(1.0, max(float(high), share))


def rate(name: str, counts: Iterable[tuple[str, int, int]], slice: str = "") -> Score:
    """A share with Wilson's interval at the effective size.

    Args:
        name: of the metric.
        counts: (cluster, right, of) for each sample; several of a cluster are added up.
        slice: of the metric.

    Returns:
        value = sum of right / sum of of, n = sum of of; value None where that is 0.
    """
    sums: Sums = {}
    for cluster, right, of in counts:
        if of:
            before = sums.get(cluster, (0, 0))
            sums[cluster] = before[0] + right, before[1] + of
    n = sum(of for _, of in sums.values())
    if n == 0:
        return Score(name=name, value=None, n=0, slice=slice)
    share = sum(right for right, _ in sums.values()) / n
    size = _effective_size(sums, share * (1 - share))
    low, high = wilson(share * size, size)
    return Score(name=name, value=share, n=n, low=low, high=high, slice=slice)


def mean_score(name: str, values: Sequence[float], slice: str = "") -> Score:
    """A mean with Student's interval; no interval for fewer than two values."""
    from scipy.stats import t

    n = len(values)
    if n == 0:
        return Score(name=name, value=None, n=0, slice=slice)
    mean = math.fsum(values) / n
    if n == 1:
        return Score(name=name, value=mean, n=1, slice=slice)
    half = float(t.ppf((1 + LEVEL) / 2, n - 1)) * stdev(values) / math.sqrt(n)
    return Score(name=name, value=mean, n=n, low=mean - half, high=mean + half, slice=slice)


def compare_paired(a: Outcomes, b: Outcomes, clusters: Mapping[str, str] | None = None) -> Comparison:
    """Compare two students on the same samples.

    The interval is that of Bonett and Price (2012) for paired proportions, one added to each kind of discordant pair,
    at the effective size (simulated coverage 95 to 98% where a paired cluster bootstrap has 90 to 95%).

    Args:
        a: the one compared against.
        b: the other.
        clusters: cluster of each sample id; None: each sample is its own.

    Raises:
        UserError: the sample ids differ, or nothing was measured on both sides.
    """
    from scipy.stats import binomtest

    differences, unmeasured = _differences(a, b)
    n = len(differences)
    n01, n10 = (sum(value == sign for value in differences.values()) for sign in (1, -1))
    delta = (n01 - n10) / n
    sums: Sums = {}
    for sample_id, difference in differences.items():
        cluster = clusters[sample_id] if clusters else sample_id
        before = sums.get(cluster, (0, 0))
        sums[cluster] = before[0] + difference, before[1] + 1
    size = _effective_size(sums, (n01 + n10) / n - delta**2)
    p01, p10 = ((count / n * size + 1) / (size + 2) for count in (n01, n10))
    half = NormalDist().inv_cdf((1 + LEVEL) / 2) * math.sqrt((p01 + p10 - (p01 - p10) ** 2) / (size + 2))
    low, high = max(-1.0, p01 - p10 - half), min(1.0, p01 - p10 + half)
    gains = [total for total, _ in sums.values() if total]
    p = float(binomtest(sum(total > 0 for total in gains), len(gains), 0.5).pvalue) if gains else 1.0
    return Comparison(
        delta=delta, low=min(low, delta), high=max(high, delta), p=p, n=n, n01=n01, n10=n10, unmeasured=unmeasured
    )


def compare_runs(
    pairs: Mapping[int, tuple[Outcomes, Outcomes]], clusters: Mapping[str, str] | None = None
) -> SeedComparison:
    """Compare two arms (variants of a loop, say) over seeds: the mean over seeds of each seed's paired difference.

    Its variance has two parts, added: that between the seeds' differences over the number of seeds, and that between
    clusters of samples, which all seeds share as far as they were asked the same. The interval is Student's with the
    degrees of freedom of Welch and Satterthwaite. A little of the second part is in the first as well, which errs on
    the wide side; resampling seeds and samples instead is too narrow for the three to five seeds that one has
    (simulated coverage 90 to 93% where seeds differ much, against 94 to 95% here).

    Args:
        pairs: by seed, the outcomes of arm a and of arm b.
        clusters: cluster of each sample id; None: each sample is its own.

    Raises:
        UserError: there are no seeds, the sample ids of a seed's two sides differ, or nothing was measured.
    """
    from scipy.stats import t

    if not pairs:
        raise UserError("there is no seed under which both arms were run: run the same seeds for each, then compare.")
    deltas: dict[int, float] = {}
    influence: dict[str, float] = {}
    n = unmeasured = 0
    for seed in sorted(pairs):
        differences, left_out = _differences(*pairs[seed])
        count = len(differences)
        deltas[seed] = delta = sum(differences.values()) / count
        n, unmeasured = n + count, unmeasured + left_out
        for sample_id, difference in differences.items():
            cluster = clusters[sample_id] if clusters else sample_id
            influence[cluster] = influence.get(cluster, 0.0) + (difference - delta) / count / len(pairs)
    mean = math.fsum(deltas.values()) / len(deltas)
    parts: list[tuple[float, int]] = []
    if len(deltas) > 1:
        parts.append((variance(deltas.values()) / len(deltas), len(deltas) - 1))
    if (k := len(influence)) > 1:
        between = k / (k - 1) * math.fsum(value**2 for value in influence.values())
        parts.append((max(between, 2 / (k + 2) ** 2), k - 1))  # no less than with one gain and one loss
    low = high = p = None
    if (total := math.fsum(v for v, _ in parts)) > 0:
        freedom = total**2 / math.fsum(v**2 / df for v, df in parts)
        error = math.sqrt(total)
        half = float(t.ppf((1 + LEVEL) / 2, freedom)) * error
        low, high = mean - half, mean + half
        p = float(2 * t.sf(abs(mean) / error, freedom))
    return SeedComparison(
        delta=mean, low=low, high=high, p=p, seeds=len(deltas), n=n, deltas=deltas, unmeasured=unmeasured
    )


def holm(pvalues: Mapping[str, float]) -> dict[str, float]:
    """Holm's adjusted p-values, by the same names: the chance that any of the family is a false alarm is kept."""
    from statsmodels.stats.multitest import multipletests

    if not pvalues:
        return {}
    adjusted = multipletests(list(pvalues.values()), alpha=1 - LEVEL, method="holm")[1]
    return {name: float(value) for name, value in zip(pvalues, adjusted, strict=True)}


def _differences(a: Outcomes, b: Outcomes) -> tuple[dict[str, int], int]:
    """What b is above a (-1, 0, 1) of each sample measured on both sides, and how many were not."""
    if a.keys() != b.keys():
        only = [len(a.keys() - b.keys()), len(b.keys() - a.keys())]
        raise UserError(
            f"the two sides were not asked the same samples: {only[0]} only in the first, {only[1]} only in the "
            f"second, {len(a.keys() & b.keys())} in both. Compare results on one and the same benchmark."
        )
    differences: dict[str, int] = {}
    for sample_id, before in a.items():
        after = b[sample_id]
        if before is not None and after is not None:
            differences[sample_id] = int(after) - int(before)
    if not differences:
        raise UserError("no sample was measured on both sides, so there is nothing to compare.")
    return differences, len(a) - len(differences)


def _effective_size(sums: Sums, spread: float) -> float:
    """Sample size divided by the design effect, between 1 and the sample size.

    Args:
        sums: the total of each cluster's values, and their number.
        spread: variance of one value, were all independent.
    """
    n, k = sum(number for _, number in sums.values()), len(sums)
    if k == n:
        return float(n)
    mean = sum(total for total, _ in sums.values()) / n
    residuals = math.fsum((total - mean * number) ** 2 for total, number in sums.values())
    if k == 1 or spread <= 0:  # nothing varies that could be seen: a cluster counts as one sample
        return float(k)
    # Linearised (Taylor) variance of a ratio over clusters, with the small-sample factor k / (k - 1).
    clustered = k / (k - 1) * residuals / n**2
    return min(float(n), spread / clustered) if clustered > 0 else float(n)
