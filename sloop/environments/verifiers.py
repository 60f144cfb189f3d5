"""Environments of the `verifiers` package, run by a Python of their own in one process.

verifiers wants other versions of ``openai`` and ``mcp`` than sloop does, so what runs them
(`sloop.environments.verifiers_worker`) is started by another interpreter, and talks lines of JSON. It has none of our
variables, a home of its own, and leaves no process behind: `sloop.tools.launch` starts it and ends what it started.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from collections.abc import Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as TooSlow
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, NamedTuple

from sloop.environments import verifiers_worker
from sloop.records import UserError
from sloop.tools import launch

INSTALL = "python -m venv FOLDER && FOLDER/bin/pip install 'verifiers>=0.4,<0.5'"
_GRACE = 30.0
"""Seconds beyond those that an environment may take in which the process must say so, or it hangs."""
_ENDING = 10.0
"""Seconds in which a process that is told to end may end what it has started."""


class Loaded(NamedTuple):
    """An environment that can be played."""

    tasks: list[dict[str, str]]
    """In its order: ``key``, by which it knows the task, and ``slice``."""
    versions: dict[str, str]
    """Of verifiers, and of each module that it runs with the digest of its files."""


class Foreign:
    """One environment in the process that runs it, begun when it is first asked."""

    def __init__(
        self,
        python: str | None,
        path: str | None,
        environment: str,
        arguments: Mapping[str, Any],
        num_tasks: int | None,
        slice_by: str | None,
        seconds: float,
    ) -> None:
        """Take the settings as they stand in ``conf/benchmark/verifiers.yaml``, which says what each value is."""
        self.environment = environment
        self._python = python
        self._path = path
        self._asked = {"environment": environment, "arguments": arguments, "num_tasks": num_tasks, "slice_by": slice_by}
        self._seconds = seconds
        self._starting = threading.Lock()
        self._line: Line | None = None

    @property
    def loaded(self) -> Loaded:
        """The environment's tasks, and what they depend on.

        Raises:
            UserError: it cannot be loaded, or is none that a student can play.
        """
        return self.line.loaded

    @property
    def line(self) -> Line:
        """The process, with the environment loaded; another one where the last has ended. A task goes on in its own."""
        with self._starting:
            if self._line is None:
                self._line = self._begun()
                try:
                    self._line.loaded = Loaded(**self.ask(self._line, "begin", **self._asked))
                except UserError:
                    self.close()
                    raise
            return self._line

    def ask(self, line: Line, do: str, **given: Any) -> Any:
        """What a process finds; several threads may ask at a time.

        Raises:
            UserError: it refuses, ends or hangs.
        """
        told = line.ask({"do": do, **given})
        while True:
            try:
                reply = told.result(self._seconds + _GRACE)
                break
            except TooSlow:
                if time.monotonic() - line.heard > self._seconds + _GRACE:
                    self._end(line)
                    raise UserError(self._slow("it hangs")) from None
        if "ended" in reply:
            self._end(line)
            raise UserError(f"benchmark.environment={self.environment}: its process ended: {reply['ended']}")
        if "refused" in reply:
            raise UserError(self._refusal(*reply["refused"]))
        return reply["found"]

    def close(self) -> None:
        """End the process, and all that it has started."""
        if self._line is not None:
            self._end(self._line)

    def _end(self, line: Line) -> None:
        if self._line is line:
            self._line = None
        line.end()

    def _begun(self) -> Line:
        python = sys.executable if self._python is None else shutil.which(self._python)
        if python is None:
            raise UserError(
                f"benchmark.python={self._python}: there is no such program. Name the Python that verifiers is "
                f"installed for: {INSTALL}; benchmark.python=FOLDER/bin/python"
            )
        if self._path is not None and not Path(self._path).is_dir():
            raise UserError(
                f"benchmark.path={self._path}: no such folder. Name the one that holds the environment's module, or "
                "leave it out where that is installed."
            )
        # as it was named: what it resolves to is another environment's interpreter
        return Line(os.path.abspath(python), self._path and os.path.abspath(self._path), self._seconds)  # noqa: PTH100

    def _refusal(self, kind: str, said: str) -> str:
        what = f"benchmark.environment={self.environment}"
        match kind:
            case "verifiers":
                return (
                    f"benchmark.python={self._python or sys.executable}: it has no verifiers 0.4 ({said}). "
                    f"Install it into a Python of its own: {INSTALL}; benchmark.python=FOLDER/bin/python"
                )
            case "environment":
                return (
                    f"{what}: it is not installed for that Python ({said}). Install its package there, or name the "
                    "folder that holds its module: benchmark.path=FOLDER"
                )
            case "seats":
                return f"{what}: it is played by {said}, and here one student plays. Take an environment of one agent."
            case "unsafe":
                harness, seat = said.split(", ")
                return (
                    f"{what}: its program {harness} runs what the student writes on this machine. Give it a container, "
                    f"'benchmark.arguments={{{seat}:{{runtime:{{type:docker}}}}}}', or the chat loop, which runs "
                    f"nothing: 'benchmark.arguments={{{seat}:{{harness:{{id:{verifiers_worker.HARNESS}}}}}}}'"
                )
            case "judge":
                return f"{what}: {said}; there is none here, and an episode that no judge has seen is not scored 0."
            case "endless":
                return f"{what}: {said}. Say how many are asked: benchmark.num_tasks=N"
            case "slice":
                return (
                    f"benchmark.slice_by={self._asked['slice_by']}: a task has no such field. "
                    f"It has {said}; null: no slices."
                )
            case "slow":
                return self._slow(said)
        return f"{what}: {said}"

    def _slow(self, what: str) -> str:
        return (
            f"benchmark.environment={self.environment}: {what} after benchmark.seconds={self._seconds:g}. If it may "
            "take so long, give it more; what was answered is kept, and the same command goes on."
        )


class Line:
    """The process, and those who wait for what it says."""

    def __init__(self, python: str, path: str | None, seconds: float) -> None:
        self.loaded = Loaded([], {})
        self.heard = time.monotonic()
        self._waiting: dict[int, Future[dict[str, Any]]] = {}
        self._numbers = itertools.count()
        self._writing = threading.Lock()
        home = tempfile.mkdtemp(prefix="sloop-verifiers-")
        variables = {
            "PATH": f"{Path(python).parent}:/usr/bin:/bin", "LANG": "C.UTF-8", "HOME": home, "PYTHONHASHSEED": "0",
            "HF_HOME": os.environ.get("HF_HOME", str(Path.home() / ".cache" / "huggingface")),
        } | ({} if path is None else {"PYTHONPATH": path})  # fmt: skip
        said = tempfile.TemporaryFile()  # noqa: SIM115 - as long as the process
        command = [
            sys.executable, "-I", launch.__file__, "{}", home, python, "-P", verifiers_worker.__file__, str(seconds),
        ]  # fmt: skip
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said, text=True, encoding="utf-8",
            env=variables, start_new_session=True,
        )  # fmt: skip
        self._process = process
        self.end = weakref.finalize(self, _end, process, home)
        threading.Thread(target=_listen, args=(process, said, self._waiting, weakref.ref(self)), daemon=True).start()

    @property
    def is_alive(self) -> bool:
        """Whether it has not ended, as far as is known."""
        return self._process.poll() is None

    def ask(self, request: Mapping[str, Any]) -> Future[dict[str, Any]]:
        """Send a request; where the process is no more, that is the answer."""
        assert self._process.stdin is not None
        told: Future[dict[str, Any]] = Future()
        with self._writing:
            number = next(self._numbers)
            self._waiting[number] = told
            try:
                self._process.stdin.write(json.dumps({"number": number, **request}) + "\n")
                self._process.stdin.flush()
            except (OSError, ValueError):  # its end of the pipe is closed, or ours
                if self._waiting.pop(number, None) is not None:
                    told.set_result({"ended": "it was over before it was asked"})
        return told


def _listen(
    process: subprocess.Popen[str],
    said: IO[bytes],
    waiting: dict[int, Future[dict[str, Any]]],
    line: weakref.ref[Line],
) -> None:
    """Hand over what the process says, until it ends, and then that to all who wait."""
    assert process.stdout is not None
    for text in process.stdout:
        reply = json.loads(text)
        if (owner := line()) is not None:
            owner.heard = time.monotonic()
        waiting.pop(reply["number"]).set_result(reply)
    status = process.wait()
    with said:
        said.seek(0)
        *_, last = said.read().decode(errors="replace").strip().splitlines() or ["no message"]
    while waiting:
        with suppress(KeyError):
            waiting.pop(next(iter(waiting))).set_result({"ended": f"status {status}, {last}"})


def _end(process: subprocess.Popen[str], home: str) -> None:
    """End the process: by a word, and where it does not listen by force; what it started ends with it."""
    assert process.stdin is not None
    with suppress(OSError):
        process.stdin.close()
    try:
        process.wait(_ENDING)
    except subprocess.TimeoutExpired:
        while process.poll() is None:
            launch.kill_below(process.pid)
            time.sleep(0.01)
    shutil.rmtree(home, ignore_errors=True)
