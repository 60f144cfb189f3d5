"""An answer laid on its question: where its values stand in the request, and what they leave over.

This is what all rules about calls look at; it finds nothing by itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sloop.calls.grounding import schema_of
from sloop.calls.schema import call_errors
from sloop.calls.surface import leaves, surface_forms
from sloop.judges.rules.filling import Fill, fill
from sloop.judges.rules.question import Question
from sloop.judges.rules.reading import DENIALS, LINKS, STOP, Reading, find, tokens
from sloop.judges.rules.relevance import Profile, Slot, cued, evidence, material, shape
from sloop.records import Label, ToolCall

Kind = Literal["unreadable", "no_call", "calls"]
"""What an answer is: an output that could not be parsed, a message without calls, or calls."""

_NEGATIVE = frozenset(["avoid", "no", "not", "exclude", "without", "disable", "skip", "hide", "ignore"])
"""Words that turn a parameter's name around: ``avoid_tolls`` is true where tolls are denied."""
_MOST_SIGNS = 2.0
"""Signs around values that count for a call: more of them say how long a call is, not how well it fits."""


@dataclass(frozen=True, slots=True)
class Held:
    """One leaf of one argument, and where it stands in the request."""

    call: int
    slot: Slot
    value: Any
    place: range
    """Indices of its words; empty where it stands nowhere."""
    shared: bool
    """Whether an earlier value stands there, too."""


@dataclass(frozen=True, slots=True)
class Said:
    """A boolean that the request speaks of."""

    nth: int
    """Of the held values."""
    held: Held
    yes: bool
    """What the request says of it."""


@dataclass(frozen=True, slots=True)
class Text:
    """A value of free text, not in quotes, with the words at its edges."""

    nth: int
    """Of the held values."""
    held: Held
    words: tuple[str, ...]
    content: int
    """How many of them are no function words."""
    spanned: bool
    """Whether part of it looks like a value (`reading.Span`)."""
    before: str
    """The word before it, and the one after it; empty at the ends of the request."""
    after: str

    def __str__(self) -> str:
        return f"{self.held.slot.name}={self.held.value!r}"


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer to a question, word by word of the request."""

    label: Label | None
    kind: Kind
    errors: tuple[str, ...] = ()
    """Of each call that breaks its tool's schema, the first; with any, nothing is placed."""
    tools: tuple[Profile, ...] = ()
    """Of its calls, those that are on offer."""
    held: tuple[Held, ...] = ()
    said: tuple[Said, ...] = ()
    texts: tuple[Text, ...] = ()
    covered: frozenset[int] = frozenset()
    """Words that its values account for."""
    outside: tuple[int, ...] = ()
    """The other words."""
    unknown: frozenset[int] = frozenset()
    """Those of them that no called tool's own words account for."""
    unfilled: tuple[tuple[Profile, Slot], ...] = ()
    """Parameters of its calls that have no argument."""
    wordings: tuple[float, ...] = ()
    """By call: evidence of the words outside all values for its tool."""
    supports: tuple[float, ...] = ()
    """By call: the same with the signs around its values."""
    fillable: tuple[tuple[Profile, Fill], ...] = ()
    """Of an answer without calls: the offered tools whose required values are there, or may be."""

    @property
    def support(self) -> float:
        """Evidence for its least supported call; 0 where none was placed."""
        return min(self.supports, default=0.0)


def lay(question: Question, label: Label | None) -> Answer:
    """Find an answer's values in the request; None is an output that could not be parsed."""
    if label is None:
        return Answer(label, "unreadable")
    if not label.calls:
        fills = [(tool, fill(tool, question.reading, question.rare)) for tool in question.profiles.values()]
        return Answer(label, "no_call", fillable=tuple(pair for pair in fills if pair[1].fillable is not False))
    errors = tuple(
        f"{call.name}: {error}" for call in label.calls for error in call_errors(call, question.sample.tools)[:1]
    )
    tools = tuple(question.profiles[call.name] for call in label.calls if call.name in question.profiles)
    if errors:
        return Answer(label, "calls", errors, tools)
    reading = question.reading
    held, places = _hold(question, label.calls)
    said, covered = _booleans(reading, held, places)
    outside = tuple(k for k in range(len(reading.words)) if k not in covered)
    filled = {(each.call, each.slot.name) for each in held}
    wordings = tuple(evidence(tool, reading, question.rare, outside) for tool in tools)
    signs = [min(_MOST_SIGNS, _signs(reading, held, nth)) * question.limits.sign for nth in range(len(tools))]
    return Answer(
        label=label,
        kind="calls",
        tools=tools,
        held=held,
        said=said,
        texts=tuple(_texts(reading, held)),
        covered=covered,
        outside=outside,
        unknown=frozenset(k for k in outside if all(material(tool, reading, k) for tool in tools)),
        unfilled=tuple((tool, s) for nth, tool in enumerate(tools) for s in tool.slots if (nth, s.name) not in filled),
        wordings=wordings,
        supports=tuple(words + more for words, more in zip(wordings, signs, strict=True)),
    )


def accounted(question: Question, answer: Answer) -> float:
    """Share of the request's content words that an answer's values or its tools' words account for."""
    reading = question.reading
    words = [k for k in range(len(reading.words)) if reading.weights[k] or reading.span_at[k] >= 0]
    known = [k for k in words if k in answer.covered or any(not material(tool, reading, k) for tool in answer.tools)]
    return len(known) / len(words) if words else 1.0


def words_held(question: Question, answer: Answer) -> int:
    """How many words of the request an answer's values hold that no called tool's own words account for."""
    reading = question.reading
    return sum(
        reading.words[k].isalnum() and not (reading.weights[k] > 0 and is_known(reading, answer, k))
        for k in answer.covered
    )


