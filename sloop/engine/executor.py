"""How the units of a stage run: here, one after another or many in flight on one event loop.

`sloop.engine.folder.StageFolder.map` hands over units and takes back results in any order; the journal and the fold
make the bytes the same whatever the order was. Another executor (processes, a cluster) is another `Executor`: it ships
the task and the name of the work function, builds components where the work is, and yields the same results.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

from sloop.engine.build import Components
from sloop.records import Record

P = TypeVar("P")
Task = TypeVar("Task")
Unit = TypeVar("Unit")
Result = tuple[str, Sequence[Record] | Exception]
WorkOn = Callable[[Unit], Awaitable[Sequence[Record]]]


@dataclass(frozen=True)
class Worker:
    """What a work function finds where it runs."""

    components: Components
    folder: Path
    """Of the stage."""
    _opened: dict[str, Any] = field(default_factory=dict)

    def part(self, part: Any, kind: type[P], group: str) -> P:
        """A component, built here; see `Components.get`."""
        return self.components.get(part, kind, group)

    def opened(self, name: str, open_it: Callable[[], P]) -> P:
        """What is opened once for all units: a file, or loaded weights."""
        if name not in self._opened:
            self._opened[name] = open_it()
        found: P = self._opened[name]
        return found


class Executor(Protocol):
    """Runs a work function on units."""

    components: Components
    """Those of the process that plans and folds."""

    def width(self, *parts: object) -> int:
        """How many units with these (built) components are worth having on their way at a time."""
        ...

    def run(
        self,
        units: Iterable[tuple[str, Unit]],
        work: Callable[[Task, Worker, Unit], Awaitable[Sequence[Record]]],
        *,
        task: Task,
        folder: Path,
        width: int,
    ) -> Iterator[Result]:
        """Run the units; yields (key, records or the exception), in any order.

        Args:
            units: by key; taken one by one, for more may depend on how the first went.
            work: what is done with each.
            task: what all units share.
            folder: of the stage.
            width: units on their way at a time; 0: as many as the executor sees fit.
        """
        ...

    def leave(self, folder: Path) -> None:
        """No more units of the stage in this folder come: what was opened for them is let go."""
        ...


class Local:
    """Units run in this process, on one event loop.

    Those that wait for a network overlap; those that only compute gain nothing from more of them.
    """

    def __init__(self, components: Components, workers: int = 1) -> None:
        """Take the run's components, and how many units are on their way where none waits for a network."""
        self.components = components
        self._workers = workers
        self._at: dict[Path, Worker] = {}

    def width(self, *parts: object) -> int:
        """The number of workers, or what a part that waits for a network asks for."""
        return units_in_flight(self._workers, *parts)

    def run(
        self,
        units: Iterable[tuple[str, Unit]],
        work: Callable[[Task, Worker, Unit], Awaitable[Sequence[Record]]],
        *,
        task: Task,
        folder: Path,
        width: int,
    ) -> Iterator[Result]:
        """Run the units; see `Executor`."""
        worker = self._at.setdefault(folder, Worker(self.components, folder))
        return concurrent(width or self._workers)(units, lambda unit: work(task, worker, unit))

    def leave(self, folder: Path) -> None:
        """Let go; see `Executor`."""
        self._at.pop(folder, None)


def concurrent(workers: int = 1) -> Callable[[Iterable[tuple[str, Unit]], WorkOn[Unit]], Iterator[Result]]:
    """At most ``workers`` units in flight on one event loop (1 = one after another).

    Units that wait for a network overlap; units that only compute gain nothing from more workers.
    """

    def run(units: Iterable[tuple[str, Unit]], work: WorkOn[Unit]) -> Iterator[Result]:
        async def attempt(key: str, unit: Unit) -> Result:
            try:
                return key, await work(unit)
            except Exception as error:  # the per-unit boundary: the caller journals and counts it
                return key, error

        waiting = iter(units)
        with asyncio.Runner() as runner:
            loop = runner.get_loop()
            flying: set[asyncio.Task[Result]] = set()
            try:
                while True:
                    while len(flying) < workers and (item := next(waiting, None)) is not None:
                        flying.add(loop.create_task(attempt(*item)))
                    if not flying:
                        return
                    if len(flying) == 1:  # without a second task that waits for it: half of what a unit costs the loop
                        loop.run_until_complete(*flying)
                        done, flying = flying, set()
                    else:
                        wait = asyncio.wait(flying, return_when=asyncio.FIRST_COMPLETED)
                        done, flying = loop.run_until_complete(wait)
                    for task in done:
                        yield task.result()
            finally:
                for task in flying:
                    if task.done() and not task.cancelled():
                        task.exception()  # an interrupt, already raised: looked at, or asyncio logs a traceback of it

    return run


@runtime_checkable
class Remote(Protocol):
    """A teacher or judge that waits for a network: many units of work are on their way at once."""

    @property
    def in_flight(self) -> int:
        """Units worth having on their way at a time, those included that wait for another try."""
        ...

    def close(self) -> None:
        """Close connections."""
        ...


def units_in_flight(workers: int, *parts: object) -> int:
    """How many units a stage with these parts has on their way: ``workers``, or what a remote part asks for."""
    return max([workers, *(part.in_flight for part in parts if isinstance(part, Remote))])
