"""Values read back from the words that stand for them."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from sloop.records import Tool
from sloop.simulation.hearing import Hearing, read_value
from sloop.simulation.templates import load_templates


@pytest.mark.parametrize(
    ("text", "schema", "value"),
    [
        ("Paris", {"type": "string"}, "Paris"),
        ("March 5", {"type": "string"}, "2025-03-05"),
        ("March 5, 2027", {"type": "string"}, "2027-03-05"),
        ("5 pm", {"type": "string"}, "17:00"),
        ("noon", {"type": "string"}, "12:00"),
        ("seven", {"type": "integer"}, 7),
        ("1,200", {"type": "integer"}, 1200),
        ("44.8", {"type": "number"}, 44.8),
        ("many", {"type": "number"}, "many"),
        ("yes", {"type": "boolean"}, True),
        ("perhaps", {"type": "boolean"}, "perhaps"),
        ("high speed", {"enum": ["low_speed", "high_speed"]}, "high_speed"),
        ("a, b and c", {"type": "array"}, ["a", "b", "c"]),
        ("1 and 2", {"type": "array", "items": {"type": "integer"}}, [1, 2]),
        (
            "row 3, shelf top left",
            {"type": "object", "properties": {"row": {"type": "integer"}, "shelf": {"type": "string"}}},
            {"row": 3, "shelf": "top left"},
        ),
        ("anything", {"type": "object"}, {}),
    ],
)
def test_a_value_is_read_by_its_schema(text: str, schema: dict[str, Any], value: Any) -> None:
    assert read_value(text, schema) == value


def test_a_tool_without_parameters_is_called_without_arguments() -> None:
    tool = Tool(name="ring", description="Ring the bell.", parameters={"type": "object", "properties": {}})
    label = Hearing(load_templates("everyday")).label((tool,), "please ring the bell", Random(0))
    assert [(call.name, call.arguments) for call in label.calls] == [("ring", {})]


def test_what_nobody_here_could_have_said_is_refused() -> None:
    tool = Tool(name="ring", description="Ring the bell.", parameters={"type": "object", "properties": {}})
    label = Hearing(load_templates("everyday")).label((tool,), "zounds!", Random(0))
    assert label.calls == ()
    assert label.content
