"""The methods over TRL: each trains the tiny student, by the protocol, on our own tokens, and calls nobody."""

from __future__ import annotations

import functools
import json
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_dir
from hypothesis import given
from hypothesis import strategies as st
from models import ask, pool, spec, trainer
from omegaconf import OmegaConf
from running import scratch
from safetensors.torch import load_file, save_file
from test_students_templates import GOOD
from test_students_templates import tokenizer as characters

from sloop.cli import conf_folder
from sloop.engine.build import build
from sloop.records import Checkpoint, Prediction, Sample, ToolCall, UserError
from sloop.store import Dataset, checkpoint_at, read_json, write_json, write_rows
from sloop.students.local import load_model, load_tokenizer
from sloop.students.templates import encode, render_prompt
from sloop.trainers.answers import Row
from sloop.trainers.base import TRAINING_FILE, Progress, Trainer

pytest.importorskip("trl", reason="needs TRL: pip install 'sloop[trl]'")
from sloop.trainers.batches import examples
from sloop.trainers.preference import _given, _mixed, _turned

METHODS = ("dpo", "kto", "grpo", "rloo", "distill", "ppo")
SECOND = ("kto", "rloo", "distill")
"""Methods that go on and take adapters by the code by which another one does, which stands for them by default."""
QUICK = {
    "threads": 1, "batch_size": 4, "max_answer": 24, "learning_rate": 1e-3, "watched": 2, "watch_every": 2,
    "save_every": 2, "max_length": 256, "generations": 4,
    # by names, too: how often an answer is wholly right depends on the last bits of the CPU
    "reward": {"exact": 1.0, "names": 1.0, "keys": 0.0, "values": 0.0},
}  # fmt: skip


def slow(name: str) -> list[pytest.MarkDecorator]:
    """The marks of a method's test that is a second look."""
    return [pytest.mark.slow] if name in SECOND else []


@functools.cache
def half_taught() -> tuple[Checkpoint, Dataset]:
    """A checkpoint that still makes mistakes, and what it learns from."""
    folder = scratch() / "half-taught"
    write_rows(folder / "pool.jsonl", [*pool(), ask("ping it", ToolCall(name="get_weather", arguments={"tags": None}))])
    data = Dataset(folder / "pool.jsonl")
    start = spec().make(data, seed=0, out=folder / "c0")
    return trainer(learning_rate=0.01).train(start, data, None, steps=50, seed=0, out=folder / "c1"), data


def settings(name: str, **changes: Any) -> dict[str, Any]:
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        found: Any = OmegaConf.to_container(compose("config", [f"trainer={name}"]).trainer)
    quick = {
        key: value for key, value in {**QUICK, "teacher": half_taught()[0].path, "updates": 2}.items() if key in found
    }
    return {**found, **quick, **changes}


def method(name: str, **changes: Any) -> Trainer:
    made: Trainer = build(settings(name, **changes), "trainer", kind=Trainer)
    return made


def train(
    name: str,
    out: Path,
    progress: Progress | None = None,
    predictions: Path | None = None,
    steps: int = 4,
    seed: int = 1,
    **changes: Any,
) -> Checkpoint:
    start, data = half_taught()
    made = method(name, **changes)
    return made.train(start, data, predictions, steps=steps, seed=seed, out=out, progress=progress)


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.is_file()}


