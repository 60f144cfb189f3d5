"""Preference pairs from what was ruled: a prompt, the right answer, and one that a student or a label gave instead."""

from __future__ import annotations

from typing import Literal

from sloop.calls.match.strict import strict
from sloop.records import Label, Message, Prediction, Record, Ruling, Sample, Tool

RULED_WRONG = ("PRED_WRONG", "LABEL_WRONG")
"""Outcomes that say of two answers which is right."""


class PreferencePair(Record):
    """One line of ``pairs.jsonl``, in the conversational form that preference trainers read."""

    sample_id: str
    origin: Literal["ruling", "expansion"]
    """What the rejected answer is: one that was ruled wrong to this very prompt, or the mistake on the sample that this
    one was made from."""
    tools: tuple[Tool, ...]
    prompt: tuple[Message, ...]
    chosen: tuple[Message, ...]
    rejected: tuple[Message, ...]


def pair_of_ruling(sample: Sample, answer: Prediction, ruling: Ruling) -> PreferencePair | None:
    """PRED_WRONG prefers the label to the answer, LABEL_WRONG the answer to the label; other outcomes nothing."""
    if ruling.outcome == "PRED_WRONG":
        return _pair(sample, "ruling", ruling.old, _said(answer))
    if ruling.outcome == "LABEL_WRONG" and ruling.new is not None:
        return _pair(sample, "ruling", ruling.new, ruling.old.message())
    return None


def pair_of_expansion(sample: Sample, mistake: Prediction) -> PreferencePair | None:
    """An expansion's label, which a judge has called right, over the mistake on its seed; None where that mistake would
    be right here.
    """
    if sample.label is None or (not mistake.error and strict(sample.tools, mistake.calls, sample.label).valid):
        return None
    return _pair(sample, "expansion", sample.label, _said(mistake))


def _pair(
    sample: Sample, origin: Literal["ruling", "expansion"], chosen: Label, rejected: Message
) -> PreferencePair | None:
    if not (rejected.content or rejected.tool_calls):
        return None  # a prompt that left no place for an answer: nothing was said that could be unlearnt
    return PreferencePair(
        sample_id=sample.id,
        origin=origin,
        tools=sample.tools,
        prompt=sample.messages,
        chosen=(chosen.message(),),
        rejected=(rejected,),
    )


def _said(answer: Prediction) -> Message:
    """What a student said: its decision, or its text where that cannot be read as one."""
    return answer.answer.message() if answer.answer else Message(role="assistant", content=answer.text)
