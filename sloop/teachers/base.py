"""What writes data and what judges it."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Protocol, runtime_checkable

from sloop.types import Dialogue, Label, Order, Rejected, Sample, Verdict


@runtime_checkable
class Teacher(Protocol):
    """Writes dialogues. Generation and expansion alike: to expand is an order with seed, mistake and axis."""

    async def write(self, order: Order, rng: Random) -> Dialogue | Rejected:
        """Write one dialogue. The generator is the order's own, so that the order of work changes nothing."""
        ...


@runtime_checkable
class Judge(Protocol):
    """Says which answers are right, without knowing which of them is the label."""

    async def judge(self, sample: Sample, answers: Sequence[Label | None], rng: Random) -> list[Verdict]:
        """One verdict per answer, in order. One answer is acceptance, two are a comparison.

        Args:
            sample: the question alone (`Sample.blind`).
            answers: the decisions to judge; None stands for an output that could not be parsed.
            rng: decides positions and tie-breaks, where a judge needs any.
        """
        ...


@runtime_checkable
class Remote(Protocol):
    """A teacher or judge that waits for a network: many units of work are on their way at once."""

    @property
    def in_flight(self) -> int:
        """Units worth having on their way at a time, those included that wait for another try."""
        ...

    def close(self) -> None:
        """Close connections."""
        ...


def units_in_flight(workers: int, *parts: object) -> int:
    """How many units a stage with these parts has on their way: ``workers``, or what a remote part asks for."""
    return max([workers, *(part.in_flight for part in parts if isinstance(part, Remote))])
