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
