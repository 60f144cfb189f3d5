"""What an episode is made of: the task that it is about, and the steps that were taken."""

from __future__ import annotations

from pydantic import Field

from sloop.records.base import Record
from sloop.records.samples import EnvSpec, Prediction, Sample, ToolCall


class Turn(Record):
    """What a user says, and what is done about it before the word is the user's again."""

    request: str
    """The user's words."""
    calls: tuple[tuple[ToolCall, ...], ...] = ()
    """The calls of each step, in order; those of a later one may need what an earlier one found. None: to answer or to
    ask is right."""
    reads: tuple[ToolCall, ...] = ()
    """Those of the calls whose answers the user wants to hear; every other call counts by the state that it leaves."""
    reply: str = ""
    """What is said once all is done: trained on, never matched."""
    withheld: tuple[str, ...] = Field((), exclude_if=lambda withheld: not withheld)
    """Names of the environment's tools that are not on offer in this turn."""


class Task(Record):
    """What is asked for in an environment, and calls that do it. What is right is the state behind these calls, and
    that what the user wants to hear was read.
    """

    env: EnvSpec
    """The environment and the state that it begins in."""
    turns: tuple[Turn, ...]
    slice: str = ""
    """The kind of task."""

    @property
    def calls(self) -> tuple[ToolCall, ...]:
        """All calls, in order."""
        return tuple(call for turn in self.turns for step in turn.calls for call in step)


class Step(Record):
    """One step of an episode: what was asked, and the answer that was told."""

    asked: Sample
    answer: Prediction
