"""Runs that a stranger made to harm, and a process that reads them under watch.

Run as a program (see `watched`), it carries out jobs with every command that reads runs, and tells of each what was
printed and what was opened, connected to, executed or imported that had no business to be.
"""

from __future__ import annotations

import contextlib
import copy
import gzip
import importlib
import io
import json
import os
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

MODULE = "hostile_parts"
"""A module of the stranger's that lies where it can be imported."""
SOURCE = """
import os

class Touch:
    def __init__(self, path, **_):
        open(path, "w").close()

Touch(os.environ["SENTINEL"] + "-imported")
"""
SECRET = "SECRET-THAT-LIES-OUTSIDE"
STEERING = (
    "\x1b]0;owned\x07\x1b[31mred\x1b[0m",
    "\x9b31mred",
    "over\u202egnirts",
    "zero\u200bwidth\u2066",
    "\x00\x08\r",
)
MARKUP = ("[/]", "[red]red[/red]", "[link=file:///secret]here[/link]", ":warning:", "<script>alert(1)</script>")
FORMULAS = ("=HYPERLINK(1)", "+1+cmd|' /C calc'!A0", "-2+3", "@SUM(1)", "\\input{secret} | `x` [a](javascript:b)")
ODD = ("", "'; DROP TABLE runs; --", "x" * 5000, "NaN", "%s{0}{config}", "1970-13-99")

At = tuple[str | int | None, ...]


class Found(NamedTuple):
    """What came of reading a hostile run."""

    job: str
    command: str
    status: int
    out: str
    broke: str
    """The traceback, where there was one."""
    events: list[str]


def leading(outside: Path, port: int) -> tuple[str, ...]:
    """Names, paths and addresses that lead out of a run."""
    up = "../" * 12
    return (
        str(outside / "secret.jsonl"),
        f"{up}{outside / 'secret.jsonl'}".replace("//", "/"),
        str(outside),
        f"file://{outside}/new",
        f"sqlite:///{outside}/new.db",
        f"http://127.0.0.1:{port}/",
        "..",
        f"{MODULE}.Touch",
    )


def target(sentinel: Path) -> dict[str, Any]:
    """A specification that makes the sentinel where somebody builds it; nested as components are."""
    touch = {"_target_": f"{MODULE}.Touch", "path": str(sentinel)}
    return {**touch, "name": touch, "inner": [touch]}


def places(value: Any, at: At = ()) -> Iterator[At]:
    """Where in a JSON value there is a string, or a key of an object: a place ends in the key's name and ``None``."""
    if isinstance(value, str):
        yield at
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from places(item, (*at, number))
    elif isinstance(value, dict):
        for key, item in value.items():
            yield (*at, key, None)
            yield from places(item, (*at, key))


NAMED = {
    "files", "stages", "versions", "environment", "properties", "prices", "modules", "rounds", "sets", "counts",
}  # fmt: skip
"""Objects whose keys are names that anything may have: one stands for all."""


def kinds(value: Any) -> list[At]:
    """One place of each kind: of the items of a list, and of what goes by name, the first that has it."""
    found: dict[At, At] = {}
    for at in places(value):
        kind = tuple("*" if isinstance(p, int) or at[n - 1] in NAMED else p for n, p in enumerate(at) if n or not p)
        found.setdefault((at[0], *kind), at)
    return list(found.values())


def put(value: Any, at: At, new: Any) -> Any:
    """A copy with something else in a place."""
    made = copy.deepcopy(value)
    parent, renamed = made, at[-1] is None
    way = at[:-1] if renamed else at
    for part in way[:-1]:
        parent = parent[part]
    if renamed:
        items = [(str(new) if key == way[-1] else key, item) for key, item in parent.items()]
        parent.clear()
        parent.update(items)
    else:
        parent[way[-1]] = new
    return made


def everywhere(value: Any, new: Sequence[str], allowed: Callable[[Any], bool], spared: Sequence[str] = ()) -> Any:
    """A copy in which every string is hostile: the first of ``new`` with which, changed by itself, it is allowed.

    Args:
        value: JSON.
        new: hostile strings.
        allowed: whether a value is what it should be.
        spared: places that are left, as dots join them; numbers as stars.
    """
    made, found = copy.deepcopy(value), copy.deepcopy(value)
    taken: dict[At, str | None] = {}
    for at in places(value):
        kind = tuple("*" if isinstance(part, int) else part for part in at)
        if at[-1] is None or ".".join(map(str, kind)) in spared:
            continue
        if kind not in taken:
            taken[kind] = next((text for text in new if allowed(_set(found, at, text))), None)
            _set(found, at, _get(value, at))
        if (text := taken[kind]) is not None:
            _set(made, at, text)
    return made


def _get(value: Any, at: At) -> Any:
    for part in at:
        value = value[part]
    return value


def _set(value: Any, at: At, new: Any) -> Any:
    _get(value, at[:-1])[at[-1]] = new
    return value


# --- the process that reads -----------------------------------------------------------------------------------------


