"""Started as a script of its own by `sloop.environments.bfcl`: runs the simulated classes of the installed bfcl-eval.

A line of JSON in, one out, until standard input ends. What a model wrote is parsed and never evaluated: a call is a
method of the classes, looked up by its name, and the literal values that it is given. Imports nothing of sloop's, so
that it starts at once.

The rules are those of ``eval_checker/multi_turn_eval`` of bfcl-eval 2026.3.23; how states and responses are compared,
and where a method's name is found in a call's text (also in its strings), is asked of its own functions.
"""

from __future__ import annotations

import ast
import copy
import importlib
import inspect
import json
import os
import resource
import signal
import sys
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

PACKAGE = "bfcl_eval.eval_checker.multi_turn_eval"
MEMORY = 1 << 30
"""Bytes of address space."""

Methods = dict[tuple[str, str], Callable[..., Any]]
"""By the name of the instance and their own."""


class Scene(NamedTuple):
    """Instances of the simulated classes, in a state of their own."""

    classes: dict[str, Any]
    """By the class's name."""
    owners: dict[str, str]
    """Of each public method: the name of its instance, which is put before it in a call's text."""
    methods: Methods


class Simulation:
    """Scenes that calls change, by the key that they were opened under."""

    def __init__(self, seconds: float) -> None:
        """Import the official code; a call that takes longer than ``seconds`` ends the process."""
        self._seconds = seconds
        self._utils = importlib.import_module(f"{PACKAGE}.multi_turn_utils")
        self._checker = importlib.import_module(f"{PACKAGE}.multi_turn_checker")
        self._stateless = importlib.import_module("bfcl_eval.constants.executable_backend_config").STATELESS_CLASSES
        self._prompts = importlib.import_module("bfcl_eval.constants.default_prompts")
        self._open: dict[str, Scene] = {}

    def answer(self, request: Mapping[str, Any]) -> Any:
        """What a request is answered with, by its key ``do``."""
        match request:
            case {"do": "facts"}:
                told = self._prompts.DEFAULT_USER_PROMPT_FOR_ADDITIONAL_FUNCTION_FC
                return {"more_functions": told, "max_steps": self._prompts.MAXIMUM_STEP_LIMIT}
            case {"do": "open", "key": key, "scene": scene}:
                self._open[key] = self._made("model", scene)
            case {"do": "act", "key": key, "calls": calls}:
                return self._run(self._open[key], calls)
            case {"do": "close", "key": key}:
                self._open.pop(key, None)
            case {"do": "verdict", "scene": scene, "turns": turns, "gold": gold}:
                return self._verdict(scene, turns, gold)
        return None

    def _made(self, whose: str, scene: Mapping[str, Any]) -> Scene:
        made = Scene({}, {}, {})
        for name, module in scene["classes"].items():
            instance = getattr(importlib.import_module(f"{PACKAGE}.func_source_code.{module}"), name)()
            if name not in self._stateless:
                config = copy.deepcopy(scene["config"].get(name, {}))
                instance._load_scenario(config, long_context=scene["long_context"])
            made.classes[name] = instance
            for method, run in inspect.getmembers(instance, inspect.ismethod):
                if not method.startswith("_"):
                    made.owners[method] = owner = f"{whose}_{name}_instance"
                    made.methods[owner, method] = run
        return made

    def _run(self, scene: Scene, calls: list[str]) -> list[str]:
        results = []
        for call in calls:
            signal.setitimer(signal.ITIMER_REAL, self._seconds)
            try:
                text = self._utils._process_method_calls(call, scene.owners).lstrip(" \t")
                results.append(_written(_value(ast.parse(text, "<string>", "eval").body, scene.methods)))
            except Exception as error:  # whatever a method raises is what the model is told, as officially
                results.append(f"Error during execution: {error}")
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
        return results

    def _verdict(self, scene: Mapping[str, Any], turns: list[list[list[str]]], gold: list[list[str]]) -> Any:
        """The first turn that is wrong, and why; None where none is. Turns without gold calls are run, not checked."""
        model, right = self._made("model", scene), self._made("right", scene)
        told: list[str] = []
        for number, (steps, wanted) in enumerate(zip(turns, gold, strict=True)):
            for calls in steps:
                told += self._run(model, calls)
            expected = self._run(right, wanted)
            if not wanted:
                continue
            if not steps:
                return {"error": "multi_turn:empty_turn_model_response", "turn": number}
            for found in (
                self._checker.state_checker(model.classes, right.classes),
                self._checker.response_checker(told, expected, number),
            ):
                if not found["valid"]:
                    return {"error": found["error_type"], "turn": number}
        return None


def _value(node: ast.expr, methods: Methods) -> Any:
    """A literal, or what a call of a method gives; its arguments may be such calls.

    Raises:
        NameError: a name is none of the classes'; in Python's own words, which models are told.
        ValueError: it is something else.
    """
    if not isinstance(node, ast.Call):
        try:
            return ast.literal_eval(node)
        except ValueError as error:
            raise _unknown(node) or ValueError("only calls and literal values are run") from error
    match node.func:
        case ast.Attribute(value=ast.Name(id=owner), attr=method) if (owner, method) in methods:
            run = methods[owner, method]
        case _:
            raise _unknown(node.func) or ValueError("only methods of the classes are run")
    given = [_value(part, methods) for part in node.args]
    named: dict[str, Any] = {}
    for keyword in node.keywords:
        if keyword.arg is None:
            raise ValueError("arguments are given by name")
        named[keyword.arg] = _value(keyword.value, methods)
    return run(*given, **named)


def _unknown(node: ast.expr) -> NameError | None:
    names = (part.id for part in ast.walk(node) if isinstance(part, ast.Name))
    return next((NameError(f"name {name!r} is not defined") for name in names), None)


def _written(result: Any) -> str:
    """A result as a model is told it."""
    if isinstance(result, dict):
        try:
            return json.dumps(result)
        except (TypeError, ValueError):
            return str(result)
    return str(result)


def main() -> None:
    """Run ``bfcl_worker.py FOLDER SECONDS``; FOLDER holds the package ``bfcl_eval``."""
    folder, seconds = sys.argv[1], float(sys.argv[2])
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what a class prints is no result
    sys.path.append(folder)
    simulation = Simulation(seconds)
    for name, most in (("RLIMIT_AS", MEMORY), ("RLIMIT_FSIZE", 0), ("RLIMIT_CORE", 0)):
        resource.setrlimit(getattr(resource, name), (most, most))
    for line in sys.stdin:
        try:
            reply = {"found": simulation.answer(json.loads(line))}
        except Exception as error:  # the official checker raises on some answers: that is their verdict
            reply = {"raised": f"{type(error).__name__}: {error}"}
        out.write(json.dumps(reply) + "\n")
        out.flush()


if __name__ == "__main__":
    main()
