"""Calls that a student proposes within texts: which are kept, by hand on a tiny model, and what is trained on."""

from __future__ import annotations

import functools
import math
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_dir
from models import spec, trainer
from omegaconf import OmegaConf
from running import scratch

from sloop.cli import conf_folder
from sloop.engine import identity
from sloop.engine.build import build
from sloop.models.bounded import Exceeded
from sloop.records import Checkpoint, Label, Message, Sample, ToolCall, UserError
from sloop.store import Dataset, read_json, write_rows
from sloop.students.local import load_model, load_tokenizer, save_trained
from sloop.trainers.base import TRAINING_FILE, Trainer
from sloop.trainers.teacher_mode import (
    KEPT,
    NO_CALL,
    NO_TEXT,
    TOO_LONG,
    TRIED,
    WEIGHTS,
    TeacherMode,
    Text,
    Tried,
    best,
    loss,
    places,
    prompt_of,
    read,
    runnable,
    with_calls,
)

DOUBLE, SQUARE = (runnable(f"toys.{name}", 1) for name in ("double", "Square"))
OFFERED = [DOUBLE.tool, SQUARE.tool]


def said(content: str, asked: str = "how much") -> Sample:
    return Sample(tools=(), messages=(Message(role="user", content=asked),), label=Label(content=content))


DEMONSTRATIONS = ["twice 3 is [double(number=3)] 6"]
TEXTS = [said(f"twice {n} is {2 * n} as we know", f"how much {n}") for n in range(1, 9)]


@functools.cache
def start() -> tuple[Checkpoint, Dataset]:
    """A student that has read such texts, with calls behind the prompt that asks for them, and behind results."""
    folder = scratch() / "teacher-mode"
    seen = [said(f"twice {n} is [double(number={n})] {2 * n} as we know", f"and {n}") for n in range(1, 9)]
    write_rows(folder / "seen.jsonl", [*seen, *TEXTS])
    write_rows(folder / "texts.jsonl", [*TEXTS, said("", "nothing")])
    made = spec(min_frequency=1).make(Dataset(folder / "seen.jsonl"), seed=0, out=folder / "c0")
    tokenizer, model = load_tokenizer(folder / "c0"), load_model(folder / "c0", torch.float32)
    prompt = prompt_of([DOUBLE.tool], DEMONSTRATIONS)
    rows = []
    for text, sample in zip([Text(tokenizer, sample) for sample in TEXTS], seen, strict=True):
        assert sample.label is not None
        rows.append(text.head(prompt) + tokenizer(sample.label.content, add_special_tokens=False)["input_ids"])
        call = sample.label.content.split("[")[1].split("]")[0]
        rows.append(text.before(0, f"[{call} -> {text.words.split()[3]}]") + text.body)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    for _ in range(40):
        for size in {len(row) for row in rows}:
            ids = torch.tensor([row for row in rows if len(row) == size])
            model(ids, labels=ids).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return save_trained(model, tokenizer, Path(made.path), folder / "c1"), Dataset(folder / "texts.jsonl")


def mode(**changes: Any) -> TeacherMode:
    given: dict[str, Any] = {
        "trainer": trainer(), "tools": ["toys.double"], "demonstrations": DEMONSTRATIONS,
        "sampling_threshold": 0.0, "positions": 2, "calls": 2, "filter_threshold": 0.0, "temperature": 1.0,
        "max_call": 16, "seconds": 1, "threads": 1, "device": "cpu",
    }  # fmt: skip
    return TeacherMode(**{**given, **changes})


def test_weights_are_those_of_the_paper() -> None:
    assert pytest.approx([1 / 3, 0.8 / 3, 0.2, 0.4 / 3, 0.2 / 3]) == WEIGHTS
    assert sum(WEIGHTS) == pytest.approx(1)


