"""What differs between two runs, and which of it can explain the first stage that does."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from running import sloop

from sloop.records import RUN_FILE
from sloop.runs.differences import Difference, differences, stage_pairs
from sloop.runs.read import Run
from sloop.store import file_digest, read_json, write_json


def compared(a: Path, b: Path) -> tuple[list[str], list[Difference]]:
    """Places of the stages that differ, in order, and what else does."""
    first, second = Run.at(a), Run.at(b)
    pairs = stage_pairs(first, second)
    return [pair.place for pair in pairs if not pair.is_same], differences(first, second, pairs)


def changed(run: Path, to: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """A copy of a run whose record is another."""
    shutil.copytree(run, to)
    record = read_json(to / RUN_FILE)
    change(record)
    write_json(to / RUN_FILE, record)
    return to


def other_bytes(run: Path, place: str, name: str, more: bytes = b"\n") -> None:
    """Make a file of a finished stage another, as if the stage had made it."""
    path = run / place / name
    path.write_bytes(path.read_bytes() + more)
    stage = read_json(run / place / "stage.json")
    stage["files"][name] |= {"sha256": file_digest(path), "bytes": path.stat().st_size}
    write_json(run / place / "stage.json", stage)


def test_a_run_does_not_differ_from_itself(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = str(outputs / "acme" / "full0")
    assert sloop("diff", run, run) == 0
    assert "9 of 9 stages have the same bytes" in capsys.readouterr().out


def test_a_setting_is_named_by_the_first_stage_that_it_changes(outputs: Path) -> None:
    apart, found = compared(*(outputs / "acme" / name for name in ("full0", "static0")))
    assert apart[0] == "seed/start"
    assert next((one.kind, one.what, one.rank) for one in found) == ("config", "student.skill", 0)


def test_the_seed_changes_the_first_stage_of_all(outputs: Path, wide: None, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = (str(outputs / "acme" / name) for name in ("full0", "full1"))
    assert sloop("diff", a, b) == 1
    out = capsys.readouterr().out
    assert "the first stage that differs: seed/pool" in out
    assert "it was made of other parts: seed" in out
    assert "eval/dev/call_accuracy" in out


def test_other_bytes_of_the_same_parts_are_the_processors_or_the_environments(outputs: Path, tmp_path: Path) -> None:
    def moved(record: dict[str, Any]) -> None:
        record["machine"] |= {"model": "another", "features": ["avx512f"]}
        record["versions"]["numpy"] = "0.0"
        record["config"]["steps"] += 1

    run = outputs / "acme" / "full0"
    other = changed(run, tmp_path / "run", moved)
    other_bytes(other, "round_1/train", "checkpoint/weights.json")
    apart, found = compared(run, other)
    assert apart == ["round_1/train"]
    assert {(one.kind, one.what): one.rank for one in found} == {
        ("processor", "name"): 1, ("processor", "instructions"): 1, ("environment", "numpy"): 1, ("config", "steps"): 2,
    }  # fmt: skip


def test_a_stage_without_floating_point_is_not_explained_by_a_processor(outputs: Path, tmp_path: Path) -> None:
    run = outputs / "acme" / "full0"
    other = changed(run, tmp_path / "run", lambda record: record["machine"].update(model="another"))
    stage = read_json(other / "seed/pool/stage.json")
    stage["parts"]["code"] = "0" * 64
    write_json(other / "seed/pool/stage.json", stage)
    other_bytes(other, "seed/pool", "train.jsonl")
    apart, found = compared(run, other)
    assert apart[0] == "seed/pool"
    assert [(one.kind, one.rank) for one in found if one.rank == 0] == [("code", 0)]
    assert ("processor", 2) in [(one.kind, one.rank) for one in found]


def test_runs_of_two_kinds_are_not_compared(outputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = outputs / "acme" / "full0"
    other = changed(run, tmp_path / "run", lambda record: record.update(kind="gen"))
    assert sloop("diff", str(run), str(other)) == 2
    assert "give two of one kind" in capsys.readouterr().err
