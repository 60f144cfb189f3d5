"""ACEBench's comparator: a test for every official rule, in the order in which the official checker applies them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sloop.calls.match import acebench

WORDS = st.sampled_from(["Oslo", "New York", "it's", "a-b", "x" * 30])
ARGUMENT = {
    "string": WORDS,
    "integer": st.integers(),
    "number": st.integers() | st.floats(allow_nan=False),
    "float": st.floats(allow_nan=False),
    "boolean": st.booleans(),
    "array": st.lists(WORDS, min_size=1, max_size=3),
    "object": st.dictionaries(WORDS, WORDS | st.integers() | st.booleans(), min_size=1, max_size=3),
}
"""A gold value of each type."""


def function(name: str = "f", required: tuple[str, ...] = (), **properties: Any) -> dict[str, Any]:
    """A function; a property is its type, or its whole schema."""
    schemas = {key: {"type": part} if isinstance(part, str) else part for key, part in properties.items()}
    return {"name": name, "parameters": {"type": "object", "properties": schemas, "required": list(required)}}


def error(functions: list[dict[str, Any]], calls: Any, answer: Any) -> str | None:
    found = acebench(functions, calls, answer)
    assert found.valid == (found.error_type is None)
    return found.error_type


def one(schema: Any, value: Any, answer: Any) -> str | None:
    """The error of one argument."""
    return error([function(p=schema)], [{"f": {"p": value}}], {"f": {"p": answer}})


def array(items: str) -> dict[str, Any]:
    return {"type": "array", "items": {"type": items}}


# --- the output as a whole ----------------------------------------------------------------------------------------


def test_an_output_that_cannot_be_decoded_is_of_a_wrong_format() -> None:
    assert error([function(p="string")], None, {"f": {"p": "a"}}) == "wrong_output_format"


def test_the_number_of_calls_is_compared_before_their_names() -> None:
    assert error([function(p="string")], [{"g": {}}, {"g": {}}], {"f": {"p": "a"}}) == "wrong functions number"
    assert error([function(p="string")], [], {"f": {"p": "a"}}) == "wrong functions number"


def test_names_are_compared_before_arguments() -> None:
    assert error([function(p="string")], [{"g": {"x": 1}}], {"f": {"p": "a"}}) == "function_mismatch"


def test_names_count_as_often_as_they_stand_there() -> None:
    functions = [function("f", p="string"), function("g", p="string")]
    answer = {"f_1": {"p": "a"}, "f_2": {"p": "b"}, "g": {"p": "c"}}
    given_twice = [{"f": {"p": "a"}}, {"g": {"p": "c"}}, {"g": {"p": "c"}}]
    assert error(functions, given_twice, answer) == "function_mismatch"


def test_numbered_names_in_an_answer_are_calls_of_one_function_in_any_order() -> None:
    answer = {"f_1": {"p": "a"}, "f_2": {"p": "b"}}
    assert error([function(p="string")], [{"f": {"p": "b"}}, {"f": {"p": "a"}}], answer) is None


def test_a_function_whose_own_name_ends_in_a_number_cannot_be_met() -> None:
    assert error([function("f_2", p="string")], [{"f_2": {"p": "a"}}], {"f_2": {"p": "a"}}) == "function_mismatch"
    assert error([function("f_2", p="string")], [{"f": {"p": "a"}}], {"f_2": {"p": "a"}}) == "wrong_function_name"


def test_one_output_may_serve_several_expected_calls() -> None:
    functions = [function(p="integer")]
    assert error(functions, [{"f": {"p": 5}}, {"f": {"p": 5}}], {"f_1": {"p": 1}, "f_2": {"p": 2}}) is None
    both = [{"f": {"p": "a and b"}}, {"f": {"p": "neither"}}]
    assert error([function(p="string")], both, {"f_1": {"p": "a and b"}, "f_2": {"p": "b"}}) is None


def test_of_several_outputs_the_last_one_gives_the_error() -> None:
    functions = [function("f", p="string"), function("g", p="string")]
    answer = {"f": {"p": "a"}, "g": {"p": "b"}}
    wrong, right = {"f": {"p": "x"}}, {"g": {"p": "b"}}
    assert error(functions, [right, wrong], answer) == "value_error:string"
    assert error(functions, [wrong, right], answer) == "simple_function_checker:unclear"


def test_any_of_several_answers_will_do_and_the_error_is_that_of_the_first() -> None:
    answers = [{"f": {"p": "a"}}, {"g": {"p": "b"}}]
    functions = [function("f", p="string"), function("g", p="string")]
    assert error(functions, [{"g": {"p": "b"}}], answers) is None
    assert error(functions, [{"f": {"p": "x"}}], answers) == "value_error:string"


def test_a_function_is_looked_up_by_a_part_of_the_answers_name() -> None:
    functions = [function("find", p="string"), function("find_all", p="string")]
    call, answer = [{"find_all": {"p": "a"}}], {"find_all": {"p": "a"}}
    assert error(functions, call, answer) == "wrong_function_name"
    assert error(functions[::-1], call, answer) is None


def test_an_answer_of_another_type_than_the_declared_one_is_compared_by_type_alone() -> None:
    def of(declared: str, given: Any, answer: Any) -> str | None:
        return error([function(p=declared)], [{"f": {"p": given}}], {"f": {"p": answer}})

    assert of("string", "x", 5) is None, "of the declared type"
    assert of("string", 7, 5) is None, "of the answer's type"
    assert of("string", 7.5, 5) == "type_error"
    assert of("string", "x", "y") == "value_error:string"


# --- which arguments ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "arguments", "found"),
    [
        ({}, {}, None),
        ({}, {"p": "a"}, "wrong_param"),
        ({"properties": {"p": {"type": "string"}}, "required": []}, {}, "wrong_param"),
    ],
)
def test_a_call_without_arguments_is_right_only_for_a_function_without_parameters(
    parameters: dict[str, Any], arguments: dict[str, Any], found: str | None
) -> None:
    assert error([{"name": "f", "parameters": parameters}], [{"f": arguments}], {"f": {}}) == found


def test_an_answer_without_arguments_takes_any_where_nothing_is_declared() -> None:
    assert error([function()], [{"f": {"made": "up"}}], {"f": {}}) is None
    assert error([function(p="string")], [{"f": {"p": "a"}}], {"f": {}}) == "wrong_param"


def test_what_is_required_must_be_there() -> None:
    functions = [function(required=("p",), p="string", q="string")]
    assert error(functions, [{"f": {"q": "b", "made": "up"}}], {"f": {"p": "a", "q": "b"}}) == "lack_args"


def test_what_the_answer_has_and_is_not_required_may_be_missing() -> None:
    functions = [function(required=("p",), p="string", q="string")]
    assert error(functions, [{"f": {"p": "a"}}], {"f": {"p": "a", "q": "b"}}) is None


@pytest.mark.parametrize("extra", ["undeclared", "q"])
def test_what_the_schema_or_the_answer_lacks_may_not_be_there(extra: str) -> None:
    functions = [function(required=("p",), p="string", q="string")]
    assert error(functions, [{"f": {"p": "a", extra: "b"}}], {"f": {"p": "a"}}) == "addition_args"


def test_the_first_error_is_that_of_the_argument_written_first() -> None:
    functions, answer = [function(p="string", q="integer")], {"f": {"p": "a", "q": 1}}
    assert error(functions, [{"f": {"p": "x", "q": "one"}}], answer) == "value_error:string"
    assert error(functions, [{"f": {"q": "one", "p": "x"}}], answer) == "type_error"


# --- values -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "value", "answer"),
    [("integer", 5, 7), ("int", 5, 7), ("number", 5, 7), ("number", 1.5, 9.5), ("float", 1.5, 9.5)],
)
def test_a_number_is_compared_by_its_type_alone(kind: str, value: Any, answer: Any) -> None:
    assert one(kind, value, answer) is None


@pytest.mark.parametrize("value", [True, False, "true", "false"])
def test_a_boolean_is_compared_by_its_type_alone_and_may_be_a_word(value: Any) -> None:
    assert one("boolean", value, True) is None


@pytest.mark.parametrize(
    ("kind", "value", "answer", "found"),
    [
        ("number", 1.5, 9, "type_error"),
        ("integer", True, 1, None),  # equal to the answer
        ("integer", True, 2, "type_error"),
        ("integer", "5", 5, "type_error"),
        ("boolean", 1, False, "type_error"),
        ("string", 5, "5", "type_error"),
        ("float", 5, 9.5, None),
        ("float", 5.5, 9, None),
        ("number", 3, 9.5, None),
        ("number", 9.0, 9, None),
        ("object", [1], {"a": 1}, "type_error"),
        ("array", "a", ["a"], "type_error"),
    ],
)
def test_a_type_is_the_declared_or_the_answers_or_the_value_equals_the_answer(
    kind: str, value: Any, answer: Any, found: str | None
) -> None:
    assert one(kind, value, answer) == found


@pytest.mark.parametrize(("kind", "value", "answer"), [("integer", "b", "a"), ("enum", "b", "a"), ("string", 6, 5)])
def test_where_the_answer_is_of_another_type_than_declared_only_the_type_is_compared(
    kind: str, value: Any, answer: Any
) -> None:
    assert one(kind, value, answer) is None


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("New York, USA", None),
        ("NEW-york", None),
        ("I love New_York.", None),
        ("New", "value_error:string"),
        ("New\tYork", "value_error:string"),
    ],
)
def test_a_string_contains_the_answer_when_both_are_standardised(value: str, found: str | None) -> None:
    assert one("string", value, "New York") == found


def test_quotes_are_alike() -> None:
    assert one("string", "it's", 'it"s') is None


def test_the_string_true_is_taken_for_a_boolean_and_so_never_met() -> None:
    assert one("string", "true", "true") == "type_error"
    assert one(array("string"), ["true"], [["true"], ["true"]]) == "type_error"


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (["red", "NAVY-blue"], None),
        (["navy blue", "red"], "value_error:list/tuple"),
        (["red"], "value_error:list/tuple"),
        (["red", "navy blue!"], "value_error:list/tuple"),
        (("red", "navy blue"), "type_error"),
    ],
)
def test_an_array_equals_the_answer_in_order_its_strings_standardised(value: Any, found: str | None) -> None:
    assert one(array("string"), value, ["red", "navy blue"]) == found
    if type(value) is list:
        assert one("list", value, ["red", "navy blue"]) == one("list(string)", value, ["red", "navy blue"]) == found


def test_strings_deeper_in_an_array_are_compared_as_they_are() -> None:
    assert one(array("array"), [["A"]], [["a"]]) == "value_error:list/tuple"


def test_a_tuple_counts_as_an_array_where_one_is_declared() -> None:
    assert one({"type": "tuple", "items": {"type": "integer"}}, (1, 2), [1, 2]) is None


def test_the_types_of_items_are_looked_at_only_where_the_answers_items_are_arrays() -> None:
    assert one(array("integer"), ["a"], [1]) == "value_error:list/tuple"
    assert one(array("integer"), ["a"], [[1]]) == "type_error"
    assert one(array("integer"), [[2]], [[1]]) == "value_error:list/tuple"


@pytest.mark.parametrize(("schema", "answer"), [(array("string"), []), ("object", {}), (array("string"), "")])
def test_an_empty_array_or_object_as_an_answer_is_met_by_nothing(schema: Any, answer: Any) -> None:
    assert one(schema, answer or [], answer) == "type_error"


def test_an_array_that_declares_no_items_is_one_of_objects() -> None:
    assert one("array", ["a"], ["a"]) == "value_error"
    assert one("array", [{"k": "a"}], [{"k": "a"}]) is None


@pytest.mark.parametrize(
    ("value", "answer", "found"),
    [
        ({"city": "in OSLO"}, {"city": "Oslo"}, None),
        ({"city": "Os"}, {"city": "Oslo"}, "value_error"),
        ({"n": 15}, {"n": 5}, None),
        ({"n": 5}, {"n": 15}, "value_error"),
        ({"n": "15"}, {"n": 5}, None),
        ({"on": "true"}, {"on": True}, None),
        ({"on": False}, {"on": True}, "value_error"),
        ({"l": ["a", "b"]}, {"l": ["a", "b"]}, None),
        ({"l": ["A"]}, {"l": ["a"]}, "value_error"),
        ({"a": {"b": "xyz"}}, {"a": {"b": "y"}}, None),
        ({"a": "y"}, {"a": {"b": "y"}}, "value_error"),
        ({"a": {"b": "y", "c": 1}}, {"a": {"b": "y"}}, "value_error"),
    ],
)
def test_the_text_of_each_value_of_an_object_contains_the_answers(value: Any, answer: Any, found: str | None) -> None:
    assert one("object", value, answer) == one("dict", value, answer) == found


@pytest.mark.parametrize("value", [{}, {"a": "x"}, {"a": "x", "c": "y"}, {"a": "x", "b": "y", "c": "z"}])
def test_an_object_has_the_keys_of_the_answer(value: dict[str, str]) -> None:
    assert one("object", value, {"a": "x", "b": "y"}) == "value_error"


def test_objects_in_an_array_are_as_many_and_in_order() -> None:
    answer = [{"k": "a"}, {"k": "b"}]
    assert one(array("object"), [{"k": "a!"}, {"k": "b"}], answer) is None
    assert one(array("object"), [{"k": "b"}, {"k": "a"}], answer) == "value_error"
    assert one(array("object"), [{"k": "a"}], answer) == "value_error:list_dict_count"
    assert one(array("object"), ["a", "b"], answer) == "value_error"


def test_an_object_array_is_counted_and_then_the_official_checker_raises() -> None:
    assert one("objectArray", [{"k": "a"}], [{"k": "a"}, {"k": "b"}]) == "value_error:dict_items"
    assert one("objectArray", [{"k": "a"}], [{"k": "a"}]) == "exception:TypeError"


@pytest.mark.parametrize(
    ("functions", "name"),
    [
        ([], "TypeError"),
        ([{"name": "f", "arguments": {}}], "KeyError"),
        ([function(p="null")], "KeyError"),
        ([function(p={"type": ["string", "null"]})], "TypeError"),
    ],
)
def test_what_the_official_checker_does_not_foresee_is_an_exception(functions: list[dict[str, Any]], name: str) -> None:
    assert error(functions, [{"f": {"p": "a"}}], {"f": {"p": "a"}}) == f"exception:{name}"


# --- universal rules ----------------------------------------------------------------------------------------------


@st.composite
def entries(draw: st.DrawFn) -> tuple[list[dict[str, Any]], dict[str, dict[str, Any]]]:
    """Functions, and an answer with numbered calls of them."""
    names = draw(st.lists(st.sampled_from(["book", "find", "send"]), min_size=1, unique=True))
    kinds = {name: draw(st.lists(st.sampled_from(sorted(ARGUMENT)), min_size=1, max_size=3)) for name in names}
    functions = [
        function(name, required=("p0",), **{f"p{k}": array("string") if kind == "array" else kind for k, kind in used})
        for name in names
        for used in [list(enumerate(kinds[name]))]
    ]
    called = draw(st.lists(st.sampled_from(names), min_size=1, max_size=3))
    answer = {
        f"{name}_{n}": {f"p{k}": draw(ARGUMENT[kind]) for k, kind in enumerate(kinds[name])}
        for n, name in enumerate(called)
    }
    return functions, answer


def gold(answer: dict[str, dict[str, Any]]) -> list[dict[str, dict[str, Any]]]:
    return [{name.rpartition("_")[0]: dict(arguments)} for name, arguments in answer.items()]


@given(entries(), st.randoms(use_true_random=False))
@settings(max_examples=80, deadline=None)
def test_the_gold_answer_is_always_right_in_any_order(
    entry: tuple[list[dict[str, Any]], dict[str, dict[str, Any]]], rng: Any
) -> None:
    functions, answer = entry
    calls = gold(answer)
    rng.shuffle(calls)
    assert error(functions, calls, answer) is None


@given(
    st.sampled_from(["integer", "number", "boolean"]),
    st.integers() | st.floats(allow_nan=False) | st.booleans(),
    st.data(),
)
@settings(max_examples=80, deadline=None)
def test_another_number_of_the_answers_type_is_always_right(kind: str, answer: Any, data: st.DataObject) -> None:
    other = data.draw({int: st.integers(), float: st.floats(), bool: st.booleans()}[type(answer)])
    assert one(kind, other, answer) is None
