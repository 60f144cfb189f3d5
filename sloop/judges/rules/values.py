"""Rules about calls by themselves, and about their values: do they stand in the request, whole, where they belong?"""

from __future__ import annotations

import re
from collections.abc import Iterator

from sloop.calls.grounding import ungrounded
from sloop.calls.schema.patterns import fits
from sloop.judges.rules.answer import Answer, Held, begins_told, cues_around
from sloop.judges.rules.question import Question
from sloop.judges.rules.reading import ARTICLES, LINKS, OBJECTS, PLACEHOLDERS, STOP, SUBJECTS
from sloop.judges.rules.rule import Remark
from sloop.records import canonical_json

_EMPTY_WORDS = LINKS | ARTICLES | PLACEHOLDERS | OBJECTS | SUBJECTS | {"please", "thanks"}
_LONE_OPERATOR = re.compile(r"^[*/=)]\s|[-+*/=(]$")
_LITTLE = 3
"""Content words from which a text that begins with a link may be a sentence of its own ("in the end we all win")."""


def unreadable(question: Question, answer: Answer) -> Iterator[Remark]:
    """The output could not be parsed."""
    yield Remark((), "the output cannot be parsed", sure=True)


def broken_schema(question: Question, answer: Answer) -> Iterator[Remark]:
    """A call breaks its tool's schema, or names a tool that is not offered."""
    for nth, error in enumerate(answer.errors):
        yield Remark((nth,), error, sure=True)


def repeated(question: Question, answer: Answer) -> Iterator[Remark]:
    """The same call stands twice."""
    calls = answer.label.calls if answer.label else ()
    if len({canonical_json(call.to_openai()) for call in calls}) < len(calls):
        yield Remark((), "the same call stands twice", sure=True)


def not_in_request(question: Question, answer: Answer) -> Iterator[Remark]:
    """An argument value does not stand in the dialogue."""
    if answer.label:
        for nth, loose in enumerate(ungrounded(question.sample, answer.label)):
            yield Remark((nth,), f"{loose} does not stand in the request", sure=True)


def opposite(question: Question, answer: Answer) -> Iterator[Remark]:
    """A boolean says yes where the words around its name deny, or no where they do not."""
    for said in answer.said:
        if said.yes != said.held.value:
            text = f"the request says the opposite of {said.held.slot.name}={said.held.value}"
            yield Remark((said.nth,), text, sure=True)


# --- edges of texts ---------------------------------------------------------------------------------------------------


def function_word(question: Question, answer: Answer) -> Iterator[Remark]:
    """A text is a lone function word."""
    for text in answer.texts:
        # Part of a span it may be a name: a band called "Them".
        if len(text.words) == 1 and text.words[0] in _EMPTY_WORDS and not text.spanned:
            yield Remark((text.nth,), f"{text} is a function word", sure=True)


def own_name(question: Question, answer: Answer) -> Iterator[Remark]:
    """A text is its parameter's own name."""
    reading = question.reading
    for text in answer.texts:
        spans = [reading.span(k) for k in text.held.place]
        # With a capital it is a name that happens to be such a word: the city "Place".
        is_name = any(span is not None and span.look == "name" for span in spans)
        if {reading.stems[k] for k in text.held.place} <= text.held.slot.own and not is_name:
            yield Remark((text.nth,), f"{text} is the parameter's own name", sure=True)


def link_at_end(question: Question, answer: Answer) -> Iterator[Remark]:
    """A text ends with a link ("at") that belongs to the word after it."""
    reading = question.reading
    for text in answer.texts:
        goes_on = len(text.words) > 1 and reading.span_at[text.held.place.stop - 1] < 0 and text.after.isalnum()
        # Of two links in a row the first ends what was said before ("say the lights are on in Wuse").
        if goes_on and text.words[-1] in LINKS and text.after not in LINKS:
            yield Remark((text.nth,), f"{text} ends with {text.words[-1]!r}", sure=True)


