"""Generate a tool-calling dataset: orders are planned, a teacher writes them, what may not enter is counted."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from random import Random
from typing import Any, ClassVar, get_args

from sloop.engine.build import Components
from sloop.engine.executor import Worker
from sloop.engine.identity import unit_rng
from sloop.engine.stage import Desk
from sloop.judges.base import Judge
from sloop.records import (
    Judgement,
    Kind,
    Order,
    Record,
    Rejected,
    Sample,
    Source,
    Tool,
    Truth,
    UserError,
    Verdict,
)
from sloop.stages.accept import Admission, Rule, check_verdict
from sloop.stages.card import data_card
from sloop.stages.samplers import Sampler
from sloop.stages.slices import slice_dialogue
from sloop.store import read_rows, write_bytes
from sloop.teachers.base import Teacher

CHUNK = 2000
"""Units planned at a time: what is in memory does not grow with the dataset."""
MAX_TRIES = 3
"""Orders placed per sample asked for, before a shortfall is reported."""
DOOR: tuple[Rule, ...] = ("duplicate", "forbidden")
"""What keeps a sample out; mistakes of the teacher stay in."""


TRAIN, DEV, TRUTH, REJECTED, JUDGEMENTS = (
    f"{name}.jsonl" for name in ("train", "dev", "truth", "rejected", "judgements")
)
DATA = (TRAIN, DEV, TRUTH)
CARD = "card.md"


class GenSettings(Record):
    """What kinds of sample are asked for; section ``gen`` of the configuration."""

    kinds: dict[str, float]
    """Share of each kind of sample."""
    offered: tuple[int, int]
    """Fewest and most tools on offer in a sample."""
    contrast: float
    """Share of the irrelevant samples that repeat another sample's request without its tool."""
    judge: bool = False
    """Ask the judge about every sample; what it does not call right stays out."""


class GenSummary(Record):
    """What a gen stage made."""

    samples: int
    kinds: dict[str, int]
    """Samples of each kind."""
    rejected: dict[str, int]
    """By reason."""
    orders: int
    """Units placed."""
    shortfall: int
    """Samples fewer than asked for."""


def plan_orders(
    tools: Sequence[Tool], sampler: Sampler, settings: GenSettings, rng: Random, prefix: str
) -> Iterator[tuple[str, list[Order]]]:
    """Endless units. A contrast pair is one unit: a request with its tool on offer, then the same without.

    Args:
        tools: to choose from.
        sampler: which tools the requests are about.
        settings: see `GenSettings`.
        rng: of the plan alone.
        prefix: of the units' keys.
    """
    stream = sampler.wanted(tools, rng)
    names, weights = list(settings.kinds), list(settings.kinds.values())
    tools = list(tools)
    number = 0
    while True:
        key = f"{prefix}{number:07d}"
        kind: Any = rng.choices(names, weights)[0]
        wanted = [next(stream)]
        if kind == "parallel":
            other = next(stream)
            wanted += [other] if other.name != wanted[0].name else []
        if kind == "incomplete" and not wanted[0].required:
            kind = "single"
        count = rng.randint(*settings.offered)
        number += 1
        if kind == "chat":
            yield key, [Order(key=key, kind=kind, tools=tuple(rng.sample(tools, min(count, len(tools)))))]
            continue
        names_wanted = {tool.name for tool in wanted}
        drawn = rng.sample(tools, min(count + len(wanted), len(tools)))
        without = tuple(tool for tool in drawn if tool.name not in names_wanted)[:count]
        with_wanted = [*without[: max(0, count - len(wanted))], *wanted]
        rng.shuffle(with_wanted)
        if kind != "irrelevant":
            yield key, [Order(key=key, kind=kind, tools=tuple(with_wanted), wanted=tuple(wanted))]
        elif not without:  # one tool in all: nothing else can be on offer
            yield key, [Order(key=key, kind="single", tools=tuple(wanted), wanted=tuple(wanted))]
        elif rng.random() < settings.contrast:
            first = Order(key=key, kind="single", tools=tuple(with_wanted), wanted=tuple(wanted))
            second = Order(key=f"{key}-contrast", kind=kind, tools=without, wanted=tuple(wanted), axis="contrast")
            yield key, [first, second]
        else:
            yield key, [Order(key=key, kind=kind, tools=without, wanted=tuple(wanted))]


