"""Spending where units run on other machines: counted there on top of what the run has spent, and handed back.

A limit of `Spending` holds for the whole run, and each worker knows what was spent when it was sent its last work: it
may be passed by what the other workers have on their way. What an endpoint may be sent a minute, and at a time, is
shared out.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sloop.models.preflight import Checkable
from sloop.models.throttle import Limits
from sloop.models.usage import Meter, Price, Spending, Spent, add


class Branch(Meter):
    """A worker's meter (`sloop.engine.cluster.Branch`): its lines wait until they are handed over."""

    def __init__(self, limits: Spending, prices: Mapping[str, Price], workers: int) -> None:
        """Take the run's limits and prices, and with how many it shares its endpoints."""
        super().__init__(None, limits, prices)
        self._workers = workers

    def built(self, component: Any) -> None:
        """Count what a component asks, and give it its part of what its endpoint may be sent."""
        if isinstance(component, Checkable):
            component.meter = self
        if isinstance(limits := getattr(component, "limits", None), Limits):
            component.limits = limits.part(self._workers)

    def stand(self, standing: tuple[int, Sequence[Spent]]) -> None:
        """Take the round, and what the run has spent, beside what waits here."""
        with self._lock:
            self.round, rows = standing
            self._totals = {}
            for row in (*rows, *self._hits.values(), *map(Spent.of, self._waiting)):
                add(self._totals, row)

    def drained(self) -> list[dict[str, Any]]:
        """The lines that wait."""
        with self._lock:
            return self._taken()

    def _write(self) -> None:
        """They wait."""


@dataclass(frozen=True)
class Books:
    """A run's meter, as the executor on a cluster sees it (`sloop.engine.cluster.Books`)."""

    meter: Meter

    def branch(self, workers: int) -> Callable[[], Branch]:
        """What makes the meter of one of so many workers; it can be sent."""
        return functools.partial(Branch, self.meter.limits, dict(self.meter.prices), workers)

    def standing(self) -> tuple[int, Sequence[Spent]]:
        """The round, and what was spent."""
        return self.meter.round, self.meter.spent

    def enter(self, drained: Sequence[dict[str, Any]]) -> None:
        """Add a worker's lines to the run's."""
        self.meter.enter(drained)
