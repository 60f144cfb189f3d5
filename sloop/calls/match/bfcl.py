"""The comparator of the Berkeley Function Calling Leaderboard, for its single-turn categories of all three languages.

Verdict and error type are those of the official AST checker (``bfcl-eval`` 2026.3.23, data v4), its oddities included:
a figure is only comparable with the published ones where every rule is the same. Where that checker raises, the verdict
is ``exception:<Type>``. Types are not JSON Schema's: ``float``, ``dict``, ``tuple`` and ``any`` stand in its schemas.

What is odd, and kept:

- A value equals one of the allowed values; ``""`` among them says that the parameter may be left out.
- Where the first allowed value that is not ``""`` is of another type than the schema's, the parameter is a *variable*:
  a value of that type is right as well, and strings are then compared as they are.
- Strings lose spaces and ``,./-_*^``, case, and the difference of the two quotes; those in a list one level deep, those
  in an object at its top, and no others.
- An integer is a float at the top level and not in a list; a boolean is no integer at the top level, and is one in an
  object.
- Parallel calls are matched greedily in the order of the answers, which can miss a matching that exists.
- Java and JavaScript: an argument is the text of an expression (`sloop.calls.bfcl_languages`), and no other value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sloop.calls.bfcl_languages import Language, language_of
from sloop.calls.match.official import RAISED, VALID, OfficialMatch, standardise

SCALARS = frozenset({str, int, float, bool})


class _Rules(NamedTuple):
    """By what a call is compared."""

    language: Language
    underscore_to_dot: bool


def bfcl(
    functions: Sequence[Mapping[str, Any]],
    calls: Sequence[Mapping[str, Mapping[str, Any]]],
    possible_answer: Sequence[Mapping[str, Mapping[str, Sequence[Any]]]],
    category: str,
    underscore_to_dot: bool = False,
) -> OfficialMatch:
    """Compare calls with an entry's answers.

    Args:
        functions: as in the entry, ``{name, parameters: {properties, required}}``.
        calls: the decoded output, ``[{name: {argument: value}}, ...]``.
        possible_answer: the entry's ground truth, ``[{name: {parameter: [allowed, ...]}}, ...]``.
        category: such as ``live_parallel_multiple``; the words in it say the language, and how calls are matched.
        underscore_to_dot: the output names tools as OpenAI-style endpoints do, with ``_`` for every dot.
    """
    rules = _Rules(language_of(category), underscore_to_dot)
    try:
        error = _error(functions, calls, possible_answer, category, rules)
    except (*RAISED, NotImplementedError) as raised:
        error = f"exception:{type(raised).__name__}"
    return OfficialMatch(valid=False, error_type=error) if error else VALID


def _error(functions: Any, calls: Any, answers: Any, category: str, rules: _Rules) -> str | None:
    if "parallel" in category:
        return _parallel_error(functions, calls, answers, rules)
    if "multiple" in category:
        if len(calls) != len(answers):
            return "multiple_function_checker:wrong_count"
        return _call_error(_described(functions, answers[0]), calls[0], answers[0], rules)
    if len(calls) != 1:
        return "simple_function_checker:wrong_count"
    return _call_error(functions[0], calls[0], answers[0], rules)


def _parallel_error(functions: Any, calls: Any, answers: Any, rules: _Rules) -> str | None:
    if len(calls) != len(answers):
        return "parallel_function_checker_no_order:wrong_count"
    unused = list(calls)
    for answer in answers:
        function = _described(functions, answer)
        for position, call in enumerate(unused):
            if _call_error(function, call, answer, rules) is None:
                del unused[position]
                break
        else:
            return "parallel_function_checker_no_order:cannot_find_match"
    return None


def _described(functions: Any, answer: Any) -> Any:
    """The function that an answer calls; None where the entry has none of that name."""
    name = list(answer)[0]  # noqa: RUF015  an answer without a call must raise IndexError
    return next((function for function in functions if function["name"] == name), None)


def _call_error(function: Any, call: Any, answer: Any, rules: _Rules) -> str | None:
    """The first error of one call, in the order in which the model wrote its arguments."""
    allowed = list(answer.values())[0]  # noqa: RUF015  as above
    name, parameters = function["name"], function["parameters"]
    properties, required = parameters["properties"], parameters["required"]
    if rules.underscore_to_dot:
        name = name.replace(".", "_")
    if name not in call:
        return "simple_function_checker:wrong_func_name"
    given = call[name]
    for parameter in required:
        if parameter not in given:
            return "simple_function_checker:missing_required"
    for parameter, value in given.items():
        if parameter not in properties or parameter not in allowed:
            return "simple_function_checker:unexpected_param"
        if error := _argument_error(value, properties[parameter], allowed[parameter], rules.language):
            return error
    for parameter, values in allowed.items():
        if parameter not in given and "" not in values:
            return "simple_function_checker:missing_optional"
    return None


def _argument_error(value: Any, schema: Any, allowed: Any, language: Language) -> str | None:
    declared = schema["type"]
    expected, inner = language.types[declared], None
    if language.read is not None and type(value) is not str:
        return f"type_error:{language.short}"
    if declared in language.lists:
        inner = language.types[schema["items"]["type"]]
        if declared == "tuple" and type(value) is tuple:
            value = list(value)
    if language.read is not None:
        value = language.read(value, declared, schema["items"]["type"] if inner else None)
    elif expected is float and type(value) is int:  # of Python alone: the others read floats as such
        value = float(value)

    if type(value) is expected and expected in SCALARS and value in allowed:
        return None  # the common case: right, and as a variable too
    first = _first_type(allowed)
    variable = first is not None and first is not expected
    if type(value) is not expected:
        if first is None or type(value) is not first:
            return "type_error:simple"
        variable = True
    elif inner is not None and not _items_fit(value, inner, allowed):
        return "type_error:nested" if first is expected else "type_error:simple"

    if variable:
        return None if value in allowed else "value_error:others"
    if expected is str:
        return _string_error(value, allowed)
    if expected is dict:
        return _object_error(value, allowed)
    if expected is list:
        return _objects_error(value, allowed) if inner is dict else _list_error(value, allowed)
    return None if value in allowed else "value_error:others"


def _first_type(allowed: Any) -> type | None:
    """Type of the first allowed value that is not ``""``."""
    for value in allowed:
        if value != "":
            return type(value)
    return None


def _items_fit(value: Any, inner: type, allowed: Any) -> bool:
    """Whether every item is of the declared type, or of the first type in one of the allowed lists."""
    for option in allowed:
        if type(option) is not list:
            return True
        first = _first_type(option)
        if all(type(item) is inner or (first is not None and type(item) is first) for item in value):
            return True
    return False


def _all_plain(values: Any) -> list[Any]:
    """Values by index, which is how a string is taken letter by letter, and how an object raises KeyError."""
    return [standardise(values[k]) for k in range(len(values))]


def _string_error(value: Any, allowed: Any) -> str | None:
    plain = standardise(value)
    return None if any(type(v) is str and standardise(v) == plain for v in allowed) else "value_error:string"


def _list_error(value: Any, allowed: Any) -> str | None:
    given = [standardise(item) for item in value]
    return None if given in [_all_plain(option) for option in allowed] else "value_error:list/tuple"


def _object_error(value: Any, allowed: Any) -> str | None:
    """The error against the last allowed object that was tried."""
    error = "dict_checker:unclear"
    for option in allowed:
        if option == "":
            continue
        found = _one_object_error(value, option)
        if found is None:
            return None
        error = found
    return error


def _one_object_error(value: Any, option: Any) -> str | None:
    error = None
    for key, item in value.items():
        if key not in option:
            error = "value_error:dict_key"
            break
        if standardise(item) not in _all_plain(option[key]):
            error = "value_error:dict_value"
            break
    for key, values in option.items():
        if key not in value and "" not in values:
            return "value_error:dict_key"
    return error


def _objects_error(value: Any, allowed: Any) -> str | None:
    """The error of a list of objects, which stand in the order of the answer."""
    error: str | None = "list_dict_checker:unclear"
    for option in allowed:
        if len(value) != len(option):
            error = "value_error:list_dict_count"
            continue
        error = next((found for k, item in enumerate(value) if (found := _object_error(item, [option[k]]))), None)
        if error is None:
            return None
    return error
