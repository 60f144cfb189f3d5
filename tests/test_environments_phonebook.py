"""The toy environment: what its tools answer, what they change, and that a replay finds the same state again."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sloop.environments.base import ERROR, difference, replay
from sloop.environments.phonebook import Phonebook
from sloop.records import EnvSpec, ToolCall

STATE: dict[str, Any] = {"contacts": {"Ada Lind": "555-0001", "Ben Sato": "555-0002"}, "sent": []}
SPEC = EnvSpec(toolkit="phonebook", state=STATE)


def find(name: str) -> ToolCall:
    return ToolCall(name="find_number", arguments={"name": name})


def send(number: str, text: str = "hi") -> ToolCall:
    return ToolCall(name="send_message", arguments={"number": number, "text": text})


CALLS = st.lists(
    st.one_of(
        st.sampled_from(["Ada Lind", "Ben Sato", "Nobody", ""]).map(find),
        st.builds(send, st.sampled_from(["555-0001", "555-0002", "555-9999"]), st.text(max_size=5)),
        st.builds(ToolCall, name=st.sampled_from(["find_number", "other"]), arguments=st.just({"x": 1})),
    ),
    max_size=8,
)


def test_a_number_is_found_and_a_message_is_sent_to_it() -> None:
    book = replay(Phonebook, SPEC, ())
    assert book.act(find("Ada Lind")) == "555-0001"
    assert book.state() == STATE
    assert book.act(send("555-0001", "late")) == "sent"
    assert book.state()["sent"] == [{"to": "555-0001", "text": "late"}]


@pytest.mark.parametrize(
    "call",
    [
        find("Nobody"),
        send("555-9999"),
        ToolCall(name="other", arguments={}),
        ToolCall(name="find_number", arguments={}),
    ],
)
def test_a_call_that_cannot_be_met_is_told_so_and_changes_nothing(call: ToolCall) -> None:
    book = replay(Phonebook, SPEC, ())
    assert book.act(call).startswith(ERROR)
    assert book.state() == STATE


@given(calls=CALLS)
def test_a_replay_ends_in_the_same_state(calls: list[ToolCall]) -> None:
    one, other = (replay(Phonebook, SPEC, calls) for _ in range(2))
    assert one.state() == other.state()
    assert difference(one.state(), other.state()) is None


@given(calls=CALLS)
def test_only_what_writes_changes_the_state(calls: list[ToolCall]) -> None:
    reads = [call for call in calls if call.name not in Phonebook.writes]
    assert replay(Phonebook, SPEC, reads).state() == STATE


def test_a_state_is_left_as_it_was_given_and_handed_out_as_a_copy() -> None:
    book = replay(Phonebook, SPEC, [send("555-0001")])
    assert STATE["sent"] == []
    book.state()["sent"].clear()
    assert len(book.state()["sent"]) == 1


def test_the_first_difference_is_named() -> None:
    right = replay(Phonebook, SPEC, [send("555-0001", "late")]).state()
    wrong = replay(Phonebook, SPEC, [send("555-0002", "late")]).state()
    assert difference(wrong, right) == 'state.sent[0].to: "555-0002" is not "555-0001"'
    assert difference(STATE, right) is not None


def test_another_environment_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot be replayed in phonebook"):
        replay(Phonebook, SPEC.model_copy(update={"toolkit": "files"}), ())
