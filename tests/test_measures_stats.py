import random
from collections.abc import Mapping
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sloop.measures.stats import (
    compare_paired,
    compare_runs,
    flip_rate,
    harmonic,
    holm,
    mean_score,
    pass_hat,
    rate,
    wilson,
)
from sloop.records import UserError

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
    result = compare_paired(outcomes(True, True, False, True), outcomes(False, False, True, True))
    assert (result.a, result.b, result.delta) == (0.75, 0.5, 0.25)
    assert (result.n, result.n10, result.n01) == (4, 2, 1)
    assert result.p_value == 1.0


def test_mcnemar_is_exact() -> None:
    a, b = outcomes(*[True] * 20), outcomes(*[False] * 8, *[True] * 12)
    assert compare_paired(a, b).p_value == pytest.approx(2 * 0.5**8)


def test_the_paired_interval_is_that_of_bonett_and_price() -> None:
    # n = 40, 10 gained, 3 lost
    a = outcomes(*[True] * 10, *[False] * 3, *[True] * 27)
    b = outcomes(*[False] * 10, *[True] * 3, *[True] * 27)
    p10, p01 = 11 / 42, 4 / 42
    half = 1.959964 * ((p10 + p01 - (p10 - p01) ** 2) / 42) ** 0.5
    result = compare_paired(a, b)
    assert result.low == pytest.approx(p10 - p01 - half, abs=1e-6)
    assert result.high == pytest.approx(p10 - p01 + half, abs=1e-6)


def test_identical_answers_leave_some_doubt() -> None:
    a = outcomes(*[True] * 50)
    for result in (compare_paired(a, a), compare_runs([(a, a, None), (a, a, None)])):
        assert result.delta == 0
        assert result.low < 0 < result.high
        assert result.p_value == 1.0


def test_clusters_widen_the_paired_interval_and_count_once_in_the_test() -> None:
    a, b = outcomes(*[True] * 40), outcomes(*[False] * 12, *[True] * 28)
    clusters = {f"s{k}": f"c{k // 2}" for k in range(40)}
    clustered, free = compare_paired(a, b, clusters), compare_paired(a, b)
    assert clustered.delta == free.delta
    assert clustered.high - clustered.low > free.high - free.low
    assert clustered.p_value == pytest.approx(2 * 0.5**6)


def test_what_was_not_measured_is_left_out_and_counted() -> None:
    result = compare_paired(outcomes(True, None, True), outcomes(True, True, False))
    assert (result.n, result.unmeasured, result.n10) == (2, 1, 1)


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
    assert forward.p_value == pytest.approx(back.p_value)
    assert -1 <= forward.low <= forward.delta <= forward.high <= 1


# --- over seeds -------------------------------------------------------------------------------------------------

Seed = tuple[Mapping[str, bool | None], Mapping[str, bool | None], None]


def seed(rng: random.Random, gain: float, n: int = 100) -> Seed:
    b = {f"s{k}": rng.random() < 0.5 for k in range(n)}
    return {key: value or rng.random() < gain for key, value in b.items()}, b, None


def test_the_difference_is_the_mean_over_seeds() -> None:
    b = outcomes(False, False, True, True)
    result = compare_runs([(outcomes(True, False, True, True), b, None), (outcomes(True, True, True, True), b, None)])
    assert (result.a, result.b, result.delta) == pytest.approx((0.875, 0.5, 0.375))
    assert result.deltas == (0.25, 0.5)
    assert (result.n, result.n10, result.n01) == (8, 3, 0)


def test_a_clear_gain_is_found_and_none_is_not() -> None:
    rng = random.Random(0)
    gain = compare_runs([seed(rng, 0.4) for _ in range(5)])
    assert gain.p_value is not None
    assert gain.p_value < 0.01
    assert gain.low > 0
    none = compare_runs([(seed(rng, 0)[0], seed(rng, 0)[0], None) for _ in range(5)])
    assert none.p_value is not None
    assert none.p_value > 0.05


def test_seeds_that_disagree_widen_the_interval() -> None:
    def right(n: int) -> dict[str, bool | None]:
        return outcomes(*[False] * (100 - n), *[True] * n)

    steady = compare_runs([(right(60), right(50), None)] * 2)
    unsteady = compare_runs([(right(50), right(50), None), (right(70), right(50), None)])
    assert steady.delta == pytest.approx(unsteady.delta)
    assert unsteady.high - unsteady.low > steady.high - steady.low


