"""What writes data and what judges it."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Protocol, runtime_checkable

from sloop.records import Dialogue, Label, Lineage, Message, Order, Rejected, Sample, Source, Tool, Truth, decisions


@runtime_checkable
class Teacher(Protocol):
    """Writes dialogues. Generation and expansion alike: to expand is an order with seed, mistake and axis."""

    async def write(self, order: Order, rng: Random) -> Dialogue | Rejected:
        """Write one dialogue. The generator is the order's own, so that the order of work changes nothing."""
        ...


def continued(tools: tuple[Tool, ...], messages: Sequence[Message], label: Label) -> Dialogue:
    """A dialogue of which only the last decision is new."""
    earlier = frozenset(index for index, message in enumerate(messages) if message.role == "assistant")
    ordered = frozenset({len(messages)} if label.ordered else ())
    return Dialogue(tools=tools, messages=(*messages, label.message()), doubtful=earlier, ordered=ordered)


def slice_dialogue(
    dialogue: Dialogue, order: Order, *, stage: str, round: int, source: Source, teacher: Teacher
) -> list[tuple[Sample, Truth | None]]:
    """Samples of a dialogue with their lineage. What is made from a sample stays in its group."""
    seed = order.seed
    lineage = Lineage(
        stage=stage,
        round=round,
        unit=order.key,
        parents=(seed.id,) if seed else (),
        axis=order.axis,
        teacher=type(teacher).__name__,
    )
    group = seed.group if seed else f"{stage}{round}-{order.key}"
    return decisions(dialogue, group=group, kind=order.kind, source=source, lineage=lineage)
