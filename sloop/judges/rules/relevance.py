"""Which offered tool a request asks for, from the tools' own words, and what could fill its parameters.

A tool is read once per content (`profile`): the stems of its name, description and parameters, each weighted by where
it stands, and its parameters as slots. `evidence` weighs the words of a request that a tool accounts for; `cued` asks
whether the words around a value ("from ...", "... minutes") point to a slot.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from sloop.calls.schema.patterns import is_pattern
from sloop.calls.surface import surface_forms
from sloop.judges.rules.reading import LINKS, STOP, Reading, stem, tokens
from sloop.records import Tool, canonical_json

SlotKind = Literal["number", "date", "time", "pattern", "enum", "boolean", "text"]
"""What a parameter takes; ``text`` is everything that no rule narrows down."""

_PLACES = "city place location country town area address region room venue"
_CUES = {
    "from": "from origin source start departure sender since",
    "to": "to into destination target recipient receiver end arrival goal language",
    "into": "to into destination target language",
    "as": "to into destination target",
    "in": f"{_PLACES} language to into",
    "at": f"{_PLACES} time volume",
    "near": _PLACES,
    "by": "artist author band singer composer mode means carrier",
    "with": "attendee guest participant ingredient",
    "for": "label note purpose reason",
    "called": "name title label",
    "named": "name title label",
    "about": "topic subject query",
    "on": "date day topic subject",
    "saying": "text message content body",
    "that": "text message content body task",
    "many": "to into",
}
CUES: Mapping[str, frozenset[str]] = {word: frozenset(map(stem, roles.split())) for word, roles in _CUES.items()}
"""By the word before a value: stems of the parameters that it speaks for."""
_PROPER = frozenset(
    stem(word)
    for word in ("name", "person", "city", "country", "artist", "author", "contact", "recipient", "language", "cuisine")
)
"""Stems of parameters whose values are written with a capital."""
_EXAMPLE = re.compile(r"(?:e\.g\.?|for example|for instance|such as|like)[:,]?\s+([^.;)]*)", re.IGNORECASE)
_SHAPE = re.compile(r"\d+|[^\W\d_]+|[^\w\s.,;:!?'\"]")
_PLAIN = frozenset({frozenset({"word"}), frozenset()})
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_COPULAS = frozenset({"is", "as", "the", ":", "="})
_LABEL = 6
"""Words of a parameter's name that are looked for beside a value."""
_FEW = 6
"""A tool with more parameters than this says less with each of their words."""


@dataclass(frozen=True, slots=True)
class Slot:
    """A parameter, as what may fill it."""

    name: str
    kind: SlotKind
    required: bool
    many: bool
    """An array or an object: any number of values fill it."""
    own: frozenset[str]
    """Stems of its name, function words ("from", "to") too."""
    stems: frozenset[str]
    """Of the content words of its name and description."""
    pattern: str | None = None
    members: tuple[tuple[str, ...], ...] = ()
    """Spellings of an enum's values, as words."""
    shapes: frozenset[frozenset[str]] = frozenset()
    """`shape` of the example values in its description that are no plain words."""


@dataclass(frozen=True, slots=True)
class Profile:
    """A tool, as words with weights and slots."""

    name: str
    weights: Mapping[str, float]
    """By stem: the largest weight of the places where it stands."""
    said: frozenset[str]
    """Stems of its name and description."""
    examples: frozenset[str]
    """Stems of what parameter descriptions name as example values."""
    slots: tuple[Slot, ...]

    def slot(self, name: str) -> Slot | None:
        """The slot of a parameter."""
        return next((slot for slot in self.slots if slot.name == name), None)


@dataclass(frozen=True, slots=True)
class Weights:
    """How much a word counts by where in a tool it stands."""

    name: float
    description: float
    parameter: float


def profile(tool: Tool, weights: Weights) -> Profile:
    """Read a tool; made once per content."""
    return _profile(tool.name, tool.description, canonical_json(tool.parameters), weights)


def rarity(profiles: Sequence[Profile]) -> dict[str, float]:
    """By stem, 1 for one that a single offered tool has, towards 0 for one that all have (inverse frequency)."""
    counts = Counter(each for tool in profiles for each in tool.weights)
    top = math.log(len(profiles) + 1)
    return {each: math.log((len(profiles) + 1) / count) / top for each, count in counts.items()}


def evidence(tool: Profile, reading: Reading, rare: Mapping[str, float], indices: Iterable[int]) -> float:
    """Weight of those words of a request that a tool's own words account for; a stem counts once."""
    found: dict[str, float] = {}
    for k in indices:
        word = reading.stems[k]
        if reading.weights[k] and word in tool.weights:
            found[word] = max(found.get(word, 0.0), reading.weights[k] * tool.weights[word] * rare[word])
    return sum(found.values())


def cued(slot: Slot, reading: Reading, start: int, end: int, *, opening: bool) -> int:
    """How many signs around a value (words ``start`` to ``end``) point to a slot.

    The word before it is a link that speaks for such a parameter, or a number that it measures (for a "from"); the
    words beside it are of the parameter's name (all of them count twice); it has a capital as such values have.

    Args:
        slot: the parameter.
        reading: the request.
        start: the value's first word.
        end: the word after its last.
        opening: whether the first word of a clause, which as a rule is its verb ("text Ann"), may name a parameter.
    """
    before = reading.before(start)
    span = reading.span(before) if before >= 0 else None
    signs = int(bool(CUES.get(reading.word(before), frozenset()) & (slot.own | slot.stems)))
    # "convert 5 miles": what is measured is what is converted from, with no link before it.
    signs += span is not None and span.look == "number" and "from" in slot.own
    names = slot.own - STOP
    beside = names & {reading.stems[k] for k in besides(reading, start, end, opening=opening)}
    signs += bool(beside) + (beside == names)
    look = reading.span(start)
    return signs + (look is not None and look.look == "name" and bool(_PROPER & slot.stems))


