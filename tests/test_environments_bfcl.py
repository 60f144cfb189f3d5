"""BFCL's simulated classes in their process: what a model writes is looked up, never run, and none is left behind."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from sloop.environments import bfcl
from sloop.environments.bfcl import CLASSES, DiedError, Play, Simulator, wheel
from sloop.records import UserError

pytestmark = pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("bfcl_eval", "mpmath"))),
    reason="runs the official classes: pip install --no-deps bfcl-eval==2026.3.23 && pip install mpmath",
)
FILES = {"root": {"home": {"type": "directory", "contents": {"a.txt": {"type": "file", "content": "words"}}}}}
SCENE = {
    "classes": {name: CLASSES[name] for name in ("GorillaFileSystem", "MathAPI")},
    "config": {"GorillaFileSystem": FILES},
    "long_context": False,
}
READ = "cat(file_name='a.txt')"


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    found = Simulator(0.5)
    yield found
    found.close()


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('touch {0}')",
        "open('{0}', 'w')",
        "eval(\"open('{0}', 'w')\")",
        "exec(\"open('{0}', 'w')\")",
        "cat(file_name=open('{0}', 'w'))",
        "cat(file_name=[open('{0}', 'w')])",
        "cat(file_name='a.txt') or open('{0}', 'w')",
        "(lambda: open('{0}', 'w'))()",
        "[open('{0}', 'w') for _ in (1,)]",
        "cat.__globals__['subprocess'].run(['touch', '{0}'])",
        "cat(**{{'file_name': open('{0}', 'w')}})",
        'f\'{{open("{0}", "w")}}\'',
        "model_GorillaFileSystem_instance.__init__()",
        "model_GorillaFileSystem_instance._load_scenario({{}})",
        "importlib.import_module('os')",
        "cat(file_name='a.txt').__class__",
        "(" * 100_000,
        "cat(file_name=" + "[" * 5000 + "]" * 5000 + ")",
        "cat(file_name='a.txt'",
        "",
        "\0",
        "cat(file_name='\ud800')",
    ],
)
def test_what_is_no_call_of_a_method_is_an_error_and_runs_nothing(
    simulator: Simulator, text: str, tmp_path: Path
) -> None:
    sentinel = tmp_path / "sentinel"
    play = Play(simulator, SCENE)
    before, (told, right) = simulator.life, play.act([text.format(sentinel) if "{0}" in text else text, READ])
    assert told.startswith("Error during execution: ") or "error" in told
    assert right == '{"file_content": "words"}'
    assert not sentinel.exists()
    assert simulator.life == before


def test_calls_change_their_own_scene_alone(simulator: Simulator) -> None:
    one, other = Play(simulator, SCENE), Play(simulator, SCENE)
    assert one.act(["rm(file_name='a.txt')", READ])[1] != other.act([READ])[0]
    assert one.act(["add(a=mean(numbers=[1, 3]), b=1)"]) == ['{"error": "Both inputs must be numbers"}']
    one.close()
    other.close()


def test_a_sum_is_no_value(simulator: Simulator) -> None:
    told = Play(simulator, SCENE).act(["power(base=10, exponent=10**9)"])
    assert told == ["Error during execution: only calls and literal values are run"]


def test_what_takes_too_long_is_stopped_and_what_was_done_before_is_done_again(simulator: Simulator) -> None:
    play = Play(simulator, SCENE)
    play.act(["rm(file_name='a.txt')"])
    with pytest.raises(DiedError, match=r"a call ran for more than 0\.5 s"):
        play.act(["power(base=9, exponent=999999999)"])
    assert play.act([READ]) == ['{"error": "cat: \'a.txt\': No such file or directory"}']


def test_the_process_knows_none_of_our_variables_and_ends_with_its_simulator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLOOP_SECRET", "hush")
    simulator = Simulator(5)
    assert simulator.life == 1
    process = simulator._process
    assert process is not None
    assert b"SLOOP_SECRET" not in Path(f"/proc/{process.pid}/environ").read_bytes()
    del simulator
    assert process.returncode is not None
    with pytest.raises(ProcessLookupError):
        os.kill(process.pid, 0)


def test_the_process_ends_when_its_input_does() -> None:
    simulator = Simulator(5)
    assert simulator.life == 1
    process = simulator._process
    assert process is not None
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(timeout=60) == 0


def test_without_the_wheel_the_command_that_installs_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"bfcl_eval is not installed: pip install --no-deps bfcl-eval"):
        wheel()


def test_a_wheel_that_lacks_something_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"no gorilla_file_system\.py"):
        bfcl.code_digest(tmp_path)
    monkeypatch.setattr(bfcl.bfcl_worker, "__file__", str(tmp_path / "no_such_script.py"))
    with pytest.raises(
        UserError, match=r"BFCL's classes cannot be run: .* ended with status 2: .*No such file.*pip install"
    ):
        _ = Simulator(5).life
