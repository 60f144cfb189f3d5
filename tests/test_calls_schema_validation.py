"""Schemas of strangers: what they find is what jsonschema finds, and they find it in bounded time."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from sloop.calls.schema import call_errors
from sloop.calls.schema.patterns import Undecided, fits, found, is_pattern, together
from sloop.calls.schema.validation import Unusable, checked, faults, validator
from sloop.models.structured import read_object
from sloop.records import Tool, ToolCall, UserError
from sloop.simulation.invent import Unsayable, invent
from sloop.simulation.values import Values
from sloop.tools.sources import load_tools

SOON = 3.0
"""Seconds; a limit that holds takes a quarter of one, no limit takes for ever."""
SLOW = {
    r"\s+$": " " * 200_000 + "x",
    r"(?:(?:a+)+b?){1,30}c": "a" * 4000,
    r"(?=.*\d)(?=.*[a-z]).{8,}": "a" * 200_000,
    r"(?:a{1,1000}){1,1000}y": "a" * 5000,
    r"^(a|aa)+$": "a" * 60 + "!",
    r"(.*)(.*)(.*)(.*)\1\2\3\4x": "ab" * 2000,
}
BACKTRACKING = r"^(a+)+$", "a" * 40 + "!"
TOO_LARGE = ["((a{1000}){1000}){1000}", "[ab]{1000000}", "(?:a|b)" * 1000, "(?:" * 400, "a" * 5000]


def parameters(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


def errors(schema: dict[str, Any], **arguments: Any) -> tuple[str, ...]:
    return call_errors(ToolCall(name="f", arguments=arguments), [Tool(name="f", parameters=schema)])


# --- patterns -----------------------------------------------------------------------------------------------------


def test_python_alone_does_not_end_on_a_pattern_that_backtracks() -> None:
    code = f"import re; re.search({BACKTRACKING[0]!r}, {BACKTRACKING[1]!r})"
    with pytest.raises(subprocess.TimeoutExpired):
        subprocess.run([sys.executable, "-c", code], timeout=1)


@pytest.mark.parametrize("pattern", SLOW)
def test_a_pattern_that_backtracks_ends(pattern: str) -> None:
    began = time.perf_counter()
    assert not fits(pattern, SLOW[pattern])
    assert time.perf_counter() - began < SOON


def test_a_search_that_is_not_decided_says_so() -> None:
    with pytest.raises(Undecided, match=r"pattern '\\\\s\+\$' takes longer than .* 200001 characters"):
        found(r"\s+$", SLOW[r"\s+$"])


def test_many_slow_searches_share_one_limit() -> None:
    began = time.perf_counter()
    with together():
        for _ in range(40):
            assert not fits(r"\s+$", SLOW[r"\s+$"])
    assert time.perf_counter() - began < 2 * SOON


@pytest.mark.parametrize("pattern", TOO_LARGE, ids=range(len(TOO_LARGE)))
def test_a_pattern_that_is_too_large_is_none(pattern: str) -> None:
    began = time.perf_counter()
    assert not is_pattern(pattern)
    assert time.perf_counter() - began < SOON


PATTERNS = [
    *(r"^[A-Z]{3}$", r"^\d+$", "@", r"^.{2,4}$", r"a{e}", r"^/users/{id}$", r"x{,2}y", r"[{]a", r"\{a\}", r"{", r"a{1"),
    *(r"^(?!x)\w+$", r"(?<=a)b", r"(a)\1", r"(?i)ABC", r"^\s*$", r"[^\W\d_]+", r"a|b|", r"\bab\b", r"(?P<x>a)(?P=x)"),
    *(r"^[0-9a-f]{8}-[0-9a-f]{4}$", r"\.", r"[a\-z]", r"(?s).", r"(?x) a  b"),
]


@pytest.mark.parametrize("pattern", PATTERNS)
@settings(deadline=None, max_examples=60)
@given(st.data())
def test_a_pattern_means_what_python_means_by_it(pattern: str, data: st.DataObject) -> None:
    text = data.draw(st.text("ab{},12eid/xyABC \n@users-._", max_size=12) | st.from_regex(pattern) | st.text())
    assert found(pattern, text) == (re.search(pattern, text) is not None)


# --- schemas ------------------------------------------------------------------------------------------------------

LEAVES: list[Any] = [
    {"type": "string"}, {"type": "integer", "minimum": 0}, {"pattern": "^a"}, {"enum": [1, "a", None]}, True, False,
    {"const": 1}, {"type": ["number", "null"]}, {"maxLength": 2}, {"uniqueItems": True}, {"minItems": 1},
]  # fmt: skip
NAMES = st.sampled_from(["a", "ab", "b"])
SCHEMAS = st.recursive(
    st.sampled_from(LEAVES),
    lambda inner: (
        st.fixed_dictionaries(
            {"properties": st.dictionaries(NAMES, inner, max_size=2)},
            optional={
                "patternProperties": st.dictionaries(st.sampled_from(["^a", "b$"]), inner, max_size=2),
                "additionalProperties": inner,
                "unevaluatedProperties": inner,
                "propertyNames": inner,
                "required": st.just(["a"]),
                "dependentSchemas": st.dictionaries(NAMES, inner, max_size=1),
            },
        )
        | st.fixed_dictionaries({"items": inner}, optional={"uniqueItems": st.booleans(), "contains": inner})
        | st.dictionaries(
            st.sampled_from(["allOf", "anyOf", "oneOf"]), st.lists(inner, min_size=1, max_size=3), max_size=1
        )
        | st.fixed_dictionaries(
            {"if": inner, "then": inner, "else": inner}, optional={"unevaluatedProperties": st.just(False)}
        )
        | st.builds(lambda part: {"not": part}, inner)
    ),
    max_leaves=8,
)  # fmt: skip
VALUES = st.recursive(
    st.none() | st.booleans() | st.sampled_from([0, 1, 1.0, 2.5, "a", "ab", "", -1]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=8,
)


def told(found: Any) -> list[tuple[str, list[Any], str]]:
    return sorted((str(error.validator), list(error.absolute_path), error.message) for error in found)


@settings(deadline=None, max_examples=50)
@given(SCHEMAS, VALUES)
def test_what_is_wrong_is_what_jsonschema_finds(schema: Any, value: Any) -> None:
    assert {row[:2] for row in map(_plain, told(faults(validator(schema), value)))} == {
        row[:2] for row in map(_plain, told(Draft202012Validator(schema).iter_errors(value)))
    }


def _plain(row: tuple[str, list[Any], str]) -> tuple[str, str, str]:
    return row[0], json.dumps(row[1]), row[2]


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"pattern": "^b"}, "a"),
        ({"patternProperties": {"^a": False}}, {"a": 1}),
        ({"unevaluatedProperties": False}, {"a": 1}),
        ({"unevaluatedProperties": False}, {"a": 1, "b": 2}),
        ({"unevaluatedProperties": {"type": "string"}}, {"a": 1}),
        ({"uniqueItems": True}, [1, 1.0]),
        ({"additionalProperties": False}, {"a": 1}),
    ],
)
def test_it_is_said_as_jsonschema_says_it(schema: Any, value: Any) -> None:
    assert told(faults(validator(schema), value)) == told(Draft202012Validator(schema).iter_errors(value)) != []


DOUBLING: dict[str, Any] = {
    f"d{k}": {"allOf": [{"$ref": f"#/$defs/d{k + 1}"}, {"$ref": f"#/$defs/d{k + 1}"}]} for k in range(40)
} | {"d40": {"type": "object"}}
SLOW_NAME, SLOW_TEXT = r"(?:(?:a+)+b?){1,30}c", "a" * 4000
HOSTILE: dict[str, tuple[dict[str, Any], Any]] = {
    "pattern": (parameters(x={"pattern": SLOW_NAME}), SLOW_TEXT),
    "pattern in items": (parameters(x={"items": {"pattern": SLOW_NAME}}), [SLOW_TEXT] * 50),
    "patternProperties": (parameters(x={"patternProperties": {SLOW_NAME: {}}}), {SLOW_TEXT: 1}),
    "closed patternProperties": (
        parameters(x={"patternProperties": {SLOW_NAME: {}}, "additionalProperties": False}),
        {SLOW_TEXT: 1},
    ),
    "unevaluated patternProperties": (
        parameters(x={"allOf": [{"patternProperties": {SLOW_NAME: {}}}], "unevaluatedProperties": False}),
        {SLOW_TEXT: 1},
    ),
    "propertyNames": (parameters(x={"propertyNames": {"pattern": SLOW_NAME}}), {SLOW_TEXT: 1}),
    "not": (parameters(x={"not": {"pattern": SLOW_NAME}}), SLOW_TEXT),
    "doubling": ({**parameters(x={"$ref": "#/$defs/d0"}), "$defs": DOUBLING}, {}),
    "large enum of items": (parameters(x={"items": {"enum": list(range(20_000))}}), [-1] * 20_000),
    "too large a pattern": (parameters(x={"pattern": TOO_LARGE[0]}), "a"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_schema_is_an_error_of_the_call_and_ends(kind: str) -> None:
    schema, value = HOSTILE[kind]
    began = time.perf_counter()
    (error,) = errors(schema, x=value)
    assert error.startswith(("constraint: the pattern", "constraint: the check takes more than"))
    assert time.perf_counter() - began < 2 * SOON


def test_unlike_items_are_told_apart_in_one_pass() -> None:
    items: list[Any] = [{"a": number} for number in range(30_000)]
    began = time.perf_counter()
    assert errors(parameters(x={"uniqueItems": True}), x=items) == ()
    assert errors(parameters(x={"uniqueItems": True}), x=[*items, {"a": 7.0}]) == ("constraint:x uniqueItems",)
    assert errors(parameters(x={"uniqueItems": True}), x=[1, True, 0, False, "1", [1], [True]]) == ()
    assert time.perf_counter() - began < SOON


def nested(depth: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(depth):
        schema = parameters(x=schema)
    return schema


def follow(schema: dict[str, Any]) -> None:
    checked(schema)
    faults(validator(schema), {"x": 1})


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "http://127.0.0.1:9/x"},
        {"$ref": "#/$defs/none"},
        {"$ref": "#/$defs/x", "$defs": {"x": {"$ref": "#/$defs/x"}}},
        {"$dynamicRef": "http://127.0.0.1:9/x"},
        nested(3000),
    ],
    ids=["remote", "missing", "itself", "dynamic", "deep"],
)
def test_a_schema_that_cannot_be_followed_is_unusable(schema: dict[str, Any]) -> None:
    with pytest.raises(Unusable):
        follow(schema)
    with pytest.raises(UserError, match=r"'f'.*JSON Schema"):
        errors({"type": "object", "properties": {"x": schema}}, x={"x": 1})


def test_a_tool_file_with_a_schema_that_nests_too_deep_is_refused(tmp_path: Path) -> None:
    deep = '{"properties": {"x": ' * 300 + "{}" + "}}" * 300
    file = tmp_path / "tools.json"
    file.write_text(f'[{{"name": "f", "parameters": {deep}}}]')
    with pytest.raises(UserError, match=r"tools\.json.*(tool 1|nested more than 64 deep)"):
        load_tools(file)


def test_an_answer_of_a_slow_pattern_misses_its_schema() -> None:
    schema = {"type": "object", "properties": {"x": {"pattern": SLOW_NAME}}}
    with pytest.raises(ValueError, match="takes longer"):
        read_object(json.dumps({"x": SLOW_TEXT}), schema)


def test_a_value_of_a_pattern_that_is_too_large_is_not_invented() -> None:
    bank = Values({}, part="train", random_values=0.0)
    with pytest.raises(Unsayable, match="no_value"):
        invent("code", {"type": "string", "pattern": TOO_LARGE[0], "format": "uuid"}, Random(0), bank, {})
