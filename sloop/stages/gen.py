"""Generate a tool-calling dataset: orders are planned, a teacher writes them, what may not enter is counted."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain, islice
from pathlib import Path
from random import Random
from typing import Any, Protocol, get_args, runtime_checkable

from sloop.engine.build import describe
from sloop.engine.executor import concurrent, units_in_flight
from sloop.engine.folder import Stage, stage_key
from sloop.engine.identity import unit_rng
from sloop.judges.base import Judge
from sloop.records import (
    Dialogue,
    Judgement,
    Kind,
    Lineage,
    Order,
    Record,
    Rejected,
    Sample,
    Source,
    Tool,
    Truth,
    UserError,
    Verdict,
    decisions,
    digest,
)
from sloop.stages.accept import Admission, Rule, check_verdict
from sloop.stages.card import data_card
from sloop.store import Dataset, read_rows
from sloop.teachers.base import Teacher

CHUNK = 2000
"""Units planned at a time: what is in memory does not grow with the dataset."""
MAX_TRIES = 3
"""Orders placed per sample asked for, before a shortfall is reported."""
Report = Callable[[int, int], None]
"""Told (done, in all)."""
DOOR: tuple[Rule, ...] = ("duplicate", "forbidden")
"""What keeps a sample out; mistakes of the teacher stay in."""


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


@runtime_checkable
class Sampler(Protocol):
    """Chooses which tools the requests are about."""

    def wanted(self, tools: Sequence[Tool], rng: Random) -> Iterator[Tool]:
        """Endless stream of tools."""
        ...


class RandomSampler:
    """Every tool is as likely as every other."""

    def wanted(self, tools: Sequence[Tool], rng: Random) -> Iterator[Tool]:
        """Endless stream of tools, independent and uniform."""
        while True:
            yield rng.choice(tools)


class CoverageSampler:
    """A tool's weight decays with every visit, so that rare tools are not left out."""

    def __init__(self, *, decay: float) -> None:
        """``decay`` in (0, 1]: factor on a tool's weight for each visit; 1 is `RandomSampler`."""
        if not 0 < decay <= 1:
            raise UserError(f"sampler.decay={decay}: give a factor above 0 and at most 1, such as 0.5.")
        self.decay = decay

    def wanted(self, tools: Sequence[Tool], rng: Random) -> Iterator[Tool]:
        """Endless stream of tools."""
        weights = [1.0] * len(tools)
        while True:
            index = rng.choices(range(len(tools)), weights)[0]
            weights[index] *= self.decay
            if max(weights) < 1e-6:  # only ratios count; keep them away from zero
                weights = [weight * 1e6 for weight in weights]
            yield tools[index]


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


async def write_unit(
    orders: Sequence[Order], *, teacher: Teacher, judge: Judge | None, seed: int, stage: str, round: int, source: Source
) -> list[Record]:
    """Write the orders of one unit, each sample behind its judgement if there is a judge; a contrast order takes the
    sample before it as its seed.
    """
    records: list[Record] = []
    before: Sample | None = None
    for order in orders:
        if order.axis == "contrast" and order.seed is None:
            if before is None:
                records.append(Rejected(key=order.key, reason="no_seed"))
                continue
            order = order.model_copy(update={"seed": before})
        written = await teacher.write(order, unit_rng(seed, stage, round, order.key))
        if isinstance(written, Rejected):
            records.append(written)
            continue
        for sample, truth in slice_dialogue(written, order, stage=stage, round=round, source=source, teacher=teacher):
            before = sample
            if judge is not None:
                rng = unit_rng(seed, f"{stage}-judge", round, order.key)
                verdict = (await judge.judge(sample.blind(), [sample.label], rng))[0]
                records.append(Judgement(sample_id=sample.id, verdict=verdict))
            records.append(sample)
            if truth:
                records.append(truth)
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


def in_train(group: str, train_split: float) -> bool:
    """Side of the split: a hash of the group, so that a group is never cut and other groups change nothing."""
    return int(hashlib.sha256(group.encode()).hexdigest()[:8], 16) / 16**8 < train_split


