"""What a lenient reading gets more is shown where it is more, in tables and figures."""

from __future__ import annotations

from pathlib import Path

import pytest
from running import round_plain, run_plain

from sloop.measures.stats import rate
from sloop.records import Score
from sloop.runs.read import Run
from sloop.show.console import Terminal
from sloop.show.figures import by_round
from sloop.show.tables import rounds_table, scores_table
from sloop.store import write_json


def scores(strict: int, lenient: int, prefix: str = "") -> list[Score]:
    counts = {"call_accuracy": 3, "format_correctness": strict, "format_recovered": lenient}
    return [
        rate(f"{prefix}{name}", ((str(row), int(row < right), 1) for row in range(10)))
        for name, right in counts.items()
    ]


def printed(table: object, capsys: pytest.CaptureFixture[str]) -> str:
    Terminal(width=200).print(table)
    return capsys.readouterr().out


@pytest.mark.parametrize(("strict", "lenient"), [(5, 8), (5, 5)])
def test_it_stands_in_tables_and_figures_where_it_is_more(
    strict: int, lenient: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = lenient > strict
    assert ("format_recovered" in printed(scores_table(scores(strict, lenient), "run"), capsys)) == more
    write_json(tmp_path / "run.json", run_plain("run"))
    found = scores(strict, lenient, "eval/bench/")
    write_json(tmp_path / "round_1" / "round.json", round_plain(1, found))
    assert ("(+30.0)" in printed(rounds_table([Run.at(tmp_path)]), capsys)) == more
    assert ("recovered" in str(by_round([(1, score) for score in found], "bench").to_json())) == more


def test_a_run_of_before_it_was_measured_is_shown_as_it_was(capsys: pytest.CaptureFixture[str]) -> None:
    before = [score for score in scores(5, 8) if score.name != "format_recovered"]
    shown = printed(scores_table(before, "run"), capsys)
    assert "format_correctness" in shown
    assert "format_recovered" not in shown
