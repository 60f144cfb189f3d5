"""Tables and lists print what the files say."""

from __future__ import annotations

from pathlib import Path

import pandas
import pytest
from running import graded, rounds, sloop

import sloop as package


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
    frame = package.runs(outputs)
    assert isinstance(frame, pandas.DataFrame)
    assert len(frame) == 8
    assert set(frame["variant"]) == {"full", "static"}
    one = frame[(frame["variant"] == "full") & (frame["seed"] == 1) & (frame["round"] == 2)].iloc[0]
    answers = graded(outputs / "acme" / "full1", 2)
    assert one["eval/dev/call_accuracy"] == pytest.approx(sum(map(bool, answers.values())) / len(answers))
    assert one["eval/dev/call_accuracy:low"] < one["eval/dev/call_accuracy"] < one["eval/dev/call_accuracy:high"]
    assert one["eval/dev/call_accuracy:n"] == len(answers)


@pytest.mark.parametrize("command", ["table", "compare", "show", "runs", "ui", "version"])
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert sloop(command, "--help") == 0
    assert f"usage: sloop {command}" in capsys.readouterr().out