def check_settings(tools: Sequence[Tool], settings: GenSettings, num_samples: int) -> None:
    """Raise a `UserError` for settings that no dataset can be made from."""
    if not tools:
        raise UserError("there are no tools to write requests for. Name a file: tools.path=my_tools.json")
    kinds, offered, allowed = settings.kinds, settings.offered, get_args(Kind)
    for kind, share in kinds.items():
        if kind not in allowed or share < 0:
            raise UserError(f"gen.kinds.{kind}={share}: kinds are {', '.join(allowed)}, shares are 0 or more.")
    if not sum(kinds.values()) > 0:
        raise UserError(f"gen.kinds={dict(kinds)}: at least one share must be above 0, such as gen.kinds.single=1")
    if not 1 <= offered[0] <= offered[1]:
        raise UserError(f"gen.offered={list(offered)}: give the fewest and the most tools on offer, such as [3,5].")
    if not 0 <= settings.contrast <= 1:
        raise UserError(f"gen.contrast={settings.contrast}: give a share from 0 to 1.")
    if num_samples < 1:
        raise UserError(f"num_samples={num_samples}: give a whole number from 1.")


def most_orders(num_samples: int) -> int:
    """Units placed for so many samples before a shortfall is reported."""
    return MAX_TRIES * num_samples + 10


def gen(
    *,
    tools: Sequence[Tool],
    teacher: Teacher,
    judge: Judge | None = None,
    sampler: Sampler,
    settings: GenSettings,
    num_samples: int,
    seed: int,
    train_split: float,
    out: Path,
    forbidden: frozenset[str] = frozenset(),
    round: int = 0,
    source: Source = "seed",
    workers: int = 1,
    experiment: Path | None = None,
    report: Report | None = None,
) -> Stage:
    """Write ``num_samples`` samples to ``out``: ``train.jsonl``, ``dev.jsonl``, ``truth.jsonl``, ``rejected.jsonl``,
    ``card.md``, and with a judge ``judgements.jsonl``.

    Args:
        tools: to write requests for.
        teacher: who writes.
        judge: asked about every sample where the settings say so; otherwise none is needed.
        sampler: which tools the requests are about.
        settings: kinds of sample and tools on offer, and whether samples are judged.
        num_samples: samples in train and dev together.
        seed: the same seed gives the same bytes.
        train_split: share of the dialogues that go to ``train.jsonl``.
        out: the stage's folder.
        forbidden: normalised requests of a benchmark that no sample may repeat.
        round: of the loop that this is for; 0 is the seed pool.
        source: why the samples will stand in a training set.
        workers: orders in flight, more for a teacher or judge over a network; the bytes are the same for any number.
        experiment: where a finished stage with the same key is looked for.
        report: told of progress.

    Returns:
        The finished stage; ``summary`` counts samples per kind, rejections per reason, and any shortfall.

    Raises:
        UserError: settings that no dataset can be made from.
    """
    check_settings(tools, settings, num_samples)
    asked = _asked(judge, settings)
    key = stage_key(
        "gen",
        tools=[tool.to_openai() for tool in tools],
        teacher=describe(teacher),
        judge=describe(asked) if asked else None,
        sampler=describe(sampler),
        settings=settings.model_dump(),
        num_samples=num_samples,
        seed=seed,
        train_split=train_split,
        forbidden=digest(sorted(forbidden)),
        round=round,
        source=source,
    )
    with Stage(out, key, experiment) as stage:
        if stage.done:
            return stage
        plan_rng = unit_rng(seed, "plan", round, "")
        orders = plan_orders(tools, sampler, settings, plan_rng, f"r{round}-")
        admission = Admission(rules=DOOR, forbidden=forbidden, similarity=1.0)
        counts: Counter[str] = Counter()
        rejected: Counter[str] = Counter()
        placed = 0
        work = partial(write_unit, teacher=teacher, judge=asked, seed=seed, stage="gen", round=round, source=source)
        run = concurrent(units_in_flight(workers, teacher, asked))
        names = ["train.jsonl", "dev.jsonl", "truth.jsonl", "rejected.jsonl", *(["judgements.jsonl"] if asked else [])]
        with stage.writing(*names) as append:
            while (made := counts["samples"]) < num_samples and placed < most_orders(num_samples):
                units = dict(next(orders) for _ in range(min(CHUNK, num_samples - made)))
                placed += len(units)
                for _, records in stage.map(units, work, run, (Sample, Truth, Judgement)):
                    admitted: set[str] = set()
                    verdicts: dict[str, Verdict] = {}
                    for record in records:
                        if isinstance(record, Judgement):
                            append["judgements.jsonl"](record)
                            verdicts[record.sample_id] = record.verdict
                            continue
                        if isinstance(record, Truth):
                            if record.sample_id in admitted:
                                append["truth.jsonl"](record)
                            continue
                        if isinstance(record, Sample) and counts["samples"] < num_samples:
                            refusal = _refusal(record, verdicts, admission)
                            if refusal is None:
                                admitted.add(record.id)
                                append["train.jsonl" if in_train(record.group, train_split) else "dev.jsonl"](record)
                                counts["samples"] += 1
                                counts[f"kind/{record.kind}"] += 1
                                continue
                            record = refusal
                        if isinstance(record, Rejected):
                            append["rejected.jsonl"](record)
                            rejected[record.reason] += 1
                if report:
                    report(counts["samples"], num_samples)
        made = counts.pop("samples", 0)
        summary = {
            "samples": made,
            "kinds": {k.removeprefix("kind/"): v for k, v in sorted(counts.items())},
            "rejected": dict(sorted(rejected.items())),
            "orders": placed,
            "shortfall": num_samples - made,
        }
        written = chain.from_iterable(read_rows(out / name, Sample) for name in ("train.jsonl", "dev.jsonl"))
        (out / "card.md").write_text(data_card(written, summary), encoding="utf-8")
        stage.finish(summary, also=["card.md"])
    return stage


