"""A student that is shown examples: where they stand, and whose answer it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import acme_tools

from sloop.records import Decode, Label, Message, Prediction, Sample, Tool, ToolCall
from sloop.students.few_shot import FewShotStudent, turns_of

CALL = ToolCall(name="look", arguments={"at": "it"})
TURNS = [Message(role="user", content="before"), Message(role="assistant", tool_calls=(CALL, CALL))]


class Told(acme_tools.LookupStudent):
    """Remembers what it was asked."""

    asked: Sequence[Sample] = ()

    def predict(self, samples: Sequence[Sample], decode: Decode) -> list[Prediction]:
        self.asked = samples
        return [Prediction(sample_id=sample.id, calls=(CALL,)) for sample in samples]


def test_examples_stand_behind_the_system_and_before_the_dialogue_whose_answers_stay_its_own() -> None:
    dialogue = (
        Message(role="system", content="be brief"),
        Message(role="user", content="now"),
        Message(role="assistant", tool_calls=(CALL,)),
        Message(role="tool", content="seen", tool_call_id="call_0"),
    )
    sample = Sample(tools=(Tool(name="look", parameters={"type": "object"}),), messages=dialogue)
    student = Told(name="told", skill=1.0)
    (answer,) = FewShotStudent(student=student, turns=TURNS).predict([sample], Decode())
    assert answer.sample_id == sample.id
    (asked,) = student.asked
    assert asked.tools == sample.tools
    assert asked.messages[:3] == (dialogue[0], *TURNS)
    assert [message.tool_call_id for message in asked.messages[3:]] == [None, None, "call_2"]


def test_examples_of_several_turns_make_one_dialogue() -> None:
    messages = (
        Message(role="system", content="be brief"),
        Message(role="user", content="first"),
        Message(role="assistant", tool_calls=(CALL,)),
        Message(role="tool", content="seen", tool_call_id="call_0"),
    )
    sample = Sample(tools=(), messages=messages, label=Label(calls=(CALL,)))
    turns = turns_of([sample, sample])
    assert [turn.role for turn in turns] == ["user", "assistant", "tool", "assistant"] * 2
    assert [turn.tool_call_id for turn in turns if turn.role == "tool"] == ["call_0", "call_2"]


def test_an_answer_to_no_call_stays_one() -> None:
    lost = Message(role="tool", content="seen", tool_call_id="toolu_9")
    sample = Sample(tools=(), messages=(Message(role="user", content="first"), lost), label=Label())
    assert lost in turns_of([sample, sample])
    student = Told(name="told", skill=1.0)
    FewShotStudent(student=student, turns=TURNS).predict([sample], Decode())
    assert student.asked[0].messages[-1] == lost


def test_too_few_examples_are_a_note() -> None:
    student = Told(name="told", skill=1.0)
    data: Any = None
    assert FewShotStudent(student=student, turns=TURNS).notes(data) == []
    (note,) = FewShotStudent(student=student, turns=[], short=5).notes(data)
    assert note.startswith("5 examples fewer than variant.shots asks for")
