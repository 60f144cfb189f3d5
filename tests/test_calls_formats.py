import json
import math

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from sloop.calls.formats import (
    FORMATS,
    MAX_PYTHON,
    OPENINGS,
    opens_call,
    parse,
    parse_tool_calls,
    render_hermes,
)
from sloop.records import Label, ToolCall, UserError

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
    with pytest.raises(UserError, match=r"'xml': allowed: apertus, claude, .*, hermes, .*, json, .*, qwen3_coder"):
        parse("xml", "")


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
    assert parse("hermes", block('{"name": "f", "arguments": "{\\"x\\": 1}"}')).calls == (call(x=1),)


def test_a_closing_tag_inside_a_string_is_text() -> None:
    text = render_hermes(Label(calls=(call(x="a </tool_call> <tool_call> b"),)))
    assert parse("hermes", text).calls == (call(x="a </tool_call> <tool_call> b"),)


def test_whole_numbers_and_fractions_keep_their_type() -> None:
    (found,) = parse("hermes", block('{"name": "f", "arguments": {"i": 1, "f": 1.0, "b": true}}')).calls
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
    parsed = parse("hermes", text)
    assert (parsed.calls, parsed.content, parsed.error) == ((), "done", None)


def test_reasoning_that_never_ends_is_no_refusal_to_call() -> None:
    parsed = parse("hermes", "<think>" + block('{"name": "f"}'))
    assert (parsed.calls, parsed.content, parsed.error) == ((), "", "format")


def test_a_think_tag_inside_an_argument_is_text() -> None:
    label = Label(calls=(call(x="a</think>b"),))
    assert parse("hermes", render_hermes(label)).calls == label.calls


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
        '{"name": "f", "arguments": {"x": ' + "[" * 64 + "]" * 64 + "}}",
        '{"name": "f", "arguments": {}} {"name": "g", "arguments": {}}',
        "{'name': 'f', 'arguments': {}}",
        '{"name": "f", "parameters": {"a": 1}}',
        '{"name": "f", "arguments": {}, "a": 1}',
    ],
)
def test_what_is_no_call_in_a_block_is_a_format_error(body: str) -> None:
    parsed = parse("hermes", "words " + block(body))
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
    assert parse("hermes", text).error == "format"


def test_one_bad_block_spoils_the_answer() -> None:
    assert parse("hermes", block('{"name": "f"}') + block("?")).calls == ()


LENGTHS = [100_000, pytest.param(1_000_000, marks=pytest.mark.slow)]
"""Of texts that a reader must not take long for: what is not done in one pass is noticed at the first."""


