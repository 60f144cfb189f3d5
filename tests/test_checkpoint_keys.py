"""A stage is known by what it reads of a checkpoint: an edit there makes it stale, and nothing else in the folder."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from checkpoints import SETTINGS, trained
from models import pool
from safetensors.torch import load_file, save_file

from sloop.benchmarks.base import SampleBenchmark
from sloop.engine.identity import describe
from sloop.engine.stage import Place, run_stage
from sloop.records import Checkpoint, Decode, UserError, digest
from sloop.stages.evaluate import Evaluate
from sloop.stages.train import Start, checkpoint_of
from sloop.store import Dataset, write_rows


def _spec(folder: Path) -> dict[str, Any]:
    return {"_target_": "sloop.students.local.LocalStudent", **SETTINGS, "path": str(folder)}


def _json(**changes: Any) -> Callable[[Path], object]:
    def edit(path: Path) -> None:
        path.write_text(json.dumps({**(json.loads(path.read_text()) if path.exists() else {}), **changes}))

    return edit


def _weights(path: Path) -> None:
    weights = load_file(path)
    save_file({name: tensor * 1.5 for name, tensor in weights.items()}, path, {"format": "pt"})


def _text(path: Path) -> None:
    path.write_text((path.read_text() if path.exists() else "") + " ")


EDITS: dict[str, Callable[[Path], object]] = {
    "model.safetensors": _weights,
    "config.json": _json(rms_norm_eps=1e-3),
    "generation_config.json": _json(eos_token_id=[2, 3]),
    "tokenizer.json": _text,
    "tokenizer_config.json": _json(model_max_length=400),
    "special_tokens_map.json": _json(eos_token="<|im_end|>"),
    "chat_template.jinja": _text,
    "sloop.json": _json(note="mine"),
}
UNREAD = ("README.md", "optimizer.pt", ".gitattributes", "LICENSE")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained().path, tmp_path / "checkpoint"))


def _started(folder: Path, place: Path) -> Checkpoint:
    write_rows(place / "pool.jsonl", pool())
    start = Start(student=_spec(folder), data=Dataset(place / "pool.jsonl"), seed=0)
    return checkpoint_of(run_stage(start, Place(folder=place / _name(folder))))


def _name(folder: Path) -> str:
    return digest(describe(_spec(folder)))[:16]


@pytest.mark.parametrize("name", EDITS)
def test_whoever_edits_a_file_that_is_read_has_another_checkpoint(name: str, folder: Path, tmp_path: Path) -> None:
    described, before = describe(_spec(folder)), _started(folder, tmp_path)
    EDITS[name](folder / name)
    assert describe(_spec(folder)) != described
    assert _started(folder, tmp_path).digest != before.digest


@pytest.mark.parametrize("name", UNREAD)
def test_what_is_not_read_of_a_folder_changes_nothing(name: str, folder: Path, tmp_path: Path) -> None:
    described, before = describe(_spec(folder)), _started(folder, tmp_path)
    (folder / name).write_text("new")
    assert describe(_spec(folder)) == described
    assert _started(folder, tmp_path) == before


def test_the_weights_that_a_stage_made_are_known_as_they_are_now(tmp_path: Path) -> None:
    """The start stage is finished, and its folder was edited since."""
    write_rows(tmp_path / "pool.jsonl", pool())
    spec = {**_spec(tmp_path), "path": None, "scratch": _scratch()}
    start = Start(student=spec, data=Dataset(tmp_path / "pool.jsonl"), seed=0)
    before = checkpoint_of(run_stage(start, Place(folder=tmp_path / "start")))
    _weights(Path(before.path) / "model.safetensors")
    after = checkpoint_of(run_stage(start, Place(folder=tmp_path / "start")))
    assert (after.path, after.digest != before.digest) == (before.path, True)


def _scratch() -> dict[str, Any]:
    return {
        "_target_": "sloop.students.tiny.TinySpec", "architecture": "lfm2", "hidden_size": 32, "intermediate_size": 64,
        "layers": ["conv"], "num_heads": 2, "listing": "names", "vocab_size": 600, "min_frequency": 6, "context": 512,
    }  # fmt: skip


def test_an_evaluation_of_an_edited_checkpoint_is_stale(folder: Path, tmp_path: Path) -> None:
    write_rows(tmp_path / "bench.jsonl", pool())
    given = shutil.copytree(folder, tmp_path / "given")  # whose path is another part of the key
    benchmark = SampleBenchmark(name="bench", path=str(tmp_path / "bench.jsonl"))

    def evaluated() -> Any:
        stage = Evaluate(
            student=_spec(given), checkpoint=_started(folder, tmp_path), decode=Decode(max_tokens=4), batch_size=9,
            benchmark=benchmark, data=benchmark.data,
        )  # fmt: skip
        return run_stage(stage, Place(folder=tmp_path / "eval"))

    first = evaluated()
    stamp = (first.folder / "predictions.jsonl").stat().st_mtime_ns
    (folder / "README.md").write_text("new")
    assert (evaluated().folder / "predictions.jsonl").stat().st_mtime_ns == stamp
    _weights(folder / "model.safetensors")
    with pytest.raises(UserError, match="differing: checkpoint"):
        evaluated()
