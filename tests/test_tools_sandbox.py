"""Hostile commands and functions: contained, with a reason, by whatever isolation this machine has, nothing left over.

Each attack has what it would have reached (a secret, a server that counts, a file, a process of ours), and a harmless
command that works in the same place.
"""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from sloop.records import UserError
from sloop.tools import sandbox
from sloop.tools.builtin.command import RunCommand
from sloop.tools.contract import definition, run_tool
from sloop.tools.isolated import IsolatedTool
from sloop.tools.launch import descendants
from sloop.tools.sandbox import MIB, Ended, Limits

SECRET = "the secret that no command may tell"
SMALL = Limits(seconds=60, cpu=2, memory=128 * MIB, file=MIB, disk=2 * MIB, open_files=32, processes=12, output=8192)
"""Wall time is long: the machine may be busy."""
FOUND = sandbox.isolation()


def _works(kind: str) -> bool:
    """Whether an isolation works here, though it is not the first choice."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(sandbox, "_WAYS", {kind: sandbox._WAYS[kind]})
        return sandbox.isolation.__wrapped__() == kind


WAYS = [kind for kind in sandbox._WAYS if kind == FOUND or _works(kind)]
needs_isolation = pytest.mark.skipif(not WAYS, reason="needs bubblewrap, or user namespaces made by unshare")


class Yard:
    """A workspace, a secret beside it, a server that counts and a process of ours."""

    def __init__(self, root: Path, kind: str) -> None:
        self.kind, self.inside, self.outside = kind, root / "workspace", root / "outside"
        self.inside.mkdir()
        self.outside.mkdir()
        (self.outside / "secret.txt").write_text(SECRET)
        (self.inside / "ok.txt").write_text("fine\n")
        self.server = socket.create_server(("127.0.0.1", 0))
        self.server.settimeout(0.1)
        self.port = self.server.getsockname()[1]
        self.ours = subprocess.Popen(["sleep", "600"])

    def run(self, *command: str, limits: Limits = SMALL, **more: Any) -> Ended:
        return asyncio.run(sandbox.run(command, self.inside, limits=limits, allow_unisolated=True, **more))

    def shell(self, script: str, **more: Any) -> Ended:
        """Of the test's own, as what a program on the list might do."""
        names = {
            "PORT": self.port,
            "PID": self.ours.pid,
            "OUT": self.outside,
            "PYTHON": os.path.realpath(sys.executable),
        }
        for name, value in names.items():
            script = script.replace(f"@{name}", str(value))
        return self.run("sh", "-c", script, **more)

    def untouched(self) -> None:
        assert [path.name for path in self.outside.iterdir()] == ["secret.txt"]
        assert (self.outside / "secret.txt").read_text() == SECRET
        assert self.ours.poll() is None
        with pytest.raises(TimeoutError):
            self.server.accept()

    def end(self) -> None:
        self.server.close()
        self.ours.kill()
        self.ours.wait()


@pytest.fixture(params=WAYS or [pytest.param("none", marks=needs_isolation)])
def yard(tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Yard]:
    """One for each isolation that works here."""
    monkeypatch.setattr(sandbox, "isolation", lambda: request.param)
    monkeypatch.setenv("SLOOP_TEST_SECRET", SECRET)
    made = Yard(tmp_path, request.param)
    yield made
    made.untouched()
    made.end()


@pytest.fixture
def first_yard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Yard]:
    """One with the isolation of this machine."""
    if FOUND == "none":
        pytest.skip("needs bubblewrap, or user namespaces made by unshare")
    monkeypatch.setenv("SLOOP_TEST_SECRET", SECRET)
    made = Yard(tmp_path, FOUND)
    yield made
    made.untouched()
    made.end()


@pytest.fixture
def open_yard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Yard]:
    """One on a machine without isolation."""
    monkeypatch.setattr(sandbox, "isolation", lambda: "none")
    monkeypatch.setenv("SLOOP_TEST_SECRET", SECRET)
    made = Yard(tmp_path, "none")
    yield made
    made.untouched()
    made.end()


