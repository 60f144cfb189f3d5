"""What judges say, what is ruled, and how an answer is graded."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, model_validator

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


def decided(schema_valid: bool | None, execution: bool | None, judge: bool | None) -> bool | None:
    """The decision that follows from a verdict's parts: wrong where schema or execution is, whatever a judge says; else
    the judge's word, as what runs is not yet what was asked for.
    """
    return False if schema_valid is False or execution is False else judge


def _part() -> Any:
    return Field(None, exclude_if=lambda part: part is None)


class Verdict(Record):
    """What is found of one answer by its schema, by running it and by a judge: each right, wrong or None (not run).

    Where no part is kept, as nothing could be run, the verdict is a judge's alone.
    """

    correct: bool | None
    """`decided` by the parts; None: a judge cannot tell, or was not asked."""
    schema_valid: bool | None = _part()
    """The output can be read, and its calls satisfy their tools' schemas."""
    execution: bool | None = _part()
    """Its calls run without an error in the state of the decision."""
    judge: bool | None = _part()
    """A judge's word; None also where it was asked and cannot tell, which its evidence says."""
    rubric: Rubric | None = None
    """The judge's."""
    evidence: tuple[str, ...] = ()
    """What decided, in the order in which it was asked: schema, execution, the judge's rules or reasons."""

    @model_validator(mode="after")
    def _follows_from_its_parts(self) -> Self:
        parts = self.schema_valid, self.execution, self.judge
        if parts != (None, None, None) and self.correct != decided(*parts):
            raise ValueError(f"correct={self.correct} does not follow from schema, execution, judge = {parts}")
        return self


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
    executed: tuple[int, int] | None = Field(None, exclude_if=lambda executed: executed is None)
    """(calls that ran as they should, calls run); None: nothing was run. See `sloop.measures.metrics`."""
    correct: bool | None
    """The whole decision; None where the student gave no answer."""
    error: Literal["format", "truncated", "model"] | None
    reason: str | None
    """The first difference from the label (`sloop.calls.match.Match.reason`, or the official error)."""
    official: bool | None = None
    """The verdict of the benchmark's own rules, where it has its own."""
    needless: tuple[int, int] = Field((0, 0), exclude_if=lambda turns: not any(turns))
    """Of the turns of an episode in which nothing was to be called: (those in which something was, all)"""
    measured: dict[str, float] = Field(default_factory=dict, exclude_if=lambda measured: not measured)
    """What an environment of another package measures of the episode, by name; ``reward`` is its verdict."""
    trial: int = trial_field()
    """Which of several answers to the sample, from 0."""
