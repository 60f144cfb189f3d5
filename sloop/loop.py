"""The closed data loop, readable in one sitting: the order of the stages and nothing else.

    pool and checkpoint 0 (evaluated: round 0), then every round: train -> evaluate -> probe -> optimize

``optimize`` makes the training set of the next round; the last round ends with its evaluation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from sloop.benchmarks.base import Benchmark
from sloop.benchmarks.part import whole_data
from sloop.engine.build import specification
from sloop.engine.stage import Made, Place, run_stage
from sloop.measures.overlap import Contamination, OverlapSettings, forbidden_requests
from sloop.records import Checkpoint, Decode, Record, RoundRecord, Sample, Source, Tool, UserError
from sloop.records.ranges import Name, Within
from sloop.simulation.corruption import Corruption, is_foreign, kept
from sloop.stages.accept import TRUTH
from sloop.stages.corrupt import Corrupt
from sloop.stages.evaluate import Evaluate
from sloop.stages.gen import TRAIN, Gen, GenSettings
from sloop.stages.optimize.compose import by_hash, unseen_quota
from sloop.stages.optimize.stage import DATASET, Optimize, OptimizeSettings
from sloop.stages.portions import Portions
from sloop.stages.probe import PREDICTIONS, Probe
from sloop.stages.round import round_metrics, write_round
from sloop.stages.train import Start, Train, checkpoint_of, is_strange
from sloop.store import Dataset, now
from sloop.students.few_shot import turns_of

SHOWN = "sloop.students.few_shot.FewShotStudent"


class Variant(Record):
    """What a round hands to the next."""

    name: Name
    data: Literal["repaired", "repeated", "fresh", "none"]
    """repaired: what optimize makes of the probe; repeated: round 1's set again; fresh: as many new samples from the
    same teacher, unjudged and untargeted; none: nothing is trained, and round 0 is all."""
    clean: bool = False
    """Of data that nothing was done to: neither corruption nor label noise."""
    shots: Annotated[int, Within(0, 1_000)] = 0
    """Samples of round 1's set that stand, with their labels, before every question of a benchmark."""


