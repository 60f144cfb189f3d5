"""Values for the slots of templates: lists, made-up words, and generators of numbers, dates, codes and so on.

A type of values is one of these, in the ``values`` part of a template file:

====================================  ==============================================================================
``{list: [Paris, ...]}``              one of these
``{groups: [[km, miles], [kg, ...]]}``  one of these; two slots of one call take theirs from the same group
``{patterns: ["{city} airport"]}``    other types put together
``{items: city, count: [1, 3]}``      a list of values of another type, all different
``{integers: [2, 90]}``               a whole number, ends included
``{numbers: [2, 9999]}``              a number; a quarter of them, where they may be, below 100 with one decimal
``{expressions: [2, 999]}``           arithmetic with two or three operands, such as ``12 + 30 * 2``
``{dates: [2025-01-01, 2025-12-31]}``  an ISO date
``{times: 15}``                       an ISO time from 07:00 to 21:59 in steps of so many minutes
``{codes: ["1Z####@@"]}``             # becomes a digit, @ a capital letter
====================================  ==============================================================================

``made_up: word | name | letters | text`` beside one of them says what its made-up values look like (``length: [2, 4]``
for letters); a type without it has none.

Values are held out by kind: of a list every fifth value is for test and the one before it for dev; a generated or
made-up value belongs to a part by its CRC-32. Closed sets (enums written in the slot) and ranges of at most
`SMALL_RANGE` whole numbers are in every part.
"""

from __future__ import annotations

import datetime as dt
import re
import zlib
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any

from sloop.calls.surface import surface_forms
from sloop.records import Part, UserError

Spec = str | Sequence[Any] | Mapping[str, Any]
"""The name of a type, a closed set of values, or a type written in place."""

SMALL_RANGE = 20
_TRIES = 200
_SLOT = re.compile(r"\{(\w+)\}")
_GENERATORS = ("list", "groups", "patterns", "items", "integers", "numbers", "expressions", "dates", "times", "codes")
_RISING = "give two whole numbers, the smaller one first, such as [2, 90]"
_FORMS = {
    **dict.fromkeys(("integers", "numbers", "expressions"), _RISING),
    "list": "give a list of at least one value",
    **dict.fromkeys(("patterns", "codes"), "give a list of at least one text"),
    "groups": "give a list of lists, none of them empty",
    "items": "give beside it how many, at least and at most, such as count: [1, 3]",
    "dates": "give two dates, the earlier one first, such as [2025-01-01, 2025-12-31]",
    "times": "give a number of minutes, 1 to 900",
}
"""By generator: what it wants."""
_DAY = 15 * 60
"""Minutes from the first time that is drawn to the last."""
_ONSETS = "bcdfghjklmnprstvwz"
_RIMES = ("a", "e", "i", "o", "u", "ar", "en", "il", "on", "us")
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def part_of(index: int) -> Part:
    """The part that the value at this place of a list belongs to."""
    return "test" if index % 5 == 4 else "dev" if index % 5 == 3 else "train"


def made_up_word(rng: Random, syllables: tuple[int, int] = (2, 3)) -> str:
    """A pronounceable word that means nothing."""
    return "".join(rng.choice(_ONSETS) + rng.choice(_RIMES) for _ in range(rng.randint(*syllables)))


def spell(value: Any, schema: Mapping[str, Any], rng: Random, share: float) -> str:
    """A value as it is written in a request; one of its `surface_forms`, item by item for a list.

    Args:
        value: any JSON value that is not empty.
        schema: its JSON Schema; an enum's values are written as words.
        rng: decides.
        share: probability that a number, a date or a time is not written as it stands in the call.
    """
    if isinstance(value, list):
        items = [spell(item, schema.get("items") or {}, rng, share) for item in value]
        return " and ".join([", ".join(items[:-1]), items[-1]] if len(items) > 1 else items)
    if isinstance(value, Mapping):
        parts = schema.get("properties") or {}
        return ", ".join(f"{words(key)} {spell(item, parts.get(key) or {}, rng, share)}" for key, item in value.items())
    if isinstance(value, bool):
        return "yes" if value else "no"
    forms = surface_forms(value, schema)
    if isinstance(value, str) and "enum" in schema:
        return forms[1] if len(forms) > 1 else value
    if len(forms) == 1 or rng.random() >= share:
        return forms[0]
    if isinstance(value, str):
        return rng.choice([form for form in forms[1:6] if "." not in form][:3])  # a full stop would end the sentence
    return forms[-1] if 0 <= value <= 12 else f"{value:,}"


