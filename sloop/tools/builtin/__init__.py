"""Tools that come with sloop; see `builtin_tools`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from sloop.records import UserError
from sloop.tools.builtin.command import PROGRAMS, RunCommand
from sloop.tools.builtin.files import ListFiles, ReadFile, WriteFile
from sloop.tools.builtin.plain import Calculator, Search, Weather
from sloop.tools.builtin.web import WebFetch
from sloop.tools.contract import RunnableTool

NAMES = ("calculator", "list_files", "read_file", "run_command", "search", "weather", "web_fetch", "write_file")
BY_DEFAULT = tuple(name for name in NAMES if name not in ("run_command", "web_fetch"))


def builtin_tools(
    *,
    root: str | Path,
    allow: Iterable[str] = BY_DEFAULT,
    programs: Iterable[str] = PROGRAMS,
    allow_unisolated: bool = False,
) -> dict[str, RunnableTool]:
    """Built-in tools by name.

    Args:
        root: the workspace, an existing folder: all that the tools for files and commands reach.
        allow: names of the tools; those that run commands or reach the network only where they are named.
        programs: what ``run_command`` may start.
        allow_unisolated: let ``run_command`` run where the machine cannot isolate it.

    Raises:
        UserError: no such tool or folder, or commands cannot be isolated.
    """
    made: dict[str, Callable[[], RunnableTool]] = {
        "calculator": Calculator,
        "list_files": lambda: ListFiles(root=root),
        "read_file": lambda: ReadFile(root=root),
        "run_command": lambda: RunCommand(root=root, programs=programs, allow_unisolated=allow_unisolated),
        "search": Search,
        "weather": Weather,
        "web_fetch": WebFetch,
        "write_file": lambda: WriteFile(root=root),
    }
    wanted = dict.fromkeys(allow)
    if unknown := sorted(wanted.keys() - made.keys()):
        raise UserError(f"allow: no built-in tool is called {', '.join(unknown)}. Choose from {', '.join(NAMES)}.")
    return {name: made[name]() for name in wanted}
