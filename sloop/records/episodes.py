"""What an episode is made of: the task that it is about, and the steps that were taken."""

from __future__ import annotations

from sloop.records.base import Record
from sloop.records.samples import EnvSpec, Prediction, Sample, ToolCall


class Task(Record):
    """What is asked for in an environment, and calls that do it. What is right is the state behind these calls."""

    request: str
    """The user's words."""
    env: EnvSpec
    """The environment and the state that it begins in."""
    calls: tuple[tuple[ToolCall, ...], ...]
    """The calls of each step, in order; those of a later one may need what an earlier one found."""
    slice: str = ""
    """The kind of task."""


class Step(Record):
    """One step of an episode: what was asked, and the answer that was told."""

    asked: Sample
    answer: Prediction
