"""Rules about what the values of calls leave over: is another tool asked for, or something not said in the calls?"""

from __future__ import annotations

from collections.abc import Iterator

from sloop.judges.rules.answer import Answer, is_known
from sloop.judges.rules.question import Question
from sloop.judges.rules.reading import ARTICLES, LINKS, OBJECTS, STOP, SUBJECTS, Reading, Span, find
from sloop.judges.rules.relevance import evidence, material
from sloop.judges.rules.rule import Remark

_ENDS = frozenset(",.;!?")
_LIST_MARKS = frozenset({",", "and"})


# --- which tool -------------------------------------------------------------------------------------------------------


def rival(question: Question, answer: Answer) -> Iterator[Remark]:
    """The words outside all values speak for a tool that is not called, by a margin."""
    others = _others(question, answer)
    name = max(others, key=lambda name: others[name], default="")
    most = others.get(name, 0.0)
    for nth, (tool, support) in enumerate(zip(answer.tools, answer.supports, strict=False)):
        if most >= support + question.limits.margin:
            # Near-identical tools differ by little: sure only where nothing at all speaks for the called one.
            sure = most >= question.limits.strong and not support
            yield Remark((nth,), f"{name} ({most:.2f}) fits better than {tool.name} ({support:.2f})", sure)


def unasked(question: Question, answer: Answer) -> Iterator[Remark]:
    """No word outside all values speaks for a called tool, and hardly a sign around them does."""
    for nth, (tool, support) in enumerate(zip(answer.tools, answer.supports, strict=False)):
        # Two signs around values ("from ... to ...") may stand for the words that are missing.
        if not answer.wordings[nth] and support < 2 * question.limits.sign:
            yield Remark((nth,), f"little asks for {tool.name} ({support:.2f})", sure=False)


def hardly_asked(question: Question, answer: Answer) -> Iterator[Remark]:
    """Little speaks for a called tool, and there are words that nothing accounts for."""
    for nth, (tool, support) in enumerate(zip(answer.tools, answer.supports, strict=False)):
        if answer.unknown and support < question.limits.irrelevant:
            yield Remark((nth,), f"little asks for {tool.name} ({support:.2f})", sure=False)


def another_tool(question: Question, answer: Answer) -> Iterator[Remark]:
    """Words that no called tool has speak for another one, beside a value that no call holds."""
    reading, rare = question.reading, question.rare
    spare = [k for k in answer.outside if all(reading.stems[k] not in tool.weights for tool in answer.tools)]
    valued = any(reading.span_at[k] >= 0 for k in answer.outside)
    for nth, name in enumerate(_others(question, answer)):
        tool = question.profiles[name]
        found = evidence(tool, reading, rare, spare)
        # Without something left to call it with, the words are as a rule but another way to ask for the called tool.
        left = valued or any(material(tool, reading, k) for k in answer.unknown)
        if found >= question.limits.relevant and left:
            yield Remark((nth,), f"{name} ({found:.2f}) may be asked for, too", sure=False)


def _others(question: Question, answer: Answer) -> dict[str, float]:
    """Evidence for each offered tool that is not called, of the words outside all values."""
    called = {tool.name for tool in answer.tools}
    return {
        name: evidence(tool, question.reading, question.rare, answer.outside)
        for name, tool in question.profiles.items()
        if name not in called
    }


# --- what no argument holds -------------------------------------------------------------------------------------------


def value_left(question: Question, answer: Answer) -> Iterator[Remark]:
    """A number, date, time, code, name or quotation stands in no argument."""
    for nth, span in enumerate(question.reading.spans):
        if not answer.covered.isdisjoint(range(span.start, span.end)):
            continue
        # A name or code that a called tool itself says ("PDF", "Spotify") is no value.
        known = span.look in ("name", "code") and span.start not in answer.unknown
        if not known and not _is_idle_number(question.reading, answer, span):
            yield Remark((nth,), f"no argument holds {span.text!r}", sure=False)


def _is_idle_number(reading: Reading, answer: Answer, span: Span) -> bool:
    """Whether a number in words is no value: "one of them", "the two cities"."""
    if span.look != "number" or not span.text.isalpha():
        return False
    after = reading.word(span.end)
    # It measures something where a called tool has a word for what follows ("two weeks"), or where it ends a clause.
    measures = not after or after in _ENDS or (after not in STOP and is_known(reading, answer, span.end))
    return is_known(reading, answer, span.start) or not measures


def choice_left(question: Question, answer: Answer) -> Iterator[Remark]:
    """The request says a value of an enum that a call leaves out."""
    reading = question.reading
    for nth, (tool, slot) in enumerate(answer.unfilled):
        for form in slot.members:
            place = range(*(find(form, reading.words) or (0, 0)))
            if place and answer.covered.isdisjoint(place):
                # Where the tool says the word elsewhere, too, it may be meant there ("first" of a page, of a class).
                common = tool.said.union(*(other.stems for other in tool.slots if other is not slot))
                known = all(reading.stems[k] in common for k in place)
                yield Remark((nth,), f"{' '.join(form)!r} is a value of {slot.name}", sure=not known)


