"""Where a command is given and what takes its words: gone folders, full devices, closed pipes, poor alphabets."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from pathlib import Path

import pytest
from running import ALONE, fresh_database, run_plain, scratch, sloop

from sloop.records import UserError
from sloop.runs.track import connect
from sloop.store import write_json

SLOOP = [sys.executable, "-m", "sloop"]


@functools.cache
def runs() -> Path:
    """A folder with a run whose name no ASCII terminal can show."""
    folder = scratch() / "terminals"
    write_json(folder / "outputs" / "s" / "café" / "run.json", {**run_plain("cafe"), "name": "café – “x”"})
    return folder


def run(
    *words: str, cwd: Path | None = None, out: object = subprocess.PIPE, **environment: str
) -> tuple[int, str, str]:
    done = subprocess.run(
        [*SLOOP, *words],
        cwd=cwd or runs(),
        env={**os.environ, **environment},
        stdout=out,  # type: ignore[call-overload]
        stderr=subprocess.PIPE,
        check=False,
        timeout=120,
    )
    return done.returncode, (done.stdout or b"").decode(), done.stderr.decode()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full, the device that is always full, is Linux's")
@pytest.mark.parametrize("words", [("--help",), ("version",), ("runs",), ("loop", "--cfg", "job")], ids=" ".join)
def test_a_device_that_takes_nothing_is_told_of(words: tuple[str, ...]) -> None:
    with open("/dev/full", "w") as full:
        status, _, err = run(*words, out=full)
    assert status == 2
    assert err.startswith("sloop: what this command prints cannot be written: the disk is full.")
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("words", [("--help",), ("runs",), ("loop", "--cfg", "job")], ids=" ".join)
def test_a_reader_that_leaves_ends_a_command_quietly(words: tuple[str, ...]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    status, _, err = run(*words, out=writing)
    os.close(writing)
    assert (status, err) == (128 + 13, "")


@pytest.mark.parametrize(
    "poor", [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}], ids=str
)
def test_a_terminal_that_lacks_letters_shows_others(poor: dict[str, str]) -> None:
    status, out, err = run("runs", **poor)
    assert (status, err) == (0, "")
    assert "caf? ? ?x?" in out
    assert "café – “x”" in run("runs", PYTHONIOENCODING="utf-8")[1]


@pytest.mark.parametrize("words", [("gen", "num_samples=5"), ("runs",)], ids=" ".join)
def test_a_working_folder_that_is_gone_is_told_of(words: tuple[str, ...], tmp_path: Path) -> None:
    script = f'cd "{tmp_path}/gone" && rmdir "{tmp_path}/gone" && exec "$@"'
    (tmp_path / "gone").mkdir()
    source = str(Path(__file__).parents[1])
    path = os.pathsep.join([source, os.environ["PYTHONPATH"]])
    done = subprocess.run(
        ["sh", "-c", script, "sh", *SLOOP, *words],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (
        2,
        "sloop: the folder that this command was given in is gone. Go to another: cd FOLDER\n",
    )


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("SLOOP_WEAK_MODEL=café\n".encode("latin-1"), ".env: not UTF-8 text (byte 21 is 0xe9). Save it as UTF-8."),
        ("SLOOP_WEAK_MODEL=x\n".encode("utf-16"), ".env: not UTF-8 text, but UTF-16. Save it as UTF-8."),
    ],
)
def test_an_env_file_in_another_encoding_is_told_of(
    content: bytes, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(".env").write_bytes(content)
    assert sloop("gen", "num_samples=5", "output_dir=data", ALONE) == 2
    assert capsys.readouterr().err == f"sloop: {words}\n"
    assert not Path("data").exists()


@pytest.mark.parametrize("kind", ["noise", "a folder", "cut short"])
def test_a_database_that_is_none_is_told_of(kind: str, tmp_path: Path) -> None:
    mlruns = tmp_path / "mlruns"
    fresh_database(mlruns)
    database = mlruns / "mlflow.db"
    whole = database.read_bytes()
    database.unlink()
    if kind == "a folder":
        database.mkdir()
    else:
        database.write_bytes(whole[: len(whole) // 3] if kind == "cut short" else b"no database at all" * 1000)
    with pytest.raises(UserError, match="go on without it") as caught:
        connect(None, mlruns, "study")
    assert str(mlruns) in str(caught.value)