def _asked(judge: Judge | None, settings: GenSettings) -> Judge | None:
    """The judge, where samples are to be judged."""
    if settings.judge and judge is None:
        raise UserError("gen.judge=true, and there is no judge. Name one, such as judge=llm, or leave gen.judge=false.")
    return judge if settings.judge else None


def _refusal(sample: Sample, verdicts: Mapping[str, Verdict], admission: Admission) -> Rejected | None:
    """Why a sample stays out: by its verdict, where it got one, or at the door."""
    verdict = verdicts.get(sample.id)
    return (check_verdict(sample, verdict) if verdict else None) or admission.admit(sample)


async def preview(
    *,
    tools: Sequence[Tool],
    teacher: Teacher,
    judge: Judge | None = None,
    sampler: Sampler,
    settings: GenSettings,
    num_samples: int,
    seed: int,
) -> list[Sample | Rejected]:
    """The first ``num_samples`` samples that `gen` would write, in memory alone.

    Where the orders that `gen` would place for so many do not give them, what was rejected follows the samples, up to
    that number, to say why; an order that failed is rejected. Raises `UserError` as `gen` does.
    """
    check_settings(tools, settings, num_samples)
    orders = plan_orders(tools, sampler, settings, unit_rng(seed, "plan", 0, ""), "r0-")
    admission = Admission(rules=DOOR, forbidden=frozenset(), similarity=1.0)
    shown: list[Sample | Rejected] = []
    rejected: list[Sample | Rejected] = []
    asked = _asked(judge, settings)
    work = partial(write_unit, teacher=teacher, judge=asked, seed=seed, stage="gen", round=0, source="seed")
    for key, unit in islice(orders, most_orders(num_samples)):
        verdicts: dict[str, Verdict] = {}
        try:
            written = await work(unit)
        except UserError:
            raise
        except Exception as error:  # the per-unit boundary, as in `Stage.map`: one sample's failure is shown as such
            written = [Rejected(key=key, reason=f"failed:{type(error).__name__}", detail=str(error))]
        for record in written:
            if isinstance(record, Judgement):
                verdicts[record.sample_id] = record.verdict
            elif isinstance(record, Sample):
                refusal = _refusal(record, verdicts, admission)
                (rejected if refusal else shown).append(refusal or record)
            elif isinstance(record, Rejected):
                rejected.append(record)
        if len(shown) >= num_samples:
            break
    return [*shown, *rejected][:num_samples]


def pool_of(stage: Stage) -> Dataset:
    """The training part of a generated dataset."""
    return stage.dataset("train.jsonl")
