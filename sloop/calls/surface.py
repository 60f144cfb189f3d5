"""How an argument value may stand in a request: ``5`` as "five", ``2025-03-05`` as "March 5".

Teachers render values with it and the rule judge grounds them with it, so that the two agree on what counts. Matching
is word for word: case, kinds of quotes and runs of white space are ignored, but 5 is not found in 15, in 2.5, in -5 or
in 14:05.

Rules of our own making:

* A date without a year is in `REFERENCE_YEAR`; all-numeric forms other than ISO (3/5/2025) are ambiguous and not
  accepted, nor is anything relative ("tomorrow"), because a request does not say when it was made.
* A boolean rarely stands in words. True also stands where a content word of its description does ("avoid toll roads"
  for ``avoid_tolls``), False where there is a word of denial.
* A list stands in a text if each of its items does, an object if each of its leaves does. What is empty (``""``,
  ``[]``, ``null``) never stands in a text.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

REFERENCE_YEAR = 2025
"""The year of a date that is said without one."""

MONTHS = (
    *("January", "February", "March", "April", "May", "June", "July"),
    *("August", "September", "October", "November", "December"),
)
ONES = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"),
    *("eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"),
)
TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")

_DATE = re.compile(r"(\d{4})-(\d{2})-(\d{2})")
_TIME = re.compile(r"([01]\d|2[0-3]):([0-5]\d)(?::([0-5]\d))?")
_DATE_TIME = re.compile(r"(\d{4}-\d{2}-\d{2})[T ](\d{2}:\d{2}(?::\d{2})?)(?:\.0+)?(?:Z|[+-]\d{2}:\d{2})?")
_BARE_CLOCK = re.compile(r"\d{1,2}:\d{2}")
_HALF = re.compile(r" ?[ap]\.?m\b")
_MONTH = f"(?:{'|'.join(f'{month[:3]}(?:{month[3:]})?' for month in MONTHS)})".lower()
_BARE_DATE = re.compile(rf"{_MONTH} \d+(?:st|nd|rd|th)?|\d+(?:st|nd|rd|th)? (?:of )?{_MONTH}")
_YEAR = re.compile(r",? \d{4}(?![\d-])")
_QUOTES = str.maketrans({"‘": "'", "’": "'", "“": '"', "”": '"', "\u2212": "-", "\u2013": "-"})
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_AFFIRMED = ("true", "yes")
_DENIED = ("false", "no", "not", "without", "off", "don't", "do not", "never", "skip")
_STOP = frozenset(
    (
        *("true", "false", "whether", "should", "would", "will", "when", "where", "which", "that", "this", "these"),
        *("those", "than", "then", "them", "with", "from", "into", "only", "also", "must", "have", "been", "being"),
        *("more", "most", "some", "such", "used", "uses", "using", "optional", "default", "defaults", "value"),
        *("boolean", "flag", "return", "returns", "specify", "specifies", "indicate", "indicates", "other", "your"),
    )
)
_WORDS = re.compile(r"[a-z]{4,}")
_UNITS = re.compile(r"(?:k?m|cm|mm|k?g|mg|lbs?|oz|mi|m?l|h|hrs?|mins?|s|sec|°?[cf]|gb|mb|tb|usd|eur|gbp)(?!\w)")
"""Units that may be written without a space after a number (15km)."""


def surface_forms(value: Any, schema: Mapping[str, Any]) -> tuple[str, ...]:
    """Every accepted way in which a value may be written in a request.

    Args:
        value: any JSON value.
        schema: its JSON Schema; ``enum``, ``items``, ``properties`` and, for booleans, ``description`` are used.

    Returns:
        Spellings without repeats, the plainest first. Of a list or an object the spellings of all its leaves; of what
        is empty, none.
    """
    return tuple(dict.fromkeys(form for leaf, part in leaves(value, schema) for form in _forms(leaf, part)))


def stands_in(value: Any, schema: Mapping[str, Any], text: str) -> bool:
    """True if each leaf of the value is written in the text in one of its `surface_forms`."""
    plain = _plain(text)
    parts = list(leaves(value, schema))
    return bool(parts) and all(_leaf_stands(leaf, part, plain) for leaf, part in parts)


def leaves(value: Any, schema: Mapping[str, Any]) -> Iterator[tuple[Any, Mapping[str, Any]]]:
    """The scalars of a value, each with its own schema; an empty list or object is one leaf."""
    if isinstance(value, Mapping) and value:
        properties = schema.get("properties")
        for key, item in value.items():
            yield from leaves(item, _subschema(properties, key))
    elif isinstance(value, list) and value:
        for item in value:
            yield from leaves(item, _subschema(schema, "items"))
    else:
        yield value, schema


def date_forms(day: dt.date) -> tuple[str, ...]:
    """Spellings of a date; those without a year only in `REFERENCE_YEAR`."""
    month, number, year = MONTHS[day.month - 1], day.day, day.year
    short = month[:3]
    ordinal = f"{number}{_ordinal_suffix(number)}"
    bare = (
        *(f"{month} {number}", f"{number} {month}", f"{month} {ordinal}", f"{ordinal} of {month}"),
        *(f"{number} of {month}", f"{ordinal} {month}", f"{short} {number}", f"{number} {short}", f"{short} {ordinal}"),
    )
    dated = [f"{form}{comma} {year}" for form in bare for comma in (",", "")]
    return (day.isoformat(), *(bare if year == REFERENCE_YEAR else ()), *dated)


def time_forms(hour: int, minute: int) -> tuple[str, ...]:
    """Spellings of a time of day, on the 24-hour and the 12-hour clock."""
    forms = [f"{hour:02d}:{minute:02d}", f"{hour}:{minute:02d}"]
    half, twelve = ("am", "a.m.") if hour < 12 else ("pm", "p.m."), (hour - 1) % 12 + 1
    clocks = [f"{twelve}:{minute:02d}"] + ([str(twelve)] if minute == 0 else [])
    forms += [f"{clock}{space}{mark}" for clock in clocks for mark in half for space in (" ", "")]
    if minute == 0 and hour in (0, 12):
        forms.append("midnight" if hour == 0 else "noon")
    return tuple(dict.fromkeys(forms))


def number_forms(value: int | float) -> tuple[str, ...]:
    """Spellings of a number: digits, thousands with commas, words up to a hundred, a share as a percentage."""
    if isinstance(value, float) and not value.is_integer():
        forms = [repr(value), f"{value:,}"]
        if 0 < value < 1:
            percent = f"{round(value * 100, 6):g}"
            forms += [f"{percent}%", f"{percent} percent", f"{percent} per cent"] + (["half"] if value == 0.5 else [])
    else:
        whole = int(value)
        forms = [str(whole), f"{whole:,}", f"{whole}.0"]
        if 0 <= whole <= 100:
            forms.append(_number_words(whole))
    if value < 0:
        forms += [f"minus {form[1:]}" for form in forms if form.startswith("-")]
    return tuple(dict.fromkeys(forms))


def _leaf_stands(value: Any, schema: Mapping[str, Any], plain: str) -> bool:
    if isinstance(value, str) and (match := _DATE_TIME.fullmatch(value)):
        parts = all(_leaf_stands(part, {}, plain) for part in match.groups())
        return parts or _found(_plain(value), plain)
    return any(_found(_plain(form), plain) for form in _forms(value, schema))


def _forms(value: Any, schema: Mapping[str, Any]) -> tuple[str, ...]:
    """Spellings of one scalar."""
    if isinstance(value, bool):
        return (*_AFFIRMED, *_cues(str(schema.get("description", "")))) if value else _DENIED
    if isinstance(value, int | float):
        return number_forms(value)
    if not isinstance(value, str) or not value.strip():
        return ()
    forms = [value]
    if day := _as_date(value):
        forms += date_forms(day)
    elif match := _TIME.fullmatch(value):
        seconds = match.group(3)
        if seconds in (None, "00"):
            forms += time_forms(int(match.group(1)), int(match.group(2)))
    elif match := _DATE_TIME.fullmatch(value):
        days, times = (_forms(part, {}) for part in match.groups())
        forms += [f"{first} at {second}" for first in days for second in times]
    elif "enum" in schema or "const" in schema:
        words = _CAMEL.sub(" ", re.sub(r"[_\-]+", " ", value)).strip()
        forms += [words, re.sub(r"[_\-]+", " ", value).strip(), value.replace("_", "-")]
    return tuple(dict.fromkeys(form for form in forms if form))


@lru_cache(maxsize=4096)
def _as_date(value: str) -> dt.date | None:
    match = _DATE.fullmatch(value)
    if match is None:
        return None
    try:
        return dt.date(int(match.group(1)), int(match.group(2)), int(match.group(3)))
    except ValueError:  # looks like a date, but the calendar has none such
        return None


@lru_cache(maxsize=4096)
def _cues(description: str) -> tuple[str, ...]:
    """Words of a boolean's description, and their plain inflections, that affirm it where a request says them."""
    words = dict.fromkeys(word for word in _WORDS.findall(description.lower()) if word not in _STOP)
    forms: list[str] = []
    for word in words:
        stem = word[:-1] if word.endswith("s") and not word.endswith("ss") else word
        forms += [word, stem, f"{stem}s", f"{stem}ing", f"{stem}ed", f"{stem}ly"]
        forms += [f"{stem[:-1]}ing", f"{stem}d"] if stem.endswith("e") else []
    return tuple(dict.fromkeys(forms))


