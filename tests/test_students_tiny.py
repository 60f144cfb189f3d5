import json
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from models import NOTHING, TIMER, TOKENIZER, WEATHER, ask, pool, spec
from transformers import AutoModelForCausalLM, AutoTokenizer

from sloop.records import Message, Sample, ToolCall, UserError
from sloop.store import Dataset, read_json, write_rows
from sloop.students.templates import render_answer, render_prompt


def tokens(text: str) -> list[str]:
    return [TOKENIZER.decode([index]) for index in TOKENIZER(text, add_special_tokens=False)["input_ids"]]


@settings(deadline=None, max_examples=100)
@given(st.text())
def test_any_text_round_trips(text: str) -> None:
    ids = TOKENIZER(text, add_special_tokens=False)["input_ids"]
    assert TOKENIZER.decode(ids) == text


def test_frequent_words_are_one_token_and_rare_ones_are_spelled() -> None:
    assert tokens("weather") == ["weather"]
    assert tokens("get_weather") == ["get_weather"]
    assert tokens("Oslo") == ["O", "s", "l", "o"]


def test_digits_and_spaces_are_tokens_of_their_own() -> None:
    assert tokens("in 250") == ["in", " ", "2", "5", "0"]


def test_a_value_has_the_same_tokens_in_request_and_answer() -> None:
    sample = ask("weather in Quito?", ToolCall(name="get_weather", arguments={"city": "Quito"}))
    prompt = render_prompt(TOKENIZER, sample)
    value = tokens("Quito")
    for text in (prompt, render_answer(TOKENIZER, sample, prompt)):
        found = tokens(text)
        assert any(found[start : start + len(value)] == value for start in range(len(found)))


def test_signature_listing_marks_types_and_optional_arguments() -> None:
    prompt = render_prompt(TOKENIZER, ask("hi", tools=(WEATHER, TIMER, NOTHING)))
    assert "tools\nget_weather(city, days#?, tags?) set_timer(minutes#) ping()<|im_end|>" in prompt


def test_names_listing_shows_names_and_schema_listing_shows_everything() -> None:
    sample = ask("hi")
    assert "tools\nget_weather set_timer<|im_end|>" in render_prompt(spec(listing="names").tokenizer(pool()), sample)
    shown = render_prompt(spec(listing="schema").tokenizer(pool()), sample)
    lines = shown.split("tools\n")[1].split("<|im_end|>")[0].splitlines()
    assert [json.loads(line) for line in lines] == [tool.to_openai() for tool in sample.tools]


def test_answers_are_in_hermes_form() -> None:
    sample = ask(
        "weather in Oslo and 5 minutes",
        ToolCall(name="get_weather", arguments={"city": "Øslo"}),
        ToolCall(name="set_timer", arguments={"minutes": 5}),
    )
    assert render_answer(TOKENIZER, sample, render_prompt(TOKENIZER, sample)) == (
        '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Øslo"}}\n</tool_call>\n'
        '<tool_call>\n{"name": "set_timer", "arguments": {"minutes": 5}}\n</tool_call><|im_end|>'
    )


def test_decoding_without_special_tokens_keeps_the_call_tags() -> None:
    text = '<tool_call>\n{"name": "ping", "arguments": {}}\n</tool_call>'
    ids = TOKENIZER(text + "<|im_end|>", add_special_tokens=False)["input_ids"]
    assert TOKENIZER.decode(ids, skip_special_tokens=True) == text


def test_arguments_may_be_an_object_or_a_json_string() -> None:
    def render(arguments: object) -> str:
        call = {"type": "function", "function": {"name": "ping", "arguments": arguments}}
        messages = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "", "tool_calls": [call]}]
        return str(TOKENIZER.apply_chat_template(messages, tokenize=False))

    assert render({"a": 1}) == render('{"a": 1}')