@pytest.mark.parametrize("length", LENGTHS)
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
def test_a_long_text_of_tags_is_read(unit: str, length: int) -> None:
    text = (unit * (length // len(unit) + 1))[:length]
    assert parse("hermes", text).error in {None, "format"}
    assert parse("hermes", '<tool_call>{"name": "f", "arguments": {"x": ' + text).error == "format"


@settings(deadline=None, max_examples=100)
@given(TAG_SOUP)
def test_no_text_raises_and_an_error_has_no_calls(text: str) -> None:
    parsed = parse("hermes", text)
    assert not (parsed.error and parsed.calls)


@settings(deadline=None, max_examples=60)
@given(st.builds(Label, calls=st.lists(CALLS, max_size=3).map(tuple), content=CONTENT))
def test_what_is_rendered_is_read_back(label: Label) -> None:
    assume(label.calls or label.content)  # nothing said is no answer
    parsed = parse("hermes", render_hermes(label))
    assert (parsed.calls, parsed.content, parsed.error) == (label.calls, label.content, None)


@settings(deadline=None, max_examples=100)
@given(JSON)
def test_what_is_read_can_be_written(value: object) -> None:
    for found in parse("hermes", block(json.dumps({"name": "f", "arguments": {"x": value}}))).calls:
        assert found.model_dump_json().encode()
        assert not any(isinstance(v, float) and not math.isfinite(v) for v in found.arguments.values())


# --- the other formats ---------------------------------------------------------------------------------------------

ONE = (call("get.weather", city="Oslo", days=2, units=["C", None], deep={"a": True}),)
TWO = (*ONE, call("ping"))
WRITTEN = {
    "llama3": (
        '{"name": "get.weather", "parameters": {"city": "Oslo", "days": 2, "units": ["C", null], "deep": {"a": true}}}',
        '; {"type": "function", "name": "ping", "parameters": {}}',
    ),
    "mistral": (
        '[TOOL_CALLS]get.weather[ARGS]{"city": "Oslo", "days": 2, "units": ["C", null], "deep": {"a": true}}',
        "[TOOL_CALLS]ping[CALL_ID]a1b2c3d4e[ARGS]{}",
    ),
    "pythonic": ("[get.weather(city='Oslo', days=2, units=('C', None), deep={'a': True})", ", ping()"),
    "json": (
        '[{"name": "get.weather", "arguments": {"city": "Oslo", "days": 2, "units": ["C", null], "deep": {"a": true}}}',
        ', {"type": "function", "function": {"name": "ping", "parameters": {}}}',
    ),
}
ENDS = {"pythonic": "]", "json": "]"}


@pytest.mark.parametrize("form", WRITTEN)
def test_each_format_reads_one_call_and_two(form: str) -> None:
    first, second = WRITTEN[form]
    end = ENDS.get(form, "")
    for text, calls in ((first + end, ONE), (first + second + end, TWO)):
        parsed = parse(form, f"\n {text} \n")
        assert (parsed.calls, parsed.content, parsed.error) == (calls, "", None)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("text", ["Sorry, no tool fits.", "Weather [1] (Oslo): {sunny}", "[see above]", '{"a": 1}'])
def test_words_are_content_in_every_format(form: str, text: str) -> None:
    parsed = parse(form, f"<think>hm</think> {text}")
    assert (parsed.calls, parsed.content, parsed.error) == ((), text, None)


@pytest.mark.parametrize(
    ("form", "text", "calls", "content"),
    [
        ("llama3", 'Let me see.<|python_tag|>{"name": "f", "parameters": {"x": 1}}', (call(x=1),), "Let me see."),
        ("llama3", '<|python_tag|>brave_search.call(query="a b")', (call("brave_search", query="a b"),), ""),
        ("mistral", 'Now: [TOOL_CALLS] [{"name": "f", "arguments": {"x": 1}, "id": "abc"}]', (call(x=1),), "Now:"),
        ("mistral", '[TOOL_CALLS][{"name": "f", "arguments": {}}, {"name": "g"}]', (call(), call("g")), ""),
        ("pythonic", "[f(x=-1, y=-0.5, z=true, w=null)]", (call(x=-1, y=-0.5, z=True, w=None),), ""),
        ("json", 'Sure:\n```json\n{"name": "f", "arguments": {"x": 1}}\n```\nDone.', (call(x=1),), "Sure:\nDone."),
        ("json", '{"name": "f", "parameters": {"x": 1}}', (call(x=1),), ""),
    ],
)
def test_the_spellings_of_a_format_are_read(form: str, text: str, calls: tuple[ToolCall, ...], content: str) -> None:
    parsed = parse(form, text)
    assert (parsed.calls, parsed.content, parsed.error) == (calls, content, None)


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("llama3", '{"name": "f", "parameters": {"x": 1}'),
        ("llama3", '{"name": "f", "parameters": {}} and words'),
        ("llama3", "<|python_tag|>import os"),
        ("llama3", "<|python_tag|>"),
        ("mistral", "[TOOL_CALLS]"),
        ("mistral", "[TOOL_CALLS][]"),
        ("mistral", '[TOOL_CALLS]{"name": "f"}'),
        ("mistral", "[TOOL_CALLS]f[ARGS]{} words"),
        ("mistral", "[TOOL_CALLS][1]"),
        ("pythonic", "[f(1)]"),
        ("pythonic", "[f(**x)]"),
        ("pythonic", "[f(x=y)]"),
        ("pythonic", "[f(x=1+1)]"),
        ("pythonic", "[f(x=g())]"),
        ("pythonic", "[f(x=1, x=2)]"),
        ("pythonic", "[f(x=1)"),
        ("pythonic", "[f(x=1), 2]"),
        ("pythonic", "[f(x={1: 2})]"),
        ("pythonic", "[f(x=1e999)]"),
        ("pythonic", "[f(x=b'a')]"),
        ("pythonic", "[f(x=1)] words"),
        ("pythonic", f"[f(x='{'a' * MAX_PYTHON}')]"),
        ("json", '{"name": "f", "arguments": {}, "more": 1}'),
        ("json", '{"name": "f", "arguments": {}'),
        ("json", '[{"name": "f", "arguments": {}}, 1]'),
        ("json", '```json\n{"name": "f",\n```'),
    ],
)
def test_an_attempt_that_cannot_be_read_is_a_format_error(form: str, text: str) -> None:
    parsed = parse(form, text)
    assert (parsed.calls, parsed.error) == ((), "format")


