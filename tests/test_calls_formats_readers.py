"""Readers beside the first five: types by the schema, thoughts, templates, and texts with mistakes."""
# ruff: noqa: E501 - a row a line

from __future__ import annotations

import re
import time
from random import Random
from typing import Any

import pytest
from kinds.texts import DIALECTS, mutated

from sloop.calls.formats import FORMATS, MARKS, OPENINGS, after_thinking, for_template, opens_call, parse, thoughts_of
from sloop.records import Tool

PARAMETERS: dict[str, Any] = {
    "type": "object",
    "properties": {
        "text": {"type": "string"},
        "count": {"type": "integer"},
        "share": {"type": "number"},
        "loud": {"type": "boolean"},
        "many": {"type": "array", "items": {"type": "integer"}},
        "deep": {"type": "object"},
        "maybe": {"type": ["integer", "null"]},
        "either": {"anyOf": [{"type": "integer"}, {"type": "string"}]},
        "level": {"enum": [1, 2, "high"]},
    },
}
TOOLS = (Tool(name="f", parameters=PARAMETERS),)
IN_TAGS = {
    "qwen3_coder": "<function=f>\n<parameter={}>\n{}\n</parameter>\n</function>",
    "seed_oss": "<seed:tool_call><function=f><parameter={}>{}</parameter></function></seed:tool_call>",
    "glm": "<tool_call>f\n<arg_key>{}</arg_key>\n<arg_value>{}</arg_value>\n</tool_call>",
    "minimax_m2": '<minimax:tool_call><invoke name="f"><parameter name="{}">{}</parameter></invoke></minimax:tool_call>',
    "claude": '<function_calls><invoke name="f"><parameter name="{}">{}</parameter></invoke></function_calls>',
}


@pytest.mark.parametrize("form", IN_TAGS)
@pytest.mark.parametrize(
    ("parameter", "written", "value"),
    [
        ("text", "12", "12"),
        ("text", "null", "null"),
        ("text", '{"a": 1}', '{"a": 1}'),
        ("text", " two words ", " two words "),
        ("text", "a < b & c", "a < b & c"),
        ("count", "12", 12),
        ("count", "-3", -3),
        ("count", "many", "many"),
        ("share", "0.5", 0.5),
        ("share", "2", 2),
        ("share", "1e999", "1e999"),
        ("loud", "true", True),
        ("loud", "False", False),
        ("loud", "perhaps", "perhaps"),
        ("many", "[1, 2]", [1, 2]),
        ("many", "(1, 2)", [1, 2]),
        ("deep", '{"a": {"b": null}}', {"a": {"b": None}}),
        ("deep", "{'a': True}", {"a": True}),
        ("maybe", "null", None),
        ("maybe", "7", 7),
        ("either", "7", 7),
        ("either", "seven", "seven"),
        ("level", "2", 2),
        ("level", "high", "high"),
    ],
)
def test_a_value_in_tags_has_the_type_that_the_schema_gives(
    form: str, parameter: str, written: str, value: Any
) -> None:
    (call,) = parse(form, IN_TAGS[form].format(parameter, written), tools=TOOLS).calls
    assert (type(call.arguments[parameter]), call.arguments) == (type(value), {parameter: value})


def test_what_no_schema_describes_is_text_but_for_glm() -> None:
    for form, text in IN_TAGS.items():
        (call,) = parse(form, text.format("x", "12")).calls
        assert call.arguments == {"x": 12 if form == "glm" else "12"}


def test_deepseek_says_which_values_are_strings() -> None:
    text = (
        '<｜DSML｜function_calls><｜DSML｜invoke name="f"><｜DSML｜parameter name="text" string="true">12</｜DSML｜parameter>'
        '<｜DSML｜parameter name="count" string="false">12</｜DSML｜parameter></｜DSML｜invoke></｜DSML｜function_calls>'
    )
    (call,) = parse("deepseek_v32", text).calls
    assert call.arguments == {"text": "12", "count": 12}


@pytest.mark.parametrize("form", IN_TAGS)
def test_an_argument_given_twice_is_an_error(form: str) -> None:
    text = IN_TAGS[form].format("text", "a")
    given = re.search("<(parameter|arg_key).*</(parameter|arg_value)>", text, re.S)
    assert given
    assert parse(form, text.replace(given[0], given[0] * 2), tools=TOOLS).error == "format"


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("gemma4", '<|tool_call>call:f{a:[1,<|"|>x, y<|"|>],b:{c:true,d:null},e:<|"|>{}<|"|>,g:word}<tool_call|>'),
        ("functiongemma", "<start_function_call>call:f{a:[1,<escape>x, y<escape>],b:{c:true,d:null},e:<escape>{}<escape>,g:word}<end_function_call>"),
    ],
)  # fmt: skip
def test_gemmas_notation_is_read_whole(form: str, text: str) -> None:
    (call,) = parse(form, text).calls
    assert call.arguments == {"a": [1, "x, y"], "b": {"c": True, "d": None}, "e": "{}", "g": "word"}