@pytest.mark.parametrize("name", METHODS)
def test_a_method_trains_by_the_protocol(name: str, tmp_path: Path) -> None:
    start, _ = half_taught()
    told: list[tuple[int, int, dict[str, float]]] = []
    made = train(name, tmp_path / "c", lambda *words: told.append(words))
    steps = [words for words in told if words[0]]
    assert [(done, of) for done, of, _ in steps] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert {"loss", "learning_rate", "left_out"} <= steps[0][2].keys()
    assert {"tool_call/name_correct", "tool_call/args_exact_match"} <= steps[-1][2].keys()
    assert made.digest != start.digest or name == "distill"  # the student is its own teacher here
    assert files(tmp_path / "c") == files(Path(start.path))
    for file in files(tmp_path / "c") - {"model.safetensors"}:
        assert (tmp_path / "c" / file).read_bytes() == Path(start.path, file).read_bytes(), file
    assert [path.name for path in (tmp_path / "c" / "sidecar").iterdir()] == ["training.json"]
    said = read_json(tmp_path / "c" / TRAINING_FILE)
    assert said["settings"].items() >= {"max_steps": 4, "learning_rate": 1e-3, "seed": 1}.items()
    assert str(tmp_path) not in json.dumps(said["settings"])
    copies = {"distill": {"teacher"}, "grpo": set()}.get(name, {"reference"})
    assert {what for what in ("reference", "teacher") if said["memory"].get(what)} == copies


class Killed(Exception):
    """The process ends here."""


def kill(done: int, *_: object) -> None:
    """End it after the third step."""
    if done == 3:
        raise Killed


@pytest.mark.parametrize("name", [pytest.param(name, marks=slow(name)) for name in METHODS])
def test_a_training_is_the_same_again_and_after_an_interruption(name: str, tmp_path: Path) -> None:
    teacher = {"teacher": str(scratch() / "half-taught" / "c0")} if name == "distill" else {}
    whole = train(name, tmp_path / "whole", **teacher)

    with pytest.raises(Killed):
        train(name, tmp_path / "killed", kill, **teacher)
    done: list[int] = []
    resumed = train(name, tmp_path / "killed", lambda n, *_: done.append(n), **teacher)
    assert [n for n in done if n] == [3, 4]
    assert resumed.digest == whole.digest


def test_another_seed_gives_other_weights_and_resumes_nothing(tmp_path: Path) -> None:
    with pytest.raises(Killed):
        train("dpo", tmp_path / "c", kill)
    done: list[int] = []
    other = train("dpo", tmp_path / "c", lambda n, *_: done.append(n), seed=2)
    assert [n for n in done if n] == [1, 2, 3, 4]
    assert other.digest != train("dpo", tmp_path / "d").digest


def test_other_answers_resume_nothing(tmp_path: Path) -> None:
    with pytest.raises(Killed):
        train("dpo", tmp_path / "c", kill)
    answers = tmp_path / "answers.jsonl"
    write_rows(answers, [Prediction(sample_id=sample.id, text="No.", content="No.") for sample in half_taught()[1]])
    done: list[int] = []
    train("dpo", tmp_path / "c", lambda n, *_: done.append(n), predictions=answers)
    assert [n for n in done if n] == [1, 2, 3, 4]


def test_another_teacher_at_the_same_place_resumes_nothing(tmp_path: Path) -> None:
    teacher = tmp_path / "teacher"
    shutil.copytree(half_taught()[0].path, teacher)
    with pytest.raises(Killed):
        train("distill", tmp_path / "c", kill, teacher=str(teacher))
    halved = {name: weight / 2 for name, weight in load_file(teacher / "model.safetensors").items()}
    save_file(halved, teacher / "model.safetensors", {"format": "pt"})
    done: list[int] = []
    train("distill", tmp_path / "c", lambda n, *_: done.append(n), teacher=str(teacher))
    assert [n for n in done if n] == [1, 2, 3, 4]


def test_what_changes_no_result_is_no_reason_to_begin_anew(tmp_path: Path) -> None:
    with pytest.raises(Killed):
        train("dpo", tmp_path / "c", kill)
    done: list[int] = []
    train("dpo", tmp_path / "c", lambda n, *_: done.append(n), save_every=1, max_memory=1_000)
    assert [n for n in done if n] == [3, 4]


