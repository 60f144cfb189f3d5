"""A function that works on a stranger's template, in a process of its own: time, memory and result have limits.

A sandbox keeps a template from reaching out, and not from looping on and on or from building ten gigabytes; a process
can be ended whatever it is at. It is forked with the first call, so that it holds what the function needs, and lasts.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import resource
import signal
import threading
import weakref
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

SECONDS = 10.0
"""For one call; templates take milliseconds."""
MEMORY = 1 << 30
"""Bytes beyond what the process has when it is forked."""
LONGEST = 16 << 20
"""Characters of a result."""


class Exceeded(Exception):
    """A call that met a limit, or failed; says how."""


class Bounded:
    """Calls a function that returns text. May be used from any thread, one call at a time."""

    def __init__(self, function: Callable[..., str], *, seconds: float = SECONDS, memory: int = MEMORY) -> None:
        """Take the function; it is called with values that can be pickled."""
        self._function = function
        self._seconds = seconds
        self._memory = memory
        self._lock = threading.Lock()
        self._worker: tuple[int, Connection] | None = None
        self._owner = 0

    def __call__(self, *given: Any) -> str:
        """The function's result.

        Raises:
            Exceeded: it took too long or too much memory, is too long, or the function raised.
        """
        with self._lock:
            if self._worker is None or self._owner != os.getpid():  # a fork of ours has another's worker
                self._start()
            assert self._worker is not None
            _, line = self._worker
            answered = False
            try:
                line.send(given)
                if not line.poll(self._seconds):
                    raise Exceeded(f"it takes longer than {self._seconds:g} s")
                told = line.recv_bytes(4 * LONGEST + 1).decode("utf-8", "surrogatepass")
                answered = True
            except (EOFError, OSError) as error:
                raise Exceeded("its process ended, as for want of memory") from error
            finally:
                if not answered:  # a late answer would be taken for that of the next call
                    self._end()
        if told.startswith("-"):
            raise Exceeded(told[1:])
        return told[1:]

    def _start(self) -> None:
        ours, theirs = multiprocessing.Pipe()
        pid = os.fork()
        if pid == 0:
            _serve(theirs, self._function, self._memory)
        theirs.close()
        self._worker, self._owner = (pid, ours), os.getpid()
        weakref.finalize(self, _end, pid, ours, os.getpid())

    def _end(self) -> None:
        if self._worker is not None:
            _end(*self._worker, os.getpid())
        self._worker = None


def _end(pid: int, line: Connection, owner: int) -> None:
    """End a worker, once."""
    if line.closed or os.getpid() != owner:
        return
    line.close()
    with contextlib.suppress(ProcessLookupError, ChildProcessError):
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _serve(line: Connection, function: Callable[..., str], memory: int) -> None:
    """Answer calls until the other end is closed; never returns."""
    try:
        here = line.fileno()
        os.closerange(3, here)  # other workers' ends among them, which must not be held open
        os.closerange(here + 1, os.sysconf("SC_OPEN_MAX"))
        for number in (signal.SIGINT, signal.SIGTERM):  # the parent's handlers are not for it
            signal.signal(number, signal.SIG_IGN if number == signal.SIGINT else signal.SIG_DFL)
        with open("/proc/self/statm") as file:
            held = int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        resource.setrlimit(resource.RLIMIT_AS, (held + memory, held + memory))
        while True:
            _answer(line, function, line.recv())
    finally:
        os._exit(0)


def _answer(line: Connection, function: Callable[..., str], given: Any) -> None:
    try:
        text = function(*given)
        if len(text) > LONGEST:
            raise Exceeded(f"it writes {len(text)} characters, more than {LONGEST}")
        told = f"+{text}"
    except MemoryError:
        told = f"-it takes more than {MEMORY >> 20} MiB of memory"
    except RecursionError:
        told = "-it nests too deep"
    except Exception as error:  # whatever a template comes to raise is told of, and the next one is rendered
        told = f"-{error}"[:1000]
    line.send_bytes(told.encode("utf-8", "surrogatepass"))