def _alive(mark: str) -> list[str]:
    """Processes of this machine with such a word in their command, or in a script in it."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        found += [path.parent.name] if any(mark.encode() in word.split() for word in words) else []
    return found


LOOKS = {
    "a file outside": "cat @OUT/secret.txt",
    "a file outside, by its process": "cat /proc/1/root@OUT/secret.txt /proc/1/cwd/../outside/secret.txt",
    "our environment": "env; cat /proc/*/environ",
    "our processes": "cat /proc/@PID/cmdline && echo reached",
    "a link in the workspace": "ln -s @OUT/secret.txt /tmp/link; cat /tmp/link link",
    "passwords": "cat /etc/passwd /etc/shadow && echo reached",
    "homes": "ls -A /h*me /r*t/.ssh && echo reached",
    "a server of this machine": "bash -c 'exec 3<>/dev/tcp/127.0.0.1/@PORT' && echo reached",
    "a network": "ls /sys/class/net && echo reached; grep -v '^ *lo' /proc/net/dev | grep : && echo reached",
    "a write outside": "touch @OUT/planted && echo reached",
    "a write to the system": "touch /usr/planted || touch /usr/bin/planted || rm /usr/bin/env && echo reached",
    "a write to the workspace": "touch planted && echo reached",
    "a mount made writable": "mount -o remount,rw /usr && echo reached; umount /workspace && echo reached",
    "a mount of its own": "unshare -Ur mount -o remount,bind,rw /usr && echo reached",
    "a device of its own": "mknod /tmp/disk b 8 0 && cat /tmp/disk && echo reached",
    "a process of ours": "kill -9 @PID && echo reached",
    "the kernel's settings": "cd /proc/sys/kernel; read -r x < core_pattern; echo $x > core_pattern && echo reached",
}


def test_what_is_not_its_own_is_out_of_a_commands_reach(yard: Yard) -> None:
    """In one process each, all attacks, as starting an isolation takes longer than an attack."""
    (yard.inside / "link").symlink_to(yard.outside / "secret.txt")
    ended = {name: yard.shell(script) for name, script in LOOKS.items()}
    told = {name: one for name, one in ended.items() if SECRET in one.output + one.errors or "reached" in one.output}
    assert not told
    assert {one.isolation for one in ended.values()} == {yard.kind}
    assert not (yard.inside / "planted").exists()
    assert yard.run("cat", "ok.txt") == Ended(0, "fine\n", "", "", yard.kind)


def test_every_process_may_be_signalled_and_ours_live(yard: Yard) -> None:
    assert yard.shell("kill -9 -1; echo on").isolation == yard.kind
    assert yard.run("cat", "ok.txt").output == "fine\n"


def test_a_folder_that_it_may_write_is_written_and_no_other(yard: Yard) -> None:
    ended = yard.shell("echo new > new.txt; touch @OUT/planted; ln -s @OUT out; touch out/planted", writable=True)
    assert (yard.inside / "new.txt").read_text() == "new\n"
    assert ended.status != 0


TAKES = {
    "a fork bomb": ("for i in $(seq 60); do sleep 20.5 & done; wait", "more than 12 processes|"),
    "a fork bomb that detaches": (
        "for i in $(seq 40); do setsid setsid sleep 20.5 & done; wait",
        "more than 12 processes|",
    ),
    "memory of one": ("@PYTHON -I -S -c 'bytearray(10**9)'", "|bytes of memory"),
    "memory of many": (
        "for i in 1 2 3 4; do @PYTHON -I -S -c 'x = bytearray(6 * 10**7); import time; time.sleep(20.5)' & done; wait",
        "bytes of memory",
    ),
    "a large file": ("head -c 5000000 /dev/zero > /tmp/large", "file of more than|"),
    "memory as files": ("for i in $(seq 8); do head -c 1000000 /dev/zero > /tmp/$i || exit 1; done", ""),
    "shared memory": ("for i in $(seq 8); do head -c 1000000 /dev/zero > /dev/shm/$i || exit 1; done", ""),
    "endless output": ("yes", "wrote more than 8192 bytes"),
    "endless errors": ("yes >&2", "wrote more than 8192 bytes"),
    "a line without end": ("cat /dev/zero", "wrote more than 8192 bytes"),
    "processor time": ("while :; do :; done", "processor time"),
    "descriptors": ("@PYTHON -I -S -c 'x = [open(\"/dev/null\") for _ in range(100)]'", ""),
}


@pytest.mark.parametrize("attack", TAKES)
def test_what_a_command_takes_is_bounded(first_yard: Yard, attack: str) -> None:
    yard = first_yard
    script, reasons = TAKES[attack]
    ended = yard.shell(script)
    assert ended.stopped in ("",) or any(reason and reason in ended.stopped for reason in reasons.split("|")), ended
    assert ended.status != 0
    assert bool(ended.stopped) or "" in reasons.split("|"), ended
    assert len(ended.output) + len(ended.errors) < 4 * 8192
    assert not _alive("20.5")
    assert yard.run("cat", "ok.txt").output == "fine\n"


def test_a_folder_is_not_filled(yard: Yard) -> None:
    ended = yard.shell("for i in $(seq 500); do head -c 1000000 /dev/zero > $i; sleep 0.05; done", writable=True)
    assert ended.stopped == f"wrote more than {SMALL.disk} bytes to its folder"
    assert sum(path.stat().st_size for path in yard.inside.iterdir()) < 100 * MIB


def test_a_command_that_waits_is_stopped_and_its_input_is_at_its_end(yard: Yard) -> None:
    ended = yard.run("sleep", "20.5", limits=Limits(seconds=1))
    assert (ended.status, ended.stopped) == (137, "ran for more than 1 s")
    assert yard.shell("exec >&- 2>&-; sleep 20.5", limits=Limits(seconds=1)).stopped == "ran for more than 1 s"
    assert not _alive("20.5")
    assert yard.run("cat").status == 0
    assert yard.run("cat", given=b"told").output == "told"


DETACHED = "setsid sh -c 'setsid sleep 21.5 & sleep 21.5' > /dev/null 2>&1 & sleep 0.2; echo left"


def test_nothing_is_left_running(yard: Yard) -> None:
    assert yard.shell(DETACHED).output == "left\n"
    assert not _alive("21.5")


def test_without_isolation_nothing_is_left_running_either(open_yard: Yard) -> None:
    assert open_yard.shell(DETACHED).output == "left\n"
    assert not _alive("21.5")
    ended = open_yard.shell(DETACHED + "; sleep 21.5", limits=Limits(seconds=1))
    assert ended.stopped
    assert not _alive("21.5")


@pytest.mark.parametrize("attack", ["memory of one", "endless output", "processor time", "a fork bomb"])
def test_without_isolation_limits_hold(open_yard: Yard, attack: str) -> None:
    ended = open_yard.shell(TAKES[attack][0])
    assert ended.status != 0
    assert ended.isolation == "none"
    assert SECRET not in open_yard.run("env").output
    assert not _alive("20.5")


@pytest.mark.parametrize("script", ["sleep 22.5", "sleep 22.5 & cat /dev/zero"])
@pytest.mark.parametrize("way", ["cancelled", "timed out", "cancelled as it starts"])
def test_a_call_that_is_given_up_leaves_nothing(yard: Yard, way: str, script: str) -> None:
    limits = Limits(output=1 << 40)

    async def given_up() -> None:
        task = asyncio.create_task(sandbox.run(["sh", "-c", script], yard.inside, limits=limits))
        while not (_alive("22.5") or task.done() or way == "cancelled as it starts"):
            await asyncio.sleep(0.02)
        if way != "timed out":
            await asyncio.sleep(0.01)
            task.cancel()
        await asyncio.wait_for(task, 0.01)

    with pytest.raises((asyncio.CancelledError, TimeoutError)):
        asyncio.run(given_up())
    assert not _alive("22.5")


def _held() -> tuple[int, int, list[int]]:
    """Descriptors, threads and children of this process."""
    for thread in threading.enumerate():
        if thread.name.startswith(
            "waitpid-"
        ):  # asyncio's: it has told of a child's end, and ends itself a moment later
            thread.join(10)
    return len([*Path("/proc/self/fd").iterdir()]), threading.active_count(), descendants(os.getpid())


def test_many_commands_leak_no_descriptor_thread_or_process(yard: Yard) -> None:
    async def several(number: int) -> None:
        for _ in range(number):
            await sandbox.run(["true"], yard.inside, limits=SMALL)

    asyncio.run(several(1))
    before = _held()
    asyncio.run(several(4))
    assert _held() == before


def test_without_isolation_it_is_refused(open_yard: Yard) -> None:
    with pytest.raises(UserError, match=r"bubblewrap.*allow_unisolated=true"):
        asyncio.run(sandbox.run(["true"], open_yard.inside))
    with pytest.raises(UserError, match="allow_unisolated=true"):
        RunCommand(root=open_yard.inside)
    with pytest.raises(UserError, match="allow_unisolated=true"):
        IsolatedTool("isolated_tools:add", root=open_yard.inside)
    told = _commanded(RunCommand(root=open_yard.inside, allow_unisolated=True), ["cat", "ok.txt"])
    assert (told["output"], told["isolation"]) == ("fine\n", "none")


def test_an_isolation_that_does_not_work_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "PATH", "/nowhere")
    assert sandbox.isolation.__wrapped__() == "none"


@pytest.mark.parametrize("field", ["seconds", "memory", "processes", "output"])
def test_limits_are_above_zero(field: str) -> None:
    with pytest.raises(UserError, match=f"limits.{field}=0: give a number above 0"):
        Limits(**{field: 0})


def _commanded(tool: RunCommand, command: Sequence[str]) -> Any:
    return asyncio.run(tool.call({"command": list(command)}))


REFUSED = {
    "a shell": ["sh", "-c", "id"],
    "its path": ["/bin/cat", "ok.txt"],
    "a program of the workspace": ["./cat", "ok.txt"],
    "a path upwards": ["../../bin/sh"],
    "a line": ["cat ok.txt; id"],
    "a space": [" cat", "ok.txt"],
    "nothing": [""],
    "an option": ["-c"],
    "a NUL": ["cat", "ok.txt\0.png"],
    "much": ["echo", "x" * 20_000],
}


@pytest.mark.parametrize("attack", REFUSED)
def test_only_programs_of_the_list_are_run(first_yard: Yard, attack: str) -> None:
    tool = RunCommand(root=first_yard.inside, limits=SMALL)
    with pytest.raises(ValueError, match=r"not allowed; allowed: cat|NUL"):
        _commanded(tool, REFUSED[attack])


def test_a_command_reads_no_shell_and_runs_no_program_of_the_workspace(yard: Yard) -> None:
    tool = RunCommand(root=yard.inside, limits=SMALL)
    words = ["echo", "$(id)", "`id`", "a; id", "| id", "> /tmp/x", "*"]
    assert _commanded(tool, words)["output"] == " ".join(words[1:]) + "\n"
    planted = yard.inside / "cat"
    planted.write_text("#!/bin/sh\necho planted\n")
    planted.chmod(0o755)
    assert _commanded(tool, ["cat", "ok.txt"])["output"] == "fine\n"
    told = _commanded(tool, ["sort", "--compress-program=./cat", "-o", "ok.txt", "ok.txt"])  # starts others, contained
    assert told["status"] != 0
    assert (yard.inside / "ok.txt").read_text() == "fine\n"
    told = _commanded(tool, ["cat", "../outside/secret.txt", str(yard.outside / "secret.txt")])
    assert "No such file" in told["errors"]
    assert told["isolation"] == yard.kind


def test_what_a_command_may_start_and_where_is_checked_first(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no-such-program"):
        RunCommand(root=tmp_path, programs=["no-such-program"], allow_unisolated=True)
    with pytest.raises(UserError, match="/bin/cat"):
        RunCommand(root=tmp_path, programs=["/bin/cat"], allow_unisolated=True)
    with pytest.raises(UserError, match="no such folder"):
        RunCommand(root=tmp_path / "none", allow_unisolated=True)
    assert RunCommand(root=tmp_path, allow_unisolated=True, writable=True).mutates


def _isolated(yard: Yard, name: str, **limits: Any) -> IsolatedTool:
    kept = {"seconds": 120, "memory": 400 * MIB} | limits
    return IsolatedTool(f"isolated_tools:{name}", root=yard.inside, limits=Limits(**kept))


CALLS: dict[str, tuple[str, dict[str, Any], str]] = {
    "works": ("add", {"a": 1}, "3"),
    "is async": ("later", {"word": "so"}, '{"word": "so"}'),
    "is flat": ("flat", {"word": "so"}, "soso"),
    "reads the workspace": ("read", {"path": "ok.txt"}, "fine\n"),
    "has no variable of ours": ("variable", {"name": "SLOOP_TEST_SECRET"}, "none"),
}
FAILURES: dict[str, tuple[str, dict[str, Any], str, dict[str, Any]]] = {
    "wrong arguments": ("add", {"a": "many"}, "valid integer", {}),
    "a file outside": ("read", {"path": "../outside/secret.txt"}, "FileNotFoundError", {}),
    "passwords": ("read", {"path": "/etc/shadow"}, "FileNotFoundError", {}),
    "an exception": ("fail", {}, "status 1: ValueError: no such project", {}),
    "a death": ("die", {}, "status 137", {}),
    "memory": ("take", {"size": 10**9}, "MemoryError", {}),
    "time": ("wait", {"seconds": 600}, "stopped: it ran for more than", {"seconds": 3}),
    "a long result": ("talk", {"size": 10**6}, "stopped: it wrote more than", {}),
}


@pytest.mark.parametrize("case", CALLS)
def test_a_function_in_a_process_of_its_own(first_yard: Yard, case: str) -> None:
    name, args, result = CALLS[case]
    isolated = _isolated(first_yard, name)
    assert definition(name, isolated).description
    assert asyncio.run(run_tool(isolated, args)) == result
    assert isolated.mutates is (name == "later")


@pytest.mark.parametrize("attack", FAILURES)
def test_a_function_that_fails_or_takes_too_much_is_contained(first_yard: Yard, attack: str) -> None:
    name, args, reason, limits = FAILURES[attack]
    with pytest.raises(ValueError, match=reason) as failed:
        asyncio.run(run_tool(_isolated(first_yard, name, **limits), args))
    assert SECRET not in str(failed.value)


def test_a_function_of_another_way_of_isolation(yard: Yard) -> None:
    assert asyncio.run(run_tool(_isolated(yard, "add"), {"a": 1})) == "3"


@pytest.mark.parametrize(
    "name", ["isolated_tools", "isolated_tools:none", "no.such.module:x", "isolated_tools:no_tool"]
)
def test_what_names_no_tool_is_said(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="tool '"):
        IsolatedTool(name, root=tmp_path, allow_unisolated=True)
