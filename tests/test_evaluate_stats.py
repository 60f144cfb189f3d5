import random
from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sloop.evaluate.stats import compare_paired, compare_runs, holm, mean_score, rate, wilson
from sloop.types import UserError

OUTCOMES = st.dictionaries(st.text("abcdef", min_size=1, max_size=2), st.booleans(), min_size=1, max_size=20)


def outcomes(*values: bool | None) -> dict[str, bool | None]:
    return {f"s{k}": value for k, value in enumerate(values)}


def alone(right: int, n: int) -> list[tuple[str, int, int]]:
    return [(f"c{k}", int(k < right), 1) for k in range(n)]


# --- rates ------------------------------------------------------------------------------------------------------


def test_wilson_matches_the_published_example() -> None:
    low, high = wilson(81, 263)  # Newcombe (1998), table I
    assert (round(low or 0, 4), round(high or 0, 4)) == (0.2553, 0.3662)


def test_nothing_measured_has_no_value_and_no_interval() -> None:
    assert wilson(0, 0) == (None, None)
    score = rate("x", [("c", 0, 0)])
    assert (score.value, score.n, score.low, score.high) == (None, 0, None, None)


@settings(deadline=None, max_examples=100)
@given(st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 3), st.integers(0, 2)), max_size=12))
def test_an_interval_holds_its_rate(rows: list[tuple[str, int, int]]) -> None:
    score = rate("x", [(cluster, right, right + wrong) for cluster, right, wrong in rows])
    assert (score.value is None) == (score.n == 0)
    if score.value is not None and score.low is not None and score.high is not None:
        assert 0 <= score.low <= score.value <= score.high <= 1


def test_independent_samples_get_wilsons_interval() -> None:
    score = rate("x", alone(7, 10))
    assert (score.low, score.high) == wilson(7, 10)


def test_samples_that_always_agree_count_once_a_cluster() -> None:
    twice = rate("x", [(c, 2 * right, 2) for c, right, _ in alone(60, 100)])
    once = rate("x", alone(60, 100))
    assert twice.value == once.value
    assert twice.n == 200
    assert twice.low == pytest.approx(once.low, abs=2e-3)
    assert twice.high == pytest.approx(once.high, abs=2e-3)


def test_all_right_is_no_certainty() -> None:
    score = rate("x", [(f"c{k}", 2, 2) for k in range(20)])
    assert (score.low, score.high) == wilson(20, 20)


def test_clusters_never_narrow_an_interval() -> None:
    mixed = rate("x", [(f"c{k}", 1, 2) for k in range(50)])  # each cluster half right: less variance than chance
    low, high = wilson(50, 100)
    assert (mixed.low, mixed.high) == (low, high)


def test_the_interval_of_clustered_samples_covers_the_truth() -> None:
    rng = random.Random(0)
    covered = 0
    for _ in range(300):
        rows = []
        for k in range(60):
            shared = rng.random() < 0.95
            same = rng.random() < 0.7
            rows.append((f"c{k}", shared + (shared if same else rng.random() < 0.95), 2))
        score = rate("x", rows)
        covered += (score.low or 0) <= 0.95 <= (score.high or 0)
    assert covered / 300 > 0.93


def test_mean_and_its_interval() -> None:
    score = mean_score("x", [0.0, 0.5, 1.0])
    assert (score.value, score.n) == (0.5, 3)
    assert score.low == pytest.approx(0.5 - 4.302653 * 0.5 / 3**0.5)
    assert mean_score("x", [0.25]).low is None
    assert mean_score("x", []).value is None


# --- paired -----------------------------------------------------------------------------------------------------


def test_paired_counts_and_difference() -> None:
    result = compare_paired(outcomes(False, False, True, True), outcomes(True, True, False, True))
    assert (result.delta, result.n, result.n01, result.n10) == (0.25, 4, 2, 1)
    assert result.p == 1.0


def test_mcnemar_is_exact() -> None:
    a, b = outcomes(*[False] * 8, *[True] * 12), outcomes(*[True] * 20)
    assert compare_paired(a, b).p == pytest.approx(2 * 0.5**8)


def test_the_paired_interval_is_that_of_bonett_and_price() -> None:
    # n = 40, 10 gained, 3 lost
    a = outcomes(*[False] * 10, *[True] * 3, *[True] * 27)
    b = outcomes(*[True] * 10, *[False] * 3, *[True] * 27)
    p01, p10 = 11 / 42, 4 / 42
    half = 1.959964 * ((p01 + p10 - (p01 - p10) ** 2) / 42) ** 0.5
    result = compare_paired(a, b)
    assert result.low == pytest.approx(p01 - p10 - half, abs=1e-6)
    assert result.high == pytest.approx(p01 - p10 + half, abs=1e-6)


def test_identical_answers_leave_some_doubt() -> None:
    a = outcomes(*[True] * 50)
    result = compare_paired(a, a)
    assert result.delta == 0
    assert result.low < 0 < result.high
    assert result.p == 1.0


