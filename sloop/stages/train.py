"""The start and train stages: checkpoint 0, and a checkpoint trained on from another."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from sloop.engine.build import describe
from sloop.engine.folder import Stage, stage_key
from sloop.records import Checkpoint, UserError
from sloop.store import Dataset, file_digest
from sloop.students.base import Student
from sloop.trainers.base import Trainer

FOLDER = "checkpoint"
LOSS = "loss.jsonl"


def checkpoint_of(stage: Stage) -> Checkpoint:
    """The checkpoint that a finished start or train stage made, or was given."""
    checkpoint = Checkpoint.model_validate(stage.summary["checkpoint"])
    if checkpoint.path == FOLDER:
        return checkpoint.model_copy(update={"path": str(stage.folder / FOLDER)})
    return checkpoint


def start(*, student: Student, data: Dataset, seed: int, out: Path, experiment: Path | None = None) -> Stage:
    """Checkpoint 0: made from scratch in ``out``, or the folder or hub id that the student's settings name."""
    key = stage_key("start", student=describe(student), data=data.sha256, seed=seed)
    with Stage(out, key, experiment) as stage:
        if not stage.done:
            checkpoint = student.start(data, seed=seed, out=out / FOLDER)
            stage.finish({"checkpoint": _relative(checkpoint, out)}, also=_made(checkpoint, out))
    return stage


def train(
    *,
    trainer: Trainer,
    start: Checkpoint,
    data: Dataset,
    predictions: Path | None,
    steps: int,
    seed: int,
    out: Path,
    experiment: Path | None = None,
    report: Callable[[int, int], None] | None = None,
) -> Stage:
    """Train for exactly ``steps`` optimizer steps.

    Args:
        trainer: how.
        start: where the weights start.
        data: what on.
        predictions: the student's answers to ``data``, for preference pairs.
        steps: optimizer steps.
        seed: of the order of the data.
        out: the stage's folder; the new checkpoint is ``out/checkpoint``, the loss ``out/sidecar/loss.jsonl``.
        experiment: where a finished stage with the same key is looked for.
        report: told (steps done, steps in all).

    Returns:
        The finished stage.
    """
    if steps < 1:
        raise UserError(f"steps={steps}: give a whole number of optimizer steps from 1.")
    if "://" in start.path:
        raise UserError(
            f"{start.path}: an endpoint can be probed and evaluated, not trained. Give a student with weights, such as "
            "student=tiny, or student=checkpoint student.path=FOLDER."
        )
    if not len(data):
        raise UserError(f"{data.path} holds no samples: there is nothing to train on.")
    key = stage_key(
        "train",
        trainer=describe(trainer),
        start=start.digest,
        data=data.sha256,
        predictions=file_digest(predictions) if predictions else None,
        steps=steps,
        seed=seed,
    )
    with Stage(out, key, experiment) as stage:
        if stage.done:
            return stage
        last: dict[str, float] = {}

        def progress(done: int, total: int, values: dict[str, float]) -> None:
            last.update(values)
            with open(stage.sidecar / LOSS, "a", encoding="utf-8") as file:
                file.write(json.dumps({"step": done, **values}) + "\n")
            if report:
                report(done, total)

        made = trainer.train(start, data, predictions, steps=steps, seed=seed, out=out / FOLDER, progress=progress)
        summary = {"checkpoint": _relative(made, out), "steps": steps, "loss": last.get("loss")}
        stage.finish(summary, also=_made(made, out))
    return stage


def _relative(checkpoint: Checkpoint, out: Path) -> dict[str, str]:
    path = FOLDER if _made(checkpoint, out) else checkpoint.path
    return {"path": path, "digest": checkpoint.digest}


def _made(checkpoint: Checkpoint, out: Path) -> list[str]:
    """What the stage has to answer for: the checkpoint's folder, if it is the stage's own."""
    return [FOLDER] if Path(checkpoint.path) == out / FOLDER else []