async def write_unit(task: Gen, worker: Worker, orders: Sequence[Order]) -> list[Record]:
    """Write the orders of one unit, each sample behind its judgement if there is a judge; a contrast order takes the
    sample before it as its seed.
    """
    teacher = worker.part(task.teacher, Teacher, "teacher")
    records: list[Record] = []
    before: Sample | None = None
    for order in orders:
        if order.axis == "contrast" and order.seed is None:
            if before is None:
                records.append(Rejected(key=order.key, reason="no_seed"))
                continue
            order = order.model_copy(update={"seed": before})
        written = await teacher.write(order, unit_rng(task.seed, "gen", task.round, order.key))
        if isinstance(written, Rejected):
            records.append(written)
            continue
        slices = slice_dialogue(written, order, stage="gen", round=task.round, source=task.source, teacher=teacher)
        for sample, truth in slices:
            before = sample
            if task.judge is not None:
                judge = worker.part(task.judge, Judge, "judge")
                rng = unit_rng(task.seed, "gen-judge", task.round, order.key)
                verdict = (await judge.judge(sample.blind(), [sample.label], rng))[0]
                records.append(Judgement(sample_id=sample.id, verdict=verdict))
            records.append(sample)
            if truth:
                records.append(truth)
    return records


def in_train(group: str, train_split: float) -> bool:
    """Side of the split: a hash of the group, so that a group is never cut and other groups change nothing."""
    return int(hashlib.sha256(group.encode()).hexdigest()[:8], 16) / 16**8 < train_split


@dataclass(frozen=True, kw_only=True)
class Gen:
    """Write samples: ``train.jsonl``, ``dev.jsonl``, ``truth.jsonl``, ``rejected.jsonl``, ``card.md``, and with a judge
    ``judgements.jsonl``.
    """

    name: ClassVar[str] = "gen"
    MODULES: ClassVar[tuple[str, ...]] = (
        "sloop.calls.grounding",
        "sloop.calls.schema",
        "sloop.calls.surface",
        "sloop.calls.wording",
        "sloop.records.base",
        "sloop.records.judging",
        "sloop.records.samples",
        "sloop.stages.accept",
        "sloop.stages.card",
        "sloop.stages.gen",
        "sloop.stages.slices",
        "sloop.teachers.base",
    )
    summary_type: ClassVar[type[GenSummary]] = GenSummary

    tools: Sequence[Tool]
    """To write requests for."""
    teacher: Any
    judge: Any = None
    """Asked about every sample, where ``settings.judge`` says so; otherwise none is needed."""
    sampler: Any
    """Which tools the requests are about."""
    settings: GenSettings
    num_samples: int
    """In train and dev together."""
    seed: int
    """The same seed gives the same bytes."""
    train_split: float
    """Share of the dialogues that go to ``train.jsonl``."""
    forbidden: frozenset[str] = frozenset()
    """Normalised requests of a benchmark that no sample may repeat."""
    round: int = 0
    """Of the loop that this is for; 0 is the seed pool."""
    source: Source = "seed"
    """Why the samples will stand in a training set."""

    def __post_init__(self) -> None:
        """Raise a `UserError` for settings that no dataset can be made from; forget a judge that is not asked."""
        _check(self)
        if not self.settings.judge:
            object.__setattr__(self, "judge", None)

    def make(self, desk: Desk) -> GenSummary:
        """Place orders until enough was let in, or too many were placed."""
        parts: list[object] = [desk.part(self.teacher, Teacher, "teacher")]
        if self.judge is not None:
            parts.append(desk.part(self.judge, Judge, "judge"))
        orders = self.orders(desk.part(self.sampler, Sampler, "sampler"))
        fold = _Fold(self)
        kinds = (Sample, Truth, Judgement)
        with desk.writing(*DATA, REJECTED, *([JUDGEMENTS] if self.judge is not None else [])) as append:
            width = desk.executor.width(*parts)
            for _, records in desk.map(fold.plan(orders, desk), write_unit, self, kinds, width=width):
                fold.take(records, append)
        summary = fold.summary()
        written = chain.from_iterable(read_rows(desk.folder / name, Sample) for name in (TRAIN, DEV))
        write_bytes(desk.folder / CARD, data_card(written, summary.model_dump()).encode())
        desk.add(CARD)
        return summary

    def orders(self, sampler: Sampler) -> Iterator[tuple[str, list[Order]]]:
        """The units, without end."""
        rng = unit_rng(self.seed, "plan", self.round, "")
        return plan_orders(self.tools, sampler, self.settings, rng, f"r{self.round}-")