def _found(form: str, text: str) -> bool:
    """True if the form occurs in the text as whole words (both already `_plain`)."""
    start = text.find(form)
    while start >= 0:
        end = start + len(form)
        if _open_before(form, text, start) and _open_after(form, text, end) and not _continued(form, text, end):
            return True
        start = text.find(form, start + 1)
    return False


def _continued(form: str, text: str, end: int) -> bool:
    """True where a date goes on with another year, or a clock with its half of the day."""
    if _BARE_CLOCK.fullmatch(form):
        return _HALF.match(text, end) is not None
    return _BARE_DATE.fullmatch(form) is not None and _YEAR.match(text, end) is not None


def _open_before(form: str, text: str, start: int) -> bool:
    if start == 0:
        return True
    before, first = text[start - 1], form[0]
    if first == "-" and form[1:2].isdigit():
        return not _word(before)
    if _word(first) and _word(before):
        return False
    if first.isdigit() and before in ".,:/-":
        earlier = text[start - 2] if start > 1 else " "
        return not (earlier.isdigit() or (before in ".-" and not _word(earlier)))
    return True


def _open_after(form: str, text: str, end: int) -> bool:
    if end == len(text):
        return True
    after, last = text[end], form[-1]
    if _word(last) and _word(after):
        return last.isdigit() and _UNITS.match(text, end) is not None
    return not (last.isdigit() and after in ".,:/-" and text[end + 1 : end + 2].isdigit())


def _word(character: str) -> bool:
    """True for what joins into words; scripts that write no spaces (Chinese, Japanese, ...) do not."""
    return (character.isalnum() or character == "_") and ord(character) < 0x2E80


@lru_cache(maxsize=16384)
def _plain(text: str) -> str:
    return " ".join(text.translate(_QUOTES).casefold().split())


def _subschema(schema: Any, key: str) -> Mapping[str, Any]:
    """A part of a schema, empty where it has none or where it is a bare ``true``."""
    part = schema.get(key) if isinstance(schema, Mapping) else None
    return part if isinstance(part, Mapping) else {}


def _number_words(whole: int) -> str:
    if whole < 20:
        return ONES[whole]
    if whole == 100:
        return "one hundred"
    tens, ones = TENS[whole // 10 - 2], whole % 10
    return f"{tens}-{ONES[ones]}" if ones else tens


def _ordinal_suffix(number: int) -> str:
    return "th" if 10 <= number % 100 <= 13 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
