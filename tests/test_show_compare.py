"""Comparisons, as a paper or a person wants them."""

from __future__ import annotations

import csv
import io
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from running import ALONE, acme, cells, fresh_database, graded, rounds, run_plain, sloop

from sloop.records import Grade
from sloop.runs.track import connect
from sloop.show.compare import as_csv, as_latex, as_markdown, outcome
from sloop.store import read_json, read_rows, write_json, write_rows


def _full(outputs: Path, number: int) -> dict[str, bool | None]:
    return graded(outputs / "acme" / "full0", number)


HEAD, LINES = ["what", "A - B"], [["seen_values", "+1.5"], ["50% & a|b", "-1.0 to +2.0"]]


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


def test_compare_takes_two_rounds_of_one_run(outputs: Path, wide: None, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--benchmark", "dev", "--outputs", str(outputs), "--format", "csv")
    assert sloop("compare", "variant=full,seed=0@2", "acme/acme-full-s0@1", *words) == 0
    (row,) = csv.DictReader(io.StringIO(capsys.readouterr().out))
    share = [sum(map(bool, part.values())) / len(part) * 100 for part in (_full(outputs, 2), _full(outputs, 1))]
    assert (row["round"], row["A"], row["B"]) == ("2, 1", f"{share[0]:.1f}", f"{share[1]:.1f}")


def test_a_round_that_is_not_named_is_the_last_that_both_have(
    outputs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--benchmark", "dev", "--outputs", str(outputs), "--format", "csv")
    assert sloop("compare", "variant=full,seed=0@1", "variant=static,seed=0", *words) == 0
    (row,) = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert row["round"] == "1, 2"


def test_compare_takes_searches_over_the_seeds_of_a_study(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--study", "acme", "--benchmark", "dev", "--outputs", str(outputs), "--format", "csv")
    told = []
    for a, b in (("full", "static"), ("variant=full,student.skill=0.4", "variant=static"), ("full@2", "full@1")):
        assert sloop("compare", a, b, *words) == 0
        told.append(next(csv.DictReader(io.StringIO(capsys.readouterr().out))))
    assert told[0] == told[1]
    assert (told[2]["what"], told[2]["round"]) == ("acme, 2 seeds", "2, 1")


def test_a_comparison_is_drawn_and_logged_where_the_reader_has_the_run(
    tmp_path: Path, outputs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = [shutil.copytree(outputs / "acme" / name, tmp_path / "outputs" / name) for name in ("full0", "static0")]
    fresh_database(tmp_path / "mlruns")
    tracker = connect(None, tmp_path / "mlruns", "acme")
    run_id = tracker.project(folders[0])
    path = tmp_path / "drawn" / "rounds.html"
    words = ("--format", "csv", "--figure", str(path), "--mlruns", str(tmp_path / "mlruns"))
    capsys.readouterr()
    assert sloop("compare", *map(str, folders), "--benchmark", "dev", *words) == 0
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 2, "the figure is told of beside the table, not in it"
    assert err.count("logged to MLflow") == 1
    assert str(path) in err
    assert [item.path for item in tracker.client.list_artifacts(run_id, "compare")] == ["compare/rounds.html"]
    assert f"A = {folders[0]}" in path.read_text()


def test_a_drawn_comparison_of_many_lines_says_the_adjusted_p(
    tmp_path: Path, outputs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = [str(outputs / "acme" / name) for name in ("full0", "static0")]
    words = ("--benchmark", "dev", "--slices", "--format", "csv", "--figure", str(tmp_path / "x.html"))
    assert sloop("compare", *folders, *words) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert any(row["p"] != row["p (Holm)"] for row in rows)
    drawn = (tmp_path / "x.html").read_text()
    assert all(f"p (Holm) = {row['p (Holm)']}" in drawn for row in rows)


def test_a_run_that_is_under_way_is_left_to_bring_mlflow_up_to_date_itself(tmp_path: Path, outputs: Path) -> None:
    folder = shutil.copytree(outputs / "acme" / "full0", tmp_path / "full0")
    fresh_database(tmp_path / "mlruns")
    tracker = connect(None, tmp_path / "mlruns", "acme")
    run_id = tracker.project(folder)
    record = read_json(folder / "run.json") | {"status": "RUNNING", "finished": None}
    record["mlflow"]["rounds"] = {}
    write_json(folder / "run.json", record)
    words = ("--figure", str(tmp_path / "x.html"), "--mlruns", str(tmp_path / "mlruns"))
    assert sloop("compare", f"{folder}", f"{folder}", "--benchmark", "dev", *words) == 0
    assert [item.path for item in tracker.client.list_artifacts(run_id, "compare")] == ["compare/x.html"]
    assert read_json(folder / "run.json") == record


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


def test_compare_refuses_runs_that_were_asked_different_data(
    outputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = [shutil.copytree(outputs / "acme" / name, tmp_path / "acme" / name) for name in ("full0", "static0")]
    stage = folders[1] / "round_2" / "evaluate" / "dev" / "stage.json"
    content = read_json(stage)
    content["parts"]["data"] = ["f" * 64]
    write_json(stage, content)
    for words in (map(str, folders), ("full", "static", "--study", "acme")):
        assert sloop("compare", *words, "--outputs", str(tmp_path)) == 2
        message = capsys.readouterr().err
        assert "different data under the name dev" in message
        assert f"sha256 {'f' * 16}" in message
    assert sloop("compare", *map(str, folders), "--round", "1", "--outputs", str(tmp_path)) == 0


def test_compare_takes_several_runs_and_adjusts_for_their_number(
    outputs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [str(outputs / "acme" / name) for name in ("full0", "static0", "full1")]
    assert sloop("compare", *names, "--benchmark", "dev", "--outputs", str(outputs), "--format", "csv") == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["what"].split(": ")[0] for row in rows] == [f"{names[0]} - {other}" for other in names[1:]]
    raw, corrected = ([float(row[name]) for row in rows] for name in ("p", "p (Holm)"))
    smaller, larger = sorted(raw)
    both = {smaller: min(1.0, 2 * smaller), larger: min(1.0, max(larger, 2 * smaller))}
    assert corrected == pytest.approx([both[p] for p in raw], rel=0.05)


def test_compare_goes_slice_by_slice(outputs: Path, wide: None, capsys: pytest.CaptureFixture[str]) -> None:
    folders = [str(outputs / "acme" / name) for name in ("full0", "static0")]
    words = ("--benchmark", "dev", "--outputs", str(outputs), "--slices", "--format", "csv")
    assert sloop("compare", *folders, *words) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    counts = {row["what"]: int(row["n"]) for row in rows}
    grades = read_rows(outputs / "acme" / "full0" / "round_2" / "evaluate" / "dev" / "grades.jsonl", Grade)
    slices = [grade.slice for grade in grades]
    assert counts == {"samples, McNemar exact": len(slices), **{part: slices.count(part) for part in set(slices)}}


def test_compare_leaves_out_slices_that_a_metric_does_not_ask(
    outputs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = [str(outputs / "acme" / name) for name in ("full0", "static0")]
    words = ("--benchmark", "dev", "--outputs", str(outputs), "--slices", "--format", "csv")
    assert sloop("compare", *folders, *words, "--metric", "no_call_accuracy") == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert "seen" not in {row["what"] for row in rows}
    assert len(rows) > 1


def test_compare_counts_the_samples_of_a_cluster_as_alike(
    outputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = [shutil.copytree(outputs / "acme" / name, tmp_path / name) for name in ("full0", "static0")]
    rows = []
    for clusters in (None, 12):
        for folder in folders if clusters else []:
            path = folder / "round_2" / "evaluate" / "dev" / "grades.jsonl"
            grades = list(read_rows(path, Grade))
            write_rows(path, (g.model_copy(update={"cluster": str(k % 12)}) for k, g in enumerate(grades)))
        assert sloop("compare", *map(str, folders), "--benchmark", "dev", "--format", "csv") == 0
        rows += csv.DictReader(io.StringIO(capsys.readouterr().out))
    alone, together = rows
    assert (alone["A - B"], alone["n"]) == (together["A - B"], together["n"])
    assert float(together["p"]) > float(alone["p"]), "McNemar's test is on 12 clusters at most"


def _unanswered(folder: Path, chosen: Callable[[Grade], bool]) -> list[Grade]:
    """Make as if the student had given no answer to some questions of the second round; returns what they were."""
    path = folder / "round_2" / "evaluate" / "dev" / "grades.jsonl"
    grades = list(read_rows(path, Grade))
    silent = {"correct": None, "error": "model"}
    write_rows(path, (grade.model_copy(update=silent) if chosen(grade) else grade for grade in grades))
    return [grade for grade in grades if chosen(grade)]


def test_compare_tells_what_only_one_side_answered_and_leaves_out_a_slice_without_pairs(
    outputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = [shutil.copytree(outputs / "acme" / name, tmp_path / name) for name in ("full0", "static0")]
    lost = _unanswered(folders[1], lambda grade: grade.slice == "seen")
    assert sloop("compare", *map(str, folders), "--benchmark", "dev", "--slices", "--format", "csv") == 0
    out, err = capsys.readouterr()
    rows = {row["what"]: row for row in csv.DictReader(io.StringIO(out))}
    assert "seen" not in rows
    assert len(rows) > 2
    assert int(rows["samples, McNemar exact"]["n"]) == len(_full(outputs, 2)) - len(lost)
    assert f"seen: {len(lost)} samples are left out, as only A or only B has a result" in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--study", "nope"), "no loops under"),
        (("--study", "acme", "--student", "nobody"), "study acme has no loops of nobody; its students: ['acme']"),
        (("--student", "acme"), "give --study as well"),
        (("--round", "-1"), "give a whole number from 0"),
        (("--figure", "{outputs}/acme/full0/run.json/x.html"), "it cannot be written"),
    ],
)
def test_compare_says_what_is_wrong_with_an_option(
    words: tuple[str, ...], said: str, outputs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ab = ("full", "static") if "--study" in words else (str(outputs / "acme" / "full0"),) * 2
    given = (word.format(outputs=outputs) for word in words)
    assert sloop("compare", *ab, "--benchmark", "dev", "--outputs", str(outputs), *given) == 2
    assert said in capsys.readouterr().err


def test_the_slices_of_a_study_say_whose_they_are(
    outputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(outputs / "acme", tmp_path / "acme")
    for name in ("full", "static"):
        folder = shutil.copytree(outputs / "acme" / f"{name}0", tmp_path / "acme" / f"other-{name}0")
        record = read_json(folder / "run.json")
        record["config"]["student"]["name"] = "other"
        write_json(folder / "run.json", record)
    words = ("--study", "acme", "--outputs", str(tmp_path), "--slices", "--format", "csv")
    assert sloop("compare", "full", "static", *words, "--benchmark", "dev") == 0
    said = [row["what"] for row in csv.DictReader(io.StringIO(capsys.readouterr().out))]
    assert len(said) == len(set(said)) > 4
    whose = {
        student: {what.split(", ")[1] for what in said if what.startswith(student)} for student in ("acme", "other")
    }
    assert whose["acme"] - {"2 seeds"} == whose["other"] - {"1 seeds"} != set()


def test_compare_takes_evaluations_alone(tmp_path: Path, wide: None, capsys: pytest.CaptureFixture[str]) -> None:
    for name, skill in (("a", 0.9), ("b", 0.1)):
        start = tmp_path / f"start-{name}"
        words = (*acme(), ALONE, f"student.skill={skill}")
        assert sloop("gen", *words, "num_samples=30", f"output_dir={start}") == 0
        checkpoint = tmp_path / f"train-{name}"
        assert sloop("train", *words, f"data={start / 'train.jsonl'}", "steps=3", f"output_dir={checkpoint}") == 0
        path = f"+student.path={checkpoint / 'checkpoint'}"
        assert sloop("eval", *words, path, f"output_dir={tmp_path / 'runs' / name}") == 0
    capsys.readouterr()
    assert sloop("compare", *(str(tmp_path / "runs" / name) for name in "ab")) == 0
    row = cells(capsys.readouterr().out, "samples")
    assert row[1] == "-"
    assert float(row[2]) > float(row[3])


def drawn(folder: Path, trials: int, right: float) -> Path:
    """A run folder with the grades of some trials, each right with a chance that falls from sample to sample."""
    grades = [
        Grade(
            sample_id=f"s{n}", cluster=f"s{n}", slice="", calls_expected=True, attempted=True, parsed=True,
            schema_valid=True, tool_correct=True, argument_pairs=(0, 0), error=None, reason=None, trial=trial,
            correct=(n * 7 + trial * 3) % 10 < 10 * right,
        )
        for n in range(40)
        for trial in range(trials)
    ]  # fmt: skip
    write_rows(folder / "grades.jsonl", grades)
    write_json(folder / "run.json", run_plain(folder.name, kind="eval"))
    stage = {"key": "k", "parts": {"stage": "evaluate", "data": ["the same"]}, "files": {}, "summary": {}}
    write_json(folder / "stage.json", stage)
    return folder


def test_trials_are_compared_as_shares_of_each_sample(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [str(drawn(tmp_path / name, 4, right)) for name, right in (("a", 0.8), ("b", 0.4))]
    assert sloop("compare", *runs, "--format", "csv") == 0
    (row,) = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert (row["A"], row["B"], row["n"]) == ("80.0", "40.0", "160")
    gains = {grade.sample_id for grade in read_rows(tmp_path / "a" / "grades.jsonl", Grade) if grade.correct}
    assert float(row["p"]) == pytest.approx(2 * 0.5 ** len(gains), rel=0.05)  # a sample counts once in the test


def test_runs_with_other_numbers_of_trials_are_not_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [str(drawn(tmp_path / name, trials, 0.5)) for name, trials in (("a", 1), ("b", 3))]
    assert sloop("compare", *runs) == 2
    assert "run a has 1 trials of every sample and run b has 3" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("write", "text"),
    [
        (as_markdown, "| what | A - B |\n| --- | ---: |\n| seen_values | +1.5 |\n| 50% & a\\|b | -1.0 to +2.0 |\n"),
        (
            as_latex,
            "\\begin{tabular}{@{}lr@{}}\n\\toprule\nwhat & A $-$ B \\\\\n\\midrule\nseen\\_values & $+1.5$ \\\\\n"
            "50\\% \\& a\\textbar{}b & $-$1.0 to +2.0 \\\\\n\\bottomrule\n\\end{tabular}\n",
        ),
        (as_csv, "what,A - B\nseen_values,+1.5\n50% & a|b,-1.0 to +2.0\n"),
    ],
)
def test_a_table_is_written_in_each_form(write: object, text: str) -> None:
    assert callable(write)
    assert write(HEAD, LINES) == text


def test_an_outcome_is_what_the_metric_counts(outputs: Path) -> None:
    folder = outputs / "acme" / "full0"
    grades = list(read_rows(folder / "round_2" / "evaluate" / "dev" / "grades.jsonl", Grade))
    for metric in ("call_accuracy", "tool_accuracy", "no_call_accuracy", "format_correctness"):
        asked = [right for grade in grades if (right := outcome(metric, grade)) is not None]
        score = next(row for row in rounds(folder)[1]["metrics"] if row["name"] == f"eval/dev/{metric}")
        assert (sum(asked), len(asked)) == (round(score["value"] * score["n"]), score["n"])


# --- what stands beside a difference ---


def test_a_comparison_says_what_the_sides_differ_in_and_what_constant_answers_get(
    outputs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = [str(outputs / "acme" / name) for name in ("full0", "static0")]
    assert sloop("compare", *folders, "--benchmark", "dev", "--format", "csv") == 0
    told = capsys.readouterr().err
    (differ,) = (line for line in told.splitlines() if line.startswith("differ in: "))
    assert "model (" in differ
    assert "decode" not in differ
    assert "data" not in differ
    refused = read_json(outputs / "acme" / "full0" / "round_2" / "round.json")["metrics"]
    value = next(row["value"] for row in refused if row["name"] == "eval/dev/baseline/always_refuse/call_accuracy")
    assert f"on the same samples: always refuse {value * 100:.1f}, most frequent tool " in told


def test_a_run_differs_from_itself_in_nothing(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(outputs / "acme" / "full0")
    assert sloop("compare", folder, folder, "--benchmark", "dev", "--format", "csv") == 0
    assert "differ in" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("place", "changes", "said"),
    [
        ("parts", {"decode": {"temperature": 0.7}}, "decode.temperature (not recorded, 0.7)"),
        ("parts", {"code": "f" * 64}, "code (not recorded, ffffffff)"),
        ("parts", {"student": {"answer_format": "hermes"}}, "student.answer_format (not recorded, hermes)"),
        ("identity", {"parser": "llama3"}, "parser (not recorded, llama3)"),
        ("identity", {"template": "0123456789abcdef"}, "template (not recorded, 01234567)"),
        ("identity", {"prompt": "a" * 16, "tools": "b" * 16}, "prompt (not recorded, aaaaaaaa); tools (not recorded"),
        ("versions", {"transformers": "5.3.0"}, "version of transformers (not recorded, 5.3.0)"),
        (
            "contamination",
            {"samples": 40, "sample": 3, "request": 0, "near": 1},
            "not measured, 4 of 40 samples stand in",
        ),
    ],
)
def test_whatever_a_score_depends_on_is_told_where_it_differs(
    place: str, changes: dict[str, Any], said: str, outputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b = (drawn(tmp_path / name, 1, 0.5) for name in "ab")
    stage, record = read_json(b / "stage.json"), read_json(b / "run.json")
    if place == "parts":
        stage["parts"] |= changes
    elif place == "identity":
        stage["summary"]["identity"] = changes
    elif place == "versions":
        record["versions"] = changes
    else:
        known = rounds(outputs / "acme" / "full0")[0]["contamination"][0]
        record["contamination"] = [{**known, "benchmark": "bench", "counts": {"": changes}}]
    write_json(b / "stage.json", stage)
    write_json(b / "run.json", record)
    assert sloop("compare", str(a), str(b), "--format", "csv") == 0
    assert said in capsys.readouterr().err


def test_a_student_that_is_shown_examples_differs_in_them_and_one_of_before_not_in_settings_that_came_later(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {"_target_": "acme.Student", "skill": 1.0}
    shown = {"_target_": "acme.Shown", "student": {**before, "chat_template": "own"}, "turns": ["a", "b"]}
    folders = [drawn(tmp_path / name, 1, 0.5) for name in "ab"]
    for folder, student in zip(folders, (before, shown), strict=True):
        stage = read_json(folder / "stage.json")
        stage["parts"]["student"] = student
        write_json(folder / "stage.json", stage)
    assert sloop("compare", *map(str, folders), "--format", "csv") == 0
    assert "differ in: student.turns (not recorded, ['a', 'b'])\n" in capsys.readouterr().err


def test_harmonic_means_are_compared_and_slices_of_one_kind_left_out(
    outputs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = [outputs / "acme" / name for name in ("full0", "static0")]
    words = ("--benchmark", "dev", "--metric", "harmonic_accuracy", "--slices", "--format", "csv")
    assert sloop("compare", *map(str, folders), *words) == 0
    (row,) = csv.DictReader(io.StringIO(capsys.readouterr().out))
    for side, folder in zip("AB", folders, strict=True):
        score = next(row for row in rounds(folder)[1]["metrics"] if row["name"] == "eval/dev/harmonic_accuracy")
        assert row[side] == f"{score['value'] * 100:.1f}"
    over = ("--study", "acme", "--benchmark", "dev", "--outputs", str(outputs), "--metric", "harmonic_accuracy")
    assert sloop("compare", "full", "static", *over, "--format", "csv") == 0
    (row,) = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert row["what"] == "acme, 2 seeds"


def test_the_smallest_difference_that_n_shows_stands_beside_the_interval(
    outputs: Path, wide: None, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = [str(outputs / "acme" / name) for name in ("full0", "static0")]
    assert sloop("compare", *folders, "--benchmark", "dev") == 0
    out = capsys.readouterr().out
    row = cells(out, "samples")
    low, high = map(float, row[5].split(" to "))
    assert float(row[6]) == pytest.approx((high - low) / 2 / 1.96 * 2.8016, abs=0.15)
    assert "shown from: the smallest true difference that these samples show in 80 of 100 cases" in out


def test_trials_say_how_often_answers_flip(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, value in (("a", 0.25), ("b", 0.5)):
        folder = drawn(tmp_path / name, 3, 0.5)
        score = {"name": "eval/bench/flip_rate", "value": value, "n": 40, "low": None, "high": None, "slice": ""}
        write_json(folder / "run.json", read_json(folder / "run.json") | {"metrics": [score]})
    assert sloop("compare", str(tmp_path / "a"), str(tmp_path / "b"), "--format", "csv") == 0
    assert "one is right and one wrong, per cent: A 25.0, B 50.0" in capsys.readouterr().err


def test_the_samples_that_one_side_alone_has_right_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [str(drawn(tmp_path / name, 1, right)) for name, right in (("a", 0.8), ("b", 0.4))]
    assert sloop("compare", *runs, "--format", "csv", "--samples", "2") == 0
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("right in")]
    a, b = ({g.sample_id: g.correct for g in read_rows(Path(run) / "grades.jsonl", Grade)} for run in runs)
    alone = [key for key in a if a[key] and not b[key]]
    assert told == [*(f"right in A alone: {key}" for key in alone[:2]), f"right in A alone: {len(alone) - 2} more"]