def test_a_teacher_with_room_for_more_tokens_is_the_same_teacher(tmp_path: Path) -> None:
    plain = scratch() / "half-taught" / "c0"
    wider = Path(shutil.copytree(plain, tmp_path / "wider"))
    model = load_model(wider, torch.float32)
    model.resize_token_embeddings(model.config.vocab_size + 64)
    model.save_pretrained(wider)
    one, other = (
        train("distill", tmp_path / name, steps=1, watched=0, teacher=str(teacher))
        for name, teacher in (("a", plain), ("b", wider))
    )
    assert one.digest == other.digest
    with pytest.raises(UserError, match="has room for"):
        method("distill", teacher=str(plain)).train(
            checkpoint_at(wider), half_taught()[1], None, steps=1, seed=0, out=tmp_path / "c"
        )


CHILD = """
import sys, threading
seen = []
sys.addaudithook(lambda event, args: seen.append(event) if event in ("socket.connect", "socket.getaddrinfo") else None)
import pathlib
import test_trainers_trl as here
for name in ("dpo", "grpo"):
    here.train(name, pathlib.Path(sys.argv[1]) / name, steps=1)
for thread in threading.enumerate():
    if thread is not threading.main_thread():
        thread.join(1)
trained = len(seen)
from huggingface_hub import constants
from huggingface_hub.utils import _telemetry
constants.HF_HUB_DISABLE_TELEMETRY = False
_telemetry.send_telemetry("trl/none", library_name="trl")
_telemetry._TELEMETRY_QUEUE.join()
print(trained, len(seen) > trained)
"""


@pytest.mark.slow
def test_no_method_opens_a_connection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CI", "HF_HUB_DISABLE_TELEMETRY", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # the check that the watch sees: it goes nowhere
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(tmp_path)], cwd=Path(__file__).parent, capture_output=True, text=True
    )
    assert done.stdout.split()[-2:] == ["0", "True"], done.stderr[-2000:]
    assert "it/s" not in done.stderr


def named_less(folder: Path) -> None:
    """A checkpoint as some are published: it draws and draws not, its tokenizer knows no padding and no end."""
    drawing = {"do_sample": False, "temperature": 0.6, "top_p": 0.9, "no_repeat_ngram_size": 1}
    for name, less, more in (
        ("generation_config.json", (), drawing),
        ("tokenizer_config.json", ("pad_token", "eos_token"), {}),
    ):
        kept = {key: value for key, value in read_json(folder / name).items() if key not in less}
        write_json(folder / name, {**kept, **more})


@pytest.mark.parametrize("name", [pytest.param(name, marks=slow(name)) for name in METHODS])
def test_a_checkpoint_is_trained_whatever_it_says_of_drawing_and_does_not_say_of_its_tokens(
    name: str, tmp_path: Path
) -> None:
    taught, data = half_taught()
    folder = Path(shutil.copytree(taught.path, tmp_path / "start", ignore=shutil.ignore_patterns("sidecar")))
    named_less(folder)
    made = method(name, watched=0, save_every=1)
    trained = made.train(checkpoint_at(folder), data, None, steps=2, seed=1, out=tmp_path / "c")
    for file in ("generation_config.json", "tokenizer_config.json"):
        assert read_json(Path(trained.path, file)).items() >= read_json(folder / file).items(), file


def test_answers_are_drawn_as_the_settings_say_whatever_the_checkpoint_does(tmp_path: Path) -> None:
    taught, data = half_taught()
    folder = Path(shutil.copytree(taught.path, tmp_path / "start", ignore=shutil.ignore_patterns("sidecar")))
    told = read_json(folder / "generation_config.json")
    write_json(folder / "generation_config.json", {**told, "no_repeat_ngram_size": 1})
    lengths = []
    for start in (taught, checkpoint_at(folder)):
        drawn: list[dict[str, float]] = []
        out = tmp_path / f"c{len(lengths)}"
        progress: Progress = lambda _a, _b, values: drawn.append(values)  # noqa: B023, E731
        method("grpo", watched=0).train(start, data, None, steps=1, seed=1, out=out, progress=progress)
        lengths.append(drawn[-1]["completions/mean_length"])
    assert lengths[0] == lengths[1]


