from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sloop.calls.schema import call_errors
from sloop.records import Tool, ToolCall, UserError


def tool(parameters: dict[str, Any] | None = None, **properties: Any) -> Tool:
    if parameters is None:
        parameters = {"type": "object", "properties": properties, "required": list(properties)}
    return Tool(name="f", parameters=parameters)


def errors(a_tool: Tool, **arguments: Any) -> tuple[str, ...]:
    return call_errors(ToolCall(name="f", arguments=arguments), [a_tool])


def test_a_call_that_fits_has_no_errors() -> None:
    assert errors(tool(city={"type": "string"}), city="Rome") == ()


def test_unknown_tool() -> None:
    assert call_errors(ToolCall(name="g", arguments={}), [tool()]) == ("unknown_tool:g",)
    assert call_errors(ToolCall(name="g", arguments={}), []) == ("unknown_tool:g",)


def test_every_missing_argument_is_named() -> None:
    assert errors(tool(a={"type": "string"}, b={"type": "string"})) == ("missing_required:a", "missing_required:b")


def test_undeclared_argument() -> None:
    assert errors(tool(a={}), a=1, b=2) == ("undeclared_argument:b",)


def test_a_tool_without_arguments_takes_none() -> None:
    assert errors(tool({"type": "object", "properties": {}}), x=1) == ("undeclared_argument:x",)


@pytest.mark.parametrize(
    "parameters",
    [
        {"type": "object"},
        {"type": "object", "properties": {}, "additionalProperties": True},
        {"type": "object", "properties": {}, "additionalProperties": {"type": "integer"}},
        {"type": "object", "properties": {}, "patternProperties": {"^x": {}}},
    ],
)
def test_a_schema_that_says_so_stays_open(parameters: dict[str, Any]) -> None:
    assert errors(tool(parameters), x=1) == ()


def test_names_that_a_pattern_allows_are_declared() -> None:
    parameters = {"type": "object", "patternProperties": {"^x": {}}, "additionalProperties": False}
    assert errors(tool(parameters), x1=1, y=1) == ("undeclared_argument:y",)


@pytest.mark.parametrize("declared", ["integer", "number"])
def test_a_boolean_is_no_number(declared: str) -> None:
    assert errors(tool(x={"type": declared}), x=True) == (f"type:x expected {declared}, got boolean",)


@pytest.mark.parametrize("value", [5, 5.0])
@pytest.mark.parametrize("declared", ["integer", "number"])
def test_a_whole_number_is_integer_and_number(declared: str, value: float) -> None:
    assert errors(tool(x={"type": declared}), x=value) == ()


def test_a_fraction_is_no_integer() -> None:
    assert errors(tool(x={"type": "integer"}), x=5.5) == ("type:x expected integer, got number",)


def test_a_number_as_text_is_no_number() -> None:
    assert errors(tool(x={"type": "number"}), x="5") == ("type:x expected number, got string",)


def test_boolean_is_not_one_in_an_enum() -> None:
    assert errors(tool(x={"enum": [1, 2]}), x=True) == ("enum:x not an allowed value",)
    assert errors(tool(x={"enum": [1, 2]}), x=1) == ()


def test_errors_carry_the_path() -> None:
    stop = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    route = tool(stops={"type": "array", "items": stop})
    assert errors(route, stops=[{"city": "Rome"}, {"city": 1}, {"town": "Bari"}]) == (
        "missing_required:stops[2].city",
        "type:stops[1].city expected string, got integer",
        "undeclared_argument:stops[2].town",
    )


def test_other_constraints_name_their_keyword() -> None:
    assert errors(tool(x={"type": "integer", "maximum": 3}), x=4) == ("constraint:x maximum",)


def test_format_is_not_checked() -> None:
    assert errors(tool(day={"type": "string", "format": "date"}), day="tomorrow") == ()


def test_a_nullable_argument_reports_the_types_of_its_branches() -> None:
    nullable = tool(x={"anyOf": [{"type": "string"}, {"type": "null"}]})
    assert errors(nullable, x=None) == ()
    assert errors(nullable, x=1) == ("type:x expected string or null, got integer",)