def test_clusters_widen_the_paired_interval_and_count_once_in_the_test() -> None:
    a, b = outcomes(*[False] * 12, *[True] * 28), outcomes(*[True] * 40)
    clusters = {f"s{k}": f"c{k // 2}" for k in range(40)}
    clustered, free = compare_paired(a, b, clusters), compare_paired(a, b)
    assert clustered.delta == free.delta
    assert clustered.high - clustered.low > free.high - free.low
    assert clustered.p == pytest.approx(2 * 0.5**6)


def test_what_was_not_measured_is_left_out_and_counted() -> None:
    result = compare_paired(outcomes(True, None, False), outcomes(True, True, True))
    assert (result.n, result.unmeasured, result.n01) == (2, 1, 1)


def test_different_samples_are_not_compared() -> None:
    with pytest.raises(UserError, match="1 only in the first, 0 only in the second, 1 in both"):
        compare_paired(outcomes(True, True), outcomes(True))


def test_nothing_in_common_is_not_compared() -> None:
    with pytest.raises(UserError, match="nothing to compare"):
        compare_paired(outcomes(None), outcomes(True))


@settings(deadline=None, max_examples=60)
@given(OUTCOMES, st.randoms(use_true_random=False))
def test_swapping_the_sides_turns_the_sign(a: dict[str, bool], rng: random.Random) -> None:
    b = {key: rng.random() < 0.5 for key in a}
    forward, back = compare_paired(a, b), compare_paired(b, a)
    assert forward.delta == -back.delta
    assert forward.low == pytest.approx(-back.high)
    assert forward.p == pytest.approx(back.p)
    assert forward.low <= forward.delta <= forward.high


# --- over seeds -------------------------------------------------------------------------------------------------


def shifted(rng: random.Random, gain: float, n: int = 100) -> tuple[Mapping[str, bool], Mapping[str, bool]]:
    a = {f"s{k}": rng.random() < 0.5 for k in range(n)}
    return a, {key: value or rng.random() < gain for key, value in a.items()}


def test_the_difference_is_the_mean_over_seeds() -> None:
    pairs = {
        0: (outcomes(False, False, True, True), outcomes(True, False, True, True)),
        1: (outcomes(False, False, True, True), outcomes(True, True, True, True)),
    }
    result = compare_runs(pairs)
    assert result.delta == pytest.approx(0.375)
    assert result.deltas == {0: 0.25, 1: 0.5}
    assert (result.seeds, result.n) == (2, 8)


def test_a_clear_gain_is_found_and_none_is_not() -> None:
    rng = random.Random(0)
    gain = compare_runs({seed: shifted(rng, 0.4) for seed in range(5)})
    assert gain.p is not None
    assert gain.p < 0.01
    assert gain.low is not None
    assert gain.low > 0
    none = compare_runs({seed: (shifted(rng, 0)[0], shifted(rng, 0)[0]) for seed in range(5)})
    assert none.p is not None
    assert none.p > 0.05


def test_seeds_that_disagree_widen_the_interval() -> None:
    a = outcomes(*[False] * 50, *[True] * 50)
    b = outcomes(*[False] * 40, *[True] * 60)
    none, much = a, outcomes(*[False] * 30, *[True] * 70)
    steady, unsteady = compare_runs({0: (a, b), 1: (a, b)}), compare_runs({0: (a, none), 1: (a, much)})
    assert steady.delta == unsteady.delta
    assert (unsteady.high or 0) - (unsteady.low or 0) > (steady.high or 0) - (steady.low or 0)


def test_one_seed_gives_an_interval_over_samples_alone() -> None:
    a, b = shifted(random.Random(1), 0.3)
    result, paired = compare_runs({7: (a, b)}), compare_paired(a, b)
    assert result.seeds == 1
    assert result.low == pytest.approx(paired.low, abs=0.02)
    assert result.high == pytest.approx(paired.high, abs=0.02)


def test_one_sample_of_one_seed_gives_no_interval() -> None:
    result = compare_runs({0: (outcomes(False), outcomes(True))})
    assert (result.delta, result.low, result.p) == (1.0, None, None)


def test_order_of_seeds_and_samples_changes_nothing() -> None:
    rng = random.Random(3)
    pairs = {seed: shifted(rng, 0.2) for seed in range(3)}
    turned = {
        seed: tuple(dict(reversed(list(side.items()))) for side in pairs[seed]) for seed in sorted(pairs, reverse=True)
    }
    one, other = compare_runs(pairs), compare_runs(turned)  # type: ignore[arg-type]
    assert one.model_dump_json() == other.model_dump_json()


def test_no_seeds_is_the_users_to_correct() -> None:
    with pytest.raises(UserError, match="no seed"):
        compare_runs({})


def test_holm_keeps_names_and_order() -> None:
    assert holm({"b": 0.01, "a": 0.04, "c": 0.03}) == pytest.approx({"b": 0.03, "a": 0.06, "c": 0.06})
    assert holm({}) == {}