def test_clusters_widen_the_interval_over_seeds() -> None:
    a, b = outcomes(*[True] * 100), outcomes(*[False] * 12, *[True] * 88)
    clusters = {f"s{k}": f"c{k // 2}" for k in range(100)}
    free, clustered = compare_runs([(a, b, None)] * 3), compare_runs([(a, b, clusters)] * 3)
    assert clustered.high - clustered.low > free.high - free.low


def test_one_seed_gives_an_interval_over_samples_alone() -> None:
    one = seed(random.Random(1), 0.3)
    result, paired = compare_runs([one]), compare_paired(*one)
    assert result.low == pytest.approx(paired.low, abs=0.02)
    assert result.high == pytest.approx(paired.high, abs=0.02)


def test_one_sample_of_one_seed_says_nothing_of_others() -> None:
    result = compare_runs([(outcomes(True), outcomes(False), None)])
    assert (result.delta, result.low, result.high, result.p_value) == (1.0, -1.0, 1.0, None)


def test_the_interval_over_seeds_covers_the_truth() -> None:
    rng = random.Random(0)
    covered = 0
    for _ in range(150):
        items = [rng.random() for _ in range(100)]
        seeds: list[Seed] = []
        for _ in range(3):
            luck = rng.gauss(0, 0.05)
            sides = [
                {f"s{k}": rng.random() < min(1, max(0, 0.25 + 0.5 * p + shift)) for k, p in enumerate(items)}
                for shift in (0.1 + luck, 0.0)
            ]
            seeds.append((sides[0], sides[1], None))
        result = compare_runs(seeds)
        covered += result.low <= 0.1 <= result.high
    assert covered / 150 > 0.93


def test_order_of_seeds_and_samples_changes_nothing() -> None:
    rng = random.Random(3)
    seeds = [seed(rng, 0.2) for _ in range(3)]
    turned: list[Seed] = [(dict(reversed(a.items())), dict(reversed(b.items())), None) for a, b, _ in seeds[::-1]]
    one, other = compare_runs(seeds), compare_runs(turned)
    assert one.model_copy(update={"deltas": one.deltas[::-1]}).model_dump_json() == other.model_dump_json()


def test_no_seeds_is_the_users_to_correct() -> None:
    with pytest.raises(UserError, match="no seed"):
        compare_runs([])


def test_holm_keeps_names_and_order() -> None:
    assert holm({"b": 0.01, "a": 0.04, "c": 0.03}) == pytest.approx({"b": 0.03, "a": 0.06, "c": 0.06})
    assert holm({}) == {}


# --- several answers to a sample ---


def test_pass_hat_is_the_share_of_all_choices_of_k_answers_that_are_all_right() -> None:
    trials = {"a": [True, True, False, True], "b": [False] * 4, "c": [True] * 4, "d": [True, False, False, False]}
    for k in range(1, 5):
        shares = [sum(map(all, chosen)) / len(chosen) for t in trials.values() if (chosen := [*combinations(t, k)])]
        found = pass_hat("pass_hat", ((name, sum(t), len(t)) for name, t in trials.items()), k)
        assert found.value == pytest.approx(sum(shares) / len(shares))
        assert found.n == len(trials)


