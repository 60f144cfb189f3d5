"""The bookings desk of a house that lets rooms by the hour: customers, rooms, bookings and a waiting list.

There is no clock: the day stands in the state. What the tools refuse is what cannot be done; what a clerk may not do
though the tools would (refund more than the rules say, move a booking on its own day) is the house's policy, which
stands in ``sloop/prompts/bookings.jinja``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from sloop.environments.base import ERROR, read_state, refusal
from sloop.records import Tool, ToolCall, to_json

HOURS = tuple(f"{hour:02d}:00" for hour in range(9, 18))
"""When a booking may begin; each is for one hour."""
TOPICS = ("complaint", "invoice", "group")
"""What a person takes over."""


class _Kept(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Customer(_Kept):
    """Who books."""

    name: str
    phone: str
    rate: Literal["member", "guest"]


class Room(_Kept):
    """What is booked; prices are for an hour."""

    seats: int
    member: int
    guest: int


class Slot(_Kept):
    """An hour that somebody wants in a room."""

    customer: str
    room: str
    date: str
    time: str


class Booking(Slot):
    """An hour that somebody has, or had."""

    price: int
    guests: list[str] = []
    status: Literal["booked", "cancelled"] = "booked"
    refunded: int = 0


class State(_Kept):
    """All that the desk knows."""

    today: str
    customers: dict[str, Customer] = {}
    rooms: dict[str, Room] = {}
    bookings: dict[str, Booking] = {}
    waiting: list[Slot] = []
    handed_over: str = ""
    """One of `TOPICS`; empty where no person has taken over."""


_PARAMETERS: Mapping[str, Mapping[str, Any]] = {
    "name": {"type": "string", "description": "The customer's full name."},
    "phone": {"type": "string", "description": "The customer's phone number; needed where two have one name."},
    "seats": {"type": "integer", "minimum": 1, "description": "Rooms with at least so many seats; all if left out."},
    "customer_id": {"type": "string", "description": "Such as C-104."},
    "booking_id": {"type": "string", "description": "Such as B-2001."},
    "room": {"type": "string", "description": "The room's name."},
    "date": {"type": "string", "format": "date", "description": "As YYYY-MM-DD."},
    "time": {"type": "string", "enum": list(HOURS), "description": "When the hour begins."},
    "guest": {"type": "string", "description": "The guest's full name."},
    "percent": {"type": "integer", "enum": [50, 100], "description": "Of the price."},
    "topic": {"type": "string", "enum": list(TOPICS), "description": "What it is about."},
}


def _tool(name: str, description: str, *required: str, optional: tuple[str, ...] = ()) -> Tool:
    properties = {key: dict(_PARAMETERS[key]) for key in (*required, *optional)}
    schema = {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}
    return Tool(name=name, description=description, parameters=schema)


class CannotBe(Exception):
    """Why a call cannot be met, as a sentence."""


class Bookings:
    """The desk (`sloop.environments.base.Environment`)."""

    toolkit = "bookings"
    tools: ClassVar[tuple[Tool, ...]] = (
        _tool("find_customer", "Find a customer's number by name.", "name", optional=("phone",)),
        _tool("list_rooms", "List the rooms, their seats and what an hour costs.", optional=("seats",)),
        _tool("list_free_slots", "List the hours at which a room is free on a day.", "room", "date"),
        _tool("get_booking", "Look a booking up.", "booking_id"),
        _tool("list_bookings", "List a customer's bookings that are not cancelled.", "customer_id"),
        _tool("book_room", "Book a room for an hour.", "customer_id", "room", "date", "time"),
        _tool("move_booking", "Move a booking to another hour in the same room.", "booking_id", "date", "time"),
        _tool("cancel_booking", "Cancel a booking. Nothing is paid back by that.", "booking_id"),
        _tool("add_guest", "Add a guest to a booking.", "booking_id", "guest"),
        _tool("refund_booking", "Pay back a part of what a cancelled booking cost.", "booking_id", "percent"),
        _tool(
            "join_waiting_list", "Put a customer on the waiting list for an hour that is taken.",
            "customer_id", "room", "date", "time",
        ),
        _tool("transfer_to_person", "Hand the conversation over to a person; that ends it.", "topic"),
    )  # fmt: skip
    writes = frozenset(
        {
            "book_room", "move_booking", "cancel_booking", "add_guest", "refund_booking", "join_waiting_list",
            "transfer_to_person",
        }
    )  # fmt: skip

    def __init__(self) -> None:
        """A house without rooms."""
        self._state = State(today="2026-01-01")

    def reset(self, state: Mapping[str, Any]) -> None:
        """Begin anew in this state.

        Raises:
            UserError: it is no state of a desk.
        """
        self._state = read_state(State, self.toolkit, state)

    def state(self) -> dict[str, Any]:
        """The state as it is now."""
        return self._state.model_dump()

    def act(self, call: ToolCall) -> str:
        """What the desk says: JSON, or an error in words."""
        if refused := refusal(call, self.tools):
            return refused
        act: Callable[..., Any] = getattr(self, f"_{call.name}")
        try:
            if self._state.handed_over:
                raise CannotBe("a person has taken over, and nothing more can be done here")
            return to_json(act(**call.arguments))
        except CannotBe as error:
            return f"{ERROR}{error}"

    # --- one method a tool: what it answers, or `CannotBe` before anything is changed ---------------------------------

    def _find_customer(self, name: str, phone: str | None = None) -> dict[str, Any]:
        called = {key: one for key, one in self._state.customers.items() if one.name == name}
        found = {key: one for key, one in called.items() if phone in (None, one.phone)}
        if not found:
            with_phone = f" with the phone number {phone}" if called else ""
            raise CannotBe(f"no customer is called {name!r}{with_phone}")
        if len(found) > 1:
            raise CannotBe(f"{len(found)} customers are called {name!r}: give the phone number as well")
        ((key, one),) = found.items()
        return {"customer_id": key, **one.model_dump()}

    def _list_rooms(self, seats: int = 1) -> list[dict[str, Any]]:
        rooms = self._state.rooms.items()
        return [{"room": key, **room.model_dump()} for key, room in rooms if room.seats >= seats]

    def _list_free_slots(self, room: str, date: str) -> list[str]:
        self._room(room)
        self._check_day(date)
        return [time for time in HOURS if not self._is_taken(room, date, time)]

    def _get_booking(self, booking_id: str) -> dict[str, Any]:
        return {"booking_id": booking_id, **self._booking(booking_id).model_dump()}

    def _list_bookings(self, customer_id: str) -> list[dict[str, Any]]:
        self._customer(customer_id)
        standing = ((key, one) for key, one in self._state.bookings.items() if one.status == "booked")
        return [self._get_booking(key) for key, one in standing if one.customer == customer_id]

    def _book_room(self, customer_id: str, room: str, date: str, time: str) -> dict[str, Any]:
        rate, prices = self._customer(customer_id).rate, self._room(room)
        self._check_free(room, date, time)
        price = prices.member if rate == "member" else prices.guest
        bookings = self._state.bookings
        key = f"B-{max((int(key[2:]) for key in bookings if key[2:].isdecimal()), default=2000) + 1}"
        bookings[key] = Booking(customer=customer_id, room=room, date=date, time=time, price=price)
        return self._get_booking(key)

    def _move_booking(self, booking_id: str, date: str, time: str) -> dict[str, Any]:
        booking = self._standing(booking_id)
        self._check_free(booking.room, date, time)
        booking.date, booking.time = date, time
        return self._get_booking(booking_id)

    def _cancel_booking(self, booking_id: str) -> dict[str, Any]:
        self._standing(booking_id).status = "cancelled"
        return self._get_booking(booking_id)

    def _add_guest(self, booking_id: str, guest: str) -> dict[str, Any]:
        booking = self._standing(booking_id)
        if guest in booking.guests:
            raise CannotBe(f"{guest} is a guest of {booking_id} already")
        seats = self._room(booking.room).seats
        if len(booking.guests) + 1 >= seats:
            raise CannotBe(f"{booking.room} has {seats} seats, and all of them are taken")
        booking.guests.append(guest)
        return self._get_booking(booking_id)

    def _refund_booking(self, booking_id: str, percent: int) -> dict[str, Any]:
        booking = self._booking(booking_id)
        if booking.status != "cancelled":
            raise CannotBe(f"{booking_id} is not cancelled: only a cancelled booking is paid back")
        if booking.refunded:
            raise CannotBe(f"{booking_id} was paid back already")
        booking.refunded = booking.price * int(percent) // 100
        return self._get_booking(booking_id)

    def _join_waiting_list(self, customer_id: str, room: str, date: str, time: str) -> dict[str, Any]:
        self._customer(customer_id)
        self._room(room)
        self._check_day(date)
        if not self._is_taken(room, date, time):
            raise CannotBe(f"{room} is free at {time} on {date}: book it")
        wanted = Slot(customer=customer_id, room=room, date=date, time=time)
        if wanted in self._state.waiting:
            raise CannotBe(f"{customer_id} is on that list already")
        self._state.waiting.append(wanted)
        alike = [one for one in self._state.waiting if (one.room, one.date, one.time) == (room, date, time)]
        return {**wanted.model_dump(), "position": len(alike)}

    def _transfer_to_person(self, topic: str) -> dict[str, Any]:
        self._state.handed_over = topic
        return {"handed_over": topic}

    # --- what the tools look up ---------------------------------------------------------------------------------------

    def _customer(self, customer_id: str) -> Customer:
        if customer_id not in self._state.customers:
            raise CannotBe(f"no customer has the number {customer_id!r}")
        return self._state.customers[customer_id]

    def _room(self, room: str) -> Room:
        if room not in self._state.rooms:
            raise CannotBe(f"no room is called {room!r}; there are: {', '.join(self._state.rooms)}")
        return self._state.rooms[room]

    def _booking(self, booking_id: str) -> Booking:
        if booking_id not in self._state.bookings:
            raise CannotBe(f"no booking has the number {booking_id!r}")
        return self._state.bookings[booking_id]

    def _standing(self, booking_id: str) -> Booking:
        booking = self._booking(booking_id)
        if booking.status == "cancelled":
            raise CannotBe(f"{booking_id} is cancelled")
        return booking

    def _is_taken(self, room: str, day: str, time: str) -> bool:
        standing = (one for one in self._state.bookings.values() if one.status == "booked")
        return any((one.room, one.date, one.time) == (room, day, time) for one in standing)

    def _check_day(self, day: str) -> None:
        try:
            found = date.fromisoformat(day)
        except ValueError:
            found = None
        if found is None or found.isoformat() != day:
            raise CannotBe(f"{day!r} is no date: give it as YYYY-MM-DD")
        if day <= self._state.today:
            raise CannotBe(f"{day} is not after today, {self._state.today}: rooms are let from tomorrow on")
        if found.isoweekday() == 7:
            raise CannotBe(f"{day} is a Sunday: the house is closed")

    def _check_free(self, room: str, day: str, time: str) -> None:
        self._check_day(day)
        if self._is_taken(room, day, time):
            raise CannotBe(f"{room} is taken at {time} on {day}")
