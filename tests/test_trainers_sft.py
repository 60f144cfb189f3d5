import gc
import math
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

import psutil
import pytest
import torch
from hydra import compose, initialize_config_dir
from hypothesis import given, settings
from hypothesis import strategies as st
from models import TOKENIZER, ask, pool, spec, trainer
from omegaconf import OmegaConf
from safetensors.torch import load_file, save_file
from transformers import Gemma3Config, Gemma3ForConditionalGeneration, GPT2Config, GPT2LMHeadModel

from sloop.cli import conf_folder
from sloop.engine.build import build
from sloop.engine.stage import Place, run_stage
from sloop.records import Checkpoint, Decode, UserError
from sloop.stages.train import Train, train_scores
from sloop.store import Dataset, checkpoint_at, write_rows
from sloop.students.chosen import base_template
from sloop.students.local import LocalStudent, load_model, load_tokenizer
from sloop.students.templates import fit_tokenizer
from sloop.students.tiny import RECORD_FILE
from sloop.trainers.base import Trainer
from sloop.trainers.batches import IGNORED, WINDOW, Example, batches, check_left_out, collate, examples, micro_batches
from sloop.trainers.lora import LoraSettings, attach, merged
from sloop.trainers.memory import PASSING, blocks_apart, kept_bytes, memory_told, merging, needs
from sloop.trainers.muon import Muon, orthogonalise
from sloop.trainers.sft import PRETRAINED, SCRATCH, InForce, schedule


def begin(folder: Path) -> tuple[Checkpoint, Dataset]:
    write_rows(folder / "pool.jsonl", pool())
    data = Dataset(folder / "pool.jsonl")
    return spec().make(data, seed=0, out=folder / "c0"), data


@pytest.mark.parametrize("optimizer", ["muon", "adamw"])
def test_training_lowers_the_loss_and_tells_of_every_step(tmp_path: Path, optimizer: str) -> None:
    start, data = begin(tmp_path)
    told: list[tuple[int, int, float]] = []
    trainer(optimizer=optimizer).train(
        start,
        data,
        None,
        steps=35,
        seed=0,
        out=tmp_path / "c1",
        progress=lambda n, of, m: told.append((n, of, m.get("loss", 0))),
    )
    assert [step for step, _, _ in told] == [0, 10, 20, 30, 35]
    assert {of for _, of, _ in told} == {35}
    assert told[-1][2] < 0.8 * told[1][2]
    assert [file.name for file in (tmp_path / "c1" / "sidecar").iterdir()] == ["training.json"]


def test_the_same_arguments_give_the_same_bytes_and_another_seed_does_not(tmp_path: Path) -> None:
    start, data = begin(tmp_path)
    one, two, other = (
        trainer().train(start, data, None, steps=6, seed=seed, out=tmp_path / name)
        for seed, name in ((3, "a"), (3, "b"), (4, "c"))
    )
    assert one.digest == two.digest != other.digest


CHILD = """
import sys
from pathlib import Path
from sloop.store import Dataset, checkpoint_at
from test_trainers_sft import KILLED, trainer
folder = Path(sys.argv[1])
trainer(**KILLED[int(sys.argv[2])]).train(
    checkpoint_at(folder / "c0"), Dataset(folder / "pool.jsonl"), None, steps=150, seed=0, out=folder / "killed"
)
"""
LORA = LoraSettings(rank=4, alpha=8, dropout=0.1, targets="all-linear", layers=None, bits=None)
KILLED: list[dict[str, Any]] = [
    {"save_every": 4},
    {"save_every": 999, "save_seconds": 0.01, "optimizer": "adamw", "lora": LORA, "micro_tokens": 100},
]


class Interrupted(Exception):
    """The training ends here."""