def test_the_loss_of_what_follows_is_that_by_hand() -> None:
    folder = Path(start()[0].path)
    model, tokenizer = load_model(folder, torch.float32).eval(), load_tokenizer(folder)
    text = Text(tokenizer, TEXTS[0])
    for place in (0, 3, len(text.body) - 2):
        before = text.before(place, "[double(number=1) -> 2]")
        expected = 0.0
        for number, token in enumerate(text.body[place : place + 5]):
            logits = model(torch.tensor([before + text.body[place : place + number]])).logits[0, -1]
            expected -= max(0, 1 - 0.2 * number) / 3 * math.log(logits.softmax(-1)[token].item())
        assert loss(model, before, text.body[place:]) == pytest.approx(expected, rel=1e-4)


def test_places_are_where_a_call_is_likeliest_to_be_opened() -> None:
    folder = Path(start()[0].path)
    model, tokenizer = load_model(folder, torch.float32).eval(), load_tokenizer(folder)
    text = Text(tokenizer, TEXTS[0])
    head = text.head(prompt_of(OFFERED, ["twice 3 is [double(number=3)] 6"]))
    openings = sorted({tokenizer(mark, add_special_tokens=False)["input_ids"][0] for mark in ("[", " [")})
    chances = [
        model(torch.tensor([head + text.body[:place]])).logits[0, -1].softmax(-1)[openings].sum().item()
        for place in range(len(text.body))
    ]
    order = sorted(range(len(chances)), key=lambda place: -chances[place])
    assert [place for place, _ in places(model, head, text, 0.0, 2)] == sorted(order[:2])
    assert places(model, head, text, max(chances), 2) == []


def test_of_the_calls_at_a_place_the_best_is_kept_and_of_none_that_does_not_help() -> None:
    tried = [Tried(4, "a", gain=1.0), Tried(4, "b", gain=2.0), Tried(1, "c", gain=1.5), Tried(2, "d", outcome="failed")]
    assert [one.written for one in best(tried)] == ["c", "b"]


def test_a_prompt_says_the_tools_and_shows_texts_without_and_with_calls() -> None:
    prompt = prompt_of(OFFERED, ["3 and 3 is [double(number=3)] 6."])
    assert "double(number: integer): Twice a number." in prompt
    assert "Square(number: integer): A number times itself." in prompt
    assert "Input: 3 and 3 is 6.\nOutput: 3 and 3 is [double(number=3)] 6.\n" in prompt


def test_tools_run_in_a_process_of_their_own_and_fail_alone() -> None:
    assert (DOUBLE.run({"number": 4}), SQUARE.run({"number": 4})) == ("8", "16")
    for wrong in ({"number": 5}, {"number": 6}, {"number": "x"}, {}):
        with pytest.raises(Exceeded):
            DOUBLE.run(wrong)
    for path in ("toys.nothing", "no_such_module.f", "double", "toys.__doc__"):
        with pytest.raises(UserError, match="dotted path of "):
            runnable(path, 1)


def test_one_call_of_a_tool_on_offer_is_read() -> None:
    assert read("double(number=2)", OFFERED) == ToolCall(name="double", arguments={"number": 2})
    for written in ("triple(number=2)", "double(number=2), double(number=3)", "double(", "2 + 2", ""):
        assert read(written, OFFERED) is None


def test_a_text_with_calls_is_a_dialogue_of_decisions() -> None:
    text = Text(load_tokenizer(Path(start()[0].path)), said("twice 3 is 6 as we know"))
    call = ToolCall(name="double", arguments={"number": 3})
    words = [text.between(0, place).strip() for place in range(len(text.body))]
    first, second = words.index("twice"), words.index("twice 3 is")
    kept = [Tried(place, "double(number=3)", call, "6") for place in (first, second)]
    samples = list(with_calls(text, kept, OFFERED))
    assert [sample.label for sample in samples] == [
        Label(calls=(call,), content="twice"), Label(calls=(call,), content="3 is"), Label(content="6 as we know"),
    ]  # fmt: skip
    assert [message.role for message in samples[-1].messages] == ["user", "assistant", "tool", "assistant", "tool"]
    assert [m.tool_call_id for m in samples[-1].messages if m.role == "tool"] == ["call_0", "call_1"]
    assert {sample.group for sample in samples} == {text.sample.id}
    assert list(with_calls(text, [], OFFERED)) == []


