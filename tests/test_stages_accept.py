"""The door of a dataset."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sloop.calls.wording import request_key
from sloop.records import Label, Lineage, Message, Rubric, Sample, Tool, ToolCall, Verdict
from sloop.stages.accept import RULES, Admission, Reason, accepted_by, check, check_verdict

TIMER = Tool(
    name="set_timer",
    description="Start a timer.",
    parameters={"type": "object", "properties": {"minutes": {"type": "integer"}}, "required": ["minutes"]},
)
BELL = Tool(name="ring_bell", description="Ring a bell.", parameters={"type": "object", "properties": {}})
LONG = "please start a timer of 5 minutes for me because the bread in the oven will be done by then"


def _sample(request="start a timer of 5 minutes", tools=(TIMER, BELL), minutes=5, earlier=()):
    return Sample(
        tools=tools,
        messages=(*earlier, Message(role="user", content=request)),
        label=Label(calls=(ToolCall(name="set_timer", arguments={"minutes": minutes}),)),
    )


def _door(rules=RULES, forbidden=frozenset(), similarity=0.8):
    return Admission(rules=rules, forbidden=forbidden, similarity=similarity)


def _reason(rejected):
    return rejected.reason if rejected else None


def test_a_valid_grounded_new_sample_is_let_in():
    assert _door().admit(_sample()) is None


def test_all_reasons_are_short_codes():
    assert all(reason.isidentifier() and reason.islower() and len(reason) < 20 for reason in get_args(Reason))


@pytest.mark.parametrize(
    ("sample", "rule", "reason"),
    [
        (_sample(tools=(TIMER, TIMER)), "tools", "invalid_tools"),
        (_sample(tools=(TIMER, BELL.model_copy(update={"name": "ring the bell"}))), "tools", "invalid_tools"),
        (_sample(tools=(TIMER, BELL.model_copy(update={"parameters": {"type": "string"}}))), "tools", "invalid_tools"),
        (
            _sample(tools=(TIMER, BELL.model_copy(update={"parameters": {"type": "object", "required": 1}}))),
            "tools",
            "invalid_tools",
        ),
        (_sample(tools=(BELL,)), "membership", "not_offered"),
        (_sample(minutes="5"), "calls", "invalid_call"),
        (_sample(minutes=6), "grounding", "ungrounded"),
    ],
)
def test_each_rule_that_is_asked_gives_its_reason(sample, rule, reason):
    rejected = check(sample, [rule])
    assert _reason(rejected) == reason
    assert rejected.detail


def test_rules_that_are_not_asked_do_not_apply():
    noisy = _sample(minutes=6)
    assert _door(rules=["duplicate", "near_duplicate", "forbidden"]).admit(noisy) is None


def test_a_sample_without_label_passes_the_rules_about_labels():
    assert check(_sample().blind(), RULES) is None


def test_the_rejection_is_keyed_by_the_order_or_else_the_sample():
    sample = _sample(minutes=6)
    ordered = sample.model_copy(update={"lineage": Lineage(unit="unit-7")})
    assert check(sample, RULES).key == sample.id
    assert check(ordered, RULES).key == "unit-7"


def test_a_benchmarks_request_is_kept_out_however_it_is_punctuated():
    door = _door(forbidden={request_key("Start a timer of 5 minutes!")})
    assert _reason(door.admit(_sample())) == "in_benchmark"


def test_requests_that_differ_in_a_symbol_or_number_have_other_keys():
    keys = [request_key(text) for text in ("what is 5 + 3?", "what is 5 - 3?", "what is 5 + 4?", "what is 5+3")]
    assert len(set(keys)) == 3


def test_the_same_sample_twice_is_a_duplicate_whatever_its_label():
    door = _door()
    door.admit(_sample())
    assert _reason(door.admit(_sample(minutes=6))) == "duplicate"


@pytest.mark.parametrize(
    "again",
    [
        _sample("Start a timer of 5 minutes."),
        _sample(tools=(BELL, TIMER)),
    ],
)
def test_the_same_words_with_the_same_tools_are_a_near_duplicate(again):
    door = _door()
    door.admit(_sample())
    assert _reason(door.admit(again)) == "near_duplicate"


def test_a_long_request_that_differs_in_one_word_is_a_near_duplicate():
    door = _door(similarity=0.6)
    door.admit(_sample(LONG))
    assert _reason(door.admit(_sample(LONG.replace("bread", "cake")))) == "near_duplicate"


@pytest.mark.parametrize(
    "other",
    [
        _sample("start a timer of 7 minutes", minutes=7),
        _sample("set the timer to 5 minutes"),
        _sample(tools=(TIMER,)),
        _sample(earlier=(Message(role="user", content="hello"), Message(role="assistant", content="hello"))),
    ],
)
def test_other_values_words_tools_and_turns_are_no_duplicates(other):
    door = _door()
    door.admit(_sample())
    assert door.admit(other) is None


def test_a_contrast_pair_survives():
    door = _door()
    refusal = Sample(tools=(BELL,), messages=_sample().messages, label=Label(content="I cannot do that."))
    assert door.admit(_sample()) is None
    assert door.admit(refusal) is None


def test_what_was_refused_is_not_remembered():
    door = _door()
    assert _reason(door.admit(_sample(minutes=6))) == "ungrounded"
    assert door.admit(_sample()) is None


WORDS = st.lists(st.sampled_from(["red", "blue", "old", "5", "six", "fox", "dog"]), min_size=1, max_size=14)


@settings(deadline=None, max_examples=60)
@given(WORDS, WORDS, st.sampled_from([0.3, 0.5, 0.8, 1.0]))
def test_near_duplicates_are_found_exactly_where_the_similarity_says(one, other, similarity):
    def shingles(words):
        return {tuple(words[k : k + 3]) for k in range(max(1, len(words) - 2))}

    first, second = shingles(one), shingles(other)
    near = len(first & second) >= similarity * len(first | second)
    door = _door(rules=["near_duplicate"], similarity=similarity)
    assert door.admit(_sample(" ".join(one))) is None
    assert _reason(door.admit(_sample(" ".join(other)))) == ("near_duplicate" if near else None)


GOOD = Rubric(tool_relevance=0.4, argument_quality=0.4, clarity=0.0)
POOR = Rubric(tool_relevance=0.4, argument_quality=0.2, clarity=0.0)


@pytest.mark.parametrize(
    ("verdict", "reason"),
    [
        (Verdict(correct=True), None),
        (Verdict(correct=True, rubric=GOOD), None),
        (Verdict(correct=True, rubric=POOR), "low_score"),
        (Verdict(correct=False, rubric=GOOD), "judged_wrong"),
        (Verdict(correct=None, rubric=GOOD, evidence=("who knows",)), "judge_abstained"),
    ],
)
def test_a_judge_lets_in_what_is_right_and_scores_enough(verdict, reason):
    assert accepted_by(verdict) is (reason is None)
    assert _reason(check_verdict(_sample(), verdict)) == reason


def test_the_bar_for_the_score_can_be_moved():
    assert accepted_by(Verdict(correct=True, rubric=POOR), threshold=0.6)
