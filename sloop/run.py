"""From a configuration to a run: its folder, the stage or loop with its parts, what its endpoints spend."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from sloop.config import Builder, Config
from sloop.intake import Converted
from sloop.judges.base import Judge
from sloop.loop import Parts, Settings, loop
from sloop.measures.overlap import Contamination, write_evidence
from sloop.models.preflight import Finding, check_all
from sloop.models.usage import USAGE_FILE, Meter
from sloop.records import InputRecord, OutOfBudget, Rejected, Sample, Score, UserError
from sloop.runs.cite import config_hash, run_record
from sloop.runs.keep import Kept, is_finished, keeping
from sloop.runs.read import failures
from sloop.stages.evaluate import SCORES, evaluate, grades_of
from sloop.stages.gen import gen, preview
from sloop.stages.optimize.stage import optimize
from sloop.stages.probe import probe
from sloop.stages.train import train
from sloop.store import Dataset, file_digest, read_rows
from sloop.students.base import RemoteStudent

ENDPOINT = "sloop.models.endpoint.Endpoint"
ASKS: dict[str, tuple[str, ...]] = {
    "gen": ("teacher",),
    "train": (),
    "probe": ("student",),
    "optimize": ("judge", "teacher"),
    "eval": ("student", "judge"),
    "loop": ("teacher", "judge", "student"),
    "check": ("teacher", "judge", "student"),
}
"""Components of each stage that may be models behind endpoints."""
Report = Callable[[str, int, int], None]


def run_name(config: Config, plain: Mapping[str, Any]) -> str:
    """``<student>-<variant>-s<seed>-<hash8>``, for a stage used alone ``<stage>-s<seed>-<hash8>``."""
    what = f"{config.student.get('name', 'student')}-{config.variant.name}" if config.stage == "loop" else config.stage
    return f"{what}-s{config.seed}-{config_hash(plain)[:8]}"


def run_folder(config: Config, plain: Mapping[str, Any]) -> Path:
    """Where the run's files go."""
    return Path(config.output_dir or Path(config.paths.outputs) / config.name / run_name(config, plain))


def preview_samples(config: Config) -> list[Sample | Rejected]:
    """The first ``config.preview`` samples that the gen stage would write; nothing is written. Raises as `execute`."""
    with closing(Builder(config, Meter(None, config.spending, config.prices))) as parts:
        return asyncio.run(
            preview(
                tools=parts.tools(),
                teacher=parts.teacher(),
                judge=_gen_judge(parts),
                sampler=parts.sampler(),
                settings=config.gen,
                num_samples=config.preview,
                seed=config.seed,
            )
        )


def _gen_judge(parts: Builder) -> Judge | None:
    """The judge, where generated samples are to be judged: one that is not asked is not built."""
    return parts.judge() if parts.config.gen.judge else None


def execute(
    config: Config,
    plain: Mapping[str, Any],
    *,
    overrides: Sequence[str],
    sweep: str | None,
    report: Report,
    project: Callable[[Path], None],
    checked: Callable[[Sequence[Finding]], None] | None = None,
) -> Path:
    """Run the configured stage or loop, or what is left of it; returns its folder.

    Args:
        config: typed.
        plain: the same, as it is recorded.
        overrides: as given on the command line, for the record.
        sweep: id of the sweep that it belongs to.
        report: told (what, done, in all).
        project: told the run's folder whenever there is something new to log.
        checked: told what the endpoints can, before anything is spent or written.

    Raises:
        UserError: a mistake of the reader's.
        OutOfBudget: as much was spent as may be; the run can be resumed with more.
    """
    folder = run_folder(config, plain)
    meter = Meter(folder / USAGE_FILE, config.spending, config.prices)
    with closing(Builder(config, meter)) as parts:
        if config.stage == "loop":
            _check_trainable(parts)
        owed = failures(folder) if config.retry_failed else {}
        if config.preflight and (any(owed.values()) or not is_finished(folder)):
            asked = ASKS[config.stage]
            judged = config.stage == "gen" and config.gen.judge
            try:
                found = _preflight(parts, (*asked, "judge") if judged else asked)
            except OutOfBudget:  # where the rest comes from the cache, the run can still end
                found = []
            if found and checked:
                checked(found)
        name = run_name(config, plain)
        begun = run_record(kind=config.stage, name=name, config=plain, overrides=overrides, sweep=sweep)
        with keeping(folder, begun, owed=owed, project=project) as kept:
            try:
                if config.stage == "loop":
                    _loop(parts, folder, report, project)
                else:
                    _ONE_STAGE[config.stage](parts, folder, kept, report)
            except OutOfBudget:
                meter.flush()
                meter.check(begins=True)  # says what was spent now that nothing is on its way
                raise
            meter.flush()
    return folder


