"""What judges answers."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Protocol, runtime_checkable

from sloop.records import Label, Sample, Verdict


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
