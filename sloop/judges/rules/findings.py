"""What rules find in one answer to a request, from the request, the offered tools and the answer alone.

A finding that is sure makes the answer wrong; any other makes it doubtful. The rules, in the order in which they are
asked (`inspect`):

========== ===========================================================================================================
format     (sure) the output could not be parsed
schema     (sure) a call breaks its tool's schema or names a tool that is not offered; nothing else is asked then
repetition (sure) the same call twice
grounding  (sure) an argument value does not stand in the dialogue (`ungrounded`)
boundary   a text value is a lone function word or its parameter's own name, ends or begins with a link ("at", "the")
           that belongs to the words beside it, or with an operator without operand (all sure); begins with an object
           pronoun, or is function words alone (doubtful)
polarity   (sure) a boolean says yes where the words around its name deny, or no where they do not
exchange   (sure) two values of one call have more signs around them for each other's parameters (`cued`)
sharing    no word is a call's own, all stand in other calls' values (sure); some do (doubtful)
relevance  the words outside all values speak for another tool by a margin, or not enough for the called one
           (doubtful; sure where they speak strongly for the other and not at all for the called one)
coverage   what no argument holds: a value of an unused enum, the name of an unused boolean (sure, unless the tool's
           other words say it, too); a number, date, code, name or quotation; an unknown word after a link or an
           article, or alone between marks; a word that goes on with a value or its list; words for another tool
           beside unused values (doubtful)
refusal    of an answer without calls: a tool accounts for the request's words and every required value is there
           (sure where the evidence is strong), or may be there (doubtful)
========== ===========================================================================================================
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from sloop.calls.grounding import schema_of, ungrounded
from sloop.calls.schema import call_errors
from sloop.calls.surface import leaves, surface_forms
from sloop.judges.rules.filling import fill
from sloop.judges.rules.inspection import Held, Inspection, Thresholds
from sloop.judges.rules.reading import ARTICLES, DENIALS, LINKS, PLACEHOLDERS, STOP, find, read, tokens
from sloop.judges.rules.relevance import Profile, Slot, Weights, cued, evidence, material, profile, rarity, shape
from sloop.records import Label, Sample, canonical_json

_SUBJECTS = frozenset(["i", "we", "he", "she", "they"])
_OBJECTS = frozenset(["you", "me", "it", "him", "her", "us", "them"])
_EMPTY_WORDS = LINKS | ARTICLES | PLACEHOLDERS | _OBJECTS | _SUBJECTS | {"please", "thanks"}
_NEGATIVE = frozenset(["avoid", "no", "not", "exclude", "without", "disable", "skip", "hide", "ignore"])
"""Words that turn a parameter's name around: ``avoid_tolls`` is true where tolls are denied."""
_LONE_OPERATOR = re.compile(r"^[*/=)]\s|[-+*/=(]$")
_ENDS = frozenset(",.;!?")
_LIST_MARKS = frozenset({",", "and"})


