"""Every row of `kinds.checkpoints` through a student in this process: what its template writes is read back."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
import torch
from kinds import Kind
from kinds.checkpoints import CHATML, IM_END, KINDS, Published, chat
from models import UNSET, WEATHER, ask
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from sloop.calls.formats import parse_tool_calls
from sloop.calls.formats.thoughts import THOUGHTS
from sloop.records import Prediction, Sample, Tool, ToolCall, UserError
from sloop.serve.engine import handed_over
from sloop.students.decoding import Written
from sloop.students.local import LocalStudent
from sloop.students.templates import encode, render_answer, render_prompt

TEMPLATES = Path(__file__).parent / "templates"
MARK = re.compile(r"<\|[\w ]+\|?>|<[\w]+\|>|<｜[^｜\n]+｜>")
FOLDER = os.environ.get("SLOOP_TEMPLATES")
UNESCAPED = {"lfm2_2_5", "lfm2_2_5_v2"}
"""Published templates that put a text between quotes as it is, whatever quotes it holds: nobody can read that."""
SEND = Tool(
    name="send_note",
    parameters={
        "type": "object",
        "properties": {
            "text": {"type": "string"},
            "copies": {"type": "integer"},
            "urgent": {"type": "boolean"},
            "to": {"type": "array", "items": {"type": "string"}},
            "place": {"type": "object"},
            "weight": {"type": "number"},
        },
    },
)
OSLO = ToolCall(name="get_weather", arguments={"city": "Oslo", "days": 3})
NOTE = {"text": 'it\'s "done", <b>ok</b> & 5 > 3: {x}, [y]; Zürich', "copies": 2, "urgent": True, "to": ["a b", "c"]}
ASKED = {
    "one call": ask("the weather?", OSLO, tools=(WEATHER, SEND)),
    "values of every type": ask("send", ToolCall(name="send_note", arguments=NOTE), tools=(WEATHER, SEND)),
    "a nested value": ask(
        "send", ToolCall(name="send_note", arguments={"place": {"x": [1, -2.5]}, "weight": 0.5}), tools=(WEATHER, SEND)
    ),
    "a number in a text": ask("send", ToolCall(name="send_note", arguments={"text": "007"}), tools=(WEATHER, SEND)),
    "two calls": ask("both", OSLO, ToolCall(name="send_note", arguments={"copies": 1}), tools=(WEATHER, SEND)),
    "words": ask("hello", content="It is 5 > 3, and no tool helps.", tools=(WEATHER, SEND)),
}


def text_of(published: Published) -> str:
    path = TEMPLATES / f"{published.template}.jinja"
    return path.read_text("utf-8") if published.template.isidentifier() else published.template


def checkpoint(folder: Path, published: Published, template: str) -> LocalStudent:
    """A student from a model of a few weights, whose tokenizer has bytes and the published marks."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend = Tokenizer(models.BPE(vocab={piece: index for index, piece in enumerate(alphabet)}, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens([AddedToken(mark, special=True, normalized=False) for mark in published.special])
    backend.add_tokens([AddedToken(mark, special=False, normalized=False) for mark in published.plain])
    end = published.special[0]
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token=end, clean_up_tokenization_spaces=True)
    tokenizer.chat_template = template
    ends = tokenizer.convert_tokens_to_ids([end, *published.stops])
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1,
        num_key_value_heads=1, max_position_embeddings=8192, eos_token_id=ends, bos_token_id=None,
    )  # fmt: skip
    torch.manual_seed(0)
    model = LlamaForCausalLM(config)
    model.generation_config = GenerationConfig(eos_token_id=ends)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    student = LocalStudent(
        name="own", path=str(folder), scratch=None, answer_format="auto", threads=1, dtype="fp32", device="cpu", **UNSET
    )
    student.load(student.start(data=None, seed=0, out=folder))  # type: ignore[arg-type]
    return student