@pytest.mark.parametrize("how", range(len(KILLED)))
def test_a_training_that_was_interrupted_resumes_to_the_same_bytes(how: int, tmp_path: Path) -> None:
    start, data = begin(tmp_path)
    arguments = {"steps": 20, "seed": 0}

    def interrupt(done: int, *_: object) -> None:
        if done == 10:
            raise Interrupted

    with pytest.raises(Interrupted):
        trainer(**KILLED[how]).train(start, data, None, **arguments, out=tmp_path / "cut", progress=interrupt)
    kept = torch.load(tmp_path / "cut" / "sidecar" / "partial.pt", weights_only=True)["step"]
    assert 0 < kept <= 10
    told: list[int] = []
    resumed = trainer(**KILLED[how]).train(
        start, data, None, **arguments, out=tmp_path / "cut", progress=lambda n, *_: told.append(n)
    )
    assert min(filter(None, told)) >= kept
    assert resumed.digest == trainer(**KILLED[how]).train(start, data, None, **arguments, out=tmp_path / "whole").digest


def test_a_training_goes_on_where_it_is_saved_more_often_from_now_on(tmp_path: Path) -> None:
    start, data = begin(tmp_path)
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        stands: Any = OmegaConf.to_container(compose("config", ["trainer=sft"]).trainer)

    def interrupt(done: int, *_: object) -> None:
        if done == 10:
            raise Interrupted

    told: list[int] = []
    for changes, progress in (
        ({"save_every": 4}, interrupt),
        ({"save_every": 5, "save_seconds": 60, "max_memory": 1_000, "watched": 1}, lambda n, *_: told.append(n)),
    ):
        made: Trainer = build({**stands, "threads": 1, **changes}, "trainer", kind=Trainer)
        with suppress(Interrupted):
            made.train(start, data, None, steps=20, seed=0, out=tmp_path / "c", progress=progress)
    assert min(filter(None, told)) > 8


