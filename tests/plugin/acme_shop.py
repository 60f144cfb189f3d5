"""A domain of a stranger's own: a shop whose tools share a state, tasks in it, and a benchmark that asks them."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from random import Random
from typing import Any

from sloop.benchmarks.environment import EnvironmentBenchmark
from sloop.environments.domains import add_domain
from sloop.records import EnvSpec, Task, ToolCall, Turn
from sloop.simulation.tasks import TASKS
from sloop.tools.contract import ToolError, tool

KINDS = ("single_step",)
ITEMS = {"train": ("tea", "salt"), "dev": ("oil",), "test": ("rice", "soap", "figs")}


@dataclass
class Shop:
    state: dict[str, Any]

    @tool
    def count(self, item: str) -> int:
        """How many of an item are left."""
        return self.state["stock"].get(item, 0)

    @tool(mutates=True)
    def sell(self, item: str, number: int = 1) -> str:
        """Sell an item."""
        if self.count(item) < number:
            raise ToolError(f"there is too little {item}")
        self.state["stock"][item] -= number
        return "sold"


def make_task(rng: Random, kind: str, part: str) -> Task:
    item, number, left = rng.choice(ITEMS[part]), rng.randint(1, 9), rng.randint(10, 99)
    sale = ToolCall(name="sell", arguments={"item": item, "number": number})
    turn = Turn(request=f"Sell {number} of {item}.", calls=((sale,),), reply="Sold.")
    return Task(env=EnvSpec(toolkit="shop", state={"stock": {item: left}}), turns=(turn,), slice=kind)


class ShopBenchmark(EnvironmentBenchmark):
    MODULES = (*EnvironmentBenchmark.MODULES, "acme_shop")


add_domain("shop", Shop)
TASKS["shop"] = sys.modules[__name__]
