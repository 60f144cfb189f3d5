"""Runs as they stand on disk: found by name, id or folder, and laid out as rounds x metrics."""

from __future__ import annotations

import pytest
from running import round_plain, run_plain

import sloop
from sloop.records import ROUND_FILE, RUN_FILE, Grade, Score, UserError
from sloop.runs.find import find_round, find_run, find_runs, rounds
from sloop.runs.read import Run, metric_name
from sloop.stages.evaluate import GRADES
from sloop.store import write_json


def _write(root, name, *, rounds=0, variant="full", **more):
    record = run_plain(name)
    record["config"]["variant"]["name"] = variant
    write_json(root / name / RUN_FILE, {**record, **more})
    for number in range(1, rounds + 1):
        metrics = [
            Score(name="acc", value=number / 10, n=5, low=0.0, high=1.0),
            Score(name="acc", value=None, n=0, slice="single"),
        ]
        write_json(root / name / f"round_{number}" / ROUND_FILE, round_plain(number, metrics))
    return root / name


def test_runs_are_found_by_path_below_a_folder(tmp_path):
    for name in ("b", "a"):
        _write(tmp_path / "study", name)
    assert [run.name for run in find_runs(tmp_path)] == ["a", "b"]


def test_a_run_is_found_by_folder_and_by_the_beginning_of_its_name_or_id(tmp_path):
    folder = _write(tmp_path, "tiny-full-s0", id="abc123")
    assert find_run(tmp_path, str(folder)).folder == folder
    assert find_run(tmp_path, "tiny-f").folder == folder
    assert find_run(tmp_path, "abc").folder == folder


def test_a_run_is_found_by_its_study_and_by_its_mlflow_id(tmp_path):
    folder = _write(tmp_path, "tiny-full-s0", study="demo", mlflow={"run_id": "f00d", "experiment_id": "1"})
    _write(tmp_path, "tiny-static-s0", study="demo")
    for what in ("demo/tiny-f", "f00", "f00d"):
        assert find_run(tmp_path, what).folder == folder


def test_a_whole_name_wins_over_the_beginning_of_another(tmp_path):
    folder = _write(tmp_path, "tiny")
    _write(tmp_path, "tiny-wide")
    assert find_run(tmp_path, "tiny").folder == folder


@pytest.mark.parametrize(
    "what",
    [
        "variant=full,seed=1",
        "seed=1,kind=loop,variant=full",
        "name=b",
        "student=tiny,variant=full,seed=1,status=KILLED",
    ],
)
def test_a_run_is_found_by_its_fields(what, tmp_path):
    _write(tmp_path, "a", seed=0, status="KILLED")
    folder = _write(tmp_path, "b", seed=1, status="KILLED")
    _write(tmp_path, "c", seed=1, variant="static", status="KILLED")
    assert find_run(tmp_path, what).folder == folder


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("variant", "full"),
        ("student", "tiny"),
        ("benchmark", "bench"),
        ("seed", "0"),
        ("loop.rounds", "3"),
        ("preflight", "true"),
        ("loop", None),
        ("loop.rounds.more", None),
        ("nothing", None),
    ],
)
def test_fields_are_those_of_the_record_and_keys_of_the_configuration(field, value, tmp_path):
    assert find_run(tmp_path, str(_write(tmp_path, "a"))).field(field) == value


def test_a_search_that_several_runs_meet_is_refused(tmp_path):
    for seed in (0, 1):
        _write(tmp_path, f"a{seed}", seed=seed)
    with pytest.raises(UserError, match=r"several runs match 'variant=full' .* Name one of: s/a0, s/a1\."):
        find_run(tmp_path, "variant=full")
    with pytest.raises(UserError, match="no run matches 'variant=other'"):
        find_run(tmp_path, "variant=other")


@pytest.mark.parametrize("what", ["variety=full", "seed=0,full"])
def test_a_search_by_what_is_no_field_names_the_fields(what, tmp_path):
    _write(tmp_path, "a")
    with pytest.raises(UserError, match=r"is no field=value .* Fields: variant, student, seed, study"):
        find_run(tmp_path, what)


@pytest.mark.parametrize("what", ["a@2", "s/a@2", "variant=full@2"])
def test_a_round_is_named_after_an_at(what, tmp_path):
    folder = _write(tmp_path, "a", rounds=2)
    run, number = find_round(tmp_path, what)
    assert (run.folder, number) == (folder, 2)
    assert find_round(tmp_path, "a")[1] is None


