"""A tool held against a request without a call in hand: what could fill its parameters, and what stays over."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sloop.calls.schema.patterns import fits
from sloop.judges.rules.reading import LINKS, PLACEHOLDERS, STOP, Reading, Span, find
from sloop.judges.rules.relevance import CUES, Profile, Slot, besides, evidence, material

_TYPED = frozenset({"number", "date", "time", "pattern"})
_PATTERN_BONUS = 0.25
"""Evidence of a code that a parameter's pattern asks for."""
_ROUTE_BONUS = 0.5
"""Evidence of a "from" and a "to" for a tool that needs both."""


@dataclass(frozen=True, slots=True)
class Fill:
    """A tool held against a request, without a call."""

    evidence: float
    """Weight of the wording that the tool accounts for."""
    loose: float
    """Weight of what it does not: other words, and values for which it has no slot."""
    fillable: bool | None
    """Whether every required slot finds a value; None where words alone cannot say."""
    missing: tuple[str, ...]
    """Required slots that find none."""

    @property
    def share(self) -> float:
        """Evidence over all that was said; 0 where nothing speaks for the tool."""
        return self.evidence / (self.evidence + self.loose) if self.evidence else 0.0


def fill(tool: Profile, reading: Reading, rare: Mapping[str, float]) -> Fill:
    """Hold a tool against a request: what fills its slots, and what is left over.

    Numbers, dates, times and codes fill slots of their kind; names, quotations and words that the tool does not have
    fill those that take any text, as does a value that no other slot takes. A value beside which the whole name of a
    parameter stands fills that one alone; an optional parameter that takes any text is filled by such a value, or by
    one after a link that speaks for it, and by no other.
    """
    return _Filling(tool, reading).result(rare)


class _Filling:
    def __init__(self, tool: Profile, reading: Reading) -> None:
        self._tool = tool
        self._reading = reading
        self._free = set(range(len(reading.words)))
        self._spans = list(reading.spans)
        self._missing: list[str] = []
        self._unsure = False
        self._bonus = 0.0
        slots = sorted(tool.slots, key=lambda slot: not slot.required)
        for slot in slots:
            if slot.kind in _TYPED:
                self._typed(slot)
            elif slot.kind == "enum":
                self._choice(slot)
        self._texts = [slot for slot in slots if slot.kind == "text"]
        self._chunks, self._least = self._runs()
        self._values = [span for span in self._spans if span.look in ("number", "date", "time")]

    def result(self, rare: Mapping[str, float]) -> Fill:
        """What came of it."""
        needed = [slot for slot in self._texts if slot.required]
        if _is_route(needed) and {"from", "to"} <= {self._reading.words[k] for k in self._free}:
            self._bonus += _ROUTE_BONUS
        filled = self._named_chunks()
        texts = [slot for slot in self._texts if slot not in filled]
        needed = [slot for slot in texts if slot.required]
        # A number or a date may be a text's value, too ("room 12").
        spare = len(self._values)
        room = len(self._reading.words) if any(slot.many for slot in needed) else len(needed)
        missing = [*self._missing, *(slot.name for slot in needed[len(self._chunks) + spare :])]
        unsure = self._unsure or self._least < len(needed) <= len(self._chunks) + spare
        # "post it on the board": the value may have been said before, or not at all.
        if needed and any(self._reading.words[k] in PLACEHOLDERS for k in self._free):
            unsure = True
        loose = float(max(0, len(self._values) - max(0, room - len(self._chunks))))
        for chunk in sorted(self._chunks, key=len, reverse=True)[room:]:
            loose += sum(max(self._reading.weights[k], float(self._reading.span_at[k] >= 0)) for k in chunk)
        return Fill(
            evidence=evidence(self._tool, self._reading, rare, self._free) + self._bonus,
            loose=loose,
            fillable=False if missing else None if unsure else True,
            missing=tuple(missing),
        )

    def _typed(self, slot: Slot) -> None:
        """Give a slot the first value of its kind, one that its name stands beside before others."""
        suited = [span for span in self._spans if _suits(slot, span)]
        named = {span: self._named(span.start, span.end) for span in suited}
        # A value named for another slot is that slot's, even if it is the only one of its kind.
        fit = [span for span in suited if named[span] is slot] or [span for span in suited if named[span] is None]
        if fit:
            self._spans.remove(fit[0])
            self._free -= set(range(fit[0].start, fit[0].end))
            self._bonus += _PATTERN_BONUS * (slot.kind == "pattern")
        elif slot.required:
            self._missing.append(slot.name)

    def _choice(self, slot: Slot) -> None:
        """Take the words of an enum's value out; a required choice may be implied without them."""
        for form in slot.members:
            if place := find(form, self._reading.words):
                self._free -= set(range(*place))
                self._spans = [span for span in self._spans if not place[0] <= span.start < place[1]]
                return
        self._unsure = self._unsure or slot.required

    def _runs(self) -> tuple[list[list[int]], int]:
        """Runs of words that could be values of free text (at most), and how many there are at least.

        An unknown word that opens a clause may as well be its verb, and two runs of plain words may be one value.
        """
        reading = self._reading
        chunks: list[list[int]] = []
        hard = 0
        soft = False
        for k in sorted(self._free):
            # After a colon or in quotes function words are part of a value, links still part values.
            told = k in reading.told and reading.words[k].isalpha() and reading.words[k] not in LINKS
            if not (told or material(self._tool, reading, k)):
                continue
            span = reading.span(k)
            last = chunks[-1][-1] if chunks else -1
            joined = bool(chunks) and all(
                j in self._free and reading.words[j].isalnum() and reading.words[j] not in LINKS
                for j in range(last + 1, k)
            )
            # A span opens a run of its own unless it follows at once: "tell Ann the gate is open" has two.
            if joined and (last == k - 1 or span is None):
                chunks[-1].append(k)
            else:
                chunks.append([k])
                hard += span is not None
            soft = soft or told or not reading.opens(k) or reading.word(reading.before(k)) in LINKS
        return chunks, max(hard, int(soft))

    def _named_chunks(self) -> list[Slot]:
        """Take out the runs that the words around them give to one slot; returns those slots."""
        filled: list[Slot] = []
        for chunk in list(self._chunks):
            slot = self._named(chunk[0], chunk[-1] + 1) or self._linked(chunk[0])
            # One run fills one slot; a second run beside the same name may be another slot's.
            if slot in self._texts and slot not in filled:
                filled.append(slot)
                self._chunks.remove(chunk)
                self._least = max(0, self._least - 1)
        return filled

    def _named(self, start: int, end: int) -> Slot | None:
        """The slot whose whole name stands beside a value; of several, the one with the longest name."""
        near = {self._reading.stems[k] for k in besides(self._reading, start, end)}
        slots = [slot for slot in self._tool.slots if slot.own - STOP and slot.own - STOP <= near]
        return max(slots, key=lambda slot: len(slot.own - STOP), default=None)

    def _linked(self, start: int) -> Slot | None:
        """The optional slot that the link before a value speaks for, where it speaks for no required one."""
        roles = CUES.get(self._reading.word(self._reading.before(start)), frozenset())
        slots = [slot for slot in self._texts if roles & slot.own]
        return slots[0] if slots and not any(slot.required for slot in slots) else None


def _is_route(slots: list[Slot]) -> bool:
    """Whether there is a slot for where something comes from, and one for where it goes."""
    return all(any(link in slot.own or CUES[link] & slot.own for slot in slots) for link in ("from", "to"))


def _suits(slot: Slot, span: Span) -> bool:
    if slot.pattern is not None:
        return fits(slot.pattern, span.text)
    return slot.kind == span.look