def besides(reading: Reading, start: int, end: int, *, opening: bool = False) -> Iterator[int]:
    """Words next to a value that may name it: "page limit is 12", "12 as page limit", "12 minutes"."""
    for edge, step in ((start - 1, -1), (end, 1)):
        k = edge
        while reading.word(k) in _COPULAS:
            k += step
        for nth in range(_LABEL):
            word = reading.word(k)
            # A link at the edge says that what is beyond it is another value's; further off it may be of the name
            # ("number of pages"). Another value or "and" ends the search.
            if not word.isalpha() or reading.span_at[k] >= 0 or word == "and" or (nth == 0 and word in LINKS):
                break
            # A verb that opens a clause names what is done ("text Ann"), unless a copula makes it a name ("text: hi").
            if opening or step > 0 or reading.word(edge) in _COPULAS or not reading.opens(k):
                yield k
            k += step


def shape(text: str) -> frozenset[str]:
    """Kinds of words in a text: numbers, capitals, other words, and each mark that is no punctuation."""
    kinds = set()
    for word in _SHAPE.findall(text.strip(" .,;")):
        if word[0].isdigit():
            kinds.add("number")
        elif word.isalpha():
            kinds.add("capitals" if word.isupper() and len(word) > 1 else "word")
        else:
            kinds.add("mark")
    return frozenset(kinds)


def material(tool: Profile, reading: Reading, k: int) -> bool:
    """Whether a word that no value holds could be (part of) one: the tool's own words do not account for it."""
    span = reading.span(k)
    if span is not None:
        words = [j for j in range(span.start, span.end) if reading.words[j].isalpha()]
        # A name or a quotation is a value whatever the tool says; a code that it says ("PDF") is not.
        known = bool(words) and all(reading.stems[j] in tool.weights for j in words)
        return span.look in ("name", "quoted") or (span.look == "code" and not known)
    known = reading.stems[k] in tool.weights and reading.stems[k] not in tool.examples
    # Vague words ("show", "find") are no values, unless they stand after a colon or in quotes.
    return reading.weights[k] > 0 and not known and (reading.weights[k] == 1.0 or k in reading.told)


@lru_cache(maxsize=8192)
def _profile(name: str, description: str, parameters: str, weights: Weights) -> Profile:
    schema = json.loads(parameters)
    properties: Mapping[str, Any] = schema.get("properties") or {}
    required = set(schema.get("required") or ())
    slots = tuple(_slot(key, part, key in required) for key, part in properties.items())
    found: dict[str, float] = {}
    share = weights.parameter * min(1.0, _FEW / max(1, len(slots)))
    for slot in slots:
        found.update(dict.fromkeys(slot.stems, share))
    for text, weight in ((description, weights.description), (name, weights.name)):
        for each in _stems(text):
            found[each] = max(found.get(each, 0.0), weight)
    told = (str(part.get("description", "")) for part in properties.values() if isinstance(part, Mapping))
    examples = frozenset(each for text in told for run in _EXAMPLE.findall(text) for each in _stems(run))
    return Profile(name, found, frozenset(_stems(f"{name} {description}")), examples, slots)


def _words(text: str) -> tuple[str, ...]:
    return tuple(word for word in tokens(_CAMEL.sub(" ", text.replace("_", " "))) if word[0].isalpha())


def _stems(text: str) -> list[str]:
    return [stem(word) for word in _words(text) if word not in STOP]


def _slot(name: str, schema: Any, required: bool) -> Slot:
    schema = schema if isinstance(schema, Mapping) else {}
    many = schema.get("type") in ("array", "object")
    own = frozenset(stem(word) for word in _words(name))
    stems = frozenset(_stems(f"{name} {schema.get('description', '')}"))
    inner = schema.get("items") if schema.get("type") == "array" else schema
    inner = inner if isinstance(inner, Mapping) else {}
    if "enum" in inner or "const" in inner:
        values = inner.get("enum") or [inner.get("const")]
        members = tuple(tokens(form) for value in values for form in surface_forms(value, inner))
        stems |= {stem(word) for form in members for word in form if word not in STOP and word[0].isalpha()}
        return Slot(name, "enum", required, many, own, stems, None, members)
    described = f"{inner.get('description', '')} {schema.get('description', '')}".lower()
    kind, pattern = _kind(inner, described)
    shapes = frozenset(shape(run) for run in _EXAMPLE.findall(str(schema.get("description", "")))) - _PLAIN
    return Slot(name, kind, required, many, own, stems, pattern, (), shapes)


def _kind(schema: Mapping[str, Any], description: str) -> tuple[SlotKind, str | None]:
    declared, form = schema.get("type"), schema.get("format")
    if declared == "boolean":
        return "boolean", None
    if declared in ("integer", "number"):
        return "number", None
    # Many schemas of the wild say the form of a text in its description alone.
    if form in ("date", "date-time") or "yyyy-mm-dd" in description:
        return "date", None
    if form == "time" or "hh:mm" in description:
        return "time", None
    if isinstance(schema.get("pattern"), str) and is_pattern(schema["pattern"]):  # else a dialect not read here
        return "pattern", schema["pattern"]
    return "text", None
