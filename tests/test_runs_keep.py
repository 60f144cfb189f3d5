"""What becomes of a run's record while it runs and when it ends."""

from __future__ import annotations

from pathlib import Path

import pytest
from running import run_plain

from sloop.records import InputRecord, OutOfBudget, RunRecord, Score, UserError
from sloop.runs.files import read_run, write_run
from sloop.runs.keep import is_finished, keeping
from sloop.store import write_json

SCORE = Score(name="acc", value=0.5, n=2)


def _begun(**changes: object) -> RunRecord:
    record = run_plain("a", kind="eval", status="RUNNING", finished=None, **changes)
    record["config"]["prices"] = {}
    return RunRecord.read(record, "a")


def _finish(folder: Path, failed: int = 0) -> None:
    summary = {"failed": {"answers": failed}}
    write_json(folder / "stage.json", {"key": "k", "parts": {"stage": "eval"}, "files": {}, "summary": summary})


def _kept(folder: Path, error: BaseException | None = None, failed: int = 0, **owed: int) -> list[Path]:
    """Keep a run that writes something; returns what was projected."""
    told: list[Path] = []
    with keeping(folder, _begun(), owed=owed, project=told.append) as kept:
        (folder / "grades.jsonl").write_text("something\n")
        if error:
            raise error
        _finish(folder, failed)
        kept.inputs = [InputRecord(name="data", path="data.jsonl", sha256="0")]
        kept.metrics = [SCORE]
    return told


def test_a_run_that_ends_is_finished_with_what_was_said(tmp_path: Path) -> None:
    assert _kept(tmp_path / "run") == [tmp_path / "run"]
    record = read_run(tmp_path / "run")
    assert (record.status, record.metrics, record.inputs[0].name) == ("FINISHED", (SCORE,), "data")
    assert record.finished
    assert list(record.stages) == ["."]
    assert is_finished(tmp_path / "run")


@pytest.mark.parametrize(
    ("error", "status"),
    [(KeyboardInterrupt(), "KILLED"), (OutOfBudget("spent"), "KILLED"), (KeyError("x"), "FAILED")],
)
def test_a_run_that_breaks_off_says_how_and_can_be_resumed(error: BaseException, status: str, tmp_path: Path) -> None:
    with pytest.raises(type(error)):
        _kept(tmp_path / "run", error)
    first = read_run(tmp_path / "run")
    assert first.status == status
    _kept(tmp_path / "run")
    record = read_run(tmp_path / "run")
    assert (record.status, record.resumed, record.began) == ("FINISHED", 1, first.began)


def test_a_run_that_goes_on_on_another_processor_remembers_the_first(tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        _kept(tmp_path / "run", KeyError("x"))
    broken = read_run(tmp_path / "run")
    there = broken.machine.model_copy(update={"model": "another"})
    write_run(tmp_path / "run", broken.model_copy(update={"machine": there}))
    _kept(tmp_path / "run")
    assert [machine.model for machine in read_run(tmp_path / "run").elsewhere] == ["another"]


def test_a_mistake_that_shows_before_anything_is_made_leaves_nothing_behind(tmp_path: Path) -> None:
    with (
        pytest.raises(UserError, match="mine"),
        keeping(tmp_path / "deep" / "run", _begun(), owed={}, project=lambda _: None),
    ):
        raise UserError("mine")
    assert list(tmp_path.iterdir()) == []


def test_another_look_at_a_finished_run_leaves_its_times_and_status(tmp_path: Path) -> None:
    _kept(tmp_path / "run")
    before = read_run(tmp_path / "run")
    with pytest.raises(KeyError), keeping(tmp_path / "run", _begun(), owed={}, project=lambda _: None):
        raise KeyError("x")
    assert read_run(tmp_path / "run") == before


@pytest.mark.parametrize("error", [UserError("other data"), KeyboardInterrupt()])
def test_what_is_refused_or_stopped_changes_nothing_of_a_finished_run(error: BaseException, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    _kept(folder)
    before = read_run(folder)

    def look() -> None:
        with keeping(folder, _begun(), owed={}, project=lambda _: None) as kept:
            kept.inputs = [InputRecord(name="data", path="data.jsonl", sha256="1")]
            kept.told = ["another was read"]
            raise error

    with pytest.raises(type(error)):
        look()
    assert read_run(folder) == before


def test_failures_that_are_asked_for_again_are_noted(tmp_path: Path) -> None:
    _kept(tmp_path / "run", failed=3)
    _kept(tmp_path / "run", failed=1, answers=3)
    (retry,) = read_run(tmp_path / "run").retried
    assert (retry.failed, retry.failed_again) == ({"answers": 3}, {"answers": 1})
    assert retry.finished


def test_a_folder_of_another_configuration_is_refused_and_left_alone(tmp_path: Path) -> None:
    _kept(tmp_path / "run")
    before = read_run(tmp_path / "run")
    other = _begun(config_hash="1" * 64, config={**_begun().config, "seed": 7})
    with (
        pytest.raises(UserError, match=r"holds the run a with another configuration \(differing: seed\)"),
        keeping(tmp_path / "run", other, owed={}, project=lambda _: None),
    ):
        pass
    assert read_run(tmp_path / "run") == before