@pytest.mark.parametrize("name", ["dpo", "kto"])
def test_what_is_preferred_is_our_own_rendering(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    start, _ = half_taught()
    made: Any = method(name)
    rows: list[dict[str, Any]] = []
    original = type(made).trainer

    def watched(self: Any, work: Any, common: dict[str, Any]) -> Any:
        found = original(self, work, common)
        rows.extend(found.train_dataset)
        return found

    monkeypatch.setattr(type(made), "trainer", watched)
    wrong = [Prediction(sample_id=sample.id, text="nonsense") for sample in half_taught()[1]]
    write_rows(tmp_path / "p.jsonl", wrong)
    made.train(start, half_taught()[1], tmp_path / "p.jsonl", steps=1, seed=0, out=tmp_path / "c")
    tokenizer = load_tokenizer(Path(start.path))
    answers = [tokenizer.decode(row.get("chosen_ids") or row["completion_ids"]) for row in rows]
    assert sum('{"tags": null}' in answer for answer in answers) == 1  # a genuine null, and none is made up
    assert sum("null" in answer for answer in answers) == 1
    refused = (
        [row["rejected_ids"] for row in rows]
        if name == "dpo"
        else [r["completion_ids"] for r in rows if not r["label"]]
    )
    assert {tokenizer.decode(tokens) for tokens in refused} == {"nonsense<|im_end|>"}


def test_what_a_student_wrote_has_the_tokens_that_it_has_behind_its_prompt(tmp_path: Path) -> None:
    one = characters(f"{GOOD}", metaspace=True)  # as SentencePiece: every text on its own begins with a space
    sample = ask("ping it", ToolCall(name="get_weather", arguments={}))
    example = examples(one, [sample], 10**6)[0][0]
    write_rows(tmp_path / "p.jsonl", [Prediction(sample_id=sample.id, text="No.")])
    work: Any = SimpleNamespace(tokenizer=one, predictions=tmp_path / "p.jsonl")
    tokens, right = _given(work, {sample.id: Row(sample, example)})[sample.id]
    assert not right
    assert example.prompt + tokens == encode(one, [render_prompt(one, sample) + "No.<|im_end|>"])[0]


@given(st.lists(st.booleans(), min_size=1, max_size=8), st.integers(2, 8))
def test_the_divergence_is_estimated_by_answers_to_other_prompts(wrong: list[bool], size: int) -> None:
    liked = [([row], [row]) for row in range(len(wrong))]
    rows = _mixed(liked, [([row], [100 + row]) for row, is_wrong in enumerate(wrong) if is_wrong])
    for at in range(0, len(rows), size):
        part = rows[at : at + size]
        others = _turned(part)
        assert sorted(others) == sorted(answer for _, answer, _ in part)
        prompts = Counter(prompt[0] for prompt, _, _ in part)
        own = sum(other[0] % 100 == prompt[0] for (prompt, _, _), other in zip(part, others, strict=True))
        assert not own or max(prompts.values()) * 2 > len(part)


def test_where_pairs_come_from_is_counted(tmp_path: Path) -> None:
    _, data = half_taught()
    samples: list[Sample] = list(data)
    right = [Prediction(sample_id=s.id, text="as the label", calls=s.label.calls) for s in samples[:4] if s.label]
    write_rows(tmp_path / "p.jsonl", [*right, Prediction(sample_id=samples[4].id, error="format", text="<tool_call>")])
    told: list[dict[str, float]] = []
    train("dpo", tmp_path / "c", lambda _a, _b, values: told.append(values), steps=1, predictions=tmp_path / "p.jsonl")
    counts = json.loads((tmp_path / "c" / TRAINING_FILE).read_text())["left_out"]
    assert 4 <= counts["answered right"] == told[-1]["left_out"]
    assert {"pairs": len(samples) - counts["answered right"], "answered": len(samples)} in told


def test_a_student_that_is_right_leaves_nothing_to_prefer(tmp_path: Path) -> None:
    _, data = half_taught()
    right = [Prediction(sample_id=s.id, text="as the label", calls=s.label.calls) for s in data if s.label]
    write_rows(tmp_path / "p.jsonl", right)
    with pytest.raises(UserError, match="answered right already"):
        train("dpo", tmp_path / "c", predictions=tmp_path / "p.jsonl")


def test_a_training_that_goes_astray_ends_with_the_key_to_change(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"gone astray: .* at step \d+\. Lower trainer\.learning_rate"):
        train("dpo", tmp_path / "c", learning_rate=900.0, clip=1e9, steps=30, schedule="constant_with_warmup")


def test_what_cannot_be_trained_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"Raise trainer\.max_length"):
        train("grpo", tmp_path / "a", max_length=3)
    with pytest.raises(UserError, match=r"Raise trainer\.max_length"):
        method("grpo", max_length=3).steps_for(*half_taught(), 1.0)  # type: ignore[attr-defined]
    with pytest.raises(UserError, match=r"trainer\.accumulate=3: a step of 16 rows"):
        train("grpo", tmp_path / "b", accumulate=3)
    other = spec().make(Dataset(half_taught()[1].path), seed=0, out=tmp_path / "other")
    tokenizer = Path(other.path, "tokenizer.json")
    tokenizer.write_text(tokenizer.read_text().replace('"get_weather"', '"get_whether"'))
    with pytest.raises(UserError, match=r"trainer\.teacher=.*: its vocabulary is not that of"):
        train("distill", tmp_path / "c", teacher=other.path)


