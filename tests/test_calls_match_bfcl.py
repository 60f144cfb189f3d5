"""BFCL's comparator: the official verdicts, on their recorded rows and on fresh cases beside the official checker."""

from __future__ import annotations

import gzip
import importlib.util
import json
import os
import sys
from collections import Counter
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

import pytest

from sloop.calls.match import bfcl

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
from bfcl_cases import Case, cases, official


def ours(case: Case) -> tuple[bool, str | None]:
    found = bfcl(case["functions"], case["calls"], case["possible_answer"], case["category"], case["underscore_to_dot"])
    return found.valid, found.error_type


def one(kind: str, value: Any, *allowed: Any, items: str | None = None) -> str | None:
    """The error of one required argument."""
    schema = {"type": kind, **({"items": {"type": items}} if items else {})}
    function = {"name": "f", "parameters": {"type": "dict", "properties": {"p": schema}, "required": ["p"]}}
    return bfcl([function], [{"f": {"p": value}}], [{"f": {"p": list(allowed)}}], "simple_python").error_type


@pytest.mark.skipif(
    "SLOOP_ORACLE" not in os.environ,
    reason="compares with recorded verdicts that are not shipped: set SLOOP_ORACLE to their folder",
)
@pytest.mark.parametrize("name", ["oracle_dev", "oracle_probes"])
def test_every_recorded_verdict_is_given(name: str) -> None:
    with gzip.open(Path(os.environ["SLOOP_ORACLE"]) / f"{name}.jsonl.gz", "rt") as file:
        rows = [json.loads(line) for line in file]
    assert len(rows) > 100
    assert [row["id"] for row in rows if ours(row) != (row["valid"], row["error_type"])] == []


@pytest.mark.skipif(
    not importlib.util.find_spec("bfcl_eval"),
    reason="compares with the official checker, which pins other versions: pip install --no-deps bfcl-eval",
)
@pytest.mark.parametrize("seed", range(1, 6))
def test_fresh_cases_are_judged_as_the_official_checker_does(seed: int) -> None:
    check, seen = official(), Counter[str]()
    for case in islice(cases(Random(seed)), 1000):
        expected = check(case)
        seen[expected[1] or "valid"] += 1
        assert ours(case) == expected, case
    assert len(seen) > 12
    assert seen["valid"] > 200


@pytest.mark.parametrize(
    ("kind", "value", "allowed", "error"),
    [
        ("float", 5, [5.0], None),
        ("integer", 5.0, [5], "type_error:simple"),
        ("integer", True, [1], "type_error:simple"),
        ("integer", None, [None, 5], None),
        ("integer", None, [5, None], "type_error:simple"),
        ("integer", "", [5, ""], "type_error:simple"),
        ("string", "NEW-YORK", ["New York"], None),
        ("string", "New York!", ["New York"], "value_error:string"),
        ("string", "it's", ['it"s'], None),
        ("string", 5, [5], None),
        ("string", "A", [5, "a"], "value_error:others"),
        ("dict", {"k": 1}, [{"k": [1.0]}], None),
        ("dict", {"k": True}, [{"k": [1]}], None),
        ("dict", {"k": ["A"]}, [{"k": [["a"]]}], "value_error:dict_value"),
        ("dict", {}, [{"a": [1]}, ""], "value_error:dict_key"),
        ("dict", {}, [""], "dict_checker:unclear"),
        ("number", 5, [5], "exception:KeyError"),
        ("array", [1], [[1]], "exception:KeyError"),
    ],
)
def test_a_value_is_compared_by_the_official_rules(
    kind: str, value: Any, allowed: list[Any], error: str | None
) -> None:
    assert one(kind, value, *allowed) == error


