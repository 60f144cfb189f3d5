"""BFCL's simulated classes: a file system, a car, a broker and the like, run from the official wheel in one process.

They are the leaderboard's own code, and what a model writes are their arguments. So they run in a process of their own
(`sloop.environments.bfcl_worker`) that has none of our variables, bounded memory and a time limit a call, evaluates no
text, and ends when its standard input does.
"""

from __future__ import annotations

import hashlib
import importlib.util
import itertools
import json
import signal
import subprocess
import sys
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from sloop.environments import bfcl_worker
from sloop.records import UserError
from sloop.store import file_digest

CLASSES = {
    "GorillaFileSystem": "gorilla_file_system", "MathAPI": "math_api", "MessageAPI": "message_api",
    "TicketAPI": "ticket_api", "TradingBot": "trading_bot", "TravelAPI": "travel_booking",
    "TwitterAPI": "posting_api", "VehicleControlAPI": "vehicle_control",
}  # fmt: skip
"""The module of each class, which is the name of its functions' document as well."""
INSTALL = "pip install --no-deps bfcl-eval==2026.3.23 && pip install mpmath"
_VARIABLES = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "TZ": "UTC", "PYTHONHASHSEED": "0"}
"""The same results everywhere: some of them hold local times."""
_CODE = (
    *(f"func_source_code/{module}" for module in (*CLASSES.values(), "long_context")),
    "multi_turn_checker", "multi_turn_utils", "../../constants/default_prompts",
    "../../constants/executable_backend_config",
)  # fmt: skip
"""What the process runs of the wheel, from the folder of the multi-turn checker."""


T = TypeVar("T")


class DiedError(Exception):
    """The process ended while it was asked; says why."""

    def __init__(self, said: str, *, slow: bool = False) -> None:
        """Take whether a call took too long, which it would again."""
        super().__init__(said)
        self.slow = slow


def wheel() -> Path:
    """The folder of the installed package ``bfcl_eval``.

    Raises:
        UserError: it is not installed.
    """
    package = importlib.util.find_spec("bfcl_eval")
    if package is None or not package.submodule_search_locations:
        raise UserError(
            f"BFCL's multi-turn entries run the official classes, and bfcl_eval is not installed: {INSTALL}"
        )
    return Path(next(iter(package.submodule_search_locations)))


def code_digest(package: Path) -> str:
    """SHA-256 over what is run of the package.

    Raises:
        UserError: a file is missing.
    """
    folder, known = package / "eval_checker" / "multi_turn_eval", hashlib.sha256()
    for name in _CODE:
        if not (path := folder / f"{name}.py").is_file():
            raise UserError(f"{package}: no {path.name}. Install the official wheel again: {INSTALL}")
        known.update(f"{path.name} {file_digest(path)}\n".encode())
    return known.hexdigest()


class Simulator:
    """The process with the classes: begun when it is first asked, and again after it died."""

    def __init__(self, seconds: float) -> None:
        """Take how long a call may take."""
        self._seconds = seconds
        self._process: subprocess.Popen[str] | None = None
        self._facts: Mapping[str, Any] = {}
        self._begun = 0
        self.keys = itertools.count()
        """For scenes; the same entry may be played twice at a time."""

    def ask(self, do: str, **given: Any) -> Any:
        """What the process finds.

        Raises:
            DiedError: it ended instead.
            ValueError: the official code raised, in its words.
            UserError: the process cannot be begun.
        """
        process = self._process or self._begin()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(json.dumps({"do": do, **given}) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line.endswith("\n"):
            raise self._died(process)
        reply = json.loads(line)
        if "raised" in reply:
            raise ValueError(reply["raised"])
        return reply["found"]

    @property
    def life(self) -> int:
        """Which process it is, begun where there is none: a scene is open in one of them alone."""
        if self._process is None:
            self._begin()
        return self._begun

    @property
    def facts(self) -> Mapping[str, Any]:
        """Of the official code: ``max_steps`` and ``more_functions``, what is said where functions are added."""
        return self._facts if self.life else {}

    def is_alive(self, life: int) -> bool:
        """Whether that process is still there, as far as is known."""
        return self._process is not None and self._begun == life

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._finish()
            self._process = None

    def _begin(self) -> subprocess.Popen[str]:
        command = [sys.executable, "-I", bfcl_worker.__file__, str(wheel().parent), str(self._seconds)]
        pipe = subprocess.PIPE
        process = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, encoding="utf-8", env=_VARIABLES, cwd="/",
            start_new_session=True,
        )  # fmt: skip
        self._process, self._finish = process, weakref.finalize(self, _end, process)
        self._begun += 1
        try:
            self._facts = self.ask("facts")
        except DiedError as error:
            raise UserError(f"BFCL's classes cannot be run: {error}. Install what they need: {INSTALL}") from error
        return process

    def _died(self, process: subprocess.Popen[str]) -> DiedError:
        """Why a process is no more that has ended its output."""
        assert process.stderr is not None
        *_, last = process.stderr.read().strip().splitlines() or ["no message"]
        status = process.wait()
        self.close()
        if status == -signal.SIGALRM:
            return DiedError(f"a call ran for more than {self._seconds:g} s", slow=True)
        return DiedError(f"the process of the classes ended with status {status}: {last}")


class Play:
    """A scene that calls change; where the process died it is opened in the next one, and its calls are made again."""

    def __init__(self, simulator: Simulator, scene: Mapping[str, Any]) -> None:
        """Take the scene's classes with their modules, their ``config`` and whether it is one of ``long_context``."""
        self._simulator, self._scene = simulator, scene
        self._key = f"{next(simulator.keys)}"
        self._past: list[str] = []
        self._life = 0

    def act(self, calls: Sequence[str]) -> list[str]:
        """What each call is answered, in the words that the official loop tells models.

        Raises:
            DiedError: the process ended at them, more than once where none of them was slow.
        """
        results: list[str] = again(lambda: self._act(calls))
        self._past += calls
        return results

    def _act(self, calls: Sequence[str]) -> Any:
        if self._life != (life := self._simulator.life):
            self._simulator.ask("open", key=self._key, scene=self._scene)
            self._simulator.ask("act", key=self._key, calls=self._past)
            self._life = life
        return self._simulator.ask("act", key=self._key, calls=list(calls))

    def close(self) -> None:
        """Forget the scene."""
        if self._simulator.is_alive(self._life):
            with suppress(DiedError):
                self._simulator.ask("close", key=self._key)


def again(asked: Callable[[], T]) -> T:
    """What is asked of the process, a second time where it died of something else than a slow call."""
    try:
        return asked()
    except DiedError as error:
        if error.slow:
            raise
        return asked()


def _end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout, process.stderr):
        with suppress(OSError):
            assert stream is not None
            stream.close()