def article_at_end(question: Question, answer: Answer) -> Iterator[Remark]:
    """A text ends with an article that belongs to the word after it."""
    reading = question.reading
    for text in answer.texts:
        goes_on = len(text.words) > 1 and reading.span_at[text.held.place.stop - 1] < 0 and text.after.isalnum()
        # "some of", "any more": before a function word it is a pronoun.
        if goes_on and text.words[-1] in ARTICLES and text.after not in STOP:
            yield Remark((text.nth,), f"{text} ends with {text.words[-1]!r}", sure=True)


def cut_expression(question: Question, answer: Answer) -> Iterator[Remark]:
    """A text begins or ends with an operator that lacks an operand."""
    for text in answer.texts:
        if _LONE_OPERATOR.search(text.held.value):
            yield Remark((text.nth,), f"{text} is cut at an operator", sure=True)


def link_at_start(question: Question, answer: Answer) -> Iterator[Remark]:
    """A text begins with a link that belongs to the words before it."""
    reading = question.reading
    for text in answer.texts:
        starts = len(text.words) > 1 and reading.span_at[text.held.place.start] < 0
        if starts and text.words[0] in LINKS and not begins_told(reading, text):
            yield Remark((text.nth,), f"{text} begins with {text.words[0]!r}", sure=text.content < _LITTLE)


def pronoun_at_start(question: Question, answer: Answer) -> Iterator[Remark]:
    """A text begins with an object pronoun, which may belong to the verb before it ("tell them the gate is open")."""
    for text in answer.texts:
        if text.words[0] in OBJECTS and not begins_told(question.reading, text):
            yield Remark((text.nth,), f"{text} begins with {text.words[0]!r}", sure=False)


def no_content(question: Question, answer: Answer) -> Iterator[Remark]:
    """A text is function words alone."""
    for text in answer.texts:
        if not (text.content or text.spanned or begins_told(question.reading, text)):
            yield Remark((text.nth,), f"{text} begins with {text.words[0]!r}", sure=False)


# --- values side by side ----------------------------------------------------------------------------------------------


def swapped(question: Question, answer: Answer) -> Iterator[Remark]:
    """Two values of one call have more signs around them for each other's parameters."""
    reading = question.reading
    for k, one in enumerate(answer.held):
        for j, other in enumerate(answer.held[k + 1 :], k + 1):
            if one.call != other.call or one.slot is other.slot or not _exchangeable(one, other):
                continue
            # Only as given may the verb that opens a clause name a parameter: doubt is for the answer.
            as_given = sum(cues_around(reading, each.slot, each, opening=True) for each in (one, other))
            crossed = cues_around(reading, one.slot, other, opening=False)
            crossed += cues_around(reading, other.slot, one, opening=False)
            if crossed > as_given:
                yield Remark((k, j), f"{one.slot.name} and {other.slot.name} are swapped", sure=True)


def nothing_own(question: Question, answer: Answer) -> Iterator[Remark]:
    """No word of a call's values is its own: all stand in other calls' values."""
    for nth, name, own, others in _words_by_call(answer):
        if own and all(question.reading.words[k] in STOP for k in own - others):
            yield Remark((nth,), f"no value of call {nth + 1} ({name}) is its own", sure=True)


def shared(question: Question, answer: Answer) -> Iterator[Remark]:
    """Some words of a call's values stand in other calls' values."""
    for nth, name, own, others in _words_by_call(answer):
        if own & others:
            yield Remark((nth,), f"call {nth + 1} ({name}) shares a value with another", sure=False)


def _words_by_call(answer: Answer) -> Iterator[tuple[int, str, set[int], set[int]]]:
    """By call: its number and tool, the words of its values, and those of the other calls' values."""
    calls = answer.label.calls if answer.label else ()
    for nth, call in enumerate(calls if len(calls) > 1 else ()):
        own = {k for held in answer.held if held.call == nth for k in held.place}
        yield nth, call.name, own, {k for held in answer.held if held.call != nth for k in held.place}


def _exchangeable(one: Held, other: Held) -> bool:
    """Whether either value could stand for the other."""
    if not one.place or not other.place or one.slot.kind != other.slot.kind:
        return False
    if one.slot.pattern and other.slot.pattern:
        crossed = ((one.slot.pattern, other.value), (other.slot.pattern, one.value))
        return all(fits(pattern, str(value)) for pattern, value in crossed)
    return one.slot.kind in ("text", "number", "date", "time")