NESTED = {
    "type": "object",
    "properties": {"place": {"anyOf": [{"$ref": "#/$defs/Place"}, {"type": "null"}]}},
    "$defs": {
        "Named": {"type": "object", "properties": {"name": {"type": "string"}}},
        "Place": {"allOf": [{"$ref": "#/$defs/Named"}, {"properties": {"zip": {"type": "string"}}}]},
    },
}


def test_an_object_put_together_from_parts_is_closed_as_a_whole() -> None:
    assert errors(tool(NESTED), place={"name": "Rome", "zip": "00100"}) == ()
    assert errors(tool(NESTED), place=None) == ()
    assert errors(tool(NESTED), place={"name": "Rome", "mayor": "x"}) == ("undeclared_argument:place",)


def test_a_schema_that_nests_in_itself_is_checked_at_every_depth() -> None:
    tree = {
        "type": "object",
        "properties": {"node": {"$ref": "#/$defs/Node"}},
        "$defs": {
            "Node": {
                "type": "object",
                "properties": {"value": {"type": "integer"}, "next": {"$ref": "#/$defs/Node"}},
            }
        },
    }
    assert errors(tool(tree), node={"value": 1, "next": {"value": 2}}) == ()
    assert errors(tool(tree), node={"next": {"next": {"value": "2"}}}) == (
        "type:node.next.next.value expected integer, got string",
    )


def test_a_property_may_be_named_like_a_keyword() -> None:
    named = tool(properties={"type": "string"}, default={"type": "object", "properties": {"a": {}}})
    assert errors(named, properties="x", default={"b": 1}) == ("undeclared_argument:default.b",)


@pytest.mark.parametrize(
    "parameters",
    [
        {"type": "dict", "properties": {}},
        {"type": "array"},
        {"type": "object", "properties": {"x": {"type": "float"}}},
        {"type": "object", "properties": {"x": {"pattern": "("}}},
        {"type": "object", "properties": {"x": {"$ref": "http://127.0.0.1:9/x"}}},
        {"type": "object", "properties": {"x": {"$ref": "#/$defs/X"}}},
        {"type": "object", "properties": {"x": {"not": {"$ref": "#/$defs/X"}}}},
        {"type": "object", "properties": {"x": {"$dynamicRef": "#nowhere"}}},
        {"type": "object", "properties": {"x": {"$ref": "#/$defs/X"}}, "$defs": {"X": {"$ref": "#/$defs/X"}}},
    ],
)
def test_a_schema_that_cannot_be_used_is_the_users_to_correct(parameters: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"'f'.*JSON Schema"):
        errors(tool(parameters), x=1)


def test_a_multiple_of_little_is_told_of_the_largest_number_that_a_call_may_hold() -> None:
    for little in (0.5, 1e-300, 5e-324):
        assert errors(tool(x={"multipleOf": little}), x=10**307) in ((), ("constraint:x multipleOf",))
    with pytest.raises(ValueError, match="has 401 digits; allowed: up to 308"):
        errors(tool(x={"multipleOf": 0.5}), x=10**400)


@settings(deadline=None, max_examples=100)
@given(
    st.dictionaries(st.sampled_from("abc"), st.none() | st.booleans() | st.integers() | st.text(max_size=3)),
    st.randoms(use_true_random=False),
)
def test_order_of_arguments_changes_nothing(arguments: dict[str, Any], rng: Any) -> None:
    shuffled = list(arguments.items())
    rng.shuffle(shuffled)
    a_tool = tool(a={"type": "string"}, b={"type": "integer"})
    assert errors(a_tool, **arguments) == errors(a_tool, **dict(shuffled))


@pytest.mark.parametrize("unknown", [{"properties": None, "allOf": None}, {"$ref": 7}, {"allOf": [{"$ref": []}]}])
def test_what_stands_under_an_unknown_keyword_is_no_schema(unknown: dict[str, Any]) -> None:
    assert errors(tool({"type": "object", "properties": {"a": {"type": "integer"}}, "x-note": unknown}), a=1) == ()
