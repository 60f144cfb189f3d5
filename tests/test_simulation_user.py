"""A simulated user by script: what it says to what it is asked. The one that is a model: `test_benchmarks_desk`."""

from __future__ import annotations

import asyncio

import pytest

from sloop.engine.build import build
from sloop.records import Message, UserError, Utterance
from sloop.simulation.user import Scenario, ScriptedUser, User, spoken

SCENARIO = Scenario(
    wants="You want to book Birch.",
    opening="Hello, I would like to book a room.",
    knows={"name": "Ada Lind", "phone": "555-0142", "room": "Birch", "date": "2026-03-13", "time": "10:00"},
    later=("And add Ben Sato, please.",),
)
MARKER = "###STOP###"


def said(*words: str, seed: int = 0, trial: int = 0) -> Utterance:
    """What the user says to the last of some words, which are its own and the student's in turn."""
    dialogue = [
        Message(role="assistant" if number % 2 else "user", content=text)
        for number, text in enumerate((SCENARIO.opening, *words))
    ]
    user = ScriptedUser(seed=seed, marker=MARKER)
    return asyncio.run(user.reply(SCENARIO, dialogue, key="k", trial=trial))


def test_it_is_a_user_and_says_that_it_is_scripted() -> None:
    assert isinstance(ScriptedUser(seed=0, marker=MARKER), User)


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ("What is your name?", {"Ada Lind"}),
        ("Please give me your phone number and your name.", {"Ada Lind", "555-0142"}),
        ("Which day, and at what time?", {"2026-03-13", "10:00", "Birch"}),
        ("When should that be?", {"2026-03-13", "10:00"}),
        ("I need to know who you are, to verify it.", {"Ada Lind", "555-0142"}),
        ("How can I help?", set(SCENARIO.knows.values())),
        ("One moment.", set(SCENARIO.knows.values())),
    ],
)
def test_a_question_gets_what_it_asks_for_and_any_other_word_all_that_is_left(asked: str, told: set[str]) -> None:
    reply = said(asked)
    assert {value for value in SCENARIO.knows.values() if value in reply.text} == told
    assert not reply.ends


ALL = "Ada Lind, 555-0142, Birch, 2026-03-13, 10:00"


def test_a_proposal_gets_a_yes_and_the_facts_that_it_lacks() -> None:
    assert said("Who?", ALL, "Birch at 10:00 costs 240. Shall I book the room?").text.startswith("Yes")
    reply = said("Who?", "Ada Lind, Birch", "Shall I go ahead? At what time?")
    assert reply.text.startswith("Yes")
    assert "10:00" in reply.text
    assert "Birch" not in reply.text


def test_what_is_asked_again_is_told_again_and_what_it_does_not_know_is_said_once_all_is_told() -> None:
    assert "555-0142" in said("Who?", ALL, "Your phone number once more, please?").text
    assert not said("Who?", ALL, "Do you like tea?").ends
    assert said("Who?", ALL, "Do you like tea?").text in (
        "I have told you all that I know.", "There is nothing more that I can say.",
    )  # fmt: skip


def test_once_all_is_told_and_done_it_asks_for_the_next_thing_and_then_ends() -> None:
    assert said("Who?", ALL, "It is booked.").text == SCENARIO.later[0]
    ended = said("Who?", ALL, "It is booked.", SCENARIO.later[0], "Ben Sato is added.")
    assert ended.ends
    assert ended.text.endswith(MARKER)


def test_seed_and_trial_choose_its_words_and_the_same_choose_the_same() -> None:
    assert said("Who are you?") == said("Who are you?")
    assert len({said("Tell me all.", trial=trial).text for trial in range(20)}) > 3
    assert len({said("Tell me all.", seed=seed).text for seed in range(20)}) > 3


def test_only_words_are_heard() -> None:
    messages = [
        Message(role="system", content="policy"), Message(role="user", content="Hi."), Message(role="assistant"),
        Message(role="tool", content="240", tool_call_id="call_0"), Message(role="assistant", content="Hello."),
    ]  # fmt: skip
    assert [message.content for message in spoken(messages)] == ["Hi.", "Hello."]


@pytest.mark.parametrize("marker", ["", "  ", "x" * 101])
def test_a_marker_that_nobody_could_say_is_refused(marker: str) -> None:
    with pytest.raises(UserError, match=r"user\.marker=.*: give what a user ends the dialogue with"):
        build({"_target_": "sloop.simulation.user.ScriptedUser", "seed": 0, "marker": marker}, "user")
