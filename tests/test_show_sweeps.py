"""Tables and figures of a sweep: means over seeds, what their intervals cover, the same from disk and from MLflow."""

from __future__ import annotations

import csv
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from running import acme_loop, fresh_database, rounds, sloop

from sloop.measures.seeds import over_seeds
from sloop.measures.stats import mean_score
from sloop.records import Score
from sloop.show.compare import as_latex
from sloop.show.sweeps import of_seeds


def table(capsys: pytest.CaptureFixture[str], outputs: Path, *words: str) -> str:
    capsys.readouterr()
    assert sloop("table", "acme", "--outputs", str(outputs), "--sweep", *words) == 0
    return capsys.readouterr().out


def score(value: float | None, low: float | None = None, high: float | None = None) -> Score:
    return Score(name="m", value=value, n=10, low=low, high=high)


def test_a_mean_over_seeds_has_the_interval_of_the_seeds() -> None:
    found = over_seeds([score(0.5, 0.4, 0.6), score(0.3, 0.2, 0.4), score(0.4, 0.3, 0.5), score(None)])
    assert found is not None
    expected = mean_score("m", [0.5, 0.3, 0.4])
    assert (found.value, found.low, found.high) == (expected.value, expected.low, expected.high)
    assert (found.seeds, found.n, found.over) == (3, 30, "3 seeds")


@pytest.mark.parametrize("scores", [[score(0.5, 0.4, 0.6)], [score(0.5, 0.4, 0.6)] * 2])
def test_one_seed_and_seeds_that_are_alike_have_the_interval_over_questions(scores: list[Score]) -> None:
    found = over_seeds(scores)
    assert found is not None
    assert (found.low, found.high, found.over) == (0.4, 0.6, "questions")


def test_an_interval_of_a_share_ends_at_0_and_1() -> None:
    found = over_seeds([score(0.1), score(0.9)])
    assert found is not None
    assert (found.low, found.high) == (0.0, 1.0)
    assert over_seeds([score(None)]) is None


def test_a_mean_that_is_no_share_is_not_cut_off() -> None:
    found = over_seeds([score(2.0), score(3.0)])
    expected = mean_score("reward", [2.0, 3.0])
    assert found is not None
    assert (found.low, found.high) == (expected.low, expected.high)