class Settings(Record):
    """The numbers of a loop; defaults and meanings stand in ``conf/config.yaml``."""

    variant: Variant
    seed: int
    rounds: int
    budget: int
    num_samples: int | None
    first_steps: int
    steps: int
    round_0: bool
    restart: bool
    corruption: Corruption
    gen: GenSettings
    optimize: OptimizeSettings
    overlap: OverlapSettings
    decode: Decode
    batch_size: int


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What a loop is made of; components as specifications (or instances, where they need not travel)."""

    tools: tuple[Tool, ...]
    teacher: Any
    judge: Any
    student: Any
    sampler: Any
    trainer: Any
    benchmarks: tuple[Benchmark, ...]
    foreign_tools: tuple[Tool, ...] = ()
    """Of another domain, for a corruption that mixes one in."""


def loop(
    parts: Parts,
    settings: Settings,
    place: Place,
    *,
    began_round: Callable[[int], None] | None = None,
    finished_round: Callable[[Path], None] | None = None,
) -> list[RoundRecord]:
    """Run the loop, or what is left of it.

    Args:
        parts: who generates, judges, learns, trains and asks.
        settings: how much of everything.
        place: the run's folder, and how units run.
        began_round: told the number of every round before its first stage.
        finished_round: told the folder of every round that is complete.

    Returns:
        The record of every round, in order.

    Raises:
        UserError: settings that contradict each other, or a folder that holds another run.
    """
    run = _Loop(parts, settings, place)
    pool = run.found(place.at("seed", prefix="round 0: "), "pool", round=0, source="seed", count=run.pool_size())
    portions = run.portion(pool[-1].dataset(TRAIN))
    checkpoint = untrained = run.start(pool[-1].dataset(TRAIN))
    data = first = portions.dataset("round_1.jsonl")
    short = first_short = portions.summary.shortfall["round_1.jsonl"]
    examples = shown_before(first, settings.variant.shots, settings.seed)
    run.say_short(place, "examples", settings.variant.shots, settings.variant.shots - len(examples))
    truths = [path for made in pool if (path := made.folder / TRUTH).is_file()]
    answers: Path | None = None
    held = run.held()
    rounds = []
    trains = settings.variant.data != "none"
    if settings.round_0 or not trains:
        here, began = place.at("round_0", prefix="round 0: "), now()
        asked = run.evaluate(here, checkpoint, examples)
        metrics = round_metrics(held, asked, None, truths)
        rounds.append(write_round(here.folder, 0, began, None, 0, asked, held, metrics))
        if finished_round:
            finished_round(here.folder)
    for number in range(1, settings.rounds + 1 if trains else 1):
        here = place.at(f"round_{number}", prefix=f"round {number}: ")
        began = now()
        if began_round:
            began_round(number)
        run.say_short(here, "training set", settings.budget, short)
        if settings.restart:
            held = run.held()
        hold(held, data)
        trained = run.train(here, number, untrained if settings.restart else checkpoint, data, answers)
        checkpoint = checkpoint_of(trained)
        stages: dict[str, Made[Any]] = {"train": trained, **run.evaluate(here, checkpoint, examples)}
        trained_on, trained_short = data, short
        if number < settings.rounds:
            if settings.variant.data == "repeated":
                data, short = first, first_short
            elif settings.variant.data == "fresh":
                fresh = run.found(here, "fresh", round=number, source="fresh", count=settings.budget)
                stages |= {made.folder.name: made for made in fresh}
                data = fresh[-1].dataset(TRAIN)
                short = settings.budget - len(data)
            else:
                unseen = portions.dataset(f"unseen_{number + 1}.jsonl")
                stages["probe"] = run.probe(here, checkpoint, data, unseen)
                answers = stages["probe"].folder / PREDICTIONS
                stages["optimize"] = made = run.optimize(here, number, data, unseen, stages["probe"])
                data, short = made.dataset(DATASET), made.summary.shortfall
        truths += [path for made in stages.values() if (path := made.folder / TRUTH).is_file()]
        metrics = round_metrics(held, stages, trained_on, truths)
        record = write_round(here.folder, number, began, trained_on, trained_short, stages, held, metrics)
        check_terms(settings, record)
        rounds.append(record)
        if finished_round:
            finished_round(here.folder)
    return rounds


@dataclass(frozen=True)
class _Loop:
    """Each stage as it stands in this loop."""

    parts: Parts
    settings: Settings
    place: Place

    @cached_property
    def forbidden(self) -> frozenset[str]:
        """Requests of the benchmarks: no sample may repeat one."""
        return frozenset().union(*(forbidden_requests(whole_data(benchmark)) for benchmark in self.parts.benchmarks))

    def held(self) -> dict[str, Contamination]:
        """By benchmark: what it shares with the training sets that the weights have seen: none yet."""
        settings = self.settings.overlap
        return {asked.name: Contamination.of(asked.name, asked.data, settings) for asked in self.parts.benchmarks}

    @cached_property
    def unseen(self) -> dict[int, int]:
        """Unseen seed samples that join the set of each round from the second."""
        shares = self.settings.optimize.shares
        rounds = range(2, self.settings.rounds + 1)
        return {number: unseen_quota(self.settings.budget, number, shares) for number in rounds}

    def pool_size(self) -> int:
        settings = self.settings
        needed = settings.budget + sum(self.unseen.values())
        if settings.num_samples is not None and settings.num_samples < needed:
            raise UserError(
                f"num_samples={settings.num_samples}: {settings.rounds} rounds on a budget of {settings.budget} need "
                f"{needed} samples in the pool. Give that many, or leave num_samples=null."
            )
        return settings.num_samples or needed

    def found(self, place: Place, name: str, *, round: int, source: Source, count: int) -> list[Made[Any]]:
        """What a user would bring, last of its stages: what the teacher writes, or that made dirty."""
        pool = self.generate(place.at(name), self.parts.tools, round=round, source=source, count=count)
        settings, seed = self.settings.corruption, self.settings.seed
        if settings.is_clean or self.settings.variant.clean:
            return [pool]
        data, made, foreign = pool.dataset(TRAIN), [pool], None
        here = kept(data.ids(), settings, seed)
        if others := sum(here(sample_id) and is_foreign(sample_id, settings, seed) for sample_id in data.ids()):
            tools, there = self.parts.foreign_tools, place.at(f"{name}_foreign")
            made.append(self.generate(there, tools, round=round, source=source, count=others))
            foreign = made[-1].dataset(TRAIN)
            self.say_short(there, "samples of another domain", others, others - len(foreign))
        stage = Corrupt(data=data, foreign=foreign, settings=settings, seed=seed)
        return [*made, run_stage(stage, place.at(f"{name}_corrupted"))]

    def generate(self, place: Place, tools: tuple[Tool, ...], *, round: int, source: Source, count: int) -> Made[Any]:
        stage = Gen(
            tools=tools,
            teacher=self.parts.teacher,
            judge=self.parts.judge,
            sampler=self.parts.sampler,
            settings=self.settings.gen,
            num_samples=count,
            seed=self.settings.seed,
            train_split=1.0,
            forbidden=self.forbidden,
            round=round,
            source=source,
        )
        return run_stage(stage, place)

    def say_short(self, place: Place, what: str, asked: int, short: int) -> None:
        """Tell of a shortfall as of something done, so that no terminal passes over it."""
        if short:
            place.tell(f"{what}: {short} samples short of {asked}", asked - short, asked - short)

    def portion(self, pool: Dataset) -> Made[Any]:
        sizes = {"round_1.jsonl": self.settings.budget} | {f"unseen_{n}.jsonl": size for n, size in self.unseen.items()}
        here = self.place.at("seed", "portions", prefix="seed: ")
        made = run_stage(Portions(pool=pool, sizes=sizes), here)
        for name, short in made.summary.shortfall.items():
            self.say_short(here, Path(name).stem, sizes[name], short)
        return made

    def start(self, pool: Dataset) -> Checkpoint:
        stage = Start(student=self.parts.student, data=pool, seed=self.settings.seed)
        return checkpoint_of(run_stage(stage, self.place.at("seed", "start")))

    def train(
        self, place: Place, number: int, checkpoint: Checkpoint, data: Dataset, answers: Path | None
    ) -> Made[Any]:
        stage = Train(
            trainer=self.parts.trainer,
            start=checkpoint,
            data=data,
            predictions=answers,
            steps=steps_of(self.settings, number),
            seed=self.settings.seed + number,
        )
        return run_stage(stage, place.at("train"))

    def evaluate(self, place: Place, checkpoint: Checkpoint, examples: Sequence[Sample]) -> dict[str, Made[Any]]:
        student, made = self.parts.student, {}
        if shots := self.settings.variant.shots:
            turns = [turn.model_dump() for turn in turns_of(examples)]
            short = {"short": shots - len(examples)} if len(examples) < shots else {}
            student = {"_target_": SHOWN, "student": student, "turns": turns, **short}
        for benchmark in self.parts.benchmarks:
            stage = Evaluate(
                benchmark=specification(benchmark),
                data=benchmark.data,
                student=student,
                checkpoint=checkpoint,
                decode=self.settings.decode,
                batch_size=self.settings.batch_size,
                judge=self.parts.judge,
            )
            made[f"evaluate/{benchmark.name}"] = run_stage(stage, place.at("evaluate", benchmark.name))
        return made

    def probe(self, place: Place, checkpoint: Checkpoint, *data: Dataset) -> Made[Any]:
        stage = Probe(
            data=data,
            student=self.parts.student,
            checkpoint=checkpoint,
            decode=self.settings.decode,
            batch_size=self.settings.batch_size,
        )
        return run_stage(stage, place.at("probe"))

    def optimize(self, place: Place, number: int, data: Dataset, unseen: Dataset, probed: Made[Any]) -> Made[Any]:
        stage = Optimize(
            data=data,
            unseen=unseen,
            predictions=probed.folder / PREDICTIONS,
            judge=self.parts.judge,
            teacher=self.parts.teacher,
            tools=self.parts.tools,
            settings=self.settings.optimize,
            budget=self.settings.budget,
            seed=self.settings.seed,
            round=number,
            forbidden=self.forbidden,
        )
        return run_stage(stage, place.at("optimize"))


def steps_of(settings: Settings, number: int) -> int:
    """Optimizer steps of a round: other ones where it starts from checkpoint 0."""
    return settings.first_steps if number == 1 or settings.restart else settings.steps


def shown_before(data: Dataset, shots: int, seed: int) -> list[Sample]:
    """The samples that stand before a question; none whose label calls what is not on offer, as in training."""
    fit = {sample.id: sample for sample in data if not is_strange(sample)} if shots else {}
    return [fit[sample_id] for sample_id in by_hash(list(fit), f"shown {seed}")[:shots]]


def hold(held: Mapping[str, Contamination], data: Dataset) -> None:
    """Hold a training set against the benchmarks; nothing is trained on what stands in one.

    Raises:
        UserError: a sample stands in one.
    """
    for name, benchmark in held.items():
        if repeats := benchmark.add(data):
            raise UserError(
                f"{data.path} repeats the benchmark {name}: sample {repeats[0].id} asks {repeats[0].request!r}. "
                "Take such samples out of the data, or evaluate on another benchmark."
            )


def check_terms(settings: Settings, record: RoundRecord) -> None:
    """All variants have the same budget and steps; a round that had others is no evidence, and ends the run."""
    data = record.data
    assert data is not None
    if record.steps != steps_of(settings, record.round) or not (0 <= data.shortfall == settings.budget - data.rows):
        raise AssertionError(
            f"round {record.round} broke the equal terms of all variants: {record.steps=} {data.rows=} "
            f"{data.shortfall=}"
        )
