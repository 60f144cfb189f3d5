import contextlib
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sloop.calls.formats import parse
from sloop.calls.match import call_key, normalise_call, normalise_text, strict
from sloop.calls.schema import call_errors
from sloop.records import Label, Tool, ToolCall, UserError

PARAMETERS = {
    "type": "object",
    "properties": {
        "city": {"type": "string"},
        "unit": {"type": "string", "enum": ["C", "F"]},
        "days": {"type": "integer", "default": 1},
        "amount": {"type": "number"},
        "flag": {"type": "boolean"},
        "tags": {"type": "array", "items": {"type": "string"}},
        "place": {
            "anyOf": [{"$ref": "#/$defs/Place"}, {"type": "null"}],
            "default": None,
        },
    },
    "required": ["city"],
    "$defs": {
        "Place": {
            "type": "object",
            "properties": {"zip": {"type": "string"}, "radius": {"type": "number", "default": 5}},
        }
    },
}
F = Tool(name="f", parameters=PARAMETERS)
G = Tool(name="g", parameters={"type": "object", "properties": {"x": {"type": "integer"}}})
TOOLS = (F, G)

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-2, 2)
    | st.sampled_from([0.0, -0.0, 1.0, 0.5])
    | st.sampled_from(["", "a", " a", "A", "a b", "a  b", "a\n b", "\u00e9", "e\u0301", "1", "true"])
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["zip", "radius", "k"]), inner),
    max_leaves=4,
)
ARGUMENTS = st.dictionaries(st.sampled_from([*PARAMETERS["properties"], "other"]), VALUES, max_size=3)
CALLS = st.builds(ToolCall, name=st.sampled_from("fgh"), arguments=ARGUMENTS)
LISTS = st.lists(CALLS, max_size=4)


def call(name: str = "f", **arguments: Any) -> ToolCall:
    return ToolCall(name=name, arguments=arguments)


def matches(given_calls: list[ToolCall], *asked: ToolCall, ordered: bool = False) -> bool:
    return strict(TOOLS, given_calls, Label(calls=asked, ordered=ordered)).valid


def reason(given_calls: list[ToolCall] | None, *asked: ToolCall, ordered: bool = False) -> str | None:
    return strict(TOOLS, given_calls, Label(calls=asked, ordered=ordered)).reason


def same(one: ToolCall, other: ToolCall) -> bool:
    forward, back = matches([one], other), matches([other], one)
    assert forward == back == (call_key(one, TOOLS) == call_key(other, TOOLS))
    return forward


# --- false matches of the published comparator ------------------------------------------------------------------


@settings(deadline=None, max_examples=100)
@given(st.lists(st.sampled_from("abc"), min_size=2, max_size=5), st.randoms(use_true_random=False))
def test_order_within_an_array_matters(tags: list[str], rng: random.Random) -> None:
    shuffled = list(tags)
    rng.shuffle(shuffled)
    assert same(call(tags=tags), call(tags=shuffled)) == (tags == shuffled)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=4), st.integers(0, 3))
def test_duplicates_within_an_array_matter(tags: list[str], index: int) -> None:
    assert not same(call(tags=tags), call(tags=[*tags, tags[index % len(tags)]]))


@pytest.mark.parametrize("name", ["flag", "amount", "days", "city", "other"])
@pytest.mark.parametrize(("boolean", "number"), [(True, 1), (False, 0), (True, 1.0)])
def test_a_boolean_is_never_a_number(name: str, boolean: bool, number: float) -> None:
    assert not same(call(**{name: boolean}), call(**{name: number}))
    assert not same(call(**{name: [boolean]}), call(**{name: [number]}))
    assert not same(call(**{name: {"k": boolean}}), call(**{name: {"k": number}}))


def test_two_different_calls_on_one_line_do_not_match() -> None:
    one = parse("hermes", '<tool_call>{"name":"g","arguments":{"x":1}}</tool_call>').calls
    other = parse("hermes", '<tool_call>{"name":"g","arguments":{"x":2}}</tool_call>').calls
    assert one
    assert other
    assert not strict(TOOLS, one, Label(calls=other)).valid


def test_what_cannot_be_parsed_matches_nothing() -> None:
    assert reason(None) == "format: the output is not a readable call"
    assert not strict(TOOLS, None, Label()).valid


