"""Java's and JavaScript's values and calls as the leaderboard reads them."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

from sloop.calls.bfcl_languages import JAVA, JAVASCRIPT, Language, read_java, read_javascript

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
from official_cases import EXPRESSIONS

LITERALS = (
    "7", "7L", "7f", "-2.5", "7n", "true", "'k'", '"pine"', "larch", '"elm, ash"', '"elm", "ash"', "1, 2, 3", "1e3", "",
    'new String[]{"elm", "ash"}', "new int[]{}", 'new ArrayList<>(Arrays.asList("elm", "ash"))', "new ArrayList<>()",
    'new ArrayList<Float>() {{ add(1.5f); add(2f); }}', 'new HashMap<>() {{ put("a", 1L); put("b", "elm"); }}',
    "new HashMap<String, Long>()", '["elm", "ash"]', "[[1, 2], [3]]", '{"a": 1, "b": ["elm", 2], "c": "ash"}', "{}",
    "[]",
)  # fmt: skip


@pytest.mark.parametrize(
    ("text", "declared", "inner", "value"),
    [
        ("5", "integer", None, 5),
        ("5", "long", None, "5"),
        ("5l", "long", None, 5),
        ("2.5", "float", None, "2.5"),
        ("2.5f", "float", None, 2.5),
        ("5", "double", None, 5.0),
        ("True", "boolean", None, "True"),
        ("new String[]{a, b}", "Array", "String", ["a", "b"]),
        ('new String[]{"a"}', "Array", "String", ['"a"']),
        ('new ArrayList<>(Arrays.asList("a", "b"))', "ArrayList", "String", ["a", "b"]),
        ("new ArrayList<>(Arrays.asList(1, true))", "ArrayList", "any", ["1", "true"]),
        ("new ArrayList<Long>() {{ add(1L); add(2); }}", "ArrayList", "long", [1, "2"]),
        ("List.of(1)", "ArrayList", "integer", "List.of(1)"),
        ('new HashMap<>() {{ put("a", 1L); put("b", "x"); }}', "HashMap", None, {"a": 1, "b": "x"}),
        ("new HashMap<>()", "HashMap", None, {}),
        ("settings", "HashMap", None, "settings"),
    ],
)
def test_a_java_value_is_read_by_its_declared_type(text: str, declared: str, inner: str | None, value: Any) -> None:
    found = read_java(text, declared, inner)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("text", "declared", "inner", "value"),
    [
        ('"a"', "String", None, "a"),
        ("5", "float", None, 5.0),
        ("5n", "Bigint", None, 5),
        ("5", "Bigint", None, "5"),
        ("['a', \"b\"]", "array", "String", ["a", "b"]),
        ("new Array(1, 2)", "array", "float", [1.0, 2.0]),
        ("[[1, 2], ['a']]", "array", "float", [[1, 2], ["a"]]),
        ("[[1]x, [2]], 3]", "array", "array", [[1], [2]]),
        ("[[1], [2]", "array", "float", ["[1"]),
        ("{a: 1, 'b': [true, 2]}", "dict", None, {"a": 1, "b": [True, 2]}),
        ("{a: {b: 1}}", "dict", None, {"a": "{b: 1"}),
        ("options", "dict", None, "options"),
    ],
)
def test_a_javascript_value_is_read_by_its_declared_type(
    text: str, declared: str, inner: str | None, value: Any
) -> None:
    found = read_javascript(text, declared, inner)
    assert (found, type(found)) == (value, type(value))


def test_many_rows_that_never_close_are_read_at_once() -> None:
    assert read_javascript("[[1]" + ", [1]" * 2000, "array", "integer")[0] == "[1"


@pytest.mark.parametrize(
    ("language", "value", "declared", "inner"),
    [
        (JAVA, 5, "long", None),
        (JAVA, 0.5, "float", None),
        (JAVA, True, "boolean", None),
        (JAVA, ["a", "b"], "Array", "String"),
        (JAVA, ["a", "b"], "ArrayList", "String"),
        (JAVA, [1, 2], "ArrayList", "long"),
        (JAVA, [], "ArrayList", "integer"),
        (JAVA, {"a": "x", "b": 2}, "HashMap", None),
        (JAVASCRIPT, 4.0, "float", None),
        (JAVASCRIPT, 4, "Bigint", None),
        (JAVASCRIPT, ["a", "b"], "array", "String"),
        (JAVASCRIPT, {"a": "x", "b": [1, 2]}, "dict", None),
        (JAVASCRIPT, "name", "any", None),
    ],
)
def test_a_value_is_written_as_it_is_read(language: Language, value: Any, declared: str, inner: str | None) -> None:
    assert language.read is not None
    assert language.write is not None
    assert language.read(language.write(value, declared, inner), declared, inner) == value


@pytest.mark.skipif(
    not importlib.util.find_spec("bfcl_eval"),
    reason="compares with the official converters, which pin other versions: pip install --no-deps bfcl-eval",
)
@pytest.mark.parametrize("language", [JAVA, JAVASCRIPT], ids=lambda language: language.name)
def test_every_changed_literal_is_converted_as_officially(language: Language) -> None:
    module = f"bfcl_eval.eval_checker.ast_eval.type_convertor.{language.short}_type_converter"
    theirs = getattr(importlib.import_module(module), f"{language.short}_type_converter")
    assert language.read is not None
    for literal in LITERALS:
        for change in ("the value itself", *EXPRESSIONS):
            text = literal if change == "the value itself" else EXPRESSIONS[change](literal)
            for declared in language.types:
                for inner in ("String", "any", "float", "integer") if declared in language.lists else (None,):
                    assert _found(language.read, text, declared, inner) == _found(theirs, text, declared, inner), text


def _found(read: Any, *given: Any) -> str:
    try:
        return repr(read(*given))
    except (NotImplementedError, ValueError) as error:
        return type(error).__name__
