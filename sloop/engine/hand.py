"""A worker process of a Ray cluster: what it is sent, what it does with it, and what comes back."""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from sloop.engine.build import Components
from sloop.engine.executor import Worker
from sloop.records import Record, UserError


class Branch(Protocol):
    """Counts what is spent where units run."""

    def built(self, component: Any) -> None:
        """Told of every component that is built there."""
        ...

    def stand(self, standing: Any) -> None:
        """Take what the run has spent so far, as `sloop.engine.cluster.Books` says it."""
        ...

    def drained(self) -> list[Any]:
        """What was spent since the last time, for the run's books."""
        ...


class Failed(NamedTuple):
    """An exception that a unit raised: many classes of them cannot be sent."""

    name: str
    text: str

    def error(self) -> Exception:
        """Another of that name and text."""
        error: Exception = type(self.name, (Exception,), {})(self.text)
        return error


class Job(NamedTuple):
    """What all units of a `map` share; it is sent to a worker once."""

    work: Callable[[Any, Worker, Any], Awaitable[Sequence[Record]]]
    task: Any
    folder: Path
    read: list[Path]
    """What must be found where the units run: the stage's folder, files and checkpoints."""


class Outcome(NamedTuple):
    """What a shard comes back as."""

    results: list[tuple[str, Sequence[Record] | UserError | Failed]]
    drained: list[Any]
    seconds: float


class Hand:
    """A worker process, on any node. Its methods run on one event loop: shards whose units wait overlap."""

    def __init__(self) -> None:
        """Know nothing yet: what a Ray actor is made with is kept by the cluster, and keys are no business of its."""
        self._node = ""
        self._jobs: dict[int, Job] = {}
        self._at: dict[Path, Worker] = {}

    async def join(
        self,
        folder: Path,
        environment: Mapping[str, str],
        facts: Callable[[], Mapping[str, Any]],
        branch: Callable[[], Branch],
    ) -> tuple[str, Mapping[str, Any]] | UserError:
        """Work where the driver works, under its environment; says the node, and what results depend on there."""
        import ray

        self._node = ray.util.get_node_ip_address()
        os.environ.update(environment)
        if missing := self._missing([folder]):
            return missing
        os.chdir(folder)
        self._branch = branch()
        self._components = Components(self._branch.built)
        return self._node, facts()

    async def work(self, number: int, job: Sequence[Any], standing: Any, shard: Sequence[Any]) -> Outcome | UserError:
        """Work on some units, one after another.

        Args:
            number: of the job.
            job: a reference to it, in a list as Ray would fetch a bare one every time.
            standing: what the run has spent.
            shard: units with their keys.
        """
        began = time.perf_counter()
        if number not in self._jobs:
            sent: Job = await job[0]
            if missing := self._missing(sent.read):
                return missing
            self._jobs[number] = sent
        work, task, folder, _ = self._jobs[number]
        worker = self._at.setdefault(folder, Worker(self._components, folder))
        self._branch.stand(standing)
        results: list[tuple[str, Sequence[Record] | UserError | Failed]] = []
        for key, unit in shard:
            try:
                results.append((key, await work(task, worker, unit)))
            except UserError as error:
                results.append((key, error))
            except Exception as error:  # the per-unit boundary, as of `concurrent`
                results.append((key, Failed(type(error).__name__, str(error))))
        return Outcome(results, self._branch.drained(), time.perf_counter() - began)

    async def leave(self, folder: Path, numbers: Sequence[int]) -> None:
        """Let go what was opened for the units of a stage."""
        self._at.pop(folder, None)
        for number in numbers:
            self._jobs.pop(number, None)

    async def close(self) -> list[Any]:
        """Close components; says what was spent and not told yet."""
        self._components.close()
        return self._branch.drained()

    def _missing(self, paths: Iterable[Path]) -> UserError | None:
        for path in paths:
            if not path.exists():
                return UserError(
                    f"executor=ray: {path} is missing on the node {self._node}. Every node has to see the files of a "
                    "run under the same path, as on storage that they share."
                )
        return None
