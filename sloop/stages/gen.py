"""Generate a tool-calling dataset: orders are planned, a teacher writes them, what may not enter is counted."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count, islice
from pathlib import Path
from random import Random
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, Field

from sloop.engine.build import Components
from sloop.engine.executor import Worker
from sloop.engine.identity import unit_rng
from sloop.engine.stage import Desk
from sloop.judges.base import Judge
from sloop.records import (
    AnyKind,
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
from sloop.records.ranges import Share, Weight, Within, refused
from sloop.stages.accept import JUDGEMENTS, REJECTED, TRUTH, Admission, Door, Rule
from sloop.stages.accept import MODULES as DOOR_MODULES
from sloop.stages.card import Card
from sloop.stages.samplers import Sampler
from sloop.stages.slices import written_samples
from sloop.store import write_bytes
from sloop.teachers.base import Choosy, Staged, Teacher, shares_of

CHUNK = 2000
"""Units planned at a time: what is in memory does not grow with the dataset."""
MAX_TRIES = 3
"""Orders placed per sample asked for, before a shortfall is reported."""
DOOR: tuple[Rule, ...] = ("duplicate", "forbidden")
"""What keeps a sample out; mistakes of the teacher stay in."""


TRAIN, DEV = "train.jsonl", "dev.jsonl"
DATA = (TRAIN, DEV, TRUTH)
CARD = "card.md"


def _some(kinds: dict[Kind, float]) -> dict[Kind, float]:
    if not any(kinds.values()):
        raise refused("at least one share must be above 0, such as gen.kinds.single=1")
    return kinds


def _rising(offered: tuple[int, int]) -> tuple[int, int]:
    if offered[0] > offered[1]:
        raise refused("give the fewest and the most tools on offer, such as [3,5]")
    return offered


Offered = Annotated[int, Within(1, 1_000)]


class GenSettings(Record):
    """What kinds of sample are asked for; section ``gen`` of the configuration."""

    kinds: Annotated[dict[Kind, Weight], AfterValidator(_some)]
    """Share of each kind of sample."""
    offered: Annotated[tuple[Offered, Offered], AfterValidator(_rising)]
    """Fewest and most tools on offer in a sample."""
    contrast: Share
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
    notes: tuple[str, ...] = Field((), exclude_if=lambda notes: not notes)
    """Which tools were left out, and why."""


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


def plan_kinds(shares: Mapping[AnyKind, float], rng: Random, prefix: str) -> Iterator[tuple[str, list[Order]]]:
    """Endless units of one order each, for a teacher that brings its own tools; see `plan_orders`."""
    for number in count():
        key = f"{prefix}{number:07d}"
        yield key, [Order(key=key, kind=rng.choices(list(shares), list(shares.values()))[0])]


async def write_unit(task: Gen, worker: Worker, orders: Sequence[Order]) -> list[Record]:
    """Write the orders of one unit, each sample behind its judgement if there is a judge; a contrast order takes the
    sample before it as its seed.
    """
    teacher = worker.part(task.teacher, Teacher, "teacher")
    judge = None if task.judge is None else worker.part(task.judge, Judge, "judge")
    records: list[Record] = []
    before: Sample | None = None
    for order in orders:
        if order.axis == "contrast" and order.seed is None:
            if before is None:
                records.append(Rejected(key=order.key, reason="no_seed"))
                continue
            order = order.model_copy(update={"seed": before})
        written = await written_samples(
            order,
            stage="gen",
            round=task.round,
            source=task.source,
            teacher=teacher,
            rng=unit_rng(task.seed, "gen", task.round, order.key),
            judge=judge,
            judge_rng=partial(unit_rng, task.seed, "gen-judge", task.round, order.key),
        )
        before = next((record for record in reversed(written) if isinstance(record, Sample)), before)
        records += written
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
        *DOOR_MODULES,
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
        teacher = desk.part(self.teacher, Teacher, "teacher")
        parts: list[object] = [teacher]
        if self.judge is not None:
            parts.append(desk.part(self.judge, Judge, "judge"))
        tools, notes = writable(self.tools, teacher)
        orders = self.orders(tools, desk.part(self.sampler, Sampler, "sampler"), teacher)
        fold = _Fold(self, teacher.decisions if isinstance(teacher, Staged) else 1)
        card = Card()
        kinds = (Sample, Truth, Judgement)

        def side(sample: Sample) -> str:
            card.add(sample)
            return TRAIN if in_train(sample.group, self.train_split) else DEV

        with desk.writing(*DATA, REJECTED, *([JUDGEMENTS] if self.judge is not None else [])) as append:
            width = desk.executor.width(*parts)
            for _, records in desk.map(fold.plan(orders, desk), write_unit, self, kinds, width=width):
                fold.door.take(records, append, side)
        summary = fold.summary().model_copy(update={"notes": notes})
        write_bytes(desk.folder / CARD, card.text(summary.model_dump()).encode())
        desk.add(CARD)
        return summary

    def orders(self, tools: Sequence[Tool], sampler: Sampler, teacher: Teacher) -> Iterator[tuple[str, list[Order]]]:
        """The units, without end."""
        rng, prefix = unit_rng(self.seed, "plan", self.round, ""), f"r{self.round}-"
        if shares := shares_of(teacher):
            return plan_kinds(shares, rng, prefix)
        return plan_orders(tools, sampler, self.settings, rng, prefix)


class _Fold:
    """Places orders until enough was let in."""

    def __init__(self, stage: Gen, decisions: int) -> None:
        """``decisions``: how many samples a unit gives, about."""
        self._stage = stage
        self._decisions = decisions
        self.door = Door(Admission(rules=DOOR, forbidden=stage.forbidden, similarity=1.0), stage.num_samples)
        self._placed = 0

    def plan(self, orders: Iterator[tuple[str, list[Order]]], desk: Desk) -> Iterator[dict[str, list[Order]]]:
        """As many orders as samples are wanting, as often as it takes."""
        wanted = self._stage.num_samples
        while (made := self.door.kinds.total()) < wanted and self._placed < most_orders(wanted):
            units = dict(islice(orders, min(CHUNK, -((made - wanted) // self._decisions))))
            self._placed += len(units)
            yield units
            desk.tell("gen", self.door.kinds.total(), wanted)

    def summary(self) -> GenSummary:
        """What was counted."""
        made = self.door.kinds.total()
        return GenSummary(
            samples=made,
            kinds=dict(sorted(self.door.kinds.items())),
            rejected=dict(sorted(self.door.rejected.items())),
            orders=self._placed,
            shortfall=self._stage.num_samples - made,
        )


def writable(tools: Sequence[Tool], teacher: Teacher) -> tuple[Sequence[Tool], tuple[str, ...]]:
    """The tools that a teacher can write requests for, and a sentence on each other one.

    Raises:
        UserError: it can for none of them.
    """
    if not isinstance(teacher, Choosy):
        return tools, ()
    reasons = [(tool, teacher.unable(tool)) for tool in tools]
    able = [tool for tool, reason in reasons if not reason]
    told = [f"{tool.name} ({reason})" for tool, reason in reasons if reason]
    if not able:
        raise UserError(
            f"this teacher can write no request for any of {len(tools)} tools, such as {told[0]}. Loosen the tool's "
            "schema, or let a model write: teacher=llm"
        )
    few = f"{len(told)} of {len(tools)} tools are left out: no request for them can be written"
    return able, (few, *(f"left out: {each}" for each in told)) if told else ()


def most_orders(num_samples: int) -> int:
    """Units placed for so many samples before a shortfall is reported."""
    return MAX_TRIES * num_samples + 10


def _check(stage: Gen) -> None:
    if not stage.tools:
        raise UserError("there are no tools to write requests for. Name a file: tools.path=my_tools.json")
    if stage.settings.judge and stage.judge is None:
        raise UserError("gen.judge=true, and there is no judge. Name one, such as judge=llm, or leave gen.judge=false.")


async def preview(
    stage: Gen, components: Components, tell: Callable[[str], None] = lambda _: None
) -> list[Sample | Rejected]:
    """The first ``num_samples`` samples that a gen stage would write, in memory alone.

    Where the orders that it would place for so many do not give them, what was rejected follows the samples, up to that
    number, to say why; an order that failed is rejected. ``tell`` is told what tools are left out.

    Raises:
        UserError: a component cannot be built, or cannot be asked.
    """
    sampler = components.get(stage.sampler, Sampler, "sampler")
    teacher = components.get(stage.teacher, Teacher, "teacher")
    tools, notes = writable(stage.tools, teacher)
    for note in notes:
        tell(note)
    door = Door(Admission(rules=DOOR, forbidden=frozenset(), similarity=1.0), stage.num_samples)
    worker = Worker(components, Path())
    shown: list[Sample | Rejected] = []
    rejected: list[Sample | Rejected] = []
    for key, unit in islice(stage.orders(tools, sampler, teacher), most_orders(stage.num_samples)):
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
                refused = door.refusal(record, verdicts.get(record.id))
                (rejected if refused else shown).append(refused or record)
            elif isinstance(record, Rejected):
                rejected.append(record)
        if len(shown) >= stage.num_samples:
            break
    return [*shown, *rejected][: stage.num_samples]