# --- what is equal ----------------------------------------------------------------------------------------------


def test_no_call_matches_no_call_whatever_is_said() -> None:
    assert strict(TOOLS, (), Label(content="No suitable tool.")).valid


def test_an_integer_equals_the_same_number_written_as_float() -> None:
    assert same(call(amount=960), call(amount=960.0))
    assert same(call(days=3), call(days=3.0))
    assert not same(call(amount=960), call(amount=960.5))
    assert not same(call(amount=2**53), call(amount=2**53 + 1))


def test_a_number_in_quotes_is_another_value() -> None:
    assert not same(call(amount=960), call(amount="960"))


@pytest.mark.parametrize("city", ["New  York", " New York", "New York\n", "New\u00a0York"])
def test_white_space_of_free_text_is_normalised(city: str) -> None:
    assert same(call(city=city), call(city="New York"))


def test_white_space_inside_several_lines_is_kept() -> None:
    assert same(call(city="if x:\r\n    y\n"), call(city="if x:\n    y"))
    assert not same(call(city="if x:\n    y"), call(city="if x:\n  y"))
    assert not same(call(city="a\nb"), call(city="a b"))


def test_composed_and_decomposed_letters_are_one() -> None:
    assert same(call(city="Orl\u00e9ans"), call(city="Orle\u0301ans"))


@pytest.mark.parametrize(("one", "other"), [("README.md", "readme.md"), ("a-b", "a b"), ("Orl\u00e9ans", "Orleans")])
def test_case_punctuation_and_accents_matter(one: str, other: str) -> None:
    assert not same(call(city=one), call(city=other))


def test_a_choice_is_compared_as_it_is() -> None:
    assert same(call(unit="C"), call(unit="C"))
    assert not same(call(unit="C "), call(unit="C"))


def test_leaving_out_an_optional_argument_means_its_default() -> None:
    assert same(call(city="a"), call(city="a", days=1))
    assert same(call(city="a"), call(city="a", place=None))
    assert not same(call(city="a"), call(city="a", days=2))


def test_without_a_default_leaving_out_differs_from_every_value() -> None:
    assert not same(call(city="a"), call(city="a", unit="C"))
    assert not same(call(city="a"), call(city="a", unit=None))
    assert not same(call(city="a"), call(city="a", unit=""))
    assert not same(call(), call(city=""))


def test_a_required_argument_has_no_default() -> None:
    tool = Tool(name="f", parameters={"type": "object", "properties": {"x": {"default": 1}}, "required": ["x"]})
    assert not strict([tool], [call()], Label(calls=(call(x=1),))).valid


def test_defaults_count_inside_nested_objects() -> None:
    assert same(call(place={"zip": "1"}), call(place={"radius": 5.0, "zip": " 1"}))
    assert not same(call(place={"zip": "1"}), call(place={"zip": "1", "radius": 6}))


def test_parts_of_a_schema_count_together() -> None:
    parts = [{"properties": {"a": {"default": 1}}}, {"$ref": "#/$defs/B"}]
    tool = Tool(
        name="f",
        parameters={
            "type": "object",
            "properties": {"c": {"default": 3}},
            "allOf": parts,
            "$defs": {"B": {"properties": {"b": {"enum": ["x"], "default": "x"}}}},
        },
    )
    assert strict([tool], [call()], Label(calls=(call(a=1, b="x", c=3),))).valid
    assert not strict([tool], [call(b="x ")], Label(calls=(call(),))).valid


def test_a_union_of_two_objects_fills_in_nothing() -> None:
    branches = [{"type": "object", "properties": {"k": {"default": d}}} for d in (1, 2)]
    tool = Tool(name="f", parameters={"type": "object", "properties": {"x": {"anyOf": branches}}})
    assert not strict([tool], [call(x={})], Label(calls=(call(x={"k": 1}),))).valid
    assert strict([tool], [call(x={})], Label(calls=(call(x={}),))).valid


