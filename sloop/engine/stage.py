"""A stage is a value; `run_stage` makes what it says, or finds it made.

A stage is a frozen record of typed inputs and settings; components stand in it as specifications. Nothing live is
closed over, so that it can be sent to wherever its units are worked on. ``make`` says how it goes: a plan (pure,
lazy: it may look at what the fold has counted) lists units, a work function of the module (unit in, records out) runs
on each, and a fold takes the records in unit order and writes the files. Everything else is `run_stage`'s: the folder
under its key, lock, journal, resume, retry, executor and progress.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar, runtime_checkable

from sloop.engine.build import Components
from sloop.engine.executor import Executor, Local, Worker
from sloop.engine.folder import StageFolder
from sloop.engine.identity import stage_key
from sloop.records import Record, StageRecord
from sloop.store import Dataset, disk

S = TypeVar("S", bound=Record)
S_co = TypeVar("S_co", bound=Record, covariant=True)
P = TypeVar("P")
Task = TypeVar("Task")
Unit = TypeVar("Unit")
Report = Callable[[str, int, int], None]
"""Told (what, done, in all)."""
Work = Callable[[Task, Worker, Unit], Awaitable[Sequence[Record]]]
"""A function of a module: what all units share, where it is worked on, and one unit in; its records out."""


class Stage(Protocol[S_co]):
    """What a stage is; a frozen dataclass. Its fields are what its result depends on (`identity.stage_key`)."""

    name: ClassVar[str]
    MODULES: ClassVar[tuple[str, ...]]
    """The modules whose code can change its bytes, beside those of its components."""

    @property
    def summary_type(self) -> type[S_co]:
        """What `make` returns and ``stage.json`` keeps."""
        ...

    def make(self, desk: Desk) -> S_co:
        """Write the stage's files; returns what they sum up to."""
        ...


@runtime_checkable
class Retryable(Protocol):
    """A stage whose finished units can fail one by one; its summary's ``failed`` counts them by what they are."""

    def kept(self, desk: Desk) -> Iterable[tuple[str, Sequence[Record]]]:
        """Of the finished stage, the units that did not fail, with their records."""
        ...


@runtime_checkable
class Checked(Protocol):
    """A stage that can tell, from its components, that it cannot be made."""

    def check(self, components: Components) -> None:
        """Raise a `UserError`, before anything is written."""
        ...


@dataclass(frozen=True)
class Place:
    """Where a stage is made and how its units run: nothing of it changes what comes out."""

    folder: Path
    experiment: Path | None = None
    """Folder of the runs among which a finished stage with the same key is looked for; None: look nowhere else."""
    executor: Executor | None = None
    """What runs the units; None: one after another, here."""
    report: Report | None = None
    prefix: str = ""
    """Of what ``report`` is told."""
    retry_failed: bool = False
    """Of a finished stage, do over the units that failed, and only those."""

    def at(self, *parts: str, prefix: str | None = None) -> Place:
        """A folder below, whose progress is told behind ``prefix``; None: behind the same as here."""
        told = self.prefix if prefix is None else prefix
        return replace(self, folder=self.folder.joinpath(*parts), prefix=told)

    def tell(self, what: str, done: int, total: int) -> None:
        """Report progress."""
        if self.report:
            self.report(f"{self.prefix}{what}", done, total)


@dataclass(frozen=True)
class Made(Generic[S]):
    """A finished stage."""

    folder: Path
    record: StageRecord
    summary: S

    @property
    def key(self) -> str:
        """Digest of what the result depends on."""
        return self.record.key

    def dataset(self, name: str) -> Dataset:
        """A data file of the stage, as a dataset."""
        return Dataset(self.folder / name, sha256=self.record.files[name].sha256)


@dataclass(frozen=True)
class Desk:
    """What a stage works at while it is made."""

    place: Place
    executor: Executor
    _folder: StageFolder
    _also: list[str] = field(default_factory=list)

    @property
    def folder(self) -> Path:
        """The stage's folder."""
        return self.place.folder

    @property
    def sidecar(self) -> Path:
        """Folder for what no digest covers."""
        return self._folder.sidecar

    def part(self, part: Any, kind: type[P], group: str) -> P:
        """A component, built here; see `Components.get`."""
        return self.executor.components.get(part, kind, group)

    def tell(self, what: str, done: int, total: int) -> None:
        """Report progress."""
        self.place.tell(what, done, total)

    def map(
        self,
        plan: Iterable[Mapping[str, Unit]],
        work: Work[Task, Unit],
        task: Task,
        kinds: Sequence[type[Record]],
        *,
        width: int = 0,
        what: str = "",
    ) -> Iterator[tuple[str, list[Record]]]:
        """Work on the units of a plan, those that the journal does not have; yields all, with their records, in order.

        Args:
            plan: units by key, some at a time; the next are asked for when the last have been folded.
            work: a function of a module.
            task: what all units share; plain data and specifications, so that it can be sent anywhere.
            kinds: the record classes that ``work`` may return.
            width: units on their way at a time; 0: as many as the executor sees fit.
            what: under which progress is told; empty: the caller tells it.

        Raises:
            UserError: see `sloop.engine.folder.StageFolder.map`.
        """
        for units in plan:
            tell = partial(self.tell, what) if what else None
            run = partial(self.executor.run, task=task, folder=self.folder, width=width)
            yield from self._folder.map(units, work, run, kinds, tell)

    def writing(self, *names: str) -> AbstractContextManager[Mapping[str, Callable[[Record], None]]]:
        """Write several data files side by side; they appear, whole, when the block ends."""
        return self._folder.writing(*names)

    def write(self, name: str, rows: Iterable[Record]) -> Path:
        """Write one data file."""
        return self._folder.write(name, rows)

    def add(self, *names: str) -> None:
        """Count files and folders that the stage wrote otherwise among what it made."""
        self._also.extend(names)


def run_stage(stage: Stage[S], place: Place) -> Made[S]:
    """Make a stage, or what is left of it; a finished one is read.

    Raises:
        UserError: the folder holds another stage, a disk refuses a file (what was finished is kept), or whatever the
            stage says.
    """
    with disk(place.folder), ExitStack() as stack:
        executor = place.executor or Local(stack.enter_context(Components()))
        if isinstance(stage, Checked):
            stage.check(executor.components)
        folder = stack.enter_context(StageFolder(place.folder, stage_key(stage), place.experiment))
        finished = folder.done  # looked at once: another process may take the stage up meanwhile
        if not finished or _is_owed(stage, folder, place):
            stack.callback(executor.leave, place.folder)
            desk = Desk(place, executor, folder)
            if finished and isinstance(stage, Retryable):
                folder.reopen(stage.kept(desk))
            summary: Record = stage.make(desk)
            folder.finish(summary.model_dump(mode="json"), also=desk._also)
        record = folder.record
    return Made(place.folder, record, stage.summary_type.model_validate(record.summary))


def _is_owed(stage: object, folder: StageFolder, place: Place) -> bool:
    """Whether units of a finished stage have failed and are asked for again."""
    failed = folder.record.summary.get("failed", {})
    return place.retry_failed and isinstance(stage, Retryable) and any(failed.values())
