"""What is trained, probed and evaluated."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

from sloop.records import Checkpoint, Decode, Prediction, Sample
from sloop.store import Dataset


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
        """Answers to one batch, in input order; the caller fixes the batches.

        Greedy ones at temperature 0. Above it they are drawn, and which are drawn depends on the sample, on
        ``decode.seed`` and ``decode.trial`` alone.
        """
        ...

    def close(self) -> None:
        """Free memory and connections."""
        ...


@runtime_checkable
class RemoteStudent(Student, Protocol):
    """A student that waits for a network: many samples are on their way at once, each finished for itself."""

    @property
    def in_flight(self) -> int:
        """Samples that may be on their way at once, those included that wait for another try."""
        ...

    async def answer(self, sample: Sample, decode: Decode) -> Prediction:
        """The answer to one sample; see `Student.predict`.

        Raises:
            Exception: there is none, and another time there may be.
        """
        ...


@runtime_checkable
class Identified(Protocol):
    """A student that can say how it is asked and read where no setting says it."""

    def identity(self, checkpoint: Checkpoint) -> dict[str, str]:
        """Such as ``parser``, the format in which calls are read, and ``template``, the digest of its chat template."""
        ...


@runtime_checkable
class TemplatedStudent(Student, Protocol):
    """A student whose chat template may need to be given things otherwise than they are."""

    def template_notes(self, checkpoint: Checkpoint) -> list[str]:
        """What is put otherwise, and what it cannot take, a sentence each."""
        ...


@runtime_checkable
class SharingStudent(Student, Protocol):
    """A student that may read a beginning once which several prompts of a batch share."""

    @property
    def shares(self) -> bool:
        """Whether it does."""
        ...


@runtime_checkable
class AnsweredStudent(Student, Protocol):
    """A student of which there is one answer to a question and no more."""

    @property
    def answered(self) -> str:
        """Where the answers stand."""
        ...


@runtime_checkable
class NotedStudent(Student, Protocol):
    """A student of which a reader of its scores must know something."""

    def notes(self, data: Dataset) -> list[str]:
        """What that is for these questions, a sentence each."""
        ...
