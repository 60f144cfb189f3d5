"""What judges say, what is ruled, and how an answer is graded."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from sloop.records.base import Record
from sloop.records.samples import Label, trial_field

Outcome = Literal["PRED_WRONG", "LABEL_WRONG", "BOTH_CORRECT", "BOTH_WRONG", "ABSTAIN"]
"""Who is wrong where student and label disagree (METHOD: verify)."""


class Rubric(Record):
    """Absolute score of one answer (ToolsGen v0.1.0): the sum is recomputed, never trusted."""

    tool_relevance: float
    """0 to 0.4"""
    argument_quality: float
    """0 to 0.4"""
    clarity: float
    """0 to 0.2"""

    @property
    def score(self) -> float:
        """0 to 1; a sample is accepted from 0.7."""
        return self.tool_relevance + self.argument_quality + self.clarity


class Verdict(Record):
    """A judge's word on one answer: right, wrong, or None (it cannot tell)."""

    correct: bool | None
    rubric: Rubric | None = None
    evidence: tuple[str, ...] = ()
    """The rules that decided, in the order in which they were applied."""


class Judgement(Record):
    """A judge's verdict on one answer to one sample, kept as evidence."""

    sample_id: str
    verdict: Verdict
    trial: int = trial_field()
    """Which of several answers to the sample, from 0."""


class Ruling(Record):
    """What was decided about one sample on which student and label disagree (or, unasked, agree)."""

    sample_id: str
    outcome: Outcome
    old: Label
    new: Label | None
    """The label from now on; None where the sample leaves the data."""
    verdict_label: Verdict | None
    verdict_prediction: Verdict | None


class Grade(Record):
    """One graded answer. None is "not measured" or "does not apply", and neither right nor wrong."""

    sample_id: str
    cluster: str
    """The sample's group, or its own id where it has none."""
    slice: str
    calls_expected: bool
    """The label calls."""
    attempted: bool
    """A call was made, or opened and not brought to an end."""
    parsed: bool
    schema_valid: bool | None
    """Every call satisfies its tool's schema; None where no call could be read."""
    recovered: bool = Field(False, exclude_if=lambda recovered: not recovered)
    """No call could be read, but a lenient reading gets some, each satisfying its tool's schema."""
    tool_correct: bool | None
    """None where the label does not call."""
    argument_pairs: tuple[int, int]
    """(arguments right, calls to a right tool)"""
    correct: bool | None
    """The whole decision; None where the student gave no answer."""
    error: Literal["format", "truncated", "model"] | None
    reason: str | None
    """The first difference from the label (`sloop.calls.match.Match.reason`, or the official error)."""
    official: bool | None = None
    """The verdict of the benchmark's own rules, where it has its own."""
    needless: tuple[int, int] = Field((0, 0), exclude_if=lambda turns: not any(turns))
    """Of the turns of an episode in which nothing was to be called: (those in which something was, all)"""
    trial: int = trial_field()
    """Which of several answers to the sample, from 0."""
