"""The contract of a tool that runs: what it says of itself, and a call.

A tool is anything with `RunnableTool`'s three methods; its name is its key in a mapping. A plain class serves where a
tool has dependencies; `SimpleTool` and `tool` make one of a function. Models write the arguments, so whoever runs a
tool checks them against its schema first (`sloop.models.agent.AgentLoop` does).
"""

from __future__ import annotations

import asyncio
import copy
import importlib
import inspect
import re
import traceback
import types
import typing
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Protocol, overload, runtime_checkable

import docstring_parser
from pydantic import BaseModel, ConfigDict, Field, PydanticUserError, ValidationError, create_model
from pydantic.errors import PydanticInvalidForJsonSchema
from pydantic.fields import FieldInfo
from pydantic_core import PydanticSerializationError, to_jsonable_python

from sloop.calls.schema import rewritten, validator
from sloop.records import Tool, UserError, to_json
from sloop.tools.dialects import is_schema

JSON_TYPES = ("string", "number", "integer", "boolean", "array", "object", "null")
NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
"""Names that servers take."""
SELF = "self"
"""What a method calls its instance: no argument."""


class ToolError(Exception):
    """A tool's failure in its own words, told to the model as they are."""


@runtime_checkable
class RunnableTool(Protocol):
    """A tool that runs. If its attribute ``mutates`` is true, a call can change a state; else it only reads."""

    def description(self) -> str:
        """What it does, for the model."""
        ...

    def arguments(self) -> Mapping[str, Any]:
        """JSON Schema (draft 2020-12) of type object."""
        ...

    def call(self, args: dict[str, Any], /) -> Any:
        """The result, or an awaitable of it: a text, or what is said as JSON. What it raises is told to the model."""
        ...


@dataclass(frozen=True)
class Argument:
    """An argument of a `SimpleTool`: its name, JSON type and meaning."""

    name: str
    type: str
    description: str = ""

    def __post_init__(self) -> None:
        """Check the type.

        Raises:
            UserError: JSON Schema has none of that name.
        """
        if self.type not in JSON_TYPES:
            raise UserError(
                f"argument {self.name!r}: no JSON type is called {self.type!r}. Use {', '.join(JSON_TYPES)}."
            )


class SimpleTool:
    """A function with a flat schema, of which every argument is required."""

    def __init__(
        self, description: str, arguments: Sequence[Argument], func: Callable[..., Any], *, mutates: bool = False
    ) -> None:
        """Take the function: it gets its arguments by name, or, where it has no such parameters, as one mapping.

        Raises:
            UserError: two arguments have one name, or the function takes neither.
        """
        names = [argument.name for argument in arguments]
        if len({*names}) < len(names):
            raise UserError(f"the arguments {', '.join(names)}: each name can stand once.")
        self.mutates = mutates
        self._description, self._arguments, self._func = description, tuple(arguments), func
        self._by_name = _binds(func, **dict.fromkeys(names))
        if not self._by_name and not _binds(func, {}):
            given = getattr(func, "__name__", repr(func))
            raise UserError(f"the function {given} takes neither {', '.join(names) or 'nothing'} nor one mapping.")

    def description(self) -> str:
        """As given."""
        return self._description

    def arguments(self) -> dict[str, Any]:
        """The flat schema."""
        told = {
            each.name: {"type": each.type} | ({"description": each.description} if each.description else {})
            for each in self._arguments
        }
        return {"type": "object", "properties": told, "required": list(told)}

    def call(self, args: Mapping[str, Any], /) -> Any:
        """What the function returns."""
        return self._func(**args) if self._by_name else self._func(dict(args))


def _binds(func: Callable[..., Any], *positional: Any, **named: Any) -> bool:
    try:
        inspect.signature(func).bind(*positional, **named)
    except (TypeError, ValueError):
        return False
    return True