def reads(student: LocalStudent, sample: Sample, *, before: str = "") -> tuple[Prediction, Prediction]:
    """What is read where the student writes the sample's label as its template does: here, and by a client of it.

    Args:
        student: who writes.
        sample: with a label.
        before: what it writes before that.
    """
    _, tokenizer = student._loaded()
    prompt = student.prompt(sample)
    label = render_answer(tokenizer, sample, render_prompt(tokenizer, sample))
    tokens = encode(tokenizer, [before + label])[0]
    end = next(place for place, token in enumerate(tokens) if token in student.stops)
    tokens = tokens[: end + 1]
    here = student.read(sample, Written(tokens, [0.0] * len(tokens), ended=True), thinking=bool(prompt.thought))
    content, calls = handed_over(student.format, prompt.thought + here.text, sample.tools)
    there = parse_tool_calls(content, [(call.name, call.arguments) for call in calls])
    return here, Prediction(sample_id=sample.id, calls=there.calls, content=there.content, error=there.error)


def check(student: LocalStudent, *, single: bool) -> None:
    thought = student.prompt(ASKED["words"]).thought
    before = 'a draft: {"name": "f", "arguments": {}} <tool_call>' if thought else ""
    for name, sample in ASKED.items():
        if single and name == "two calls":
            continue
        assert sample.label is not None
        for found in reads(student, sample, before=before):
            assert (found.error, found.calls, found.content) == (None, sample.label.calls, sample.label.content), name


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_call_that_the_template_writes_is_read_back(kind: Kind, tmp_path: Path) -> None:
    student = checkpoint(tmp_path, kind.given, text_of(kind.given))
    assert student.format == kind.comes
    check(student, single=kind.given.single)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if "thought" in kind.name], ids=str)
def test_a_thought_from_the_prompt_on_holds_no_call_and_is_no_answer(kind: Kind, tmp_path: Path) -> None:
    student = checkpoint(tmp_path, kind.given, text_of(kind.given))
    sample = ASKED["one call"]
    mark = student.prompt(sample).thought
    drafted, words = reads(student, sample)[0].text.removeprefix(THOUGHTS[mark]), "It needs no tool."
    tokens = encode(student._loaded()[1], [f"{drafted}{THOUGHTS[mark]}{words}", drafted, "Hm. "])
    written = [Written([*row, *student.stops][: len(row) + 1], [], ended=True) for row in tokens]
    found = [student.read(sample, row, thinking=True) for row in written]
    assert [(one.error, one.calls, one.content) for one in found] == [
        (None, (), words), ("format", (), ""), ("format", (), "")
    ]  # fmt: skip


@pytest.mark.parametrize("calls", ["", "{{ raise_exception('no tools here') }}"])
def test_a_template_that_loses_calls_is_given_them_as_text(calls: str, tmp_path: Path) -> None:
    template = chat(CHATML, IM_END, calls, tools="Answer <tool_call>{...}</tool_call> ")
    student = checkpoint(tmp_path, Published(template, (IM_END, "<|im_start|>")), template)
    assert student.format == "hermes"
    check(student, single=False)


@pytest.mark.skipif(
    FOLDER is None, reason="reads published chat templates, which are not shipped: set SLOOP_TEMPLATES to their folder"
)
def test_what_other_published_templates_write_is_read_back(tmp_path: Path) -> None:
    """Every template of a folder (``*.jinja``) that writes calls in a known format: what looks like a mark is one."""
    assert FOLDER is not None
    found = {}
    for path in sorted(Path(FOLDER).glob("*.jinja")):
        template = path.read_text("utf-8")
        marks = tuple(dict.fromkeys(MARK.findall(template)))
        known = ("<turn|>", "<|tool_response>", "<|observation|>", "<|call|>", "<｜end▁of▁sentence｜>")
        ends = [mark for mark in (*known, *(["<|user|>"] if "<sop>" in template else [])) if mark in marks]
        try:
            student = checkpoint(
                tmp_path / path.stem, Published("", ("<|the end|>", *marks), (), tuple(ends)), template
            )
            check(student, single="gptoss" in path.stem or path.stem.startswith("llama3"))
        except (AssertionError, UserError) as error:
            found[path.stem] = " ".join(str(error).split())[:300]
    print("\n".join(f"{name}: {why}" for name, why in found.items()))  # noqa: T201 - the result
    told = ("does not say in which format", "does not write the calls")
    wrong = {name for name, why in found.items() if not any(part in why for part in told)}
    assert wrong <= UNESCAPED
