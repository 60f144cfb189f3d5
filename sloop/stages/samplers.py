"""Which tools the requests are about."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random
from typing import Protocol, runtime_checkable

from sloop.records import Tool, UserError


@runtime_checkable
class Sampler(Protocol):
    """Chooses which tools the requests are about."""

    def wanted(self, tools: Sequence[Tool], rng: Random) -> Iterator[Tool]:
        """Endless stream of tools."""
        ...


class RandomSampler:
    """Every tool is as likely as every other."""

    def wanted(self, tools: Sequence[Tool], rng: Random) -> Iterator[Tool]:
        """Endless stream of tools, independent and uniform."""
        while True:
            yield rng.choice(tools)


class CoverageSampler:
    """A tool's weight decays with every visit, so that rare tools are not left out."""

    def __init__(self, *, decay: float) -> None:
        """``decay`` in (0, 1]: factor on a tool's weight for each visit; 1 is `RandomSampler`."""
        if not 0 < decay <= 1:
            raise UserError(f"sampler.decay={decay}: give a factor above 0 and at most 1, such as 0.5.")
        self.decay = decay

    def wanted(self, tools: Sequence[Tool], rng: Random) -> Iterator[Tool]:
        """Endless stream of tools."""
        weights = [1.0] * len(tools)
        while True:
            index = rng.choices(range(len(tools)), weights)[0]
            weights[index] *= self.decay
            if max(weights) < 1e-6:  # only ratios count; keep them away from zero
                weights = [weight * 1e6 for weight in weights]
            yield tools[index]
