"""The configuration, typed, and the components that it names."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import PlainValidator, ValidationError, model_validator

from sloop.benchmarks.base import Benchmark
from sloop.engine.build import Components
from sloop.engine.cluster import Ray, RaySettings
from sloop.engine.executor import Executor, Local
from sloop.engine.identity import package_digest
from sloop.engine.stage import Place, Report, run_stage
from sloop.intake import Form, Source, open_dataset
from sloop.judges.base import Judge
from sloop.loop import Variant
from sloop.measures.overlap import OverlapSettings
from sloop.models.branch import Books
from sloop.models.environment import VARIABLES
from sloop.models.preflight import Checkable
from sloop.models.usage import Meter, Price, Spending
from sloop.records import Checkpoint, Decode, Record, Tool, UserError, canonical_json
from sloop.records.ranges import (
    Batch,
    Count,
    Name,
    PathText,
    Positive,
    Samples,
    Seed,
    Share,
    Within,
    check_plain,
    checked,
    told,
)
from sloop.runs.cite import ENVIRONMENT, versions
from sloop.simulation.corruption import Corruption
from sloop.stages.gen import GenSettings
from sloop.stages.optimize.stage import OptimizeSettings
from sloop.stages.samplers import Sampler
from sloop.stages.train import Start, checkpoint_of
from sloop.store import Dataset
from sloop.store.files import check_file
from sloop.students.base import Student
from sloop.teachers.base import Teacher
from sloop.tools.sources import NotedSource, ToolSource, load_tools
from sloop.trainers.base import Trainer


class LoopConfig(Record):
    """Section ``loop``."""

    rounds: Annotated[int, Within(1, 1_000)]
    budget: Samples
    first_steps: Positive
    round_0: bool | None
    restart: bool


class LocalSettings(Record):
    """Section ``executor`` of kind ``local``, the only kind that there was when it had none."""

    kind: Literal["local"] = "local"
    workers: Batch


EXECUTORS: dict[str, type[LocalSettings | RaySettings]] = {"local": LocalSettings, "ray": RaySettings}


def _executor(section: Any) -> Any:
    """The section, typed by its kind."""
    kind = section.get("kind", "local") if isinstance(section, Mapping) else "local"
    return checked(EXECUTORS[checked(Literal["local", "ray"], kind, "executor.kind")], section, "executor")


class TrackingConfig(Record):
    """Section ``tracking``."""

    enabled: bool
    uri: PathText | None
    failures: Count
    questions: Count


class CiteConfig(Record):
    """Section ``cite``."""

    require_clean: bool


class PathsConfig(Record):
    """Section ``paths``."""

    outputs: PathText
    mlruns: PathText
    cache: PathText
    models: PathText


class ToolFiles(Record):
    """Section ``tools``, where it names no class."""

    path: PathText
    split: Name | None = None
    keep_going: bool = False


class Config(Record):
    """The whole configuration, typed; ``conf/config.yaml`` says what each key means. Components are plain data."""

    stage: Literal["gen", "probe", "optimize", "train", "eval", "loop", "check"]
    name: Name
    output_dir: PathText | None
    seed: Seed
    data: PathText | None
    form: Form
    max_left_out: Share
    unseen: PathText | None
    predictions: PathText | None
    num_samples: Samples | None
    label_noise: Share
    train_split: Share
    preview: Annotated[int, Within(0, 10_000)]
    gen: GenSettings
    steps: Positive
    epochs: Annotated[float, Within(0, 1e6, above=True)] | None
    decode: Decode
    trials: Annotated[int, Within(1, 1_000)]
    batch_size: Batch
    optimize: OptimizeSettings
    overlap: OverlapSettings
    loop: LoopConfig
    cache: Literal["off", "use", "read_only"]
    retry_failed: bool
    resume: bool
    preflight: bool
    spending: Spending
    prices: dict[str, Price]
    executor: Annotated[LocalSettings | RaySettings, PlainValidator(_executor)]
    tracking: TrackingConfig
    cite: CiteConfig
    paths: PathsConfig
    tools: dict[str, Any]
    teacher: dict[str, Any]
    judge: dict[str, Any]
    student: dict[str, Any]
    sampler: dict[str, Any]
    trainer: dict[str, Any]
    benchmark: dict[str, Any]
    variant: Variant
    corruption: Corruption

    @model_validator(mode="after")
    def _fits_the_stage(self) -> Self:
        """Refuse what the stage has no use for."""
        if self.stage in ("probe", "loop") and (self.trials > 1 or self.decode.temperature):
            raise UserError(
                f"trials={self.trials}, decode.temperature={self.decode.temperature:g}: a {self.stage} asks once and "
                "takes the likeliest answer (trials=1 decode.temperature=0). Evaluate what comes of it with: sloop eval"
            )
        if self.retry_failed and self.stage not in ("probe", "eval"):
            raise UserError(f"retry_failed=true: only eval and probe have answers to ask again for, not {self.stage}.")
        if self.stage != "loop" and not self.corruption.is_clean:
            raise UserError(
                f"corruption={self.corruption.name}: the sets of a loop alone are made dirty, not those of "
                f"{self.stage}. Leave it out; teacher=noisy gets labels wrong in gen, too (label_noise=0.2)."
            )
        return self


def parse_config(plain: Mapping[str, Any]) -> Config:
    """Type the configuration.

    Raises:
        UserError: an unknown key, or a value of the wrong type or outside its range; names key, value and what is
            allowed.
    """
    check_plain(plain)
    try:
        config = Config.model_validate(dict(plain))
    except ValidationError as error:
        raise UserError(f"{told(error)} See the keys with: sloop loop --cfg job") from error
    for path, section in {"student": config.student, **benchmark_sections(config.benchmark)}.items():
        if "name" in section:
            checked(Name, section["name"], f"{path}.name")
    return config


def benchmark_sections(given: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The section of one benchmark, or those of several, by their place in the configuration."""
    several = {f"benchmark.{key}": part for key, part in given.items() if isinstance(part, dict) and "_target_" in part}
    return several if several and "_target_" not in given else {"benchmark": given}


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