@pytest.mark.parametrize("reference", ["#", "#/$defs/Node", "#/$defs/Nowhere", "http://127.0.0.1:9/x"])
def test_a_schema_inside_itself_or_nowhere_is_no_obstacle(reference: str) -> None:
    node = {"type": "object", "properties": {"next": {"$ref": reference, "default": {}}}}
    parameters = {"type": "object", "properties": {"x": {"$ref": reference}}, "$defs": {"Node": node}}
    tool = Tool(name="f", parameters=parameters)
    normal = normalise_call(call(x={}), [tool])
    assert normalise_call(normal, [tool]) == normal
    assert strict([tool], [call(x={"a": 1})], Label(calls=(call(x={"a": 1.0}),))).valid


# --- several calls ----------------------------------------------------------------------------------------------


def test_calls_are_compared_as_a_multiset() -> None:
    assert matches([call(city="b"), call(city="a")], call(city="a"), call(city="b"))
    assert not matches([call(city="a")], call(city="a"), call(city="a"))
    assert not matches([call(city="a"), call(city="a")], call(city="a"), call(city="b"))


def test_an_ordered_label_compares_a_list() -> None:
    calls = [call(city="b"), call("g", x=1)]
    assert matches(calls, *calls, ordered=True)
    assert not matches(calls[::-1], *calls, ordered=True)
    assert reason(calls[::-1], *calls, ordered=True) == "order:0"


def test_pairs_count_right_tools_and_right_arguments() -> None:
    match = strict(TOOLS, [call(city="a"), call("g", x=2)], Label(calls=(call(city="a"), call("g", x=1), call("g"))))
    assert (match.paired, match.right, match.tools_equal, match.valid) == (2, 1, False, False)


@pytest.mark.parametrize(
    ("given_calls", "asked", "code"),
    [
        ([], [call()], "no_call:f"),
        ([call()], [], "unexpected_call:f"),
        ([call("g")], [call()], "missing_call:f"),
        ([call(), call("g")], [call()], "unexpected_call:g"),
        ([call(city="a")], [call()], "unexpected_argument:f.city"),
        ([call()], [call(city="a")], "missing_argument:f.city"),
        ([call(city=1)], [call(city="a")], "type:f.city expected string, got number"),
        ([call(city="b")], [call(city="a")], "value:f.city"),
        ([call(tags=["a"])], [call(tags=["a", "a"])], "length:f.tags expected 2, got 1"),
        ([call(tags=["a", "c"])], [call(tags=["a", "b"])], "value:f.tags[1]"),
        ([call(place={"zip": "1"})], [call(place={"zip": "2"})], "value:f.place.zip"),
        ([call(city="x", days=5), call(city="b")], [call(city="a"), call(city="x", days=2)], "value:f.city"),
        ([call("g", x=1), call("g", x=1)], [call("g", x=1), call("g", x=2)], "value:g.x"),
    ],
)
def test_the_first_difference_is_named(given_calls: list[ToolCall], asked: list[ToolCall], code: str) -> None:
    assert reason(given_calls, *asked) == code


# --- laws -------------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=50)
@given(LISTS, st.booleans())
def test_matching_is_reflexive(calls: list[ToolCall], ordered: bool) -> None:
    match = strict(TOOLS, calls, Label(calls=tuple(calls), ordered=ordered))
    assert match.valid
    assert match.tools_equal
    assert match.reason is None
    assert match.right == match.paired == len(calls)


@settings(deadline=None, max_examples=50)
@given(LISTS, LISTS, st.booleans())
def test_matching_is_symmetric(one: list[ToolCall], other: list[ToolCall], ordered: bool) -> None:
    forward = strict(TOOLS, one, Label(calls=tuple(other), ordered=ordered))
    back = strict(TOOLS, other, Label(calls=tuple(one), ordered=ordered))
    assert (forward.valid, forward.right, forward.paired) == (back.valid, back.right, back.paired)
    assert forward.valid == (forward.reason is None)


@settings(deadline=None, max_examples=50)
@given(LISTS, st.randoms(use_true_random=False))
def test_order_of_calls_and_of_arguments_changes_nothing(calls: list[ToolCall], rng: random.Random) -> None:
    shuffled = []
    for one in calls:
        items = list(one.arguments.items())
        rng.shuffle(items)
        shuffled.append(ToolCall(name=one.name, arguments=dict(items)))
    rng.shuffle(shuffled)
    assert matches(shuffled, *calls)


