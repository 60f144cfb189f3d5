"""What is written becomes samples: one for each decision of a dialogue, with where it comes from."""

from __future__ import annotations

from sloop.records import Dialogue, Lineage, Order, Sample, Source, Truth, decisions
from sloop.teachers.base import Teacher


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
