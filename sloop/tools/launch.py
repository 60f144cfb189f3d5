"""Started as a script of its own by `sloop.tools.sandbox`: sets limits, runs a command, leaves no process behind.

Imports nothing but what Python ships, so that it starts at once and inside an isolation.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import signal
import sys
import time
from pathlib import Path

_SET_NO_NEW_PRIVILEGES, _SET_CHILD_SUBREAPER = 38, 36  # linux/prctl.h
_SWEEPS = 500
_NOT_STARTED = 127
"""As shells have it."""


def descendants(pid: int) -> list[int]:
    """The processes below a process, parents first; on a system without /proc none."""
    found = [pid]
    for each in found:
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{each}/task").iterdir():
                found += map(int, (task / "children").read_bytes().split())
    return found[1:]


def kill_below(pid: int) -> bool:
    """Kill whatever a process has started; whether anything was alive, and may have started more meanwhile."""
    alive = [each for each in descendants(pid) if not _is_zombie(each)]
    for each in alive:
        with contextlib.suppress(ProcessLookupError):
            os.kill(each, signal.SIGKILL)
    return bool(alive)


def _is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b") ")[2][:1] == b"Z"
    except OSError:
        return True


def main() -> None:
    """Run ``launch.py LIMITS FOLDER COMMAND...``; LIMITS is a JSON object of rlimits by name."""
    limits, folder, command = json.loads(sys.argv[1]), sys.argv[2], sys.argv[3:]
    if sys.platform == "linux":
        prctl = ctypes.CDLL(None).prctl
        prctl(_SET_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
        prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)  # a daemon's second fork stays below this process
    child = os.fork()
    if child == 0:
        try:
            os.chdir(folder)
            for name, most in limits.items():
                resource.setrlimit(getattr(resource, name), (most, most + (name == "RLIMIT_CPU")))
            os.execvp(command[0], command)
        except (OSError, ValueError) as error:
            os.write(2, f"{command[0]}: {error}".encode())
            os._exit(_NOT_STARTED)
    while True:  # whatever is adopted is waited for as well
        pid, status = os.wait()
        if pid == child:
            break
    for _ in range(_SWEEPS):
        if not kill_below(os.getpid()):
            break
        time.sleep(0.002)
    code = os.waitstatus_to_exitcode(status)
    os._exit(code if code >= 0 else 128 - code)


if __name__ == "__main__":
    main()
