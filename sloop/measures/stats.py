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

from sloop.records import Record, Score, UserError

LEVEL = 0.95
FEW = 20
"""Samples of the smaller kind below which an interval of a difference of harmonic means is too narrow."""
POWER = 0.8
"""The chance with which a difference should be shown that is called detectable."""

Kinds = Mapping[str, bool]
"""Which of two kinds each sample id is of, where accuracies on the two are put together by their harmonic mean."""
Outcomes = Mapping[str, bool | None]
"""Right or wrong by sample id; None where it was not measured."""
Sums = dict[str, tuple[float, int]]
"""(sum, number) by cluster."""


class Comparison(Record):
    """How much oftener ``a`` is right than ``b`` on the same samples."""

    a: float
    """Share right in a; over several seeds, their mean."""
    b: float
    delta: float
    """a - b"""
    low: float
    """Lower end of the 95% interval of delta; -1 and 1 where nothing is known of it."""
    high: float
    p_value: float | None
    """Two-sided, of delta = 0; None where nothing is known of it."""
    n: int
    """Samples measured on both sides, summed over seeds."""
    n01: int
    """Wrong in a, right in b."""
    n10: int
    """Right in a, wrong in b."""
    unmeasured: int
    """Samples left out because one side has no result."""
    detectable: float | None
    """The smallest true difference that such a comparison shows (its interval leaves out 0) in 80 of 100 cases:
    (z_0.975 + z_0.8) standard errors (Bloom 1995, Evaluation Review 19:547; for scores of language models Miller 2024,
    arXiv:2411.00640), quantiles of Student's t over several seeds. None where nothing is known of it."""
    deltas: tuple[float, ...]
    """Of each seed. With one seed the interval covers the choice of samples alone, not that of the seed."""


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


def harmonic(name: str, rows: Iterable[tuple[str, bool, bool]], slice: str = "") -> Score:
    """The harmonic mean of the accuracies on two kinds of samples; no value where one kind is missing.

    Its interval is MOVER's (Zou and Donner 2008, Statistics in Medicine 27:1693) without its linearisation, which fails
    at 0: both accuracies move along the ellipse that their own intervals (see `rate`) and their correlation over
    clusters span, and the ends are the least and the greatest mean on it. Simulated with 40 to 600 samples, also with
    an accuracy of 2% and with kinds that share clusters, 93 to 98% of the intervals hold the truth.

    Args:
        name: of the metric.
        rows: (cluster, kind, right) for each sample.
        slice: of the metric.
    """
    side = _Sides(rows)
    n = sum(part.n for part in side.parts)
    if side.value is None:
        return Score(name=name, value=None, n=0, slice=slice)
    low, high = side.interval()
    return Score(name=name, value=side.value, n=n, low=low, high=high, slice=slice)


