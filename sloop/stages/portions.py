"""The portions stage: the pool cut into round 1's set and the unseen part of each later round."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from typing import ClassVar

from sloop.engine.stage import Desk
from sloop.records import Record
from sloop.store import Dataset


class PortionsSummary(Record):
    """What was cut."""

    sizes: dict[str, int]
    """Samples by file."""
    shortfall: dict[str, int]
    """Samples that each file lacks: a teacher may have written fewer than asked."""


@dataclass(frozen=True, kw_only=True)
class Portions:
    """Cut a pool into files, in its order; the same for every variant."""

    name: ClassVar[str] = "portions"
    MODULES: ClassVar[tuple[str, ...]] = ("sloop.records.base", "sloop.records.samples", "sloop.stages.portions")
    summary_type: ClassVar[type[PortionsSummary]] = PortionsSummary

    pool: Dataset
    sizes: Mapping[str, int]
    """Samples asked for, by file."""

    def make(self, desk: Desk) -> PortionsSummary:
        """Write the files one after another."""
        rows = iter(self.pool)
        made = {name: len(Dataset(desk.write(name, islice(rows, size)))) for name, size in self.sizes.items()}
        return PortionsSummary(sizes=made, shortfall={name: self.sizes[name] - made[name] for name in self.sizes})
