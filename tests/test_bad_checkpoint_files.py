"""Checkpoints with a file that is damaged, foreign or missing: a sentence, before anything is asked."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from checkpoints import SETTINGS, trained
from damage import kinds
from models import ask, trainer
from safetensors.torch import load_file, save_file

from sloop.records import Checkpoint, UserError
from sloop.store import Dataset, checkpoint_at, write_rows
from sloop.students.local import LocalStudent

JSONS = ("config.json", "generation_config.json", "sloop.json", "tokenizer_config.json")
OTHERS = ("model.safetensors", "tokenizer.json")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained().path, tmp_path / "checkpoint"))


def load(folder: Path) -> None:
    student = LocalStudent(**SETTINGS)
    try:
        student.load(checkpoint_at(folder))
    finally:
        student.close()


def test_the_sound_one_is_loaded(folder: Path) -> None:
    load(folder)


@pytest.mark.parametrize(("name", "kind"), [(name, kind) for name in JSONS for kind in kinds(name)])
def test_a_damaged_file_of_settings_is_named(name: str, kind: str, folder: Path) -> None:
    damage, words = kinds(name)[kind]
    sound = (folder / name).read_bytes()
    (folder / name).unlink()
    damage(folder / name, sound)
    with pytest.raises(UserError, match=words) as caught:
        load(folder)
    assert name in str(caught.value)


@pytest.mark.parametrize("content", ["", "[1]", '"x"', "null", "{"])
@pytest.mark.parametrize("name", [*JSONS, *OTHERS])
def test_json_of_another_kind_is_refused(name: str, content: str, folder: Path) -> None:
    (folder / name).write_text(content)
    with pytest.raises(
        UserError, match=rf"{name}.*(empty|broken JSON|no JSON object|header)|tokenizer cannot be loaded"
    ):
        load(folder)


@pytest.mark.parametrize("name", OTHERS)
def test_a_file_that_is_cut_short_or_missing_is_refused(name: str, folder: Path) -> None:
    whole = (folder / name).read_bytes()
    (folder / name).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"does not fit the file|cannot be loaded"):
        load(folder)
    (folder / name).unlink()
    with pytest.raises(UserError, match=r"no weights at|cannot be loaded"):
        load(folder)


def test_weights_that_lack_some_are_not_filled_up_at_random(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    name = next(name for name in sorted(weights) if "embed" not in name)
    del weights[name]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match=rf"1 of the model's weights, such as {name}"):
        load(folder)


@pytest.mark.parametrize("format", [5, ["hermes"], {"a": 1}])
def test_a_format_that_is_no_name_is_refused(format: object, folder: Path) -> None:
    (folder / "sloop.json").write_text(json.dumps({"format": format}))
    with pytest.raises(UserError, match="names no answer format"):
        load(folder)


@pytest.mark.parametrize("name", ["config.json", *OTHERS])
def test_training_from_a_damaged_one_is_refused(name: str, folder: Path, tmp_path: Path) -> None:
    (folder / name).write_text("[1]")
    write_rows(tmp_path / "data.jsonl", [ask("hello", content="hi")])
    start = Checkpoint(path=str(folder), digest="0" * 64)
    with pytest.raises(UserError, match=r"checkpoint"):
        trainer().train(start, Dataset(tmp_path / "data.jsonl"), None, steps=1, seed=0, out=tmp_path / "out")
    assert not (tmp_path / "out" / "model.safetensors").exists()
