"""Tasks at the bookings desk, of all kinds; what is said stands in ``bookings.yaml``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date, timedelta
from functools import partial
from random import Random
from typing import Any

from sloop.environments.bookings import HOURS, Booking, Bookings, Customer, Room, State
from sloop.records import EnvSpec, Task, ToolCall, Turn
from sloop.simulation.tasks.said import call, read_words

CUSTOMERS, ROOMS = 4, 4
SEATS = (4, 6, 8, 12, 20)
FIRST_DAY, DAYS = date(2026, 1, 5), 300


words = partial(read_words, "bookings")
"""What is said, as ``bookings.yaml`` has it."""


class House:
    """A desk on some day, and one customer with two bookings, who asks."""

    def __init__(self, rng: Random, part: str, *, ahead: int | None = None, taken: bool = False, alike: bool = False):
        """Draw names, rooms, prices and bookings.

        Args:
            rng: the task's own.
            part: whose names and phrases.
            ahead: days from today to the customer's first booking; None: some.
            taken: the hour that the customer wants is somebody else's.
            alike: somebody else has the customer's name.
        """
        self.rng, self.part, said = rng, part, words()
        names = [f"{one} {two}" for one in said["first_names"][part] for two in said["last_names"][part]]
        name, guest, *others = rng.sample(names, CUSTOMERS + 1)
        called = [name, *([name, *others[1:]] if alike else others)]
        numbers, phones = rng.sample(range(100, 1000), CUSTOMERS), rng.sample(range(10_000), CUSTOMERS)
        customers = {
            f"C-{number}": Customer(name=one, phone=f"555-{phone:04d}", rate=rng.choice(["member", "guest"]))
            for one, number, phone in zip(called, numbers, phones, strict=True)
        }
        prices = rng.sample(range(200, 400, 10), ROOMS)
        rooms = {
            room: Room(seats=rng.choice(SEATS), member=price, guest=price + 40)
            for room, price in zip(rng.sample(said["rooms"][part], ROOMS), prices, strict=True)
        }
        self.today = FIRST_DAY + timedelta(days=rng.randrange(DAYS))
        if ahead is not None and (self.today + timedelta(days=ahead)).isoweekday() == 7:
            self.today += timedelta(days=1)
        first, *rest = customers
        room, other = rng.sample(list(rooms), 2)
        self.bookings: dict[str, Booking] = {}
        self._taken: set[tuple[str, str, str]] = set()
        self.customers, self.rooms = customers, rooms
        self._number = rng.randrange(2000, 8000)
        day = self.day() if ahead is None else self.today + timedelta(days=ahead)
        booking = self._book(first, room, day)
        self._book(first, other, self.day())
        for customer in rest:
            self._book(customer, rng.choice(list(rooms)), self.day())
        wanted = self.day()
        time, later = rng.sample([hour for hour in HOURS if (room, wanted.isoformat(), hour) not in self._taken], 2)
        if taken:
            self._book(rest[0], room, wanted, time)
        self.values: dict[str, Any] = {
            "customer": first, "name": name, "phone": customers[first].phone, "guest": guest, "booking": booking,
            "room": room, "date": wanted.isoformat(), "time": time, "later": later, "next": self._next(),
        }  # fmt: skip

    def day(self) -> date:
        """An open day from the day after tomorrow on."""
        drawn = self.today + timedelta(days=self.rng.randint(2, 20))
        return drawn + timedelta(days=1) if drawn.isoweekday() == 7 else drawn

    def _next(self) -> str:
        return f"B-{self._number + len(self.bookings) + 1}"

    def _book(self, customer: str, room: str, day: date, time: str | None = None) -> str:
        key, when = self._next(), day.isoformat()
        at = time or self.rng.choice([hour for hour in HOURS if (room, when, hour) not in self._taken])
        rate = self.customers[customer].rate
        price = self.rooms[room].member if rate == "member" else self.rooms[room].guest
        self._taken.add((room, when, at))
        self.bookings[key] = Booking(customer=customer, room=room, date=when, time=at, price=price)
        return key

    @property
    def price(self) -> int:
        """What an hour costs the customer in the room of the task."""
        room = self.rooms[self.values["room"]]
        return room.member if self.customers[self.values["customer"]].rate == "member" else room.guest

    @property
    def ahead(self) -> int:
        """Days from today to the customer's first booking."""
        return (date.fromisoformat(self.bookings[self.values["booking"]].date) - self.today).days

    @property
    def env(self) -> EnvSpec:
        """The desk before anybody has asked anything."""
        state = State(today=self.today.isoformat(), customers=self.customers, rooms=self.rooms, bookings=self.bookings)
        return EnvSpec(toolkit=Bookings.toolkit, state=state.model_dump())

    def call(self, name: str, /, **other: Any) -> ToolCall:
        """A call whose arguments are the task's values, or other ones."""
        tool = next(tool for tool in Bookings.tools if tool.name == name)
        given = {**self.values, "booking_id": self.values["booking"], "customer_id": self.values["customer"], **other}
        return call(name, **{key: given[key] for key in tool.required})

    def turn(
        self,
        request: str,
        *steps: ToolCall,
        reply: str,
        reads: Sequence[ToolCall] = (),
        withheld: Sequence[str] = (),
        **other: Any,
    ) -> Turn:
        """A turn, a call a step; ``request`` names what is said, ``reply`` what is answered, or is it."""
        values = {**self.values, **other}
        said = self.rng.choice(words()["requests"][request][self.part]).format_map(values)
        answered = str(words()["replies"].get(reply, reply)).format_map(values)
        calls = tuple((step,) for step in steps)
        return Turn(request=said, calls=calls, reads=tuple(reads), reply=answered, withheld=tuple(withheld))


