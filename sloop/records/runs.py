"""What a run keeps of itself: numbers with their doubt, weights."""

from __future__ import annotations

from sloop.records.base import Record


class Score(Record):
    """A rate or a mean with its doubt. ``value`` is None where nothing was measured (n = 0)."""

    name: str
    value: float | None
    n: int
    low: float | None = None
    """Lower end of the 95% interval."""
    high: float | None = None
    slice: str = ""


class Checkpoint(Record):
    """A student's weights: a folder, with the digest of what is in it."""

    path: str
    digest: str
