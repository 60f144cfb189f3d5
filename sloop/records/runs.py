"""What a run keeps of itself on disk: ``run.json``, ``round.json`` and ``stage.json``, typed and versioned.

Version 1 is what was written before versions were, version 2 knew nothing of processors: `upgraded` makes version 3 of
either. A record of a later version is not read (`Unreadable`), for half of what it says would be missed.

A record may come from anybody. What becomes a path, a name elsewhere, a time or a process is checked as it is read, so
that nobody who uses it has to.
"""

from __future__ import annotations

import re
import reprlib
import unicodedata
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, ValidationError, model_validator

from sloop.records.base import Record
from sloop.records.ranges import Name

RUN_FILE, ROUND_FILE = "run.json", "round.json"
VERSION = 3
"""Of the three records below."""

Status = Literal["RUNNING", "FINISHED", "FAILED", "KILLED"]
NAME_BYTES = 255
"""What file systems take for one name."""


def _inside(path: str) -> str:
    parts = path.split("/")
    if "\\" in path or any(part in ("", "..") or len(part.encode(errors="replace")) > NAME_BYTES for part in parts):
        raise ValueError("give a relative path without .., as of something inside a folder")
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in path):
        raise ValueError("give a name without control characters")
    return path


def _moment(when: str) -> str:
    if datetime.fromisoformat(when).timestamp() < 0:
        raise ValueError("give a time after 1970")
    return when


Inside = Annotated[str, AfterValidator(_inside)]
"""A path that leads nowhere but inside the folder that it is taken from."""
Id = Annotated[str, Field(pattern=r"^[\w.@+-]{1,64}$")]
"""What MLflow is searched for: no quotes, no blanks."""
Moment = Annotated[str, AfterValidator(_moment)]
"""A time in ISO 8601."""


def _sparse(empty: Any) -> Any:
    """A field that a file leaves out where it is empty."""
    return Field(empty, exclude_if=lambda value: not value)


class Score(Record):
    """A rate or a mean with its doubt. ``value`` is None where nothing was measured (n = 0)."""

    name: str
    value: float | None
    n: int
    low: float | None = None
    """Lower end of the 95% interval."""
    high: float | None = None
    slice: str = ""


class Checkpoint(Record):
    """A student's weights: a folder, with the digest of what is in it."""

    path: str
    digest: str


class FileRecord(Record):
    """A file that a stage made."""

    rows: int | None = Field(None, exclude_if=lambda rows: rows is None)
    """Of JSON lines; None for any other file."""
    bytes: int
    sha256: str


class Versioned(Record):
    """A record that says in which version it was written."""

    version: int = VERSION

    @model_validator(mode="before")
    @classmethod
    def _upgrade(cls, data: Any) -> Any:
        return upgraded(data) if isinstance(data, Mapping) else data

    @classmethod
    def read(cls, data: Any, where: object) -> Self:
        """A record from JSON.

        Args:
            data: as it was read.
            where: the file, for messages.

        Raises:
            Unreadable: it is not such a record, or one of a later version; says which.
        """
        version = data.get("version", 1) if isinstance(data, Mapping) else None
        if isinstance(version, int) and version > VERSION:
            raise Unreadable(
                f"{where}: written by a later sloop (record version {version}; this one reads up to {VERSION}). "
                "Install that version, or a later one."
            )
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(map(str, first["loc"])) or "the record"
            value = "" if first["type"] == "missing" else f"={reprlib.repr(first['input'])}"
            wanted = first["msg"].removeprefix("Value error, ")
            raise Unreadable(f"{where}: not a {cls.__name__} of sloop ({key}{value}: {wanted}).") from error

    def plain(self) -> dict[str, Any]:
        """The record as it stands on disk."""
        return self.model_dump(mode="json")

    def content(self) -> dict[str, Any]:
        """The same without the version, so that its digest stays what it was when there is another."""
        return self.model_dump(mode="json", exclude={"version"})


class Unreadable(ValueError):
    """A file is not the record that it should be."""


def _parts(parts: dict[str, Any]) -> dict[str, Any]:
    if not isinstance(parts.get("stage"), str) or not isinstance(parts.get("seed"), int | None):
        raise ValueError("give the name of the stage, and its seed as a whole number if it has one")
    return parts


