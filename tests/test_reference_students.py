"""Four students whose every figure on sloop_bench is known beforehand: what the metrics must say of each.

They are scripted, and write text, which is read like any model's. The fourth stands for a trained one: a real one that
scores above nothing would take longer to train than all tests of this file.
"""

from __future__ import annotations

import functools
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from sloop.benchmarks.base import SampleBenchmark
from sloop.calls.formats import parse
from sloop.measures.metrics import grade
from sloop.records import Decode, Sample, Score, ToolCall
from sloop.simulation.scripted import ScriptedStudent, Way

CALL_SLICES = {"seen", "unseen_values", "unseen_phrases", "unseen_tools"}
NO_CALL_SLICES = {"missing_tool", "no_call"}
CALL_ROWS, NO_CALL_ROWS = 1000, 500


@functools.cache
def bench() -> tuple[SampleBenchmark, list[Sample]]:
    benchmark = SampleBenchmark(name="sloop_bench", path="sloop_bench/v1.jsonl.gz")
    return benchmark, list(benchmark.data)


def scored(*script: Way) -> dict[tuple[str, str], Score]:
    benchmark, samples = bench()
    answers = ScriptedStudent(name="reference", script=list(script)).predict(samples, Decode())
    grades = [grade(sample, answer) for sample, answer in zip(samples, answers, strict=True)]
    return {(score.name, score.slice): score for score in benchmark.score(grades)}


def asked(sample: Sample) -> tuple[ToolCall, ...]:
    assert sample.label is not None
    return sample.label.calls


def figures(found: dict[tuple[str, str], Score], name: str, slices: set[str] | None = None) -> set[float | None]:
    return {found[name, part].value for part in slices or {""}}


def test_one_that_never_calls_earns_what_silence_deserves() -> None:
    found = scored("refuse")
    assert figures(found, "call_accuracy", CALL_SLICES) == {0.0}
    assert figures(found, "call_accuracy", NO_CALL_SLICES) == {1.0}
    assert found["call_accuracy", ""].value == NO_CALL_ROWS / (CALL_ROWS + NO_CALL_ROWS)
    assert (found["tool_accuracy", ""].value, found["tool_accuracy", ""].n) == (0.0, CALL_ROWS)
    assert (found["no_call_accuracy", ""].value, found["no_call_accuracy", ""].n) == (1.0, NO_CALL_ROWS)
    assert (found["false_refusal_rate", ""].value, found["false_refusal_rate", ""].n) == (1.0, CALL_ROWS)
    for name in ("argument_accuracy", "format_correctness"):
        assert (found[name, ""].value, found[name, ""].n) == (None, 0), "nothing was attempted: no credit, no blame"


def test_one_that_always_calls_earns_nothing_where_no_call_is_right() -> None:
    found = scored("call")
    assert figures(found, "call_accuracy", CALL_SLICES) == {1.0}
    assert figures(found, "call_accuracy", NO_CALL_SLICES) == {0.0}
    assert found["no_call_accuracy", ""].value == 0.0
    assert found["false_refusal_rate", ""].value == 0.0
    assert found["tool_accuracy", ""].value == found["argument_accuracy", ""].value == 1.0
    assert found["format_correctness", ""].n == CALL_ROWS + NO_CALL_ROWS


def test_one_with_a_broken_format_makes_format_errors_and_abstains_nowhere() -> None:
    found = scored("broken")
    assert figures(found, "call_accuracy", CALL_SLICES | NO_CALL_SLICES) == {0.0}
    assert (found["format_correctness", ""].value, found["format_correctness", ""].n) == (0.0, 1500)
    assert found["no_call_accuracy", ""].value == 0.0
    assert found["tool_accuracy", ""].value == 0.0
    assert found["false_refusal_rate", ""].value == 0.0, "a call that cannot be read is an attempt, and no refusal"
    assert (found["argument_accuracy", ""].value, found["argument_accuracy", ""].n) == (None, 0)


def fits(sample: Sample, calls: Any) -> bool:
    schemas = {tool.name: Draft202012Validator(tool.parameters) for tool in sample.tools}
    return all(schemas[call.name].is_valid(call.arguments) for call in calls)


def test_one_of_known_mistakes_has_the_figures_of_its_script() -> None:
    script: list[Way] = ["right", "missing_value", "other_tool", "refuse"]
    found = scored(*script)
    student, samples = ScriptedStudent(name="reference", script=script), bench()[1]
    turn = {way: [s for s in samples if asked(s) and student.way(s) == way] for way in script}
    silent = sum(not asked(s) and student.way(s) in ("right", "refuse") for s in samples)
    right = len(turn["right"])
    assert sum(map(len, turn.values())) == CALL_ROWS
    assert found["call_accuracy", ""].value == pytest.approx((right + silent) / 1500)
    assert found["no_call_accuracy", ""].value == pytest.approx(silent / NO_CALL_ROWS)
    assert found["false_refusal_rate", ""].value == pytest.approx(len(turn["refuse"]) / CALL_ROWS)
    assert found["tool_accuracy", ""].value == pytest.approx((right + len(turn["missing_value"])) / CALL_ROWS)
    pairs = sum(len(asked(s)) for way in ("right", "missing_value") for s in turn[way])
    pairs += sum(len(asked(s)) - 1 for s in turn["other_tool"])
    assert found["argument_accuracy", ""].n == pairs
    assert found["argument_accuracy", ""].value == pytest.approx((pairs - len(turn["missing_value"])) / pairs)
    attempts = [(sample, parse("hermes", student.write(sample)).calls) for sample in samples]
    attempts = [(sample, calls) for sample, calls in attempts if calls]
    assert found["format_correctness", ""].n == len(attempts) == 1500 - silent - len(turn["refuse"])
    valid = sum(fits(sample, calls) for sample, calls in attempts)
    assert found["format_correctness", ""].value == pytest.approx(valid / len(attempts))
    low, high = found["call_accuracy", ""].low, found["call_accuracy", ""].high
    assert low is not None
    assert high is not None
    assert low < (right + silent) / 1500 < high