def is_known(reading: Reading, answer: Answer, k: int) -> bool:
    """Whether a called tool's own words say word ``k``."""
    return any(reading.stems[k] in tool.weights for tool in answer.tools)


def cues_around(reading: Reading, slot: Slot, held: Held, *, opening: bool) -> int:
    """How many signs around a value point to a slot (`cued`)."""
    return cued(slot, reading, held.place.start, held.place.stop, opening=opening)


# --- places -----------------------------------------------------------------------------------------------------------


def _hold(question: Question, calls: tuple[ToolCall, ...]) -> tuple[tuple[Held, ...], frozenset[int]]:
    """Every leaf at its place, in the order of calls and arguments, and all words of these places."""
    held: list[Held] = []
    covered: set[int] = set()
    for nth, call in enumerate(calls):
        for name, value in call.arguments.items():
            if slot := question.profiles[call.name].slot(name):
                for leaf, schema in leaves(value, schema_of(question.tools[call.name], name)):
                    place = _place(question.reading, slot, leaf, schema, covered)
                    held.append(Held(nth, slot, leaf, place, shared=not covered.isdisjoint(place)))
                    covered.update(place)
    return tuple(held), frozenset(covered)


def _place(reading: Reading, slot: Slot, leaf: Any, schema: Mapping[str, Any], covered: set[int]) -> range:
    """Where a value stands: unsplit, apart from the values before it, and where most signs point to it."""
    best: tuple[tuple[bool, bool, int, int, int], range] | None = None
    # A boolean stands in no words of its own: what is said of it is read around its parameter's name.
    forms = {} if isinstance(leaf, bool) else dict.fromkeys(map(tokens, surface_forms(leaf, schema)))
    for form in forms:
        at = 0
        while form and (found := find(form, reading.words, at)):
            at = found[0] + 1
            place = range(*found)
            signs = cued(slot, reading, *found, opening=True)
            rank = (not _splits(reading, place), covered.isdisjoint(place), signs, len(place), -at)
            if best is None or rank > best[0]:
                best = (rank, place)
    return best[1] if best else range(0)


def _splits(reading: Reading, place: range) -> bool:
    """Whether a run of words takes a part only of a number, a date, a time or a code."""
    spans = (reading.span(k) for k in place)
    return any(
        span is not None and span.look not in ("name", "quoted") and not {span.start, span.end - 1} <= set(place)
        for span in spans
    )


def _booleans(
    reading: Reading, held: tuple[Held, ...], places: frozenset[int]
) -> tuple[tuple[Said, ...], frozenset[int]]:
    """What the request says of each boolean, and the covered words with those that say it."""
    said: list[Said] = []
    covered = set(places)
    for nth, each in enumerate(held):
        if isinstance(each.value, bool) and (cues := _cues(reading, each.slot, covered)):
            denied, literal = _denied(reading, each.slot, cues, covered)
            covered.update(cues, literal)
            # The name itself denies (``avoid_tolls``): "no tolls" affirms it, and only "true" or "yes" is plain.
            if literal or not each.slot.own & _NEGATIVE:
                said.append(Said(nth, each, yes=not denied))
    return tuple(said), frozenset(covered)


def _cues(reading: Reading, slot: Slot, covered: set[int]) -> list[int]:
    """Words that speak of a boolean: those of its name or, where there is none, of its description."""
    near = [k for k in range(len(reading.words)) if k not in covered and reading.weights[k]]
    return [k for k in near if reading.stems[k] in slot.own] or [k for k in near if reading.stems[k] in slot.stems]


def _denied(reading: Reading, slot: Slot, cues: list[int], covered: set[int]) -> tuple[bool, set[int]]:
    """Whether a boolean is denied in the clause that speaks of it most, and the "true" or "false" written there."""
    around = max(
        (reading.clause(k) for k in cues), key=lambda clause: len({reading.stems[k] for k in clause} & slot.own)
    )
    literal = {k for k in around if reading.words[k] in ("true", "false", "yes")}
    return any(reading.words[k] in DENIALS for k in around if k not in covered), literal


def _texts(reading: Reading, held: tuple[Held, ...]) -> Iterator[Text]:
    for nth, each in enumerate(held):
        if not isinstance(each.value, str) or each.slot.kind != "text":
            continue
        words, place = tokens(each.value), each.place
        # In quotes the request itself says where a value begins and ends.
        if words and place and not all(_is_quoted(reading, k) for k in place):
            yield Text(
                nth=nth,
                held=each,
                words=words,
                content=sum(word not in STOP for word in words),
                spanned=any(reading.span_at[k] >= 0 for k in place),
                before=reading.word(place.start - 1),
                after=reading.word(place.stop),
            )


def _is_quoted(reading: Reading, k: int) -> bool:
    span = reading.span(k)
    return span is not None and span.look == "quoted"


def _signs(reading: Reading, held: tuple[Held, ...], nth: int) -> float:
    """Signs that a call's values are where its tool wants them; a value like the schema's example counts twice."""
    signs = 0
    for each in held:
        if each.call != nth or not each.place:
            continue
        cue = not each.shared and cues_around(reading, each.slot, each, opening=False) > 0
        # What fits a pattern or is an enum's value is a sign by itself: no other parameter would take it.
        signs += each.slot.kind in ("pattern", "enum") or cue
        signs += 2 * (shape(str(each.value)) in each.slot.shapes)
    return signs


def begins_told(reading: Reading, text: Text) -> bool:
    """Whether the words before a text say that it begins there: a colon or a quote, a link, or a mark."""
    return text.held.place.start in reading.told or text.before in LINKS or not text.before.isalnum()
