"""A command in the workspace: a program of a list, without a shell, in a sandbox."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from sloop.records import UserError
from sloop.tools.sandbox import PATH, Limits, in_force, run

PROGRAMS = ("cat", "cut", "echo", "grep", "head", "ls", "sort", "tail", "uniq", "wc")
_MOST_BYTES = 16 * 1024
"""Of a command's words together."""


class RunCommand:
    """Runs a program of its list with the workspace as its folder."""

    def __init__(
        self,
        *,
        root: str | Path,
        programs: Iterable[str] = PROGRAMS,
        limits: Limits | None = None,
        writable: bool = False,
        allow_unisolated: bool = False,
    ) -> None:
        """Take the workspace, which programs may write where ``writable`` is true.

        Raises:
            UserError: no such folder or program, or the machine has no isolation and ``allow_unisolated`` is false.
        """
        self.root, self.programs, self.limits = Path(root).absolute(), tuple(programs), limits or Limits()
        self.mutates = writable
        self.allow_unisolated = allow_unisolated
        if not self.root.is_dir():
            raise UserError(f"root={root}: no such folder. Make it, or name another.")
        if missing := [name for name in self.programs if "/" in name or not shutil.which(name, path=PATH)]:
            raise UserError(f"programs: {', '.join(missing)}: not found. Give names of programs in {PATH}.")
        in_force(allow_unisolated=allow_unisolated)

    def description(self) -> str:
        """What it runs."""
        return (
            f"Runs a program in the workspace, without a shell, for up to {self.limits.seconds:g} s: "
            f"{', '.join(self.programs)}."
        )

    def arguments(self) -> dict[str, Any]:
        """The command's words."""
        words = {
            "type": "array",
            "items": {"type": "string"},
            "minItems": 1,
            "maxItems": 100,
            "description": 'The program and its arguments, such as ["grep", "-n", "total", "notes.txt"]',
        }
        return {"type": "object", "properties": {"command": words}, "required": ["command"]}

    async def call(self, args: Mapping[str, Any], /) -> dict[str, Any]:
        """How it ended: status, output, errors, why it was stopped, and the isolation that was in force.

        Raises:
            ValueError: the program is not on the list, or the words are too long or hold a NUL.
        """
        command = args["command"]
        if command[0] not in self.programs:
            raise ValueError(f"the program {command[0]!r} is not allowed; allowed: {', '.join(self.programs)}")
        if any("\0" in word for word in command) or sum(map(len, command)) > _MOST_BYTES:
            raise ValueError(f"the command holds a NUL, or more than {_MOST_BYTES} characters")
        ended = await run(
            command,
            self.root,
            limits=self.limits,
            writable=self.mutates,
            allow_unisolated=self.allow_unisolated,
        )
        told = {"status": ended.status, "output": ended.output, "errors": ended.errors, "isolation": ended.isolation}
        return told | ({"stopped": ended.stopped} if ended.stopped else {})
