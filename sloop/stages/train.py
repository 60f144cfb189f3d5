"""The start and train stages: checkpoint 0, and a checkpoint trained on from another."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from sloop.engine.stage import Desk, Made
from sloop.records import Checkpoint, Record, Sample, Score, UserError
from sloop.store import Dataset, checkpoint_at, is_file, read_json, write_rows
from sloop.students.base import Student, TemplatedStudent
from sloop.trainers.base import TRAINING_FILE, Trainer, Training

FOLDER = "checkpoint"
LOSS = "loss.jsonl"
OFFERED = "offered.jsonl"
NOT_OFFERED = "label not on offer"
"""Nobody should learn to call a tool that is not there."""
MODULES = ("sloop.records.samples", "sloop.records.base", "sloop.stages.train")


class StartSummary(Record):
    """What a start stage made."""

    checkpoint: Checkpoint
    """Its path is `FOLDER` where the weights are the stage's own."""
    notes: tuple[str, ...] = Field((), exclude_if=lambda notes: not notes)
    """Of its chat template."""


class TrainSummary(Record):
    """What a train stage made."""

    checkpoint: Checkpoint
    steps: int
    loss: float | None
    """Mean over the last steps, in nats a token; None where the trainer tells none."""
    left_out: dict[str, int] = Field(default_factory=dict)
    """Samples that were not trained on, by reason; `NOT_OFFERED` are kept from every trainer."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """Of the trainer, the values in force, where some are chosen by the checkpoint."""


def train_scores(summary: TrainSummary, samples: int) -> list[Score]:
    """The numbers of a training on so many samples."""
    counts = {"": sum(summary.left_out.values()), **{f"/{reason}": n for reason, n in summary.left_out.items()}}
    return [
        Score(name="train/loss", value=summary.loss, n=1),
        *(Score(name=f"train/left_out{reason}", value=count, n=samples) for reason, count in counts.items()),
    ]


def checkpoint_of(made: Made[StartSummary] | Made[TrainSummary]) -> Checkpoint:
    """The checkpoint that a finished start or train stage made, or was given, as it is now: whoever edits its folder
    has another one, and what read the one before is stale.
    """
    checkpoint = made.summary.checkpoint
    folder = made.folder / FOLDER if checkpoint.path == FOLDER else Path(checkpoint.path)
    return checkpoint_at(folder) if (folder / "config.json").is_file() else checkpoint


@dataclass(frozen=True, kw_only=True)
class Start:
    """Checkpoint 0: made from scratch, or the folder or hub id that the student's settings name."""

    name: ClassVar[str] = "start"
    MODULES: ClassVar[tuple[str, ...]] = MODULES
    summary_type: ClassVar[type[StartSummary]] = StartSummary

    student: Any
    data: Dataset
    """That it is made for."""
    seed: int

    def make(self, desk: Desk) -> StartSummary:
        """Write the checkpoint, or note the given one."""
        student = desk.part(self.student, Student, "student")
        made = student.start(self.data, seed=self.seed, out=desk.folder / FOLDER)
        notes = student.template_notes(made) if isinstance(student, TemplatedStudent) else []
        return StartSummary(checkpoint=_kept(made, desk), notes=tuple(notes))


@dataclass(frozen=True, kw_only=True)
class Train:
    """Exactly ``steps`` optimizer steps on from a checkpoint; the loss curve stands in ``sidecar/loss.jsonl``."""

    name: ClassVar[str] = "train"
    MODULES: ClassVar[tuple[str, ...]] = MODULES
    summary_type: ClassVar[type[TrainSummary]] = TrainSummary

    trainer: Any
    start: Checkpoint
    data: Dataset
    predictions: Path | None = None
    """The student's answers to ``data``, for preference pairs."""
    steps: int
    seed: int
    """Of the order of the data."""

    def __post_init__(self) -> None:
        """Raise a `UserError` for what cannot be trained."""
        if "://" in self.start.path:
            raise UserError(
                f"{self.start.path}: an endpoint can be probed and evaluated, not trained. Give a student with "
                "weights, such as student=tiny, or student=checkpoint student.path=FOLDER."
            )
        if not len(self.data):
            raise UserError(f"{self.data.path} holds no samples: there is nothing to train on.")

    def make(self, desk: Desk) -> TrainSummary:
        """Train."""
        trainer = desk.part(self.trainer, Trainer, "trainer")
        data, kept_away = _offered(self.data, desk.sidecar / OFFERED)
        last: dict[str, float] = {}

        def progress(done: int, total: int, values: dict[str, float]) -> None:
            if "memory_gib" in values:
                desk.tell("train: {memory_gib:.1f} GiB of memory needed, {free_gib:.1f} free".format(**values), 1, 1)
            elif values:
                last.update(values)
                with open(desk.sidecar / LOSS, "a", encoding="utf-8") as file:
                    file.write(json.dumps({"step": done, **values}) + "\n")
            desk.tell("train", done, total)

        made = trainer.train(
            self.start,
            data,
            self.predictions,
            steps=self.steps,
            seed=self.seed,
            out=desk.folder / FOLDER,
            progress=progress,
        )
        told = desk.folder / FOLDER / TRAINING_FILE
        training = Training.model_validate(read_json(told)) if is_file(told) else Training()
        left_out = ({NOT_OFFERED: kept_away} if kept_away else {}) | training.left_out
        for reason, count in left_out.items():
            desk.tell(f"train: {count} of {len(self.data)} samples left out ({reason})", self.steps, self.steps)
        return TrainSummary(
            checkpoint=_kept(made, desk),
            steps=self.steps,
            loss=last.get("loss"),
            left_out=left_out,
            settings=training.settings,
        )


def _offered(data: Dataset, path: Path) -> tuple[Dataset, int]:
    """What a trainer may see, written to a file where that is less than all; and how much less.

    Raises:
        UserError: nothing is left.
    """
    count = sum(map(is_strange, data))
    if not count:
        return data, 0
    if not write_rows(path, (sample for sample in data if not is_strange(sample))):
        raise UserError(f"{data.path}: every label calls a tool that its sample does not offer. Give others.")
    return Dataset(path), count


def is_strange(sample: Sample) -> bool:
    """Whether a label calls a tool that is not on offer."""
    called = {call.name for call in sample.label.calls} if sample.label else set()
    return not called <= {tool.name for tool in sample.tools}


def _kept(checkpoint: Checkpoint, desk: Desk) -> Checkpoint:
    """The checkpoint as the record names it; the stage answers for a folder that is its own."""
    if Path(checkpoint.path) != desk.folder / FOLDER:
        return checkpoint
    desk.add(FOLDER)
    return checkpoint.model_copy(update={"path": FOLDER})
