"""The terminal while a command runs: where it prints, and how far it is."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

QUIET_SECONDS = 10.0
"""Without a terminal, progress is a line now and then."""


def console(stderr: bool = False) -> Console:
    """Standard output, or standard error; wide enough for the tables where it is not a terminal."""
    made = Console(stderr=stderr, highlight=False)
    return made if made.is_terminal else Console(stderr=stderr, highlight=False, width=190)


class Progress:
    """One bar on a terminal, a line every few seconds elsewhere; on standard error."""

    def __init__(self, run: str = "") -> None:
        """Take the name to say with every line, where several runs may share the terminal."""
        self._run = f"{run} " if run else ""
        self._console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._bars: Bars | None = None
        self._task: Any = None
        self._what = ""
        self._said = 0.0
        self._began = time.monotonic()

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
            self._bars = Bars(*columns, console=self._console, transient=True)
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bars:
            self._bars.stop()

    def report(self, what: str, done: int, total: int) -> None:
        """Show that ``done`` of ``total`` are done."""
        if self._bars:
            if what != self._what:
                if self._task is not None:
                    self._bars.remove_task(self._task)
                self._task = self._bars.add_task(self._run + what, total=total)
            self._bars.update(self._task, completed=done, total=total)
        elif done == total or time.monotonic() - self._said > QUIET_SECONDS:
            self._said = time.monotonic()
            self._console.print(f"[{self._said - self._began:6.1f} s] {self._run}{what}: {done}/{total}", markup=False)
        self._what = what
