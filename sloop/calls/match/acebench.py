"""The comparator of ACEBench, for its ``normal_*`` and ``special_*`` rows.

Verdict and error type are those of ``normal_checker`` in the official ``model_eval/checker.py`` (chenchen0103/ACEBench,
MIT; at 56dd66c), its oddities included: a figure is only comparable with the
published ones where every rule is the same. Where that checker raises, and with it the whole official evaluation ends,
the verdict is ``exception:<Type>``.

In this order: as many calls as the answer has; the same names as often, where ``name_1`` and ``name_2`` in an answer
are two calls of ``name``; then each expected call against the given ones of its name, until one fits. What is odd, and
kept:

- One output may serve several expected calls: two equal outputs meet two different answers as long as each answer fits
  one of the outputs.
- The function of an expected call is the first whose name is *part of* the answer's name: ``find`` is taken for
  ``find_all`` where it stands before it, and nothing is right then.
- What is required must be there; what the answer has beside it may be missing; what the answer lacks may not be there.
- A call without arguments, or a function whose ``parameters`` is empty, is right only where both are. An answer that is
  the function's ``properties`` itself (both are empty) takes any arguments.
- An argument that is an integer, number or boolean is compared by its type alone, never by its value; ``number`` is an
  integer. Where the answer is of another type than the declared one the argument is a *variable*: of it, too, only the
  type is compared, and both types are right.
- An empty array or object as an answer is met by nothing; so is the string ``true`` or ``false``, which is taken for a
  boolean.
- A string is right where it contains the answer, both standardised. The strings of an array are standardised one level
  deep and the array is compared as a whole, in order.
- An object has the answer's keys, and the text of each value contains the text of the answer's: 15 is right for 5.
  Objects in an object are compared alike, arrays in it by their text.
- An array that declares no items is one of objects.

A ``special_*`` row wants a sentence, in which certain words are looked for as they stand; a call beside them does not
matter.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from sloop.calls.match.official import RAISED, VALID, OfficialMatch, standardise

TYPES: dict[str, type] = {
    "string": str,
    "any": str,
    "integer": int,
    "int": int,
    "number": int,
    "float": float,
    "boolean": bool,
    "enum": enumerate,
    "array": list,
    "list": list,
    "list(string)": list,
    "list(enum)": list,
    "objectArray": list,
    "tuple": list,
    "dict": dict,
    "object": dict,
}
"""No value is an ``enumerate``: a parameter declared ``enum`` is always a variable."""
WITH_ITEMS = frozenset({"array", "tuple", "list(string)", "list(enum)", "object", "objectArray"})
"""Declared types whose items are looked at, too."""
WORDS = {"true": True, "false": False}
SUFFIX = re.compile(r"_\d+$")
"""What tells apart the calls of one function in an answer."""

PHRASES = {
    "special_incomplete": "Missing necessary parameters",
    "special_error_param": "There is incorrect value",
    "special_irrelevant": "the limitations of the function",
}
"""What an answer to a special row must hold, in either language."""

Answer = Mapping[str, Mapping[str, Any]]


def acebench(
    functions: Sequence[Mapping[str, Any]],
    calls: Sequence[Mapping[str, Mapping[str, Any]]] | None,
    possible_answer: Answer | Sequence[Answer],
) -> OfficialMatch:
    """Compare calls with an entry's answer.

    Args:
        functions: as in the entry, ``{name, parameters: {properties, required}}``.
        calls: the decoded output, ``[{name: {argument: value}}, ...]``; None: it could not be decoded.
        possible_answer: the entry's ground truth, ``{name: {parameter: value}}``, or a list of such, any of which will
            do; the error is then that against the first.
    """
    if calls is None:
        return OfficialMatch(valid=False, error_type="wrong_output_format")
    answers = [possible_answer] if isinstance(possible_answer, Mapping) else possible_answer
    try:
        errors = []
        for answer in answers:
            if (error := _error(functions, calls, answer)) is None:
                return VALID
            errors.append(error)
        return OfficialMatch(valid=False, error_type=errors[0])
    except RAISED as raised:
        return OfficialMatch(valid=False, error_type=f"exception:{type(raised).__name__}")


def acebench_words(category: str, text: str, answer: Any) -> OfficialMatch:
    """Look for the words that a special row wants.

    Args:
        category: a key of `PHRASES`.
        text: the answer.
        answer: the entry's ground truth: of incomplete rows, parameters by function, both of which must be named; of
            rows with a wrong value, the values by parameter, of which only the values must be; of others, any.
    """
    if PHRASES[category] not in text:
        return OfficialMatch(valid=False, error_type="error_detection")
    named = answer.items() if category != "special_irrelevant" else ()
    wanted = [word for name, words in named for word in ([name] if "incomplete" in category else []) + list(words)]
    if all(word in text for word in wanted):
        return VALID
    return OfficialMatch(valid=False, error_type="error_correction")


def _error(functions: Any, calls: Any, answer: Any) -> str | None:
    if len(calls) != len(answer):
        return "wrong functions number"
    names = [SUFFIX.sub("", key) for key in answer]
    if Counter(names) != Counter(name for call in calls for name in call):
        return "function_mismatch"
    for name, (key, expected) in zip(names, answer.items(), strict=True):
        function = next((function for function in functions if function["name"] in key), None)
        error = None
        for call in calls:
            if list(call)[0] != name:  # noqa: RUF015  a call without a name must raise IndexError
                error = "simple_function_checker:unclear"
            elif (error := _call_error(function, name, call[name], expected)) is None:
                break
        if error:
            return error
    return None


def _call_error(function: Any, name: str, given: Any, expected: Any) -> str | None:
    """The first error of one call, in the order in which the model wrote its arguments."""
    parameters = function["parameters"]
    if given == {} and parameters == {}:
        return None
    if given == {} or parameters == {}:
        return "wrong_param"
    properties = parameters["properties"]
    if expected == properties:
        return None
    if expected == {}:
        return "wrong_param"
    if function["name"] != name:
        return "wrong_function_name"
    for parameter in parameters["required"]:
        if parameter not in given:
            return "lack_args"
    for parameter, value in given.items():
        if parameter not in properties or parameter not in expected:
            return "addition_args"
        if error := _argument_error(value, properties[parameter], expected[parameter]):
            return error
    return None


def _argument_error(value: Any, schema: Any, answer: Any) -> str | None:
    declared = schema["type"]
    kind = TYPES[declared]
    inner = TYPES[_items_type(schema)] if declared in WITH_ITEMS else None
    if declared == "tuple" and type(value) is tuple:
        value = list(value)
    if declared == "float" and type(value) is int:
        value = float(value)

    variable = _is_variable(value, answer, kind, inner)
    if variable is None:
        return "type_error"
    if variable:
        return None
    if kind is str:
        return None if standardise(answer) in standardise(value) else "value_error:string"
    if kind is dict:
        return _object_error(value, answer)
    if kind is not list:
        return None
    if inner is not dict:
        return None if _all_standard(value) == _all_standard(answer) else "value_error:list/tuple"
    if declared == "objectArray":
        if len(value) != len(answer):
            return "value_error:dict_items"
        raise TypeError("the official checker calls a function of its own with too few arguments here")
    return _objects_error(value, answer)


def _items_type(schema: Any) -> Any:
    items = schema.get("items")
    if isinstance(items, Mapping) and "type" in items:
        return items["type"]
    return next((word for word in ("string", "enum") if word in schema["type"]), "dict")


def _is_variable(value: Any, answer: Any, kind: type, inner: type | None) -> bool | None:
    """Whether a value of a right type is compared by its type alone; None: its type is wrong."""
    value = _boolean(value)
    right = type(value) is kind
    if right and (inner is None or any(_items_fit(value, option, inner) for option in answer)):
        return answer != "" and type(answer) is not kind
    if not right and answer != "" and (type(value) is type(answer) or answer == value):
        return True
    return None


def _items_fit(value: Any, option: Any, inner: type) -> bool:
    """Whether the items are of the declared type, or arrays as is the answer's item: the only one that is looked at."""
    return type(option) is not list or all(_is_variable(item, option, inner, None) is not None for item in value)


def _boolean(value: Any) -> Any:
    return WORDS.get(value, value) if type(value) is str else value


def _all_standard(values: Any) -> list[Any]:
    return [standardise(value) for value in values]


def _object_error(value: Any, answer: Any) -> str | None:
    if not isinstance(value, dict) or len(value) != len(answer.keys()):
        return "value_error"
    for key, item in value.items():
        if key not in answer:
            return "value_error"
        item, expected = _boolean(item), answer[key]
        if isinstance(expected, dict):
            if error := _object_error(item, expected):
                return error
        elif str(standardise(expected)) not in str(standardise(item)):
            return "value_error"
    return None


def _objects_error(value: Any, answer: Any) -> str | None:
    """The error of an array of objects, which stand in the order of the answer."""
    if len(value) != len(answer):
        return "value_error:list_dict_count"
    return next((error for pair in zip(value, answer, strict=True) if (error := _object_error(*pair))), None)
