"""What a request says, heard with the ears of those who wrote it: the templates, and the grammar's own phrases.

The reverse of `sloop.simulation.template` and `sloop.simulation.grammar`, for a simulated model that has to answer
requests. It knows phrasings, not the request that was written: what it takes for a value may be one word too long, and
a request that nobody here could have written it does not understand.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from random import Random
from typing import Any

from sloop.calls.schema import call_errors
from sloop.calls.surface import REFERENCE_YEAR, date_forms, number_forms, surface_forms, time_forms
from sloop.records import Label, Tool, ToolCall
from sloop.simulation.grammar import FACTS, GIVING, PHRASES, action, ask, label
from sloop.simulation.phrases import Phrase, Slot, tidy
from sloop.simulation.templates import Heard, Templates
from sloop.simulation.values import words

_ENDS = ("", "?", ".", "!")
"""Marks that a request may have lost where it was joined with another."""
_SPOKEN = {"yes": True, "true": True, "no": False, "false": False}
_YEAR = re.compile(r"(.*\D),? (\d{4})")


class Hearing:
    """Understands requests that templates and grammar may have written."""

    def __init__(self, templates: Templates) -> None:
        """Listen for these templates."""
        self._templates = templates

    def label(self, tools: Sequence[Tool], request: str, rng: Random) -> Label:
        """What an assistant with these tools would do; the generator chooses among refusals."""
        for reply in self._templates.chat:
            if any(request in said for said in reply.said.values()):
                return Label(content=reply.reply)
        for parts in self._parts(request):
            calls = [self._whole(tools, part) for part in parts]
            if all(isinstance(call, ToolCall) for call in calls):
                return Label(calls=tuple(call for call in calls if isinstance(call, ToolCall)))
        found = self._one(tools, request)
        if isinstance(found, ToolCall):
            return Label(calls=(found,))
        return Label(content=found or rng.choice(self._templates.refusals))

    def _parts(self, request: str) -> Iterator[tuple[str, str]]:
        """Every way in which the text may be two requests."""
        for join in (join for joins in self._templates.joins.values() for join in joins):
            first, _, rest = re.escape(join).partition(re.escape("{a}"))
            middle, _, last = rest.partition(re.escape("{b}"))
            if match := re.fullmatch(f"{first}(.+?){middle}(.+){last}", request):
                yield match[1], match[2]

    def _whole(self, tools: Sequence[Tool], text: str) -> ToolCall | str | None:
        """As `_one`, of a text that may have lost its last mark; None: no call."""
        heard = (self._one(tools, text + end) for end in _ENDS)
        return next((call for call in heard if isinstance(call, ToolCall)), None)

    def _one(self, tools: Sequence[Tool], text: str) -> ToolCall | str | None:
        """The call that a text asks for, the question after what it lacks, or None: nothing on offer."""
        offered = {tool.name: tool for tool in tools}
        for tool in tools:
            spoken = _spoken(tool, text)
            if spoken is None:
                continue
            missing = [name for name in tool.required if name not in spoken]
            if missing:
                return ask(missing[0])
            if call := _call(tool, {name: read_value(value, _schema(tool, name)) for name, value in spoken.items()}):
                return call
        heard_ways = self._templates.hear(text)
        for heard in sorted(heard_ways, key=lambda way: (-way.phrase.literal, way.template.name not in offered)):
            wanted = offered.get(heard.template.name)
            if wanted is None:
                return None
            if not heard.template.fits(wanted):
                continue
            said = _arguments(heard, wanted, text)
            missing = [name for name in wanted.required if name not in said]
            if missing:
                return heard.template.ask.get(missing[0]) or ask(missing[0])
            if call := _call(wanted, said):
                return call
        return None


def read_value(text: str, schema: Mapping[str, Any]) -> Any:
    """The value that a text stands for, by its schema: the reverse of `sloop.simulation.values.spell`."""
    plain, kind = text.strip().casefold(), schema.get("type")
    for member in schema.get("enum", ()):
        if plain in (form.casefold() for form in surface_forms(member, schema)):
            return member
    if kind == "array":
        items = schema.get("items")
        listed = re.split(r", | and ", text)
        return [read_value(item, items if isinstance(items, Mapping) else {}) for item in listed]
    if kind == "object":
        parts = schema.get("properties") or {}
        inner = {words(name): name for name in parts}
        told = _listed(text, "|".join(map(re.escape, sorted(inner, key=len, reverse=True))), inner) if inner else []
        return {name: read_value(value, parts[name]) for name, value in told}
    if kind == "boolean":
        return _SPOKEN.get(plain, text)
    if kind in ("integer", "number"):
        return _number(plain)
    return _day(plain) or _times().get(plain) or text.strip()


def _arguments(heard: Heard, tool: Tool, text: str) -> dict[str, Any]:
    """The values of a heard phrase, and those that its words say without writing them."""
    said = {name: read_value(value, _schema(tool, name)) for name, value in heard.arguments.items()}
    return {**_constants(heard.phrase, text), **said}


def _constants(phrase: Phrase, text: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for part in phrase.parts:
        for run in part.runs:
            words = tidy("".join(piece for piece in run if isinstance(piece, str)))
            if part.optional and not (words and words in text):
                continue
            found |= {piece.name: piece.constant[0] for piece in run if isinstance(piece, Slot) and piece.constant}
    return found


def _call(tool: Tool, said: Mapping[str, Any]) -> ToolCall | None:
    """The call, its arguments in the order of the tool's parameters, if it satisfies the tool's schema."""
    call = ToolCall(name=tool.name, arguments={name: said[name] for name in tool.properties if name in said})
    return None if call_errors(call, [tool]) else call


def _spoken(tool: Tool, text: str) -> dict[str, str] | None:
    """Values as written, by parameter, of a request that the grammar may have written for this tool."""
    for pattern in _patterns(tool.name, tool.description):
        if match := pattern.fullmatch(text):
            labels = {label(name): name for name in tool.properties}
            rest = next((group for group in match.groups() if group), "")
            return dict(_pairs(rest, labels)) if labels else {}
    return None


@lru_cache(maxsize=4096)
def _patterns(name: str, description: str) -> tuple[re.Pattern[str], ...]:
    act = re.escape(action(Tool(name=name, description=description, parameters={})))
    patterns = []
    for part, phrases in PHRASES.items():
        givings = "|".join(re.escape(giving) for giving in GIVING[part])
        for phrase in phrases:
            marks = {r"\{act\}": act, r"\{giving\}": f"(?:(?:{givings})(.+))?", r"\{facts\}": r"(?: (.+))?"}
            text = re.escape(phrase)
            for mark, meaning in marks.items():
                text = text.replace(mark, meaning)
            patterns.append(re.compile(text.removesuffix(r"\.") + r"\.?"))
    return tuple(patterns)


def _pairs(text: str, labels: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """(parameter, value as written) of "page size 5, order asc" or "the page size is 5 and use asc as order"."""
    known = "|".join(re.escape(said) for said in sorted(labels, key=len, reverse=True))
    yield from _facts(text, known, labels) or _listed(text, known, labels)


def _facts(text: str, known: str, labels: Mapping[str, str]) -> list[tuple[str, str]]:
    """Pairs of a text that is nothing but facts; empty where it is not."""
    found: list[tuple[str, str]] = []
    piece = ""
    for word in text.split(" and "):  # a value may hold an "and" of its own
        piece = f"{piece} and {word}" if piece else word
        for fact in (fact for facts in FACTS.values() for fact in facts):
            marked = re.escape(fact).replace(r"\{label\}", f"(?P<label>{known})").replace(r"\{value\}", "(?P<value>.+)")
            if match := re.fullmatch(marked, piece):
                found.append((labels[match["label"]], match["value"]))
                piece = ""
                break
    return [] if piece else found


def _listed(text: str, known: str, labels: Mapping[str, str]) -> list[tuple[str, str]]:
    _, *pieces = re.split(rf"(?:^|, | and )({known}) ", text)
    return [(labels[name], value) for name, value in zip(pieces[::2], pieces[1::2], strict=True)]


def _schema(tool: Tool, name: str) -> Mapping[str, Any]:
    schema = tool.properties.get(name)
    return schema if isinstance(schema, Mapping) else {}


def _number(plain: str) -> Any:
    if plain in _numbers():
        return _numbers()[plain]
    digits = plain.replace(",", "")
    try:
        return int(digits)
    except ValueError:
        try:
            return float(digits)
        except ValueError:
            return plain


@lru_cache(maxsize=1)
def _numbers() -> dict[str, int]:
    return {form: number for number in range(101) for form in number_forms(number)}


def _day(plain: str) -> str | None:
    """The ISO date that a text is."""
    dated = _YEAR.fullmatch(plain)
    day = _days().get(dated[1].rstrip(",") if dated else plain)
    return f"{dated[2]}{day[4:]}" if day and dated else day


@lru_cache(maxsize=1)
def _days() -> dict[str, str]:
    first = dt.date(REFERENCE_YEAR, 1, 1)
    days = (first + dt.timedelta(days=number) for number in range(365))
    return {form.casefold(): day.isoformat() for day in days for form in date_forms(day)}


@lru_cache(maxsize=1)
def _times() -> dict[str, str]:
    clock = ((hour, minute) for hour in range(24) for minute in range(60))
    return {form: f"{hour:02d}:{minute:02d}" for hour, minute in clock for form in time_forms(hour, minute)}
