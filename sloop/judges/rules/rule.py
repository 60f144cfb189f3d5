"""What a rule is, and what it says."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from sloop.judges.rules.answer import Answer, Kind
from sloop.judges.rules.question import Question

Subject = tuple[int, ...]
"""What a remark is about, as its number among the values, calls or words that the rule looks at."""


class Remark(NamedTuple):
    """What a rule says against an answer."""

    subject: Subject
    text: str
    sure: bool


Ask = Callable[[Question, Answer], Iterable[Remark]]


@dataclass(frozen=True, slots=True)
class Rule:
    """One pure function over a question and an answer, and its place among the others."""

    ask: Ask
    """Its docstring says what the rule finds."""
    topic: str
    """Under which its findings stand in a verdict's evidence; several rules share one."""
    of: Kind
    """The answers that it is asked about."""
    step: str
    """Rules of a step stand together and look at the same subjects: of each, the first to speak is heard."""
    sure: bool
    """Whether it may be sure, which makes an answer wrong."""
    last: bool = False
    """Whether no later step is asked where it has found something."""

    @property
    def name(self) -> str:
        """As the function is called."""
        return self.ask.__name__


@dataclass(frozen=True, slots=True)
class Finding:
    """A remark that is heard."""

    rule: str
    topic: str
    text: str
    sure: bool

    def __str__(self) -> str:
        return f"{self.topic}: {self.text}"


@dataclass(frozen=True, slots=True)
class Inspection:
    """One answer, with what the rules found."""

    answer: Answer
    findings: tuple[Finding, ...]

    @property
    def correct(self) -> bool | None:
        """False where a finding is sure, None where there are others, True where there are none."""
        if any(finding.sure for finding in self.findings):
            return False
        return None if self.findings else True

    @property
    def calls(self) -> bool:
        """Whether it calls a tool."""
        return self.answer.kind == "calls"
