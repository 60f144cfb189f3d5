"""The contract of a tool that runs: schemas derived from functions, and results as text."""

from __future__ import annotations

import asyncio
import datetime
import enum
import functools
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field

from sloop.calls.schema import call_errors
from sloop.records import ToolCall, UserError
from sloop.tools.contract import Argument, FunctionTool, SimpleTool, as_text, definition, run_tool, tool


class Unit(enum.Enum):
    CELSIUS = "c"
    FAHRENHEIT = "f"


class Place(BaseModel):
    city: str
    country: str | None = None


@tool(mutates=True)
def forecast(
    place: Place,
    days: Annotated[int, Field(ge=1, le=7, description="Ours.")] = 3,
    unit: Unit = Unit.CELSIUS,
    mode: Literal["short", "long"] = "short",
    when: datetime.date | None = None,
    json: bool = False,
) -> dict[str, Any]:
    """Tell the weather.

    For some days on.

    Args:
        place: Where
            it is.
        days: Theirs.
    """
    return {"city": place.city, "days": days, "unit": unit, "when": when}


def run(given: Any, **arguments: Any) -> str:
    return asyncio.run(run_tool(given, arguments))


def test_a_simple_tool_has_the_flat_schema_with_every_argument_required() -> None:
    lookup = SimpleTool("Looks up a project name", [Argument("id", "string")], lambda id: f"project {id}")
    assert definition("lookup_project", lookup).to_openai() == {
        "type": "function",
        "function": {
            "name": "lookup_project",
            "description": "Looks up a project name",
            "parameters": {"type": "object", "properties": {"id": {"type": "string"}}, "required": ["id"]},
        },
    }
    assert run(lookup, id="7") == "project 7"


def test_a_function_may_take_its_arguments_as_one_mapping_and_be_async() -> None:
    async def lookup(args: dict[str, Any]) -> dict[str, Any]:
        return {"got": args["id"]}

    assert run(SimpleTool("x", [Argument("id", "string")], lookup), id="é") == '{"got": "é"}'


def test_type_hints_and_docstring_become_a_schema() -> None:
    shown = definition("forecast", forecast)
    assert shown.description == "Tell the weather.\n\nFor some days on."
    assert shown.required == ("place",)
    assert shown.properties["place"] == {"$ref": "#/$defs/Place", "description": "Where it is."}
    days = {"default": 3, "description": "Ours.", "maximum": 7, "minimum": 1, "type": "integer"}
    assert shown.properties["days"] == days
    assert shown.properties["mode"]["enum"] == ["short", "long"]
    assert shown.properties["json"] == {"default": False, "type": "boolean"}
    assert "title" not in str(shown.parameters)
    assert forecast.mutates


def test_the_function_gets_the_types_that_it_asks_for() -> None:
    told = run(forecast, place={"city": "Rome"}, unit="f", when="2024-01-02")
    assert told == '{"city": "Rome", "days": 3, "unit": "f", "when": "2024-01-02"}'


@pytest.mark.parametrize("wrong", [{"place": {"town": "Rome"}}, {"place": {"city": "Rome"}, "days": 8}, {"x": 1}])
def test_arguments_that_the_schema_refuses_are_refused_by_the_call_as_well(wrong: dict[str, Any]) -> None:
    assert call_errors(ToolCall(name="forecast", arguments=wrong), [definition("forecast", forecast)])
    with pytest.raises(ValueError, match=r"place|days|x"):
        forecast.call(wrong)


def test_a_plain_class_is_a_tool() -> None:
    class Counter:
        mutates = True

        def __init__(self, start: int) -> None:
            self.count = start

        def description(self) -> str:
            return "Counts."

        def arguments(self) -> dict[str, Any]:
            return {"type": "object", "properties": {"by": {"type": "integer"}}}

        def call(self, args: dict[str, Any]) -> int:
            self.count += args.get("by", 1)
            return self.count

    counter = Counter(4)
    assert definition("count", counter).required == ()
    assert [run(counter, by=2), run(counter)] == ["6", "7"]


@pytest.mark.parametrize(
    ("result", "said"), [("as it is", "as it is"), (None, "null"), ({1}, "[1]"), (Place(city="x"), '{"city": "x"')]
)
def test_a_result_is_a_text_or_json(result: Any, said: str) -> None:
    assert as_text(result).startswith(said)


@pytest.mark.parametrize("result", [object(), float("nan"), b"\xff"])
def test_what_json_cannot_say_is_no_result(result: Any) -> None:
    with pytest.raises(ValueError, match="cannot be said in JSON"):
        as_text(result)


def untyped(city): ...  # type: ignore[no-untyped-def]
def many(*cities: str) -> None: ...
def connected(socket: asyncio.Lock) -> None: ...
def unreadable(city: "a city") -> None: ...  # type: ignore[valid-type]  # noqa: F722


@pytest.mark.parametrize(
    ("func", "told"),
    [
        (untyped, "has no type hint"),
        (many, "by name"),
        (connected, "the function connected"),
        (unreadable, "type hints cannot be read"),
        (functools.partial(as_text, "x"), "is no function"),
        (Place, "is no function"),
    ],
)
def test_a_function_that_no_schema_can_say_is_refused_by_name(func: Any, told: str) -> None:
    with pytest.raises(UserError, match=told):
        FunctionTool(func)


def test_a_text_beside_a_type_describes_the_parameter() -> None:
    def find(city: Annotated[str, "Its name."], day: Annotated[int, Field(ge=1)] = 1) -> None:
        """Find.

        Args:
            city: Theirs.
            day: Of the month.
        """

    told = tool(find).arguments()["properties"]
    assert [part["description"] for part in told.values()] == ["Its name.", "Of the month."]


def test_what_a_generator_gives_is_a_list_and_what_stops_it_is_told() -> None:
    assert run(SimpleTool("x", [], lambda: (k for k in range(3)))) == "[0, 1, 2]"
    with pytest.raises(RuntimeError, match="StopIteration"):
        run(SimpleTool("x", [], lambda: next(iter(()))))


class Own:
    """A tool of one's own that says what it is given."""

    def __init__(self, description: Any, arguments: Any) -> None:
        self._told = description, arguments

    def description(self) -> Any:
        return self._told[0]

    def arguments(self) -> Any:
        return self._told[1]

    def call(self, args: dict[str, Any], /) -> str:
        return ""


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (Own, "give an instance"),
        (Own(None, {"type": "object"}), "description.. gives NoneType"),
        (Own("x", None), "arguments.. gives None"),
        (Own("x", {"city": {"type": "string"}}), "a JSON Schema of type object is wanted"),
    ],
)
def test_a_tool_of_ones_own_that_is_none_is_refused_in_words(given: Any, told: str) -> None:
    with pytest.raises(UserError, match=told):
        definition("own", given)
    assert definition("own", Own("x", {})).parameters == {}


def test_definitions_are_checked() -> None:
    with pytest.raises(UserError, match="no JSON type is called 'str'"):
        Argument("id", "str")
    with pytest.raises(UserError, match="each name can stand once"):
        SimpleTool("x", [Argument("id", "string")] * 2, lambda id: id)
    with pytest.raises(UserError, match="takes neither id nor one mapping"):
        SimpleTool("x", [Argument("id", "string")], lambda: "")
    with pytest.raises(UserError, match="make a name"):
        definition("look up", forecast)
    with pytest.raises(UserError, match="has no method description"):
        definition("f", Place)  # type: ignore[arg-type]