@settings(deadline=None, max_examples=60)
@given(CALLS)
def test_normalising_twice_changes_nothing_more(one: ToolCall) -> None:
    normal = normalise_call(one, TOOLS)
    assert normalise_call(normal, TOOLS).model_dump_json() == normal.model_dump_json()
    assert matches([normal], one)


@settings(deadline=None, max_examples=100)
@given(st.text(st.sampled_from("a \n\r\t\u00e9e\u0301\u2003\u1100\u1161\x1c")))
def test_normalising_text_twice_changes_nothing_more(text: str) -> None:
    assert normalise_text(normalise_text(text)) == normalise_text(text)


@settings(deadline=None, max_examples=50)
@given(LISTS, LISTS)
def test_the_pairing_is_the_largest_there_is(one: list[ToolCall], other: list[ToolCall]) -> None:
    left = list(other)
    for a in one:
        partner = next((k for k, b in enumerate(left) if matches([a], b)), None)
        if partner is not None:
            del left[partner]
    # Equality is an equivalence relation, for which taking the first partner is optimal.
    assert strict(TOOLS, one, Label(calls=tuple(other))).right == len(other) - len(left)


# --- schemas that are none ----------------------------------------------------------------------------------------

KEYWORDS = [
    "properties", "required", "allOf", "anyOf", "oneOf", "items", "prefixItems", "additionalProperties", "default",
    "enum", "const", "type", "pattern", "format", "patternProperties", "$ref", "$defs", "not", "a", "b",
]  # fmt: skip
ANYTHING = st.recursive(
    st.sampled_from([None, True, False, 0, 1.5, "", "object", "string", "array", "#", "#/properties/a", "(", "a"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYWORDS), inner, max_size=4),
    max_leaves=20,
)
ANY_SCHEMA = st.dictionaries(st.sampled_from(KEYWORDS), ANYTHING, max_size=5)
ANY_ARGUMENTS = st.dictionaries(st.sampled_from(["a", "b", "properties"]), VALUES | ANYTHING, max_size=3)


@settings(deadline=None, max_examples=100)
@given(ANY_SCHEMA, ANY_ARGUMENTS, ANY_ARGUMENTS)
def test_no_schema_makes_the_comparator_raise(
    parameters: dict[str, Any], one: dict[str, Any], other: dict[str, Any]
) -> None:
    tools = [Tool(name="f", parameters=parameters)]
    asked, found = call(**one), call(**other)
    assert strict(tools, [asked], Label(calls=(asked,))).valid
    match = strict(tools, [found], Label(calls=(asked,)))
    assert match.valid == strict(tools, [asked], Label(calls=(found,))).valid == (match.reason is None)
    with contextlib.suppress(UserError):
        call_errors(asked, tools)


@pytest.mark.parametrize(
    "schema",
    [
        {"properties": {"a": {"type": "object", "required": True, "properties": {"x": {"default": 1}}}}},
        {"properties": {"a": {"properties": {"x": {"default": 1}}, "allOf": {}, "anyOf": 3, "type": [{}]}}},
        {"properties": {"a": {"prefixItems": None, "enum": 1, "properties": {"x": {"default": 1}}}}},
    ],
)
def test_an_unusable_part_of_a_schema_is_taken_as_absent(schema: dict[str, Any]) -> None:
    tools = [Tool(name="f", parameters={"type": "object", **schema})]
    assert strict(tools, [call(a={})], Label(calls=(call(a={"x": 1}),))).valid
    assert not strict(tools, [call(a={})], Label(calls=(call(a={"x": 2}),))).valid


def test_parameters_may_be_named_like_keywords() -> None:
    properties = {"required": {"type": "string", "default": "a"}, "$ref": {"default": 1}, "enum": {"default": 2}}
    tools = [Tool(name="f", parameters={"type": "object", "properties": properties})]
    whole = call(**{"required": " a", "$ref": 1, "enum": 2})
    assert strict(tools, [call()], Label(calls=(whole,))).valid


def test_a_schema_without_end_is_written_out_as_far_as_it_goes() -> None:
    schema: dict[str, Any] = {"default": 1}
    for _ in range(200):
        schema = {"properties": {"a": schema}}
    assert strict([Tool(name="f", parameters=schema)], [call(a={})], Label(calls=(call(a={}),))).valid