def watched(jobs: Sequence[Mapping[str, Any]], allowed: Sequence[Path], folder: Path, sentinel: Path) -> list[Found]:
    """Carry out jobs in a process of its own, under watch.

    Args:
        jobs: each with ``name``; ``files``: contents by path, put there for the job; ``commands``: lists of words, and
            ``["python", EXPRESSION]`` for what Python reads.
        allowed: folders where something may be opened, beside those of Python and its packages.
        folder: working folder, and that of temporary files; the stranger's module lies there and can be imported.
        sentinel: what the stranger's module makes.
    """
    (folder / f"{MODULE}.py").write_text(SOURCE)
    request = {"jobs": list(jobs), "allowed": [str(path) for path in (*allowed, folder)], "warm": bool(allowed)}
    environment = {**os.environ, "SENTINEL": str(sentinel), "OMP_NUM_THREADS": "1", "COLUMNS": "190"}
    environment["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "0"
    environment["TMPDIR"] = str(folder)
    environment["PYTHONPATH"] = os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])
    made = subprocess.run(
        [sys.executable, __file__], input=json.dumps(request), capture_output=True, text=True, cwd=folder,
        env=environment, check=False,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr[-3000:]
    return [Found(*row) for row in json.loads(made.stdout)]


OPENED = {
    "open": (0,), "os.mkdir": (0,), "os.remove": (0,), "os.rmdir": (0,), "os.truncate": (0,), "os.chmod": (0,),
    "os.rename": (0, 1), "os.link": (0, 1), "os.symlink": (1,), "sqlite3.connect": (0,), "os.listdir": (0,),
}  # fmt: skip
NEVER = {
    "socket.connect", "socket.getaddrinfo", "socket.bind", "subprocess.Popen", "os.system", "os.exec", "os.posix_spawn",
    "os.spawn", "os.fork", "ctypes.dlopen", "webbrowser.open", "urllib.Request", "pty.spawn",
}  # fmt: skip


class Watch:
    """Notes what a job does to the world beside the folders that it may touch."""

    def __init__(self, allowed: Sequence[str]) -> None:
        self.on = False
        self.events: list[str] = []
        own = (sys.prefix, sys.base_prefix, Path(__file__).parents[1] / "sloop", "/dev/null", "/proc", "/sys")
        extra = (path for path in sys.path if "site-packages" in path)
        self._roots = tuple(os.path.realpath(path) for path in (*allowed, *own, *extra, *_stdlib()))
        sys.addaudithook(self._note)

    def _note(self, event: str, args: tuple[Any, ...]) -> None:
        if not self.on:
            return
        self.on = False  # what is asked here is none of the job's
        try:
            if event in NEVER or (event == "import" and str(args[0]).split(".")[0] == MODULE):
                self.events.append(f"{event} {args[:2]!r:.200}")
            elif event in OPENED:
                for number in OPENED[event]:
                    path = args[number]
                    path = os.fsdecode(path) if isinstance(path, bytes | os.PathLike) else path
                    if event in ("os.remove", "os.rmdir") and args[1] >= 0:
                        path = f"/proc/self/fd/{args[1]}/{path}"
                    if isinstance(path, str) and event in ("os.remove", "os.rename", "os.symlink"):
                        path = path.rpartition("/")[0]  # a link in this place would itself be replaced
                    if isinstance(path, str) and path not in (":memory:", "") and not self._inside(path):
                        self.events.append(f"{event} {path}")
        finally:
            self.on = True

    def _inside(self, path: str) -> bool:
        try:
            real = os.path.realpath(path)
        except (OSError, ValueError):
            return True  # no such path can be opened
        return any(real == root or real.startswith(root + os.sep) for root in self._roots)


def _stdlib() -> list[str]:
    return [str(Path(os.__file__).parent), *(str(Path(found.__file__).parents[1]) for found in _packages())]


def _packages() -> list[Any]:
    return [importlib.import_module(name) for name in ("rich", "pydantic", "mlflow.version")]


def _carried_out(command: Sequence[str], watch: Watch) -> tuple[int, str, str]:
    from running import sloop

    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        watch.on = True
        try:
            status = _python(command[1]) if command[0] == "python" else sloop(*command)
        except Exception:
            return 1, said.getvalue(), traceback.format_exc()
        finally:
            watch.on = False
    return status, said.getvalue(), ""


def whole(folder: str, *samples: str) -> list[Any]:
    """All that Python reads of a run."""
    from sloop.runs.read import FIELDS, Run

    run = Run.at(Path(folder))
    told: list[Any] = [run.complete(), list(run.scores()), list(run.costs()), list(run.latencies())]
    told += [run.field(name) for name in (*FIELDS, "loop.rounds", "tracking.uri")]
    if run.record.kind in ("loop", "eval"):
        at = (run.benchmark(), run.last_round())
        told += [run.grades(*at), run.data_sha256(*at)]
    return told + [run.sample(sample_id) for sample_id in samples]


def _python(expression: str) -> int:
    """What Python reads; a `UserError` counts as 2, as on the command line."""
    from sloop.records import UserError
    from sloop.show.console import visible

    try:
        sys.stdout.write(f"{eval(expression, {'whole': whole})}\n")  # noqa: S307 - the test's own words
    except UserError as error:
        sys.stdout.write(f"{visible(str(error))}\n")
        return 2
    return 0


def main() -> None:
    """Read jobs from standard input, tell of them on standard output."""
    request = json.load(sys.stdin)
    libraries = ("sloop.show.commands", "sloop.runs.track", "plotly.graph_objects", "pandas")
    for name in libraries if request["warm"] else ():  # what they load is none of a run's
        importlib.import_module(name)
    watch = Watch(request["allowed"])
    told: list[Found] = []
    for job in request["jobs"]:
        before = {path: Path(path).read_bytes() for path in job["files"]}
        for path, content in job["files"].items():
            written = content.encode()
            Path(path).write_bytes(gzip.compress(written, 1) if path.endswith(".gz") else written)
        for command in job["commands"]:
            watch.events = []
            status, out, broke = _carried_out(command, watch)
            told.append(Found(job["name"], " ".join(command), status, out, broke, watch.events))
        for path, content in before.items():
            Path(path).write_bytes(content)
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    main()
