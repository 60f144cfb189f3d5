"""A user's class of tools as an environment: what is kept, what is told, and what is refused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import pytest
from pydantic import Field

from sloop.environments.base import ERROR, Environment
from sloop.environments.toolkit import Toolkit, own_domain
from sloop.records import ToolCall, UserError
from sloop.tools.contract import ToolError, tool

STATE: dict[str, Any] = {"stock": {"tea": 3, "salt": 1}}


@dataclass
class Shop:
    """What somebody writes."""

    state: dict[str, Any]

    def __post_init__(self) -> None:
        if not isinstance(self.state.get("stock"), dict):
            raise ToolError("a shop's state has a stock")

    @tool
    def count(self, item: str) -> int:
        """How many of an item are left.

        Args:
            item: Its name.
        """
        return self.state["stock"][item]

    @tool(mutates=True)
    def sell(self, item: str, number: Annotated[int, Field(ge=1)] = 1) -> str:
        """Sell an item."""
        self.state["stock"][item] -= number
        if self.state["stock"][item] < 0:
            raise ToolError(f"there is too little {item}")
        return "sold"

    @tool
    def peek(self) -> list[str]:
        """Changes what it must not."""
        self.state["stock"].clear()
        return []

    @tool(mutates=True)
    def spoil(self, how: str) -> Any:
        """Leaves what cannot be kept or told."""
        self.state["stock"] = {"set": {1}, "nan": float("nan"), "words": {}}.get(how, {})
        return object() if how == "result" else "error: out of order" if how == "words" else "done"

    @tool(mutates=True)
    def deepen(self) -> str:
        """Deeper than a state may be."""
        for _ in range(100):
            self.state["stock"] = {"in": self.state["stock"]}
        return "done"


def shop() -> Environment:
    made = Toolkit("shop", Shop)
    made.reset(STATE)
    return made


def act(name: str, /, **arguments: Any) -> tuple[str, Any]:
    made = shop()
    return made.act(ToolCall(name=name, arguments=arguments)), made.state()["stock"]


def test_a_class_with_a_state_and_marked_methods_is_an_environment() -> None:
    made = Toolkit("shop", Shop)
    assert [each.name for each in made.tools] == ["count", "sell", "peek", "spoil", "deepen"]
    assert made.writes == {"sell", "spoil", "deepen"}
    assert made.tools[0].description == "How many of an item are left."
    assert made.tools[0].parameters["properties"] == {"item": {"type": "string", "description": "Its name."}}
    assert made.tools[1].required == ("item",)


def test_a_call_reads_or_changes_the_state() -> None:
    assert act("count", item="tea") == ("3", STATE["stock"])
    assert act("sell", item="tea", number=2) == ("sold", {"tea": 1, "salt": 1})
    assert STATE == {"stock": {"tea": 3, "salt": 1}}


@pytest.mark.parametrize(
    ("name", "arguments", "told"),
    [
        ("sell", {"item": "salt", "number": 2}, "there is too little salt"),
        ("sell", {"item": "oil"}, "KeyError: 'oil'"),
        ("sell", {"item": "tea", "number": 0}, "constraint:number minimum"),
        ("sell", {}, "missing_required:item"),
        ("spoil", {"how": "set"}, "the state cannot be said in JSON"),
        ("spoil", {"how": "nan"}, "the state cannot be said in JSON"),
        ("spoil", {"how": "result"}, "is no text and cannot be said in JSON"),
        ("spoil", {"how": "words"}, "out of order"),
        ("deepen", {}, "nested more than 64 deep"),
        ("close", {}, "unknown_tool:close"),
        ("__init__", {}, "unknown_tool:__init__"),
    ],
)
def test_a_call_that_fails_is_told_so_and_changes_nothing(name: str, arguments: dict[str, Any], told: str) -> None:
    answer, stock = act(name, **arguments)
    assert answer.startswith(ERROR)
    assert told in answer
    assert stock == STATE["stock"]


def test_what_a_tool_that_only_reads_changes_is_not_kept() -> None:
    assert act("peek") == ("[]", STATE["stock"])


def test_a_class_says_what_is_wrong_with_a_state() -> None:
    with pytest.raises(UserError, match=r"no state of the environment shop: a shop's state has a stock"):
        Toolkit("shop", Shop).reset({})


class Late:
    """Its tool is async."""

    def __init__(self, state: dict[str, Any]) -> None:
        self.state = state

    @tool
    async def wait(self) -> str:
        """Wait."""
        return ""


class More(Shop):
    """Its parent's tools but one, and one of its own."""

    peek = None  # type: ignore[assignment]

    @tool
    def total(self) -> int:
        """How many things there are."""
        return sum(self.state["stock"].values())


def test_a_class_has_the_tools_of_its_parents() -> None:
    made = own_domain("test_environments_toolkit:More")()
    made.reset(STATE)
    assert made.toolkit == "test_environments_toolkit:More"
    assert [each.name for each in made.tools] == ["count", "sell", "spoil", "deepen", "total"]
    assert made.act(ToolCall(name="total", arguments={})) == "4"


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("test_environments_toolkit:STATE", "is a dict: name a class whose methods are tools"),
        ("test_environments_toolkit:ToolError", "the class ToolError has no tools: mark methods"),
        ("test_environments_toolkit:Late", "the tool wait of the class Late is async"),
        ("test_environments_toolkit:Shap", "has no attribute 'Shap'"),
        ("no_module_of_mine:Shop", "No module named 'no_module_of_mine'"),
    ],
)
def test_what_is_no_class_of_tools_is_refused_in_words(name: str, told: str) -> None:
    with pytest.raises(UserError, match=told):
        own_domain(name)
