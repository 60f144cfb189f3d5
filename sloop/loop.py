"""The closed data loop, readable in one sitting: the order of the stages and nothing else.

    pool and checkpoint 0, then every round: train -> evaluate -> probe -> optimize

``optimize`` makes the training set of the next round; the last round ends with its evaluation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from sloop.accept import request_key
from sloop.evaluate.audit import audit_dataset, audit_rulings
from sloop.evaluate.benchmarks import Benchmark
from sloop.evaluate.overlap import overlaps
from sloop.evaluate.stage import SCORES, evaluate
from sloop.gen import Sampler, gen, pool_of
from sloop.optimize.compose import Shares, unseen_quota
from sloop.optimize.stage import DATASET, RULINGS, TRUTH, optimize
from sloop.probe import PREDICTIONS, probe
from sloop.store import Dataset, Stage, now, predictions_at, read_json, read_rows, stage_key, write_json
from sloop.students.base import Student
from sloop.teachers.base import Judge, Teacher
from sloop.train.base import Trainer
from sloop.train.stage import checkpoint_of, start, train
from sloop.types import Axis, Checkpoint, Decode, Record, Ruling, Score, Tool, UserError

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
    kinds: dict[str, float]
    offered: tuple[int, int]
    contrast: float
    shares: Shares
    axes: tuple[Axis, ...]
    judge_agreements: bool
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
    finished_round: Callable[[Path], None] | None = None,
) -> list[dict[str, Any]]:
    """Run the loop, or what is left of it.

    Args:
        parts: who generates, judges, learns, trains and asks.
        settings: how much of everything.
        out: the run's folder.
        experiment: folder of the runs with which stages of equal key are shared; None: share with none.
        report: told of progress.
        finished_round: told the folder of every round that is complete.

    Returns:
        The content of every ``round.json``, in order.

    Raises:
        UserError: settings that contradict each other, or a folder that holds another run.
    """
    say = report or (lambda what, done, total: None)
    forbidden = frozenset(request_key(sample.request) for b in parts.benchmarks for sample in b.data)
    unseen_sizes = _unseen_sizes(settings)
    pool = gen(
        tools=parts.tools, teacher=parts.teacher, sampler=parts.sampler, kinds=settings.kinds,
        num_samples=settings.num_samples or settings.budget + sum(unseen_sizes), offered=settings.offered,
        contrast=settings.contrast, seed=settings.seed, train_split=1.0, out=out / "seed" / "pool",
        forbidden=forbidden, workers=settings.workers, experiment=experiment, report=_named(say, "gen"),
    )  # fmt: skip
    portions = _portion(pool_of(pool), settings.budget, unseen_sizes, out / "seed" / "portions", experiment)
    started = start(
        student=parts.student, data=pool_of(pool), seed=settings.seed, out=out / "seed" / "start", experiment=experiment
    )
    checkpoint = checkpoint_of(started)
    data = portions.dataset("round_1.jsonl")
    truths = [pool.folder / TRUTH]
    rounds = []
    for number in range(1, settings.rounds + 1):
        folder = out / f"round_{number}"
        began = now()
        stages: dict[str, Stage] = {}
        trained = stages["train"] = train(
            trainer=parts.trainer, start=checkpoint, data=data, predictions=None, seed=settings.seed + number,
            steps=settings.first_steps if number == 1 else settings.steps, out=folder / "train", experiment=experiment,
            report=_named(say, f"round {number}: train"),
        )  # fmt: skip
        checkpoint = checkpoint_of(trained)
        for benchmark in parts.benchmarks:
            stages[f"evaluate/{benchmark.name}"] = evaluate(
                benchmark=benchmark, student=parts.student, checkpoint=checkpoint, decode=settings.decode,
                batch_size=settings.batch_size, judge=parts.judge, out=folder / "evaluate" / benchmark.name,
                experiment=experiment, report=_named(say, f"round {number}: evaluate"),
            )  # fmt: skip
        trained_on = data
        if number < settings.rounds:
            unseen = portions.dataset(f"unseen_{number + 1}.jsonl")
            made, data = _next_data(
                parts, settings, number, trained_on, unseen, portions.dataset("round_1.jsonl"), checkpoint, folder,
                forbidden, experiment, say,
            )  # fmt: skip
            stages |= made
        truths += [path for stage in stages.values() if (path := stage.folder / TRUTH).is_file()]
        metrics = _metrics(parts, stages, trained_on, truths)
        rounds.append(_write_round(folder, number, began, settings, trained_on, stages, metrics))
        if finished_round:
            finished_round(folder)
    parts.student.close()
    return rounds


def _next_data(
    parts: Parts,
    settings: Settings,
    number: int,
    data: Dataset,
    unseen: Dataset,
    first: Dataset,
    checkpoint: Checkpoint,
    folder: Path,
    forbidden: frozenset[str],
    experiment: Path | None,
    say: Report,
) -> tuple[dict[str, Stage], Dataset]:
    """The training set of the round after ``number``, and the stages that made it."""
    if settings.variant.data == "repeated":
        return {}, first
    if settings.variant.data == "fresh":
        fresh = gen(
            tools=parts.tools, teacher=parts.teacher, sampler=parts.sampler, kinds=settings.kinds,
            num_samples=settings.budget, offered=settings.offered, contrast=settings.contrast, seed=settings.seed,
            train_split=1.0, out=folder / "fresh", forbidden=forbidden, round=number, source="fresh",
            workers=settings.workers, experiment=experiment, report=_named(say, f"round {number}: gen"),
        )  # fmt: skip
        return {"fresh": fresh}, pool_of(fresh)
    probed = probe(
        data=[data, unseen], student=parts.student, checkpoint=checkpoint, decode=settings.decode,
        batch_size=settings.batch_size, out=folder / "probe", experiment=experiment,
        report=_named(say, f"round {number}: probe"),
    )  # fmt: skip
    optimized = optimize(
        data=data, unseen=unseen, predictions=probed.folder / PREDICTIONS, judge=parts.judge, teacher=parts.teacher,
        tools=parts.tools, axes=settings.axes, shares=settings.shares, budget=settings.budget,
        judge_agreements=settings.judge_agreements, seed=settings.seed, round=number, out=folder / "optimize",
        forbidden=forbidden, workers=settings.workers, experiment=experiment,
        report=lambda step, done, total: say(f"round {number}: {step}", done, total),
    )  # fmt: skip
    return {"probe": probed, "optimize": optimized}, optimized.dataset(DATASET)


def _unseen_sizes(settings: Settings) -> list[int]:
    """Unseen seed samples that join the sets of rounds 2, 3, ..."""
    if settings.rounds < 1 or settings.budget < 1:
        raise UserError(f"loop.rounds={settings.rounds}, loop.budget={settings.budget}: both must be 1 or more.")
    settings.shares.check()
    sizes = [unseen_quota(settings.budget, number, settings.shares) for number in range(2, settings.rounds + 1)]
    needed = settings.budget + sum(sizes)
    if settings.num_samples is not None and settings.num_samples < needed:
        raise UserError(
            f"num_samples={settings.num_samples}: {settings.rounds} rounds on a budget of {settings.budget} need "
            f"{needed} samples in the pool. Give that many, or leave num_samples=null."
        )
    return sizes


def _portion(pool: Dataset, budget: int, unseen: Sequence[int], out: Path, experiment: Path | None) -> Stage:
    """Cut the pool: round 1's set, then the unseen part of each later round; the same for every variant."""
    with Stage(out, stage_key("portions", pool=pool.sha256, budget=budget, unseen=list(unseen)), experiment) as stage:
        if not stage.done:
            rows = iter(pool)
            sizes = {"round_1.jsonl": budget} | {f"unseen_{n}.jsonl": size for n, size in enumerate(unseen, 2)}
            for name, size in sizes.items():
                stage.write(name, (row for _, row in zip(range(size), rows, strict=False)))
            stage.finish({"sizes": sizes})
    return stage