# --- thoughts -----------------------------------------------------------------------------------------------------

CALL = '<tool_call>{"name": "f", "arguments": {}}</tool_call>'


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("<think>a</think>b", "b"),
        ("a</think>b", "b"),
        ("<think>a</think>b<think>c</think>d", "bd"),
        (f"<think>{CALL}</think>b<think>{CALL}</think>c", "bc"),
        (f"<think>a</think>{CALL}<think>b</think>", f"{CALL}<think>b</think>"),
        (f"{CALL}</think>b", f"{CALL}</think>b"),
        ("[THINK]a[/THINK]b", "b"),
        ("<seed:think>a</seed:think>b", "b"),
        ("<|START_THINKING|>a<|END_THINKING|>b", "b"),
        ("<|channel>thought\na<channel|>b", "b"),
        ("<think>a", ""),
        ("<think>a</think><think>b", ""),
        ("The <think> tag opens a thought.", "The <think> tag opens a thought."),
    ],
)
def test_reasoning_is_taken_off(text: str, answer: str) -> None:
    assert after_thinking(text, "hermes") == answer
    if answer:
        assert after_thinking(thoughts_of(text, "hermes") + answer, "hermes") == answer


@pytest.mark.parametrize("form", sorted(set(FORMATS) - {"harmony"}))
def test_where_the_prompt_opened_the_thought_nothing_before_its_close_is_an_answer(form: str) -> None:
    text = next(text for own, text, _ in DIALECTS.values() if own == form)
    drafted = parse(form, f"Perhaps\n{text}\n</think>No.", thinking=True)
    assert (drafted.calls, drafted.content, drafted.error) == ((), "No.", None)
    assert len(parse(form, f"Hm.</think>{text}", thinking=True).calls) == 1
    assert parse(form, f"Perhaps {text}", thinking=True).error == "format"
    assert not opens_call(f"Perhaps {text}", thinking=True)
    assert not opens_call(f"<think>Perhaps {text}")


# --- templates ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", sorted(set(FORMATS) - {"json", "react", "glm4", "pythonic", "llama3", "command_r"}))
def test_a_template_that_writes_a_call_tells_its_format(form: str) -> None:
    texts = [text for own, text, _ in DIALECTS.values() if own == form]
    assert for_template(f"{{%- if tools %}}{texts[0]}{{%- endif %}}") == form


@pytest.mark.parametrize(
    ("template", "form"),
    [
        ("{{ '<|im_start|>' + message.role }}", None),
        ('Respond in the format {"name": function name, "parameters": dictionary of argument name and its value}.', "llama3"),
        ("{{ '<|python_tag|>' }}", "llama3"),
        ("{{ '<|python_start|>' }}", "pythonic"),
        ("in the format of [func_name1(params_name1=params_value1), func_name2(params)]", "pythonic"),
        ("Action: the tool\nAction Input: the input", "react"),
        ('[{"name": "tool_call_name", "arguments": {"arg1": "value1"}}]', "json"),
        ("<tool_call>\n{\"name\": <function-name>, \"arguments\": <args-json-object>}\n</tool_call>", "hermes"),
    ],
)  # fmt: skip
def test_a_template_tells_its_format_by_its_marks(template: str, form: str | None) -> None:
    assert for_template(template) == form


# --- mistakes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMATS)
def test_a_call_with_mistakes_never_raises_and_is_soon_read(form: str) -> None:
    rng = Random(form)
    texts = [text for own, text, _ in DIALECTS.values() if own == form]
    for _ in range(150):
        text = mutated(rng.choice(texts), rng)
        began = time.process_time()
        parsed = parse(form, text, tools=TOOLS)
        assert time.process_time() - began < 1
        assert not (parsed.error and parsed.calls)
        assert not (parsed.recovered and not parsed.error)


@pytest.mark.parametrize("name", DIALECTS)
def test_a_call_begins_with_one_of_its_openings(name: str) -> None:
    form, text, _ = DIALECTS[name]
    assert any(opening in text for opening in OPENINGS[form])
    assert form in ("qwen3_coder", "claude") or MARKS[form].search(text)