@pytest.mark.parametrize("form", WRITTEN)
def test_a_call_cut_off_is_seen_in_every_format(form: str) -> None:
    assert opens_call(WRITTEN[form][0][:-3])


@pytest.mark.parametrize(
    "text", ["", "a [1] (b)", "[Sorry (again)] I cannot do that.", '{"name": "Ada", "age": 36}', "```json\n{}\n```"]
)
def test_an_answer_is_not_taken_for_a_call(text: str) -> None:
    assert not opens_call(text)


SOUP = st.lists(
    st.one_of(
        st.sampled_from(
            [
                *(half for pair in WRITTEN.values() for half in pair),
                "[TOOL_CALLS]",
                "[ARGS]",
                "<|python_tag|>",
                "```json\n",
            ]
        ),
        st.sampled_from(
            ["```", "[f(", "x=", "1", "'", '"', "{", "}", "[", "]", ")", ";", ",", "\\d", "\0", "</think>"]
        ),
        st.text(max_size=5),
    ),
    max_size=12,
).map("".join)


@settings(deadline=None, max_examples=100)
@given(st.sampled_from(sorted(FORMATS)), SOUP)
def test_no_text_raises_in_any_format(form: str, text: str) -> None:
    parsed = parse(form, text)
    assert not (parsed.error and parsed.calls)
    opens_call(text)


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("form", WRITTEN)
@pytest.mark.parametrize(
    "unit",
    [" ", "[", "{", "(", "[f(", "-", "```\n", "```", "[TOOL_CALLS]", "[ARGS]", "<think>", '{"name": ', "f.",
     "a\n", "\\", "[TOOL_CALLS][]", '{"name": "f", "parameters": {}};', "<|python_tag|>"],
)  # fmt: skip
def test_a_long_text_of_anything_is_read_in_every_format(form: str, unit: str, length: int) -> None:
    soup = (unit * (length // len(unit) + 1))[:length]
    for text in (soup, "[f(x=" + soup, "```json\n" + soup, '{"name": "f", "parameters": ' + soup, " " + soup + "["):
        assert parse(form, text).error in {None, "format"}
        opens_call(text)


@settings(deadline=None, max_examples=60)
@given(st.dictionaries(st.from_regex(r"\A[a-z_]{1,6}\Z").filter(str.isidentifier), JSON, max_size=3))
def test_a_pythonic_call_is_read_back(arguments: dict[str, object]) -> None:
    import keyword

    given = {key: value for key, value in arguments.items() if not keyword.iskeyword(key)}
    text = f"[f({', '.join(f'{key}={value!r}' for key, value in given.items())})]"
    assert parse("pythonic", text).calls == (call(**given),)


@pytest.mark.parametrize(
    ("content", "words", "error"),
    [
        ("Hello.", "Hello.", None),
        ('Wait. <tool_call>{"name": "f"', "Wait.", "format"),
        ("done </tool_call>", "done </tool_call>", "format"),
        ('Yes. <tool_call>{"name": "f", "arguments": {}}</tool_call>', "Yes.", "format"),
        ('<think>maybe <tool_call>{"name": "f"}</tool_call></think>No.', "No.", None),
        ("[TOOL_CALLS]f[ARGS]{}", "[TOOL_CALLS]f[ARGS]{}", "format"),
        ("[f(1)]", "[f(1)]", "format"),
        ('{"name": "Ada", "age": 36}', '{"name": "Ada", "age": 36}', None),
    ],
)
def test_a_server_without_calls_may_have_left_one_in_the_words(content: str, words: str, error: str | None) -> None:
    parsed = parse_tool_calls(content, [])
    assert (parsed.calls, parsed.content, parsed.error) == ((), words, error)


@pytest.mark.parametrize("form", WRITTEN)
def test_a_call_of_every_format_begins_with_one_of_its_openings(form: str) -> None:
    assert WRITTEN[form][0].startswith(OPENINGS[form])


def test_a_call_in_another_format_is_an_attempt() -> None:
    for form in FORMATS:
        for other, (text, _) in WRITTEN.items():
            parsed = parse(form, text + ENDS.get(other, ""))
            assert parsed.calls or parsed.error == "format"