def _metrics(parts: Parts, stages: Mapping[str, Stage], data: Dataset, truths: Sequence[Path]) -> list[Score]:
    """Every number of a round. Truths are read here for metrics alone, after all decisions have been taken."""
    metrics = [Score(name="data/size", value=len(data), n=len(data)), *audit_dataset(data, truths)]
    loss = stages["train"].summary["loss"]
    metrics.append(Score(name="train/loss", value=loss, n=1))
    for benchmark in parts.benchmarks:
        scores = read_rows(stages[f"evaluate/{benchmark.name}"].folder / SCORES, Score)
        metrics += [score.model_copy(update={"name": f"eval/{benchmark.name}/{score.name}"}) for score in scores]
        shared = overlaps(data, benchmark.data)
        if shared.num_shared:
            raise UserError(f"{data.path} shares {shared.num_shared} requests with the benchmark {benchmark.name}.")
    if "optimize" in stages:
        folder = stages["optimize"].folder
        rulings = list(read_rows(folder / RULINGS, Ruling))
        answers = predictions_at(stages["probe"].folder / PREDICTIONS)
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
    stages: Mapping[str, Stage],
    metrics: Sequence[Score],
) -> dict[str, Any]:
    """``round.json``: times are kept from the first time that the round was complete."""
    path = folder / ROUND_FILE
    before = read_json(path) if path.is_file() else {}
    content = {
        "round": number,
        "began": before.get("began", began),
        "finished": before.get("finished", now()),
        "steps": stages["train"].summary["steps"],
        "data": {"path": str(data.path), "rows": len(data), "sha256": data.sha256},
        "stages": {name: {"key": stage.key, "files": stage.manifest["files"]} for name, stage in stages.items()},
        "metrics": [metric.model_dump() for metric in metrics],
    }
    expected = settings.first_steps if number == 1 else settings.steps
    if content["steps"] != expected or len(data) > settings.budget:
        raise AssertionError(f"round {number} broke the equal terms of all variants: {content['steps']=} {len(data)=}")
    if content != before:
        write_json(path, content)
    return content


def _named(say: Report, what: str) -> Callable[[int, int], None]:
    return lambda done, total: say(what, done, total)
