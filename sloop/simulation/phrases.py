"""Phrases with slots: what a template file is made of.

A phrase is a sentence with three marks:

* ``{city}`` is where a value stands;
* ``[ in {unit}| using {unit}]`` is said or not, in one of its wordings;
* ``{urgent=true}`` stands for a value that the words around it say; it writes nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from random import Random
from typing import Any

from sloop.records import UserError

_MARK = re.compile(r"\{(?P<slot>\w+)(?:=(?P<value>[^{}]*))?\}")
_OPTION = re.compile(r"\[([^\[\]]*)\]")


@dataclass(frozen=True)
class Slot:
    """Where a value stands; ``constant`` holds the value (in a tuple) that the words say instead."""

    name: str
    constant: tuple[Any, ...] = ()


Piece = str | Slot
Run = tuple[Piece, ...]


@dataclass(frozen=True)
class Part:
    """A piece of a phrase: one run, or an option with its wordings."""

    runs: tuple[Run, ...]
    optional: bool


@dataclass(frozen=True)
class Phrase:
    """A sentence with slots."""

    parts: tuple[Part, ...]

    @classmethod
    def parse(cls, text: str, place: str) -> Phrase:
        """Read a phrase.

        Raises:
            UserError: brackets or braces that do not pair up, or a constant that is not JSON.
        """
        parts = []
        for index, part in enumerate(_OPTION.split(text)):
            optional = index % 2 == 1
            wordings = part.split("|") if optional else [part]
            parts.append(Part(tuple(_run(wording, text, place) for wording in wordings), optional))
        return cls(tuple(parts))

    @cached_property
    def base(self) -> dict[str, tuple[Any, ...]]:
        """Slots that are always filled, with the constant (or the empty tuple) of each."""
        fixed = (part.runs[0] for part in self.parts if not part.optional)
        return {piece.name: piece.constant for run in fixed for piece in run if isinstance(piece, Slot)}

    @cached_property
    def slots(self) -> tuple[Slot, ...]:
        """Every slot in the order in which it is written, those of options too."""
        runs = (run for part in self.parts for run in part.runs)
        return tuple(piece for run in runs for piece in run if isinstance(piece, Slot))

    def choose(self, rng: Random, share: float) -> list[Piece]:
        """The phrase with each option said with that probability; a slot is never filled twice."""
        said: list[Piece] = []
        names = set(self.base)
        for part in self.parts:
            if not part.optional:
                said += part.runs[0]
            elif rng.random() < share:
                run = rng.choice(part.runs)
                added = {piece.name for piece in run if isinstance(piece, Slot)}
                if not added & names:
                    names |= added
                    said += run
        return said

    def cover(self, arguments: Mapping[str, Any], rng: Random) -> list[Piece] | None:
        """The phrase with the options that say exactly these arguments; None where there are none such."""
        if not all(name in arguments and _fits(constant, arguments[name]) for name, constant in self.base.items()):
            return None
        ways = list(self._ways(0, frozenset(self.base), arguments))
        return rng.choice(ways) if ways else None

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """Matches a request that was made of this phrase; group n is the value of ``captured[n - 1]``."""
        parts = []
        for part in self.parts:
            wordings = "|".join("".join(_regex(piece) for piece in run) for run in part.runs)
            parts.append(f"(?:{wordings}){'?' if part.optional else ''}")
        return re.compile("".join(parts))

    @cached_property
    def captured(self) -> list[str]:
        """Slot names in the order of the groups of `pattern`."""
        return [slot.name for slot in self.slots if not slot.constant]

    @cached_property
    def literal(self) -> int:
        """Number of characters outside slots and options: how telling a match is."""
        fixed = (part.runs[0] for part in self.parts if not part.optional)
        return sum(len(piece) for run in fixed for piece in run if isinstance(piece, str))

    def _ways(self, index: int, names: frozenset[str], arguments: Mapping[str, Any]) -> Iterator[list[Piece]]:
        """Choices of options from part ``index`` on that fill the arguments, each once."""
        if index == len(self.parts):
            if names == set(arguments):
                yield []
            return
        part = self.parts[index]
        for run in ((), *part.runs) if part.optional else part.runs:
            slots = {piece.name: piece.constant for piece in run if isinstance(piece, Slot)}
            if part.optional and run:
                told = slots and not set(slots) & names
                if not told or not all(n in arguments and _fits(slots[n], arguments[n]) for n in slots):
                    continue
            for rest in self._ways(index + 1, names | set(slots), arguments):
                yield [*run, *rest]


def tidy(text: str) -> str:
    """One space between words, none at the ends."""
    return " ".join(text.split())


def _run(text: str, phrase: str, place: str) -> Run:
    pieces: list[Piece] = []
    end = 0
    for mark in _MARK.finditer(text):
        if mark.start() > end:
            pieces.append(text[end : mark.start()])
        end = mark.end()
        constant: tuple[Any, ...] = ()
        if mark["value"] is not None:
            try:
                constant = (json.loads(mark["value"]),)
            except ValueError as error:
                raise UserError(f"{place}: {mark[0]} in {phrase!r} is not JSON; write {{name=true}}.") from error
        pieces.append(Slot(mark["slot"], constant))
    if end < len(text):
        pieces.append(text[end:])
    if any(isinstance(piece, str) and set(piece) & set("{}[]") for piece in pieces):
        raise UserError(f"{place}: the brackets of {phrase!r} do not pair up. Write {{slot}} and [ said or not].")
    return tuple(pieces)


def _regex(piece: Piece) -> str:
    if isinstance(piece, str):
        return re.escape(piece)
    return "" if piece.constant else "(.+?)"


def _fits(constant: tuple[Any, ...], value: Any) -> bool:
    """True for a slot that writes the value, or whose constant it is (True is not 1)."""
    return not constant or (type(constant[0]) is type(value) and constant[0] == value)