def _summary(summary: dict[str, Any]) -> dict[str, Any]:
    notes, failed = summary.get("notes", []), summary.get("failed", {})
    if not isinstance(notes, list | tuple) or not all(isinstance(note, str) for note in notes):
        raise ValueError("notes should be a list of sentences")
    if not isinstance(failed, Mapping) or not all(isinstance(number, int) for number in failed.values()):
        raise ValueError("failed should be whole numbers by what they count")
    identity = summary.get("identity", {})
    if not isinstance(identity, Mapping) or not all(isinstance(value, str) for value in identity.values()):
        raise ValueError("identity should be texts by name")
    return summary


def _config(config: dict[str, Any]) -> dict[str, Any]:
    for group in ("variant", "student", "benchmark"):
        part = config.get(group, {})
        if not isinstance(part, Mapping) or not isinstance(part.get("name", ""), str):
            raise ValueError(f"{group} should have a name")
    return config


class BegunRecord(Versioned):
    """``begun.json``: under which key a stage is made."""

    key: str
    """Digest (64 hex digits) of ``parts``."""
    parts: Annotated[dict[str, Any], AfterValidator(_parts)]
    """What the stage's result depends on (`sloop.engine.identity`)."""

    @property
    def name(self) -> str:
        """Of the stage."""
        return str(self.parts.get("stage", "nameless"))


class StageRecord(BegunRecord):
    """``stage.json``: what a finished stage made, under which key."""

    files: dict[Inside, FileRecord]
    """By name in the stage's folder."""
    summary: Annotated[dict[str, Any], AfterValidator(_summary)]

    @property
    def seed(self) -> int | None:
        """None where none decides what the stage makes."""
        return self.parts.get("seed")

    @property
    def asked(self) -> str:
        """SHA-256 of the data that an evaluation asked."""
        data = self.parts.get("data")  # version 1: a list of one
        return str(data[0] if isinstance(data, list) and data else data)

    @property
    def notes(self) -> list[str]:
        """What a reader of an evaluation's scores must know."""
        return list(self.summary.get("notes", []))

    @property
    def identity(self) -> dict[str, str]:
        """What an evaluation's scores depend on that no setting names; nothing in records of before it was kept."""
        return dict(self.summary.get("identity", {}))

    @property
    def failed(self) -> dict[str, int]:
        """How many answers, and verdicts on them, an evaluation or a probe could not have."""
        return dict(self.summary.get("failed", {}))


class StageFiles(Record):
    """A finished stage as its round and its run remember it."""

    key: str
    seed: int | None = Field(None, exclude_if=lambda seed: seed is None)
    files: dict[Inside, FileRecord]


class DataRecord(Record):
    """The training set of a round."""

    path: Inside
    """From the run's folder."""
    rows: int
    shortfall: int
    """Samples fewer than the budget."""
    sha256: str


class RoundRecord(Versioned):
    """``round.json``: a complete round; round 0 is the checkpoint as it came, evaluated."""

    round: int
    began: Moment
    finished: Moment
    steps: int
    data: DataRecord | None
    """None in round 0."""
    stages: dict[Inside, StageFiles]
    metrics: tuple[Score, ...]
    contamination: tuple[dict[str, Any], ...] = ()
    """A `sloop.measures.overlap.Overlap` a benchmark."""


class Arithmetic(Record):
    """What the last bits of torch's sums depend on, as it says it of itself."""

    capability: str
    """Instruction set of its own kernels, such as AVX2 (ATEN_CPU_CAPABILITY chooses a lesser one)."""
    threads: int
    blas: str
    """Library of matrix products, with its version."""
    onednn: str
    """Version of oneDNN; empty without it."""
    deterministic: bool
    """Whether torch refuses kernels that add up in no fixed order."""


class Machine(Record):
    """Where a run runs; process id and host tell a running run from an abandoned one."""

    host: str
    pid: int = Field(ge=0, lt=2**31)
    system: str
    processor: str
    """Its architecture."""
    model: str = _sparse("")
    """Name of the processor."""
    features: tuple[str, ...] = _sparse(())
    """Those of its instructions by which libraries choose their kernels (`sloop.runs.cite.FEATURES`)."""
    arithmetic: Arithmetic | None = _sparse(None)
    """None until a run ends, and where nothing was computed in floating point."""
    cpus: int | None
    gpus: tuple[str, ...] = ()


class CodeState(Record):
    """The sources that run; what a checkout adds is None without one."""

    version: str
    digest: str
    commit: str | None = None
    branch: str | None = None
    dirty: bool | None = None
    diff: str | None = None
    diff_sha256: str | None = None
    untracked: tuple[str, ...] = ()
    untracked_sha256: dict[str, str] = _sparse({})
    """Of the untracked files that are no larger than sources are."""

    @property
    def changed(self) -> tuple[str, ...]:
        """The files by which a checkout differs from its commit."""
        return (*re.findall(r"^diff --git a/.* b/(.*)$", self.diff or "", re.MULTILINE), *self.untracked)