PASSED = [name for name in (*VARIABLES, *ENVIRONMENT) if name != "CUDA_VISIBLE_DEVICES"]
"""Environment variables that units are run under, wherever that is; Ray itself says which GPUs a worker has."""


def _facts() -> dict[str, str | None]:
    """What is installed that results depend on: units that run elsewhere have to find the same."""
    return {"sloop": package_digest()[:12], **versions()}


PART = "sloop.benchmarks.part.Part"
LARGEST_TOOL = 200_000
"""Characters of a tool's parameters as JSON; a prompt that shows more fits no model."""


class Builder:
    """The parts of one run, as the configuration names them; a context manager that closes what was built.

    Stages get specifications (`spec`): what they need is built where their units run.
    """

    def __init__(
        self, config: Config, meter: Meter | None = None, tell: Callable[[str], None] = lambda _: None
    ) -> None:
        """Take the configuration, what counts the spending of its endpoints, and who is told how files were read."""
        self._tell = tell
        self.config = config
        self.meter = meter or Meter()
        self.endpoints: list[Checkable] = []
        """Those of the components that were built."""
        self.components = Components(self._count)
        self._cluster = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with ExitStack() as stack:  # each is closed, also where closing another fails
            stack.callback(self.meter.close)
            for endpoint in self.endpoints:
                stack.callback(endpoint.close)
            stack.callback(self.components.close)
            stack.callback(self._cluster.close)

    def place(self, folder: Path, report: Report) -> Place:
        """Where the run's stages are made."""
        return Place(folder, executor=self._executor(), report=report, retry_failed=self.config.retry_failed)

    def _executor(self) -> Executor:
        """What runs the units of the stages; it is closed with the parts."""
        settings = self.config.executor
        if isinstance(settings, LocalSettings):
            return Local(self.components, settings.workers)
        passed = {name: os.environ[name] for name in PASSED if name in os.environ}
        made = Ray(self.components, settings, Books(self.meter), environment=passed, facts=_facts)
        self._cluster.enter_context(closing(made))
        return made

    def tools(self) -> tuple[Tool, ...]:
        """The tools that samples are about."""
        section = self.config.tools
        if "_target_" in section:
            source: ToolSource = self.part("tools")
            found = tuple(map(_sized, source.tools()))
            for note in source.notes() if isinstance(source, NotedSource) else ():
                self._tell(note)
            return found
        _check_given(section, "tools", "path")
        files = checked(ToolFiles, section, "tools")
        return tuple(map(_sized, load_tools(files.path, files.split, keep_going=files.keep_going, tell=self._tell)))

    def foreign_tools(self) -> tuple[Tool, ...]:
        """The tools of another domain that the corruption mixes in; none where it mixes in none."""
        settings = self.config.corruption
        return tuple(map(_sized, load_tools(settings.foreign_tools, tell=self._tell))) if settings.foreign else ()

    def spec(self, group: str) -> dict[str, Any]:
        """The specification of a component.

        Raises:
            UserError: a value of it is missing.
        """
        found: dict[str, Any] = getattr(self.config, group)
        _check_given(found, group, "_target_")
        return found

    def _benchmark_spec(self, path: str, section: dict[str, Any]) -> dict[str, Any]:
        """A benchmark, or the part of it that ``limit`` and ``limit_seed`` choose."""
        _check_given(section, path, "_target_")
        whole = {key: value for key, value in section.items() if key not in ("limit", "limit_seed")}
        limit, seed = section.get("limit"), section.get("limit_seed", 0)
        checked(Seed, seed, f"{path}.limit_seed")
        if limit is None:
            return whole
        checked(Samples, limit, f"{path}.limit")
        cache = str(Path(self.config.paths.outputs) / ".cache" / "parts")
        return {"_target_": PART, "benchmark": whole, "limit": limit, "limit_seed": seed, "cache_path": cache}

    def part(self, group: str) -> Any:
        """A component (one of `PARTS`), built when first asked for."""
        return self.components.get(self.spec(group), PARTS[group], group)

    def benchmarks(self) -> tuple[Benchmark, ...]:
        """What is asked.

        Raises:
            UserError: a name cannot be that of a folder, or two have the same.
        """
        found: dict[str, Benchmark] = {}
        for path, section in benchmark_sections(self.config.benchmark).items():
            made = self.components.get(self._benchmark_spec(path, section), Benchmark, path)
            if checked(Name, made.name, f"{path}.name") in found:
                raise UserError(f"{path}.name={made.name}: another benchmark has that name. Give each its own.")
            found[made.name] = made
        return tuple(found.values())

    def dataset(self, key: str) -> Dataset:
        """The dataset that a top-level key names, in the form that ``form`` says."""
        cache = Path(self.config.paths.outputs) / ".cache" / "datasets"
        value, share = self._named(key), self.config.max_left_out
        source = Source(value, f"It is named by {key}={value}.")
        return open_dataset(source, form=self.config.form, chosen="all", cache=cache, max_left_out=share)

    def path(self, key: str) -> Path:
        """The file that a top-level key names."""
        value = self._named(key)
        check_file(Path(value), f"It is named by {key}={value}.")
        return Path(value)

    def _named(self, key: str) -> str:
        value: str | None = getattr(self.config, key)
        if value is None:
            raise UserError(f"{key} is missing: the stage {self.config.stage} needs it. Give it: {key}=FILE.jsonl")
        return value

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


def _check_given(section: dict[str, Any], path: str, key: str) -> None:
    """Fail on a section's missing values while there is a name to give."""
    for place, value in _leaves(section, path):
        if value == "???":
            raise UserError(f"{place} is missing and has no default. Give it, for example: {place}=VALUE")
    if key not in section:
        raise UserError(f"{path}.{key} is missing. Give it, for example: {path}.{key}=VALUE")


def _sized(tool: Tool) -> Tool:
    """The tool, unless every sample that offers it would be huge."""
    if (size := len(canonical_json(tool.parameters))) > LARGEST_TOOL:
        raise UserError(
            f"tools: the parameters of {tool.name[:100]!r} take {size:,} characters, and every sample that offers it "
            f"repeats them; at most {LARGEST_TOOL:,} are allowed. Shorten its schema, such as a long enum."
        )
    return tool


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _leaves(item, f"{path}.{key}")
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _leaves(item, f"{path}[{index}]")
    else:
        yield path, value
