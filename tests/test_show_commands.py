"""Tables and lists print what the files say."""

from __future__ import annotations

import os
import shutil
import socket
from pathlib import Path

import pandas
import pytest
from running import fresh_database, graded, rounds, run_plain, sloop

import sloop as package
from sloop.records import RUN_FILE
from sloop.runs.files import read_run
from sloop.store import write_json


def test_the_table_shows_every_round(outputs: Path, wide: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert sloop("table", "acme", "--outputs", str(outputs)) == 0
    out = capsys.readouterr().out
    for folder in sorted((outputs / "acme").iterdir()):
        for content in rounds(folder) if folder.name != ".stages" else []:
            value = next(row["value"] for row in content["metrics"] if row["name"] == "eval/dev/call_accuracy")
            assert f"{value * 100:.1f}" in out
    assert out.count("acme-full-s0") == 2


def test_the_list_shows_every_run(outputs: Path, wide: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert sloop("runs", "--outputs", str(outputs)) == 0
    out = capsys.readouterr().out
    assert out.count("FINISHED") == 4


def test_the_frame_of_runs_has_one_row_a_round(outputs: Path) -> None:
    frame = package.rounds(outputs)
    assert isinstance(frame, pandas.DataFrame)
    assert len(frame) == 8
    assert set(frame["variant"]) == {"full", "static"}
    one = frame[(frame["variant"] == "full") & (frame["seed"] == 1) & (frame["round"] == 2)].iloc[0]
    answers = graded(outputs / "acme" / "full1", 2)
    assert one["eval/dev/call_accuracy"] == pytest.approx(sum(map(bool, answers.values())) / len(answers))
    assert one["eval/dev/call_accuracy:low"] < one["eval/dev/call_accuracy"] < one["eval/dev/call_accuracy:high"]
    assert one["eval/dev/call_accuracy:n"] == len(answers)


@pytest.mark.parametrize("command", ["table", "compare", "figures", "show", "runs", "ui", "version"])
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert sloop(command, "--help") == 0
    assert f"usage: sloop {command}" in capsys.readouterr().out


def test_figures_are_written_beside_the_run_or_elsewhere(
    outputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("figures", "variant=full,seed=1@2", "--outputs", str(outputs))
    assert sloop(*words, "--out", str(tmp_path)) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["figures.html"]
    assert str(tmp_path / "figures.html") in capsys.readouterr().out
    shutil.copytree(outputs / "acme" / "full0", tmp_path / "run")
    assert sloop("figures", str(tmp_path / "run")) == 0
    assert (tmp_path / "run" / "figures" / "figures.html").is_file()


def test_a_run_that_evaluated_nothing_has_no_figures(
    outputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shutil.copytree(outputs / "acme" / "full0", tmp_path / "run")
    for path in folder.glob("round_*/round.json"):
        path.unlink()
    assert sloop("figures", str(folder)) == 2
    assert "has evaluated nothing yet" in capsys.readouterr().err
    assert not (folder / "figures").exists()


def test_a_run_under_way_is_left_to_log_itself(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    machine = {"host": socket.gethostname(), "pid": os.getpid(), "system": "", "processor": "", "cpus": 1}
    write_json(tmp_path / "a" / RUN_FILE, run_plain("a", status="RUNNING", finished=None, machine=machine))
    fresh_database(tmp_path / "mlruns")
    assert sloop("runs", "sync", "--outputs", str(tmp_path), "--mlruns", str(tmp_path / "mlruns")) == 0
    assert "left to itself, as it is running and logs what it makes: a" in capsys.readouterr().out
    assert read_run(tmp_path / "a").mlflow is None
