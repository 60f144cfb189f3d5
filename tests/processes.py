"""An executor over processes, as a cluster's would be: tasks and units travel, components are built where they run."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor as Pool
from concurrent.futures import as_completed
from pathlib import Path
from typing import Any

from sloop.engine.build import Components
from sloop.engine.executor import Result, Worker

_WORKER: dict[Path, Worker] = {}
"""Of this process, by the stage's folder."""


def _attempt(work: Any, task: Any, folder: Path, key: str, unit: Any) -> Result:
    worker = _WORKER.setdefault(folder, Worker(Components(), folder))
    try:
        return key, asyncio.run(work(task, worker, unit))
    except Exception as error:
        return key, error


class Processes:
    """Units run in a pool's processes and come back as they finish."""

    def __init__(self, pool: Pool) -> None:
        self.components = Components()
        self._pool = pool

    def width(self, *parts: object) -> int:
        return 0

    def run(
        self, units: Iterable[tuple[str, Any]], work: Any, *, task: Any, folder: Path, width: int
    ) -> Iterator[Result]:
        futures = [self._pool.submit(_attempt, work, task, folder, key, unit) for key, unit in units]
        for future in as_completed(futures):
            yield future.result()

    def leave(self, folder: Path) -> None:
        pass  # the pool ends with the stage
