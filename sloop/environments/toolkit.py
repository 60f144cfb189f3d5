"""A class of Python tools as an environment: methods marked with `sloop.tools.contract.tool`, over a state of JSON.

All that somebody writes is a class that takes the state and keeps it in the attribute ``state``::

    @dataclass
    class Shop:
        state: dict[str, Any]

        @tool
        def count(self, item: str) -> int:
            \"\"\"How many of an item are left.\"\"\"
            ...

        @tool(mutates=True)
        def sell(self, item: str) -> str: ...

An instance lives for one call, so that whatever else it keeps is gone with it, and a call that fails leaves the state
as it was: by an exception, which is told to the model (`ToolError` in its own words), by a result that begins as an
error does, or by a state that JSON cannot say. What a tool without ``mutates`` changes is not kept.
"""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from sloop.environments.base import ERROR, Environment, refusal
from sloop.records import Tool, ToolCall, UserError, from_json, to_json
from sloop.tools.contract import FunctionTool, as_text, definition, failure, named


class Stateful(Protocol):
    """What the class must be."""

    state: dict[str, Any]

    def __init__(self, state: dict[str, Any]) -> None:
        """Take a state, which may be kept and changed; what it raises says what is wrong with it."""


class Toolkit:
    """Such a class as an environment (`sloop.environments.base.Environment`)."""

    def __init__(self, toolkit: str, kind: Callable[[dict[str, Any]], Stateful]) -> None:
        """Take the class, and the name that an `EnvSpec` gives it.

        Raises:
            UserError: it has no tools, or one that is no usable tool or is async.
        """
        self.toolkit = toolkit
        self.tools, self.writes = _tools(kind)
        self._kind = kind
        self._text = "{}"

    def reset(self, state: Mapping[str, Any]) -> None:
        """Begin anew in this state.

        Raises:
            UserError: it is none of the class's, or none that JSON can say.
        """
        try:
            self._text = self._said(self._kind(copy.deepcopy(dict(state))))
        except Exception as error:  # the boundary to others' code
            raise UserError(f"no state of the environment {self.toolkit}: {failure(error)}") from error

    def act(self, call: ToolCall) -> str:
        """The tool's result as text; the words of an error where there is none."""
        if refused := refusal(call, self.tools):
            return refused
        try:
            held = self._kind(from_json(self._text))
            told = as_text(getattr(held, call.name).call(copy.deepcopy(call.arguments)))
            text = self._said(held)
        except Exception as error:  # the boundary to others' code
            return ERROR + failure(error)
        if call.name in self.writes and not told.startswith(ERROR):
            self._text = text
        return told

    def state(self) -> dict[str, Any]:
        """The state as it is now."""
        return from_json(self._text)  # type: ignore[no-any-return]

    @staticmethod
    def _said(held: Stateful) -> str:
        """The state as text that is read as the same state.

        Raises:
            ValueError: there is none.
        """
        try:
            text = to_json(held.state)
            from_json(text)
        except (TypeError, ValueError, RecursionError) as error:
            raise ValueError(f"the state cannot be said in JSON: {error}") from error
        return text


@functools.cache
def _tools(kind: Any) -> tuple[tuple[Tool, ...], frozenset[str]]:
    """A class's tools in the order in which they are written, those of its parents first, and which of them mutate."""
    lines = {name: part for parent in reversed(kind.__mro__) for name, part in vars(parent).items()}
    tools = {name: part for name, part in lines.items() if isinstance(part, FunctionTool)}
    name = kind.__qualname__
    if not tools:
        raise UserError(f"the class {name} has no tools: mark methods with sloop.tools.contract.tool.")
    if waits := [each for each, part in tools.items() if inspect.iscoroutinefunction(part.func)]:
        raise UserError(f"the tool {waits[0]} of the class {name} is async: an environment's tools are plain methods.")
    return (
        tuple(definition(each, part) for each, part in tools.items()),
        frozenset(each for each, part in tools.items() if part.mutates),
    )


def own_domain(name: str) -> Callable[[], Environment]:
    """What makes the environment that the configuration names as ``module:class``, of this folder or installed.

    Raises:
        UserError: there is none of that name, or it is no class of tools.
    """
    kind = named(name)
    if not isinstance(kind, type):
        raise UserError(f"environment {name!r} is a {type(kind).__name__}: name a class whose methods are tools.")
    Toolkit(name, kind)
    return functools.partial(Toolkit, name, kind)
