"""Which tools the requests are about."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random
from typing import Annotated, Protocol, runtime_checkable

from sloop.records import Tool
from sloop.records.ranges import Within


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

    def __init__(self, *, decay: Annotated[float, Within(0.001, 1, "a factor")]) -> None:
        """``decay``: factor on a tool's weight for each visit; 1 is `RandomSampler`."""
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