def boolean_left(question: Question, answer: Answer) -> Iterator[Remark]:
    """The request says the name of a boolean that a call leaves out."""
    reading = question.reading
    said = {reading.stems[k] for k in answer.outside if reading.weights[k]}
    for nth, (tool, slot) in enumerate(answer.unfilled):
        if slot.kind == "boolean":
            common = tool.said.union(*(other.stems for other in tool.slots if other is not slot))
            names = slot.own - STOP
            # A word that nothing else of the tool has is enough; words that it shares must all be there.
            if names & said - common or (names and names <= said):
                yield Remark((nth,), f"the request speaks of {slot.name}", sure=bool(names & said - common))


def goes_on(question: Question, answer: Answer) -> Iterator[Remark]:
    """The word after a text may belong to it: nothing accounts for it, or it is a pronoun that ends the clause."""
    reading = question.reading
    for nth, name, place in _texts(answer):
        k = place.stop
        # "remind me to call her": a pronoun before another word is that word's subject or object.
        closes = reading.word(k) in OBJECTS and not reading.word(k + 1).isalnum()
        if k in answer.unknown or closes:
            yield Remark((nth, 0), f"{name} may go on with {reading.words[k]!r}", sure=False)


def begins_before(question: Question, answer: Answer) -> Iterator[Remark]:
    """The word before a text may belong to it: nothing accounts for it, or it is the text's subject."""
    reading = question.reading
    for nth, name, place in _texts(answer):
        k = place.start - 1
        # Without a link before it, a word before a value is as a rule the verb of the request ("play Vogue").
        told = reading.word(reading.before(k)) in LINKS or k in reading.told
        if (k in answer.unknown and told) or (reading.word(k) in SUBJECTS and k not in answer.covered):
            yield Remark((nth, 1), f"{name} may begin with {reading.words[k]!r}", sure=False)


def list_goes_on(question: Question, answer: Answer) -> Iterator[Remark]:
    """A list may have another item: behind a comma or "and" stands a word that nothing accounts for."""
    reading = question.reading
    for nth, held in enumerate(answer.held):
        if not held.slot.many or not held.place or held.slot.kind != "text" or not isinstance(held.value, str):
            continue
        first, after = held.place.start - 1, held.place.stop
        for side, (mark, k) in enumerate(((after, after + 1), (first, first - 1))):
            if reading.word(mark) in _LIST_MARKS and k in answer.unknown:
                text = f"the list of {held.slot.name} may hold {reading.words[k]!r}"
                yield Remark((nth, 2 + side), text, sure=False)


def linked_word(question: Question, answer: Answer) -> Iterator[Remark]:
    """A word that nothing accounts for stands after a link, as values do."""
    reading = question.reading
    for k in _loose(reading, answer):
        # "and" and "or" join verbs, too ("find and show").
        if reading.word(reading.before(k)) in LINKS - {"and", "or"}:
            yield Remark((k,), f"no argument holds {reading.words[k]!r}", sure=False)


def lone_word(question: Question, answer: Answer) -> Iterator[Remark]:
    """Words that nothing accounts for stand alone between marks."""
    reading = question.reading
    for k in _loose(reading, answer):
        around = [j for j in reading.clause(k) if reading.weights[j] or reading.span_at[j] >= 0]
        if reading.word(k - 1) in {",", ":"} and answer.unknown.issuperset(around):
            yield Remark((k,), f"no argument holds {reading.words[k]!r}", sure=False)


def described_word(question: Question, answer: Answer) -> Iterator[Remark]:
    """A word that nothing accounts for stands after an article, and a parameter of free text is unfilled."""
    reading = question.reading
    if not any(slot.kind == "text" for _, slot in answer.unfilled):
        return
    for k in _loose(reading, answer):
        # With a value behind it, it says what the value is ("the band Muse").
        if reading.word(k - 1) in ARTICLES and k + 1 in answer.outside:
            yield Remark((k,), f"no argument holds {reading.words[k]!r}", sure=False)


def _texts(answer: Answer) -> Iterator[tuple[int, str, range]]:
    """Values of free text that stand somewhere: number, parameter and place."""
    for nth, held in enumerate(answer.held):
        if held.place and held.slot.kind == "text" and isinstance(held.value, str):
            yield nth, held.slot.name, held.place


def _loose(reading: Reading, answer: Answer) -> list[int]:
    """Unknown words that are no part of a span, which `value_left` looks at."""
    return [k for k in sorted(answer.unknown) if reading.span_at[k] < 0]
