from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sloop.calls.surface import REFERENCE_YEAR, stands_in, surface_forms

SCALARS = st.one_of(
    st.integers(-10_000, 10_000),
    st.floats(-1000, 1000, allow_nan=False).map(lambda x: round(x, 2)),
    st.booleans(),
    st.dates(dt.date(2000, 1, 1), dt.date(2040, 12, 31)).map(dt.date.isoformat),
    st.times().map(lambda t: t.strftime("%H:%M")),
    st.from_regex(r"[A-Za-z][a-z]{0,8}( [a-z]{1,8}){0,3}", fullmatch=True),
)


@settings(deadline=None, max_examples=50)
@given(SCALARS, st.integers(0, 1000))
def test_every_surface_form_of_a_scalar_stands_in_a_request_that_says_it(value, which):
    forms = surface_forms(value, {})
    form = forms[which % len(forms)]
    assert stands_in(value, {}, f"Please take {form}, if you can.")


@settings(deadline=None, max_examples=100)
@given(st.integers(0, 500), st.integers(0, 500))
def test_an_integer_stands_only_where_it_is_said(said, value):
    assert stands_in(value, {"type": "integer"}, f"a table for {said} people") == (said == value)


@settings(deadline=None, max_examples=100)
@given(st.dates(dt.date(2024, 1, 1), dt.date(2026, 12, 31)), st.dates(dt.date(2024, 1, 1), dt.date(2026, 12, 31)))
def test_a_date_stands_only_where_it_is_said(said, value):
    for form in surface_forms(said.isoformat(), {"format": "date"}):
        assert stands_in(value.isoformat(), {"format": "date"}, f"book it for {form}.") == (said == value)


@settings(deadline=None, max_examples=100)
@given(st.times(), st.times())
def test_a_time_stands_only_where_it_is_said(said, value):
    said, value = said.strftime("%H:%M"), value.strftime("%H:%M")
    for form in surface_forms(said, {}):
        assert stands_in(value, {}, f"wake me at {form}") == (said == value)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (5, "set a timer for five minutes"),
        (5, "a 5-minute timer"),
        (15, "run 15km"),
        (1500, "pay 1,500 dollars"),
        (-5, "it is minus 5 outside"),
        (-5, "it is -5 outside"),
        (3.0, "3 apples"),
        (0.15, "a tip of 15%"),
        (20, "$20 please"),
        ("2025-03-05", "on the 5th of March"),
        ("2025-03-05", "on March 5, 2025"),
        ("2026-03-05", "on 5 March 2026"),
        ("14:30", "at 2:30pm"),
        ("09:30", "at 9:30 tomorrow"),
        ("12:00", "at noon"),
        ("2025-03-05T14:30:00Z", "March 5 at 2:30 pm"),
        ("Paris", "weather in paris?"),
        ("don't be late", "tell her: don’t be late"),
        ("東京", "東京の天気は"),
        (["milk", "eggs"], "buy eggs and milk"),
        (["2025-10-05", "2025-03-01"], "on October 5, 2025-03-01 and later"),
        ({"a": {"b": 7}, "c": "tea"}, "seven cups of tea"),
    ],
)
def test_accepted(value, text):
    assert stands_in(value, {}, text)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (5, "15 minutes"),
        (5, "2.5 liters"),
        (5, "5.2 liters"),
        (5, "-5 degrees"),
        (5, "at 14:05"),
        (5, "on 2025-3-5"),
        (5, "gate A5"),
        (5, "fifteen"),
        (-5, "10-5"),
        (True, "play a song"),
        ("2025-03-05", "on March 15"),
        ("2025-03-05", "on March 5, 2026"),
        ("2026-03-05", "on March 5"),
        ("2:30", "at 12:30"),
        ("02:30", "at 2:30 pm"),
        ("02:30", "at 2:30 p.m."),
        ("art", "a party"),
        ("", "anything"),
        (None, "null"),
        ([], "anything"),
        (["milk", "eggs"], "buy eggs"),
    ],
)
def test_refused(value, text):
    assert not stands_in(value, {}, text)


def test_an_enum_value_stands_as_words():
    schema = {"type": "string", "enum": ["next_week", "publicTransport"]}
    assert stands_in("next_week", schema, "what is on next week?")
    assert stands_in("publicTransport", schema, "by public transport please")
    assert not stands_in("next_week", {"type": "string"}, "what is on next week?")


def test_a_boolean_stands_where_a_word_of_its_description_does():
    schema = {"type": "boolean", "description": "True to avoid toll roads."}
    assert stands_in(True, schema, "drive there avoiding tolls")
    assert not stands_in(False, schema, "drive there avoiding tolls")
    assert stands_in(False, schema, "I do not mind them")


def test_forms_are_unique_and_the_plainest_is_first():
    forms = surface_forms("2025-03-05", {"format": "date"})
    assert len(forms) == len(set(forms))
    assert forms[0] == "2025-03-05"
    assert REFERENCE_YEAR == 2025