# --- the tasks: one function each, by kind ------------------------------------------------------------------------


def _one_call(request: str, tool: str) -> Callable[[House], list[Turn]]:
    return lambda house: [house.turn(request, house.call(tool), reply=request)]


def _by_name(request: str, tool: str, reply: str, *between: str) -> Callable[[House], list[Turn]]:
    names = ("find_customer", *between, tool)
    return lambda house: [house.turn(request, *map(house.call, names), reply=reply)]


def _then(request: str, tool: str, reply: str) -> Callable[[House], list[Turn]]:
    """Two or three turns about a booking that the first one makes."""

    def turns(house: House) -> list[Turn]:
        values, booked = house.values, {"booking": house.values["next"]}
        made = house.turn("book", house.call("book_room"), reply="book")
        moved = {"time": values["later"], "booking_id": values["next"]}
        after = house.turn(request, house.call(tool, **moved), reply=reply, **booked, time=values["later"])
        if tool == "add_guest" or house.rng.random() < 0.5:
            return [made, after]
        guest = house.call("add_guest", booking_id=values["next"])
        return [made, house.turn("then_guest", guest, reply="guest", **booked), after]

    return turns


def _asked(request: str, question: str, told: str, tool: str, reply: str) -> Callable[[House], list[Turn]]:
    return lambda house: [house.turn(request, reply=question), house.turn(told, house.call(tool), reply=reply)]


def _withheld(request: str, tool: str) -> Callable[[House], list[Turn]]:
    return lambda house: [
        house.turn(request, reply="cannot", withheld=(tool,)),
        house.turn("again", house.call(tool), reply=request),
    ]


def _later(house: House) -> list[Turn]:
    calls = house.call("book_room"), house.call("book_room", time=house.values["later"])
    return [house.turn("book_or_later", *calls, reply="later")]


def _wait(house: House) -> list[Turn]:
    return [house.turn("book_or_wait", house.call("book_room"), house.call("join_waiting_list"), reply="wait")]


def _namesake(house: House) -> list[Turn]:
    found = house.call("find_customer")
    by_phone = call("find_customer", name=house.values["name"], phone=house.values["phone"])
    rest = house.call("list_bookings"), house.call("cancel_booking")
    return [house.turn("phoned_cancel", found, by_phone, *rest, reply="cancel")]


def _rooms(house: House) -> list[Turn]:
    said = words()["replies"]["room"]
    told = " ".join(said.format(room=name, **room.model_dump()) for name, room in house.rooms.items())
    return [house.turn("ask_price", read := house.call("list_rooms"), reply=told, reads=[read])]


def _free(house: House) -> list[Turn]:
    room, day = house.values["room"], house.values["date"]
    taken = {one.time for one in house.bookings.values() if (one.room, one.date) == (room, day)}
    times = ", ".join(hour for hour in HOURS if hour not in taken)
    return [house.turn("ask_free", read := house.call("list_free_slots"), reply="free", reads=[read], times=times)]


def _booking(house: House) -> list[Turn]:
    read = house.call("get_booking")
    return [house.turn("ask_booking", read, reply=_told(house, house.values["booking"]), reads=[read])]


def _bookings(house: House) -> list[Turn]:
    read, mine = house.call("list_bookings"), house.values["customer"]
    told = " ".join(_told(house, key) for key, one in house.bookings.items() if one.customer == mine)
    return [house.turn("ask_bookings", read, reply=told, reads=[read])]


def _told(house: House, key: str) -> str:
    return str(words()["replies"]["booked"].format(booking=key, **house.bookings[key].model_dump()))


_MAKERS: Mapping[str, Sequence[Callable[[House], list[Turn]]]] = {
    "single_step": (
        _one_call("book", "book_room"), _one_call("move", "move_booking"), _one_call("cancel", "cancel_booking"),
        _one_call("guest", "add_guest"),
    ),
    "multi_step": (
        _by_name("named_book", "book_room", "book"), _by_name("named_move", "move_booking", "move", "list_bookings"),
        _by_name("named_cancel", "cancel_booking", "cancel", "list_bookings"),
    ),
    "multi_turn": (
        _then("then_guest", "add_guest", "guest"), _then("then_move", "move_booking", "move"),
        _then("then_cancel", "cancel_booking", "cancel"),
    ),
    "missing_value": (
        _asked("book_without_time", "ask_time", "the_time", "book_room", "book"),
        _asked("move_without_time", "ask_time", "the_time", "move_booking", "move"),
        _asked("cancel_without_booking", "ask_booking", "the_booking", "cancel_booking", "cancel"),
        _asked("guest_without_name", "ask_guest", "the_guest", "add_guest", "guest"),
    ),
    "missing_tool": (
        _withheld("guest", "add_guest"), _withheld("cancel", "cancel_booking"), _withheld("wait", "join_waiting_list"),
    ),
    "recovery": (_later, _wait, _namesake),
    "read_only": (_rooms, _free, _booking, _bookings),
}  # fmt: skip
KINDS = tuple(_MAKERS)


def make_task(rng: Random, kind: str, part: str) -> Task:
    """A task of one of `KINDS`, with the names and phrases of a part (train, dev or test).

    Raises:
        ValueError: no such kind.
    """
    if kind not in _MAKERS:
        raise ValueError(f"the bookings desk has no tasks of kind {kind}, only of {', '.join(KINDS)}")
    make = rng.choice(_MAKERS[kind])
    waits = make is _MAKERS["missing_tool"][2]
    house = House(rng, part, taken=waits or make in (_later, _wait), alike=make is _namesake)
    return Task(env=house.env, turns=tuple(make(house)), slice=kind)
