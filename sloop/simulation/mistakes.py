"""Mistakes of an annotator: a right label in, a wrong one out.

Each mistake is a pure function of the question, the label and a random generator; it returns None where the label
leaves no room for it. Values are altered as people alter them (a neighbouring number, the wrong half of the day, two
arguments exchanged, a word too few), so that part of the mistakes is hard to see. Schemas are kept to, but for a
required argument that is dropped: there the schema tells.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from random import Random
from typing import Any

from sloop.calls.match.strict import strict
from sloop.calls.schema import call_errors
from sloop.records import Label, Tool, ToolCall
from sloop.simulation.grammar import Grammar
from sloop.simulation.invent import Unsayable
from sloop.simulation.templates import load_templates
from sloop.simulation.values import Values

_TRIES = 5

_WORD = re.compile(r"[^\s.,;:!?]+")
_NAME = re.compile(r"[A-Z][\w'-]*(?: [A-Z][\w'-]*)*")
_NUMBER = re.compile(r"(?<![\w.:-])\d+(?:\.\d+)?(?![\w:-]|\.\d)")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_TIME = re.compile(r"\d{2}:\d{2}")

Mistake = Callable[[Sequence[Tool], str, Label, Random, Grammar], Label | None]


def wrong_tool(tools: Sequence[Tool], request: str, label: Label, rng: Random, grammar: Grammar) -> Label | None:
    """One call goes to another tool on offer, with the right call's values where they fit."""
    if not label.calls:
        return None
    place = rng.randrange(len(label.calls))
    call = label.calls[place]
    others = [tool for tool in tools if tool.name != call.name]
    for tool in rng.sample(others, len(others)):
        made, _ = _filled(tool, list(call.arguments.items()), request, rng, grammar)
        if made is not None:
            return _with(label, place, made)
    return None


def dropped_argument(tools: Sequence[Tool], request: str, label: Label, rng: Random, grammar: Grammar) -> Label | None:
    """One call loses an argument: an optional one where there is one, as details are forgotten first."""
    given = [(place, name) for place, call in enumerate(label.calls) for name in call.arguments]
    if not given:
        return None
    required = {tool.name: tool.required for tool in tools}
    details = [(place, name) for place, name in given if name not in required.get(label.calls[place].name, ())]
    place, dropped = rng.choice(details or given)
    call = label.calls[place]
    kept = {name: value for name, value in call.arguments.items() if name != dropped}
    return _with(label, place, ToolCall(name=call.name, arguments=kept))


def altered_value(tools: Sequence[Tool], request: str, label: Label, rng: Random, grammar: Grammar) -> Label | None:
    """One argument gets another value, or two arguments exchange theirs."""
    for place in rng.sample(range(len(label.calls)), len(label.calls)):
        call = label.calls[place]
        tool = next((tool for tool in tools if tool.name == call.name), None)
        if tool is None:
            continue
        broken = call_errors(call, tools)
        for arguments in _alterations(call, tool, request, rng, grammar):
            made = ToolCall(name=call.name, arguments=arguments)
            if broken or not call_errors(made, tools):
                return _with(label, place, made)
    return None


def missing_call(tools: Sequence[Tool], request: str, label: Label, rng: Random, grammar: Grammar) -> Label | None:
    """One call is left out."""
    if not label.calls:
        return None
    place = rng.randrange(len(label.calls))
    return label.model_copy(update={"calls": label.calls[:place] + label.calls[place + 1 :]})


def spurious_call(tools: Sequence[Tool], request: str, label: Label, rng: Random, grammar: Grammar) -> Label | None:
    """A call too many: of the tool that the request fills best, for nobody calls what there is nothing to call with."""
    fillings = [_filled(tool, [], request, rng, grammar) for tool in tools]
    calls = [(made, invented) for made, invented in fillings if made is not None]
    if not calls:
        return None
    fewest = min(invented for _, invented in calls)
    added = rng.choice([made for made, invented in calls if invented == fewest])
    return label.model_copy(update={"calls": (*label.calls, added)})


MISTAKES: Mapping[str, Mistake] = {
    "wrong_tool": wrong_tool,
    "dropped_argument": dropped_argument,
    "altered_value": altered_value,
    "missing_call": missing_call,
    "spurious_call": spurious_call,
}


def packaged_grammar() -> Grammar:
    """What invented values are drawn from: the packaged training values, those made up included."""
    values = Values(load_templates("everyday").types, part="train", random_values=0.3)
    return Grammar(values, part="train", spelled_values=0.0)


