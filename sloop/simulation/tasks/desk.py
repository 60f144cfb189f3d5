"""What customers want at the bookings desk who tell what they know when they are asked, and the calls that do it.

What is right follows the policy in ``sloop/prompts/bookings.jinja``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any, NamedTuple

from sloop.records import Task, ToolCall, Turn
from sloop.simulation.tasks.bookings import House, words
from sloop.simulation.tasks.said import call
from sloop.simulation.user import Scenario

SLICES = ("book", "taken", "move", "too_late", "cancel", "guest", "price", "when", "complaint", "invoice")
"""Kinds of errand."""
_TRIES = 100


class Errand(NamedTuple):
    """What a customer comes for."""

    wants: str
    knows: Sequence[str]
    """Beside name and phone, the values that it knows."""
    calls: Sequence[ToolCall]
    hears: Sequence[str] = ()
    later: str = ""


def make_errand(rng: Random, kind: str, part: str) -> tuple[Task, Scenario]:
    """An errand of one of `SLICES`: the task, whose one turn holds the customer's first words and the right calls, and
    who the customer is.

    Raises:
        ValueError: no such kind.
    """
    if kind not in _MAKERS:
        raise ValueError(f"no errand is of kind {kind}, only of {', '.join(SLICES)}")
    make, opening, options = _MAKERS[kind]
    for _ in range(_TRIES):
        house = House(rng, part, **{name: pick(rng) for name, pick in options.items()})
        values = house.values
        errand = make(house)
        said = rng.choice(words()["openings"][opening])
        knows = {key: str(values[key]) for key in ("name", "phone", *errand.knows)}
        scenario = Scenario(
            wants=errand.wants, opening=said, knows=knows, hears=tuple(errand.hears),
            later=(errand.later,) if errand.later else (),
        )  # fmt: skip
        # what has to be heard must not stand in what is said anyway, such as a number
        given = " ".join([*knows.values(), values["customer"], *house.bookings, values["next"]])
        if not any(text in given for text in errand.hears):
            turn = Turn(request=said, calls=tuple((one,) for one in errand.calls))
            return Task(env=house.env, turns=(turn,), slice=kind), scenario
    raise RuntimeError(f"no errand of kind {kind} in {_TRIES} tries")


def _found(house: House) -> tuple[ToolCall, ...]:
    return (call("find_customer", name=house.values["name"], phone=house.values["phone"]),)


def _looked_up(house: House) -> tuple[ToolCall, ...]:
    return (*_found(house), house.call("list_bookings"))


def _book(house: House) -> Errand:
    v = house.values
    calls = [*_found(house), house.call("list_rooms"), house.call("book_room")]
    joins = house.rng.random() < 0.5
    if joins:
        calls.append(house.call("add_guest", booking_id=v["next"]))
    return Errand(
        wants=f"You want to book the room {v['room']} on {v['date']} at {v['time']}, whatever it costs.",
        knows=("room", "date", "time"),
        calls=calls,
        hears=(str(house.price),),
        later=f"And {v['guest']} will come along, please add that." if joins else "",
    )


def _taken(house: House) -> Errand:
    v = house.values
    v["taken"] = "If it is taken, please put me on the waiting list."
    return Errand(
        wants=f"You want to book the room {v['room']} on {v['date']} at {v['time']}. If it is taken then, you want to "
        "be put on the waiting list for that hour, and nothing else will do.",
        knows=("room", "date", "time", "taken"),
        calls=[*_found(house), house.call("join_waiting_list")],
    )


def _move(house: House) -> Errand:
    v = house.values
    return Errand(
        wants=f"You have a booking for the room {v['room']} and want it moved to {v['date']} at {v['time']}.",
        knows=("room", "date", "time"),
        calls=[*_looked_up(house), house.call("move_booking")],
    )


def _too_late(house: House) -> Errand:
    return _move(house)._replace(calls=_looked_up(house))


def _cancel(house: House) -> Errand:
    v = house.values
    ahead = house.ahead
    member = house.customers[v["customer"]].rate == "member"
    percent = 0 if ahead == 0 else 100 if member or ahead >= 2 else 50
    calls = [*_looked_up(house), house.call("cancel_booking")]
    if percent:
        calls.append(house.call("refund_booking", percent=percent))
    return Errand(
        wants=f"You want to cancel your booking for the room {v['room']} and to hear how much is paid back. You cancel "
        "even if nothing is.",
        knows=("room",),
        calls=calls,
        hears=(str(house.bookings[v["booking"]].price * percent // 100),) if percent else (),
    )


def _guest(house: House) -> Errand:
    v = house.values
    return Errand(
        wants=f"You have a booking for the room {v['room']} and want {v['guest']} added to it as a guest.",
        knows=("room", "guest"),
        calls=[*_looked_up(house), house.call("add_guest")],
    )


def _price(house: House) -> Errand:
    return Errand(
        wants=f"You want to hear what an hour in the room {house.values['room']} costs you, and nothing else.",
        knows=("room",),
        calls=[*_found(house), house.call("list_rooms")],
        hears=(str(house.price),),
    )


def _when(house: House) -> Errand:
    mine = house.bookings[house.values["booking"]]
    return Errand(
        wants=f"You have a booking for the room {mine.room} and want to hear on which day and at what time it is.",
        knows=("room",),
        calls=_looked_up(house),
        hears=(mine.date, mine.time),
    )


def _handed_over(topic: str) -> Callable[[House], Errand]:
    what = {"complaint": "You want to complain to a person that the room was dirty", "invoice": "Your invoice is wrong"}
    return lambda house: Errand(
        wants=f"{what[topic]}, and want to be put through.", knows=(), calls=[call("transfer_to_person", topic=topic)]
    )


_SOON: Mapping[str, Callable[[Random], Any]] = {"ahead": lambda rng: rng.randint(1, 6)}
_MAKERS: Mapping[str, tuple[Callable[[House], Errand], str, Mapping[str, Callable[[Random], Any]]]] = {
    "book": (_book, "book", {}),
    "taken": (_taken, "book", {"taken": lambda rng: True}),
    "move": (_move, "move", _SOON),
    "too_late": (_too_late, "move", {"ahead": lambda rng: 0}),
    "cancel": (_cancel, "cancel", {"ahead": lambda rng: rng.choice([0, 1, 1, 2, 5])}),
    "guest": (_guest, "guest", {}),
    "price": (_price, "price", {}),
    "when": (_when, "when", _SOON),
    "complaint": (_handed_over("complaint"), "complaint", {}),
    "invoice": (_handed_over("invoice"), "invoice", {}),
}
"""By kind: what makes it, how the customer begins, and what is drawn of the house."""
