"""The start and train stages: a checkpoint under its key."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from acme_tools import CountingTrainer, LookupStudent
from running import questions

from sloop.engine.stage import Made, Place, Report, run_stage
from sloop.records import Checkpoint, UserError
from sloop.stages.train import FOLDER, LOSS, NOT_OFFERED, Start, Train, TrainSummary, checkpoint_of
from sloop.store import Dataset, write_rows


@pytest.fixture
def data() -> Dataset:
    return Dataset(questions())


@pytest.fixture
def first(tmp_path: Path, data: Dataset) -> Checkpoint:
    stage = Start(student=LookupStudent(name="acme", skill=0.4), data=data, seed=0)
    return checkpoint_of(run_stage(stage, Place(tmp_path / "start")))


def trained(
    out: Path, first: Checkpoint, data: Dataset, report: Report | None = None, **changed: Any
) -> Made[TrainSummary]:
    words: dict[str, Any] = {"steps": 5, "seed": 1, "trainer": CountingTrainer(gain=0.1)}
    return run_stage(Train(start=first, data=data, **{**words, **changed}), Place(out, report=report))


def test_a_start_from_a_folder_makes_no_copy(tmp_path: Path, first: Checkpoint, data: Dataset) -> None:
    student = LookupStudent(name="acme", skill=0.4, path=first.path)
    stage = run_stage(Start(student=student, data=data, seed=0), Place(tmp_path / "again"))
    assert checkpoint_of(stage) == first
    assert not (stage.folder / FOLDER).exists()


def test_a_checkpoint_moves_with_its_run(tmp_path: Path, first: Checkpoint, data: Dataset) -> None:
    trained(tmp_path / "run" / "train", first, data)
    (tmp_path / "run").rename(tmp_path / "moved")
    checkpoint = checkpoint_of(trained(tmp_path / "moved" / "train", first, data))
    assert checkpoint.path == str(tmp_path / "moved" / "train" / FOLDER)
    assert Path(checkpoint.path, "config.json").is_file()


def test_the_manifest_says_steps_loss_and_files(tmp_path: Path, first: Checkpoint, data: Dataset) -> None:
    stage = trained(tmp_path / "train", first, data)
    assert stage.summary.steps == 5
    assert stage.summary.loss == 0.5
    assert set(stage.record.files) == {"checkpoint/config.json", "checkpoint/weights.json"}
    rows = [json.loads(line) for line in (stage.folder / "sidecar" / LOSS).read_text().splitlines()]
    assert rows == [{"step": 5, "loss": 0.5, "learning_rate": 0.0}]


def test_progress_is_reported(tmp_path: Path, first: Checkpoint, data: Dataset) -> None:
    told: list[tuple[str, int, int]] = []
    trained(tmp_path / "train", first, data, report=lambda *words: told.append(words))
    assert told == [("train", 5, 5)]


def test_same_arguments_same_bytes(tmp_path: Path, first: Checkpoint, data: Dataset) -> None:
    one, two = (trained(tmp_path / name, first, data) for name in ("one", "two"))
    assert one.record == two.record


@pytest.mark.parametrize("changed", [{"steps": 6}, {"seed": 2}, {"trainer": CountingTrainer(gain=0.2)}])
def test_other_arguments_are_another_stage(
    changed: dict[str, Any], tmp_path: Path, first: Checkpoint, data: Dataset
) -> None:
    trained(tmp_path / "train", first, data)
    with pytest.raises(UserError, match=f"differing: {next(iter(changed))}"):
        trained(tmp_path / "train", first, data, **changed)


def test_no_trainer_sees_a_label_that_calls_what_is_not_on_offer(
    tmp_path: Path, first: Checkpoint, data: Dataset
) -> None:
    called = [sample for sample in data if sample.label and sample.label.calls][:20]
    bare = called[0].model_copy(update={"tools": ()})
    write_rows(tmp_path / "mixed.jsonl", [bare, *called[1:]])
    write_rows(tmp_path / "sound.jsonl", called[1:])
    seen: list[Dataset] = []

    class Watching(CountingTrainer):
        def train(self, start: Checkpoint, data: Dataset, *rest: Any, **named: Any) -> Checkpoint:
            seen.append(data)
            return super().train(start, data, *rest, **named)

    mixed = Dataset(tmp_path / "mixed.jsonl")
    stage = trained(tmp_path / "train", first, mixed, trainer=Watching(gain=0.1))
    assert seen[0].sha256 == Dataset(tmp_path / "sound.jsonl").sha256
    assert stage.summary.left_out == {NOT_OFFERED: 1}
    write_rows(tmp_path / "bad.jsonl", [bare])
    with pytest.raises(UserError, match=r"bad\.jsonl: every label calls a tool that its sample does not offer"):
        trained(tmp_path / "other", first, Dataset(tmp_path / "bad.jsonl"))


def test_nothing_to_do_is_refused(tmp_path: Path, first: Checkpoint) -> None:
    (tmp_path / "empty.jsonl").touch()
    with pytest.raises(UserError, match="holds no samples"):
        trained(tmp_path / "train", first, Dataset(tmp_path / "empty.jsonl"))
    assert not (tmp_path / "train").exists()


def test_answers_for_preference_pairs_are_part_of_the_key(tmp_path: Path, first: Checkpoint, data: Dataset) -> None:
    trained(tmp_path / "train", first, data, predictions=None)
    answers = tmp_path / "predictions.jsonl"
    answers.write_text("")
    with pytest.raises(UserError, match="differing: predictions"):
        trained(tmp_path / "train", first, data, predictions=answers)
