"""From a configuration to a run: its folder, the stage or loop with its parts, what its endpoints spend."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sloop.config import Builder, Config, benchmark_sections
from sloop.engine.build import specification
from sloop.engine.identity import config_hash
from sloop.engine.stage import Place, Report, run_stage
from sloop.intake import Converted
from sloop.loop import Parts, Settings, loop
from sloop.measures.overlap import Contamination, write_evidence
from sloop.models.preflight import Finding, check_all
from sloop.models.usage import USAGE_FILE, Meter
from sloop.records import InputRecord, OutOfBudget, Rejected, Sample, Score, UserError
from sloop.records.ranges import Positive, checked
from sloop.runs.bundle import endpoints
from sloop.runs.cite import check_clean, code_state, run_record
from sloop.runs.files import read_run
from sloop.runs.keep import Kept, is_finished, keeping
from sloop.runs.questions import keep_questions
from sloop.runs.read import failures
from sloop.stages.evaluate import SCORES, Evaluate, grades_of
from sloop.stages.gen import Gen, preview
from sloop.stages.optimize.stage import Optimize
from sloop.stages.probe import Probe
from sloop.stages.train import Train, is_strange, train_scores
from sloop.store import Dataset, file_digest, read_rows
from sloop.students.base import RemoteStudent
from sloop.trainers.base import EpochTrainer

ASKS: dict[str, tuple[str, ...]] = {
    "gen": ("teacher",),
    "train": (),
    "probe": ("student",),
    "optimize": ("judge", "teacher"),
    "eval": ("student", "judge", "benchmark"),
    "loop": ("teacher", "judge", "student", "benchmark"),
    "check": ("teacher", "judge", "student", "benchmark"),
}
"""Components of each stage that may be models behind endpoints."""
NEEDS: dict[str, tuple[str, ...]] = {
    "gen": ("teacher", "sampler"),
    "train": ("student", "trainer"),
    "probe": ("student",),
    "optimize": ("judge", "teacher"),
    "eval": ("student", "judge", "benchmark"),
    "loop": ("teacher", "judge", "student", "sampler", "trainer", "benchmark"),
}
"""Components that each stage cannot do without."""


def run_name(config: Config, plain: Mapping[str, Any]) -> str:
    """``<student>-<variant>-s<seed>-<hash8>``, for a stage used alone ``<stage>-s<seed>-<hash8>``."""
    what = f"{config.student.get('name', 'student')}-{config.variant.name}" if config.stage == "loop" else config.stage
    return f"{what}-s{config.seed}-{config_hash(plain)[:8]}"


def run_folder(config: Config, plain: Mapping[str, Any]) -> Path:
    """Where the run's files go."""
    return Path(config.output_dir or Path(config.paths.outputs) / config.name / run_name(config, plain))


def tracker_of(config: Config) -> Any:
    """Where the runs of a configuration are logged; errors as of `sloop.runs.track.connect`."""
    from sloop.runs.destination import experiment_of, tracking_uri
    from sloop.runs.track import connect
    from sloop.show.pages import page_of

    uri = tracking_uri(config.tracking.uri, config.paths.mlruns)
    return connect(uri, Path(config.paths.mlruns), experiment_of(config.name), page_of)


def preview_samples(config: Config, tell: Callable[[str], None] = lambda _: None) -> list[Sample | Rejected]:
    """The first ``config.preview`` samples that the gen stage would write; nothing is written. For the rest see
    `execute`.
    """
    with Builder(config, Meter(None, config.spending, config.prices), tell) as parts:
        return asyncio.run(preview(_gen(parts, config.preview), parts.components, tell))


