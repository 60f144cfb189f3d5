"""The chosen chat template stands in checkpoint 0, with what it would have of the day and its caller pinned in it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from models import UNSET, WEATHER, ask, pool, spec
from transformers import AutoTokenizer

from sloop.engine.stage import Place, run_stage
from sloop.records import Message, Sample, Tool, ToolCall, UserError
from sloop.stages.train import Start, checkpoint_of
from sloop.store import Dataset, read_json, write_json, write_rows
from sloop.students.local import LocalStudent, load_tokenizer
from sloop.students.templates import learnt, render_prompt, template_format

DATED = (
    "{{ strftime_now('%d %b %Y') }}{{ date_string }}{% if enable_thinking %}THINK{% endif %}{{ tools | tojson }}"
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% for c in m.tool_calls or [] %}<tool_call>"
    "{{ {'name': c.function.name, 'arguments': c.function.arguments} | tojson }}</tool_call>{% endfor %}<|im_end|>"
    "{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
)
NESTED = Tool(
    name="plan",
    description="Plans a trip.",
    parameters={
        "type": "object",
        "properties": {
            "mode": {"enum": ["car", "bus"], "description": "how"},
            "stops": {"type": "array", "items": {"type": "object", "properties": {"town": {"type": "string"}}}},
            "when": {"type": ["string", "null"]},
            "who": {"anyOf": [{"type": "integer"}, {"const": "all"}]},
        },
        "required": ["mode"],
    },
)


def started(tmp_path: Path, template: str | None = None, **settings: object) -> tuple[Path, Path]:
    """A given checkpoint, and checkpoint 0 that a student makes of it."""
    write_rows(tmp_path / "pool.jsonl", pool())
    data = Dataset(tmp_path / "pool.jsonl")
    given = Path(spec().make(data, seed=0, out=tmp_path / "given").path)
    if template is not None:
        (given / "chat_template.jinja").write_text(template)
    common = {"name": "s", "scratch": None, "answer_format": None, "threads": 1, "dtype": "fp32", "device": "cpu"}
    student = LocalStudent(path=str(given), **common, **UNSET | settings)  # type: ignore[arg-type]
    return given, Path(student.start(data, seed=0, out=tmp_path / "c0").path)


def test_compact_lists_names_arguments_and_types(tmp_path: Path) -> None:
    given, made = started(tmp_path, chat_template="compact")
    text = render_prompt(load_tokenizer(made), ask("go", tools=(WEATHER, NESTED)))
    assert "- get_weather(city: string, days?: integer, tags?: array|null): Current weather\n" in text
    assert '- plan(mode: "car"|"bus" (how), stops?: {town?: string}[], when?: string|null, who?: integer|"all")' in text
    assert (made / "model.safetensors").stat().st_ino == (given / "model.safetensors").stat().st_ino
    known = read_json(made / "sloop.json")
    assert (known["format"], known["chat_template"], known["date"]) == ("hermes", "compact", "2026-01-01")


def test_signatures_list_no_description(tmp_path: Path) -> None:
    _, made = started(tmp_path, chat_template="signatures")
    text = render_prompt(load_tokenizer(made), ask("go", tools=(WEATHER, NESTED)))
    assert "- get_weather(city: string, days?: integer, tags?: array|null)\n" in text
    assert '- plan(mode: "car"|"bus", stops?: {town?: string}[], when?: string|null, who?: integer|"all")\n' in text
    assert read_json(made / "sloop.json")["chat_template"] == "signatures"


def test_hermes_lists_schemas_and_calls_are_read_back(tmp_path: Path) -> None:
    tokenizer = load_tokenizer(started(tmp_path, chat_template="hermes")[1])
    sample = ask("go", ToolCall(name="get_weather", arguments={"city": "Oslo"}), tools=(WEATHER,))
    found = learnt(tokenizer, sample)
    listed = found.prompt.partition("<tools>\n")[2].partition("\n</tools>")[0]
    assert json.loads(listed) == WEATHER.to_openai()
    assert found.why is None
    assert found.answer.endswith('{"name": "get_weather", "arguments": {"city": "Oslo"}}\n</tool_call><|im_end|>')


def test_what_is_chosen_is_kept_by_whatever_loads_the_folder(tmp_path: Path) -> None:
    _, made = started(tmp_path, chat_template="compact")
    theirs = AutoTokenizer.from_pretrained(made)
    messages = [{"role": "user", "content": "go"}]
    text = theirs.apply_chat_template(messages, tools=[WEATHER.to_openai()], add_generation_prompt=True, tokenize=False)
    sample = Sample(tools=(WEATHER,), messages=(Message(role="user", content="go"),))
    assert text == render_prompt(load_tokenizer(made), sample)


def test_the_day_and_the_variables_of_a_template_are_pinned_in_it(tmp_path: Path) -> None:
    _, made = started(tmp_path, DATED, date="2024-02-29", chat_template_kwargs={"enable_thinking": True})
    assert render_prompt(load_tokenizer(made), ask("hello")).startswith("29 Feb 202429 Feb 2024THINK")
    assert template_format(load_tokenizer(made)) == "hermes"


def test_a_format_that_a_checkpoint_records_holds_for_its_own_template_alone(tmp_path: Path) -> None:
    given, made = started(tmp_path, DATED)  # whose day is pinned, so that it has a folder of its own
    assert read_json(made / "sloop.json")["format"] == "hermes"
    write_json(given / "sloop.json", {"format": "pythonic"})
    common = {"name": "s", "path": str(given), "scratch": None, "answer_format": None, "threads": 1, "dtype": "fp32"}
    for source, found in (("own", "pythonic"), ("compact", "hermes")):
        student = LocalStudent(**common | {"device": "cpu"} | UNSET | {"chat_template": source})  # type: ignore[arg-type]
        made = Path(student.start(None, seed=0, out=tmp_path / source).path)
        assert read_json(made / "sloop.json")["format"] == found


def test_a_template_of_a_file_is_taken(tmp_path: Path) -> None:
    (tmp_path / "mine.jinja").write_text(DATED)
    _, made = started(tmp_path, chat_template=str(tmp_path / "mine.jinja"))
    assert "<user>hello<|im_end|><assistant>" in render_prompt(load_tokenizer(made), ask("hello"))


def test_a_template_that_takes_nothing_ends_the_start(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"fails on 9 of 9 samples.*chat_template=hermes"):
        started(tmp_path, "{% for m in messages if m.role == 'user' %}{{ m.content }}{% endfor %}")


def test_what_is_no_template_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has no chat template"):
        started(tmp_path, "")


def test_what_is_put_otherwise_before_a_template_stands_in_the_record_of_its_start(tmp_path: Path) -> None:
    given, _ = started(tmp_path)
    refusing = "{% for m in messages %}{% if m.role == 'tool' %}{{ raise_exception('no') }}{% endif %}"
    (given / "chat_template.jinja").write_text(DATED.replace("{% for m in messages %}", refusing))
    common = {"name": "s", "scratch": None, "answer_format": None, "threads": 1, "dtype": "fp32", "device": "cpu"}
    student = LocalStudent(path=str(given), **common, **UNSET)  # type: ignore[arg-type]
    stage = Start(student=student, data=Dataset(tmp_path / "pool.jsonl"), seed=0)
    made = run_stage(stage, Place(tmp_path / "start"))
    assert made.record.notes == list(made.summary.notes) == student.template_notes(checkpoint_of(made))
    assert all(note.startswith("chat template of s") for note in made.summary.notes)
    assert "chat template of s: tool results are given as the user's messages" in made.summary.notes
