"""Verdicts in, rulings out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sloop.records import Label, Message, Prediction, Sample, Tool, ToolCall, Verdict
from sloop.stages.optimize.verify import classify, rule, rule_agreement

TOOL = Tool(name="get_time", parameters={"type": "object", "properties": {"city": {"type": "string"}}})
OLD = Label(calls=(ToolCall(name="get_time", arguments={"city": "Oslo"}),))
SAMPLE = Sample(tools=(TOOL,), messages=(Message(role="user", content="time in Rome?"),), label=OLD)
PREDICTION = Prediction(sample_id=SAMPLE.id, calls=(ToolCall(name="get_time", arguments={"city": "Rome"}),))
GARBLED = Prediction(sample_id=SAMPLE.id, text="<tool_call>{", error="format")
RIGHT, WRONG, UNKNOWN = Verdict(correct=True), Verdict(correct=False), Verdict(correct=None)
verdicts = st.sampled_from([RIGHT, WRONG, UNKNOWN])


@pytest.mark.parametrize(
    ("label", "prediction", "outcome"),
    [
        (RIGHT, WRONG, "PRED_WRONG"),
        (WRONG, RIGHT, "LABEL_WRONG"),
        (RIGHT, RIGHT, "BOTH_CORRECT"),
        (WRONG, WRONG, "BOTH_WRONG"),
        (UNKNOWN, RIGHT, "ABSTAIN"),
        (WRONG, UNKNOWN, "ABSTAIN"),
        (UNKNOWN, UNKNOWN, "ABSTAIN"),
    ],
)
def test_the_outcome_follows_from_the_two_verdicts(label, prediction, outcome):
    assert classify(label, prediction) == outcome


@given(verdicts, verdicts)
def test_swapping_the_verdicts_swaps_the_blame(one, other):
    swapped = {"PRED_WRONG": "LABEL_WRONG", "LABEL_WRONG": "PRED_WRONG"}
    outcome = classify(one, other)
    assert classify(other, one) == swapped.get(outcome, outcome)


def test_a_wrong_label_becomes_the_students_answer():
    ruling = rule(SAMPLE, PREDICTION, WRONG, RIGHT)
    assert ruling.old == OLD
    assert ruling.new == PREDICTION.answer


def test_that_order_matters_survives_a_new_label():
    ordered = SAMPLE.model_copy(update={"label": OLD.model_copy(update={"ordered": True})})
    new = rule(ordered, PREDICTION, WRONG, RIGHT).new
    assert new is not None
    assert new.ordered


@pytest.mark.parametrize(("label", "prediction"), [(RIGHT, WRONG), (RIGHT, RIGHT)])
def test_a_right_label_stays(label, prediction):
    assert rule(SAMPLE, PREDICTION, label, prediction).new == OLD


@pytest.mark.parametrize(("label", "prediction"), [(WRONG, WRONG), (UNKNOWN, WRONG), (RIGHT, UNKNOWN)])
def test_both_wrong_and_abstentions_leave_the_data(label, prediction):
    assert rule(SAMPLE, PREDICTION, label, prediction).new is None


def test_a_judge_that_calls_garbage_right_is_an_error():
    with pytest.raises(ValueError, match="could not be parsed"):
        rule(SAMPLE, GARBLED, WRONG, RIGHT)


def test_an_agreed_label_that_is_wrong_leaves_the_data():
    ruling = rule_agreement(SAMPLE, WRONG)
    assert (ruling.outcome, ruling.new, ruling.verdict_prediction) == ("BOTH_WRONG", None, None)


def test_an_agreed_label_stays_where_it_is_called_right():
    ruling = rule_agreement(SAMPLE, RIGHT)
    assert (ruling.outcome, ruling.new, ruling.verdict_label) == ("BOTH_CORRECT", OLD, RIGHT)


def test_an_agreed_label_that_the_judge_cannot_tell_leaves_the_data():
    ruling = rule_agreement(SAMPLE, UNKNOWN)
    assert (ruling.outcome, ruling.new, ruling.verdict_label) == ("ABSTAIN", None, UNKNOWN)


def test_a_sample_without_label_cannot_be_ruled_on():
    with pytest.raises(ValueError, match="no label"):
        rule_agreement(SAMPLE.blind(), RIGHT)