def words(name: str) -> str:
    """A parameter's or tool's name as plain words: ``user_id`` and ``userId`` are "user ID"."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|[^A-Za-z0-9]+", " ", name)
    plain = [word if word.isupper() and len(word) > 1 else word.lower() for word in spaced.split()]
    return " ".join({"id": "ID", "ids": "IDs", "url": "URL", "api": "API"}.get(word, word) for word in plain)


class Values:
    """Draws values of the types of a template file, from one part of them."""

    def __init__(self, types: Mapping[str, Mapping[str, Any]], *, part: Part, random_values: float) -> None:
        """Check the types.

        Args:
            types: by name, as in the module's table.
            part: whether values for train, dev or test are drawn.
            random_values: share of the values that are made up, where a type can be.

        Raises:
            UserError: a type is not of the form above, or names another that does not exist.
        """
        self.types = types
        self.part: Part = part
        self.random_values = random_values
        self._draw: dict[str, Callable[[Any, Random, Sequence[Any]], Any]] = {
            "list": self._listed,
            "groups": self._grouped,
            "patterns": lambda patterns, rng, _: self._pattern(rng.choice(patterns), rng),
            "integers": lambda ends, rng, _: rng.randint(*ends),
            "numbers": lambda ends, rng, _: _number(ends, rng),
            "expressions": lambda ends, rng, _: _expression(ends, rng),
            "dates": lambda ends, rng, _: _day(ends, rng),
            "times": lambda step, rng, _: _clock(step, rng),
            "codes": lambda codes, rng, _: _code(rng.choice(codes), rng),
        }
        for name, spec in types.items():
            self.check(spec, f"values.{name}")
        self._parts = {
            name: [value for index, value in enumerate(spec["list"]) if part_of(index) == part] or list(spec["list"])
            for name, spec in types.items()
            if "list" in spec
        }

    def check(self, spec: Spec, place: str) -> None:
        """Raise a `UserError` that names the place, if this is no type of values."""
        if isinstance(spec, str):
            if spec not in self.types:
                raise UserError(f"{place}: there is no type of values {spec!r}. There are: {', '.join(self.types)}.")
        elif isinstance(spec, Mapping):
            found = [key for key in spec if key in _GENERATORS]
            if len(found) != 1 or not set(spec) <= {*_GENERATORS, "count", "made_up", "length"}:
                raise UserError(f"{place}={dict(spec)}: give exactly one of {', '.join(_GENERATORS)}.")
            if wanted := _wanted(found[0], spec):
                raise UserError(f"{place}={dict(spec)}: {wanted}.")
            if spec.get("made_up", "word") not in ("word", "name", "letters", "text"):
                raise UserError(f"{place}.made_up={spec['made_up']}: one of word, name, letters, text.")
            inner = [spec["items"]] if "items" in spec else []
            inner += [name for pattern in spec.get("patterns", ()) for name in _SLOT.findall(pattern)]
            for name in inner:
                self.check(name, place)
        elif not spec:
            raise UserError(f"{place} is an empty list: give at least one value.")

    def draw(self, spec: Spec, rng: Random, taken: Sequence[Any] = ()) -> Any:
        """A value of a type.

        Args:
            spec: the type.
            rng: decides.
            taken: values of this type that the call has already; the new one is another, where the type has another.
        """
        value: Any = None
        for _ in range(_TRIES):
            value = self._once(spec, rng, taken)
            if value not in taken:
                break
        return value

    def _once(self, spec: Spec, rng: Random, taken: Sequence[Any]) -> Any:
        if isinstance(spec, str):
            return self._of_type(self.types[spec], rng, taken, spec)
        if isinstance(spec, Mapping):
            return self._of_type(spec, rng, taken, "")
        return rng.choice(spec)

    def _of_type(self, spec: Mapping[str, Any], rng: Random, taken: Sequence[Any], name: str) -> Any:
        if "made_up" in spec and rng.random() < self.random_values:
            return self._in_part(lambda: _made_up(spec, rng), spec.get("list", ()))
        if "items" in spec:
            items: list[Any] = []
            for _ in range(rng.randint(*spec["count"])):
                items.append(self.draw(spec["items"], rng, items))
            return items
        kind = next(key for key in spec if key in _GENERATORS)
        if kind == "list" and name:
            return rng.choice(self._parts[name])
        if kind in ("list", "groups", "patterns"):
            return self._draw[kind](spec[kind], rng, taken)
        if kind == "integers" and spec[kind][1] - spec[kind][0] < SMALL_RANGE:
            return rng.randint(*spec[kind])
        return self._in_part(lambda: self._draw[kind](spec[kind], rng, taken))

    def _in_part(self, generate: Callable[[], Any], real: Sequence[Any] = ()) -> Any:
        """A generated value of the wanted part; never one of the ``real`` ones."""
        value = generate()
        for _ in range(_TRIES):
            if value not in real and part_of(zlib.crc32(str(value).encode()) % 5) == self.part:
                break
            value = generate()
        return value

    def _listed(self, values: Sequence[Any], rng: Random, taken: Sequence[Any]) -> Any:
        return rng.choice([value for index, value in enumerate(values) if part_of(index) == self.part] or list(values))

    def _grouped(self, groups: Sequence[Sequence[Any]], rng: Random, taken: Sequence[Any]) -> Any:
        same = [group for group in groups if any(value in group for value in taken)]
        return self._listed(rng.choice(same or groups), rng, taken)

    def _pattern(self, pattern: str, rng: Random) -> str:
        return _SLOT.sub(lambda match: str(self.draw(match.group(1), rng)), pattern)


def _wanted(kind: str, spec: Mapping[str, Any]) -> str:
    """What to give instead of what a type's generator cannot draw from; empty where it can."""
    given = spec[kind]
    if kind in ("integers", "numbers", "expressions"):
        good = _rising(given)
    elif kind == "dates":
        good = isinstance(given, list) and len(given) == 2 and _days_rise(given)
    elif kind == "times":
        good = type(given) is int and 1 <= given <= _DAY
    elif kind == "items":
        good = _rising(spec.get("count")) and spec["count"][0] >= 0
    else:
        texts = kind in ("patterns", "codes")
        good = isinstance(given, list) and bool(given) and all(isinstance(one, str) for one in given if texts)
        good = good and (kind != "groups" or all(isinstance(group, list) and group for group in given))
    if not good:
        return _FORMS[kind]
    return "" if "length" not in spec or _rising(spec["length"]) else "give length as two whole numbers, such as [2, 4]"


