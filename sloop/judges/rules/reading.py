"""A request as a judge without a model sees it: words, their stems, and the spans that look like values.

The word lists are function words of English; nothing here knows a tool or a phrasing.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from sloop.calls.surface import MONTHS, ONES, TENS

Look = Literal["number", "date", "time", "code", "name", "quoted"]
"""What a span of a request looks like."""

_FUNCTION = """a an the this that these those some any all each every both either such another other others of in on at
by for from to into onto with without about over under between during within after before until than as and or but nor
so if then also too plus while when where which who whom whose what why how is are was were be been being am do does
did done have has had having can could will would shall should may might must not no yes i me my mine myself we us our
you your yours he him his she her it its they them their there here please thank thanks just now today e g i'm i'd i'll
i've it's that's what's don't let's let ok okay out up off down again more most very one ones something anything
someone somebody thing things at least kind sort way first second next last s t d ll m re ve called named saying
outside inside soon later tomorrow tonight yesterday"""
_VAGUE = """get give show find make tell want need like take put check look use see go know help set using given used
say much many new good create update delete view retrieve fetch return"""
STOP = frozenset(_FUNCTION.split())
VAGUE = frozenset(_VAGUE.split())
"""Words that nearly every request may use: they count for less."""
VAGUE_WEIGHT = 0.4
ARTICLES = frozenset(["the", "a", "an", "my", "our", "your", "some", "any"])
PLACEHOLDERS = frozenset(
    ["it", "that", "this", "them", "something", "anything", "someone", "somebody", "another", "others"]
)
"""Words that stand where a value is missing, or was said before."""
LINKS = frozenset(
    (
        *("from", "to", "in", "for", "with", "by", "into", "at", "on", "about", "as", "of", "over", "via"),
        *("that", "saying", "called", "named", "and", "or"),
    )
)
"""Words between which values stand."""
SUBJECTS = frozenset(["i", "we", "he", "she", "they"])
OBJECTS = frozenset(["you", "me", "it", "him", "her", "us", "them"])
DENIALS = frozenset(["no", "not", "never", "without", "don't", "doesn't", "isn't", "aren't", "skip", "off", "false"])

_SUFFIXES = (
    *("ations", "ation", "itions", "ition", "ions", "ion", "ments", "ment", "ates", "ated", "ating", "ate"),
    *("ings", "ing", "als", "al", "ed", "es", "s", "e"),
)
_WORD = re.compile(r"\d+|[^\W\d_]+(?:'[^\W\d_]+)*|[^\w\s]|_")
_SPACE = re.compile(r"\s+")
_QUOTES = str.maketrans({"‘": "'", "’": "'", "“": '"', "”": '"', "\u2212": "-", "\u2013": "-"})
_MONTH = "|".join(f"{month[:3]}(?:{month[3:]})?" for month in MONTHS)
_SPELLED = "|".join(sorted(ONES, key=len, reverse=True))
_NUMBER = rf"(?:{'|'.join(TENS)})(?:[- ](?:{'|'.join(ONES[1:10])}))?|one hundred|{_SPELLED}"
_HALF = r"\s?(?:[ap]m\b|[ap]\.m\.)"
_CLOCK = rf"\d{{1,2}}:\d{{2}}(?::\d{{2}})?(?:{_HALF})?|\d{{1,2}}{_HALF}|\b(?:noon|midnight)\b"
_SPANS: tuple[tuple[Look, re.Pattern[str]], ...] = (
    ("quoted", re.compile(r"\"[^\"]+\"|(?<!\w)'[^']+'(?!\w)")),
    ("code", re.compile(r"(?<!\S)\S+@\w[\w.-]*\w|https?://\S*[\w/]|(?<!\w)/[\w./-]+")),
    ("date", re.compile(r"\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:\d{2}(?::\d{2})?(?:\.\d+)?(?:Z|[+-]\d{2}:\d{2})?)?")),
    (
        "date",
        re.compile(
            rf"\b(?:{_MONTH})\.? \d{{1,2}}(?:st|nd|rd|th)?\b(?:,? \d{{4}}\b)?"
            rf"|\b\d{{1,2}}(?:st|nd|rd|th)? (?:of )?(?:{_MONTH})\b(?:,? \d{{4}}\b)?",
            re.IGNORECASE,
        ),
    ),
    ("time", re.compile(_CLOCK, re.IGNORECASE)),
    (
        "code",
        re.compile(
            r"\b(?=[\w-]*\d)(?=[\w-]*[A-Z])[A-Za-z0-9][\w-]*\b|\b(?=\w*\d)(?=\w*[a-z])\w{8,}\b|(?<![\w.,])\d{7,}\b"
        ),
    ),
    ("number", re.compile(rf"(?<![\w.])-?\d+(?:[.,]\d+)*|\b(?:{_NUMBER})\b", re.IGNORECASE)),
    ("code", re.compile(r"\b[A-Z]{2,}\b|\b[A-Za-z]*[a-z][A-Z][A-Za-z]*\b")),
    ("name", re.compile(r"\b[A-Z][^\W\d_]*[a-z][^\W\d_]*(?: [A-Z][^\W\d_]*[a-z][^\W\d_]*)*\b")),
)
"""In the order in which they claim words."""
_TOO_LONG = re.compile(r"\S{2000,}+")
"""No value, and what some of the patterns above take the square of its length for."""
_SENTENCE_START = re.compile(r"(?:^|[.!?:;]\s*|\"\s*)$")


@dataclass(frozen=True, slots=True)
class Span:
    """A run of words that looks like a value; ``end`` is not part of it."""

    look: Look
    start: int
    end: int
    text: str


@dataclass(frozen=True, slots=True)
class Reading:
    """A request, word by word; marks are words, too."""

    words: tuple[str, ...]
    """Casefolded."""
    stems: tuple[str, ...]
    weights: tuple[float, ...]
    """How much a word may tell of the wanted tool: 0 for function words, marks and values, `VAGUE_WEIGHT`, else 1."""
    spans: tuple[Span, ...]
    span_at: tuple[int, ...]
    """Index of the span that a word stands in, else -1."""
    told: frozenset[int]
    """Words after a colon or in quotes, where function words belong to a value, too."""

    def span(self, k: int) -> Span | None:
        """The span that word ``k`` stands in."""
        return self.spans[self.span_at[k]] if self.span_at[k] >= 0 else None

    def word(self, k: int) -> str:
        """Word ``k``; empty beyond the ends."""
        return self.words[k] if 0 <= k < len(self.words) else ""

    def before(self, k: int) -> int:
        """Index of the word before ``k``, articles left out; -1 where there is none."""
        k -= 1
        while k >= 0 and self.words[k] in ARTICLES:
            k -= 1
        return k

    def clause(self, k: int) -> range:
        """The words around ``k`` up to the next mark, "and" or "but"."""
        low, high = k, k + 1
        while low > 0 and not _parts(self.words[low - 1]):
            low -= 1
        while high < len(self.words) and not _parts(self.words[high]):
            high += 1
        return range(low, high)

    def opens(self, k: int) -> bool:
        """Whether ``k`` is its clause's first content word, not after a link: in a request, as a rule, its verb."""
        if self.word(k - 1) in LINKS - {"and", "or"}:
            return False
        return not any(self.weights[j] or self.span_at[j] >= 0 for j in self.clause(k) if j < k)