def test_pass_hat_of_one_has_the_value_and_interval_of_the_rate_over_all_answers() -> None:
    rng = random.Random(3)
    counts = [(str(n // 2), rng.randint(0, 5), 5) for n in range(60)]
    one, all_answers = pass_hat("x", counts, 1), rate("x", counts)
    assert one.value == pytest.approx(all_answers.value)
    assert (one.low, one.high) == pytest.approx((all_answers.low, all_answers.high))
    assert (one.n, all_answers.n) == (60, 300)


def test_a_sample_with_fewer_than_k_answers_is_left_out_of_pass_hat() -> None:
    counts = [("a", 2, 2), ("b", 1, 1), ("c", 0, 0)]
    assert [pass_hat("x", counts, k).n for k in (1, 2, 3)] == [2, 1, 0]
    assert pass_hat("x", counts, 3).value is None


def test_answers_that_are_all_the_same_count_once_a_sample() -> None:
    once = rate("x", alone(right=7, n=10))
    for k in (1, 4):
        found = pass_hat("x", [(str(n), 4 if n < 7 else 0, 4) for n in range(10)], k)
        assert found.value == pytest.approx(0.7)
        assert found.low is not None
        assert once.low is not None
        assert found.low <= once.low + 1e-9


def test_pass_hat_is_no_surer_than_as_many_groups_of_k_answers_that_share_none() -> None:
    for k, share, groups in ((1, 3 / 4, 40), (2, 1 / 2, 20), (3, 1 / 4, 10)):
        found = pass_hat("x", [(str(n), 3, 4) for n in range(10)], k)
        assert (found.value, found.n) == (pytest.approx(share), 10)
        assert (found.low, found.high) == pytest.approx(wilson(share * groups, groups))


def test_the_interval_of_pass_hat_covers_the_truth() -> None:
    rng, k, trials = random.Random(5), 3, 4
    skills = [rng.betavariate(2, 1) for _ in range(20_000)]
    truth = sum(skill**k for skill in skills) / len(skills)
    held = 0
    for _ in range(200):
        drawn = [(str(n // 2), sum(rng.random() < skill for _ in range(trials)), trials)
                 for n, skill in enumerate(rng.choices(skills, k=80))]  # fmt: skip
        found = pass_hat("x", drawn, k)
        assert found.low is not None
        assert found.high is not None
        held += found.low <= truth <= found.high
    assert held >= 182


# --- a harmonic mean of two accuracies ---


def kinds(right: int, calls: int, refused: int, others: int) -> list[tuple[str, bool, bool]]:
    rows = [(f"a{k}", True, k < right) for k in range(calls)]
    return rows + [(f"b{k}", False, k < refused) for k in range(others)]


def test_the_harmonic_mean_is_that_of_the_accuracies_on_both_kinds() -> None:
    found = harmonic("x", kinds(60, 100, 10, 50))
    assert (found.value, found.n) == (pytest.approx(2 * 0.6 * 0.2 / 0.8), 150)
    assert harmonic("x", kinds(0, 100, 50, 50)).value == 0.0, "who always refuses"
    assert harmonic("x", kinds(100, 100, 0, 50)).value == 0.0, "who always calls"
    assert harmonic("x", kinds(7, 10, 0, 0)).value is None, "there is one kind alone"


def test_the_share_of_either_kind_moves_no_harmonic_mean() -> None:
    few, many = harmonic("x", kinds(5, 10, 4, 8)), harmonic("x", kinds(5, 10, 40, 80))
    assert few.value == pytest.approx(many.value)


def test_a_mean_of_nothing_right_has_an_interval_above_it() -> None:
    found = harmonic("x", kinds(0, 40, 0, 20))
    assert (found.value, found.low) == (0.0, 0.0)
    assert found.high is not None
    assert 0.02 < found.high < 0.2


@pytest.mark.parametrize(("a", "b", "shared"), [(0.5, 0.5, 0.0), (0.3, 0.02, 0.0), (0.4, 0.4, 0.9), (0.95, 0.9, 0.5)])
def test_the_interval_of_a_harmonic_mean_covers_the_truth(a: float, b: float, shared: float) -> None:
    rng, held = random.Random(0), 0
    for _ in range(150):
        rows = []
        for k in range(80):
            luck = rng.random()
            rows.append((f"c{k}", True, luck < a))
            rows.append((f"c{k}", False, (luck if rng.random() < shared else rng.random()) < b))
        found = harmonic("x", rows)
        held += (found.low or 0) <= 2 * a * b / (a + b) <= (found.high or 0)
    assert held / 150 > 0.91


def answered(rng: random.Random, call: float, refuse: float, n: int = 150) -> dict[str, bool | None]:
    return {f"s{k}": rng.random() < (refuse if k % 3 == 0 else call) for k in range(n)}


KINDS = {f"s{k}": k % 3 != 0 for k in range(150)}


def test_harmonic_means_are_compared_in_pairs() -> None:
    rng = random.Random(1)
    a, b = answered(rng, 0.6, 0.6), answered(rng, 0.3, 0.2)
    forward, back = compare_paired(a, b, None, KINDS), compare_paired(b, a, None, KINDS)
    sides = [harmonic("x", [(k, KINDS[k], bool(right)) for k, right in side.items()]).value for side in (a, b)]
    assert [forward.a, forward.b] == sides
    assert forward.delta == pytest.approx(-back.delta)
    assert forward.low == pytest.approx(-back.high)
    assert forward.p_value is not None
    assert forward.low > 0
    assert forward.p_value < 0.05
    same = compare_paired(a, a, None, KINDS)
    assert (same.delta, same.p_value) == (0.0, 1.0)
    assert same.low < 0 < same.high
    over = compare_runs([(a, b, None), (answered(rng, 0.6, 0.6), answered(rng, 0.3, 0.2), None)], KINDS)
    assert over.low > 0
    with pytest.raises(UserError, match="samples of both kinds"):
        compare_paired(a, b, None, dict.fromkeys(KINDS, True))


def test_the_interval_of_a_difference_of_harmonic_means_covers_the_truth() -> None:
    rng, held, shown = random.Random(3), 0, 0
    truth = 2 * 0.5 * 0.6 / 1.1 - 2 * 0.4 * 0.5 / 0.9
    for _ in range(120):
        found = compare_paired(answered(rng, 0.5, 0.6), answered(rng, 0.4, 0.5), None, KINDS)
        held += found.low <= truth <= found.high
        none = compare_paired(answered(rng, 0.5, 0.6), answered(rng, 0.5, 0.6), None, KINDS)
        shown += none.p_value is not None and none.p_value < 0.05
    assert held / 120 > 0.91
    assert shown / 120 < 0.1


@pytest.mark.parametrize(("calls", "others"), [(2, 2), (6, 6), (2, 60), (15, 60)])
def test_few_samples_of_a_kind_show_no_difference_of_harmonic_means_that_is_none(calls: int, others: int) -> None:
    rng, shown = random.Random(7), 0
    which = {f"s{k}": k < calls for k in range(calls + others)}
    for _ in range(150):
        a, b = ({key: rng.random() < (0.5 if call else 0.8) for key, call in which.items()} for _ in "ab")
        found = compare_paired(a, b, None, which)
        assert found.p_value is not None
        assert (found.p_value < 0.05) == (found.low > 0 or found.high < 0)
        shown += found.p_value < 0.05
    assert shown / 150 < 0.05


def test_few_samples_that_all_gain_show_it() -> None:
    which = {f"s{k}": k < 8 for k in range(16)}
    found = compare_paired(dict.fromkeys(which, True), dict.fromkeys(which, False), None, which)
    assert found.low > 0
    assert found.p_value is not None
    assert found.p_value < 0.05


# --- what n can show, and answers that flip ---


def test_a_difference_that_is_called_detectable_is_shown_in_four_of_five_cases() -> None:
    rng, shown, told = random.Random(4), 0, []
    for _ in range(300):
        b = {f"s{k}": rng.random() < 0.5 for k in range(300)}
        a = {key: rng.random() < (0.7 if right else 0.5) for key, right in b.items()}
        found = compare_paired(a, b)
        shown += found.low > 0
        told.append(found.detectable or 0.0)
    assert sum(told) / 300 == pytest.approx(0.1, abs=0.005), "as large as the difference is"
    assert 0.72 < shown / 300 < 0.88


def test_more_samples_show_smaller_differences_and_nothing_known_shows_none() -> None:
    rng = random.Random(5)
    few, many = (compare_paired(seed(rng, 0.1, n)[0], seed(rng, 0.1, n)[1]) for n in (50, 800))
    assert few.detectable is not None
    assert many.detectable is not None
    assert many.detectable == pytest.approx(few.detectable / 4, rel=0.25)
    assert compare_runs([(outcomes(True), outcomes(False), None)]).detectable is None


def test_the_flip_rate_is_the_share_of_pairs_of_answers_that_differ() -> None:
    trials = {"a": [True, True, False, True], "b": [False] * 4, "c": [True] * 4, "d": [True, False, False, True]}
    pairs = [[x != y for x, y in combinations(t, 2)] for t in trials.values()]
    found = flip_rate("flip_rate", ((name, sum(t), len(t)) for name, t in trials.items()))
    assert found.value == pytest.approx(sum(sum(p) / len(p) for p in pairs) / 4)
    assert found.n == 4
    assert flip_rate("flip_rate", [("a", 1, 1), ("b", 0, 0)]).value is None