def spoilt(
    tools: tuple[Tool, ...],
    request: str,
    right: Label,
    rng: Random,
    grammar: Grammar,
    *,
    weights: Mapping[str, float],
    refusal: str,
) -> tuple[str, Label | None]:
    """A mistake's name and the label with it; None where the sample leaves room for none.

    Args:
        tools: on offer.
        request: the last user message.
        right: the label; one without calls can only get a call too many.
        rng: decides which mistake, and how.
        grammar: see `packaged_grammar`.
        weights: of the mistakes, by their names in `MISTAKES`.
        refusal: content of a label that has lost its only call.
    """
    left = dict(weights) if right.calls else {"spurious_call": weights["spurious_call"]}
    while any(left.values()):
        name = rng.choices(list(left), list(left.values()))[0]
        for _ in range(_TRIES):
            wrong = MISTAKES[name](tools, request, right, rng, grammar)
            if wrong is None:
                break
            if not strict(tools, wrong.calls, right).valid:
                content = right.content if wrong.calls and right.calls else "" if wrong.calls else refusal
                return name, wrong.model_copy(update={"content": content})
        left[name] = 0.0
    return "", None


def _with(label: Label, place: int, call: ToolCall) -> Label:
    return label.model_copy(update={"calls": (*label.calls[:place], call, *label.calls[place + 1 :])})


# --- another tool -----------------------------------------------------------------------------------------------------


def _filled(
    tool: Tool, given: Sequence[tuple[str, Any]], request: str, rng: Random, grammar: Grammar
) -> tuple[ToolCall | None, int]:
    """A valid call from given values (same name first), the request, or thin air, and how many came from there."""
    spare = list(given)
    arguments: dict[str, Any] = {}
    invented = 0
    for name in sorted(tool.required, key=lambda name: name not in dict(given)):
        fitting = [pair for pair in spare if _valid(tool, name, pair[1])]
        if fitting:
            pair = next((pair for pair in fitting if pair[0] == name), fitting[0])
            spare.remove(pair)
            arguments[name] = pair[1]
            continue
        said = [value for value in _in_request(request, rng) if value not in arguments.values()]
        found = [value for value in said if _valid(tool, name, value)]
        if found:
            arguments[name] = rng.choice(found)
            continue
        invented += 1
        try:
            arguments[name] = grammar.value(tool, name, rng)
        except Unsayable:
            return None, invented
    ordered = {name: arguments[name] for name in tool.properties if name in arguments}
    call = ToolCall(name=tool.name, arguments=ordered)
    return (None if call_errors(call, [tool]) else call), invented


def _valid(tool: Tool, name: str, value: Any) -> bool:
    """True if the value alone satisfies the parameter's schema, and is a date only where one is asked for."""
    schema = tool.properties.get(name)
    format_ = schema.get("format") if isinstance(schema, Mapping) else None
    if isinstance(value, str):
        look = "date" if _DATE.fullmatch(value) else "time" if _TIME.fullmatch(value) else None
        free = look is not None and isinstance(schema, Mapping) and "pattern" in schema
        if look != format_ and not free:
            return False
    alone = tool.model_copy(update={"parameters": {**tool.parameters, "required": [name]}})
    return not call_errors(ToolCall(name=tool.name, arguments={name: value}), [alone])


def _in_request(request: str, rng: Random) -> list[Any]:
    """What a request says that looks like a value: numbers, dates, times, names, and its last words."""
    numbers = [float(text) if "." in text else int(text) for text in _NUMBER.findall(request)]
    last = " ".join(_WORD.findall(request)[-rng.randint(1, 3) :])
    return [*numbers, *_DATE.findall(request), *_TIME.findall(request), *_names(request), *([last] if last else [])]


def _names(request: str) -> list[str]:
    return [name for name in _NAME.findall(request) if len(name) > 1]


# --- another value ----------------------------------------------------------------------------------------------------


def _alterations(call: ToolCall, tool: Tool, request: str, rng: Random, grammar: Grammar) -> Iterator[dict[str, Any]]:
    """Arguments with one value changed, the likeliest slips first in a random order."""
    names = list(call.arguments)
    pairs = [(a, b) for place, a in enumerate(names) for b in names[place + 1 :] if _exchangeable(call, tool, a, b)]
    if pairs and rng.random() < 0.25:
        first, second = rng.choice(pairs)
        yield {**call.arguments, first: call.arguments[second], second: call.arguments[first]}
    for name in rng.sample(names, len(names)):
        schema = tool.properties.get(name)
        for value in _slips(call.arguments[name], schema if isinstance(schema, Mapping) else {}, request, rng):
            if value != call.arguments[name]:
                yield {**call.arguments, name: value}
        if name in tool.properties:
            try:
                yield {**call.arguments, name: grammar.value(tool, name, rng)}
            except Unsayable:
                continue


