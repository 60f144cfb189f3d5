"""A judge without a model: rules over the request, the offered tools and the answers, never the truth.

It knows neither the label among the answers nor the sample's kind or origin, and nothing of how labels go wrong. Each
answer is inspected alone first (`sloop.judges.rules.findings`): wrong where a finding is sure, undecided where there
are others, right where there are none. Then the answers are each other's evidence (`_against`).
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from sloop.calls.match.strict import strict
from sloop.judges.rules.findings import Question
from sloop.judges.rules.inspection import Finding, Inspection, Thresholds
from sloop.judges.rules.relevance import Weights
from sloop.records import Label, Rubric, Sample, UserError, Verdict


class GroundingJudge:
    """Judges by rules (`sloop.judges.base.Judge`); the same answers get the same verdicts in any order."""

    def __init__(
        self,
        *,
        name_weight: float,
        description_weight: float,
        parameter_weight: float,
        relevant: float,
        irrelevant: float,
        strong: float,
        margin: float,
        sign: float,
        most: float,
        some: float,
    ) -> None:
        """Keep the weights and thresholds (`Weights`, `Thresholds`).

        Raises:
            UserError: a weight or threshold below 0, or ``irrelevant`` <= ``relevant`` <= ``strong`` does not hold.
        """
        self._weights = Weights(name_weight, description_weight, parameter_weight)
        self._thresholds = Thresholds(relevant, irrelevant, strong, margin, sign, most, some)
        numbers = {"name_weight": name_weight, "description_weight": description_weight, "margin": margin, "sign": sign}
        numbers |= {"parameter_weight": parameter_weight, "most": most, "some": some}
        for key, number in numbers.items():
            if number < 0:
                raise UserError(f"judge.{key}={number}: 0 or more. Leave it out for the default.")
        if not 0 <= irrelevant <= relevant <= strong:
            raise UserError(
                f"judge: irrelevant={irrelevant}, relevant={relevant}, strong={strong} must rise from 0. "
                "Leave them out for the defaults."
            )

    async def judge(self, sample: Sample, answers: Sequence[Label | None], rng: Random) -> list[Verdict]:
        """One verdict per answer; the generator is not used, for nothing here is left to chance."""
        question = Question(sample, self._weights, self._thresholds)
        seen = [question.inspect(answer) for answer in answers]
        against = [
            [finding for other in seen if other is not one for finding in _against(question, sample, one, other)]
            for one in seen
        ]
        for one, findings in zip(seen, against, strict=True):
            one.findings += findings
        return [self._verdict(question, one) for one in seen]

    def _verdict(self, question: Question, seen: Inspection) -> Verdict:
        told = [finding for finding in seen.findings if finding.sure] or seen.findings
        evidence = tuple(dict.fromkeys(map(str, told))) or (self._merit(seen),)
        return Verdict(correct=seen.correct, rubric=self._rubric(question, seen), evidence=evidence)

    def _merit(self, seen: Inspection) -> str:
        if not seen.calls:
            return "refusal: no offered tool is asked for with all it needs"
        return f"relevance: every value stands in the request, which asks for the tool ({seen.support:.2f})"

    def _rubric(self, question: Question, seen: Inspection) -> Rubric:
        """Score an answer.

        tool_relevance: in proportion to the evidence for the least supported call, full from ``relevant``.
        argument_quality: 0 with a sure finding about the arguments, else a quarter less for each doubtful one. Of an
        answer without calls both are full where it is right, half where undecided, else 0. clarity: the share of the
        request's content words that the answer accounts for; of an answer without calls, full if it says something.
        """
        if seen.label is None:
            return Rubric(tool_relevance=0.0, argument_quality=0.0, clarity=0.0)
        if not seen.label.calls:
            part = 0.4 * {True: 1.0, None: 0.5, False: 0.0}[seen.correct]
            clarity = 0.2 if seen.label.content.strip() else 0.1
            return Rubric(tool_relevance=part, argument_quality=part, clarity=clarity)
        about = [finding for finding in seen.findings if finding.rule not in ("relevance", "comparison")]
        quality = 0.0 if any(finding.sure for finding in about) else 0.75 ** len(about)
        relevance = min(1.0, seen.support / self._thresholds.relevant) if self._thresholds.relevant else 1.0
        return Rubric(
            tool_relevance=round(0.4 * relevance, 3),
            argument_quality=round(0.4 * quality, 3),
            clarity=round(0.2 * question.accounted(seen), 3),
        )


def _against(question: Question, sample: Sample, one: Inspection, other: Inspection) -> list[Finding]:
    """What an answer that stands (right by itself) says against another, different one.

    A doubtful answer is wrong beside one that stands; but where no call stands, a call of which only the relevance
    is doubted, with signs in its favour, stays undecided. Where both stand: between calls and no call, undecided; of
    two that call, the one whose values hold fewer words of the request is wrong, and with equally many both are
    undecided.
    """
    if one.label is None or other.label is None or one.correct is False or other.correct is not True:
        return []
    if strict(sample.tools, other.label.calls, one.label).valid:
        return []
    if one.correct is None:
        signs = one.calls and one.support > 0 and all(finding.rule == "relevance" for finding in one.findings)
        sure = other.calls or not signs
        return [Finding("comparison", "the other answer stands, and this one is doubtful", sure)]
    mine, theirs = question.held(one), question.held(other)
    if one.calls != other.calls or mine == theirs:
        return [Finding("comparison", "the other answer stands, too", False)]
    if mine < theirs:
        return [Finding("comparison", "the other answer stands and holds more of the request", True)]
    return []