def execute(
    config: Config,
    plain: Mapping[str, Any],
    *,
    overrides: Sequence[str],
    sweep: str | None,
    report: Report,
    project: Callable[[Path], None],
    checked: Callable[[Sequence[Finding]], None] | None = None,
    tell: Callable[[str], None] = lambda _: None,
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
        tell: told in sentences how files were read: what was left out of them.

    Raises:
        UserError: a mistake of the reader's.
        OutOfBudget: as much was spent as may be; the run can be resumed with more.
    """
    if config.cite.require_clean:
        check_clean(code_state(), "cite.require_clean=true")
    folder = run_folder(config, plain)
    if config.resume and is_finished(folder) and read_run(folder).config_hash == config_hash(plain):
        tell(f"{folder} is finished: with resume=true it is left alone")
        return folder
    meter = Meter(folder / USAGE_FILE, config.spending, config.prices)
    told: list[str] = []

    def noted(sentence: str) -> None:
        told.append(sentence)
        tell(sentence)

    with Builder(config, meter, noted) as parts:
        if config.stage == "loop":
            _check_trainable(parts)
        if config.stage == "eval" and len(several := benchmark_sections(config.benchmark)) > 1:
            raise UserError(
                f"eval asks one benchmark, not {', '.join(several)}. Give one, such as benchmark=sloop_bench"
            )
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
        for group in NEEDS[config.stage]:
            # a part that cannot be built is told of before the first stage, not hours later
            parts.benchmarks() if group == "benchmark" else parts.part(group)
        name = run_name(config, plain)
        begun = run_record(kind=config.stage, name=name, config=plain, overrides=overrides, sweep=sweep)
        with keeping(folder, begun, owed=owed, project=project) as kept:
            kept.told = told
            try:
                _RUN[config.stage](parts, parts.place(folder, report), kept, project)
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
    with Builder(config, Meter(None, config.spending, config.prices)) as parts:
        return _preflight(parts, ASKS["check"])


def _preflight(parts: Builder, groups: Sequence[str]) -> list[Finding]:
    """Ask every endpoint of some components once; what that costs is counted once the run has begun to spend."""
    for group in groups:
        if any(endpoints(getattr(parts.config, group))):  # others are not built yet: it may take seconds
            parts.benchmarks() if group == "benchmark" else parts.part(group)
    parts.meter.holding = True
    try:
        return check_all(parts.endpoints)
    finally:
        parts.meter.holding = False


def _check_trainable(parts: Builder) -> None:
    if isinstance(parts.part("student"), RemoteStudent):
        raise UserError(
            f"student={parts.config.student.get('name')}: a loop trains its student, and an endpoint can only be "
            "probed and evaluated. Give a student with weights, such as student=tiny, or student=checkpoint "
            "student.path=FOLDER."
        )


def _run_loop(parts: Builder, place: Place, kept: Kept, project: Callable[[Path], None]) -> None:
    config, meter = parts.config, parts.meter

    def began_round(number: int) -> None:
        meter.round = number

    def finished_round(_: Path) -> None:
        meter.flush()
        project(place.folder)

    benchmarks, teacher = parts.benchmarks(), parts.spec("teacher")
    if config.variant.clean and "label_noise" in teacher:
        teacher = {**teacher, "label_noise": 0.0}
    settings = Settings(
        variant=config.variant,
        seed=config.seed,
        rounds=config.loop.rounds,
        budget=config.loop.budget,
        num_samples=config.num_samples,
        first_steps=config.loop.first_steps,
        steps=config.steps,
        round_0=config.student.get("path") is not None if config.loop.round_0 is None else config.loop.round_0,
        restart=config.loop.restart,
        corruption=config.corruption,
        gen=config.gen,
        optimize=config.optimize,
        overlap=config.overlap,
        decode=config.decode,
        batch_size=config.batch_size,
    )
    chosen = Parts(
        tools=parts.tools(),
        foreign_tools=parts.foreign_tools(),
        benchmarks=benchmarks,
        teacher=teacher,
        **{group: parts.spec(group) for group in ("judge", "student", "sampler", "trainer")},
    )
    keep_questions(place.folder, *((benchmark.name, benchmark.data) for benchmark in benchmarks))
    shared = replace(place, experiment=place.folder.parent)
    loop(chosen, settings, shared, began_round=began_round, finished_round=finished_round)


def _gen(parts: Builder, num_samples: int) -> Gen:
    config = parts.config
    return Gen(
        tools=parts.tools(),
        teacher=parts.spec("teacher"),
        judge=parts.spec("judge") if config.gen.judge else None,  # one that is not asked may lack values
        sampler=parts.spec("sampler"),
        settings=config.gen,
        num_samples=num_samples,
        seed=config.seed,
        train_split=config.train_split,
    )


def _run_gen(parts: Builder, place: Place, kept: Kept, project: Callable[[Path], None]) -> None:
    if parts.config.num_samples is None:
        raise UserError("num_samples is missing: give a whole number, such as num_samples=1000")
    run_stage(_gen(parts, parts.config.num_samples), place)


def _run_train(parts: Builder, place: Place, kept: Kept, project: Callable[[Path], None]) -> None:
    config = parts.config
    data = parts.dataset("data")
    kept.inputs = [_input("data", data)]
    start = parts.checkpoint(data, place)
    steps = config.steps
    if config.epochs is not None:
        trainer = parts.part("trainer")
        if not isinstance(trainer, EpochTrainer):
            raise UserError(f"epochs={config.epochs}: this trainer does not count in passes; give steps=N.")
        offered = [sample for sample in data if not is_strange(sample)]
        steps = checked(Positive, trainer.steps_for(start, offered, config.epochs), "steps")
    stage = Train(
        trainer=parts.spec("trainer"),
        start=start,
        data=data,
        predictions=parts.path("predictions") if config.predictions else None,
        steps=steps,
        seed=config.seed,
    )
    kept.metrics = train_scores(run_stage(stage, place).summary, len(data))


def _run_probe(parts: Builder, place: Place, kept: Kept, project: Callable[[Path], None]) -> None:
    config = parts.config
    given = _trained_on_and_unseen(parts)
    kept.inputs = [_input(*asked) for asked in given.items()]
    keep_questions(place.folder, *given.items())
    stage = Probe(
        data=tuple(given.values()),
        student=parts.spec("student"),
        checkpoint=parts.trained(given["data"], place),
        decode=config.decode,
        batch_size=config.batch_size,
    )
    run_stage(stage, place)


def _run_optimize(parts: Builder, place: Place, kept: Kept, project: Callable[[Path], None]) -> None:
    config = parts.config
    given = _trained_on_and_unseen(parts)
    predictions = parts.path("predictions")
    kept.inputs = [_input(*asked) for asked in given.items()]
    kept.inputs.append(InputRecord(name="predictions", path=str(predictions), sha256=file_digest(predictions)))
    keep_questions(place.folder, *given.items())
    stage = Optimize(
        data=given["data"],
        unseen=given.get("unseen"),
        predictions=predictions,
        judge=parts.spec("judge"),
        teacher=parts.spec("teacher"),
        tools=parts.tools(),
        settings=config.optimize,
        budget=len(given["data"]),
        seed=config.seed,
        round=1,
    )
    run_stage(stage, place)


def _trained_on_and_unseen(parts: Builder) -> dict[str, Dataset]:
    """What a student is probed on and what is optimized, by the keys that name it."""
    return {key: parts.dataset(key) for key in ("data", "unseen") if key == "data" or parts.config.unseen}


def _run_eval(parts: Builder, place: Place, kept: Kept, project: Callable[[Path], None]) -> None:
    config = parts.config
    (benchmark,) = parts.benchmarks()
    kept.inputs = [_input(benchmark.name, benchmark.data)]
    keep_questions(place.folder, (benchmark.name, benchmark.data))
    held = None
    if config.data is not None:
        data = parts.dataset("data")
        kept.inputs.append(_input("data", data))
        held = Contamination.of(benchmark.name, benchmark.data, config.overlap)
        held.add(data)
    stage = Evaluate(
        benchmark=specification(benchmark),
        data=benchmark.data,
        student=parts.spec("student"),
        checkpoint=parts.trained(benchmark.data, place),
        decode=config.decode,
        batch_size=config.batch_size,
        judge=parts.spec("judge"),
        trials=config.trials,
        seed=config.seed,
    )
    made = run_stage(stage, place)
    scores = [*read_rows(made.folder / SCORES, Score), *(held.split(grades_of(made.folder)) if held else ())]
    scores = [score.model_copy(update={"name": f"eval/{benchmark.name}/{score.name}"}) for score in scores]
    if held:
        (overlap,) = write_evidence(made.folder, [held])
        kept.contamination = [overlap]
        scores += overlap.scores()
    kept.metrics = scores


_RUN: dict[str, Callable[[Builder, Place, Kept, Callable[[Path], None]], None]] = {
    "gen": _run_gen,
    "train": _run_train,
    "probe": _run_probe,
    "optimize": _run_optimize,
    "eval": _run_eval,
    "loop": _run_loop,
}


def _input(name: str, data: Dataset) -> InputRecord:
    source = data.intake.model_dump() if isinstance(data, Converted) else None
    return InputRecord(name=name, path=str(data.path), sha256=data.sha256, source=source)
