"""The state check: what it tells apart, and what it takes as right."""

from __future__ import annotations

import pytest

from sloop.environments.base import replay
from sloop.environments.checks import Outcome, heard, run, shortfall, state_digest
from sloop.environments.phonebook import Phonebook
from sloop.records import EnvSpec, ToolCall, UserError

SPEC = EnvSpec(toolkit="phonebook", state={"contacts": {"Ada Lind": "555-0001", "Ben Sato": "555-0002"}, "sent": []})


def find(name: str) -> ToolCall:
    return ToolCall(name="find_number", arguments={"name": name})


def send(number: str, text: str = "hi") -> ToolCall:
    return ToolCall(name="send_message", arguments={"number": number, "text": text})


WANTED = [find("Ada Lind"), find("Ben Sato"), send("555-0001", "555-0002")]


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ([WANTED[1], WANTED[0], WANTED[2]], None),
        ([*WANTED[:2], find("Ada Lind"), find("Nobody"), WANTED[2]], None),
        ([WANTED[2]], None),
        (WANTED[:2], "state.sent: [] is not"),
        ([*WANTED, send("555-0002")], "state.sent:"),
        ([*WANTED[:2], send("555-0002", "555-0001")], 'state.sent[0].text: "555-0001" is not "555-0002"'),
        ([*WANTED[:2], send("555-0009", "555-0002")], "state.sent: [] is not"),
    ],
    ids=["other order", "further reads", "no read that nobody wants to hear", "missing", "too many", "wrong", "failed"],
)
def test_calls_are_right_by_the_state_that_they_leave(given: list[ToolCall], reason: str | None) -> None:
    found = shortfall(run(SPEC, given), run(SPEC, WANTED))
    assert found == reason if reason is None else (found or "").startswith(reason)


@pytest.mark.parametrize(
    ("given", "right"),
    [
        ([find("Ben Sato"), find("Ada Lind")], True),
        ([find("Ada Lind"), find("Ada Lind"), find("Ben Sato")], True),
        ([find("Ada Lind")], False),
        ([find("Ada Lind"), find("Ada Lind")], False),
        ([], False),
    ],
)
def test_what_the_user_wants_to_hear_must_be_read(given: list[ToolCall], right: bool) -> None:
    calls = [find("Ada Lind"), find("Ben Sato")]
    wanted = run(SPEC, calls)
    assert (shortfall(run(SPEC, given), wanted, heard(calls, wanted, calls)) is None) is right


def test_a_result_is_wanted_as_often_as_it_is_read() -> None:
    state = {"contacts": {"Ada Lind": "555-0001", "Ada Lund": "555-0001"}, "sent": []}
    spec = EnvSpec(toolkit="phonebook", state=state)
    calls = [find("Ada Lind"), find("Ada Lund")]
    wanted = run(spec, calls)
    told = heard(calls, wanted, calls)
    assert shortfall(run(spec, calls[:1]), wanted, told) == "read: no call was answered 555-0001"
    assert shortfall(run(spec, calls), wanted, told) is None


def test_a_read_that_no_call_answers_is_its_makers_mistake() -> None:
    calls = [find("Ada Lind"), find("Nobody")]
    wanted = run(SPEC, calls)
    assert wanted.failed == (1,)
    for read in (find("Ben Sato"), find("Nobody")):
        with pytest.raises(ValueError, match="find_number is read"):
            heard(calls, wanted, [read])


def test_a_state_has_one_digest_whatever_the_order_of_its_keys() -> None:
    turned = {"sent": [], "contacts": {"Ben Sato": "555-0002", "Ada Lind": "555-0001"}}
    one, other = (replay(Phonebook, SPEC.model_copy(update={"state": state}), ()) for state in (SPEC.state, turned))
    assert state_digest(one) == state_digest(other)
    other.act(send("555-0001"))
    assert state_digest(one) != state_digest(other)


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        (EnvSpec(toolkit="os"), "no environment is called 'os'. There are bookings, phonebook"),
        (EnvSpec(toolkit="phonebook", state={"contacts": {"Ada": 1}}), "phonebook: state.contacts.Ada: Input should"),
        (EnvSpec(toolkit="phonebook", state={"calls": []}), "phonebook: state.calls: Extra inputs"),
    ],
)
def test_what_is_no_environment_or_no_state_is_told_so(spec: EnvSpec, told: str) -> None:
    with pytest.raises(UserError, match=told):
        run(spec, [])


def test_an_outcome_knows_which_calls_failed() -> None:
    assert Outcome({}, ("1", "error: no", "error is a word")).failed == (1,)
