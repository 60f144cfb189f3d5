"""What turns a checkpoint and a dataset into the next checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from pydantic import Field

from sloop.engine.build import SPEC
from sloop.engine.identity import SEEN
from sloop.records import Checkpoint, Record, Sample
from sloop.store import Dataset

Progress = Callable[[int, int, dict[str, float]], None]
"""Called now and then with (steps done, steps in all, {"loss": ..., "learning_rate": ...}); with an empty dict where it
is only told that the training lives."""

TRAINING_FILE = "sidecar/training.json"
"""Under a trained checkpoint: a `Training`."""


class Training(Record):
    """What a trainer says of a training beside its weights; one that writes no such file says nothing."""

    left_out: dict[str, int] = Field(default_factory=dict)
    """Samples that were not trained on, by reason."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """The values in force, where some are chosen by the checkpoint."""
    memory: dict[str, int] = Field(default_factory=dict)
    """Bytes that were estimated to be needed, by what they are for."""


@runtime_checkable
class Trainer(Protocol):
    """One round of training."""

    def train(
        self,
        start: Checkpoint,
        data: Dataset,
        predictions: Path | None,
        *,
        steps: int,
        seed: int,
        out: Path,
        progress: Progress | None = None,
    ) -> Checkpoint:
        """Train for exactly ``steps`` steps and write a checkpoint under ``out``.

        Interrupted and called again with the same arguments, it resumes to the same bytes.

        Args:
            start: where the weights start; the optimizer always starts afresh.
            data: the round's dataset, unique by id; a sample with ``copies`` c stands in it c times. No label in it
                calls a tool that is not on offer.
            predictions: the student's answers to ``data`` (JSON lines), for preference pairs.
            steps: optimizer steps.
            seed: of the order of the data and of everything drawn at random.
            out: folder of the new checkpoint; partial state lives under it until training ends.
            progress: told of every few steps.
        """
        ...


@runtime_checkable
class EpochTrainer(Trainer, Protocol):
    """A trainer that can tell how many steps a pass over data takes."""

    def steps_for(self, start: Checkpoint, data: Iterable[Sample], epochs: float) -> int:
        """Steps in which what can be trained on of ``data`` is seen ``epochs`` times; see `Trainer.train`."""
        ...


def settings_of(trainer: Any) -> dict[str, Any]:
    """The settings of a trainer on which its result depends, as plain data: a state of a training under others is none
    to go on from.
    """
    passed_over = {SPEC, SEEN, *trainer.NOT_RESULTS}
    return {
        name: value.model_dump() if isinstance(value, Record) else value
        for name, value in vars(trainer).items()
        if name not in passed_over
    }
