"""The bookings desk: what its tools answer, what they refuse, and that nothing a model calls can break it."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sloop.environments.base import ERROR, replay
from sloop.environments.bookings import HOURS, TOPICS, Bookings
from sloop.records import EnvSpec, ToolCall, UserError, from_json

THURSDAY, FRIDAY, SUNDAY = "2026-03-12", "2026-03-13", "2026-03-15"


def _booking(room: str = "Birch", day: str = FRIDAY, time: str = "10:00", **changes: Any) -> dict[str, Any]:
    plain = {"customer": "C-104", "room": room, "date": day, "time": time, "price": 20, "guests": []}
    return {**plain, "status": "booked", "refunded": 0, **changes}


STATE: dict[str, Any] = {
    "today": THURSDAY,
    "customers": {
        "C-104": {"name": "Ada Lind", "phone": "555-0142", "rate": "member"},
        "C-105": {"name": "Ben Sato", "phone": "555-0143", "rate": "guest"},
        "C-106": {"name": "Ben Sato", "phone": "555-0144", "rate": "guest"},
    },
    "rooms": {"Birch": {"seats": 3, "member": 20, "guest": 30}, "Oak": {"seats": 12, "member": 45, "guest": 60}},
    "bookings": {"B-2001": _booking(), "B-2002": _booking(time="11:00", status="cancelled")},
    "waiting": [],
    "handed_over": "",
}
SPEC = EnvSpec(toolkit="bookings", state=STATE)


def call(name: str, /, **arguments: Any) -> ToolCall:
    return ToolCall(name=name, arguments=arguments)


SLOT = {"customer_id": "C-105", "room": "Birch", "date": FRIDAY, "time": "10:00"}


def said(*calls: ToolCall) -> str:
    """The answer to the last of some calls."""
    desk = replay(Bookings, SPEC, calls[:-1])
    return desk.act(calls[-1])


@pytest.mark.parametrize(
    ("calls", "answer"),
    [
        ([call("find_customer", name="Ada Lind")], {"customer_id": "C-104", **STATE["customers"]["C-104"]}),
        ([call("find_customer", name="Ben Sato", phone="555-0144")],
         {"customer_id": "C-106", **STATE["customers"]["C-106"]}),
        ([call("list_rooms", seats=4)], [{"room": "Oak", **STATE["rooms"]["Oak"]}]),
        ([call("list_free_slots", room="Birch", date=FRIDAY)], [time for time in HOURS if time != "10:00"]),
        ([call("list_bookings", customer_id="C-104")], [{"booking_id": "B-2001", **_booking()}]),
        ([call("book_room", **{**SLOT, "time": "11:00"})],
         {"booking_id": "B-2003", **_booking(time="11:00", price=30, customer="C-105")}),
        ([call("move_booking", booking_id="B-2001", date="2026-03-14", time="09:00")],
         {"booking_id": "B-2001", **_booking(day="2026-03-14", time="09:00")}),
        ([call("add_guest", booking_id="B-2001", guest="Elif Rossi")],
         {"booking_id": "B-2001", **_booking(guests=["Elif Rossi"])}),
        ([call("cancel_booking", booking_id="B-2001"), call("refund_booking", booking_id="B-2001", percent=50)],
         {"booking_id": "B-2001", **_booking(status="cancelled", refunded=10)}),
        ([call("join_waiting_list", **SLOT)], {"customer": "C-105", "room": "Birch", "date": FRIDAY, "time": "10:00",
                                               "position": 1}),
        ([call("transfer_to_person", topic="invoice")], {"handed_over": "invoice"}),
    ],
)  # fmt: skip
def test_what_can_be_done_is_done(calls: list[ToolCall], answer: Any) -> None:
    assert from_json(said(*calls), wraps=1) == answer


@pytest.mark.parametrize(
    ("calls", "words"),
    [
        ([call("find_customer", name="Nobody")], "no customer is called 'Nobody'"),
        ([call("find_customer", name="Ada Lind", phone="1")], "no customer is called 'Ada Lind' with the phone"),
        ([call("find_customer", name="Ben Sato")], "2 customers are called 'Ben Sato': give the phone number"),
        ([call("list_free_slots", room="Elm", date=FRIDAY)], "no room is called 'Elm'; there are: Birch, Oak"),
        ([call("list_free_slots", room="Oak", date=THURSDAY)], "rooms are let from tomorrow on"),
        ([call("list_free_slots", room="Oak", date=SUNDAY)], "the house is closed"),
        ([call("list_free_slots", room="Oak", date="2026-02-30")], "is no date"),
        ([call("get_booking", booking_id="B-1")], "no booking has the number 'B-1'"),
        ([call("book_room", **SLOT)], "Birch is taken at 10:00 on 2026-03-13"),
        ([call("book_room", **{**SLOT, "customer_id": "C-1"})], "no customer has the number 'C-1'"),
        ([call("move_booking", booking_id="B-2002", date=FRIDAY, time="12:00")], "B-2002 is cancelled"),
        ([call("cancel_booking", booking_id="B-2002")], "B-2002 is cancelled"),
        ([call("add_guest", booking_id="B-2001", guest=name) for name in ("A", "A")], "A is a guest of B-2001 already"),
        ([call("add_guest", booking_id="B-2001", guest=name) for name in "ABC"], "Birch has 3 seats"),
        ([call("refund_booking", booking_id="B-2001", percent=100)], "B-2001 is not cancelled"),
        ([call("refund_booking", booking_id="B-2002", percent=100)] * 2, "B-2002 was paid back already"),
        ([call("join_waiting_list", **{**SLOT, "time": "12:00"})], "Birch is free at 12:00"),
        ([call("join_waiting_list", **SLOT)] * 2, "C-105 is on that list already"),
        ([call("transfer_to_person", topic="group"), call("list_rooms")], "a person has taken over"),
    ],
)
def test_what_cannot_be_done_is_said_in_words_and_changes_nothing(calls: list[ToolCall], words: str) -> None:
    desk = replay(Bookings, SPEC, calls[:-1])
    before = desk.state()
    answer = desk.act(calls[-1])
    assert answer.startswith(ERROR)
    assert words in answer
    assert desk.state() == before


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "name": st.sampled_from(["Ada Lind", "Ben Sato", ""]),
    "phone": st.sampled_from(["555-0143", ""]),
    "seats": st.sampled_from([1, 4.0, 10**30]),
    "customer_id": st.sampled_from(["C-104", "C-105", ""]),
    "booking_id": st.sampled_from(["B-2001", "B-2002", "B-2003"]),
    "room": st.sampled_from(["Birch", "Oak", "Elm"]),
    "date": st.sampled_from([THURSDAY, FRIDAY, SUNDAY, "2026-03-14", "20260314", "2026-3-14", "x"]),
    "time": st.sampled_from(["09:00", "10:00", "25:00"]),
    "guest": st.sampled_from(["Elif Rossi", "x" * 1000, ""]),
    "percent": st.sampled_from([50, 100.0, 75]),
    "topic": st.sampled_from(["complaint", "x"]),
}


@st.composite
def any_calls(draw: st.DrawFn) -> ToolCall:
    tool = draw(st.sampled_from(Bookings.tools))
    arguments = {key: draw(VALUES[key]) for key in tool.properties if draw(st.integers(0, 9))}
    if not draw(st.integers(0, 4)):
        arguments[draw(st.sampled_from([*tool.properties, "other"]))] = draw(JSON)
    return ToolCall(name=tool.name if draw(st.integers(0, 19)) else draw(st.text(max_size=5)), arguments=arguments)


@settings(max_examples=50, deadline=None)
@given(st.lists(any_calls(), max_size=8))
def test_whatever_is_called_is_answered_and_the_same_calls_end_in_the_same_state(calls: list[ToolCall]) -> None:
    given = copy.deepcopy(STATE)
    one, other = Bookings(), Bookings()
    one.reset(given)
    other.reset(given)
    for each in calls:
        before = one.state()
        answer = one.act(each)
        assert answer == other.act(each)
        if answer.startswith(ERROR) or each.name not in Bookings.writes:
            assert one.state() == before
    assert one.state() == other.state()
    assert given == STATE
    fresh = Bookings()
    fresh.reset(one.state())  # what it can be in, it can begin in
    assert fresh.state() == one.state()


def test_a_state_is_handed_out_as_a_copy() -> None:
    desk = replay(Bookings, SPEC, ())
    desk.state()["customers"].clear()
    assert desk.state() == STATE


@pytest.mark.parametrize("change", [{"rooms": []}, {"today": 1}, {"other": 1}, {"customers": {"C-1": {"name": "Ada"}}}])
def test_what_is_no_state_of_a_desk_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="no state of the environment bookings"):
        Bookings().reset({**STATE, **change})


def test_every_tool_that_may_write_is_on_offer_and_the_topics_are_the_tools() -> None:
    names = {tool.name: tool for tool in Bookings.tools}
    assert len(names) == 12
    assert Bookings.writes < names.keys()
    assert tuple(names["transfer_to_person"].properties["topic"]["enum"]) == TOPICS
