"""Tables of scores: beside the student's stands what answers get that read no question."""

from __future__ import annotations

import io
from pathlib import Path

from rich.console import Console
from rich.table import Table
from running import cells, round_plain, run_plain

from sloop.records import Score
from sloop.runs.read import Run
from sloop.show.tables import rounds_table, scores_table
from sloop.store import write_json


def score(name: str, value: float | None, slice: str = "") -> Score:
    return Score(name=name, value=value, n=10, slice=slice)


def printed(table: Table) -> str:
    console = Console(width=240, record=True, file=io.StringIO())
    console.print(table)
    return console.export_text()


def test_the_scores_of_constant_answers_are_columns_beside_each_score() -> None:
    shown = printed(
        scores_table(
            [
                score("eval/dev/call_accuracy", 0.5),
                score("eval/dev/call_accuracy", 0.25, "seen"),
                score("eval/dev/judge_score", 0.7),
                score("eval/dev/baseline/always_refuse/call_accuracy", 1 / 3),
                score("eval/dev/baseline/always_refuse/call_accuracy", 0.0, "seen"),
                score("eval/dev/baseline/most_frequent_tool/call_accuracy", None),
            ],
            "x",
        )
    )
    assert cells(shown, "eval/dev/call_accuracy") == ["eval/dev/call_accuracy", "", "50.0", "", "10", "33.3"]
    rows = [line for line in shown.splitlines() if "seen" in line]
    assert [cell.strip() for cell in rows[0].split("│")][-3:-1] == ["0.0", ""]
    assert cells(shown, "eval/dev/judge_score")[-1] == "10"
    assert "baseline" not in shown
    assert "always refuse" in shown


def test_a_table_without_constant_answers_has_no_columns_of_them() -> None:
    assert len(cells(printed(scores_table([score("call_accuracy", 0.5)], "x")), "call_accuracy")) == 5


def test_constant_answers_stand_once_below_all_rounds(tmp_path: Path) -> None:
    scores = [
        score("eval/dev/call_accuracy", 0.5),
        score("eval/dev/harmonic_accuracy", 0.4),
        score("eval/dev/baseline/always_refuse/call_accuracy", 1 / 3),
        score("eval/dev/baseline/always_refuse/harmonic_accuracy", 0.0),
    ]
    write_json(tmp_path / "run.json", run_plain("run"))
    for number in (1, 2):
        write_json(tmp_path / f"round_{number}" / "round.json", round_plain(number, scores))
    shown = printed(rounds_table([Run.at(tmp_path)]))
    assert cells(shown, "run")[2:4] == ["50.0", "40.0"] or cells(shown, "run ")[2:4] == ["50.0", "40.0"]
    assert cells(shown, "always refuse")[1:4] == ["-", "33.3", "0.0"]
    assert shown.count("always refuse") == 1


def test_samples_that_were_left_out_of_training_stand_beside_what_was_trained_on(tmp_path: Path) -> None:
    write_json(tmp_path / "run.json", run_plain("run"))
    for number, lost in ((1, 0.0), (2, 12.0)):
        found = [score("eval/dev/call_accuracy", 0.5), score("data/share/seed", 1.0), score("train/left_out", lost)]
        write_json(tmp_path / f"round_{number}" / "round.json", round_plain(number, found))
    first, second = (line for line in printed(rounds_table([Run.at(tmp_path)])).splitlines() if "seed 100" in line)
    assert "left out" not in first
    assert "seed 100 (12 left out)" in second
