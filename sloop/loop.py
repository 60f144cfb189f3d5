"""The closed data loop, readable in one sitting: the order of the stages and nothing else.

    pool and checkpoint 0, then every round: train -> evaluate -> probe -> optimize

``optimize`` makes the training set of the next round; the last round ends with its evaluation.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from sloop.benchmarks.base import Benchmark
from sloop.engine.folder import Stage, stage_key
from sloop.judges.base import Judge
from sloop.measures.audit import audit_dataset, audit_rulings
from sloop.measures.metrics import probe_scores
from sloop.measures.overlap import Contamination, Overlap, OverlapSettings, forbidden_requests, write_evidence
from sloop.records import Checkpoint, Decode, Record, Ruling, Score, Source, Tool, UserError
from sloop.stages.evaluate import SCORES, evaluate, grades_of
from sloop.stages.gen import GenSettings, Sampler, gen, pool_of
from sloop.stages.optimize.compose import unseen_quota
from sloop.stages.optimize.stage import DATASET, RULINGS, TRUTH, OptimizeSettings, optimize
from sloop.stages.probe import PREDICTIONS, probe
from sloop.stages.train import checkpoint_of, start, train
from sloop.store import Dataset, now, predictions_at, read_json, read_rows, write_json
from sloop.students.base import Student
from sloop.teachers.base import Teacher
from sloop.trainers.base import Trainer

ROUND_FILE = "round.json"

Report = Callable[[str, int, int], None]
"""Told (what, done, in all)."""


class Variant(Record):
    """What a round hands to the next."""

    name: str
    data: Literal["repaired", "repeated", "fresh"]
    """repaired: what optimize makes of the probe; repeated: round 1's set again; fresh: as many new samples from the
    same teacher, unjudged and untargeted."""


class Settings(Record):
    """The numbers of a loop; defaults and meanings stand in ``conf/config.yaml``."""

    variant: Variant
    seed: int
    rounds: int
    budget: int
    num_samples: int | None
    first_steps: int
    steps: int
    gen: GenSettings
    optimize: OptimizeSettings
    overlap: OverlapSettings
    decode: Decode
    batch_size: int
    workers: int


@dataclass(frozen=True)
class Parts:
    """The components of a loop."""

    tools: tuple[Tool, ...]
    teacher: Teacher
    judge: Judge
    student: Student
    sampler: Sampler
    trainer: Trainer
    benchmarks: tuple[Benchmark, ...]


def loop(
    parts: Parts,
    settings: Settings,
    *,
    out: Path,
    experiment: Path | None = None,
    report: Report | None = None,
    began_round: Callable[[int], None] | None = None,
    finished_round: Callable[[Path], None] | None = None,
) -> list[dict[str, Any]]:
    """Run the loop, or what is left of it.

    Args:
        parts: who generates, judges, learns, trains and asks.
        settings: how much of everything.
        out: the run's folder.
        experiment: folder of the runs with which stages of equal key are shared; None: share with none.
        report: told of progress.
        began_round: told the number of every round before its first stage.
        finished_round: told the folder of every round that is complete.

    Returns:
        The content of every ``round.json``, in order.

    Raises:
        UserError: settings that contradict each other, or a folder that holds another run.
    """
    run = _Loop(parts, settings, out, experiment, report or (lambda what, done, total: None))
    pool = run.generate(out / "seed" / "pool", round=0, source="seed", num_samples=run.pool_size())
    portions = run.portion(pool)
    checkpoint = run.start(pool)
    data = first = portions.dataset("round_1.jsonl")
    short = first_short = portions.summary["shortfall"]["round_1.jsonl"]
    truths = [pool.folder / TRUTH]
    rounds = []
    for number in range(1, settings.rounds + 1):
        folder = out / f"round_{number}"
        began = now()
        if began_round:
            began_round(number)
        run.say_short(f"round {number}: training set", settings.budget, short)
        run.hold(data)
        trained = run.train(number, checkpoint, data)
        checkpoint = checkpoint_of(trained)
        stages = {"train": trained, **run.evaluate(number, checkpoint)}
        trained_on, trained_short = data, short
        if number < settings.rounds:
            if settings.variant.data == "repeated":
                data, short = first, first_short
            elif settings.variant.data == "fresh":
                stages["fresh"] = run.generate(folder / "fresh", round=number, source="fresh")
                data, short = pool_of(stages["fresh"]), stages["fresh"].summary["shortfall"]
            else:
                unseen = portions.dataset(f"unseen_{number + 1}.jsonl")
                stages["probe"] = run.probe(number, checkpoint, [data, unseen])
                stages["optimize"] = run.optimize(number, data, unseen, stages["probe"])
                data, short = stages["optimize"].dataset(DATASET), stages["optimize"].summary["shortfall"]
        truths += [path for stage in stages.values() if (path := stage.folder / TRUTH).is_file()]
        metrics = _metrics(run.held, stages, trained_on, truths)
        overlaps = write_evidence(folder, run.held.values())
        rounds.append(
            _write_round(folder, number, began, settings, trained_on, trained_short, stages, metrics, overlaps)
        )
        if finished_round:
            finished_round(folder)
    parts.student.close()
    return rounds


@dataclass(frozen=True)
class _Loop:
    """Each stage with the arguments that it has in this loop."""

    parts: Parts
    settings: Settings
    out: Path
    experiment: Path | None
    say: Report

    @cached_property
    def forbidden(self) -> frozenset[str]:
        """Requests of the benchmarks: no sample may repeat one."""
        return frozenset().union(*(forbidden_requests(benchmark.data) for benchmark in self.parts.benchmarks))

    @cached_property
    def held(self) -> dict[str, Contamination]:
        """By benchmark: what it shares with the training sets so far, all of which the weights have seen."""
        settings = self.settings.overlap
        return {
            benchmark.name: Contamination.of(benchmark.name, benchmark.data, settings)
            for benchmark in self.parts.benchmarks
        }

    @cached_property
    def unseen(self) -> dict[int, int]:
        """Unseen seed samples that join the set of each round from the second."""
        shares = self.settings.optimize.shares
        shares.check()
        rounds = range(2, self.settings.rounds + 1)
        return {number: unseen_quota(self.settings.budget, number, shares) for number in rounds}

    def pool_size(self) -> int:
        settings = self.settings
        if settings.rounds < 1 or settings.budget < 1:
            raise UserError(f"loop.rounds={settings.rounds}, loop.budget={settings.budget}: both must be 1 or more.")
        needed = settings.budget + sum(self.unseen.values())
        if settings.num_samples is not None and settings.num_samples < needed:
            raise UserError(
                f"num_samples={settings.num_samples}: {settings.rounds} rounds on a budget of {settings.budget} need "
                f"{needed} samples in the pool. Give that many, or leave num_samples=null."
            )
        return settings.num_samples or needed

    def generate(self, out: Path, *, round: int, source: Source, num_samples: int | None = None) -> Stage:
        return gen(
            tools=self.parts.tools,
            teacher=self.parts.teacher,
            judge=self.parts.judge,
            sampler=self.parts.sampler,
            settings=self.settings.gen,
            num_samples=num_samples or self.settings.budget,
            seed=self.settings.seed,
            train_split=1.0,
            out=out,
            forbidden=self.forbidden,
            round=round,
            source=source,
            workers=self.settings.workers,
            experiment=self.experiment,
            report=partial(self.say, f"round {round}: gen"),
        )

    def say_short(self, what: str, asked: int, short: int) -> None:
        """Tell of a shortfall as of something done, so that no terminal passes over it."""
        if short:
            self.say(f"{what}: {short} samples short of {asked}", asked - short, asked - short)

    def portion(self, pool: Stage) -> Stage:
        """Cut the pool: round 1's set, then the unseen part of each later round; the same for every variant.

        The summary's ``shortfall`` says how many samples each part lacks: a teacher may have written fewer than asked.
        """
        data = pool_of(pool)
        sizes = {"round_1.jsonl": self.settings.budget} | {f"unseen_{n}.jsonl": size for n, size in self.unseen.items()}
        key = stage_key("portions", pool=data.sha256, sizes=sizes)
        with Stage(self.out / "seed" / "portions", key, self.experiment) as stage:
            if not stage.done:
                rows = iter(data)
                made = {name: len(Dataset(stage.write(name, islice(rows, size)))) for name, size in sizes.items()}
                stage.finish({"sizes": made, "shortfall": {name: sizes[name] - made[name] for name in sizes}})
        for name, short in stage.summary["shortfall"].items():
            self.say_short(f"seed: {Path(name).stem}", sizes[name], short)
        return stage

    def start(self, pool: Stage) -> Checkpoint:
        out = self.out / "seed" / "start"
        return checkpoint_of(
            start(
                student=self.parts.student,
                data=pool_of(pool),
                seed=self.settings.seed,
                out=out,
                experiment=self.experiment,
            )
        )

    def hold(self, data: Dataset) -> None:
        """Hold a training set against the benchmarks; nothing is trained on what stands in one."""
        for name, held in self.held.items():
            if repeats := held.add(data):
                raise UserError(
                    f"{data.path} repeats the benchmark {name}: sample {repeats[0].id} asks {repeats[0].request!r}. "
                    "Take such samples out of the data, or evaluate on another benchmark."
                )

    def train(self, number: int, checkpoint: Checkpoint, data: Dataset) -> Stage:
        return train(
            trainer=self.parts.trainer,
            start=checkpoint,
            data=data,
            predictions=None,
            steps=_steps(self.settings, number),
            seed=self.settings.seed + number,
            out=self.out / f"round_{number}" / "train",
            experiment=self.experiment,
            report=partial(self.say, f"round {number}: train"),
        )

    def evaluate(self, number: int, checkpoint: Checkpoint) -> dict[str, Stage]:
        return {
            f"evaluate/{benchmark.name}": evaluate(
                benchmark=benchmark,
                student=self.parts.student,
                checkpoint=checkpoint,
                decode=self.settings.decode,
                batch_size=self.settings.batch_size,
                judge=self.parts.judge,
                out=self.out / f"round_{number}" / "evaluate" / benchmark.name,
                experiment=self.experiment,
                report=partial(self.say, f"round {number}: evaluate"),
            )
            for benchmark in self.parts.benchmarks
        }

    def probe(self, number: int, checkpoint: Checkpoint, data: Sequence[Dataset]) -> Stage:
        return probe(
            data=data,
            student=self.parts.student,
            checkpoint=checkpoint,
            decode=self.settings.decode,
            batch_size=self.settings.batch_size,
            out=self.out / f"round_{number}" / "probe",
            experiment=self.experiment,
            report=partial(self.say, f"round {number}: probe"),
        )

    def optimize(self, number: int, data: Dataset, unseen: Dataset, probed: Stage) -> Stage:
        return optimize(
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
            out=self.out / f"round_{number}" / "optimize",
            forbidden=self.forbidden,
            workers=self.settings.workers,
            experiment=self.experiment,
            report=lambda step, done, total: self.say(f"round {number}: {step}", done, total),
        )


def _steps(settings: Settings, number: int) -> int:
    return settings.first_steps if number == 1 else settings.steps


def _metrics(
    held: Mapping[str, Contamination], stages: Mapping[str, Stage], data: Dataset, truths: Sequence[Path]
) -> list[Score]:
    """Every number of a round. Truths are read here for metrics alone, after all decisions have been taken."""
    metrics = [Score(name="data/size", value=len(data), n=len(data)), *audit_dataset(data, truths)]
    for source, count in sorted(Counter(data.column("source")).items()):
        metrics.append(Score(name=f"data/share/{source}", value=count / len(data), n=len(data)))
    loss = stages["train"].summary["loss"]
    metrics.append(Score(name="train/loss", value=loss, n=1))
    for name, contamination in held.items():
        stage = stages[f"evaluate/{name}"]
        scores = [*read_rows(stage.folder / SCORES, Score), *contamination.split(grades_of(stage))]
        metrics += [score.model_copy(update={"name": f"eval/{name}/{score.name}"}) for score in scores]
        metrics += contamination.overlap().scores()
    if "optimize" in stages:
        folder = stages["optimize"].folder
        rulings = list(read_rows(folder / RULINGS, Ruling))
        answers = predictions_at(stages["probe"].folder / PREDICTIONS)
        metrics += probe_scores(answers, (r.sample_id for r in rulings if r.verdict_prediction is not None))
        metrics += audit_rulings(rulings, answers, truths)
        summary = stages["optimize"].summary
        for source, count in summary["composition"].items():
            metrics.append(Score(name=f"optimize/next/{source}", value=count, n=summary["samples"]))
        metrics.append(Score(name="optimize/shortfall", value=summary["shortfall"], n=summary["samples"]))
    return metrics


def _write_round(
    folder: Path,
    number: int,
    began: str,
    settings: Settings,
    data: Dataset,
    short: int,
    stages: Mapping[str, Stage],
    metrics: Sequence[Score],
    overlaps: Sequence[Overlap],
) -> dict[str, Any]:
    """``round.json``: times are kept from the first time that the round was complete.

    ``short`` is how many samples the stage that made ``data`` reported to be missing; nothing else may be.
    """
    path = folder / ROUND_FILE
    before = read_json(path) if path.is_file() else {}
    content = {
        "round": number,
        "began": before.get("began", began),
        "finished": before.get("finished", now()),
        "steps": stages["train"].summary["steps"],
        "data": {
            "path": os.path.relpath(data.path, folder.parent),
            "rows": len(data),
            "shortfall": short,
            "sha256": data.sha256,
        },
        "stages": {name: {"key": stage.key, "files": stage.manifest["files"]} for name, stage in stages.items()},
        "metrics": [metric.model_dump() for metric in metrics],
        "contamination": [overlap.model_dump(mode="json") for overlap in overlaps],
    }
    if content["steps"] != _steps(settings, number) or len(data) + short != settings.budget:
        raise AssertionError(
            f"round {number} broke the equal terms of all variants: {content['steps']=} {len(data)=} {short=}"
        )
    if content != before:
        write_json(path, content)
    return content