@pytest.mark.parametrize(
    ("items", "value", "allowed", "error"),
    [
        ("float", [1, 2], [[1.0, 2.0]], "type_error:nested"),
        ("string", ["b", "a"], [["a", "b"]], "value_error:list/tuple"),
        ("string", ["A b"], [["ab"]], None),
        ("string", [], [["a"], ""], None),
        ("string", (), [["a"]], "type_error:simple"),
        ("dict", [{"a": "X"}], [[{"a": ["x"]}]], None),
        ("dict", [{"a": "x"}], [[{"a": ["x"]}, {"a": ["y"]}]], "value_error:list_dict_count"),
        ("dict", ["x"], [[{"a": [1]}], ""], "exception:AttributeError"),
    ],
)
def test_a_list_is_compared_by_the_official_rules(
    items: str, value: Any, allowed: list[Any], error: str | None
) -> None:
    assert one("array", value, *allowed, items=items) == error


def test_parallel_calls_are_matched_greedily() -> None:
    function = {
        "name": "f",
        "parameters": {"type": "dict", "properties": {"x": {"type": "integer"}}, "required": ["x"]},
    }
    answers = [{"f": {"x": [1, 2]}}, {"f": {"x": [1]}}]
    calls = [{"f": {"x": 1}}, {"f": {"x": 2}}]
    assert bfcl([function], calls[::-1], answers, "parallel").valid
    assert bfcl([function], calls, answers, "parallel").error_type == (
        "parallel_function_checker_no_order:cannot_find_match"
    )


def test_a_dotted_name_is_expected_as_the_endpoint_writes_it() -> None:
    function = {"name": "a.b", "parameters": {"type": "dict", "properties": {}, "required": []}}
    dotted, plain, answer = [{"a.b": {}}], [{"a_b": {}}], [{"a.b": {}}]
    assert bfcl([function], dotted, answer, "simple_python").valid
    assert bfcl([function], plain, answer, "simple_python", underscore_to_dot=True).valid
    for calls, underscores in ((plain, False), (dotted, True)):
        found = bfcl([function], calls, answer, "simple_python", underscore_to_dot=underscores)
        assert found.error_type == "simple_function_checker:wrong_func_name"


@pytest.mark.parametrize(
    ("category", "schema", "value", "allowed", "error"),
    [
        ("simple_java", {"type": "long"}, "5L", [5], None),
        ("simple_java", {"type": "long"}, "5", [5], "type_error:simple"),
        ("simple_java", {"type": "long"}, 5, [5], "type_error:java"),
        ("simple_java", {"type": "long"}, "count", ["count"], None),
        ("simple_java", {"type": "double"}, "5", [5.0], None),
        ("simple_java", {"type": "Array", "items": {"type": "String"}}, "new String[]{a}", [["A"]], None),
        ("simple_java", {"type": "Array", "items": {"type": "long"}}, "new long[]{1}", [[1]], "type_error:nested"),
        ("simple_java", {"type": "HashMap"}, 'new HashMap<>() {{ put("k", 1); }}', [{"k": [1]}], None),
        ("simple_java", {"type": "Queue"}, "x", ["x"], "exception:NotImplementedError"),
        ("simple_java", {"type": "string"}, "x", ["x"], "exception:KeyError"),
        ("simple_javascript", {"type": "String"}, "'x'", ["x"], None),
        ("simple_javascript", {"type": "float"}, 5, [5.0], "type_error:js"),
        ("simple_javascript", {"type": "array", "items": {"type": "float"}}, "[1, 2]", [[1.0, 2.0]], None),
        ("simple_javascript", {"type": "dict"}, "{k: 2}", [{"k": [1]}], "value_error:dict_value"),
        ("simple_javascript", {"type": "Bigint"}, "5n\n", [5], "exception:ValueError"),
    ],
)
def test_a_text_of_another_language_is_compared_by_its_value(
    category: str, schema: dict[str, Any], value: Any, allowed: list[Any], error: str | None
) -> None:
    function = {"name": "f", "parameters": {"properties": {"p": schema}, "required": ["p"]}}
    assert bfcl([function], [{"f": {"p": value}}], [{"f": {"p": allowed}}], category).error_type == error