def pass_hat(name: str, samples: Iterable[tuple[str, int, int]], k: int, slice: str = "") -> Score:
    """The chance that k answers to a sample are all right, with Wilson's interval at the effective size.

    Of c right ones among the n answers to a sample, C(c, k) / C(n, k) is that chance without bias (Yao et al. 2024,
    tau-bench, arXiv:2406.12045); the value is its mean over samples. Simulated with 60 and 250 samples of 4 and 8
    answers, 92 to 100% of the intervals hold the truth, and 88% where it is below 1%.

    Args:
        name: of the metric.
        samples: (cluster, answers that are right, answers) for each sample; those with fewer than k answers are left
            out.
        k: how many answers must all be right.
        slice: of the metric.

    Returns:
        n is the number of samples.
    """
    measured = ((cluster, math.comb(right, k) / math.comb(of, k), of // k) for cluster, right, of in samples if of >= k)
    return _mean_of_shares(name, measured, slice)


def flip_rate(name: str, samples: Iterable[tuple[str, int, int]], slice: str = "") -> Score:
    """The chance that of two answers to a sample one is right and the other wrong.

    Of c right ones among n answers, 2c(n - c) / n(n - 1) is that chance without bias; the value is its mean over
    samples. Arguments and interval as of `pass_hat` with k = 2.
    """
    measured = ((cluster, 2 * c * (n - c) / (n * (n - 1)), n // 2) for cluster, c, n in samples if n >= 2)
    return _mean_of_shares(name, measured, slice)


def _mean_of_shares(name: str, samples: Iterable[tuple[str, float, int]], slice: str) -> Score:
    """The mean of (cluster, share, groups of answers that share none) over samples; see `pass_hat`."""
    sums: Sums = {}
    groups = 0
    for cluster, share, apart in samples:
        before = sums.get(cluster, (0, 0))
        sums[cluster] = before[0] + share, before[1] + 1
        groups += apart
    n = sum(number for _, number in sums.values())
    if n == 0:
        return Score(name=name, value=None, n=0, slice=slice)
    share = min(1.0, math.fsum(total for total, _ in sums.values()) / n)
    # A mean of shares may vary less than one of yes and no: the effective size may exceed n, but not the number of
    # groups of k answers that share none.
    size = _effective_size(sums, share * (1 - share), most=groups)
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


def compare_paired(
    a: Outcomes, b: Outcomes, clusters: Mapping[str, str] | None = None, kinds: Kinds | None = None
) -> Comparison:
    """Compare two students on the same samples.

    The interval is that of Bonett and Price (2012) for paired proportions, one added to each kind of discordant pair,
    at the effective size (simulated coverage 95% or more; 90 to 96% for a paired cluster bootstrap). The p-value is
    that of McNemar's exact test on clusters: those in which a gains against those in which it loses. Of harmonic means
    (``kinds``) the interval is MOVER's of a difference, from the two sides' own (`harmonic`) and the correlation of
    their errors, and the p-value is the interval's: below 0.05 where it leaves out 0. With fewer than `FEW` samples of
    a kind it calls 8 to 12 of 100 equal students different: there the p-value is no smaller than McNemar's.

    Args:
        a: right or wrong by sample id.
        b: the same for the other student.
        clusters: cluster of each sample id; None: each sample is its own.
        kinds: compare harmonic means over these two kinds; None: shares of all samples.

    Raises:
        UserError: the sample ids differ, or nothing was measured on both sides.
    """
    pairs = _Pairs(a, b, clusters, kinds)
    if pairs.sides is not None:
        return _compare_harmonic(pairs, *pairs.sides)
    sums: Sums = {}
    for sample_id, difference in pairs.differences.items():
        cluster = pairs.cluster(sample_id)
        before = sums.get(cluster, (0, 0))
        sums[cluster] = before[0] + difference, before[1] + 1
    size = _effective_size(sums, (pairs.n01 + pairs.n10) / pairs.n - pairs.delta**2)
    p10, p01 = ((count / pairs.n * size + 1) / (size + 2) for count in (pairs.n10, pairs.n01))
    error = math.sqrt((p10 + p01 - (p10 - p01) ** 2) / (size + 2))
    half = _z((1 + LEVEL) / 2) * error
    return _comparison([pairs], p10 - p01 - half, p10 - p01 + half, pairs.mcnemar(), _seen_from(error))


def _compare_harmonic(pairs: _Pairs, a: _Sides, b: _Sides) -> Comparison:
    """The difference of two harmonic means on the same samples; see `compare_paired`."""
    (low_a, high_a), (low_b, high_b) = a.interval(), b.interval()
    together = _correlation(a.influence, b.influence)
    down, up = pairs.a - low_a, high_a - pairs.a
    below, above = pairs.b - low_b, high_b - pairs.b
    under = math.sqrt(max(0.0, down**2 + above**2 - 2 * together * down * above))
    over = math.sqrt(max(0.0, up**2 + below**2 - 2 * together * up * below))
    # Equal answers leave no doubt by this formula, and no less is known of them than with one gain and one loss.
    least = _z((1 + LEVEL) / 2) * math.sqrt(2) / (len(a.influence) + 2)
    under, over = max(under, least), max(over, least)
    error = (under if pairs.delta > 0 else over) / _z((1 + LEVEL) / 2)
    p_value = 2 * NormalDist().cdf(-abs(pairs.delta) / error)
    if min(part.n for part in a.parts) < FEW and (exact := pairs.mcnemar()) > p_value:
        p_value = exact
        if exact >= 1 - LEVEL:
            under, over = max(under, pairs.delta), max(over, -pairs.delta)
            error = (under if pairs.delta > 0 else over) / _z((1 + LEVEL) / 2)
    return _comparison([pairs], pairs.delta - under, pairs.delta + over, p_value, _seen_from(error))


def compare_runs(
    seeds: Sequence[tuple[Outcomes, Outcomes, Mapping[str, str] | None]], kinds: Kinds | None = None
) -> Comparison:
    """Compare two arms (variants of a loop, say) over seeds: the mean over seeds of each seed's paired difference.

    Its variance has two parts, added: that between the seeds' differences over the number of seeds, and that between
    clusters of samples, which all seeds share as far as they were asked the same. The interval is Student's with the
    degrees of freedom of Welch and Satterthwaite. A little of the second part is in the first as well, which errs on
    the wide side; resampling seeds and samples instead is too narrow for the three to five seeds that one has
    (simulated coverage 90 to 93% where seeds differ much, against 94 to 95% here).

    Args:
        seeds: for each seed the outcomes of arm a, those of arm b, and the cluster of each sample id (None: each
            sample is its own).
        kinds: as of `compare_paired`; of the samples of all seeds.

    Raises:
        UserError: there are no seeds, the sample ids of a seed's two sides differ, or nothing was measured.
    """
    from scipy.stats import t

    if not seeds:
        raise UserError("there is no seed under which both arms were run: run the same seeds for each, then compare.")
    pairs = [_Pairs(a, b, clusters, kinds) for a, b, clusters in seeds]
    influence: dict[str, float] = {}
    for pair in pairs:
        for cluster, value in pair.influence().items():
            influence[cluster] = influence.get(cluster, 0.0) + value / len(seeds)
    parts: list[tuple[float, int]] = []
    if len(seeds) > 1:
        parts.append((variance(pair.delta for pair in pairs) / len(seeds), len(seeds) - 1))
    if (k := len(influence)) > 1:
        between = k / (k - 1) * math.fsum(value**2 for value in influence.values())
        parts.append((max(between, 2 / (k + 2) ** 2), k - 1))  # no less than with one gain and one loss
    total = math.fsum(v for v, _ in parts)
    if total == 0:
        return _comparison(pairs, -1.0, 1.0, None, None)
    freedom = total**2 / math.fsum(v**2 / df for v, df in parts)
    mean, error = math.fsum(pair.delta for pair in pairs) / len(pairs), math.sqrt(total)
    half = float(t.ppf((1 + LEVEL) / 2, freedom)) * error
    p_value = float(2 * t.sf(abs(mean) / error, freedom))
    return _comparison(pairs, mean - half, mean + half, p_value, half + float(t.ppf(POWER, freedom)) * error)


def holm(pvalues: Mapping[str, float]) -> dict[str, float]:
    """Holm's adjusted p-values, by the same names: the chance that any of the family is a false alarm is kept."""
    from statsmodels.stats.multitest import multipletests

    if not pvalues:
        return {}
    adjusted = multipletests(list(pvalues.values()), alpha=1 - LEVEL, method="holm")[1]
    return {name: float(value) for name, value in zip(pvalues, adjusted, strict=True)}


def _z(share: float) -> float:
    return NormalDist().inv_cdf(share)


def _seen_from(error: float) -> float:
    """`Comparison.detectable` of a standard error."""
    return (_z((1 + LEVEL) / 2) + _z(POWER)) * error


class _Sides:
    """Accuracies on two kinds of samples, and their harmonic mean."""

    def __init__(self, rows: Iterable[tuple[str, bool, bool]]) -> None:
        counts: dict[bool, list[tuple[str, int, int]]] = {True: [], False: []}
        for cluster, kind, right in rows:
            counts[kind].append((cluster, int(right), 1))
        self.parts = [rate("", counts[kind]) for kind in (True, False)]
        a, b = (part.value for part in self.parts)
        self.value = None if a is None or b is None else _harmonic(a, b)
        self._errors = [_influence(rows, part) for rows, part in zip(counts.values(), self.parts, strict=True)]

    @property
    def influence(self) -> dict[str, float]:
        """What each cluster adds to the mean's error, to the first order."""
        a, b = (part.value or 0.0 for part in self.parts)
        slopes = [2 * other**2 / (a + b) ** 2 if a + b else 0.0 for other in (b, a)]
        keys = dict.fromkeys([*self._errors[0], *self._errors[1]])
        first, second = self._errors
        return {key: slopes[0] * first.get(key, 0.0) + slopes[1] * second.get(key, 0.0) for key in keys}

    def interval(self) -> tuple[float, float]:
        """See `harmonic`."""
        together = _correlation(*self._errors)
        apart = math.sqrt(1 - together**2)
        found = []
        for step in range(360):
            x, y = math.cos(math.radians(step)), math.sin(math.radians(step))
            a, b = map(_moved, self.parts, (x, together * x + apart * y))
            found.append(_harmonic(a, b))
        return min(found), max(found)


def _harmonic(a: float, b: float) -> float:
    return 2 * a * b / (a + b) if a + b else 0.0


def _moved(part: Score, by: float) -> float:
    """A share moved toward an end of its interval, by the part of the way there."""
    value, end = part.value or 0.0, part.high if by > 0 else part.low
    return value + abs(by) * ((value if end is None else end) - value)


def _influence(rows: Iterable[tuple[str, int, int]], part: Score) -> dict[str, float]:
    """What each cluster adds to the error of a share."""
    found: dict[str, float] = {}
    for cluster, right, of in rows:
        found[cluster] = found.get(cluster, 0.0) + (right - of * (part.value or 0.0)) / part.n
    return found


def _correlation(a: Mapping[str, float], b: Mapping[str, float]) -> float:
    """Of two errors, by what each cluster adds to them; 0 where one of them varies nowhere."""
    spread = math.sqrt(math.fsum(v**2 for v in a.values()) * math.fsum(v**2 for v in b.values()))
    shared = math.fsum(value * b[key] for key, value in a.items() if key in b)
    return max(-1.0, min(1.0, shared / spread)) if spread else 0.0


class _Pairs:
    """The samples measured on both sides."""

    def __init__(
        self, a: Outcomes, b: Outcomes, clusters: Mapping[str, str] | None = None, kinds: Kinds | None = None
    ) -> None:
        if a.keys() != b.keys():
            only = [len(a.keys() - b.keys()), len(b.keys() - a.keys())]
            raise UserError(
                f"the two sides were not asked the same samples: {only[0]} only in the first, {only[1]} only in the "
                f"second, {len(a.keys() & b.keys())} in both. Compare results on one and the same benchmark."
            )
        both = {i: (x, y) for i, x in a.items() if x is not None and (y := b[i]) is not None}
        if not both:
            raise UserError("no sample was measured on both sides, so there is nothing to compare.")
        self.n = len(both)
        self.unmeasured = len(a) - self.n
        self.a = sum(x for x, _ in both.values()) / self.n
        self.b = sum(y for _, y in both.values()) / self.n
        self.differences = {i: int(x) - int(y) for i, (x, y) in both.items()}
        self.n10 = sum(difference > 0 for difference in self.differences.values())
        self.n01 = sum(difference < 0 for difference in self.differences.values())
        self.delta = (self.n10 - self.n01) / self.n
        self._clusters = clusters
        self.sides: tuple[_Sides, _Sides] | None = None
        if kinds is not None:
            first, second = (
                _Sides([(self.cluster(i), kinds[i], pair[side]) for i, pair in both.items()]) for side in (0, 1)
            )
            if first.value is None or second.value is None:
                raise UserError(
                    "a harmonic mean wants samples of both kinds, with a call and without, that were measured on both "
                    "sides, and there are only those of one. Compare another metric, such as --metric call_accuracy."
                )
            self.sides, self.a, self.b = (first, second), first.value, second.value
            self.delta = self.a - self.b

    def cluster(self, sample_id: str) -> str:
        """Of a sample."""
        return self._clusters[sample_id] if self._clusters else sample_id

    def mcnemar(self) -> float:
        """The exact test on clusters: those in which a gains against those in which it loses."""
        from scipy.stats import binomtest

        totals: dict[str, int] = {}
        for sample_id, difference in self.differences.items():
            cluster = self.cluster(sample_id)
            totals[cluster] = totals.get(cluster, 0) + difference
        gains = [total > 0 for total in totals.values() if total]
        return float(binomtest(sum(gains), len(gains), 0.5).pvalue) if gains else 1.0

    def influence(self) -> dict[str, float]:
        """What each cluster adds to the error of the difference."""
        if self.sides is not None:
            a, b = (side.influence for side in self.sides)
            return {key: value - b[key] for key, value in a.items()}
        found: dict[str, float] = {}
        for sample_id, difference in self.differences.items():
            cluster = self.cluster(sample_id)
            found[cluster] = found.get(cluster, 0.0) + (difference - self.delta) / self.n
        return found


def _comparison(
    pairs: Sequence[_Pairs], low: float, high: float, p_value: float | None, detectable: float | None
) -> Comparison:
    """The means over seeds, with an interval that stays within -1 and 1 and holds the difference."""
    delta = math.fsum(pair.delta for pair in pairs) / len(pairs)
    return Comparison(
        a=math.fsum(pair.a for pair in pairs) / len(pairs),
        b=math.fsum(pair.b for pair in pairs) / len(pairs),
        delta=delta,
        low=max(-1.0, min(low, delta)),
        high=min(1.0, max(high, delta)),
        p_value=p_value,
        n=sum(pair.n for pair in pairs),
        n01=sum(pair.n01 for pair in pairs),
        n10=sum(pair.n10 for pair in pairs),
        unmeasured=sum(pair.unmeasured for pair in pairs),
        detectable=None if detectable is None else min(1.0, detectable),
        deltas=tuple(pair.delta for pair in pairs),
    )


def _effective_size(sums: Sums, spread: float, most: int | None = None) -> float:
    """Sample size divided by the design effect, between 1 and the sample size.

    Args:
        sums: the total of each cluster's values, and their number.
        spread: variance of one value, were all independent and each 0 or 1 (of differences: -1, 0 or 1).
        most: the largest size where values are shares, each measured more than once; None: the sample size.
    """
    n, k = sum(number for _, number in sums.values()), len(sums)
    if k == n and most is None:
        return float(n)
    mean = sum(total for total, _ in sums.values()) / n
    residuals = math.fsum((total - mean * number) ** 2 for total, number in sums.values())
    if k == 1 or spread <= 0:  # nothing varies that could be seen: a cluster counts as one sample
        return float(k)
    # Linearised (Taylor) variance of a ratio over clusters, with the small-sample factor k / (k - 1).
    clustered = k / (k - 1) * residuals / n**2
    largest = float(n if most is None else most)
    return min(largest, spread / clustered) if clustered > 0 else largest