class FunctionTool:
    """A function, or a method, whose schema is derived from its type hints and docstring; see `tool`."""

    def __init__(self, func: Callable[..., Any], *, mutates: bool = False) -> None:
        """Derive the schema.

        Raises:
            UserError: a parameter has no type, or none that JSON can say; or it cannot be given by name.
        """
        if not inspect.isroutine(func):
            raise UserError(f"{func!r:.200} is no function. Write one with def, type hints and a docstring.")
        self.func, self.mutates = func, mutates
        self.__name__, self.__doc__, self.__module__ = func.__name__, func.__doc__, func.__module__
        told = docstring_parser.parse(inspect.getdoc(func) or "")
        self._description = "\n\n".join(part for part in (told.short_description, told.long_description) if part)
        described = {part.arg_name: " ".join((part.description or "").split()) for part in told.params}
        self._model, self._names = _model(func, described)
        self._is_method = next(iter(inspect.signature(func).parameters), None) == SELF
        try:
            schema = self._model.model_json_schema()
        except (PydanticInvalidForJsonSchema, PydanticUserError) as error:
            raise UserError(f"the function {func.__name__}: {error.message}") from error
        self._arguments: dict[str, Any] = _untitled("", schema)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The function itself."""
        return self.func(*args, **kwargs)

    def __get__(self, instance: Any, owner: type | None = None) -> FunctionTool:
        """A method's tool as an instance has it."""
        if instance is None or not self._is_method:
            return self
        bound = copy.copy(self)
        bound.func = types.MethodType(self.func, instance)
        return bound

    def description(self) -> str:
        """The docstring, without its sections."""
        return self._description

    def arguments(self) -> dict[str, Any]:
        """The derived schema."""
        return self._arguments

    def call(self, args: Mapping[str, Any], /) -> Any:
        """What the function returns for these arguments, which become the types that it asks for.

        Raises:
            ValueError: they do not.
        """
        try:
            given = self._model.model_validate(dict(args))
        except ValidationError as error:
            told = (f"{'.'.join(map(str, one['loc'])) or 'arguments'}: {one['msg']}" for one in error.errors())
            raise ValueError("; ".join(told)) from error
        return self.func(**{name: getattr(given, field) for field, name in self._names.items()})


@overload
def tool(func: Callable[..., Any], /) -> FunctionTool: ...
@overload
def tool(*, mutates: bool = False) -> Callable[[Callable[..., Any]], FunctionTool]: ...
def tool(
    func: Callable[..., Any] | None = None, /, *, mutates: bool = False
) -> FunctionTool | Callable[[Callable[..., Any]], FunctionTool]:
    """A function as a tool: ``@tool``, or ``@tool(mutates=True)`` where a call changes a state.

    Types (nested models, enums, optionals, defaults, ``Annotated`` limits) become the schema by pydantic; what the
    docstring says of a parameter becomes its description, unless its ``Field`` has one.
    """
    if func is not None:
        return FunctionTool(func)
    return lambda given: FunctionTool(given, mutates=mutates)


def _model(func: Callable[..., Any], described: Mapping[str, str]) -> tuple[type[BaseModel], dict[str, str]]:
    """A model of the function's parameters, and their names by its fields' names, which pydantic restricts."""
    name = func.__name__
    try:
        hints = typing.get_type_hints(func, include_extras=True)
    except NameError as error:
        raise UserError(f"the function {name}: its type hints name {error.name!r}, which its module lacks.") from error
    except (SyntaxError, TypeError, AttributeError) as error:
        raise UserError(f"the function {name}: its type hints cannot be read: {error}.") from error
    fields: dict[str, Any] = {}
    names: dict[str, str] = {}
    for number, parameter in enumerate(inspect.signature(func).parameters.values()):
        where = f"the function {name}, parameter {parameter.name!r}"
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise UserError(f"{where}: a model gives arguments by name. Write no *, ** and / parameters.")
        if number == 0 and parameter.name == SELF:
            continue
        if parameter.name not in hints:
            raise UserError(f"{where} has no type hint, which its schema is made of. Write {parameter.name}: str.")
        hint, field = hints[parameter.name], f"p{number}"
        default = ... if parameter.default is parameter.empty else parameter.default
        marks = getattr(hint, "__metadata__", ())
        own = [part.description if isinstance(part, FieldInfo) else part for part in marks]
        about = next((text for text in own if isinstance(text, str)), described.get(parameter.name))
        fields[field] = (Annotated[hint, Field(alias=parameter.name, description=about)], default)
        names[field] = parameter.name
    try:
        return create_model(name, __config__=ConfigDict(extra="forbid"), **fields), names
    except PydanticUserError as error:
        raise UserError(f"the function {name}: {error.message}") from error


def _untitled(keyword: str, part: Any) -> Any:
    """The schema without the titles that pydantic gives."""
    if isinstance(part, list):
        return [_untitled(keyword, each) for each in part]
    if not isinstance(part, dict):
        return part
    return rewritten({key: value for key, value in part.items() if key != "title"}, _untitled)