def check(config: Config) -> list[Finding]:
    """What the endpoints of a configuration can; nothing is written.

    Raises:
        UserError: one of them is down, refuses the key or has no such model.
        OutOfBudget: as much was spent as may be.
    """
    with closing(Builder(config, Meter(None, config.spending, config.prices))) as parts:
        return _preflight(parts, ASKS["check"])


def _preflight(parts: Builder, groups: Sequence[str]) -> list[Finding]:
    """Ask every endpoint of some components once; what that costs is counted once the run has begun to spend."""
    for group in groups:
        if _asks(getattr(parts.config, group)):  # others are not built yet: it may take seconds
            getattr(parts, group)()
    parts.meter.holding = True
    try:
        return check_all(parts.endpoints)
    finally:
        parts.meter.holding = False


def _asks(section: Any) -> bool:
    """Whether a component has an endpoint."""
    if isinstance(section, Mapping):
        return section.get("_target_") == ENDPOINT or any(map(_asks, section.values()))
    return isinstance(section, list | tuple) and any(map(_asks, section))


def _check_trainable(parts: Builder) -> None:
    if isinstance(parts.student(), RemoteStudent):
        raise UserError(
            f"student={parts.config.student.get('name')}: a loop trains its student, and an endpoint can only be "
            "probed and evaluated. Give a student with weights, such as student=tiny, or student=checkpoint "
            "student.path=FOLDER."
        )


def _loop(parts: Builder, folder: Path, report: Report, project: Callable[[Path], None]) -> None:
    config, meter = parts.config, parts.meter

    def began_round(number: int) -> None:
        meter.round = number

    def finished_round(_: Path) -> None:
        meter.flush()
        project(folder)

    settings = Settings(
        variant=config.variant,
        seed=config.seed,
        rounds=config.loop.rounds,
        budget=config.loop.budget,
        num_samples=config.num_samples,
        first_steps=config.loop.first_steps,
        steps=config.steps,
        gen=config.gen,
        optimize=config.optimize,
        overlap=config.overlap,
        decode=config.decode,
        batch_size=config.batch_size,
        workers=config.executor.workers,
    )
    loop(
        Parts(
            tools=parts.tools(),
            teacher=parts.teacher(),
            judge=parts.judge(),
            student=parts.student(),
            sampler=parts.sampler(),
            trainer=parts.trainer(),
            benchmarks=(parts.benchmark(),),
        ),
        settings,
        out=folder,
        experiment=folder.parent,
        report=report,
        began_round=began_round,
        finished_round=finished_round,
    )


def _gen(parts: Builder, folder: Path, kept: Kept, report: Report) -> None:
    config = parts.config
    if config.num_samples is None:
        raise UserError("num_samples is missing: give a whole number, such as num_samples=1000")
    gen(
        tools=parts.tools(),
        teacher=parts.teacher(),
        judge=_gen_judge(parts),
        sampler=parts.sampler(),
        settings=config.gen,
        num_samples=config.num_samples,
        seed=config.seed,
        train_split=config.train_split,
        out=folder,
        workers=config.executor.workers,
        report=lambda done, total: report("gen", done, total),
    )


