"""Answers as official evaluators read them."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sloop.calls.formats import MAX_PYTHON
from sloop.calls.readings import after_reasoning, read_bracketed, read_result


def value(text: str) -> Any:
    calls = read_bracketed(f"[f(x={text})]", step=False)
    return calls and calls[0]["f"]["x"]


def test_words_around_the_first_outermost_list_do_not_matter_in_a_single_turn() -> None:
    text = "Sure:\n[f(x=[1, 2]), g.h()] or [other()]"
    assert read_bracketed(text, step=False) == [{"f": {"x": [1, 2]}}, {"g.h": {}}]
    assert read_bracketed(text, step=True) is None


def test_white_space_is_removed_from_a_step_of_a_dialogue_that_in_strings_too() -> None:
    assert read_bracketed("[ f(x='New\tYork') ]\n", step=True) == [{"f": {"x": "NewYork"}}]
    assert read_bracketed("[ f(x='New\tYork') ]\n", step=False) == [{"f": {"x": "New\tYork"}}]


def test_reasoning_is_dropped_up_to_its_last_end() -> None:
    assert after_reasoning("<think>[f()]</think>a</think>\n\n[g()]") == "[g()]"
    assert after_reasoning("<think>[f()]") == "<think>[f()]"


def test_a_bracket_that_closes_before_the_list_takes_a_level_from_it() -> None:
    assert read_bracketed("[] ok] [f(x=[1])]", step=False) == []
    assert read_bracketed("ok] [f(x=1)]", step=False) is None


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("-1.5", -1.5),
        ("+2", -2),
        ("None", None),
        ("true", "true"),
        ("...", "..."),
        ("(1, 'a')", (1, "a")),
        ("{'a': [True], 2: {}}", {"a": [True], 2: {}}),
        ("g(y=1)", {"g": {"y": 1}}),
        ("2 * 30 + 0.5", 60.5),
        ("+3 - -(7 // 2)", 6),
        ("names[0]", "names[0]"),
        ("2 ** 10 + (1 << 3)", 1032),
        ("'a' * 3 + 'b'", "aaab"),
        ("[1] * 2 + [not 0]", [1, 1, True]),
    ],
)
def test_a_value_is_read_as_officially(text: str, read: Any) -> None:
    assert value(text) == read


@pytest.mark.parametrize(
    "text",
    [
        "9 ** 99999",
        "1 << 10**9",
        "'a' * 10**9",
        "[1] * 'a'",
        "'%9999999d' % 1",
        "1 / 0",
        "1 + n",
        "len('a') * 2",
        "a.b",
        "lambda: 1",
        "-'a'",
        "{**a}",
        "{[]: 1}",
        "x if y else z",
        "f'a'",
    ],
)
def test_what_is_no_value_makes_the_answer_unreadable(text: str) -> None:
    assert value(text) is None


@pytest.mark.parametrize(
    "value",
    [
        "+".join(["[0]*99999"] * 300),
        "+".join(["'a'*9999"] * 300),
        "+".join(["([0]*9999+[])"] * 300),
        "*".join(["(1<<99999)"] * 300),
        "*".join(["(7**3000)"] * 300),
        "[" + ",".join(["[0]*9999+[1]"] * 300) + "]+" + "+".join(["[0]*9999"] * 300),
    ],
)
def test_what_would_be_too_large_is_known_before_it_is_computed(value: str) -> None:
    began = time.process_time()
    assert read_result("prompting", f"f(x={value})") is None
    assert time.process_time() - began < 2


def test_positional_arguments_are_dropped_and_starred_ones_are_in_no_schema() -> None:
    assert read_bracketed("[f('a', x=1, **{'y': 2})]", step=False) == [{"f": {"x": 1, "**": {"y": 2}}}]


@pytest.mark.parametrize("text", ["", "I cannot help.", "[1, 2]", "['f()']", "[f(]", "f(x=1)", "[f(x='a)]"])
def test_an_answer_without_a_list_of_calls_is_unreadable(text: str) -> None:
    assert read_bracketed(text, step=False) is None


@given(st.text(alphabet="[](){}f=,.x'1-+*\\ \n", max_size=60), st.booleans())
@settings(max_examples=100, deadline=None)
def test_no_text_raises(text: str, step: bool) -> None:
    calls = read_bracketed(text, step=step)
    assert calls is None or all(len(call) == 1 for call in calls)


def test_calls_longer_than_what_is_read_are_unreadable() -> None:
    calls = ["f(x=1)"] * (MAX_PYTHON // len("f(x=1),"))
    assert read_bracketed(f"[{','.join(calls)}]", step=False) is not None
    assert read_bracketed(f"[{','.join(calls + calls[:9])}]", step=False) is None


@pytest.mark.parametrize("text", ["[" * 1_000_000, "[f(x=" + "-" * 20_000 + "1)]", "[f(x=" + "(" * 3_000 + ")]"])
def test_deep_and_long_texts_are_unreadable(text: str) -> None:
    assert read_bracketed(text, step=True) is None
