"""What the next training set is made of."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sloop.records import Label, Ruling, ToolCall, UserError, Verdict
from sloop.records.ranges import checked
from sloop.stages.optimize.compose import Plan, Shares, balanced, by_hash, capped, hardest, quotas, unseen_quota

SHARES = Shares(unseen=0.3, unseen_decay=0.5, error=0.2, expanded=0.4, expansions=4, no_call=0.25)
CALL = Label(calls=(ToolCall(name="f", arguments={}),))
NO_CALL = Label(content="no")
RIGHT, WRONG, UNSURE = Verdict(correct=True), Verdict(correct=False), Verdict(correct=None)
COUNTS = st.integers(0, 300)
OUTCOMES = st.sampled_from(["PRED_WRONG", "LABEL_WRONG", "BOTH_CORRECT", "BOTH_WRONG", None])


@st.composite
def shares(draw):
    cuts = sorted(draw(st.lists(st.integers(0, 100), min_size=3, max_size=3)))
    unseen, error, expanded = cuts[0], cuts[1] - cuts[0], cuts[2] - cuts[1]
    return Shares(
        unseen=unseen / 100,
        unseen_decay=draw(st.floats(0, 1)),
        error=error / 100,
        expanded=expanded / 100,
        expansions=draw(st.integers(0, 5)),
        no_call=draw(st.floats(0, 1)),
    )


def _ruling(sample_id, outcome, new=CALL, old=CALL, agreed=False):
    verdict = None if agreed else RIGHT
    return Ruling(
        sample_id=sample_id, outcome=outcome, old=old, new=new, verdict_label=RIGHT, verdict_prediction=verdict
    )


def _plan(rulings=(), trained=(), unseen=(), perplexity=None, budget=10, shares=SHARES, no_call=()):
    return Plan(rulings, perplexity or {}, trained, unseen, no_call, budget, shares, "salt")


# --- quotas -------------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=50)
@given(*[COUNTS] * 5, shares())
def test_quotas_are_never_negative_and_add_up_to_the_budget_with_the_shortfall(
    budget, unseen, error, mastered, grown, shares
):
    found = quotas(budget, unseen, error, mastered, grown, shares)
    parts = found.model_dump()
    assert min(parts.values()) >= 0
    assert sum(parts.values()) == budget


@settings(deadline=None, max_examples=50)
@given(*[COUNTS] * 5, shares())
def test_quotas_never_ask_for_more_than_there_is(budget, unseen, error, mastered, grown, shares):
    found = quotas(budget, unseen, error, mastered, grown, shares)
    assert found.unseen <= unseen
    assert found.error <= min(error, budget * shares.error + 1e-6)
    assert found.expanded <= grown * shares.expansions
    assert found.mastered <= mastered


@settings(deadline=None, max_examples=50)
@given(*[COUNTS] * 5, shares())
def test_a_shortfall_is_reported_only_where_everything_is_used_up(budget, unseen, error, mastered, grown, shares):
    found = quotas(budget, unseen, error, mastered, grown, shares)
    if found.shortfall:
        assert found.mastered == mastered
        assert found.expanded == grown * shares.expansions


@settings(deadline=None, max_examples=50)
@given(*[COUNTS] * 5, shares())
def test_expansions_exceed_their_share_only_where_mastered_samples_run_out(
    budget, unseen, error, mastered, grown, shares
):
    found = quotas(budget, unseen, error, mastered, grown, shares)
    if found.expanded > budget * shares.expanded + 1e-6:
        assert found.mastered == mastered


def test_quotas_follow_the_shares_where_there_is_enough_of_everything():
    found = quotas(100, 30, 500, 500, 500, SHARES)
    assert found.model_dump() == {"unseen": 30, "error": 20, "expanded": 40, "mastered": 10, "shortfall": 0}


def test_the_unseen_share_is_halved_every_round():
    assert [unseen_quota(1000, number, SHARES) for number in (2, 3, 4, 5)] == [300, 150, 75, 37]


def test_a_share_that_binary_fractions_miss_is_not_cut_short():
    shares = _checked(unseen=0.29, error=0.29, expanded=0.29)
    assert unseen_quota(100, 2, shares) == 29
    assert quotas(100, 29, 500, 500, 500, shares).model_dump(exclude={"shortfall", "mastered"}) == {
        "unseen": 29, "error": 29, "expanded": 29
    }  # fmt: skip


def _checked(**changes):
    return checked(Shares, SHARES.model_dump() | changes, "optimize.shares")


def test_shares_that_take_more_than_everything_are_refused():
    with pytest.raises(UserError, match="may take at most 1"):
        _checked(error=0.5)


@pytest.mark.parametrize("name", ["unseen", "unseen_decay", "error", "expanded", "no_call"])
@pytest.mark.parametrize("value", [-0.1, 1.1])
def test_a_share_outside_0_to_1_is_named(name, value):
    with pytest.raises(UserError, match=rf"optimize\.shares\.{name}={value}"):
        _checked(**{name: value})


@pytest.mark.parametrize("changes", [{}, {"unseen": 0.33, "error": 0.56, "expanded": 0.11}])
def test_shares_of_at_most_1_are_allowed(changes):
    assert _checked(**changes).model_dump() == SHARES.model_dump() | changes


def test_a_negative_number_of_expansions_is_named():
    with pytest.raises(UserError, match=r"optimize\.shares\.expansions=-1"):
        _checked(expansions=-1)


# --- balanced, hardest, by_hash -----------------------------------------------------------------------------------


@settings(deadline=None, max_examples=50)
@given(st.lists(st.booleans(), max_size=80), st.floats(0, 1))
def test_items_without_a_call_are_never_more_than_their_share_of_what_has_come(no_calls, share):
    come = 0
    for count, no_call in enumerate(balanced(no_calls, bool, share), 1):
        come += no_call
        assert come <= share * count + 1e-9


@settings(deadline=None, max_examples=60)
@given(st.lists(st.booleans(), max_size=80), st.floats(0, 1))
def test_no_item_with_a_call_is_lost_and_each_sort_keeps_its_order(no_calls, share):
    items = list(enumerate(no_calls))
    found = list(balanced(items, lambda item: item[1], share))
    assert [item for item in found if not item[1]] == [item for item in items if not item[1]]
    kept = [item for item in found if item[1]]
    assert kept == [item for item in items if item[1]][: len(kept)]


@settings(deadline=None, max_examples=50)
@given(st.lists(st.booleans(), max_size=80), st.floats(0, 1))
def test_of_the_ids_without_a_call_the_last_ones_go_until_the_rest_are_their_share(no_calls, share):
    ids = [f"{n}" for n in range(len(no_calls))]
    silent = {i for i, no_call in zip(ids, no_calls, strict=True) if no_call}
    found = capped(ids, silent, share)
    kept = [i for i in found if i in silent]
    assert len(kept) <= share * len(found) + 1e-6
    assert found == [i for i in ids if i not in silent or i in kept]
    assert kept == [i for i in ids if i in silent][: len(kept)]
    if len(kept) < len(silent):
        assert len(kept) + 1 > share * (len(found) + 1) - 1e-6


def test_a_share_of_1_lets_everything_pass_in_order():
    assert list(balanced([True, True, False], bool, 1.0)) == [True, True, False]


def test_the_hardest_have_the_highest_perplexity_and_unmeasured_ones_come_last():
    assert hardest({"a": 1.5, "b": None, "c": 9.0, "d": 1.5, "e": 2.0}, 4) == ["c", "e", "a", "d"]


@settings(deadline=None, max_examples=60)
@given(st.lists(st.text(min_size=1), unique=True, max_size=15))
def test_an_order_by_hash_is_not_shifted_by_other_samples(ids):
    whole = by_hash(ids, "salt")
    assert by_hash(ids[1:], "salt") == [i for i in whole if i in ids[1:]]
    assert by_hash(ids[::-1], "salt") == whole


# --- the plan -----------------------------------------------------------------------------------------------------


def test_ruled_out_samples_leave_and_the_others_are_sorted_by_what_was_ruled():
    rulings = [
        _ruling("p", "PRED_WRONG"),
        _ruling("l", "LABEL_WRONG"),
        _ruling("c", "BOTH_CORRECT"),
        _ruling("w", "BOTH_WRONG", new=None),
        _ruling("a", "ABSTAIN", new=None),
        _ruling("m", "BOTH_WRONG", new=None, agreed=True),
    ]
    plan = _plan(rulings, trained=["p", "l", "c", "w", "a", "m", "t"])
    assert set(plan.errors) == set(plan.seeds) == {"p", "l"}
    assert set(plan.mastered) == {"c", "t"}
    assert plan.relabelled == {"l"}
    assert plan.outcomes == {
        "PRED_WRONG": 1,
        "LABEL_WRONG": 1,
        "BOTH_CORRECT": 1,
        "BOTH_WRONG": 1,
        "ABSTAIN": 1,
        "AGREED_BOTH_WRONG": 1,
    }


def test_unseen_samples_are_seeds_of_expansions_but_no_error_seeds():
    plan = _plan([_ruling("u", "PRED_WRONG"), _ruling("v", "ABSTAIN", new=None)], trained=["t"], unseen=["u", "v", "w"])
    assert (plan.errors, plan.seeds, plan.unseen) == ([], ["u"], ["u", "w"])


def test_where_unseen_samples_alone_fail_they_are_expanded_to_their_share():
    rulings = [_ruling(f"u{n}", "PRED_WRONG") for n in range(3)]
    trained = [f"t{n}" for n in range(10)]
    plan = _plan(rulings, trained, [f"u{n}" for n in range(3)])
    assert plan.quotas.model_dump() == {"unseen": 3, "error": 0, "expanded": 4, "mastered": 3, "shortfall": 0}


def test_error_seeds_without_a_call_are_bounded():
    rulings = [_ruling(f"c{n}", "PRED_WRONG") for n in range(6)]
    rulings += [_ruling(f"n{n}", "PRED_WRONG", new=NO_CALL, old=NO_CALL) for n in range(20)]
    plan = _plan(rulings, trained=[ruling.sample_id for ruling in rulings])
    assert sum(i.startswith("n") for i in plan.errors) == 2
    assert len(plan.errors) == 8
    assert plan.summary(0)["held_back"] == {"unseen": 0, "error": 18, "mastered": 0}


def test_what_student_and_label_get_wrong_makes_room_for_new_samples_in_its_place():
    rulings = [_ruling("w", "BOTH_WRONG", new=None), _ruling("m", "BOTH_WRONG", new=None, agreed=True)]
    plan = _plan([*rulings, _ruling("a", "ABSTAIN", new=None)], trained=["w", "a", "m", "t"])
    assert set(plan.lost) == {"w", "m"}
    assert plan.quotas.model_dump() == {"unseen": 0, "error": 0, "expanded": 8, "mastered": 1, "shortfall": 1}


def test_unseen_and_mastered_samples_are_no_more_refusals_than_their_share():
    """Where calls are what labels get wrong, what stays is mostly refusals."""
    trained = [*(f"c{n}" for n in range(12)), *(f"n{n}" for n in range(4))]
    unseen = [*(f"u{n}" for n in range(6)), *(f"v{n}" for n in range(6))]
    silent = [i for i in [*trained, *unseen] if i[0] in "nv"]
    rulings = [_ruling(f"c{n}", "ABSTAIN", new=None) for n in range(9)]
    plan = _plan(rulings, trained, unseen, no_call=silent)
    assert plan.mastered == ["c10", "c11", "c9", "n0"]
    assert plan.unseen == [*(f"u{n}" for n in range(6)), "v0", "v1"]
    assert plan.summary(0)["held_back"] == {"unseen": 4, "error": 0, "mastered": 3}


def test_data_of_more_refusals_keep_their_own_share():
    trained = ["c0", "c1", "n0", "n1", "n2", "n3", "n4", "n5"]
    plan = _plan(trained=trained, no_call=[i for i in trained if i[0] == "n"])
    assert plan.mastered == trained


def test_mastered_samples_are_taken_by_perplexity():
    perplexity = {"a": 1.0, "b": 3.0, "c": 2.0}
    assert list(_plan((), "abc", (), perplexity, budget=2).chosen(0)) == ["b", "c"]


@settings(deadline=None, max_examples=100)
@given(st.lists(OUTCOMES, max_size=40), COUNTS)
def test_the_counts_of_a_summary_add_up(outcomes, budget):
    ids = [f"i{n}" for n in range(len(outcomes))]
    rulings = [
        _ruling(i, outcome, new=None if outcome == "BOTH_WRONG" else CALL)
        for i, outcome in zip(ids, outcomes, strict=True)
        if outcome
    ]
    half = len(ids) // 2
    plan = _plan(rulings, ids[half:], ids[:half], budget=budget)
    for expanded in {0, plan.quotas.expanded}:
        summary = plan.summary(expanded)
        assert sum(summary["composition"].values()) == summary["samples"] == len(plan.chosen(expanded)) + expanded
        assert summary["samples"] + summary["shortfall"] == budget
        assert summary["shortfall"] >= 0


def test_expansions_that_fell_short_are_made_up_for_by_mastered_samples():
    rulings = [_ruling(f"e{n}", "PRED_WRONG") for n in range(10)]
    trained = [*(ruling.sample_id for ruling in rulings), *(f"m{n}" for n in range(10))]
    plan = _plan(rulings, trained)
    assert plan.quotas.expanded == 4
    assert len(plan.chosen(4)) == 6
    assert len(plan.chosen(1)) == 9


def test_mastered_samples_without_a_perplexity_are_taken_by_id_and_counted():
    plan = _plan(trained=["a", "b", "c", "d"], perplexity={"a": None, "c": 2.0, "d": None}, budget=3)
    assert list(plan.chosen(0)) == ["c", "a", "b"]
    assert plan.summary(0)["mastered_by_id"] == 2
