"""Tables, comparisons and lists print what the files say."""

from __future__ import annotations

import math
from pathlib import Path

import pandas
import pytest
from running import acme_loop, rounds, sloop

import sloop as package
from sloop.evaluate.metrics import Grade
from sloop.store import read_rows


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two variants over two seeds."""
    root = tmp_path_factory.mktemp("outputs")
    for seed in (0, 1):
        for variant, skill in (("full", 0.4), ("static", 0.2)):
            words = (f"variant={variant}", f"seed={seed}", f"student.skill={skill}", "loop.rounds=2")
            acme_loop(root / "acme" / f"{variant}{seed}", *words)
    return root


@pytest.fixture
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")


def graded(folder: Path, number: int) -> dict[str, bool | None]:
    grades = read_rows(folder / f"round_{number}" / "evaluate" / "dev" / "grades.jsonl", Grade)
    return {grade.sample_id: grade.correct for grade in grades}


def cells(out: str, beginning: str) -> list[str]:
    """The cells of the first row of a printed table whose first cell begins so."""
    rows = ([cell.strip() for cell in line.strip("│ \n").split("│")] for line in out.splitlines() if "│" in line)
    return next(row for row in rows if row[0].startswith(beginning))


def test_compare_two_runs(outputs: Path, wide: None, capsys: pytest.CaptureFixture[str]) -> None:
    folders = [outputs / "acme" / name for name in ("full0", "static0")]
    words = ("--benchmark", "dev", "--outputs", str(outputs))
    assert sloop("compare", *map(str, folders), *words) == 0
    row = cells(capsys.readouterr().out, "samples")
    a, b = (graded(folder, 2) for folder in folders)
    share = [sum(map(bool, part.values())) / len(part) * 100 for part in (a, b)]
    assert row[1] == "2", "the last round that both have"
    assert row[2:5] == [f"{share[0]:.1f}", f"{share[1]:.1f}", f"{share[0] - share[1]:+.1f}"]
    assert int(row[-1]) == len(a)
    only_a = sum(bool(a[key]) and not b[key] for key in a)
    only_b = sum(bool(b[key]) and not a[key] for key in a)
    total, least = only_a + only_b, min(only_a, only_b)
    p = min(1.0, 2 * sum(math.comb(total, k) for k in range(least + 1)) / 2**total)
    assert float(row[-2]) == pytest.approx(p, rel=0.05)


def test_compare_of_a_run_with_itself_is_zero(outputs: Path, wide: None, capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(outputs / "acme" / "full0")
    assert sloop("compare", folder, folder, "--benchmark", "dev", "--outputs", str(outputs)) == 0
    assert cells(capsys.readouterr().out, "samples")[4] == "+0.0"


def test_compare_takes_a_round(outputs: Path, wide: None, capsys: pytest.CaptureFixture[str]) -> None:
    folders = [str(outputs / "acme" / name) for name in ("full0", "static0")]
    assert sloop("compare", *folders, "--benchmark", "dev", "--round", "1", "--outputs", str(outputs)) == 0
    row = cells(capsys.readouterr().out, "samples")
    share = [sum(map(bool, part.values())) / len(part) * 100 for part in (graded(Path(f), 1) for f in folders)]
    assert row[1:4] == ["1", f"{share[0]:.1f}", f"{share[1]:.1f}"]


def test_compare_variants_over_seeds(outputs: Path, wide: None, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--study", "acme", "--benchmark", "dev", "--outputs", str(outputs))
    assert sloop("compare", "full", "static", *words) == 0
    row = cells(capsys.readouterr().out, "acme, 2 seeds")
    deltas = []
    for seed in (0, 1):
        a, b = (graded(outputs / "acme" / f"{name}{seed}", 2) for name in ("full", "static"))
        deltas.append((sum(map(bool, a.values())) - sum(map(bool, b.values()))) / len(a) * 100)
    assert row[4] == f"{sum(deltas) / 2:+.1f}"


def test_compare_names_what_is_missing(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(outputs / "acme" / "full0")
    assert sloop("compare", folder, folder, "--benchmark", "nope", "--outputs", str(outputs)) == 2
    assert "evaluate/dev" in capsys.readouterr().err
    assert sloop("compare", "full", "winter", "--study", "acme", "--outputs", str(outputs)) == 2
    assert "variants: ['full', 'static']" in capsys.readouterr().err
    assert sloop("compare", "acme-full", folder, "--outputs", str(outputs)) == 2
    assert "several runs match" in capsys.readouterr().err


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


@pytest.mark.parametrize("command", ["table", "compare", "runs", "ui", "version"])
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert sloop(command, "--help") == 0
    assert f"usage: sloop {command}" in capsys.readouterr().out