class Question:
    """A sample without its label: its request and its tools, read once for all answers."""

    def __init__(self, sample: Sample, weights: Weights, thresholds: Thresholds) -> None:
        self._sample = sample
        self._limits = thresholds
        self._tools = {tool.name: tool for tool in sample.tools}
        self._profiles = {tool.name: profile(tool, weights) for tool in sample.tools}
        self._rare = rarity(list(self._profiles.values()))
        self.reading = read(sample.request)
        self._words = range(len(self.reading.words))

    def inspect(self, label: Label | None) -> Inspection:
        """Ask every rule about an answer; None is an output that could not be parsed."""
        seen = Inspection(label)
        if label is None:
            seen.add("format", "the output cannot be parsed", sure=True)
        elif not label.calls:
            self._refusal(seen)
        else:
            self._calls(seen, label)
        return seen

    def accounted(self, seen: Inspection) -> float:
        """Share of the request's content words that an answer's values or its tools' words account for."""
        words = [k for k in self._words if self.reading.weights[k] or self.reading.span_at[k] >= 0]
        tools = self._called(seen)
        known = [k for k in words if k in seen.covered or any(not material(tool, self.reading, k) for tool in tools)]
        return len(known) / len(words) if words else 1.0

    def held(self, seen: Inspection) -> int:
        """How many words of the request an answer's values hold that no called tool's own words account for."""
        tools = self._called(seen)
        return sum(self.reading.words[k].isalnum() and not self._known(tools, k) for k in seen.covered)

    def _known(self, tools: list[Profile], k: int) -> bool:
        return self.reading.weights[k] > 0 and any(self.reading.stems[k] in tool.weights for tool in tools)

    def _called(self, seen: Inspection) -> list[Profile]:
        calls = seen.label.calls if seen.label else ()
        return [self._profiles[call.name] for call in calls if call.name in self._profiles]

    # --- answers without calls --------------------------------------------------------------------------------------

    def _refusal(self, seen: Inspection) -> None:
        limits = self._limits
        for tool in self._profiles.values():
            found = fill(tool, self.reading, self._rare)
            if found.fillable is False:
                continue
            told = f"{tool.name} (evidence {found.evidence:.2f}, share {found.share:.2f})"
            if found.evidence >= limits.relevant and found.share >= limits.most:
                sure = found.fillable is True and found.evidence >= limits.strong
                seen.add("refusal", f"the request asks for {told}", sure=sure)
            elif found.evidence >= limits.irrelevant and found.share >= limits.some:
                seen.add("refusal", f"the request may ask for {told}", sure=False)
            elif found.evidence and not found.loose:
                seen.add("refusal", f"{told} would leave nothing over", sure=False)

    # --- calls ------------------------------------------------------------------------------------------------------

    def _calls(self, seen: Inspection, label: Label) -> None:
        for call in label.calls:
            for error in call_errors(call, self._sample.tools)[:1]:
                seen.add("schema", f"{call.name}: {error}", sure=True)
        if seen.findings:
            return
        if len({canonical_json(call.to_openai()) for call in label.calls}) < len(label.calls):
            seen.add("repetition", "the same call stands twice", sure=True)
        for loose in ungrounded(self._sample, label):
            seen.add("grounding", f"{loose} does not stand in the request", sure=True)
        for nth, call in enumerate(label.calls):
            for name, value in call.arguments.items():
                if slot := self._profiles[call.name].slot(name):
                    for leaf, schema in leaves(value, schema_of(self._tools[call.name], name)):
                        self._hold(seen, nth, slot, leaf, schema)
        for held in seen.held:
            if isinstance(held.value, bool):
                self._polarity(seen, held)
            elif isinstance(held.value, str) and held.slot.kind == "text":
                self._boundary(seen, held)
        self._exchange(seen)
        if len(label.calls) > 1:
            self._sharing(seen, label)
        rest = _Rest(self, seen)
        self._relevance(seen, label, rest)
        self._coverage(seen, rest)

    def _hold(self, seen: Inspection, nth: int, slot: Slot, leaf: Any, schema: Mapping[str, Any]) -> None:
        """Note where a value stands: unsplit, apart from the values before it, and where most signs point to it."""
        best: tuple[tuple[bool, bool, int, int, int], range] | None = None
        forms = {} if isinstance(leaf, bool) else dict.fromkeys(map(tokens, surface_forms(leaf, schema)))
        for form in forms:
            at = 0
            while form and (found := find(form, self.reading.words, at)):
                at = found[0] + 1
                place = range(*found)
                apart = seen.covered.isdisjoint(place)
                rank = (not self._splits(place), apart, cued(slot, self.reading, *found, opening=True), len(place), -at)
                if best is None or rank > best[0]:
                    best = (rank, place)
        place = best[1] if best else range(0)
        seen.held.append(Held(nth, slot, leaf, place, shared=not seen.covered.isdisjoint(place)))
        seen.covered.update(place)

    def _splits(self, place: range) -> bool:
        """Whether a run of words takes a part only of a number, a date, a time or a code."""
        spans = (self.reading.span(k) for k in place)
        return any(
            span is not None and span.look not in ("name", "quoted") and not {span.start, span.end - 1} <= set(place)
            for span in spans
        )

    def _polarity(self, seen: Inspection, held: Held) -> None:
        reading = self.reading
        names = held.slot.own
        near = [k for k in self._words if k not in seen.covered and reading.weights[k]]
        cues = [k for k in near if reading.stems[k] in names] or [
            k for k in near if reading.stems[k] in held.slot.stems
        ]
        if not cues:
            return
        clauses = [reading.clause(k) for k in cues]
        literal = {k for clause in clauses for k in clause if reading.words[k] in ("true", "false", "yes")}
        around = max(
            clauses,
            key=lambda clause: (len({reading.stems[k] for k in clause} & names), not literal.isdisjoint(clause)),
        )
        said = literal.intersection(around)
        denied = any(reading.words[k] in DENIALS for k in said or around if k not in seen.covered)
        seen.covered.update(cues, said)
        if (said or not names & _NEGATIVE) and denied == held.value:
            seen.add("polarity", f"the request says the opposite of {held.slot.name}={held.value}", sure=True)

    def _boundary(self, seen: Inspection, held: Held) -> None:
        reading, place, words = self.reading, held.place, tokens(held.value)
        if not words or not place or all(_quoted(self, k) for k in place):
            return
        shown = f"{held.slot.name}={held.value!r}"
        spanned = any(reading.span_at[k] >= 0 for k in place)
        before, after = reading.word(place.start - 1), reading.word(place.stop)
        told = place.start in reading.told or before in LINKS or not before.isalnum()
        content = [word for word in words if word not in STOP]
        starts = len(words) > 1 and reading.span_at[place.start] < 0
        goes_on = len(words) > 1 and reading.span_at[place.stop - 1] < 0 and after.isalnum()
        if len(words) == 1 and words[0] in _EMPTY_WORDS and not spanned:
            seen.add("boundary", f"{shown} is a function word", sure=True)
        elif {reading.stems[k] for k in place} <= held.slot.own and not _named(self, place):
            seen.add("boundary", f"{shown} is the parameter's own name", sure=True)
        elif goes_on and ((words[-1] in LINKS and after not in LINKS) or (words[-1] in ARTICLES and after not in STOP)):
            seen.add("boundary", f"{shown} ends with {words[-1]!r}", sure=True)
        elif _LONE_OPERATOR.search(held.value):
            seen.add("boundary", f"{shown} is cut at an operator", sure=True)
        elif told:
            return
        elif starts and words[0] in LINKS:
            seen.add("boundary", f"{shown} begins with {words[0]!r}", sure=len(content) < 3)
        elif words[0] in _OBJECTS or not (content or spanned):
            seen.add("boundary", f"{shown} begins with {words[0]!r}", sure=False)

    def _exchange(self, seen: Inspection) -> None:
        for k, one in enumerate(seen.held):
            for other in seen.held[k + 1 :]:
                if one.call != other.call or one.slot is other.slot or not _exchangeable(one, other):
                    continue
                as_given = self._signs(one.slot, one, opening=True) + self._signs(other.slot, other, opening=True)
                if self._signs(one.slot, other) + self._signs(other.slot, one) > as_given:
                    seen.add("exchange", f"{one.slot.name} and {other.slot.name} are swapped", sure=True)

    def _signs(self, slot: Slot, held: Held, *, opening: bool = False) -> int:
        return cued(slot, self.reading, held.place.start, held.place.stop, opening=opening)

    def _sharing(self, seen: Inspection, label: Label) -> None:
        for nth, call in enumerate(label.calls):
            own = {k for held in seen.held if held.call == nth for k in held.place}
            others = {k for held in seen.held if held.call != nth for k in held.place}
            if own and all(self.reading.words[k] in STOP for k in own - others):
                seen.add("sharing", f"no value of call {nth + 1} ({call.name}) is its own", sure=True)
            elif own & others:
                seen.add("sharing", f"call {nth + 1} ({call.name}) shares a value with another", sure=False)

    def _relevance(self, seen: Inspection, label: Label, rest: _Rest) -> None:
        limits, reading = self._limits, self.reading
        called = {call.name for call in label.calls}
        others = {
            name: evidence(tool, reading, self._rare, rest.outside)
            for name, tool in self._profiles.items()
            if name not in called
        }
        rival = max(others, key=lambda name: others[name], default="")
        most = others.get(rival, 0.0)
        supports = []
        for nth, call in enumerate(label.calls):
            words = evidence(self._profiles[call.name], reading, self._rare, rest.outside)
            support = words + min(2.0, self._support(seen, nth)) * limits.sign
            supports.append(support)
            if most >= support + limits.margin:
                told = f"{rival} ({most:.2f}) fits better than {call.name} ({support:.2f})"
                seen.add("relevance", told, sure=most >= limits.strong and not support)
            elif (not words and support < 2 * limits.sign) or (rest.unknown and support < limits.irrelevant):
                seen.add("relevance", f"little asks for {call.name} ({support:.2f})", sure=False)
        seen.support = min(supports)
        spare = [k for k in rest.outside if all(reading.stems[k] not in each.weights for each in rest.tools)]
        valued = any(reading.span_at[k] >= 0 for k in rest.outside)
        for name in others:
            tool = self._profiles[name]
            found = evidence(tool, reading, self._rare, spare)
            if found >= limits.relevant and (valued or any(material(tool, reading, k) for k in rest.unknown)):
                seen.add("coverage", f"{name} ({found:.2f}) may be asked for, too", sure=False)

    def _support(self, seen: Inspection, nth: int) -> float:
        """Signs that a call's values are where its tool wants them; a value like the schema's example counts twice."""
        signs = 0
        for held in seen.held:
            if held.call != nth or not held.place:
                continue
            signs += held.slot.kind in ("pattern", "enum") or (not held.shared and self._signs(held.slot, held) > 0)
            signs += 2 * (shape(str(held.value)) in held.slot.shapes)
        return signs

    def _coverage(self, seen: Inspection, rest: _Rest) -> None:
        reading = self.reading
        for span in reading.spans:
            spelled = span.look == "number" and span.text.isalpha()
            spelled = spelled and (rest.known(span.start) or not rest.measures(span.end))
            known = span.look in ("name", "code") and span.start not in rest.unknown
            if seen.covered.isdisjoint(range(span.start, span.end)) and not spelled and not known:
                seen.add("coverage", f"no argument holds {span.text!r}", sure=False)
        for tool, slot in rest.unfilled:
            self._unused(seen, rest, tool, slot)
        for held in seen.held:
            if held.place and held.slot.kind == "text" and isinstance(held.value, str):
                self._goes_on(seen, rest, held)
        open_ = any(slot.kind == "text" for _, slot in rest.unfilled)
        for k in sorted(rest.unknown):
            linked = reading.word(reading.before(k)) in LINKS - {"and", "or"}
            around = [j for j in reading.clause(k) if reading.weights[j] or reading.span_at[j] >= 0]
            alone = reading.word(k - 1) in {",", ":"} and rest.unknown.issuperset(around)
            described = open_ and reading.word(k - 1) in ARTICLES and k + 1 in rest.outside
            if reading.span_at[k] < 0 and (linked or alone or described):
                seen.add("coverage", f"no argument holds {reading.words[k]!r}", sure=False)

    def _unused(self, seen: Inspection, rest: _Rest, tool: Profile, slot: Slot) -> None:
        """Whether the request speaks of a parameter that a call leaves out."""
        reading = self.reading
        common = tool.said.union(*(other.stems for other in tool.slots if other is not slot))
        for form in slot.members:
            place = range(*(find(form, reading.words) or (0, 0)))
            if place and seen.covered.isdisjoint(place):
                known = all(reading.stems[k] in common for k in place)
                seen.add("coverage", f"{' '.join(form)!r} is a value of {slot.name}", sure=not known)
                return
        if slot.kind == "boolean":
            said = {reading.stems[k] for k in rest.outside if reading.weights[k]}
            names = slot.own - STOP
            if names & said - common or (names and names <= said):
                seen.add("coverage", f"the request speaks of {slot.name}", sure=bool(names & said - common))

    def _goes_on(self, seen: Inspection, rest: _Rest, held: Held) -> None:
        """Whether the words beside a text value belong to it."""
        reading, first, after = self.reading, held.place.start - 1, held.place.stop
        told = reading.word(reading.before(first)) in LINKS or first in reading.told
        if after in rest.unknown or (reading.word(after) in _OBJECTS and not reading.word(after + 1).isalnum()):
            seen.add("coverage", f"{held.slot.name} may go on with {reading.words[after]!r}", sure=False)
        if (first in rest.unknown and told) or (reading.word(first) in _SUBJECTS and first not in seen.covered):
            seen.add("coverage", f"{held.slot.name} may begin with {reading.words[first]!r}", sure=False)
        for mark, k in ((after, after + 1), (first, first - 1)) if held.slot.many else ():
            if reading.word(mark) in _LIST_MARKS and k in rest.unknown:
                seen.add("coverage", f"the list of {held.slot.name} may hold {reading.words[k]!r}", sure=False)