def test_tools_follow_the_last_user_message_of_a_long_dialogue() -> None:
    messages = (
        Message(role="system", content="Be brief."),
        Message(role="user", content="first"),
        Message(role="assistant", tool_calls=(ToolCall(name="ping", arguments={}),)),
        Message(role="tool", content="pong", tool_call_id="call_0"),
        Message(role="user", content="second"),
    )
    prompt = render_prompt(TOKENIZER, Sample(tools=(NOTHING,), messages=messages))
    assert prompt.count("ping()") == 1
    assert prompt.endswith("second<|im_end|>\n<|im_start|>tools\nping()<|im_end|>\n<|im_start|>assistant\n")


def test_generation_marks_cover_the_answer_alone() -> None:
    messages = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "No suitable tool."}]
    encoded = TOKENIZER.apply_chat_template(
        messages, return_dict=True, return_assistant_tokens_mask=True, tokenize=True
    )
    marked = [index for index, mark in zip(encoded["input_ids"], encoded["assistant_masks"], strict=True) if mark]
    assert TOKENIZER.decode(marked) == "No suitable tool.<|im_end|>"


def test_the_checkpoint_loads_in_transformers_and_generates_identically(tmp_path: Path) -> None:
    write_rows(tmp_path / "pool.jsonl", pool())
    made = spec().make(Dataset(tmp_path / "pool.jsonl"), seed=1, out=tmp_path / "c")
    tokenizer = AutoTokenizer.from_pretrained(made.path)
    model = AutoModelForCausalLM.from_pretrained(made.path)
    prompt = render_prompt(tokenizer, pool()[0])
    assert prompt == render_prompt(TOKENIZER, pool()[0])
    ids = tokenizer(prompt, return_tensors="pt", add_special_tokens=False)
    assert ids["input_ids"].tolist()[0] == TOKENIZER(prompt, add_special_tokens=False)["input_ids"]
    original = spec().model(TOKENIZER, seed=1)
    written = [one.generate(**ids, max_new_tokens=12) for one in (model, original)]
    assert torch.equal(*written)
    assert tokenizer.padding_side == "left"
    assert read_json(tmp_path / "c" / "sloop.json")["format"] == "hermes"


def test_the_same_seed_makes_the_same_bytes_and_another_does_not(tmp_path: Path) -> None:
    write_rows(tmp_path / "pool.jsonl", pool())
    data = Dataset(tmp_path / "pool.jsonl")
    one, two, other = (
        spec().make(data, seed=seed, out=tmp_path / name) for seed, name in ((1, "a"), (1, "b"), (2, "c"))
    )
    assert one.digest == two.digest != other.digest


def test_heads_that_do_not_divide_the_hidden_size_are_the_users_mistake() -> None:
    with pytest.raises(UserError, match="multiple of 6"):
        spec(num_heads=3)


@pytest.mark.parametrize(
    ("text", "content", "calls"),
    [
        ("No suitable tool.", "No suitable tool.", []),
        (
            'Yes.\n<tool_call>\n{"name": "a", "arguments": {"x": "}}"}}\n</tool_call>\n'
            '<tool_call>\n{"name": "b", "arguments": {}}\n</tool_call>',
            "Yes.",
            [("a", {"x": "}}"}), ("b", {})],
        ),
        ('<tool_call>\n{"name": "a", "arguments": {"x": 1}', None, [("a", '{"x": 1}<|im_end|>')]),
        ('<tool_call>\n{"name": "a", "arguments": {"x": }}\n</tool_call>', None, [("a", '{"x": }')]),
        ('<tool_call>\n{"name": "a"}\n</tool_call>', '<tool_call>\n{"name": "a"}\n</tool_call>', []),
    ],
)
def test_transformers_reads_calls_with_the_recorded_template_and_never_fails(
    text: str, content: str | None, calls: list[tuple[str, object]]
) -> None:
    found = TOKENIZER.parse_response(text + "<|im_end|>", TOKENIZER.response_template, prefix="<|im_start|>assistant\n")
    assert found.get("content") == content
    functions = [call["function"] for call in found.get("tool_calls", [])]
    assert [(function["name"], function["arguments"]) for function in functions] == calls
