"""Several processes that train one model, beside one that trains it alone: two of them on this processor (gloo)."""

from __future__ import annotations

import functools
import os
import signal
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from models import pool, spec, trainer
from running import scratch
from safetensors.torch import load_file

from sloop.records import Checkpoint, Prediction, UserError
from sloop.store import Dataset, read_json, write_rows
from sloop.students.local import load_model
from sloop.trainers.base import TRAINING_FILE
from sloop.trainers.ranks import Distributed

DDP, FSDP = (Distributed(kind=kind, processes=2) for kind in ("ddp", "fsdp"))
CLOSE = {"rtol": 1e-3, "atol": 2e-5}
"""Sums in another order differ in their last bits, which an optimizer that divides by them makes more of."""


@functools.cache
def start() -> tuple[Checkpoint, Dataset]:
    folder = scratch() / "ranks"
    write_rows(folder / "pool.jsonl", pool())
    data = Dataset(folder / "pool.jsonl")
    return spec().make(data, seed=0, out=folder / "c0"), data


def weights(made: Checkpoint) -> dict[str, torch.Tensor]:
    return dict(load_file(Path(made.path) / "model.safetensors"))


def told(into: list[tuple[int, dict[str, float]]]) -> Any:
    return lambda done, _, values: into.append((done, values)) if values else None


def test_two_processes_train_as_one_does_on_the_same_steps(tmp_path: Path) -> None:
    """Batches of 5 leave the ranks uneven, and the last row of each pair of steps to one of them."""
    settings = {"batch_size": 5, "optimizer": "adamw", "micro_tokens": 100, "clip": 0.5}
    alone, both = list[Any](), list[Any]()
    one = trainer(**settings).train(*start(), None, steps=6, seed=1, out=tmp_path / "one", progress=told(alone))
    two = trainer(**settings, distributed=DDP).train(
        *start(), None, steps=6, seed=1, out=tmp_path / "two", progress=told(both)
    )
    assert [done for done, _ in both] == [done for done, _ in alone] == [0, 6]
    assert both[-1][1] == pytest.approx(alone[-1][1], rel=1e-5)
    before, expected, found = weights(start()[0]), weights(one), weights(two)
    assert found.keys() == expected.keys()
    for name, weight in expected.items():
        torch.testing.assert_close(found[name], weight, **CLOSE)
        assert not torch.equal(weight, before[name])
    load_model(Path(two.path), torch.float32)
    assert (
        read_json(tmp_path / "two" / TRAINING_FILE)["settings"]
        == read_json(tmp_path / "one" / TRAINING_FILE)["settings"]
    )
    assert [path.name for path in (tmp_path / "two" / "sidecar").iterdir()] == ["training.json"]


def kill_a_rank() -> None:
    """With the signal that a process gets when memory runs out."""
    below = [child for child in psutil.Process().children(recursive=True) if "sloop.trainers.ranks" in child.cmdline()]
    os.kill([child for child in below if len(child.cmdline()) == 4][-1].pid, signal.SIGKILL)


@pytest.mark.slow
def test_a_process_that_is_killed_is_one_error_and_the_training_goes_on(tmp_path: Path) -> None:
    """A minute; the rank, its number and the signal are named, and the weights are those of a training left alone."""
    made = trainer(optimizer="adamw", micro_tokens=100, save_every=2, distributed=DDP)
    whole = made.train(*start(), None, steps=60, seed=1, out=tmp_path / "whole")

    def kill(done: int, steps: int, values: dict[str, float]) -> None:
        if done == 5:
            kill_a_rank()

    with pytest.raises(UserError, match=r"process [12] of 2 of the training was ended by SIGKILL.*same command again"):
        made.train(*start(), None, steps=60, seed=1, out=tmp_path / "killed", progress=kill)
    assert not (tmp_path / "killed" / "model.safetensors").exists()
    done: list[int] = []
    again = made.train(
        *start(),
        None,
        steps=60,
        seed=1,
        out=tmp_path / "killed",
        progress=lambda at, *_: done.append(at) if at else None,
    )
    assert 4 <= min(done) < 20
    assert again.digest == whole.digest


METHODS = ("dpo", "kto", "grpo", "rloo", "distill")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "kind"),
    [(name, kind) for kind in (DDP, FSDP) for name in METHODS],
    ids=lambda v: getattr(v, "kind", v),
)
def test_a_method_over_trl_trains_in_two_processes(name: str, kind: Distributed, tmp_path: Path) -> None:
    """Half a minute each; where no answer is drawn the first losses are those of one process."""
    methods = pytest.importorskip("test_trainers_trl", reason="needs TRL: pip install 'sloop[trl]'")
    given = (
        {"sft_weight": 0.0}
        if name == "dpo"
        else {"teacher": str(scratch() / "half-taught" / "c0")}
        if name == "distill"
        else {}
    )
    alone, both = list[Any](), list[Any]()
    wrong = [Prediction(sample_id=sample.id, text="nonsense") for sample in methods.half_taught()[1]]
    write_rows(tmp_path / "p.jsonl", wrong)  # as many pairs as fill both steps: the last of a pass is filled up
    given |= {"predictions": tmp_path / "p.jsonl"}
    made = methods.train(
        name, tmp_path / "two", told(both), steps=2, watch_every=1, distributed=kind.model_dump(), **given
    )
    before = weights(methods.half_taught()[0])
    found = weights(made)
    assert {key: value.shape for key, value in found.items()} == {key: value.shape for key, value in before.items()}
    assert any(not torch.equal(value, before[key]) for key, value in found.items())
    load_model(Path(made.path), torch.float32)
    assert [done for done, _ in both if done] == [1, 2]
    assert "tool_call/args_exact_match" in both[-1][1]
    said = read_json(Path(made.path) / TRAINING_FILE)
    assert said["settings"]["learning_rate"] == 1e-3
    if name == "dpo":
        methods.train(name, tmp_path / "one", told(alone), steps=2, watch_every=1, **given)
        for key in ("loss", "grad_norm"):
            seen = [[values[key] for done, values in words if done] for words in (alone, both)]
            assert seen[1] == pytest.approx(seen[0], rel=1e-3)


def test_what_cannot_be_spread_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"distributed=fsdp: trainer=sft .*distributed=ddp"):
        trainer(distributed=FSDP)
    with pytest.raises(UserError, match=r"trainer\.device=cpu:0: every process .* Give cpu\."):
        trainer(device="cpu:0", distributed=DDP).train(*start(), None, steps=1, seed=0, out=tmp_path / "c")
