"""What a judge by rules notes about one answer, and the one rule that the door of a dataset asks too: grounding."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from sloop.judges.rules.relevance import Slot
from sloop.records import Label


@dataclass(frozen=True, slots=True)
class Thresholds:
    """What counts as much, in units of one word of a tool's name that no other offered tool has."""

    relevant: float
    """Evidence from which a request asks for a tool."""
    irrelevant: float
    """Evidence below which it may not."""
    strong: float
    """Evidence from which the wording alone may call an answer wrong."""
    margin: float
    """By how much another tool must speak more."""
    sign: float
    """What one sign around a value adds to the evidence for its tool; two of them at most."""
    most: float
    """Share of the request's wording that a tool accounts for, from which the request is about it."""
    some: float
    """Share from which it may be."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What a rule says against an answer."""

    rule: str
    text: str
    sure: bool

    def __str__(self) -> str:
        return f"{self.rule}: {self.text}"


@dataclass(frozen=True, slots=True)
class Held:
    """One leaf of one argument, and where it stands in the request."""

    call: int
    slot: Slot
    value: Any
    place: range
    """Indices of its words; empty where it stands nowhere."""
    shared: bool
    """Whether an earlier value stands there, too."""


@dataclass
class Inspection:
    """One answer, with what the rules found."""

    label: Label | None
    findings: list[Finding] = field(default_factory=list)
    held: list[Held] = field(default_factory=list)
    covered: set[int] = field(default_factory=set)
    """Words of the request that its values account for."""
    support: float = 0.0
    """Evidence for its least supported call."""

    @property
    def correct(self) -> bool | None:
        """False where a finding is sure, None where there are others, True where there are none."""
        if any(finding.sure for finding in self.findings):
            return False
        return None if self.findings else True

    @property
    def calls(self) -> bool:
        """Whether it calls a tool."""
        return self.label is not None and bool(self.label.calls)

    def add(self, rule: str, text: str, *, sure: bool) -> None:
        """Note a finding."""
        self.findings.append(Finding(rule, text, sure))
