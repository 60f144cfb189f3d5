"""What is trained, probed and evaluated."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

from sloop.store import Dataset
from sloop.types import Checkpoint, Decode, Prediction, Sample


@runtime_checkable
class Student(Protocol):
    """Answers samples, from the weights that were last loaded."""

    def start(self, data: Dataset, *, seed: int, out: Path) -> Checkpoint:
        """Checkpoint 0: made from scratch under ``out`` (``data`` is the seed pool), or a given folder."""
        ...

    def load(self, checkpoint: Checkpoint) -> None:
        """Answer from these weights from now on."""
        ...

    def predict(self, samples: Sequence[Sample], decode: Decode) -> list[Prediction]:
        """Greedy answers to one batch, in input order; the caller fixes the batches."""
        ...

    def close(self) -> None:
        """Free memory and connections."""
        ...
