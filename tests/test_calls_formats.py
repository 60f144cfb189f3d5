import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sloop.calls.formats import MAX_DEPTH, parse, parse_hermes, parse_tool_calls, render_hermes
from sloop.types import Label, ToolCall, UserError

TAG_SOUP = st.lists(
    st.one_of(
        st.sampled_from(
            [
                "<tool_call>",
                "</tool_call>",
                "<think>",
                "</think>",
                "\n",
                '{"name": "f", "arguments": {}}',
                '{"name": "f", "arguments": "{}"}',
                '{"name": ""}',
                "[]",
                "NaN",
                '"',
                "{",
                "}",
            ]
        ),
        st.text(max_size=5),
    ),
    max_size=12,
).map("".join)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
NAMES = st.text(min_size=1, max_size=8).filter(lambda name: bool(name.strip()))
CALLS = st.builds(ToolCall, name=NAMES, arguments=st.dictionaries(st.text(max_size=5), JSON, max_size=3))
CONTENT = st.text(max_size=20).filter(lambda text: "<t" not in text and "</t" not in text).map(str.strip)


def block(body: str) -> str:
    return f"<tool_call>\n{body}\n</tool_call>"


def call(name: str = "f", **arguments: object) -> ToolCall:
    return ToolCall(name=name, arguments=arguments)


def test_unknown_format_names_the_allowed_ones() -> None:
    with pytest.raises(UserError, match=r"pythonic.*hermes"):
        parse("pythonic", "")


def test_plain_text_is_content_without_calls() -> None:
    parsed = parse("hermes", " No suitable tool.\n")
    assert (parsed.calls, parsed.content, parsed.error) == ((), "No suitable tool.", None)


def test_one_call() -> None:
    parsed = parse("hermes", block('{"name": "f", "arguments": {"x": 1}}'))
    assert (parsed.calls, parsed.content, parsed.error) == ((call(x=1),), "", None)


def test_several_calls_keep_their_order_and_the_words_between_them() -> None:
    text = "First.\n" + block('{"name": "f", "arguments": {}}') + "\nthen\n" + block('{"name": "g"}') + " end"
    parsed = parse("hermes", text)
    assert parsed.calls == (call("f"), call("g"))
    assert parsed.content == "First.\nthen\nend"


def test_calls_on_one_line_are_told_apart() -> None:
    one = parse("hermes", '<tool_call>{"name":"f","arguments":{"x":1}}</tool_call>')
    other = parse("hermes", '<tool_call>{"name":"f","arguments":{"x":2}}</tool_call>')
    assert one.calls == (call(x=1),)
    assert other.calls == (call(x=2),)


def test_arguments_may_be_a_string_that_holds_an_object() -> None:
    assert parse_hermes(block('{"name": "f", "arguments": "{\\"x\\": 1}"}')).calls == (call(x=1),)


def test_a_closing_tag_inside_a_string_is_text() -> None:
    text = render_hermes(Label(calls=(call(x="a </tool_call> <tool_call> b"),)))
    assert parse_hermes(text).calls == (call(x="a </tool_call> <tool_call> b"),)


def test_whole_numbers_and_fractions_keep_their_type() -> None:
    (found,) = parse_hermes(block('{"name": "f", "arguments": {"i": 1, "f": 1.0, "b": true}}')).calls
    assert [type(value) for value in found.arguments.values()] == [int, float, bool]


@pytest.mark.parametrize(
    "text",
    [
        "<think>a call? <tool_call></think>done",
        "a call? <think> <tool_call> </think>done",
        "the prompt opened it</think>done",
    ],
)
def test_reasoning_is_no_content_and_no_call(text: str) -> None:
    parsed = parse_hermes(text)
    assert (parsed.calls, parsed.content, parsed.error) == ((), "done", None)


def test_reasoning_that_never_ends_says_nothing() -> None:
    parsed = parse_hermes("<think>" + block('{"name": "f"}'))
    assert (parsed.calls, parsed.content, parsed.error) == ((), "", None)


def test_a_think_tag_inside_an_argument_is_text() -> None:
    label = Label(calls=(call(x="a</think>b"),))
    assert parse_hermes(render_hermes(label)).calls == label.calls