def test_texts_become_a_kept_set_that_is_counted_and_trained_on(tmp_path: Path) -> None:
    checkpoint, data = start()
    out = tmp_path / "c"
    made = mode().train(checkpoint, data, None, steps=5, seed=1, out=out)
    assert made.digest != checkpoint.digest
    kept, tried = list(Dataset(out / "sidecar" / KEPT)), read_json(out / "sidecar" / TRIED)
    said = read_json(out / TRAINING_FILE)
    calls = said["settings"]["calls"]
    outcomes = ("unreadable", "repeated", "failed", "no help", "beside a better one", "kept")
    assert calls["proposed"] == sum(calls.get(name, 0) for name in outcomes) == len(tried) == 8 * 2 * 2
    assert calls["executed"] == sum(calls.get(name, 0) for name in outcomes[-3:])
    assert calls["kept"] == sum(bool(sample.label and sample.label.calls) for sample in kept) > 0
    assert all(row["gain"] >= 0 for row in tried if row["outcome"] == "kept")
    assert said["left_out"][NO_TEXT] == 1
    again = mode().train(checkpoint, data, None, steps=5, seed=1, out=tmp_path / "d")
    assert again.digest == made.digest
    assert said["left_out"].get(NO_CALL, 0) == 8 - len({sample.group for sample in kept})


def test_calls_are_proposed_anew_where_the_code_of_a_tool_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = tmp_path / "changed_tool.py"
    monkeypatch.syspath_prepend(str(tmp_path))
    found = []
    for code in ("2 * number", "2 * number", "2 * number + 1"):
        module.write_text(f'def double(number: int) -> int:\n    """Twice a number."""\n    return {code}\n')
        identity._name_digest.cache_clear()  # known for as long as a process lives
        monkeypatch.delitem(sys.modules, "changed_tool", raising=False)
        mode(tools=["changed_tool.double"]).train(*start(), None, steps=1, seed=1, out=tmp_path / "c")
        found.append((tmp_path / "c" / "sidecar" / TRIED).stat().st_mtime_ns)
    assert found[0] == found[1] != found[2]


def test_a_threshold_that_no_call_meets_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none of \d+ proposed calls was kept .*lower trainer\.filter_threshold"):
        mode(filter_threshold=1000.0, positions=1, calls=1).train(*start(), None, steps=1, seed=1, out=tmp_path / "c")


def test_a_text_beyond_the_context_is_left_out_and_counted(tmp_path: Path) -> None:
    checkpoint, data = start()
    long = said(" ".join(["twice"] * 3000), "as we know")
    write_rows(tmp_path / "texts.jsonl", [*data, long])
    mode().train(checkpoint, Dataset(tmp_path / "texts.jsonl"), None, steps=1, seed=1, out=tmp_path / "c")
    assert read_json(tmp_path / "c" / TRAINING_FILE)["left_out"][TOO_LONG] == 1


@functools.cache
def configured() -> dict[str, Any]:
    words = ["trainer=teacher_mode", "trainer.tools=[toys.double]", "trainer.demonstrations=[one]"]
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        found: Any = OmegaConf.to_container(compose("config", words).trainer, resolve=True)
    return dict(found)


def test_the_configuration_builds_it() -> None:
    made: Any = build(configured(), "trainer", kind=Trainer)
    assert (made.positions, made.calls, made.sampling_threshold, made.filter_threshold) == (5, 5, 0.05, 1.0)
    assert type(made.trainer).__name__ == "SFT"


@pytest.mark.parametrize("key", sorted(TeacherMode.__dataclass_fields__.keys() - {"trainer"}))
def test_a_bad_value_is_refused_by_its_key(key: str) -> None:
    numbers = () if key in ("tools", "demonstrations", "device") else (-1, "abc", True)
    for value in (math.nan, [], {}, None, *numbers):
        with pytest.raises(UserError, match=rf"trainer\.{key}"):
            build({**configured(), key: value}, "trainer", kind=Trainer)
