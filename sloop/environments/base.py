"""What an environment is, and how calls are replayed in a fresh one."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol, TypeVar

from pydantic import BaseModel, ValidationError

from sloop.calls.schema import call_errors
from sloop.records import EnvSpec, Tool, ToolCall, UserError, canonical_json


class Environment(Protocol):
    """Tools over a state. The same state and calls give the same answers and the same state: no clock, no chance."""

    toolkit: str
    """Its name, as an `EnvSpec` says it."""
    writes: frozenset[str]
    """Names of the tools that can change the state; every other one only reads."""

    @property
    def tools(self) -> tuple[Tool, ...]:
        """On offer."""
        ...

    def reset(self, state: Mapping[str, Any]) -> None:
        """Begin anew in this state, which is left as it is.

        Raises:
            UserError: it is no state of this environment's.
        """
        ...

    def act(self, call: ToolCall) -> str:
        """The tool's answer. A call that cannot be met is answered with `refusal`'s words, or others that begin so,
        as no other answer does, and changes nothing: a mistake of the model's is no exception.
        """
        ...

    def state(self) -> dict[str, Any]:
        """The state as it is now: JSON, and a copy."""
        ...


ERROR = "error: "
"""How the answer to a call begins that cannot be met."""


def refusal(call: ToolCall, tools: Iterable[Tool]) -> str | None:
    """What a model is told whose call no tool on offer can take; None where one can."""
    errors = call_errors(call, tuple(tools))
    return ERROR + "; ".join(errors) if errors else None


StateT = TypeVar("StateT", bound=BaseModel)


def read_state(kind: type[StateT], toolkit: str, state: Mapping[str, Any]) -> StateT:
    """A state as an environment keeps it, sharing nothing with the one that is given.

    Raises:
        UserError: it is none of the environment's.
    """
    try:
        return kind.model_validate(copy.deepcopy(dict(state)), strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(["state", *map(str, first["loc"])])
        raise UserError(f"no state of the environment {toolkit}: {where:.200}: {first['msg']}.") from error


def replay(make: Callable[[], Environment], spec: EnvSpec, calls: Iterable[ToolCall]) -> Environment:
    """A fresh environment after these calls. What is right is the state that it is in, never what was said.

    Args:
        make: the environment's class.
        spec: which one that must be, and the state to begin in.
        calls: in order.

    Raises:
        ValueError: it is another environment.
    """
    environment = make()
    if environment.toolkit != spec.toolkit:
        raise ValueError(f"a state of {spec.toolkit} cannot be replayed in {environment.toolkit}")
    environment.reset(spec.state)
    for call in calls:
        environment.act(call)
    return environment


def difference(given: Any, wanted: Any, where: str = "state") -> str | None:
    """The first place in which two states differ, ``<path>: <given> is not <wanted>``; None where they are equal."""
    if isinstance(given, Mapping) and isinstance(wanted, Mapping) and given.keys() == wanted.keys():
        parts = [(f"{where}.{key}", given[key], wanted[key]) for key in sorted(wanted)]
    elif isinstance(given, list) and isinstance(wanted, list) and len(given) == len(wanted):
        parts = [(f"{where}[{k}]", one, other) for k, (one, other) in enumerate(zip(given, wanted, strict=True))]
    elif canonical_json(given) == canonical_json(wanted):
        return None
    else:
        return f"{where}: {canonical_json(given)} is not {canonical_json(wanted)}"
    return next((found for path, one, other in parts if (found := difference(one, other, path))), None)
