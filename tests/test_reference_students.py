"""Four students whose every figure on sloop_bench is known beforehand: what the metrics must say of each.

They write text, which is read like any model's. The fourth stands for a trained one: it answers after a plan of known
mistakes, as a real one that scores above nothing would take longer to train than all tests of this file.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from sloop.benchmarks.base import SampleBenchmark
from sloop.calls.formats import parse, render_hermes
from sloop.records import Label, Prediction, Sample, Score, ToolCall

CALL_SLICES = {"seen", "unseen_values", "unseen_phrases", "unseen_tools"}
NO_CALL_SLICES = {"missing_tool", "no_call"}
CALL_ROWS, NO_CALL_ROWS = 1000, 500
REFUSAL = "None of my tools can do that."


@functools.cache
def bench() -> tuple[SampleBenchmark, list[Sample]]:
    benchmark = SampleBenchmark(name="sloop_bench", path="sloop_bench/v1.jsonl.gz")
    return benchmark, list(benchmark.data)


def scored(write: Callable[[int, Sample], str]) -> dict[tuple[str, str], Score]:
    benchmark, samples = bench()
    grades = []
    for number, sample in enumerate(samples):
        text = write(number, sample)
        read = parse("hermes", text)
        answer = Prediction(sample_id=sample.id, text=text, calls=read.calls, content=read.content, error=read.error)
        grades.append(benchmark.grade(sample, answer))
    return {(score.name, score.slice): score for score in benchmark.score(grades)}


def asked(sample: Sample) -> tuple[ToolCall, ...]:
    assert sample.label is not None
    return sample.label.calls


def says(*calls: ToolCall) -> str:
    return render_hermes(Label(calls=calls)) if calls else REFUSAL


def any_call(sample: Sample) -> ToolCall:
    return ToolCall(name=sample.tools[0].name, arguments={})


def figures(found: dict[tuple[str, str], Score], name: str, slices: set[str] | None = None) -> set[float | None]:
    return {found[name, part].value for part in slices or {""}}


def test_one_that_never_calls_earns_what_silence_deserves() -> None:
    found = scored(lambda number, sample: REFUSAL)
    assert figures(found, "call_accuracy", CALL_SLICES) == {0.0}
    assert figures(found, "call_accuracy", NO_CALL_SLICES) == {1.0}
    assert found["call_accuracy", ""].value == NO_CALL_ROWS / (CALL_ROWS + NO_CALL_ROWS)
    assert (found["tool_accuracy", ""].value, found["tool_accuracy", ""].n) == (0.0, CALL_ROWS)
    assert (found["no_call_accuracy", ""].value, found["no_call_accuracy", ""].n) == (1.0, NO_CALL_ROWS)
    assert (found["false_refusal_rate", ""].value, found["false_refusal_rate", ""].n) == (1.0, CALL_ROWS)
    for name in ("argument_accuracy", "format_correctness"):
        assert (found[name, ""].value, found[name, ""].n) == (None, 0), "nothing was attempted: no credit, no blame"


def test_one_that_always_calls_earns_nothing_where_no_call_is_right() -> None:
    found = scored(lambda number, sample: says(*(asked(sample) or [any_call(sample)])))
    assert figures(found, "call_accuracy", CALL_SLICES) == {1.0}
    assert figures(found, "call_accuracy", NO_CALL_SLICES) == {0.0}
    assert found["no_call_accuracy", ""].value == 0.0
    assert found["false_refusal_rate", ""].value == 0.0
    assert found["tool_accuracy", ""].value == found["argument_accuracy", ""].value == 1.0
    assert found["format_correctness", ""].n == CALL_ROWS + NO_CALL_ROWS


def test_one_with_a_broken_format_makes_format_errors_and_abstains_nowhere() -> None:
    found = scored(lambda number, sample: says(*(asked(sample) or [any_call(sample)])).replace("}\n</tool_call>", "\n"))
    assert figures(found, "call_accuracy", CALL_SLICES | NO_CALL_SLICES) == {0.0}
    assert (found["format_correctness", ""].value, found["format_correctness", ""].n) == (0.0, 1500)
    assert found["no_call_accuracy", ""].value == 0.0
    assert found["tool_accuracy", ""].value == 0.0
    assert found["false_refusal_rate", ""].value == 0.0, "a call that cannot be read is an attempt, and no refusal"
    assert (found["argument_accuracy", ""].value, found["argument_accuracy", ""].n) == (None, 0)


def planned(number: int, sample: Sample) -> str:
    """Where a call is asked for: right, a value missing, another tool, a refusal, in turn. Else: silent, a call."""
    calls = asked(sample)
    if not calls:
        return REFUSAL if number % 2 else says(any_call(sample))
    if number % 4 == 0:
        return says(*calls)
    if number % 4 == 1:
        name, arguments = calls[0].name, dict(calls[0].arguments)
        arguments.pop(max(arguments))
        return says(ToolCall(name=name, arguments=arguments), *calls[1:])
    if number % 4 == 2:
        others = [tool.name for tool in sample.tools if tool.name not in {call.name for call in calls}]
        return says(ToolCall(name=others[0], arguments={}), *calls[1:])
    return REFUSAL


def fits(sample: Sample, calls: Any) -> bool:
    schemas = {tool.name: Draft202012Validator(tool.parameters) for tool in sample.tools}
    return all(schemas[call.name].is_valid(call.arguments) for call in calls)


def test_one_of_known_mistakes_has_the_figures_of_its_plan() -> None:
    found = scored(planned)
    rows = list(enumerate(bench()[1]))
    turn = {k: [sample for number, sample in rows if asked(sample) and number % 4 == k] for k in range(4)}
    silent = sum(not asked(sample) and number % 2 for number, sample in rows)
    assert sum(map(len, turn.values())) == CALL_ROWS
    assert found["call_accuracy", ""].value == pytest.approx((len(turn[0]) + silent) / 1500)
    assert found["no_call_accuracy", ""].value == pytest.approx(silent / NO_CALL_ROWS)
    assert found["false_refusal_rate", ""].value == pytest.approx(len(turn[3]) / CALL_ROWS)
    assert found["tool_accuracy", ""].value == pytest.approx((len(turn[0]) + len(turn[1])) / CALL_ROWS)
    pairs = sum(len(asked(sample)) for k in (0, 1) for sample in turn[k])
    pairs += sum(len(asked(sample)) - 1 for sample in turn[2])
    assert found["argument_accuracy", ""].n == pairs
    assert found["argument_accuracy", ""].value == pytest.approx((pairs - len(turn[1])) / pairs)
    attempts = [(sample, parse("hermes", planned(number, sample)).calls) for number, sample in rows]
    attempts = [(sample, calls) for sample, calls in attempts if calls]
    assert found["format_correctness", ""].n == len(attempts) == 1500 - silent - len(turn[3])
    right = sum(fits(sample, calls) for sample, calls in attempts)
    assert found["format_correctness", ""].value == pytest.approx(right / len(attempts))
    low, high = found["call_accuracy", ""].low, found["call_accuracy", ""].high
    assert low is not None
    assert high is not None
    assert low < len(turn[0]) / 1500 + silent / 1500 < high