def definition(name: str, tool: RunnableTool) -> Tool:
    """What a model is shown of a tool.

    Raises:
        UserError: the name is none that servers take, it is no instance with the methods of a tool, the description is
            no text, or the arguments are no usable JSON Schema of type object.
    """
    if not NAME.fullmatch(name):
        raise UserError(f"tool {name!r}: 1 to 64 letters, digits, _ and - make a name. Change its key in the mapping.")
    if missing := [part for part in ("description", "arguments", "call") if not callable(getattr(tool, part, None))]:
        raise UserError(f"tool {name!r}: it has no method {' and no '.join(missing)}; see sloop.tools.contract.")
    if isinstance(tool, type):
        raise UserError(f"tool {name!r} is the class {tool.__name__}: give an instance of it, {tool.__name__}(...).")
    description, arguments = tool.description(), tool.arguments()
    if not isinstance(description, str):
        raise UserError(f"tool {name!r}: description() gives {type(description).__name__}; a text is wanted.")
    if not isinstance(arguments, Mapping) or not is_schema(arguments):
        raise UserError(
            f"tool {name!r}: arguments() gives {arguments!r:.200}; a JSON Schema of type object is wanted, such as "
            '{"type": "object", "properties": {}}.'
        )
    shown = Tool(name=name, description=description, parameters=dict(arguments))
    validator(shown)
    return shown


def named(name: str) -> Any:
    """What ``module:attribute`` names.

    Raises:
        UserError: there is none of that name, or its module cannot be imported.
    """
    module, _, attribute = name.partition(":")
    try:
        found = importlib.import_module(module)
    except (ImportError, ValueError) as error:
        raise UserError(f"tool {name!r}: {error}. Give module:attribute, such as my_tools:look_up.") from error
    except Exception as error:  # the boundary to others' code
        *_, last = traceback.extract_tb(error.__traceback__)
        where = "" if isinstance(error, SyntaxError) else f" ({last.filename}, line {last.lineno})"
        raise UserError(f"tool {name!r}: {module} cannot be imported: {failure(error)}{where}. Correct it.") from error
    try:
        return getattr(found, attribute)
    except AttributeError as error:
        raise UserError(f"tool {name!r}: {error}. Give module:attribute, such as my_tools:look_up.") from error


def as_tool(name: str, given: Any) -> RunnableTool:
    """A tool as it is, or of a function.

    Raises:
        UserError: it is neither.
    """
    if isinstance(given, type):
        raise UserError(f"tool {name!r} is the class {given.__name__}: name an instance of it, or a function.")
    if isinstance(given, RunnableTool):
        return given
    if not callable(given):
        raise UserError(f"tool {name!r} is a {type(given).__name__}; a function or a tool is wanted.")
    return FunctionTool(given)


async def run_tool(tool: RunnableTool, args: dict[str, Any]) -> str:
    """The result of a call as text. A function that is not async runs in a thread, so that others go on.

    Raises:
        ValueError: the result is nothing that JSON can say.
        Exception: whatever the tool raises.
    """
    if inspect.iscoroutinefunction(inspect.unwrap(getattr(tool, "func", tool.call))):
        result = await tool.call(args)
    else:
        result = await asyncio.to_thread(_called, tool, args)
    if isinstance(result, Awaitable):
        result = await result
    return as_text(result)


def _called(tool: RunnableTool, args: dict[str, Any]) -> Any:
    """In the thread: the call's result, as text unless it is to be awaited; what a generator gives is made here."""
    try:
        result = tool.call(args)
        return result if isinstance(result, Awaitable) else as_text(result)
    except StopIteration as error:  # no future can hold one, and who waits for it would wait for ever
        raise RuntimeError("the tool raised StopIteration") from error


def failure(error: BaseException) -> str:
    """What is told of an error, also one that cannot say itself: a `ToolError` in its own words."""
    kind = type(error).__name__
    try:
        return str(error) if isinstance(error, ToolError) else f"{kind}: {error}"
    except Exception:  # the boundary to others' code: an error that cannot say itself is told by its kind
        return kind


def as_text(result: Any) -> str:
    """A result as the model reads it: a text as it is, every other value as JSON.

    Raises:
        ValueError: JSON cannot say it.
    """
    if isinstance(result, str):
        return result
    try:
        return to_json(to_jsonable_python(result))
    except (PydanticSerializationError, TypeError, ValueError) as error:
        raise ValueError(
            f"the result, of type {type(result).__name__}, is no text and cannot be said in JSON"
        ) from error
