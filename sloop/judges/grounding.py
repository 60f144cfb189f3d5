"""A judge without a model: rules over the request, the offered tools and the answers, never the truth.

It knows neither the label among the answers nor the sample's kind or origin, and nothing of how labels go wrong. Each
answer is inspected alone first (`sloop.judges.rules.table`): wrong where a finding is sure, undecided where there are
others, right where there are none. Then the answers are each other's evidence (`_against`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from random import Random

from sloop.calls.match.strict import strict
from sloop.judges.rules.answer import accounted, words_held
from sloop.judges.rules.question import Question, Thresholds, read_question
from sloop.judges.rules.relevance import Weights
from sloop.judges.rules.rule import Finding, Inspection, Rule
from sloop.judges.rules.table import RULES, inspect
from sloop.records import Label, Rubric, Sample, UserError, Verdict
from sloop.records.ranges import Weight

_COMPARISON = "comparison"
"""Topic of what one answer says against another."""


class GroundingJudge:
    """Judges by rules (`sloop.judges.base.Judge`); the same answers get the same verdicts in any order."""

    MODULES = (
        "sloop.calls.grounding",
        "sloop.calls.match.normalise",
        "sloop.calls.match.strict",
        "sloop.calls.schema",
        "sloop.calls.surface",
        "sloop.judges.grounding",
        "sloop.judges.rules",
        "sloop.records.base",
        "sloop.records.judging",
        "sloop.records.samples",
    )

    def __init__(
        self,
        *,
        name_weight: Weight,
        description_weight: Weight,
        parameter_weight: Weight,
        relevant: Weight,
        irrelevant: Weight,
        strong: Weight,
        margin: Weight,
        sign: Weight,
        most: Weight,
        some: Weight,
    ) -> None:
        """Keep the weights and thresholds (`Weights`, `Thresholds`).

        Raises:
            UserError: ``irrelevant`` <= ``relevant`` <= ``strong`` does not hold.
        """
        self._weights = Weights(name_weight, description_weight, parameter_weight)
        self._thresholds = Thresholds(relevant, irrelevant, strong, margin, sign, most, some)
        if not irrelevant <= relevant <= strong:
            raise UserError(
                f"judge: irrelevant={irrelevant}, relevant={relevant}, strong={strong} must rise from 0. "
                "Leave them out for the defaults."
            )

    async def judge(self, sample: Sample, answers: Sequence[Label | None], rng: Random) -> list[Verdict]:
        """One verdict per answer; the generator is not used, for nothing here is left to chance."""
        return verdicts(read_question(sample, self._weights, self._thresholds), answers, RULES)


def verdicts(question: Question, answers: Sequence[Label | None], rules: Sequence[Rule]) -> list[Verdict]:
    """Judge answers to a question by some rules; the judge itself asks them all (`RULES`)."""
    alone = [inspect(question, answer, rules) for answer in answers]
    return [_verdict(question, _beside(question, one, [other for other in alone if other is not one])) for one in alone]


def _verdict(question: Question, seen: Inspection) -> Verdict:
    told = [finding for finding in seen.findings if finding.sure] or seen.findings
    evidence = tuple(dict.fromkeys(map(str, told))) or (_merit(seen),)
    return Verdict(correct=seen.correct, rubric=_rubric(question, seen), evidence=evidence)


def _merit(seen: Inspection) -> str:
    if not seen.calls:
        return "refusal: no offered tool is asked for with all it needs"
    return f"relevance: every value stands in the request, which asks for the tool ({seen.answer.support:.2f})"


def _rubric(question: Question, seen: Inspection) -> Rubric:
    """Score an answer.

    tool_relevance: in proportion to the evidence for the least supported call, full from ``relevant``.
    argument_quality: 0 with a sure finding about the arguments, else a quarter less for each doubtful one. Of an
    answer without calls both are full where it is right, half where undecided, else 0. clarity: the share of the
    request's content words that the answer accounts for; of an answer without calls, full if it says something.
    """
    label, limits = seen.answer.label, question.limits
    if label is None:
        return Rubric(tool_relevance=0.0, argument_quality=0.0, clarity=0.0)
    if not label.calls:
        part = 0.4 * {True: 1.0, None: 0.5, False: 0.0}[seen.correct]
        return Rubric(tool_relevance=part, argument_quality=part, clarity=0.2 if label.content.strip() else 0.1)
    about = [finding for finding in seen.findings if finding.topic not in ("relevance", _COMPARISON)]
    quality = 0.0 if any(finding.sure for finding in about) else 0.75 ** len(about)
    relevance = min(1.0, seen.answer.support / limits.relevant) if limits.relevant else 1.0
    return Rubric(
        tool_relevance=round(0.4 * relevance, 3),
        argument_quality=round(0.4 * quality, 3),
        clarity=round(0.2 * accounted(question, seen.answer), 3),
    )


def _beside(question: Question, one: Inspection, others: Sequence[Inspection]) -> Inspection:
    """An inspection with what the other answers say against it."""
    return replace(one, findings=(*one.findings, *(f for other in others for f in _against(question, one, other))))


def _against(question: Question, one: Inspection, other: Inspection) -> list[Finding]:
    """What an answer that stands (right by itself) says against another, different one.

    A doubtful answer is wrong beside one that stands; but where no call stands, a call of which only the relevance
    is doubted, with signs in its favour, stays undecided. Where both stand: between calls and no call, undecided; of
    two that call, the one whose values hold fewer words of the request is wrong, and with equally many both are
    undecided.
    """
    mine, theirs = one.answer, other.answer
    if mine.label is None or theirs.label is None or one.correct is False or other.correct is not True:
        return []
    if strict(question.sample.tools, theirs.label.calls, mine.label).valid:
        return []
    if one.correct is None:
        signs = one.calls and mine.support > 0 and all(finding.topic == "relevance" for finding in one.findings)
        return [_compared("the other answer stands, and this one is doubtful", sure=other.calls or not signs)]
    if one.calls != other.calls or words_held(question, mine) == words_held(question, theirs):
        return [_compared("the other answer stands, too", sure=False)]
    if words_held(question, mine) < words_held(question, theirs):
        return [_compared("the other answer stands and holds more of the request", sure=True)]
    return []


def _compared(text: str, *, sure: bool) -> Finding:
    return Finding(_COMPARISON, _COMPARISON, text, sure)