def test_a_folder_with_an_at_in_its_name_is_a_folder(tmp_path):
    assert find_round(tmp_path, str(_write(tmp_path, "a@2", rounds=3)))[1] is None


def test_a_round_that_is_not_there_is_refused(tmp_path):
    _write(tmp_path, "a", rounds=2)
    _write(tmp_path, "eval-b", kind="eval")
    with pytest.raises(UserError, match=r"run a has no complete round 3; it has: \[1, 2\]"):
        find_round(tmp_path, "a@3")
    with pytest.raises(UserError, match=r"run eval-b is no loop and has no rounds: leave @1 out"):
        find_round(tmp_path, "eval-b@1")


def test_a_name_of_several_runs_is_refused_with_their_names(tmp_path):
    for name in ("tiny-a", "tiny-b", "wide"):
        _write(tmp_path, name)
    with pytest.raises(UserError, match=r"several runs match 'tiny' .* Name one of: s/tiny-a, s/tiny-b\."):
        find_run(tmp_path, "tiny")


def test_an_unknown_run_is_refused_with_the_names_of_all(tmp_path):
    _write(tmp_path, "tiny-a")
    with pytest.raises(UserError, match=r"no run matches 'x' .* Name one of: s/tiny-a\."):
        find_run(tmp_path, "x")


def test_where_there_are_no_runs_it_is_said_how_to_make_one(tmp_path):
    with pytest.raises(UserError, match=r"no run matches 'x': there are none under .* sloop loop experiment=smoke"):
        find_run(tmp_path, "x")


def test_a_stage_that_grades_nothing_has_no_benchmark(tmp_path):
    _write(tmp_path, "gen-a", kind="gen")
    run = find_run(tmp_path, "gen-a")
    with pytest.raises(UserError, match="run gen-a graded nothing: give a loop, or a run of sloop eval"):
        run.benchmark()
    with pytest.raises(UserError, match=r"run gen-a has no grades of bench; it has: none\. If it was interrupted"):
        run.grades("bench", 0)


def test_rounds_come_in_the_order_of_their_numbers(tmp_path):
    (run,) = find_runs(_write(tmp_path, "a", rounds=11))
    assert [content.round for content in run.rounds] == list(range(1, 12))


def test_a_round_that_is_not_complete_is_not_shown(tmp_path):
    folder = _write(tmp_path, "a", rounds=1)
    (folder / "round_2" / "train").mkdir(parents=True)
    assert len(find_runs(tmp_path)[0].rounds) == 1


def test_the_table_has_one_row_a_round_and_a_column_a_metric(tmp_path):
    _write(tmp_path, "a", seed=0, rounds=2)
    _write(tmp_path, "b", seed=1, rounds=1)
    table = rounds(tmp_path)
    assert table[["run", "study", "student", "variant", "seed", "round"]].to_numpy().tolist() == [
        ["a", "s", "tiny", "full", 0, 1],
        ["a", "s", "tiny", "full", 0, 2],
        ["b", "s", "tiny", "full", 1, 1],
    ]
    assert table["acc"].tolist() == [0.1, 0.2, 0.1]
    assert table["acc:high"].tolist() == [1.0, 1.0, 1.0]
    assert table["acc/single"].isna().all()
    assert table["acc/single:n"].tolist() == [0, 0, 0]


def test_no_runs_give_an_empty_table(tmp_path):
    assert rounds(tmp_path).empty


def test_the_table_is_the_packages_own(tmp_path):
    assert sloop.rounds is rounds


def test_a_stage_used_alone_has_no_variant(tmp_path):
    assert find_runs(_write(tmp_path, "gen-s0", kind="gen"))[0].variant == ""


def test_missing_grades_are_named_with_those_that_there_are(tmp_path):
    folder = _write(tmp_path, "a", rounds=1)
    path = folder / "round_1" / "evaluate" / "bench" / GRADES
    path.parent.mkdir(parents=True)
    path.write_text("")
    run = find_run(tmp_path, "a")
    assert isinstance(run, Run)
    with pytest.raises(UserError, match="its evaluation on bench is not finished"):
        run.grades("bench", 1)
    (path.parent / "stage.json").write_text("{}")
    assert dict[str, Grade](run.grades("bench", 1)) == {}
    with pytest.raises(UserError, match=r"no grades of other in round 1; it has: round_1/evaluate/bench\. If it was"):
        run.grades("other", 1)


def test_a_metric_of_a_slice_has_its_name_in_it():
    assert metric_name(Score(name="acc", value=None, n=0)) == "acc"
    assert metric_name(Score(name="acc", value=None, n=0, slice="chat")) == "acc/chat"
