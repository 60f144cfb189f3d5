"""What writes data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random
from typing import Protocol, runtime_checkable

from sloop.records import AnyKind, Dialogue, EnvSpec, Label, Message, Order, Rejected, Tool


@runtime_checkable
class Teacher(Protocol):
    """Writes dialogues. Generation and expansion alike: to expand is an order with seed, mistake and axis."""

    async def write(self, order: Order, rng: Random) -> Dialogue | Rejected:
        """Write one dialogue. The generator is the order's own, so that the order of work changes nothing."""
        ...


@runtime_checkable
class Choosy(Protocol):
    """A teacher that cannot write about every tool."""

    def unable(self, tool: Tool) -> str:
        """Why it can write no request for a tool; empty where it can."""
        ...


@runtime_checkable
class Staged(Protocol):
    """A teacher that brings its own tools: of an order it needs the kind alone."""

    @property
    def shares(self) -> Mapping[AnyKind, float]:
        """How much of each kind it is to be asked for; empty where orders are planned as for any other teacher."""
        ...

    decisions: int
    """How many samples one order gives, about."""


def shares_of(teacher: Teacher) -> Mapping[AnyKind, float]:
    """Of the kinds that a teacher brings tools for; empty where it brings none."""
    return teacher.shares if isinstance(teacher, Staged) else {}


def continued(
    tools: tuple[Tool, ...], messages: Sequence[Message], label: Label, env: EnvSpec | None = None
) -> Dialogue:
    """A dialogue of which only the last decision is new."""
    earlier = frozenset(index for index, message in enumerate(messages) if message.role == "assistant")
    ordered = frozenset({len(messages)} if label.ordered else ())
    return Dialogue(tools=tools, messages=(*messages, label.message()), doubtful=earlier, ordered=ordered, env=env)
