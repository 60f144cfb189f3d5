"""What running answers says of them, before any judge is asked: each row of the table, and what a verdict holds."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from random import Random

import pytest
from pydantic import ValidationError

from sloop.environments.phonebook import Phonebook
from sloop.records import EnvSpec, Label, Message, Prediction, Sample, ToolCall, Verdict
from sloop.stages.accept import Admission, check, check_verdict
from sloop.stages.evidence import compare, verdicts, weigh
from sloop.stages.optimize.verify import rule

ENV = EnvSpec(toolkit="phonebook", state={"contacts": {"Ada Lind": "555-0001", "Ben Sato": "555-0002"}, "sent": []})


def find(name: str) -> ToolCall:
    return ToolCall(name="find_number", arguments={"name": name})


def send(number: str, text: str = "hi") -> ToolCall:
    return ToolCall(name="send_message", arguments={"number": number, "text": text})


SENT, ASKED = Label(calls=(send("555-0001"),)), Label(content="Whom do you mean?")
FAILS, BROKEN = Label(calls=(send("555-9999"),)), Label(calls=(ToolCall(name="send_message", arguments={}),))
READ_TOO = Label(calls=(find("Ben Sato"), send("555-0001")))
TO_BEN = Label(calls=(send("555-0002"),))


def sample(label: Label | None, *before: ToolCall, env: EnvSpec | None = ENV) -> Sample:
    history = [Message(role="assistant", tool_calls=(call,)) for call in before]
    asked = Message(role="user", content="Text Ada Lind: hi")
    return Sample(tools=Phonebook.tools, messages=(asked, *history), label=label, env=env)


class Asked:
    """A judge that calls everything right, and remembers what it was asked about."""

    def __init__(self, word: bool | None = True) -> None:
        self.word, self.answers = word, list[Label | None]()

    async def judge(self, sample: Sample, answers: Sequence[Label | None], rng: Random) -> list[Verdict]:
        assert sample.label is None
        self.answers += answers
        return [Verdict(correct=self.word, evidence=("asked",)) for _ in answers]


def both(label: Label, answer: Label | None, judge: Asked, question: Sample | None = None) -> list[Verdict]:
    question = question or sample(label)
    told = compare(question, label, answer)[1]
    return asyncio.run(verdicts(judge, question, [label, answer], Random(0), told))


@pytest.mark.parametrize(
    ("label", "answer", "asked", "decided"),
    [
        (FAILS, SENT, [SENT], (False, True)),
        (FAILS, ASKED, [ASKED], (False, True)),
        (BROKEN, SENT, [SENT], (False, True)),
        (SENT, FAILS, [SENT], (True, False)),
        (ASKED, FAILS, [ASKED], (True, False)),
        (SENT, BROKEN, [SENT], (True, False)),
        (SENT, None, [SENT], (True, False)),
        (FAILS, BROKEN, [], (False, False)),
        (SENT, TO_BEN, [SENT, TO_BEN], (True, True)),
        (ASKED, SENT, [ASKED, SENT], (True, True)),
        (SENT, ASKED, [SENT, ASKED], (True, True)),
    ],
)
def test_a_judge_is_asked_only_where_running_does_not_decide(label, answer, asked, decided):
    judge = Asked()
    found = both(label, answer, judge)
    assert judge.answers == asked
    assert tuple(verdict.correct for verdict in found) == decided
    assert [verdict.judge for verdict in found] == [True if one in asked else None for one in (label, answer)]


def test_a_verdict_keeps_what_each_part_says():
    on_label, on_answer = both(SENT, FAILS, Asked(word=None))
    assert (on_label.schema_valid, on_label.execution, on_label.judge, on_label.correct) == (True, True, None, None)
    assert on_label.evidence == ("asked",)
    assert (on_answer.schema_valid, on_answer.execution, on_answer.judge) == (True, False, None)
    assert on_answer.evidence == ("execution: send_message: error: nobody has the number '555-9999'",)
    (broken,) = asyncio.run(verdicts(Asked(), sample(BROKEN), [BROKEN], Random(0)))
    assert (broken.schema_valid, broken.execution, broken.judge) == (False, None, None)
    assert broken.evidence[0].startswith("schema: send_message: ")
    with pytest.raises(ValidationError, match="does not follow"):
        Verdict(correct=True, schema_valid=True, execution=False)


def test_a_verdict_of_before_and_of_what_cannot_run_is_a_judges_alone():
    judge = Asked()
    given = asyncio.run(verdicts(judge, sample(FAILS, env=None), [FAILS, None], Random(0)))
    assert judge.answers == [FAILS, None]
    assert given[0].model_dump() == {"correct": True, "rubric": None, "evidence": ("asked",)}
    elsewhere = EnvSpec(toolkit="another's", state={})
    assert asyncio.run(verdicts(judge, sample(FAILS, env=elsewhere), [FAILS], Random(0)))[0].execution is None


@pytest.mark.parametrize(
    ("label", "answer", "alike"),
    [
        (SENT, READ_TOO, True),
        (READ_TOO, Label(calls=READ_TOO.calls[::-1]), True),
        (READ_TOO, SENT, False),  # what the label reads is not read
        (SENT, TO_BEN, False),
        (SENT, Label(calls=(*SENT.calls, *SENT.calls)), False),
        (SENT, ASKED, False),
        (SENT, FAILS, False),
        (FAILS, BROKEN, False),
        (SENT, None, False),
    ],
)
def test_what_does_the_same_is_one_decision(label, answer, alike):
    found, told = compare(sample(label), label, answer)
    assert found is alike
    assert bool(told) is (alike or answer in (SENT, TO_BEN) or (answer is not None and len(answer.calls) == 2))


def test_the_calls_so_far_are_made_first():
    after = sample(SENT, send("555-0001"), send("555-9999"))
    assert weigh(after, SENT) == (True, True, ())
    assert "sent[1]" in compare(after, SENT, TO_BEN)[1][0]


def test_a_label_whose_calls_fail_is_refused_by_the_rule_execution():
    refused = check(sample(FAILS), ["execution"])
    assert refused is not None
    assert (refused.reason, refused.detail) == (
        "execution_failed",
        "execution: send_message: error: nobody has the number '555-9999'",
    )
    for label in (SENT, ASKED, None):
        assert check(sample(label), ["execution"]) is None
    assert check(sample(FAILS, env=None), ["execution"]) is None
    assert Admission(rules=["execution"], forbidden=(), similarity=0.8).admit(sample(FAILS)) == refused


def test_the_door_says_which_part_refused():
    for label, reason in ((FAILS, "execution_failed"), (BROKEN, "invalid_call")):
        (verdict,) = asyncio.run(verdicts(Asked(), sample(label), [label], Random(0)))
        refused = check_verdict(sample(label), verdict)
        assert refused is not None
        assert refused.reason == reason


def test_the_ruling_follows_from_what_was_run():
    question = sample(FAILS)
    prediction = Prediction(sample_id=question.id, calls=SENT.calls)
    ruling = rule(question, prediction, *both(FAILS, SENT, Asked(), question))
    assert (ruling.outcome, ruling.new) == ("LABEL_WRONG", prediction.answer)
    assert rule(question, prediction, *both(FAILS, SENT, Asked(word=False), question)).outcome == "BOTH_WRONG"