@pytest.mark.parametrize(("name", "most", "given"), [("dpo", 2, {"sft_weight": 0.0}), ("ppo", 12, {"batch_size": 12})])
def test_a_step_in_parts_is_the_same_step(name: str, most: int, given: dict[str, Any], tmp_path: Path) -> None:
    """The same rows make up the step, some of them twice; sums in another order differ in their last bits."""
    told: dict[int, list[tuple[float, float]]] = {}
    for parts in (1, most):
        seen = told[parts] = []
        train(name, tmp_path / str(parts), lambda n, _, v, to=seen: to.append((v["loss"], v["grad_norm"])) if n else 0,
              accumulate=parts, steps=2 if name == "ppo" else 1, **given)  # fmt: skip
    assert [number for pair in told[1] for number in pair] == pytest.approx(
        [number for pair in told[most] for number in pair], rel=1e-3, abs=1e-5
    )


def test_a_pass_of_ppo_goes_on_for_all_updates_on_its_answers() -> None:
    start, data = half_taught()
    assert method("ppo", batch_size=5, updates=3).steps_for(start, data, 1.0) == 6  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("name", "bits"),
    [*(pytest.param(name, None, marks=slow(name)) for name in METHODS), ("dpo", 4), ("grpo", 4), ("ppo", 4)],
)
def test_adapters_are_trained_alone_and_merged(name: str, bits: int | None, tmp_path: Path) -> None:
    pytest.importorskip("peft", reason="needs peft: pip install 'sloop[lora]'")
    if bits:
        pytest.importorskip("bitsandbytes", reason="needs bitsandbytes: pip install 'sloop[qlora]'")
    rank = {"rank": 4, "alpha": 8, "dropout": 0.0, "targets": "all-linear", "layers": None, "bits": bits}
    made = train(name, tmp_path / "c", lora=rank, steps=3, **({"beta": 0.05} if name == "grpo" else {}))
    kept, start = (load_file(Path(c.path) / "model.safetensors") for c in (made, half_taught()[0]))
    assert kept.keys() == start.keys()
    changed = {key for key, value in kept.items() if not torch.equal(value, start[key])}
    assert not any("embed" in key or "norm" in key for key in changed)
    assert changed or name == "distill"
    before, after = (read_json(Path(c.path) / "config.json") for c in (half_taught()[0], made))
    assert after == before
