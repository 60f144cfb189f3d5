"""What can be found of an answer before any judge is asked: its schema, and what comes of running it.

Of samples in an environment of ours (`DOMAINS`) the calls so far are replayed, and an answer's calls are run in the
state of the decision:

| label's calls | student's calls | found | then |
| --- | --- | --- | --- |
| break their schema, or fail | run, or there are none | the label is wrong | a judge is asked about the student alone |
| run, or there are none | break their schema, or fail | the student is wrong | a judge is asked about the label alone |
| break their schema, or fail | break their schema, or fail | both are wrong | no judge is asked |
| run | run, with the same effect | one decision: both right or both wrong | as where they agree in words |
| run | run, with another effect | they differ, said by the first difference | a judge is asked about both |
| there are none | run, or the other way round | nothing | a judge is asked about both |

The same effect is an equal state, and all that the label's calls read is read by the student's, too; it never says
which of two answers is right. A call fails whose answer is an error of the environment: a decision that is to meet one,
as the first of a recovery, is no sample (`Dialogue.doubtful`), and its failing call is history for those after it.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import NamedTuple

from sloop.calls.schema import call_errors
from sloop.environments.checks import Outcome, can_run, run_after, shortfall
from sloop.environments.domains import DOMAINS
from sloop.environments.domains import MODULES as RUNNING
from sloop.judges.base import Judge
from sloop.records import Label, Sample, Verdict, decided

MODULES = ("sloop.calls.schema", *RUNNING, "sloop.stages.evidence")


class Evidence(NamedTuple):
    """What is found of one answer; None: not run."""

    schema_valid: bool | None
    execution: bool | None
    told: tuple[str, ...]

    @property
    def is_wrong(self) -> bool:
        """Whether no judge need be asked."""
        return decided(self.schema_valid, self.execution, None) is False

    def verdict(self, judged: Verdict | None, more: Sequence[str]) -> Verdict:
        """With the word of a judge, where one was asked, and more evidence."""
        judge = judged.correct if judged else None
        return Verdict(
            correct=decided(self.schema_valid, self.execution, judge),
            schema_valid=self.schema_valid,
            execution=self.execution,
            judge=judge,
            rubric=judged.rubric if judged else None,
            evidence=(*self.told, *more, *(judged.evidence if judged else ())),
        )


def weigh(sample: Sample, answer: Label | None) -> Evidence:
    """Look at one answer to a sample that can be run; None is an output that could not be parsed.

    Raises:
        UserError: the environment has no such state.
    """
    if answer is None:
        return Evidence(False, None, ("schema: the output cannot be parsed",))
    errors = [f"schema: {call.name}: {error}" for call in answer.calls for error in call_errors(call, sample.tools)[:1]]
    if errors:
        return Evidence(False, None, tuple(errors))
    if not answer.calls:
        return Evidence(None, None, ())
    begun, outcome = run_after(sample, answer.calls)
    failed = [place for place in outcome.failed if place >= begun]
    told = [f"execution: {answer.calls[place - begun].name}: {outcome.results[place]:.200}" for place in failed]
    return Evidence(True, not failed, tuple(told))


def compare(sample: Sample, label: Label, answer: Label | None) -> tuple[bool, tuple[str, ...]]:
    """Whether two answers that differ in words are one decision by what they do; and what running them says of it.

    Nothing is said where they do not both run.
    """
    if (
        answer is None
        or not can_run(sample)
        or not (weigh(sample, label).execution and weigh(sample, answer).execution)
    ):
        return False, ()
    assert sample.env is not None
    (begun, wanted), (_, given) = run_after(sample, label.calls), run_after(sample, answer.calls)
    writes = DOMAINS[sample.env.toolkit]().writes
    reads = [wanted.results[begun + place] for place, call in enumerate(label.calls) if call.name not in writes]
    if apart := shortfall(Outcome(given.state, given.results[begun:]), wanted, reads):
        return False, (f"execution: the two differ: {apart:.200}",)
    return True, ("execution: the other calls leave the same state and read the same: one decision",)


async def verdicts(
    judge: Judge, sample: Sample, answers: Sequence[Label | None], rng: Random, told: Sequence[str] = ()
) -> list[Verdict]:
    """One verdict per answer, in order: a judge is asked about those alone that are not found to be wrong.

    Where nothing can be run, the judge is asked about all. ``told`` is what is known of them besides, of `compare`.
    """
    if not can_run(sample):
        return await judge.judge(sample.blind(), answers, rng)
    found = [weigh(sample, answer) for answer in answers]
    left = [place for place, seen in enumerate(found) if not seen.is_wrong]
    judged = await judge.judge(sample.blind(), [answers[place] for place in left], rng) if left else []
    words = dict(zip(left, judged, strict=True))
    return [seen.verdict(words.get(place), told) for place, seen in enumerate(found)]