@pytest.mark.parametrize(
    "body",
    [
        "",
        "{",
        '{"name": "f", "arguments": {"x": 1}',
        "f(x=1)",
        "[]",
        "null",
        '[{"name": "f", "arguments": {}}]',
        "{}",
        '{"arguments": {}}',
        '{"name": "", "arguments": {}}',
        '{"name": " ", "arguments": {}}',
        '{"name": 1, "arguments": {}}',
        '{"name": "f", "arguments": []}',
        '{"name": "f", "arguments": null}',
        '{"name": "f", "arguments": "x"}',
        '{"name": "f", "arguments": "[]"}',
        '{"name": "f", "arguments": "{\\"x\\": 1, \\"x\\": 2}"}',
        '{"name": "f", "arguments": {"x": 1, "x": 1}}',
        '{"name": "f", "name": "g", "arguments": {}}',
        '{"name": "f", "arguments": {"x": NaN}}',
        '{"name": "f", "arguments": {"x": -Infinity}}',
        '{"name": "f", "arguments": {"x": 1e999}}',
        '{"name": "f", "arguments": {"x": "\\ud800"}}',
        '{"name": "f", "arguments": {"x": ' + "1" * 5000 + "}}",
        '{"name": "f", "arguments": {"x": ' + "[" * 100_000,
        '{"name": "f", "arguments": {"x": ' + "[" * MAX_DEPTH + "]" * MAX_DEPTH + "}}",
        '{"name": "f", "arguments": {}} {"name": "g", "arguments": {}}',
        "{'name': 'f', 'arguments': {}}",
        '{"name": "f", "parameters": {"a": 1}}',
        '{"name": "f", "arguments": {}, "a": 1}',
    ],
)
def test_what_is_no_call_in_a_block_is_a_format_error(body: str) -> None:
    parsed = parse_hermes("words " + block(body))
    assert (parsed.calls, parsed.content, parsed.error) == ((), "words", "format")


@pytest.mark.parametrize(
    "text",
    [
        "<tool_call>",
        "<tool_call>\n" + '{"name": "f", "arguments": {}}',
        block('{"name": "f"}') + "<tool_call>",
        block('{"name": "f"}') + "</tool_call>",
        '{"name": "f", "arguments": {}}\n</tool_call>',
    ],
)
def test_tags_that_do_not_pair_are_a_format_error(text: str) -> None:
    assert parse_hermes(text).error == "format"


def test_one_bad_block_spoils_the_answer() -> None:
    assert parse_hermes(block('{"name": "f"}') + block("?")).calls == ()


@pytest.mark.parametrize(
    "unit",
    [
        "<tool_call>",
        "</tool_call>",
        '<tool_call>{"name":"f","arguments":{}}</tool_call>',
        '<tool_call>{"name":',
        "<think>",
        "</think>",
        " ",
        "<tool_call>" + " " * 50,
        "[",
    ],
)
def test_a_megabyte_of_tags_is_read(unit: str) -> None:
    text = (unit * (1_000_000 // len(unit) + 1))[:1_000_000]
    assert parse_hermes(text).error in {None, "format"}
    assert parse_hermes('<tool_call>{"name": "f", "arguments": {"x": ' + text).error == "format"


@settings(deadline=None, max_examples=300)
@given(TAG_SOUP)
def test_no_text_raises_and_an_error_has_no_calls(text: str) -> None:
    parsed = parse_hermes(text)
    assert not (parsed.error and parsed.calls)


@settings(deadline=None, max_examples=200)
@given(st.builds(Label, calls=st.lists(CALLS, max_size=3).map(tuple), content=CONTENT))
def test_what_is_rendered_is_read_back(label: Label) -> None:
    parsed = parse_hermes(render_hermes(label))
    assert (parsed.calls, parsed.content, parsed.error) == (label.calls, label.content, None)


@settings(deadline=None, max_examples=100)
@given(JSON)
def test_what_is_read_can_be_written(value: object) -> None:
    for found in parse_hermes(block(json.dumps({"name": "f", "arguments": {"x": value}}))).calls:
        assert found.model_dump_json().encode()
        assert not any(isinstance(v, float) and not math.isfinite(v) for v in found.arguments.values())


@pytest.mark.parametrize(
    ("content", "words", "error"),
    [
        ("Hello.", "Hello.", None),
        ('Wait. <tool_call>{"name": "f"', "Wait.", "format"),
        ("done </tool_call>", "done </tool_call>", "format"),
        ('Yes. <tool_call>{"name": "f", "arguments": {}}</tool_call>', "Yes.", "format"),
        ('<think>maybe <tool_call>{"name": "f"}</tool_call></think>No.', "No.", None),
    ],
)
def test_a_server_without_calls_may_have_left_one_in_the_words(content: str, words: str, error: str | None) -> None:
    parsed = parse_tool_calls(content, [])
    assert (parsed.calls, parsed.content, parsed.error) == ((), words, error)