def _exchangeable(call: ToolCall, tool: Tool, first: str, second: str) -> bool:
    """True for two arguments that one may take for each other: of one type, and of about the same length."""
    values = call.arguments[first], call.arguments[second]
    given = [tool.properties.get(name) for name in (first, second)]
    schemas = [
        {key: part for key, part in schema.items() if key != "description"} if isinstance(schema, Mapping) else {}
        for schema in given
    ]
    lengths = [len(str(value).split()) for value in values]
    same_type = type(values[0]) is type(values[1]) and not isinstance(values[0], bool)
    return same_type and schemas[0] == schemas[1] and abs(lengths[0] - lengths[1]) < 2


def _slips(value: Any, schema: Mapping[str, Any], request: str, rng: Random) -> list[Any]:
    """Other values of the same type that an annotator may write by mistake, in a random order."""
    if isinstance(value, bool):
        return [not value]
    if isinstance(schema.get("enum"), list):
        others = [choice for choice in schema["enum"] if choice != value]
        return rng.sample(others, len(others))
    if isinstance(value, int | float):
        slips: list[Any] = [*_numeric(value), *(n for n in _in_request(request, rng) if isinstance(n, int | float))]
    elif isinstance(value, list):
        items = schema.get("items")
        slips = _listed(value, items if isinstance(items, Mapping) else {}, request, rng)
    elif isinstance(value, Mapping):
        slips = _nested(value, schema, request, rng)
    elif not isinstance(value, str):
        return []
    elif _DATE.fullmatch(value):
        slips = list(_dates(value))
    elif _TIME.fullmatch(value):
        slips = list(_times(value))
    else:
        slips = _texts(value, request, rng)
    return rng.sample(slips, len(slips))


def _numeric(value: int | float) -> list[int | float]:
    slips: list[int | float] = [value + 1, value - 1, value * 10]
    if isinstance(value, int):
        digits = str(abs(value))
        if value % 10 == 0 and value:
            slips.append(value // 10)
        if len(digits) > 1:
            swapped = digits[:-2] + digits[-1] + digits[-2]
            slips += [int(swapped), int(digits[1:])]
    else:
        slips.append(float(int(value)))
    return [slip if isinstance(slip, int) else round(slip, 6) for slip in slips]


def _dates(value: str) -> Iterator[str]:
    try:
        day = dt.date.fromisoformat(value)
    except ValueError:  # no such day in the calendar
        return
    yield (day + dt.timedelta(days=1)).isoformat()
    yield (day - dt.timedelta(days=1)).isoformat()
    for year, month, number in (
        (day.year + 1, day.month, day.day),
        (day.year, day.month % 12 + 1, day.day),
        (day.year, day.day, day.month),
    ):
        try:
            yield dt.date(year, month, number).isoformat()
        except ValueError:
            continue


def _times(value: str) -> Iterator[str]:
    hour, minute = int(value[:2]), int(value[3:])
    for other in ((hour + 12) % 24, (hour + 1) % 24):
        yield f"{other:02d}:{minute:02d}"
    yield f"{hour:02d}:{(minute + 30) % 60:02d}"


def _listed(value: list[Any], items: Mapping[str, Any], request: str, rng: Random) -> list[Any]:
    if not value:
        return []
    place = rng.randrange(len(value))
    slips: list[Any] = [
        [*value[:place], other, *value[place + 1 :]] for other in _slips(value[place], items, request, rng)
    ]
    if len(value) > 1:
        slips += [value[:place] + value[place + 1 :]] * 3
    return slips


def _nested(value: Mapping[str, Any], schema: Mapping[str, Any], request: str, rng: Random) -> list[Any]:
    if not value:
        return []
    key = rng.choice(list(value))
    part = (schema.get("properties") or {}).get(key)
    slips = _slips(value[key], part if isinstance(part, Mapping) else {}, request, rng)
    return [{**value, key: other} for other in slips]


def _texts(value: str, request: str, rng: Random) -> list[Any]:
    """A word too few or too many, a slip of the pen, or another name of the request."""
    said = value.split()
    slips: list[str] = []
    if len(said) > 1:
        slips += [" ".join(said[1:]), " ".join(said[:-1])] * 2
    start = request.casefold().find(value.casefold())
    if start >= 0:
        before = _WORD.findall(request[:start])
        after = _WORD.findall(request[start + len(value) :])
        slips += [f"{before[-1]} {value}"] if before and len(said) > 1 else []
        slips += [f"{value} {after[0]}"] if after else []
    slips += [name for name in _names(request) if name.casefold() != value.casefold()]
    if len(value) > 2:
        place = rng.randrange(1, len(value))
        slips += [value[:place] + value[place - 1] + value[place:], value[: place - 1] + value[place:]]
        slips.append(value[: place - 1] + value[place] + value[place - 1] + value[place + 1 :])
    return [slip.strip() for slip in slips if slip.strip()]
