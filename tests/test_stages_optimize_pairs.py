"""Preference pairs: what is chosen over what, and where there is none."""

from __future__ import annotations

import pytest
from models import TIMER, WEATHER, ask

from sloop.records import Label, Lineage, Outcome, Prediction, Ruling, Sample, ToolCall
from sloop.stages.optimize.pairs import pair_of_expansion, pair_of_ruling


def _call(minutes: int) -> ToolCall:
    return ToolCall(name="set_timer", arguments={"minutes": minutes})


SAMPLE = ask("timer for 5 minutes", _call(5))
WRONG = Prediction(sample_id=SAMPLE.id, calls=(_call(6),), text="<tool_call>...")


def _ruling(outcome: Outcome, new: Label | None) -> Ruling:
    assert SAMPLE.label is not None
    return Ruling(
        sample_id=SAMPLE.id,
        outcome=outcome,
        old=SAMPLE.label,
        new=new,
        verdict_label=None,
        verdict_prediction=None,
    )


def test_a_wrong_answer_is_rejected_for_the_label() -> None:
    pair = pair_of_ruling(SAMPLE, WRONG, _ruling("PRED_WRONG", SAMPLE.label))
    assert pair is not None
    assert (pair.sample_id, pair.origin, pair.prompt, pair.tools) == (
        SAMPLE.id, "ruling", SAMPLE.messages, (WEATHER, TIMER),
    )  # fmt: skip
    assert [message.tool_calls for message in (*pair.chosen, *pair.rejected)] == [(_call(5),), (_call(6),)]


def test_a_wrong_label_is_rejected_for_the_answer() -> None:
    pair = pair_of_ruling(SAMPLE, WRONG, _ruling("LABEL_WRONG", WRONG.answer))
    assert pair is not None
    assert [message.tool_calls for message in (*pair.chosen, *pair.rejected)] == [(_call(6),), (_call(5),)]


@pytest.mark.parametrize("outcome", ["BOTH_CORRECT", "BOTH_WRONG", "ABSTAIN"])
def test_where_no_answer_is_better_there_is_no_pair(outcome: Outcome) -> None:
    assert pair_of_ruling(SAMPLE, WRONG, _ruling(outcome, SAMPLE.label)) is None


def test_an_answer_that_cannot_be_read_is_rejected_as_it_was_written() -> None:
    broken = Prediction(sample_id=SAMPLE.id, text="<tool_call>{", error="format")
    pair = pair_of_ruling(SAMPLE, broken, _ruling("PRED_WRONG", SAMPLE.label))
    assert pair is not None
    assert pair.rejected[0].content == "<tool_call>{"


def test_an_answer_without_a_word_makes_no_pair() -> None:
    silent = Prediction(sample_id=SAMPLE.id, error="truncated")
    assert pair_of_ruling(SAMPLE, silent, _ruling("PRED_WRONG", SAMPLE.label)) is None


def _expansion(*calls: ToolCall) -> Sample:
    lineage = Lineage(parents=(SAMPLE.id,), axis="phrasing")
    return ask("set a timer: five minutes", *calls).model_copy(update={"lineage": lineage})


def test_the_mistake_on_its_seed_is_rejected_for_an_expansions_label() -> None:
    pair = pair_of_expansion(_expansion(_call(5)), WRONG)
    assert pair is not None
    assert (pair.origin, pair.rejected[0].tool_calls) == ("expansion", (_call(6),))


def test_a_mistake_that_would_be_right_makes_no_pair() -> None:
    assert pair_of_expansion(_expansion(_call(6)), WRONG) is None
