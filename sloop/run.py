"""From a configuration to a run: typed settings, a run folder with its record, the stage, the tracking."""

from __future__ import annotations

import asyncio
import math
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import ValidationError

from sloop.build import build
from sloop.cite import config_hash, machine, run_record
from sloop.evaluate.benchmarks import Benchmark
from sloop.evaluate.stage import SCORES, evaluate
from sloop.gen import GenSettings, Sampler, gen, preview
from sloop.history import RUN_FILE, Run, read_record
from sloop.loop import Parts, Settings, Variant, loop
from sloop.models.preflight import Checkable, Finding, check_all
from sloop.models.usage import USAGE_FILE, Meter, Price, Spending
from sloop.optimize.stage import OptimizeSettings, optimize
from sloop.probe import probe
from sloop.store import Dataset, file_digest, now, read_rows, write_json
from sloop.students.base import RemoteStudent, Student
from sloop.teachers.base import Judge, Teacher
from sloop.tools.sources import load_tools
from sloop.train.base import Trainer
from sloop.train.stage import checkpoint_of, start, train
from sloop.types import Checkpoint, Decode, OutOfBudget, Record, Rejected, Sample, Score, Tool, UserError

STAGES = ("gen", "probe", "optimize", "train", "eval", "loop")
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
BEGUN = ("begun.json", "stage.json", "sidecar/times.json")
"""Files of a start stage that made no weights: they were given."""
T = TypeVar("T")
Report = Callable[[str, int, int], None]


class LoopConfig(Record):
    """Section ``loop``."""

    rounds: int
    budget: int
    first_steps: int


class ExecutorConfig(Record):
    """Section ``executor``."""

    workers: int


class TrackingConfig(Record):
    """Section ``tracking``."""

    enabled: bool
    uri: str | None


class PathsConfig(Record):
    """Section ``paths``."""

    outputs: str
    mlruns: str
    cache: str


class Config(Record):
    """The whole configuration, typed; ``conf/config.yaml`` says what each key means. Components are plain data."""

    stage: Literal["gen", "probe", "optimize", "train", "eval", "loop", "check"]
    name: str
    output_dir: str | None
    seed: int
    data: str | None
    unseen: str | None
    predictions: str | None
    num_samples: int | None
    label_noise: float
    train_split: float
    preview: int
    gen: GenSettings
    steps: int
    epochs: float | None
    decode: Decode
    batch_size: int
    optimize: OptimizeSettings
    loop: LoopConfig
    cache: Literal["off", "use", "read_only"]
    preflight: bool
    spending: Spending
    prices: dict[str, Price]
    executor: ExecutorConfig
    tracking: TrackingConfig
    paths: PathsConfig
    tools: dict[str, Any]
    teacher: dict[str, Any]
    judge: dict[str, Any]
    student: dict[str, Any]
    sampler: dict[str, Any]
    trainer: dict[str, Any]
    benchmark: dict[str, Any]
    variant: Variant


def parse_config(plain: Mapping[str, Any]) -> Config:
    """Type the configuration.

    Raises:
        UserError: an unknown key or a value of the wrong type; names key, value and what is allowed.
    """
    try:
        config = Config.model_validate(dict(plain))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        if first["type"] == "missing":
            above = ".".join(str(part) for part in first["loc"][:-1])
            raise UserError(
                f"{above or 'the configuration'}={first['input']!r}: {key} is missing. See the keys with: "
                "sloop loop --cfg job"
            ) from error
        raise UserError(f"{key}={first['input']!r}: {first['msg']}. See the keys with: sloop loop --cfg job") from error
    for key, value in (("label_noise", config.label_noise), ("train_split", config.train_split)):
        if not 0 <= value <= 1:
            raise UserError(f"{key}={value}: give a share from 0 to 1.")
    if config.preview < 0:
        raise UserError(f"preview={config.preview}: give how many samples to show, 0 or more.")
    if config.batch_size < 1 or config.executor.workers < 1:
        raise UserError(
            f"batch_size={config.batch_size}, executor.workers={config.executor.workers}: both must be 1 or more."
        )
    return config


