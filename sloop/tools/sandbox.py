"""Running hostile things: a process with limits, isolated by the kernel, of which nothing is left when it ends.

Isolation is bubblewrap where it is installed, else namespaces made by ``unshare``. Either shows a command the system's
programs, one folder and what it is given to read; no network, no other process and no variable of ours. Without either
a command is refused, unless the caller allows what is left then: limits and a clean-up, but the same file system and
network.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path

from sloop.records import UserError
from sloop.tools import launch

MIB = 1 << 20
PATH = "/usr/local/bin:/usr/bin:/bin"
INSIDE = "/workspace"
"""The folder's name inside an isolation."""
_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc/alternatives", "/etc/ld.so.cache")
_DEVICES = ("null", "zero", "random", "urandom")
_LOOK = 0.03
"""Seconds between two looks at what a command has started and takes."""
_MEASURE = 0.3
"""Seconds between two measures of its folder."""
_SWEEPS = 500
"""Rounds of killing, as a fork bomb goes on between two."""
_OWN = 4
"""Processes that start and hold a command: bubblewrap or unshare, and `sloop.tools.launch`."""

_NAMESPACES = """
set -eu
PATH=/usr/sbin:/usr/bin:/sbin:/bin
new=$1 size=$2; shift 2
mount -t tmpfs -o "size=$size,nr_inodes=10000,mode=755,nosuid,nodev" sandbox "$new"
cd "$new"
mkdir proc dev tmp
chmod 1777 tmp
mount -t proc -o ro,nosuid,nodev,noexec proc proc
while [ "$1" != -- ]; do
    way=$1 from=$2 to=$3; shift 3
    if [ "$way" = link ]; then mkdir -p "./${to%/*}"; ln -s "$from" ".$to"; continue; fi
    if [ -d "$from" ]; then mkdir -p ".$to"; else mkdir -p "./${to%/*}"; touch ".$to"; fi
    mount --bind "$from" ".$to"
    if [ "$way" = read ]; then mount -o remount,bind,ro ".$to"; fi
done
shift
mkdir .old
pivot_root . .old
cd /
umount -l /.old
rmdir /.old
exec setpriv --bounding-set=-all --inh-caps=-all --no-new-privs "$@"
"""
"""Makes what a command sees, as root of a user namespace of its own, then gives up every capability."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a command may take. Bytes, seconds and numbers; all above zero."""

    seconds: float = 10
    """Of wall time."""
    cpu: int = 10
    """Seconds of each process."""
    memory: int = 512 * MIB
    """Address space of each process, and what all together hold."""
    file: int = 16 * MIB
    """Of each file that is written."""
    disk: int = 64 * MIB
    """By which its folder may grow, and of its temporary files."""
    open_files: int = 64
    processes: int = 32
    output: int = 64 * 1024
    """Of what it writes to either stream."""

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            UserError: one is not above zero.
        """
        for field in fields(self):
            if not (value := getattr(self, field.name)) > 0:
                raise UserError(f"limits.{field.name}={value}: give a number above 0.")


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    status: int
    """Its exit status; 128 and more: the number of the signal that ended it, plus 128."""
    output: str
    errors: str
    stopped: str
    """Why it was stopped; empty where it ended by itself."""
    isolation: str
    """What was in force: bubblewrap, namespaces or none."""


@dataclass(frozen=True)
class _View:
    """What a command sees of the file system."""

    folder: str
    writable: bool
    readable: tuple[str, ...]
    size: int


def _bubblewrap(view: _View, scratch: str) -> list[str]:
    words = ["bwrap", "--unshare-all", "--die-with-parent", "--cap-drop", "ALL", "--proc", "/proc", "--dev", "/dev"]
    for room in ("/tmp", "/dev/shm"):
        words += ["--size", str(view.size), "--tmpfs", room]
    for way, source, target in _mounts(view):
        words += [{"link": "--symlink", "read": "--ro-bind", "write": "--bind"}[way], source, target]
    # root in a container could else write the kernel's settings below /proc/sys, by its user id alone
    return [*words, *(word for place in ("/proc", "/dev", "/") for word in ("--remount-ro", place)), "--"]


def _namespaces(view: _View, scratch: str) -> list[str]:
    kinds = ("--user", "--map-root-user", "--mount", "--pid", "--net", "--ipc", "--uts", "--cgroup")
    words = ["unshare", *kinds, "--fork", "--kill-child", "--", "sh", "-c", _NAMESPACES, "sandbox"]
    words += [scratch, str(view.size)]
    devices = (("write", f"/dev/{name}", f"/dev/{name}") for name in _DEVICES)
    return [*words, *(word for mount in (*devices, *_mounts(view)) for word in mount), "--"]


def _mounts(view: _View) -> Iterable[tuple[str, str, str]]:
    """The way (link, read or write), source and target of each part, the folder last."""
    shown: list[Path] = []
    for path in map(Path, (*_SYSTEM, *view.readable)):
        if path.is_symlink() and str(path) in _SYSTEM:
            yield "link", str(path.readlink()), str(path)
        elif path.exists() and not any(path.is_relative_to(above) for above in shown):
            shown.append(path)
            yield "read", str(path), str(path)
    yield "write" if view.writable else "read", view.folder, INSIDE


_WAYS: dict[str, Callable[[_View, str], list[str]]] = {"bubblewrap": _bubblewrap, "namespaces": _namespaces}


@cache
def isolation() -> str:
    """What this machine can isolate a command by, tried for real: bubblewrap, namespaces or none."""
    for name, words in _WAYS.items():
        with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as scratch:
            command = [*words(_View(folder, False, (), MIB), scratch), "true"]
            with contextlib.suppress(OSError, subprocess.TimeoutExpired):
                if subprocess.run(command, capture_output=True, timeout=20, env={"PATH": PATH}).returncode == 0:
                    return name
    return "none"


def in_force(*, allow_unisolated: bool) -> str:
    """The isolation that a command will have.

    Raises:
        UserError: the machine has none, and that is not allowed.
    """
    if (found := isolation()) == "none" and not allow_unisolated:
        raise UserError(
            "commands of a model run isolated only, and this machine lets neither bubblewrap (bwrap) nor unshare make "
            "namespaces. Install it (apt-get install bubblewrap), or set allow_unisolated=true: limits on time, memory "
            "and processes stay, but a command then reads every file of yours and reaches the network."
        )
    return found


async def run(
    command: Sequence[str],
    folder: str | Path,
    *,
    limits: Limits | None = None,
    writable: bool = False,
    readable: Sequence[str] = (),
    variables: Mapping[str, str] | None = None,
    given: bytes = b"",
    allow_unisolated: bool = False,
) -> Ended:
    """Run a command, without a shell, until it ends or a limit is passed.

    However this ends, a cancellation included, nothing that the command has started is left running.

    Args:
        command: the program, looked up on `PATH`, and its arguments.
        folder: where it runs, and all that it sees of the user's files.
        limits: what it may take.
        writable: it may write there; else to a temporary folder alone, /tmp, which is gone afterwards.
        readable: further paths that it sees, at their own places.
        variables: added to its environment, which has nothing of ours.
        given: its standard input.
        allow_unisolated: run it where the machine cannot isolate it.

    Raises:
        UserError: the machine cannot, and that is not allowed.
    """
    limits = limits or Limits()
    kind = in_force(allow_unisolated=allow_unisolated)
    folder = os.path.realpath(folder)
    python = os.path.realpath(sys.executable)
    script = os.path.realpath(launch.__file__)
    rlimits = {
        "RLIMIT_CPU": limits.cpu,
        "RLIMIT_AS": limits.memory,
        "RLIMIT_FSIZE": limits.file,
        "RLIMIT_NOFILE": limits.open_files,
        "RLIMIT_CORE": 0,
    }
    if kind != "none":  # elsewhere it counts whatever else the user runs
        rlimits["RLIMIT_NPROC"] = limits.processes + _OWN
    given_up = asyncio.Event()

    async def work() -> Ended:
        with tempfile.TemporaryDirectory() as scratch:
            view = _View(folder, writable, (sys.base_prefix, script, *readable), limits.disk)
            outer = _WAYS[kind](view, scratch) if kind != "none" else []
            inner, home = (folder, scratch) if kind == "none" else (INSIDE, "/tmp")
            process = await asyncio.create_subprocess_exec(
                *(*outer, python, "-I", "-S", script, json.dumps(rlimits), inner, *command),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env={"PATH": PATH, "LANG": "C.UTF-8", "HOME": home, "TMPDIR": home, **(variables or {})},
                start_new_session=True,
            )
            status, texts, stopped = await _held(process, limits, folder if writable else None, given, given_up)
        output, errors = (text[: limits.output].decode(errors="replace") for text in texts)
        return Ended(status, output, errors, stopped, kind)

    working = asyncio.create_task(work())
    try:
        return await asyncio.shield(working)  # cancelled while it starts, bubblewrap would be left half made
    except asyncio.CancelledError:
        given_up.set()
        await working
        raise


async def _held(
    process: asyncio.subprocess.Process, limits: Limits, folder: str | None, given: bytes, given_up: asyncio.Event
) -> tuple[int, tuple[bytearray, bytearray], str]:
    """Read what a process writes and watch what it takes, until it ends or is stopped."""
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    loop = asyncio.get_running_loop()
    end, before, measured = loop.time() + limits.seconds, _size(folder), loop.time()
    texts = bytearray(), bytearray()
    ended = asyncio.create_task(process.wait())  # which is after its pipes are closed
    tasks = [ended, asyncio.create_task(_feed(process.stdin, given))]
    for stream, text in zip((process.stdout, process.stderr), texts, strict=True):
        tasks.append(asyncio.create_task(_read(stream, text, limits.output)))
    stopped = ""
    try:
        while not stopped and not (await asyncio.wait([ended], timeout=_LOOK))[0]:
            if given_up.is_set():
                stopped = "was given up"
            elif loop.time() > end:
                stopped = f"ran for more than {limits.seconds:g} s"
            elif loop.time() > measured + _MEASURE:
                stopped, measured = _growth(folder, before, limits), loop.time()
            stopped = stopped or _much(texts, limits) or _excess(process.pid, limits)
    finally:  # still read, as of a pipe that is full nobody learns that it is closed
        await _end(process)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    stopped = stopped or _much(texts, limits) or _growth(folder, before, limits)
    status = -signal.SIGKILL if stopped else await process.wait()
    status = status if status >= 0 else 128 - status
    return status, texts, stopped or _signal(status, limits)


def _much(texts: Sequence[bytearray], limits: Limits) -> str:
    """Whether there is more output than may be."""
    return f"wrote more than {limits.output} bytes" if any(len(text) > limits.output for text in texts) else ""


def _signal(status: int, limits: Limits) -> str:
    """What is to be said of a status that says which limit was met."""
    met = {128 + signal.SIGXCPU: f"used more than {limits.cpu} s of processor time"}
    met[128 + signal.SIGXFSZ] = f"wrote a file of more than {limits.file} bytes"
    return met.get(status, "")


async def _read(stream: asyncio.StreamReader, text: bytearray, most: int) -> None:
    """Read to the end, as a process counts as ended only then, and keep what may be and one byte more."""
    while chunk := await stream.read(1 << 14):
        text += chunk[: most + 1 - len(text)]


async def _feed(stream: asyncio.StreamWriter, given: bytes) -> None:
    with contextlib.suppress(ConnectionError):
        stream.write(given)
        await stream.drain()
        stream.close()
        await stream.wait_closed()


def _excess(pid: int, limits: Limits) -> str:
    """What a process and those below it take too much of."""
    below = launch.descendants(pid)
    if len(below) > limits.processes + _OWN:
        return f"started more than {limits.processes} processes"
    held = 0
    for each in below:
        with contextlib.suppress(OSError, IndexError, ValueError):
            held += int(Path(f"/proc/{each}/statm").read_bytes().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return f"took more than {limits.memory} bytes of memory" if held > limits.memory else ""


def _growth(folder: str | None, before: int, limits: Limits) -> str:
    """Whether a folder has grown too much."""
    return f"wrote more than {limits.disk} bytes to its folder" if _size(folder) - before > limits.disk else ""


def _size(folder: str | None) -> int:
    """Bytes on disk below a folder; of no folder 0."""
    total, waiting = 0, [folder] if folder else []
    while waiting:
        with contextlib.suppress(OSError), os.scandir(waiting.pop()) as entries:
            for entry in entries:
                with contextlib.suppress(OSError):
                    total += entry.stat(follow_symlinks=False).st_blocks * 512
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
    return total


async def _end(process: asyncio.subprocess.Process) -> None:
    """Kill a process and all below it, unless it has ended, and wait until it has."""
    for _ in range(_SWEEPS):
        if process.returncode is not None or not launch.kill_below(process.pid):
            break
        await asyncio.sleep(_LOOK / 10)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
    await process.wait()
