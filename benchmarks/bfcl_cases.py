"""BFCL's official checker, and made-up entries with outputs to ask it about, where it and ours may differ."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Iterator
from random import Random
from types import ModuleType, SimpleNamespace
from typing import Any

SCALARS = ("string", "integer", "float", "boolean", "any")
CATEGORIES = ("simple_python", "multiple", "parallel", "live_parallel_multiple")
NAMES = ("get.weather", "get_weather", "set.timer", "ping")
WORDS = ("Oslo", "oslo", "New York", "new-york", "a.b/c", "it's", 'it"s', "", " ", "tab\there", "5", "True", "x^2")
Case = dict[str, Any]


def official() -> Callable[[Case], tuple[bool, str | None]]:
    """The checker of the installed ``bfcl-eval``, as verdict and error type of a case.

    Its registry of models, which imports every vendor's client, is stubbed: the checker asks it only whether the
    output's names have underscores for dots.

    Raises:
        ImportError: it is not installed (``pip install --no-deps bfcl-eval==2026.3.23``).
    """
    registry = ModuleType("bfcl_eval.constants.model_config")
    modes = {name: SimpleNamespace(underscore_to_dot=name == "underscores") for name in ("dots", "underscores")}
    registry.__dict__["MODEL_CONFIG_MAPPING"] = modes
    sys.modules.setdefault(registry.__name__, registry)
    from bfcl_eval.constants.enums import Language
    from bfcl_eval.eval_checker.ast_eval.ast_checker import ast_checker

    def check(case: Case) -> tuple[bool, str | None]:
        mode = "underscores" if case["underscore_to_dot"] else "dots"
        inputs = (case["functions"], case["calls"], case["possible_answer"])
        try:
            found = ast_checker(*inputs, Language.PYTHON, case["category"], mode)
        except Exception as error:  # whatever it raises is the verdict
            return False, f"exception:{type(error).__name__}"
        return found["valid"], None if found["valid"] else found["error_type"]

    return check


def cases(rng: Random) -> Iterator[Case]:
    """Entries without end: the schema, its answers, and an output near one of them."""
    while True:
        category = rng.choice(CATEGORIES)
        names = rng.sample(NAMES, rng.randint(1, 3))
        functions = [_function(rng, name) for name in names]
        count = rng.randint(1, 3) if "parallel" in category else 1
        called = [functions[0] if "simple" in category else rng.choice(functions) for _ in range(count)]
        answers = [_answer(rng, function) for function in called]
        underscores = rng.random() < 0.4
        calls = [_call(rng, answer, underscores) for answer in answers]
        if rng.random() < 0.5:
            rng.shuffle(calls)
        if rng.random() < 0.05:
            calls = calls[1:] if rng.random() < 0.5 else [*calls, copy.deepcopy(rng.choice(calls))]
        if rng.random() < 0.02:
            functions = functions[1:] or functions
        yield {
            "category": category,
            "functions": functions,
            "possible_answer": answers,
            "calls": calls,
            "underscore_to_dot": underscores,
        }


def _function(rng: Random, name: str) -> dict[str, Any]:
    properties = {f"p{k}": _schema(rng) for k in range(rng.randint(0, 3))}
    required = [key for key in properties if rng.random() < 0.5]
    return {"name": name, "parameters": {"type": "dict", "properties": properties, "required": required}}


def _schema(rng: Random) -> dict[str, Any]:
    kind = rng.choice((*SCALARS, "array", "array", "tuple", "dict", "dict"))
    schema: dict[str, Any] = {"type": "number" if rng.random() < 0.01 else kind}
    if kind in ("array", "tuple") and rng.random() > 0.02:
        schema["items"] = {"type": rng.choice((*SCALARS, "dict", "array"))}
    return schema


def _answer(rng: Random, function: dict[str, Any]) -> dict[str, Any]:
    allowed = {}
    for name, schema in function["parameters"]["properties"].items():
        if rng.random() < 0.9:
            allowed[name] = [_allowed(rng, schema) for _ in range(rng.randint(1, 3))]
            if rng.random() < 0.3:
                allowed[name].insert(rng.randint(0, len(allowed[name])), "")
    if rng.random() < 0.03:
        allowed["stranger"] = [_scalar(rng, rng.choice(SCALARS))]
    return {function["name"]: allowed}


def _allowed(rng: Random, schema: dict[str, Any]) -> Any:
    """One allowed value: objects hold lists of values in their turn."""
    if rng.random() < 0.08:
        return rng.choice([None, _scalar(rng, rng.choice(SCALARS))])
    kind = schema["type"]
    if kind == "dict":
        return _allowed_object(rng)
    if kind in ("array", "tuple"):
        inner = schema.get("items", {"type": "string"})["type"]
        return [_allowed_object(rng) if inner == "dict" else _value(rng, inner) for _ in range(rng.randint(0, 3))]
    return _value(rng, kind)


def _allowed_object(rng: Random) -> dict[str, Any]:
    def values() -> list[Any]:
        found = [_value(rng, rng.choice((*SCALARS, "array"))) for _ in range(rng.randint(1, 2))]
        return [*found, ""] if rng.random() < 0.3 else found

    plain = {key: values() for key in rng.sample("abc", rng.randint(0, 3))}
    if plain and rng.random() < 0.05:
        plain[rng.choice(list(plain))] = {"inner": ["x"]}  # malformed: an object where a list of values should be
    return plain


def _value(rng: Random, kind: str) -> Any:
    if kind == "dict":
        return {key: _scalar(rng, rng.choice(SCALARS)) for key in rng.sample("abc", rng.randint(0, 2))}
    if kind == "array":
        inner = rng.choice(SCALARS)
        return [_scalar(rng, inner) for _ in range(rng.randint(0, 2))]
    return _scalar(rng, kind)


def _scalar(rng: Random, kind: str) -> Any:
    if kind == "integer":
        return rng.choice([0, 1, 5, -3, 10**400 if rng.random() < 0.01 else 7])
    if kind in ("float", "number"):
        return rng.choice([0.0, 1.0, 0.5, 2.25, 5.0])
    if kind == "boolean":
        return rng.random() < 0.5
    return rng.choice(WORDS)


def _call(rng: Random, answer: dict[str, Any], underscores: bool) -> dict[str, Any]:
    ((name, allowed),) = answer.items()
    if underscores and rng.random() < 0.95:
        name = name.replace(".", "_")
    if rng.random() < 0.03:
        name = rng.choice(NAMES)
    given = {}
    for key, values in allowed.items():
        if "" in values and rng.random() < 0.4:
            continue
        given[key] = _altered(rng, _said(rng, rng.choice(values)))
    if given and rng.random() < 0.05:
        del given[rng.choice(list(given))]
    if rng.random() < 0.04:
        given[rng.choice(("stranger", "p0", "p1"))] = _scalar(rng, rng.choice(SCALARS))
    order = list(given)
    if rng.random() < 0.3:
        rng.shuffle(order)
    return {name: {key: given[key] for key in order}}


def _said(rng: Random, allowed: Any) -> Any:
    """A value as an output would have it: of an object's lists of values, one value each."""
    if isinstance(allowed, dict):
        said = {}
        for key, values in allowed.items():
            pick = rng.choice(values) if isinstance(values, list) else values
            if pick != "" or rng.random() < 0.5:
                said[key] = pick
        return said
    if isinstance(allowed, list):
        return [_said(rng, item) if isinstance(item, dict) else item for item in allowed]
    return allowed


def _altered(rng: Random, value: Any) -> Any:
    """Mostly the value itself; sometimes one that the rules may or may not take for it."""
    if rng.random() < 0.75:
        return copy.deepcopy(value)
    if isinstance(value, str):
        return rng.choice([value.upper(), f" {value}.", value.replace("'", '"'), f"{value}!", rng.choice(WORDS), None])
    if isinstance(value, bool):
        return rng.choice([not value, int(value), str(value)])
    if isinstance(value, int | float):
        return rng.choice([value + 1, str(value), bool(value), None, -value, [value]])
    if isinstance(value, list):
        other = [*value, _scalar(rng, rng.choice(SCALARS))]
        return rng.choice([value[::-1], other, value[1:], tuple(value), [str(item) for item in value], []])
    if isinstance(value, dict):
        changed = {key: _altered(rng, item) for key, item in value.items()}
        return rng.choice([changed, {**value, "d": 1}, dict(list(value.items())[1:]), {}, [value], str(value)])
    return rng.choice([value, "", 0, []])
