"""The terminal while a command runs: where it prints, and how far it is.

What is printed is mostly somebody else's: names, files, what a model said. So a terminal of ours shows text as it is
spelled, whoever prints it: it knows no markup, and what would steer a terminal is shown, not sent.
"""

from __future__ import annotations

import time
import unicodedata
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars
from rich.text import Text

QUIET_SECONDS = 10.0
"""Without a terminal, progress is a line now and then."""


HIDDEN = ("Cc", "Cf", "Cs", "Zl", "Zp")
"""Categories of Unicode that show nothing but do something: escape sequences, marks of direction, spaces of no width,
halves of characters, breaks of lines that are no newline."""


def visible(text: str, keep: str = "\n\t") -> str:
    r"""A text with what would steer a terminal spelled out, such as ``\x1b``.

    Args:
        text: anybody's.
        keep: what is none the less left as it is; the empty text where all should stay in one line.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        mark.encode("unicode_escape").decode() if mark not in keep and unicodedata.category(mark) in HIDDEN else mark
        for mark in text
    )


class Terminal(Console):
    """A console on which every string stands for itself (see `visible`), in tables and titles, too."""

    def render_str(self, text: str, **how: Any) -> Text:
        """The text; rich makes its markup, its names of emoji and its colours of it."""
        return super().render_str(visible(text), **how | {"markup": False, "emoji": False, "highlight": False})

    def say(self, line: str) -> None:
        """Print a line whole: one, whatever is in it, and however long it is."""
        self.print(visible(line, keep=""), soft_wrap=True)


def console(stderr: bool = False) -> Terminal:
    """Standard output, or standard error; wide enough for the tables where it is not a terminal."""
    made = Terminal(stderr=stderr)
    return made if made.is_terminal else Terminal(stderr=stderr, width=210)


class Progress:
    """One bar on a terminal, a line every few seconds elsewhere; on standard error."""

    def __init__(self, run: str = "") -> None:
        """Take the name to say with every line, where several runs may share the terminal."""
        self._run = f"{run} " if run else ""
        self._console = Terminal(stderr=True, soft_wrap=True)
        self._bars: Bars | None = None
        self._task: Any = None
        self._what = ""
        self._said = 0.0
        self._began = time.monotonic()

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            columns = (
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
            )
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
                self._task = self._bars.add_task(visible(self._run + what, keep=""), total=total)
            self._bars.update(self._task, completed=done, total=total)
        elif done == total or time.monotonic() - self._said > QUIET_SECONDS:
            self._said = time.monotonic()
            self._console.print(f"[{self._said - self._began:6.1f} s] {self._run}{what}: {done}/{total}")
        self._what = what
