"""From answers to METHOD's metrics. Pure: nothing here runs a tool or asks a model.

| metric | over (n) | right when |
| --- | --- | --- |
| call_accuracy | samples | the calls are the label's; for a label without calls: the answer ends and calls nothing |
| tool_accuracy | samples whose label calls | the multiset of tool names is the label's |
| argument_accuracy | calls to a right tool | the arguments match |
| format_correctness | answers that attempt a call | they parse and every call satisfies its tool's schema |
| format_recovered | answers that attempt a call | as format_correctness, or a lenient reading gets such calls |
| no_call_accuracy | samples whose label does not call | the answer ends and calls nothing |
| false_refusal_rate | samples whose label calls | (lower is better) the answer ends and no call is attempted |
| model_errors | all samples | (lower is better) the student gave no answer; such samples are in no other metric |
| execution_success | calls that an environment ran | no error, and the state is as the label's, see below |
| pass_hat_k | samples with k trials or more | k answers to it, drawn from its trials, are all right |
| flip_rate | samples with 2 trials or more | (lower is better) of two answers to it one is right and one wrong |

Where a sample was asked several times, every answer counts in the metrics above ``pass_hat_k``, and those of one sample
are in one cluster.

``execution_success`` is there only where something was run. A call that changes the state is right where the answer's
calls, all together, leave the state that the label's leave (`sloop.environments.checks.done`). One that no tool on
offer can take was never run: it counts in ``format_correctness`` alone.

A call that cannot be parsed is an attempt, whatever a lenient reading makes of it: what a server's parser would serve
of it counts in ``format_recovered`` alone. So is reasoning that was never finished, which is no answer. An answer cut
off at the longest length is an attempt if it opened a call; if it did not, it is neither a refusal nor an abstention,
as nobody knows what would have come: it earns nothing either way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from sloop.calls.formats import opens_call
from sloop.calls.match.strict import strict
from sloop.calls.schema import call_errors
from sloop.environments.base import refusal
from sloop.environments.checks import Outcome, can_run, met, run_after
from sloop.environments.domains import DOMAINS
from sloop.measures.stats import flip_rate, mean_score, pass_hat, rate
from sloop.records import Grade, Prediction, Sample, Score, ToolCall, UserError


def grade(sample: Sample, prediction: Prediction) -> Grade:
    """Grade one answer by the strict comparator.

    Raises:
        UserError: the sample has no label, or a tool's schema cannot be used.
        ValueError: the answer is to another sample.
    """
    if sample.label is None:
        raise UserError(f"sample {sample.id} has no label, so no answer to it can be graded. Give it one.")
    if prediction.sample_id != sample.id:
        raise ValueError(f"an answer to {prediction.sample_id} was graded against {sample.id}")
    error, expected = prediction.error, bool(sample.label.calls)
    lenient = prediction.recovered if error == "format" else ()
    calls = prediction.calls if error is None else None
    match = strict(sample.tools, calls, sample.label)
    asked = error != "model"
    return Grade(
        sample_id=sample.id,
        cluster=sample.group or sample.id,
        slice=sample.slice,
        calls_expected=expected,
        attempted=bool(calls)
        or error == "format"
        or (error == "truncated" and opens_call(prediction.text, thinking=prediction.thinking)),
        parsed=error is None,
        schema_valid=not any(call_errors(call, sample.tools) for call in calls) if calls else None,
        recovered=bool(lenient) and not any(call_errors(call, sample.tools) for call in lenient),
        tool_correct=match.tools_equal if expected and asked else None,
        argument_pairs=(match.right, match.paired) if expected else (0, 0),
        executed=_executed(sample, sample.label.calls, prediction.calls),
        correct=match.valid if asked else None,
        error=error,
        reason="truncated: the answer was cut off" if error == "truncated" else match.reason if asked else None,
    )


def scores(grades: Iterable[Grade]) -> list[Score]:
    """Every metric, overall (slice ``""``) and for each slice by name, with n and a 95% interval (see `stats.rate`)."""
    graded = list(grades)
    slices = sorted({g.slice for g in graded} - {""})
    return [
        rate(name, ((g.cluster, *count(g)) for g in graded if part in ("", g.slice)), part)
        for part in ("", *slices)
        for name, count in (METRICS | (EXECUTED if any(g.executed for g in graded) else {})).items()
    ]


def worth_showing(scores: Iterable[Score]) -> list[Score]:
    """Scores of one benchmark without ``format_recovered``, where it nowhere differs from ``format_correctness``."""
    rows = list(scores)
    strict, lenient = (
        [row.value for row in rows if row.name.endswith(name)] for name in ("format_correctness", "format_recovered")
    )
    return rows if strict != lenient else [row for row in rows if not row.name.endswith("format_recovered")]


def pass_hat_scores(grades: Iterable[Grade], trials: int) -> list[Score]:
    """How reliable a student is that is asked the same again: ``pass_hat_<k>`` (written pass^k), k = 1 .. trials.

    The chance that k answers to a sample are all right (tau-bench, arXiv:2406.12045), overall and for each slice; see
    `stats.pass_hat`. An answer that could not be had is no trial, and a sample with fewer than k trials is left out
    of n. Beside them ``flip_rate``: how often two answers to a sample differ in being right.
    """
    by_slice: dict[str, dict[str, tuple[str, int, int]]] = {"": {}}
    for g in grades:
        for part in {"", g.slice}:
            samples = by_slice.setdefault(part, {})
            _, right, answers = samples.get(g.sample_id, ("", 0, 0))
            answered = int(g.error != "model")
            samples[g.sample_id] = g.cluster, right + bool(g.correct), answers + answered
    return [
        score
        for part, samples in sorted(by_slice.items())
        for score in (
            *(pass_hat(f"pass_hat_{k}", samples.values(), k, part) for k in range(1, trials + 1)),
            flip_rate("flip_rate", samples.values(), part),
        )
    ]


def probe_scores(answers: Iterable[Prediction], contested: Iterable[str]) -> list[Score]:
    """What a probe found, as shares of the answers.

    Args:
        answers: to everything that was probed.
        contested: ids of the samples where answer and label differ.

    Returns:
        ``probe/disagreement``, ``probe/errors/<kind>`` for format, truncated and model, and ``probe/perplexity``, a
        mean over the answers that have one.
    """
    asked, differ = list(answers), set(contested)
    kinds = ("format", "truncated", "model")
    perplexities = [answer.perplexity for answer in asked if answer.perplexity is not None]
    return [
        rate("probe/disagreement", ((a.sample_id, int(a.sample_id in differ), 1) for a in asked)),
        *(rate(f"probe/errors/{k}", ((a.sample_id, int(a.error == k), 1) for a in asked)) for k in kinds),
        mean_score("probe/perplexity", perplexities),
    ]


def _executed(sample: Sample, wanted: Sequence[ToolCall], calls: Sequence[ToolCall]) -> tuple[int, int] | None:
    """(calls of an answer that ran as they should, calls that were run); None where the sample has no environment of
    ours. The calls so far are made first, and a call is not run that no tool on offer can take.
    """
    if sample.env is None or not can_run(sample):
        return None
    calls = [call for call in calls if refusal(call, sample.tools) is None]
    (begun, given), (_, right) = run_after(sample, calls), run_after(sample, wanted)
    return met(calls, Outcome(given.state, given.results[begun:]), right, DOMAINS[sample.env.toolkit]().writes)


def _of_samples(right: bool | None, applies: bool) -> tuple[int, int]:
    return int(bool(right)), int(applies)


def _refused(one: Grade) -> bool:
    return one.calls_expected and not one.attempted and one.error != "truncated"


def _when_answered(count: Callable[[Grade], tuple[int, int]]) -> Callable[[Grade], tuple[int, int]]:
    return lambda g: (0, 0) if g.error == "model" else count(g)


METRICS: dict[str, Callable[[Grade], tuple[int, int]]] = {
    "call_accuracy": _when_answered(lambda g: _of_samples(g.correct, True)),
    "tool_accuracy": _when_answered(lambda g: _of_samples(g.tool_correct, g.calls_expected)),
    "argument_accuracy": _when_answered(lambda g: g.argument_pairs),
    "format_correctness": _when_answered(lambda g: _of_samples(g.schema_valid, g.attempted)),
    "format_recovered": _when_answered(lambda g: _of_samples(g.schema_valid or g.recovered, g.attempted)),
    "no_call_accuracy": _when_answered(lambda g: _of_samples(g.correct and not g.calls_expected, not g.calls_expected)),
    "false_refusal_rate": _when_answered(lambda g: _of_samples(_refused(g), g.calls_expected)),
    "model_errors": lambda g: _of_samples(g.error == "model", True),
}
"""(right, of) that one answer adds to each metric."""

EXECUTED: dict[str, Callable[[Grade], tuple[int, int]]] = {
    "execution_success": _when_answered(lambda g: g.executed or (0, 0))
}
"""Likewise, where calls are run."""