class Builder:
    """The components of one run, built when first asked for, so that a stage needs only what it uses."""

    def __init__(self, config: Config, meter: Meter | None = None) -> None:
        """Take the configuration, and what counts the spending of its endpoints."""
        self.config = config
        self.meter = meter or Meter()
        self.endpoints: list[Checkable] = []
        """Those of the components that were built."""
        self._built: dict[str, Any] = {}

    def tools(self) -> tuple[Tool, ...]:
        """The tools that samples are about."""
        section = self.config.tools
        unknown = set(section) - {"path", "split"}
        if unknown:
            raise UserError(f"tools.{min(unknown)}: no such key. Allowed: tools.path, tools.split.")
        return load_tools(self._given("tools", "path"), section.get("split"))

    def teacher(self) -> Teacher:
        """Who writes."""
        return self._build("teacher", Teacher)

    def judge(self) -> Judge:
        """Who judges."""
        return self._build("judge", Judge)

    def student(self) -> Student:
        """Who answers."""
        return self._build("student", Student)

    def sampler(self) -> Sampler:
        """Which tools are wanted."""
        return self._build("sampler", Sampler)

    def trainer(self) -> Trainer:
        """How weights change."""
        return self._build("trainer", Trainer)

    def benchmark(self) -> Benchmark:
        """What is asked."""
        return self._build("benchmark", Benchmark)

    def dataset(self, key: str) -> Dataset:
        """The dataset that a top-level key names."""
        return Dataset(self.path(key))

    def path(self, key: str) -> Path:
        """The file that a top-level key names."""
        value = getattr(self.config, key)
        if value is None:
            raise UserError(f"{key} is missing: the stage {self.config.stage} needs it. Give it: {key}=FILE.jsonl")
        if not Path(value).is_file():
            raise UserError(f"{key}={value}: no such file.")
        return Path(value)

    def checkpoint(self, student: Student, data: Dataset, out: Path) -> Checkpoint:
        """The checkpoint that ``student.path`` names, or checkpoint 0 made from scratch for ``data``."""
        return checkpoint_of(start(student=student, data=data, seed=self.config.seed, out=out))

    def trained(self, student: Student, data: Dataset, out: Path) -> Checkpoint:
        """The checkpoint that ``student.path`` names; a stage that answers does not make one."""
        if "path" in self.config.student and self.config.student["path"] is None:
            raise UserError(
                "student.path is missing: name the checkpoint, such as student=checkpoint "
                "student.path=RUN/round_3/train/checkpoint"
            )
        return self.checkpoint(student, data, out)

    def _build(self, group: str, kind: type[T]) -> T:
        if group not in self._built:
            self._given(group, "_target_")
            self._built[group] = build(getattr(self.config, group), group, self._meter)
        component = self._built[group]
        if not isinstance(component, kind):
            target = getattr(self.config, group)["_target_"]
            raise UserError(f"{group}._target_={target}: it lacks methods of sloop's {kind.__name__}.")
        return component

    def close(self) -> None:
        """Close the connections of what was built, and the usage file."""
        for endpoint in self.endpoints:
            endpoint.close()
        self.meter.close()

    def _meter(self, component: Any) -> None:
        if isinstance(component, Checkable):
            component.meter = self.meter
            self.endpoints.append(component)

    def _given(self, group: str, key: str) -> Any:
        """Fail on the group's missing values while there is a name to give."""
        for path, value in _leaves(getattr(self.config, group), group):
            if value == "???":
                raise UserError(f"{path} is missing and has no default. Give it, for example: {path}=VALUE")
        if key not in getattr(self.config, group):
            raise UserError(f"{group}.{key} is missing. Give it, for example: {group}.{key}=VALUE")
        return getattr(self.config, group)[key]


