"""What is written becomes samples: one for each decision of a dialogue, with where it comes from."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from sloop.judges.base import Judge
from sloop.records import Dialogue, Judgement, Lineage, Order, Record, Rejected, Sample, Source, Truth, decisions
from sloop.stages.evidence import verdicts
from sloop.teachers.base import Teacher


async def written_samples(
    order: Order,
    *,
    stage: str,
    round: int,
    source: Source,
    teacher: Teacher,
    rng: Random,
    judge: Judge | None,
    judge_rng: Callable[[], Random],
) -> list[Record]:
    """What the teacher writes for an order: samples, each with its truth behind it, and its judgement before it where
    there is a judge; or why there is none.
    """
    written = await teacher.write(order, rng)
    if isinstance(written, Rejected):
        return [written]
    records: list[Record] = []
    for sample, truth in slice_dialogue(written, order, stage=stage, round=round, source=source, teacher=teacher):
        if judge is not None:
            (verdict,) = await verdicts(judge, sample, [sample.label], judge_rng())
            records.append(Judgement(sample_id=sample.id, verdict=verdict))
        records += [sample, truth] if truth else [sample]
    return records


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