def _rising(ends: Any) -> bool:
    """Whether these are two whole numbers, the larger one last."""
    return isinstance(ends, list) and len(ends) == 2 and all(type(end) is int for end in ends) and ends[0] <= ends[1]


def _days_rise(ends: Sequence[Any]) -> bool:
    try:
        first, last = map(_date, ends)
    except ValueError:
        return False
    return first <= last


def _made_up(spec: Mapping[str, Any], rng: Random) -> str:
    kind = spec["made_up"]
    if kind == "letters":
        return "".join(rng.choice(_LETTERS) for _ in range(rng.randint(*spec.get("length", (2, 4)))))
    if kind == "name":
        return made_up_word(rng).capitalize()
    if kind == "word":
        return made_up_word(rng)
    known = spec.get("list", ())
    return " ".join(
        rng.choice(rng.choice(known).split()) if known and rng.random() < 0.5 else made_up_word(rng)
        for _ in range(rng.randint(2, 4))
    )


def _number(ends: Sequence[int], rng: Random) -> int | float:
    low, high = ends
    top = rng.choice([edge for edge in (99, 999, 9999) if low < edge < high] + [high])
    below = min(top, 100) - 1
    if low <= below and rng.random() < 0.25:
        return rng.randint(low, below) + rng.randint(1, 9) / 10
    return rng.randint(low, top)


def _expression(ends: Sequence[int], rng: Random) -> str:
    count = 2 if rng.random() < 0.6 else 3
    operands = [str(rng.randint(*ends)) for _ in range(count)]
    return operands[0] + "".join(f" {rng.choice('+-*/')} {operand}" for operand in operands[1:])


def _day(ends: Sequence[Any], rng: Random) -> str:
    first, last = map(_date, ends)
    return (first + dt.timedelta(days=rng.randint(0, (last - first).days))).isoformat()


def _date(end: Any) -> dt.date:
    return end if isinstance(end, dt.date) else dt.date.fromisoformat(str(end))


def _clock(step: int, rng: Random) -> str:
    minutes = 7 * 60 + step * rng.randrange(_DAY // step)
    return f"{minutes // 60:02d}:{minutes % 60:02d}"


def _code(pattern: str, rng: Random) -> str:
    kinds = {"#": "0123456789", "@": _LETTERS}
    return "".join(rng.choice(kinds[mark]) if mark in kinds else mark for mark in pattern)