def run_name(config: Config, plain: Mapping[str, Any]) -> str:
    """``<student>-<variant>-s<seed>-<hash8>``, for a stage used alone ``<stage>-s<seed>-<hash8>``."""
    what = f"{config.student.get('name', 'student')}-{config.variant.name}" if config.stage == "loop" else config.stage
    return f"{what}-s{config.seed}-{config_hash(plain)[:8]}"


def run_folder(config: Config, plain: Mapping[str, Any]) -> Path:
    """Where the run's files go."""
    return Path(config.output_dir or Path(config.paths.outputs) / config.name / run_name(config, plain))


def preview_samples(config: Config) -> list[Sample | Rejected]:
    """The first ``config.preview`` samples that the gen stage would write; nothing is written."""
    with closing(Builder(config)) as parts:
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
        if config.preflight and not _is_finished(folder):
            asked = ASKS[config.stage]
            judged = config.stage == "gen" and config.gen.judge
            found = _preflight(parts, (*asked, "judge") if judged else asked)
            if found and checked:
                checked(found)
        with _recorded(folder, config, plain, overrides, sweep, project) as record:
            try:
                if config.stage == "loop":
                    _loop(parts, folder, report, project)
                else:
                    _ONE_STAGE[config.stage](parts, folder, record, report)
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
    """
    with closing(Builder(config)) as parts:
        return _preflight(parts, ASKS["check"])


def _preflight(parts: Builder, groups: Sequence[str]) -> list[Finding]:
    """Ask every endpoint of some components once; what that costs is counted once the run has begun to spend."""
    for group in groups:
        if _asks(getattr(parts.config, group)):  # others are not built yet: it may take seconds
            getattr(parts, group)()
    parts.meter.holding = True
    try:
        return check_all(parts.endpoints)
    except OutOfBudget:  # where the rest comes from the cache, the run can still end
        return []
    finally:
        parts.meter.holding = False


def _asks(section: Any) -> bool:
    """Whether a component has an endpoint."""
    if isinstance(section, Mapping):
        return section.get("_target_") == ENDPOINT or any(map(_asks, section.values()))
    return isinstance(section, list | tuple) and any(map(_asks, section))


def _is_finished(folder: Path) -> bool:
    return (folder / RUN_FILE).is_file() and read_record(folder / RUN_FILE)["status"] == "FINISHED"


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


def _gen(parts: Builder, folder: Path, record: dict[str, Any], report: Report) -> None:
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


def _train(parts: Builder, folder: Path, record: dict[str, Any], report: Report) -> None:
    config = parts.config
    data = parts.dataset("data")
    record["inputs"] = [_input("data", data)]
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


def _probe(parts: Builder, folder: Path, record: dict[str, Any], report: Report) -> None:
    config = parts.config
    data = parts.dataset("data")
    record["inputs"] = [_input("data", data)]
    with closing(parts.student()) as student:
        probe(
            data=[data],
            student=student,
            checkpoint=parts.trained(student, data, folder / "sidecar" / "start"),
            decode=config.decode,
            batch_size=config.batch_size,
            out=folder,
            report=lambda done, total: report("probe", done, total),
        )


def _optimize(parts: Builder, folder: Path, record: dict[str, Any], report: Report) -> None:
    config = parts.config
    data = parts.dataset("data")
    unseen = parts.dataset("unseen") if config.unseen else None
    predictions = parts.path("predictions")
    record["inputs"] = [_input(name, given) for name, given in {"data": data, "unseen": unseen}.items() if given]
    record["inputs"].append({"name": "predictions", "path": str(predictions), "sha256": file_digest(predictions)})
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


def _eval(parts: Builder, folder: Path, record: dict[str, Any], report: Report) -> None:
    config = parts.config
    benchmark = parts.benchmark()
    record["inputs"] = [_input(benchmark.name, benchmark.data)]
    with closing(parts.student()) as student:
        stage = evaluate(
            benchmark=benchmark,
            student=student,
            checkpoint=parts.trained(student, benchmark.data, folder / "sidecar" / "start"),
            decode=config.decode,
            batch_size=config.batch_size,
            judge=parts.judge(),
            out=folder,
            report=lambda done, total: report("eval", done, total),
        )
    scores = read_rows(stage.folder / SCORES, Score)
    record["metrics"] = [
        score.model_copy(update={"name": f"eval/{benchmark.name}/{score.name}"}).model_dump() for score in scores
    ]


_ONE_STAGE: dict[str, Callable[[Builder, Path, dict[str, Any], Report], None]] = {
    "gen": _gen,
    "train": _train,
    "probe": _probe,
    "optimize": _optimize,
    "eval": _eval,
}


@contextmanager
def _recorded(
    folder: Path,
    config: Config,
    plain: Mapping[str, Any],
    overrides: Sequence[str],
    sweep: str | None,
    project: Callable[[Path], None],
) -> Iterator[dict[str, Any]]:
    """Keep ``run.json`` through the run: opened or resumed, then FINISHED, FAILED or KILLED. A mistake of the
    reader's that shows before anything was made leaves no record behind.
    """
    path = folder / RUN_FILE
    made = _make(folder)
    finished = False
    record = run_record(kind=config.stage, name=run_name(config, plain), config=plain, overrides=overrides, sweep=sweep)
    if path.is_file():
        before = read_record(path)
        if before["config_hash"] != record["config_hash"]:
            raise UserError(
                f"{folder} holds the run {before['name']} with another configuration. Choose another output_dir, "
                "or delete the folder."
            )
        finished = before["status"] == "FINISHED"
        record = {**before, "resumed": before.get("resumed", 0) + (not finished)}
        record["config"] = {**before["config"], "prices": plain["prices"]}  # they may have been mended
        if not finished:
            record |= {"status": "RUNNING", "finished": None, "machine": machine(), "sweep": sweep or before["sweep"]}
    write_json(path, record)
    status = "FINISHED" if finished else "FAILED"  # what was finished stays so, whatever becomes of another look at it
    try:
        yield record
        status = "FINISHED"
    except (KeyboardInterrupt, SystemExit, OutOfBudget):
        status = "FINISHED" if finished else "KILLED"
        raise
    finally:
        if status == "FAILED" and _is_bare(folder):
            for name in (RUN_FILE, "begun.json"):
                (folder / name).unlink(missing_ok=True)
            if made:
                shutil.rmtree(folder)
            for empty in made[1:]:
                empty.rmdir()
        else:
            _close(path, record, status)
            project(folder)


def _close(path: Path, record: dict[str, Any], status: str) -> None:
    """Write the end of the run, keeping what the tracker has noted meanwhile and the first time of finishing."""
    kept = {key: value for key, value in read_record(path).items() if key == "mlflow"}
    finished = record["finished"] or now()
    write_json(path, {**record, **kept, **Run(path.parent, record).results(), "status": status, "finished": finished})


def _make(folder: Path) -> list[Path]:
    """Make a folder; returns those that were not there before, deepest first."""
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"output_dir={folder}: this folder cannot be made ({error.strerror}). Give one that you may write to, "
            "such as output_dir=outputs/mine"
        ) from error
    return missing


def _is_bare(folder: Path) -> bool:
    """Whether a run's folder holds no more than how it was begun: no unit is done, and no weights are made."""
    begun = {RUN_FILE, "begun.json", *(f"sidecar/start/{name}" for name in BEGUN)}
    files = (path for path in folder.rglob("*") if path.is_file())
    return all(str(path.relative_to(folder)) in begun or not path.stat().st_size for path in files)


def _input(name: str, data: Dataset) -> dict[str, Any]:
    return {"name": name, "path": str(data.path), "sha256": data.sha256}


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _leaves(item, f"{path}.{key}")
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _leaves(item, f"{path}[{index}]")
    else:
        yield path, value
