"""Schemas that ask for more than can be made up: each is refused with a reason, at once, and counted."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from random import Random
from typing import Any

import pytest
from running import sloop

from sloop.calls.schema import call_errors
from sloop.config import LARGEST_TOOL
from sloop.records import Order, Rejected, Tool, ToolCall
from sloop.simulation.grammar import Grammar
from sloop.simulation.invent import MAX_CHOICES, MAX_LENGTH, Unsayable
from sloop.simulation.template import TemplateTeacher
from sloop.simulation.templates import load_templates
from sloop.simulation.values import Values
from sloop.store import read_json

GRAMMAR = Grammar(
    Values(load_templates("everyday").types, part="train", random_values=0.3), part="train", spelled_values=0.2
)
TEACHER = TemplateTeacher(
    templates="everyday", values="train", phrases="train", random_values=0.3, optional_arguments=0.3, spelled_values=0.2
)
LONG_ENOUGH = 2.0
"""Seconds for one value, of which most need a thousandth: the machine may be busy."""


def _nested(depth: int, **inner: Any) -> dict[str, Any]:
    schema: dict[str, Any] = inner or {"const": 1}
    for _ in range(depth):
        schema = {"type": "array", "items": schema, "minItems": 50}
    return schema


HUGE: dict[str, dict[str, Any]] = {
    "minLength of a billion": {"type": "string", "minLength": 10**9},
    "minLength without end": {"type": "string", "minLength": 10**400},
    "minItems of a billion": {"type": "array", "items": {"type": "integer"}, "minItems": 10**9},
    "minItems of a billion, unique": {
        "type": "array",
        "items": {"type": "boolean"},
        "minItems": 10**9,
        "uniqueItems": True,
    },
    "arrays in arrays": _nested(5),
    "arrays in arrays of texts": _nested(4, type="string"),
    "arrays of long texts": {"type": "array", "minItems": 50, "items": {"type": "string", "minLength": 10**6}},
    "arrays in an object": {"type": "object", "properties": {"a": _nested(4), "b": _nested(4)}, "required": ["a", "b"]},
    "multipleOf tiny": {"type": "number", "multipleOf": 1e-300},
    "multipleOf denormal": {"type": "number", "multipleOf": 5e-324},
    "multipleOf huge": {"type": "number", "multipleOf": 1e308},
    "a minimum that no float holds": {"type": "number", "minimum": 10**400},
    "a maximum that no float holds": {"type": "integer", "maximum": -(10**400), "multipleOf": 0.5},
    "an enum of a million": {"type": "string", "enum": [str(number) for number in range(10**6)]},
    "a repetition too large": {"type": "string", "pattern": "a{99999999999}"},
    "a pattern of a billion": {"type": "string", "pattern": "^a{1000000000}$"},
    "a pattern that is none": {"type": "string", "pattern": "(("},
    "an array of itself": {"type": "array", "items": {"$ref": "#/properties/x"}, "minItems": 2},
}


def _tool(schema: dict[str, Any]) -> Tool:
    parameters = {"type": "object", "properties": {"x": schema}, "required": ["x"]}
    return Tool(name="measure_it", description="Measure something.", parameters=parameters)


@pytest.mark.parametrize("kind", HUGE)
def test_a_value_that_would_take_all_time_or_memory_is_refused_at_once(kind: str) -> None:
    tool, began = _tool(HUGE[kind]), time.process_time()
    with pytest.raises(Unsayable) as refused:
        GRAMMAR.value(tool, "x", Random(0))
    assert time.process_time() - began < LONG_ENOUGH
    assert refused.value.reason == "no_value"
    assert len(refused.value.detail) < 300


@pytest.mark.parametrize("kind", [kind for kind in HUGE if "million" not in kind and "none" not in kind])
def test_the_teacher_rejects_such_a_tool_with_a_reason(kind: str) -> None:
    tool = _tool(HUGE[kind])
    order = Order(key="0", kind="single", tools=(tool,), wanted=(tool,))
    written = asyncio.run(TEACHER.write(order, Random(0)))
    assert isinstance(written, Rejected)
    assert written.reason == "no_value"


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string", "minLength": MAX_LENGTH},
        {"type": "array", "items": {"type": "integer"}, "minItems": 50},
        {"type": "array", "items": {"type": "array", "items": {"type": "string"}, "minItems": 20}, "minItems": 20},
        {"type": "number", "multipleOf": 0.001},
        {"type": "integer", "minimum": 10**15},
        {"type": "string", "enum": [str(number) for number in range(MAX_CHOICES)]},
    ],
)
def test_what_can_be_made_up_is(schema: dict[str, Any]) -> None:
    tool = _tool(schema)
    value = GRAMMAR.value(tool, "x", Random(0))
    assert call_errors(ToolCall(name=tool.name, arguments={"x": value}), [tool]) == ()


def test_a_run_leaves_out_a_tool_that_no_request_can_be_written_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    bad = _tool(HUGE["minLength of a billion"]).to_openai()
    good = Tool(name="say_it", description="Say it.", parameters={"type": "object", "properties": {}}).to_openai()
    Path("tools.json").write_text(json.dumps([bad, good]))
    words = ("num_samples=2", "tools=own", "tools.path=tools.json", "gen.kinds={single:1}", "tracking.enabled=false")
    assert sloop("gen", *words, "output_dir=run") == 0, capsys.readouterr().err
    summary = read_json(Path("run/stage.json"))["summary"]
    assert summary["rejected"].keys() <= {"duplicate"}
    assert summary["notes"][0] == "1 of 2 tools are left out: no request for them can be written"
    assert "note: left out: measure_it (no_value: x: a text of more than 5000 characters)" in capsys.readouterr().out
    Path("tools.json").write_text(json.dumps([bad]))
    assert sloop("gen", *words, "output_dir=none") == 2
    assert "no request for any of 1 tools, such as measure_it" in capsys.readouterr().err


def test_a_tool_that_would_make_every_sample_huge_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("tools.json").write_text(json.dumps([_tool({"enum": ["x" * LARGEST_TOOL]}).to_openai()]))
    assert sloop("gen", "num_samples=2", "tools=own", "tools.path=tools.json", "output_dir=run") == 2
    assert f"at most {LARGEST_TOOL:,} are allowed" in capsys.readouterr().err