def _train(parts: Builder, folder: Path, kept: Kept, report: Report) -> None:
    config = parts.config
    data = parts.dataset("data")
    kept.inputs = [_input("data", data)]
    steps = config.steps
    if config.epochs is not None:
        if "batch_size" not in config.trainer:
            raise UserError(f"epochs={config.epochs}: the trainer has no batch_size to count with; give steps=N.")
        steps = math.ceil(config.epochs * sum(s.copies for s in data) / config.trainer["batch_size"])
    first = parts.checkpoint(parts.student(), data, folder / "sidecar" / "start")
    train(
        trainer=parts.trainer(),
        start=first,
        data=data,
        predictions=parts.path("predictions") if config.predictions else None,
        steps=steps,
        seed=config.seed,
        out=folder,
        report=lambda done, total: report("train", done, total),
    )


def _probe(parts: Builder, folder: Path, kept: Kept, report: Report) -> None:
    config = parts.config
    data = parts.dataset("data")
    kept.inputs = [_input("data", data)]
    with closing(parts.student()) as student:
        probe(
            data=[data],
            student=student,
            checkpoint=parts.trained(student, data, folder / "sidecar" / "start"),
            decode=config.decode,
            batch_size=config.batch_size,
            out=folder,
            report=lambda done, total: report("probe", done, total),
            retry_failed=config.retry_failed,
        )


def _optimize(parts: Builder, folder: Path, kept: Kept, report: Report) -> None:
    config = parts.config
    data = parts.dataset("data")
    unseen = parts.dataset("unseen") if config.unseen else None
    predictions = parts.path("predictions")
    kept.inputs = [_input(name, given) for name, given in {"data": data, "unseen": unseen}.items() if given]
    kept.inputs.append(InputRecord(name="predictions", path=str(predictions), sha256=file_digest(predictions)))
    optimize(
        data=data,
        unseen=unseen,
        predictions=predictions,
        judge=parts.judge(),
        teacher=parts.teacher(),
        tools=parts.tools(),
        settings=config.optimize,
        budget=len(data),
        seed=config.seed,
        round=1,
        out=folder,
        workers=config.executor.workers,
        report=report,
    )


def _eval(parts: Builder, folder: Path, kept: Kept, report: Report) -> None:
    config = parts.config
    benchmark = parts.benchmark()
    kept.inputs = [_input(benchmark.name, benchmark.data)]
    held = None
    if config.data is not None:
        data = parts.dataset("data")
        kept.inputs.append(_input("data", data))
        held = Contamination.of(benchmark.name, benchmark.data, config.overlap)
        held.add(data)
    with closing(parts.student()) as student:
        stage = evaluate(
            benchmark=benchmark,
            student=student,
            checkpoint=parts.trained(student, benchmark.data, folder / "sidecar" / "start"),
            decode=config.decode,
            batch_size=config.batch_size,
            judge=parts.judge(),
            out=folder,
            trials=config.trials,
            seed=config.seed,
            report=lambda done, total: report("eval", done, total),
            retry_failed=config.retry_failed,
        )
    scores = [*read_rows(stage.folder / SCORES, Score), *(held.split(grades_of(stage)) if held else ())]
    scores = [score.model_copy(update={"name": f"eval/{benchmark.name}/{score.name}"}) for score in scores]
    if held:
        (overlap,) = write_evidence(folder, [held])
        kept.contamination = [overlap]
        scores += overlap.scores()
    kept.metrics = scores


_ONE_STAGE: dict[str, Callable[[Builder, Path, Kept, Report], None]] = {
    "gen": _gen,
    "train": _train,
    "probe": _probe,
    "optimize": _optimize,
    "eval": _eval,
}


def _input(name: str, data: Dataset) -> InputRecord:
    source = data.intake.model_dump() if isinstance(data, Converted) else None
    return InputRecord(name=name, path=str(data.path), sha256=data.sha256, source=source)