@pytest.mark.slow
@pytest.mark.parametrize("how", range(len(KILLED)))
def test_a_training_killed_at_any_step_resumes_to_the_same_bytes(how: int, tmp_path: Path) -> None:
    start, data = begin(tmp_path)
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(tmp_path), str(how)], cwd=Path(__file__).parent)
    partial = tmp_path / "killed" / "sidecar" / "partial.pt"
    deadline = time.monotonic() + 120
    while not partial.exists() and child.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(Random().random() / 10)
    os.kill(child.pid, signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    done = torch.load(partial, weights_only=True)["step"]
    assert 0 < done < 150
    told: list[tuple[int, float]] = []
    whole: list[tuple[int, float]] = []
    arguments = {"steps": 150, "seed": 0}
    resumed = trainer(**KILLED[how]).train(
        start, data, None, **arguments, out=tmp_path / "killed",
        progress=lambda n, _, values: told.append((n, values["loss"])) if "loss" in values else None,
    )  # fmt: skip
    assert told[0][0] > done
    again = trainer(**KILLED[how]).train(
        start, data, None, **arguments, out=tmp_path / "whole",
        progress=lambda n, _, values: whole.append((n, values["loss"])) if "loss" in values else None,
    )  # fmt: skip
    assert resumed.digest == again.digest
    assert told == whole[-len(told) :]


def test_partial_state_of_other_arguments_is_not_resumed(tmp_path: Path) -> None:
    start, data = begin(tmp_path)
    (tmp_path / "c1" / "sidecar").mkdir(parents=True)
    torch.save({"key": "another"}, tmp_path / "c1" / "sidecar" / "partial.pt")
    steps: list[int] = []
    trainer().train(start, data, None, steps=3, seed=0, out=tmp_path / "c1", progress=lambda n, *_: steps.append(n))
    assert steps == [0, 3]


def test_too_long_and_unlabelled_samples_are_left_out_and_counted() -> None:
    unlabelled = ask("hi").model_copy(update={"label": None})
    long = ask("x " * 200, content="No.")
    rows, left_out = examples(TOKENIZER, [pool()[0], unlabelled, long], 120)
    assert len(rows) == 1
    assert left_out == {"no label": 1, "too long": 1}


def test_labels_that_the_chat_template_garbles_are_left_out_and_the_template_is_advised_against(tmp_path: Path) -> None:
    tokenizer = load_tokenizer(Path(begin(tmp_path)[0].path))
    tokenizer.chat_template = base_template(tokenizer).replace(
        "m.content or ''", """(m.content or '') | replace('"Lima', '"Rome')"""
    )
    fit_tokenizer(tokenizer)
    rows, left_out = examples(tokenizer, pool(), 512)
    assert (len(rows), left_out) == (7, {"a label that is not read back": 2})
    with pytest.raises(UserError, match=r"2 a label that is not read back.*Begin with student\.chat_template=hermes"):
        check_left_out(left_out, 9, 0.05)


def test_data_of_which_nothing_can_be_learnt_is_the_users_mistake(tmp_path: Path) -> None:
    start, data = begin(tmp_path)
    with pytest.raises(UserError, match="max_length"):
        trainer(max_length=3).train(start, data, None, steps=1, seed=0, out=tmp_path / "c1")


def test_copies_repeat_an_example() -> None:
    rows, _ = examples(TOKENIZER, [pool()[0].model_copy(update={"copies": 3}), pool()[-1]], 256)
    assert len(rows) == 4
    assert rows[0] == rows[2] != rows[3]


def test_the_loss_lies_on_the_answer_alone() -> None:
    rows, _ = examples(TOKENIZER, [pool()[0], pool()[-1]], 256)
    ids, labels = collate(rows, 0)
    assert ids.shape == labels.shape == (2, max(row.length for row in rows))
    for row, line, wanted in zip(rows, ids, labels, strict=True):
        assert line[wanted != IGNORED].tolist() == row.answer
        assert TOKENIZER.decode(row.answer).endswith("<|im_end|>")


@settings(deadline=None, max_examples=50)
@given(lengths=st.lists(st.integers(1, 90), min_size=1, max_size=60), size=st.integers(1, 9), seed=st.integers(0, 99))
def test_every_example_is_seen_equally_often(lengths: list[int], size: int, seed: int) -> None:
    steps = len(lengths) * WINDOW
    row = batches(lengths, size=size, in_tokens=False, seed=seed)
    seen = [index for batch in islice(row, steps) for index in batch]
    assert len(seen) == steps * size
    assert {seen.count(index) for index in range(len(lengths))} == {WINDOW * size}


def test_a_batch_holds_examples_of_like_length() -> None:
    lengths = list(range(1, 65))
    found = list(islice(batches(lengths, size=8, in_tokens=False, seed=1), WINDOW))
    assert sorted(min(batch) for batch in found) == list(range(0, 64, 8))
    assert all(max(batch) - min(batch) == 7 for batch in found)


def test_the_learning_rate_rises_stays_and_falls() -> None:
    rates = [schedule(step, 100, 10, 0.3) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[10:70] == [1.0] * 60
    assert rates[85] == pytest.approx(0.5)
    assert rates[99] == pytest.approx(1 / 30)


def test_orthogonalise_drives_singular_values_towards_one() -> None:
    matrices = torch.randn(3, 8, 20, generator=torch.Generator().manual_seed(0))
    values = torch.linalg.svdvals(orthogonalise(matrices))
    assert values.min() > 0.6
    assert values.max() < 1.3


def test_muon_takes_the_same_steps_as_pytorchs() -> None:
    def weights() -> list[torch.nn.Parameter]:
        draw = torch.Generator().manual_seed(0)
        return [torch.nn.Parameter(torch.randn(shape, generator=draw)) for shape in ((8, 8), (20, 8), (8, 20), (8, 8))]

    ours, theirs = weights(), weights()
    optimizers = [
        Muon(ours, lr=0.01, weight_decay=0.1, momentum=0.95),
        torch.optim.Muon(theirs, lr=0.01, weight_decay=0.1, adjust_lr_fn="match_rms_adamw"),
    ]
    for step in range(3):
        for one, other in zip(ours, theirs, strict=True):
            one.grad = torch.randn(one.shape, generator=torch.Generator().manual_seed(step))
            other.grad = one.grad.clone()
        for optimizer in optimizers:
            optimizer.step()
    for one, other in zip(ours, theirs, strict=True):
        assert (one - other).abs().max() < 0.01  # theirs iterates in bfloat16


# --- training that fits -----------------------------------------------------------------------------------------------


def weights(checkpoint: Checkpoint) -> dict[str, torch.Tensor]:
    return dict(load_file(Path(checkpoint.path) / "model.safetensors"))


def test_a_step_in_parts_is_the_step(tmp_path: Path) -> None:
    start, data = begin(tmp_path)
    told: dict[str, list[dict[str, float]]] = {"whole": [], "parts": []}
    made = {
        name: trainer(micro_tokens=most, optimizer="adamw").train(
            start, data, None, steps=4, seed=0, out=tmp_path / name,
            progress=lambda _, __, values, name=name: told[name].append(values),  # type: ignore[misc]
        )
        for name, most in (("whole", None), ("parts", 1))
    }  # fmt: skip
    assert told["parts"].count({}) == 4 * 4, "each part of a step is a sign of life"
    assert told["whole"][-1]["loss"] == pytest.approx(told["parts"][-1]["loss"], rel=1e-4)
    whole, parts = (weights(made[name]) for name in ("whole", "parts"))
    assert all(torch.allclose(whole[name], parts[name], atol=1e-3) for name in whole)


@settings(deadline=None, max_examples=50)
@given(lengths=st.lists(st.integers(1, 90), min_size=1, max_size=40), most=st.integers(1, 300))
def test_the_parts_of_a_batch_fit(lengths: list[int], most: int) -> None:
    parts = micro_batches(range(len(lengths)), lengths, most)
    assert sorted(index for part in parts for index in part) == list(range(len(lengths)))
    assert all(len(part) == 1 or len(part) * max(lengths[i] for i in part) <= most for part in parts)


@settings(deadline=None, max_examples=50)
@given(lengths=st.lists(st.integers(1, 90), min_size=1, max_size=40), size=st.integers(100, 500))
def test_batches_of_tokens_have_about_so_many(lengths: list[int], size: int) -> None:
    found = list(islice(batches(lengths, size=size, in_tokens=True, seed=0), 5 * WINDOW))
    tokens = [sum(lengths[index] for index in batch) for batch in found]
    assert all(size - max(lengths) < count < size + 2 * max(lengths) for count in tokens)


def test_epochs_count_what_is_trained_on(tmp_path: Path) -> None:
    start, data = begin(tmp_path)
    unlabelled = [ask("hi").model_copy(update={"label": None})] * 3
    assert trainer().steps_for(start, [*data, *unlabelled], 2) == 5  # 9 samples, 4 a step
    rows, _ = examples(TOKENIZER, data, 256)
    assert trainer(batch_tokens=100).steps_for(start, data, 2) == -(-2 * sum(row.length for row in rows) // 100)


def test_too_many_samples_left_out_end_the_run(tmp_path: Path) -> None:
    start, _ = begin(tmp_path)
    write_rows(tmp_path / "long.jsonl", [*pool(), ask("x " * 200, content="No.")])
    data, told = (
        Dataset(tmp_path / "long.jsonl"),
        r"1 of 10 samples.*\(1 too long\).*trainer.max_left_out=0.05 .*max_length",
    )
    with pytest.raises(UserError, match=told):
        trainer(max_left_out=0.05).train(start, data, None, steps=1, seed=0, out=tmp_path / "c1")
    stage = Train(trainer=trainer(max_left_out=0.1), start=start, data=data, steps=1, seed=0)
    said: list[tuple[str, int, int]] = []
    summary = run_stage(stage, Place(tmp_path / "train", report=lambda *words: said.append(words))).summary
    assert summary.left_out == {"too long": 1}
    assert ("train: 1 of 10 samples left out (too long)", 1, 1) in said
    assert summary.settings["learning_rate"] == 0.003
    assert [(score.name, score.value) for score in train_scores(summary, 10)][1:] == [
        ("train/left_out", 1),
        ("train/left_out/too long", 1),
    ]


def test_frozen_embeddings_stay(tmp_path: Path) -> None:
    start, data = begin(tmp_path)
    made = trainer(freeze_embeddings=True).train(start, data, None, steps=3, seed=0, out=tmp_path / "c1")
    before, after = weights(start), weights(made)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == set(before) - {"model.embed_tokens.weight"}


def test_activations_computed_again_give_the_same_loss(tmp_path: Path) -> None:
    start, data = begin(tmp_path)
    told: list[float] = []
    for again in (False, True):
        trainer(checkpointing=again).train(
            start, data, None, steps=4, seed=0, out=tmp_path / str(again),
            progress=lambda _, __, values: told.append(values["loss"]) if "loss" in values else None,
        )  # fmt: skip
    assert told[0] == pytest.approx(told[1], rel=1e-5)


@pytest.mark.parametrize(("kind", "values"), [("scratch", SCRATCH), ("other", PRETRAINED)])
def test_the_kind_of_checkpoint_chooses_what_is_left_open(kind: str, values: InForce, tmp_path: Path) -> None:
    start, _ = begin(tmp_path)
    if kind == "other":
        (Path(start.path) / RECORD_FILE).unlink()
        values = values.model_copy(update={"max_length": 512})  # its context
    opened = dict.fromkeys(InForce.model_fields)
    assert trainer(**opened).in_force(Path(start.path)) == values
    assert trainer(**opened | {"learning_rate": 0.5}).in_force(Path(start.path)).learning_rate == 0.5


@pytest.mark.parametrize("kind", ["gpt2", "gemma3"])
def test_the_longest_sample_is_the_context_whatever_name_it_has_and_wherever_it_stands(
    kind: str, tmp_path: Path
) -> None:
    start, data = begin(tmp_path)
    size = load_model(Path(start.path), torch.float32).config.vocab_size
    model: Any
    if kind == "gpt2":
        model = GPT2LMHeadModel(GPT2Config(vocab_size=size, n_embd=8, n_layer=1, n_head=1, n_positions=24))
    else:
        text = {"vocab_size": size + 8, "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "head_dim": 8,
                "num_attention_heads": 1, "num_key_value_heads": 1, "max_position_embeddings": 24}  # fmt: skip
        sight = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1,
                 "image_size": 28, "patch_size": 14}  # fmt: skip
        marks = {"boi_token_index": size + 1, "eoi_token_index": size + 2, "image_token_index": size + 3}
        model = Gemma3ForConditionalGeneration(Gemma3Config(text_config=text, vision_config=sight, **marks))
    folder = Path(start.path)
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder)
    (folder / RECORD_FILE).write_text('{"format": "hermes"}')
    with pytest.raises(UserError, match=r"9 too long"):
        trainer(max_length=None).train(checkpoint_at(folder), data, None, steps=1, seed=0, out=tmp_path / "c1")
    student = LocalStudent.at(str(folder), threads=1)
    assert student.context == 24
    assert student.predict([next(iter(data))], Decode(temperature=0.0, max_tokens=8))[0].error == "truncated"


def test_a_warm_up_may_be_a_share() -> None:
    assert [schedule(step, 100, 0.1, 0) for step in range(100)] == [schedule(step, 100, 10, 0) for step in range(100)]


# --- what can go wrong ------------------------------------------------------------------------------------------------


def test_too_little_memory_is_told_before_the_first_step(tmp_path: Path) -> None:
    start, data = begin(tmp_path)
    told: list[dict[str, float]] = []
    with pytest.raises(
        UserError, match=r"training needs about .*gradients.*trainer\.micro_tokens.*trainer\.max_memory"
    ):
        trainer(max_memory=1e-4).train(
            start, data, None, steps=1, seed=0, out=tmp_path / "c1", progress=lambda *words: told.append(words[2])
        )
    assert [sorted(values) for values in told] == [["free_gib", "memory_gib"]]


def test_a_training_gone_astray_ends_in_one_error_and_leaves_its_start_as_it_was(tmp_path: Path) -> None:
    start, data = begin(tmp_path)
    with pytest.raises(UserError, match=r"step [23] of 9: the loss is .* learning rate of .* Give a lower trainer"):
        trainer(optimizer="adamw", learning_rate=1e30, warmup=0).train(
            start, data, None, steps=9, seed=0, out=tmp_path / "c1"
        )
    assert checkpoint_at(Path(start.path)) == start


def test_merging_needs_what_it_takes_beyond_a_step() -> None:
    step = {"weights": 10, "gradients": 1, "optimizer": 2, "activations": 20}
    assert merging(step, 15) == 0
    assert merging(step, 40) == 10 + 2 + 40 - sum(step.values())


def test_memory_that_cannot_be_had_is_told_of() -> None:
    with pytest.raises(UserError, match=r"the memory does not suffice.*trainer\.micro_tokens"), memory_told():
        torch.empty(1 << 58)
    with pytest.raises(RuntimeError, match="another"), memory_told():
        raise RuntimeError("another")


def test_activations_are_estimated_from_short_texts(tmp_path: Path) -> None:
    start, _ = begin(tmp_path)
    model = load_model(Path(start.path), torch.float32).train()
    row = Example([5] * 199, [5])
    need = needs(model, "adamw", [[row]], checkpointing=False)
    assert need["gradients"] == need["weights"] == need["optimizer"] / 2
    assert need["activations"] == pytest.approx(PASSING * kept_bytes(model, 200), rel=0.1)
    assert needs(model, "adamw", [[row]], checkpointing=True)["activations"] < need["activations"]


def test_a_loss_that_is_no_number_ends_the_run(tmp_path: Path) -> None:
    start, data = begin(tmp_path)
    path = Path(start.path) / "model.safetensors"
    save_file({name: weight * math.nan for name, weight in weights(start).items()}, path, metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"step 1 of 5: the loss is nan .*trainer\.learning_rate"):
        trainer().train(start, data, None, steps=5, seed=0, out=tmp_path / "c1")
    assert not (tmp_path / "c1" / "model.safetensors").exists()


# --- adapters ---------------------------------------------------------------------------------------------------------

GREEDY = """
import sys
from pathlib import Path
from test_trainers_sft import greedy
from sloop.students.local import load_model
import torch
print(greedy(load_model(Path(sys.argv[1]), torch.float32)))
"""


def greedy(model: Any) -> list[list[int]]:
    """Answers of 20 tokens to some prompts."""
    prompts = torch.randint(3, 250, (4, 12), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        written: list[list[int]] = model.eval().generate(prompts, max_new_tokens=20, do_sample=False).tolist()
    return written


def test_adapters_are_merged_into_a_checkpoint_that_answers_the_same(tmp_path: Path) -> None:
    start, data = begin(tmp_path)
    tuned = attach(load_model(Path(start.path), torch.float32), LORA)
    plain = greedy(tuned)
    for name, weight in tuned.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.3, generator=torch.Generator().manual_seed(0))
    apart = greedy(tuned)
    assert apart != plain
    merged(tuned, Path(start.path), LORA).save_pretrained(tmp_path / "merged")
    run = [sys.executable, "-c", GREEDY, str(tmp_path / "merged")]
    fresh = subprocess.run(run, cwd=Path(__file__).parent, capture_output=True, text=True, check=True).stdout
    assert fresh.splitlines()[-1] == str(apart)
    made = trainer(lora=LORA, optimizer="adamw").train(start, data, None, steps=3, seed=0, out=tmp_path / "c1")
    before, after = weights(start), weights(made)
    assert before.keys() == after.keys()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed
    assert all(before[name].ndim == 2 and "embed" not in name for name in changed)


def test_layers_that_are_not_there_are_named(tmp_path: Path) -> None:
    start, _ = begin(tmp_path)
    model = load_model(Path(start.path), torch.float32)
    with pytest.raises(UserError, match=r"trainer\.lora\.targets=nowhere: .*all-linear"):
        attach(model, LORA.model_copy(update={"targets": "nowhere"}))


@pytest.mark.parametrize("targets", ["lm_head", ["embed_tokens"], ["q_proj", "lm_head"]])
def test_weights_that_serve_twice_get_no_adapters(targets: str | list[str], tmp_path: Path) -> None:
    start, _ = begin(tmp_path)  # its head is its embeddings
    settings = LORA.model_copy(update={"targets": targets})
    with pytest.raises(UserError, match="are the same weights"):
        attach(load_model(Path(start.path), torch.float32), settings)


def test_one_name_is_that_of_layers(tmp_path: Path) -> None:
    start, _ = begin(tmp_path)
    tuned = attach(load_model(Path(start.path), torch.float32), LORA.model_copy(update={"targets": "q_proj"}))
    learning = {name for name, weight in tuned.named_parameters() if weight.requires_grad}
    assert learning
    assert all("q_proj" in name for name in learning)


@pytest.mark.parametrize("targets", ["all-linear", "q_proj", ["q_proj", "v_proj"]])
def test_the_last_layers_alone_get_adapters(targets: str | list[str], tmp_path: Path) -> None:
    model = load_model(Path(begin(tmp_path)[0].path), torch.float32)
    last = model.config.num_hidden_layers - 1
    tuned = attach(model, LORA.model_copy(update={"targets": targets, "layers": 1}))
    trained = {name for name, weight in tuned.named_parameters() if weight.requires_grad}
    assert trained
    assert all(f".layers.{last}." in name for name in trained)


def test_more_layers_than_there_are_are_refused(tmp_path: Path) -> None:
    model = load_model(Path(begin(tmp_path)[0].path), torch.float32)
    with pytest.raises(UserError, match=r"trainer\.lora\.layers=99: the model has \d+ layers\. Give 1 to"):
        attach(model, LORA.model_copy(update={"layers": 99}))


def test_answers_are_watched_during_training_and_change_nothing(tmp_path: Path) -> None:
    start, data = begin(tmp_path)
    told: dict[int, dict[str, float]] = {}
    plain = trainer().train(start, data, None, steps=150, seed=0, out=tmp_path / "plain")
    seen = trainer(watched=6, watch_every=65).train(
        start,
        data,
        None,
        steps=150,
        seed=0,
        out=tmp_path / "seen",
        progress=lambda n, _, values: told.update({n: values}),
    )
    assert seen.digest == plain.digest
    names = {"tool_call/name_correct", "tool_call/args_exact_match"}
    assert [step for step, values in told.items() if names <= values.keys()] == [65, 130, 150]
    assert "loss" not in told[65]
    assert "loss" in told[130]
    assert 0 < told[150]["tool_call/name_correct"] <= 1


def test_adapters_beside_weights_in_4_bits_are_added_to_those_they_were_made_of(tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes", reason="needs bitsandbytes: pip install 'sloop[qlora]'")
    start, data = begin(tmp_path)
    settings = {"optimizer": "adamw", "lora": LORA.model_copy(update={"bits": 4})}
    made, again = (
        trainer(**settings).train(start, data, None, steps=3, seed=0, out=tmp_path / name) for name in ("c1", "c2")
    )
    assert made.digest == again.digest
    before, after = weights(start), weights(made)
    assert before.keys() == after.keys()
    added = {name: after[name] - before[name] for name in before if not torch.equal(after[name], before[name])}
    assert added
    assert all("embed" not in name and torch.linalg.matrix_rank(more, rtol=1e-4) <= 4 for name, more in added.items())
    whole = trainer(optimizer="adamw", lora=LORA).train(start, data, None, steps=3, seed=0, out=tmp_path / "c3")
    assert whole.digest != made.digest


def test_weights_in_4_bits_want_adapters(tmp_path: Path) -> None:
    start, data = begin(tmp_path)
    lora = LORA.model_copy(update={"rank": 0, "bits": 4})
    with pytest.raises(UserError, match=r"trainer\.lora\.bits=4: .*trainer\.lora\.rank=16"):
        trainer(lora=lora).train(start, data, None, steps=3, seed=0, out=tmp_path / "c1")


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux: glibc's allocator is told what to do")
def test_a_large_checkpoint_is_trained_in_blocks_that_go_when_they_are_freed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sloop.trainers.memory.LARGE", 1)
    (tmp_path / "model.safetensors").write_bytes(b"12")
    own = psutil.Process()

    def left(blocks: int) -> int:
        """Bytes that stay when every second of some blocks of 2 MiB is freed."""
        before = own.memory_info().rss
        made = [torch.ones(1 << 19) for _ in range(blocks)]
        del made[::2]
        gc.collect()
        return int(own.memory_info().rss) - before

    with blocks_apart(tmp_path):
        assert 90 << 20 < left(100) < 110 << 20