def stem(word: str) -> str:
    """A word without its commonest endings: plural, -ing, -ed, -ation, -ment (light, for matching only)."""
    if word.endswith("ies") and len(word) > 4:
        word = f"{word[:-3]}y"
    if word.endswith("y") and len(word) > 6:
        return word[:-1].removesuffix("l")
    for suffix in _SUFFIXES:
        if word.endswith(suffix) and len(word) - len(suffix) >= 3 and not word.endswith("ss"):
            root = word[: -len(suffix)]
            # "planned" is of "plan", but "called" of "call" and "passed" of "pass".
            if suffix in ("ing", "ings", "ed") and root[-1] == root[-2] and root[-1] not in "ls":
                root = root[:-1]
            return root
    return word


@lru_cache(maxsize=16384)
def tokens(text: str) -> tuple[str, ...]:
    """Words and marks of a text, casefolded, with one kind of quotes."""
    return tuple(_WORD.findall(text.translate(_QUOTES).casefold()))


@lru_cache(maxsize=4096)
def read(text: str) -> Reading:
    """Read a request."""
    plain = _SPACE.sub(" ", text.translate(_QUOTES)).strip()
    matches = list(_WORD.finditer(plain))
    starts = [match.start() for match in matches]
    words = tuple(match.group().casefold() for match in matches)
    span_at = [-1] * len(words)
    spans: list[Span] = []
    readable = _TOO_LONG.sub(lambda run: " " * len(run[0]), plain)
    for look, pattern in _SPANS:
        for match in pattern.finditer(readable):
            inside = range(bisect_left(starts, match.start()), bisect_left(starts, match.end()))
            if not inside or any(span_at[k] >= 0 for k in inside):
                continue
            # One word with a capital at the start of a sentence is as a rule no name.
            if look == "name" and " " not in match.group() and _SENTENCE_START.search(plain[: match.start()]):
                continue
            for k in inside:
                span_at[k] = len(spans)
            spans.append(Span(look, inside[0], inside[-1] + 1, match.group()))
    weights = tuple(_weight(word, span_at[k]) for k, word in enumerate(words))
    stems = tuple(stem(word) for word in words)
    return Reading(words, stems, weights, tuple(spans), tuple(span_at), frozenset(_told(words, spans)))


def find(form: Sequence[str], words: Sequence[str], start: int = 0) -> tuple[int, int] | None:
    """Where a run of words first stands from ``start`` on: its first index, and the one after its last."""
    size = len(form)
    for at in range(start, len(words) - size + 1):
        if words[at] == form[0] and tuple(words[at : at + size]) == tuple(form):
            return at, at + size
    return None


def _weight(word: str, span: int) -> float:
    if span >= 0 or word in STOP or not word[0].isalpha():
        return 0.0
    return VAGUE_WEIGHT if word in VAGUE else 1.0


def _parts(word: str) -> bool:
    return word in {"and", "but"} or not (word[0].isalnum() or word in "'-_")


def _told(words: Sequence[str], spans: Sequence[Span]) -> Iterator[int]:
    for span in spans:
        if span.look == "quoted":
            yield from range(span.start, span.end)
    after_colon = False
    for k, word in enumerate(words):
        after_colon = after_colon and word not in ".;!?"
        if after_colon:
            yield k
        after_colon = after_colon or word == ":"
