"""What a chat template loses or refuses is found and put otherwise; what is trained on is what a server is sent."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
from kinds.checkpoints import CHATML, HERMES, IM_END, chat
from models import TOKENIZER, WEATHER, ask
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from sloop.records import Label, Message, Sample, ToolCall, UserError
from sloop.students.fitting import SHAPES, Fitted, read_fitted
from sloop.students.templates import (
    check,
    check_parity,
    encode,
    encode_pairs,
    fit_tokenizer,
    fitted,
    learnt,
    render_answer,
    render_prompt,
)

CALL = ToolCall(name="get_weather", arguments={"city": "Oslo"})
SAMPLE = ask("the weather?", CALL, tools=(WEATHER,))


def tokenizer(template: str, *, metaspace: bool = False, eos: str = "<|endoftext|>") -> PreTrainedTokenizerFast:
    """One whose tokens are bytes, or characters as SentencePiece has them, and a few marks."""
    alphabet = sorted({*pre_tokenizers.ByteLevel.alphabet(), *map(chr, range(32, 127)), "\n", "▁"})
    backend = Tokenizer(models.BPE(vocab={piece: index for index, piece in enumerate(alphabet)}, merges=[]))
    if metaspace:
        backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
        backend.decoder = decoders.Metaspace(prepend_scheme="always")
    else:
        backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        backend.decoder = decoders.ByteLevel()
    marks = (eos, IM_END, "<|im_start|>")
    backend.add_special_tokens([AddedToken(mark, special=True, normalized=False) for mark in marks])
    made = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token=eos)
    made.chat_template = template
    return made


# --- a template of each fault -----------------------------------------------------------------------------------------

TOOLS = "{{ tools | tojson }}"
GOOD = chat(CHATML, IM_END, HERMES)
USERS = "{% for m in messages %}{% if m.role not in ['user', 'assistant'] %}{{ raise_exception('role') }}{% endif %}"
PARTS = GOOD.replace("m.content or ''", "m.content[0].text").replace("{{ m.content }}", "{{ m.content[0].text }}")
FAULTY: dict[str, tuple[str, set[str]]] = {
    "none": (GOOD, set()),
    "tools lost": (GOOD.replace(TOOLS, ""), {"tools"}),
    "calls lost": (chat(CHATML, IM_END, ""), {"tools"}),
    "calls refused": (chat(CHATML, IM_END, "{{ raise_exception('no calls') }}"), {"tools"}),
    "arguments as text": (GOOD.replace("f.arguments | tojson", "(f.arguments + '')"), {"arguments"}),
    "ids of nine letters": (
        GOOD.replace("{% set f =", "{% if c.id | length != 9 %}{{ raise_exception('id') }}{% endif %}{% set f ="),
        {"ids"},
    ),
    "no role for tools": (
        GOOD.replace("{% for m in messages %}", "{% for m in messages %}{% if m.role == 'tool' %}"
                     "{{ raise_exception('role') }}{% endif %}"), {"results"},
    ),
    "no role for the system": (
        GOOD.replace("{% for m in messages %}", "{% for m in messages %}{% if m.role == 'system' %}"
                     "{{ raise_exception('role') }}{% endif %}"), {"system"},
    ),
    "words beside a call": (
        GOOD.replace("{{ m.content or '' }}", "{{ '' if m.tool_calls else m.content }}"), {"words"},
    ),
    "a list of tools always": (GOOD.replace("{% if tools %}", "{% if tools | length >= 0 %}"), {"offer"}),
    "tool results without their name": (
        GOOD.replace("{% for m in messages %}", "{% for m in messages %}{% if m.role == 'tool' and not m.name %}"
                     "{{ raise_exception('name') }}{% endif %}"), {"names"},
    ),
    "content in parts": (PARTS, {"parts"}),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTY)
def test_a_fault_is_found_and_met_by_what_it_needs_alone(fault: str) -> None:
    template, needed = FAULTY[fault]
    one = tokenizer(template)
    found = fitted(one, template)
    assert (found.refused, set(found.fitted.switches)) == ({}, needed)
    fit_tokenizer(one)
    assert fitted(one, str(one.chat_template)) == found  # what is fitted is left as it is
    for sample in SHAPES.values():
        assert learnt(one, sample).why is None
    check(one, SHAPES.values())


def test_what_cannot_be_met_names_the_shape_and_is_counted_by_reason() -> None:
    single = GOOD.replace(
        "{% if m.tool_calls %}",
        "{% if m.tool_calls %}{% if m.tool_calls | length > 1 %}{{ raise_exception('one call only') }}{% endif %}",
    )
    one = tokenizer(single)
    fit_tokenizer(one)
    assert set(fitted(one, single).refused) == {"several calls"}
    found = learnt(one, SHAPES["several calls"])
    assert found.reason == "refused by the chat template"
    assert "one call only" in str(found.why)
    with pytest.raises(UserError, match=r"fails on 1 of 1 samples.*one call only.*chat_template=hermes"):
        check(one, [SHAPES["several calls"]])


def test_values_that_a_template_garbles_are_no_label_to_learn() -> None:
    garbled = GOOD.replace("f.arguments | tojson", "f.arguments | string | replace('\\'', '\"')")
    one = tokenizer(garbled)
    assert learnt(one, SHAPES["one call"]).why is None
    found = learnt(one, SHAPES["quotes and other letters"])
    assert found.reason == "a label that is not read back"


def test_a_tool_that_a_prompt_loses_is_never_silent() -> None:
    one = tokenizer(GOOD.replace(TOOLS, ""))
    with pytest.raises(UserError, match="loses the tool get_weather"):
        render_prompt(one, SAMPLE)


def test_what_is_put_in_front_of_a_template_is_read_back() -> None:
    fitted_twice = Fitted(GOOD, {"tools": "compact", "results": "user"})
    assert read_fitted(fitted_twice.template) == fitted_twice


@pytest.mark.slow
def test_published_templates_take_every_shape_or_say_which_not() -> None:
    """Those of the installed TRL."""
    trl = importlib.util.find_spec("trl")
    if trl is None or not trl.submodule_search_locations:
        pytest.skip("reads the chat templates that TRL brings: pip install 'sloop[trl]'")
    path = Path(__file__).parents[1] / "benchmarks" / "bench_templates.py"
    bench: Any = importlib.util.module_from_spec(spec := importlib.util.spec_from_file_location("bench", path))  # type: ignore[arg-type]
    spec.loader.exec_module(bench)  # type: ignore[union-attr]
    folder = Path(trl.submodule_search_locations[0]) / "chat_templates"
    found = [bench.measure(path.read_text("utf-8")) for path in sorted(folder.glob("*.jinja"))]
    assert sum(row["silent"] for row in found) == 0
    assert sum(not row["refused"] for row in found) >= 0.8 * len(found)


# --- tokens -----------------------------------------------------------------------------------------------------------


def test_the_loss_lies_where_the_marks_of_a_template_say() -> None:
    turns = (
        Message(role="user", content="the weather?"),
        Message(role="assistant", tool_calls=(CALL,)),
        Message(role="tool", content="rain", tool_call_id="call_0"),
        Message(role="assistant", content="It rains."),
        Message(role="user", content="and a timer"),
    )
    call = ToolCall(name="set_timer", arguments={"minutes": 5})
    sample = Sample(tools=SAMPLE.tools, messages=turns, label=Label(calls=(call,)))
    prompt = render_prompt(TOKENIZER, sample)
    [(asked, answer)] = encode_pairs(TOKENIZER, [prompt], [render_answer(TOKENIZER, sample, prompt)])
    rows = [message.to_openai() for message in (*turns, Label(calls=(call,)).message())]
    whole = TOKENIZER.apply_chat_template(
        rows, tools=[WEATHER.to_openai()], tokenize=True, return_dict=True, return_assistant_tokens_mask=True
    )
    assert whole["input_ids"][: len(asked) + len(answer)] == asked + answer
    marked = [place for place, mark in enumerate(whole["assistant_masks"]) if mark]
    assert [place for place in marked if place >= len(asked)] == list(range(len(asked), len(asked) + len(answer)))
    assert len(marked) > len(answer)


def test_the_loss_ends_at_the_end_of_the_turn_and_not_of_the_text() -> None:
    one = tokenizer(GOOD + "{{ '\n' }}")
    found = learnt(one, SAMPLE)
    assert found.answer.endswith("</tool_call><|im_end|>")
    assert learnt(tokenizer(GOOD.replace(IM_END, "\n")), SAMPLE).answer.endswith("</tool_call><|endoftext|>")


def test_an_answer_behind_its_prompt_has_no_space_of_its_own() -> None:
    one = tokenizer(GOOD, metaspace=True)
    prompt = "<|im_start|>assistant\n"
    [(asked, answer)] = encode_pairs(one, [prompt], ["Yes.<|im_end|>"])
    assert asked + answer == encode(one, [prompt + "Yes.<|im_end|>"])[0]
    assert answer != encode(one, ["Yes.<|im_end|>"])[0]


def test_other_tokens_than_a_server_is_sent_end_the_run() -> None:
    one = tokenizer(GOOD)
    [pair] = encode_pairs(one, [render_prompt(one, SAMPLE)], ["Yes."])
    check_parity(one, SAMPLE, pair)
    with pytest.raises(UserError, match=r"from token 3 on \('A', sent: "):
        check_parity(one, SAMPLE, ([*pair[0][:2], *encode(one, ["A"])[0], *pair[0][3:]], pair[1]))
