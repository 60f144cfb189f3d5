"""The configuration, typed, and the components that it names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import ValidationError

from sloop.benchmarks.base import Benchmark
from sloop.engine.build import Components
from sloop.engine.executor import Local
from sloop.engine.stage import Place, Report, run_stage
from sloop.intake import open_dataset
from sloop.judges.base import Judge
from sloop.loop import Variant
from sloop.measures.overlap import OverlapSettings
from sloop.models.preflight import Checkable
from sloop.models.usage import Meter, Price, Spending
from sloop.records import Checkpoint, Decode, Record, Tool, UserError
from sloop.stages.gen import GenSettings
from sloop.stages.optimize.stage import OptimizeSettings
from sloop.stages.samplers import Sampler
from sloop.stages.train import Start, checkpoint_of
from sloop.store import Dataset
from sloop.store.files import check_file
from sloop.students.base import Student
from sloop.teachers.base import Teacher
from sloop.tools.sources import ToolSource, load_tools
from sloop.trainers.base import Trainer


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
    trials: int
    batch_size: int
    optimize: OptimizeSettings
    overlap: OverlapSettings
    loop: LoopConfig
    cache: Literal["off", "use", "read_only"]
    retry_failed: bool
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
    config.overlap.check()
    if config.trials < 1:
        raise UserError(f"trials={config.trials}: give how often every question is asked, 1 or more.")
    if config.stage in ("probe", "loop") and (config.trials > 1 or config.decode.temperature):
        raise UserError(
            f"trials={config.trials}, decode.temperature={config.decode.temperature:g}: a {config.stage} asks once and "
            "takes the likeliest answer (trials=1 decode.temperature=0). Evaluate what comes of it with: sloop eval"
        )
    if config.retry_failed and config.stage not in ("probe", "eval"):
        raise UserError(f"retry_failed=true: only eval and probe have answers to ask again for, not {config.stage}.")
    return config


PARTS: dict[str, type[Any]] = {
    "teacher": Teacher,
    "judge": Judge,
    "student": Student,
    "sampler": Sampler,
    "trainer": Trainer,
    "benchmark": Benchmark,
    "tools": ToolSource,
}
"""What each group of the configuration names a component of."""


class Builder:
    """The parts of one run, as the configuration names them; a context manager that closes what was built.

    Stages get specifications (`spec`): what they need is built where their units run.
    """

    def __init__(self, config: Config, meter: Meter | None = None) -> None:
        """Take the configuration, and what counts the spending of its endpoints."""
        self.config = config
        self.meter = meter or Meter()
        self.endpoints: list[Checkable] = []
        """Those of the components that were built."""
        self.components = Components(self._count)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.components.close()
        for endpoint in self.endpoints:
            endpoint.close()
        self.meter.close()

    def place(self, folder: Path, report: Report) -> Place:
        """Where the run's stages are made."""
        executor = Local(self.components, self.config.executor.workers)
        return Place(folder, executor=executor, report=report, retry_failed=self.config.retry_failed)

    def tools(self) -> tuple[Tool, ...]:
        """The tools that samples are about."""
        section = self.config.tools
        if "_target_" in section:
            source: ToolSource = self.part("tools")
            return tuple(source.tools())
        unknown = set(section) - {"path", "split"}
        if unknown:
            raise UserError(f"tools.{min(unknown)}: no such key. Allowed: tools.path, tools.split.")
        return load_tools(self._given("tools", "path"), section.get("split"))

    def spec(self, group: str) -> dict[str, Any]:
        """The specification of a component.

        Raises:
            UserError: a value of it is missing.
        """
        self._given(group, "_target_")
        found: dict[str, Any] = getattr(self.config, group)
        return found

    def part(self, group: str) -> Any:
        """A component (one of `PARTS`), built when first asked for."""
        return self.components.get(self.spec(group), PARTS[group], group)

    def benchmark(self) -> Benchmark:
        """What is asked.

        Raises:
            UserError: its name cannot be that of a folder.
        """
        made: Benchmark = self.part("benchmark")
        if "/" in made.name or made.name in ("", ".", ".."):
            raise UserError(f"benchmark.name={made.name}: a folder is called so. Give a name without a slash.")
        return made

    def dataset(self, key: str) -> Dataset:
        """The dataset that a top-level key names, in sloop's form or in OpenAI's."""
        cache = Path(self.config.paths.outputs) / ".cache" / "datasets"
        return open_dataset(self.path(key), form="auto", chosen="all", cache=cache)

    def path(self, key: str) -> Path:
        """The file that a top-level key names."""
        value = getattr(self.config, key)
        if value is None:
            raise UserError(f"{key} is missing: the stage {self.config.stage} needs it. Give it: {key}=FILE.jsonl")
        check_file(Path(value), f"It is named by {key}={value}.")
        return Path(value)

    def checkpoint(self, data: Dataset, place: Place) -> Checkpoint:
        """The checkpoint that ``student.path`` names, or checkpoint 0 made from scratch for ``data``."""
        start = Start(student=self.spec("student"), data=data, seed=self.config.seed)
        return checkpoint_of(run_stage(start, place.at("sidecar", "start")))

    def trained(self, data: Dataset, place: Place) -> Checkpoint:
        """The checkpoint that ``student.path`` names; a stage that answers does not make one."""
        if "path" in self.config.student and self.config.student["path"] is None:
            raise UserError(
                "student.path is missing: name the checkpoint, such as student=checkpoint "
                "student.path=RUN/round_3/train/checkpoint"
            )
        return self.checkpoint(data, place)

    def _count(self, component: Any) -> None:
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


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _leaves(item, f"{path}.{key}")
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _leaves(item, f"{path}[{index}]")
    else:
        yield path, value