class InputRecord(Record):
    """A file that a stage used alone was given."""

    name: str
    path: str
    sha256: str
    source: dict[str, Any] | None = Field(None, exclude_if=lambda source: source is None)
    """How a file in another form was read (`sloop.intake.Intake`)."""


class Retry(Record):
    """One time that failures were asked for again."""

    began: Moment
    finished: Moment | None
    failed: dict[str, int]
    failed_again: dict[str, int] = _sparse({})


class RoundSummary(Record):
    """A round as the run's record remembers it: training data, and its metrics over all samples."""

    round: int
    data: DataRecord | None
    metrics: tuple[Score, ...]


class Tracked(Record):
    """What of a run was logged to MLflow."""

    run_id: str
    experiment_id: str
    rounds: dict[str, str] = Field(default_factory=dict)
    """By round (``stage`` for a stage used alone): digest of what was logged."""
    cost: dict[str, str] = Field(default_factory=dict)
    figures: str | None = _sparse(None)


class RunRecord(Versioned):
    """``run.json``: what must be known to cite a run and to run it again."""

    id: Id
    kind: Name
    """``loop`` or the stage's name."""
    name: Inside
    study: Inside
    seed: int
    config_hash: str
    config: Annotated[dict[str, Any], AfterValidator(_config)]
    """Resolved, plain data, to be shown and compared: nothing that it names is built, opened or asked by who reads."""
    overrides: tuple[str, ...]
    command: str
    sweep: Id | None
    code: CodeState
    versions: dict[str, str | None]
    machine: Machine
    environment: dict[str, str]
    bibtex: str
    status: Status
    began: Moment
    finished: Moment | None
    resumed: int = _sparse(0)
    elsewhere: tuple[Machine, ...] = _sparse(())
    """Other processors on which it ran before it was resumed: some of its stages were made there."""
    retried: tuple[Retry, ...] = _sparse(())
    inputs: tuple[InputRecord, ...] = _sparse(())
    notes: tuple[str, ...] = _sparse(())
    """What a reader must know, of all stages: of templates, say, or of benchmarks."""
    told: tuple[str, ...] = _sparse(())
    """How files of tools were read, in sentences: what was left out of them."""
    metrics: tuple[Score, ...] = _sparse(())
    """Of an evaluation used alone."""
    contamination: tuple[dict[str, Any], ...] = _sparse(())
    """Likewise, as of `RoundRecord`."""
    stages: dict[Inside, StageFiles] = _sparse({})
    """By place in the run's folder."""
    rounds: tuple[RoundSummary, ...] = _sparse(())
    cost: tuple[dict[str, Any], ...] = _sparse(())
    """`sloop.runs.read.Cost` each."""
    latency: tuple[dict[str, Any], ...] = _sparse(())
    """`sloop.models.usage.Latency` each."""
    mlflow: Tracked | None = _sparse(None)

    @property
    def is_loop(self) -> bool:
        """Or a stage used alone."""
        return self.kind == "loop"

    def called(self, group: str) -> str:
        """Name of a component in the configuration; empty where it has none."""
        return str(self.config.get(group, {}).get("name", ""))

    @property
    def ended(self) -> str | None:
        """When the run ended, or its failures were last asked for again."""
        times = [self.finished, *(retry.finished for retry in self.retried)]
        return max(filter(None, times), default=None)


class Cell(Versioned):
    """One cell of a sweep, and how it ended."""

    overrides: tuple[str, ...]
    """Its own, as Hydra takes them."""
    folder: str
    """Of its run."""
    config_hash: str
    status: Status | None = None
    """None: not begun."""
    error: str = _sparse("")
    """What it failed of, in one line."""
    trace: str = _sparse("")
    """The traceback of that, where it was no mistake of the reader's."""


class SweepRecord(Versioned):
    """``sweep.json``: a sweep and its cells."""

    id: Id
    name: str
    study: Inside
    command: str
    machine: Machine
    status: Status
    began: Moment
    finished: Moment | None
    cells: tuple[Cell, ...] = ()


def upgraded(data: Mapping[str, Any]) -> Mapping[str, Any]:
    """A record of any earlier version as one of `VERSION`; the one place that knows earlier versions.

    Version 1 bore no number, and left out what was empty, as later versions' defaults do; version 2 lacks what has
    defaults in version 3.
    """
    return {**data, "version": VERSION} if data.get("version", 1) in range(1, VERSION) else data
