"""A user's tool in a process of its own, with limits: what crosses over is JSON, never a pickle.

The tool is the user's, and trusted as far as its description; what is not are the arguments that a model writes, and
what the tool does with them.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sloop.records import UserError, to_json
from sloop.tools.contract import RunnableTool, as_tool, named, run_tool
from sloop.tools.sandbox import Limits, in_force, run

_START = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from sloop.tools import isolated; isolated.answer()"


class IsolatedTool:
    """The tool that ``module:attribute`` names, or has under ``key``; each call in a fresh process in a sandbox."""

    def __init__(
        self,
        name: str,
        *,
        root: str | Path,
        key: str | None = None,
        limits: Limits | None = None,
        writable: bool = False,
        allow_unisolated: bool = False,
    ) -> None:
        """Import the tool, for its description; it will see the folder ``root`` and Python's own paths, to read.

        Raises:
            UserError: there is no such tool or folder, or the machine has no isolation and that is not allowed.
        """
        self.name, self.key = name, key
        self.root, self.limits = Path(root).absolute(), limits or Limits(seconds=30)
        self.writable, self.allow_unisolated = writable, allow_unisolated
        if not self.root.is_dir():
            raise UserError(f"root={root}: no such folder. Make it, or name another.")
        in_force(allow_unisolated=allow_unisolated)
        self._tool = named_tool(name, key)
        self.mutates = getattr(self._tool, "mutates", False)

    def description(self) -> str:
        """The tool's own."""
        return self._tool.description()

    def arguments(self) -> Mapping[str, Any]:
        """The tool's own."""
        return self._tool.arguments()

    async def call(self, args: Mapping[str, Any], /) -> str:
        """The tool's result, as text.

        Raises:
            ValueError: the tool raised, was stopped by a limit or died.
        """
        path = [os.path.realpath(part) for part in (*sys.path, *_roots(self.name)) if part and Path(part).exists()]
        ended = await run(
            [sys.executable, "-I", "-c", _START, json.dumps(path)],
            self.root,
            limits=self.limits,
            writable=self.writable,
            readable=[os.path.realpath(sys.prefix), str(Path(sys.executable).parents[1]), *path],
            variables={"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
            given=to_json({"tool": self.name, "key": self.key, "args": dict(args)}).encode(),
            allow_unisolated=self.allow_unisolated,
        )
        if ended.stopped:
            raise ValueError(f"stopped: it {ended.stopped}")
        if ended.status:
            *_, last = ended.errors.strip().splitlines() or ["no message"]
            raise ValueError(f"ended with status {ended.status}: {last}")
        return ended.output


def named_tool(name: str, key: str | None = None) -> RunnableTool:
    """The tool that ``module:attribute`` names, or that stands under a key of it; a function becomes one.

    Raises:
        UserError: there is none of that name.
    """
    found = named(name)
    return as_tool(name, found if key is None else {str(own): one for own, one in found.items()}[key])


def answer() -> None:
    """In the process: read the call from standard input, write the result to standard output."""
    out = os.dup(1)
    os.dup2(2, 1)  # what a tool prints is no result
    given = json.load(sys.stdin)
    result = asyncio.run(run_tool(named_tool(given["tool"], given["key"]), given["args"]))
    with open(out, "w", encoding="utf-8") as file:
        file.write(result)


def _roots(name: str) -> list[str]:
    """Folders from which the tool's module and sloop are imported, which no path names if an import hook found them."""
    found = []
    for module in (name.partition(":")[0].partition(".")[0], "sloop"):
        where = Path(getattr(sys.modules[module], "__file__", None) or ".").absolute()
        found.append(str(where.parents[1] if where.stem == "__init__" else where.parent))
    return found
