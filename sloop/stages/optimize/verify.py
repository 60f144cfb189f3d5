"""Who is wrong, and what becomes of the label: pure rules over a judge's verdicts (METHOD: verify)."""

from __future__ import annotations

from sloop.records import Label, Outcome, Prediction, Ruling, Sample, Verdict


def classify(verdict_label: Verdict, verdict_prediction: Verdict) -> Outcome:
    """Who is wrong where student and label disagree; a verdict that cannot tell abstains for both."""
    label, prediction = verdict_label.correct, verdict_prediction.correct
    if label is None or prediction is None:
        return "ABSTAIN"
    if label:
        return "BOTH_CORRECT" if prediction else "PRED_WRONG"
    return "LABEL_WRONG" if prediction else "BOTH_WRONG"


def rule(sample: Sample, prediction: Prediction, verdict_label: Verdict, verdict_prediction: Verdict) -> Ruling:
    """The ruling on a sample on which student and label disagree.

    PRED_WRONG and BOTH_CORRECT keep the label; LABEL_WRONG puts the student's answer in its place (whether the order
    of calls matters is a property of the request and stays); BOTH_WRONG and ABSTAIN take the sample out of the next
    set (``new`` is None).

    Raises:
        ValueError: the sample has no label, or an answer that could not be parsed was judged right.
    """
    old = _label(sample)
    outcome = classify(verdict_label, verdict_prediction)
    new: Label | None = None
    if outcome in ("PRED_WRONG", "BOTH_CORRECT"):
        new = old
    elif outcome == "LABEL_WRONG":
        if prediction.answer is None:
            raise ValueError(f"sample {sample.id}: the judge calls an answer right that could not be parsed")
        new = prediction.answer.model_copy(update={"ordered": old.ordered})
    return Ruling(
        sample_id=sample.id,
        outcome=outcome,
        old=old,
        new=new,
        verdict_label=verdict_label,
        verdict_prediction=verdict_prediction,
    )


def rule_agreement(sample: Sample, verdict_label: Verdict) -> Ruling:
    """The ruling on a sample on which student and label agree; the judge was asked about that one answer.

    Right: BOTH_CORRECT, the label stays. Wrong: BOTH_WRONG, the sample leaves (a wrong label that the student has
    learnt by heart). Cannot tell: ABSTAIN, the sample leaves too: of what is left undecided after student and label
    agree, memorised wrong labels are a large part, and a choice by high perplexity would pick just these.
    ``verdict_prediction`` is None: there was no second answer.

    Raises:
        ValueError: the sample has no label.
    """
    old = _label(sample)
    outcomes: dict[bool | None, Outcome] = {True: "BOTH_CORRECT", False: "BOTH_WRONG", None: "ABSTAIN"}
    return Ruling(
        sample_id=sample.id,
        outcome=outcomes[verdict_label.correct],
        old=old,
        new=old if verdict_label.correct else None,
        verdict_label=verdict_label,
        verdict_prediction=None,
    )


def _label(sample: Sample) -> Label:
    if sample.label is None:
        raise ValueError(f"sample {sample.id} has no label to rule on")
    return sample.label