class _Rest:
    """What an answer's values leave over of the request, and of its tools' parameters."""

    def __init__(self, question: Question, seen: Inspection) -> None:
        self._reading = question.reading
        self.tools = question._called(seen)
        filled = {(held.call, held.slot.name) for held in seen.held}
        self.unfilled = [
            (tool, slot) for nth, tool in enumerate(self.tools) for slot in tool.slots if (nth, slot.name) not in filled
        ]
        self.outside = [k for k in question._words if k not in seen.covered]

    @cached_property
    def unknown(self) -> frozenset[int]:
        """Words outside the values that no called tool's own words account for."""
        return frozenset(k for k in self.outside if all(material(tool, self._reading, k) for tool in self.tools))

    def measures(self, k: int) -> bool:
        """Whether word ``k`` may follow a number in words that is a value: a called tool says it, or it is the end."""
        word = self._reading.word(k)
        return not word or word in _ENDS or (word not in STOP and self.known(k))

    def known(self, k: int) -> bool:
        """Whether a called tool's own words say word ``k``."""
        return any(self._reading.stems[k] in tool.weights for tool in self.tools)


def _named(question: Question, place: range) -> bool:
    spans = [question.reading.span(k) for k in place]
    return any(span is not None and span.look == "name" for span in spans)


def _quoted(question: Question, k: int) -> bool:
    span = question.reading.span(k)
    return span is not None and span.look == "quoted"


def _exchangeable(one: Held, other: Held) -> bool:
    """Whether either value could stand for the other."""
    if not one.place or not other.place or one.slot.kind != other.slot.kind:
        return False
    if one.slot.pattern and other.slot.pattern:
        crossed = ((one.slot.pattern, other.value), (other.slot.pattern, one.value))
        return all(pattern.search(str(value)) for pattern, value in crossed)
    return one.slot.kind in ("text", "number", "date", "time")