class _Fold:
    """Lets samples in, in the order of their units, and counts what becomes of them."""

    def __init__(self, stage: Gen) -> None:
        self._stage = stage
        self._admission = Admission(rules=DOOR, forbidden=stage.forbidden, similarity=1.0)
        self._kinds: Counter[str] = Counter()
        self._rejected: Counter[str] = Counter()
        self._placed = 0

    def plan(self, orders: Iterator[tuple[str, list[Order]]], desk: Desk) -> Iterator[dict[str, list[Order]]]:
        """As many orders as samples are wanting, as often as it takes."""
        wanted = self._stage.num_samples
        while (made := self._kinds.total()) < wanted and self._placed < most_orders(wanted):
            units = dict(islice(orders, min(CHUNK, wanted - made)))
            self._placed += len(units)
            yield units
            desk.tell("gen", self._kinds.total(), wanted)

    def take(self, records: Sequence[Record], append: Mapping[str, Callable[[Record], None]]) -> None:
        """What a unit gave, to its files."""
        admitted: set[str] = set()
        verdicts: dict[str, Verdict] = {}
        for record in records:
            if isinstance(record, Judgement):
                append[JUDGEMENTS](record)
                verdicts[record.sample_id] = record.verdict
            elif isinstance(record, Truth):
                if record.sample_id in admitted:
                    append[TRUTH](record)
            elif isinstance(record, Sample) and self._kinds.total() < self._stage.num_samples:
                if refused := refusal(record, verdicts, self._admission):
                    self._reject(refused, append)
                    continue
                admitted.add(record.id)
                append[TRAIN if in_train(record.group, self._stage.train_split) else DEV](record)
                self._kinds[str(record.kind)] += 1
            elif isinstance(record, Rejected):
                self._reject(record, append)

    def _reject(self, rejected: Rejected, append: Mapping[str, Callable[[Record], None]]) -> None:
        append[REJECTED](rejected)
        self._rejected[rejected.reason] += 1

    def summary(self) -> GenSummary:
        """What was counted."""
        made = self._kinds.total()
        return GenSummary(
            samples=made,
            kinds=dict(sorted(self._kinds.items())),
            rejected=dict(sorted(self._rejected.items())),
            orders=self._placed,
            shortfall=self._stage.num_samples - made,
        )


def most_orders(num_samples: int) -> int:
    """Units placed for so many samples before a shortfall is reported."""
    return MAX_TRIES * num_samples + 10


def refusal(sample: Sample, verdicts: Mapping[str, Verdict], admission: Admission) -> Rejected | None:
    """Why a sample stays out: by its verdict, where it got one, or at the door."""
    verdict = verdicts.get(sample.id)
    return (check_verdict(sample, verdict) if verdict else None) or admission.admit(sample)


def _check(stage: Gen) -> None:
    kinds, offered, allowed = stage.settings.kinds, stage.settings.offered, get_args(Kind)
    if not stage.tools:
        raise UserError("there are no tools to write requests for. Name a file: tools.path=my_tools.json")
    for kind, share in kinds.items():
        if kind not in allowed or share < 0:
            raise UserError(f"gen.kinds.{kind}={share}: kinds are {', '.join(allowed)}, shares are 0 or more.")
    if not sum(kinds.values()) > 0:
        raise UserError(f"gen.kinds={dict(kinds)}: at least one share must be above 0, such as gen.kinds.single=1")
    if not 1 <= offered[0] <= offered[1]:
        raise UserError(f"gen.offered={list(offered)}: give the fewest and the most tools on offer, such as [3,5].")
    if not 0 <= stage.settings.contrast <= 1:
        raise UserError(f"gen.contrast={stage.settings.contrast}: give a share from 0 to 1.")
    if stage.num_samples < 1:
        raise UserError(f"num_samples={stage.num_samples}: give a whole number from 1.")
    if stage.settings.judge and stage.judge is None:
        raise UserError("gen.judge=true, and there is no judge. Name one, such as judge=llm, or leave gen.judge=false.")


async def preview(stage: Gen, components: Components) -> list[Sample | Rejected]:
    """The first ``num_samples`` samples that a gen stage would write, in memory alone.

    Where the orders that it would place for so many do not give them, what was rejected follows the samples, up to that
    number, to say why; an order that failed is rejected.

    Raises:
        UserError: a component cannot be built, or cannot be asked.
    """
    sampler = components.get(stage.sampler, Sampler, "sampler")
    admission = Admission(rules=DOOR, forbidden=frozenset(), similarity=1.0)
    worker = Worker(components, Path())
    shown: list[Sample | Rejected] = []
    rejected: list[Sample | Rejected] = []
    for key, unit in islice(stage.orders(sampler), most_orders(stage.num_samples)):
        verdicts: dict[str, Verdict] = {}
        try:
            written = await write_unit(stage, worker, unit)
        except UserError:
            raise
        except Exception as error:  # the per-unit boundary, as in `desk.map`: one sample's failure is shown as such
            written = [Rejected(key=key, reason=f"failed:{type(error).__name__}", detail=str(error))]
        for record in written:
            if isinstance(record, Judgement):
                verdicts[record.sample_id] = record.verdict
            elif isinstance(record, Sample):
                refused = refusal(record, verdicts, admission)
                (rejected if refused else shown).append(refused or record)
            elif isinstance(record, Rejected):
                rejected.append(record)
        if len(shown) >= stage.num_samples:
            break
    return [*shown, *rejected][: stage.num_samples]