def test_the_table_has_means_over_seeds_and_paired_differences(
    outputs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    head, *rows = csv.reader(table(capsys, outputs, "--format", "csv").splitlines())
    full = dict(zip(head, next(row for row in rows if row[0] == "acme, full"), strict=True))
    values = [
        row["value"]
        for seed in (0, 1)
        for row in rounds(outputs / "acme" / f"full{seed}")[-1]["metrics"]
        if row["name"] == "eval/dev/call_accuracy" and not row["slice"]
    ]
    assert full["call accuracy"].startswith(f"{50 * sum(values):.1f} [")
    assert (full["round"], full["n"], full["interval over"]) == (
        "2",
        "240",
        "questions",
    )  # the seeds of this student are alike
    capsys.readouterr()
    assert sloop("compare", "full", "static", "--study", "acme", "--outputs", str(outputs), "--format", "csv") == 0
    compared = dict(zip(*csv.reader(capsys.readouterr().out.splitlines()), strict=True))
    low, high = compared["95% interval"].split(" to ")
    assert full["call accuracy - static"].lstrip("'") == f"{compared['A - B']} [{low}, {high}]"
    assert any(row[0] == "always refuse" for row in rows)


def test_few_seeds_are_told() -> None:
    found = over_seeds([score(0.5), score(0.3)])
    assert found is not None
    assert any("Few seeds (2)" in note for note in of_seeds([found]))


def test_latex_says_what_must_be_known_above_the_table(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    latex = table(capsys, outputs, "--format", "latex", "--variant", "full")
    assert latex.startswith("% Per cent")
    assert r"\toprule" in latex
    assert "static" not in latex


@pytest.mark.skipif(
    not shutil.which("pdflatex"), reason="needs LaTeX: apt-get install texlive-latex-base texlive-latex-recommended"
)
def test_latex_sets_the_table_on_a_page(outputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = table(capsys, outputs, "--format", "latex")
    odd = as_latex(
        ["what", "n"], [[text, "-1 [-2, +3]"] for text in ("$x$ & 50%", "[2pt]", "*", r"\input{x}", "a_b^c~#")]
    )
    page = "\n".join([r"\footnotesize\setlength{\tabcolsep}{2pt}\noindent", said, "", odd])
    before = r"\documentclass{article}\usepackage{booktabs}\textwidth=397pt\begin{document}"
    (tmp_path / "page.tex").write_text(f"{before}\n{page}\n\\end{{document}}\n")
    words = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "page.tex"]
    made = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stdout
    assert "Overfull" not in made.stdout, "the columns of a paper are no wider"
    assert (tmp_path / "page.pdf").read_bytes().startswith(b"%PDF")


def test_mlflow_gives_the_same_table_as_the_disk(
    outputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fresh_database(tmp_path / "mlruns")
    assert sloop("runs", "sync", "--outputs", str(outputs), "--mlruns", str(tmp_path / "mlruns")) == 0
    words = ("--all-rounds", "--format", "latex")
    disk = table(capsys, outputs, *words)
    logged = table(capsys, tmp_path, *words, "--from", "mlflow", "--mlruns", str(tmp_path / "mlruns"))
    assert logged == disk
    assert disk.count(r"acme, full & ") == 2


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--metric", "wit"), "--metric wit: not measured"),
        (("--benchmark", "bfcl"), "benchmark bfcl: the loops"),
        (("--against", "none"), "--against none: no such variant; there are: full, static"),
        (("--variant", "none"), "variants there: ['full', 'static']"),
        (("--from", "mlflow", "--mlruns", "nowhere"), "no tracking database"),
    ],
)
def test_what_is_not_there_is_said(
    words: tuple[str, ...], told: str, outputs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sloop("table", "acme", "--outputs", str(outputs), "--sweep", *words) == 2
    assert told in capsys.readouterr().err


def test_what_chooses_among_a_sweep_is_refused_without_it(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert sloop("table", "acme", "--outputs", str(outputs), "--format", "latex") == 2
    assert "give --sweep as well" in capsys.readouterr().err


@pytest.mark.parametrize("form", ["pdf", "svg"])
def test_a_figure_has_the_same_bytes_again(form: str, outputs: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        words = ("--out", str(tmp_path / name), "--format", form, "--metric", "call_accuracy")
        assert sloop("plot", "acme", "--outputs", str(outputs), *words) == 0
    (one,), (two,) = ((tmp_path / name).iterdir() for name in ("one", "two"))
    assert one.name == f"dev_call_accuracy.{form}"
    assert one.read_bytes() == two.read_bytes()
    if form == "pdf":
        assert b"/Subtype /Type3" not in one.read_bytes()
        assert b"/FontFile2" in one.read_bytes()
        assert not re.search(rb"/(CreationDate|Producer)", one.read_bytes())


def test_an_arm_that_trains_nothing_stands_beside_the_last_round_of_others(
    outputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(outputs / "acme", tmp_path / "acme")
    acme_loop(tmp_path / "acme" / "few0", "variant=few_shot", "student.skill=0.2")
    head, *rows = csv.reader(table(capsys, tmp_path, "--format", "csv").splitlines())
    shown = {row[0]: dict(zip(head, row, strict=True)) for row in rows}
    assert {name: row["round"] for name, row in shown.items() if name.startswith("acme")} == {
        "acme, few_shot": "0",
        "acme, full": "2",
        "acme, static": "2",
    }
    capsys.readouterr()
    words = ("few_shot@0", "static@2", "--study", "acme", "--outputs", str(tmp_path), "--format", "csv")
    assert sloop("compare", *words) == 0
    compared = dict(zip(*csv.reader(capsys.readouterr().out.splitlines()), strict=True))
    assert shown["acme, few_shot"]["call accuracy - static"].lstrip("'").startswith(f"{compared['A - B']} [")


def test_what_was_not_measured_of_an_arm_is_told_and_the_rest_is_drawn(
    outputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shutil.copytree(outputs / "acme", tmp_path / "acme")
    for path in folder.glob("full*/round_*/round.json"):
        unmeasured(path, "eval/dev/tool_accuracy")
    assert sloop("plot", "acme", "--outputs", str(tmp_path), "--format", "svg", "--metric", "tool_accuracy") == 0
    assert "tool_accuracy was not measured of, and is not drawn for: acme, full" in capsys.readouterr().out
    assert [path.name for path in (folder / "plots").iterdir()] == ["dev_tool_accuracy.svg"]
    for path in folder.glob("static*/round_*/round.json"):
        unmeasured(path, "eval/dev/tool_accuracy")
    shutil.rmtree(folder / "plots")
    assert sloop("plot", "acme", "--outputs", str(tmp_path), "--metric", "tool_accuracy") == 0
    assert not (folder / "plots").exists()


def unmeasured(path: Path, name: str) -> None:
    """Take a score's value out of a round's record, as of a metric that asks nothing."""
    plain = json.loads(path.read_text())
    for row in plain["metrics"]:
        if row["name"] == name:
            row |= {"value": None, "low": None, "high": None, "n": 0}
    path.write_text(json.dumps(plain))
