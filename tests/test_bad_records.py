"""Records of runs and stages that are damaged, foreign or of another kind: a sentence, and nothing is lost."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from damage import ANY, kinds
from running import ALONE, acme, scratch, sloop

from sloop.engine.folder import StageFolder, read_stage
from sloop.records import Rejected, UserError
from sloop.runs.files import read_round, read_run
from sloop.runs.read import Run

KEY = {"stage": "census", "seed": 0}
UNITS = {f"u-{n}": n for n in range(4)}


def run_units(units, work):
    return ((key, [Rejected(key=key, reason="counted", detail=str(unit))]) for key, unit in units)


def make(folder: Path, until: int = 4) -> list[str]:
    """A stage of four units, or its beginning."""
    with StageFolder(folder, KEY) as stage:
        if stage.done:
            return []
        units = dict(list(UNITS.items())[:until])
        with stage.writing("data.jsonl") as append:
            found = [records for _, records in stage.map(units, "work", run_units, (Rejected,))]
            for records in found:
                append["data.jsonl"](records[0])
            if until < len(UNITS):
                raise KeyboardInterrupt
        stage.finish({"count": len(found)})
        return [records[0].detail for records in found]


def begun(folder: Path) -> Path:
    with pytest.raises(KeyboardInterrupt):
        make(folder, until=2)
    return folder


FOREIGN = {
    "empty": ("", "it is empty"),
    "no JSON": ("{'a'", "broken JSON"),
    "a list": ("[1]", "not a|no record"),
    "a word": ('"x"', "not a"),
    "nothing": ("null", "not a"),
    "another record": ('{"name": "x", "value": 1}', "not a"),
    "a later version": ('{"version": 99}', "written by a later sloop"),
    "wrong types": ('{"key": 5, "parts": [], "files": 1, "summary": "x"}', "not a"),
    "deep": ("[" * 5000, "broken JSON"),
    "half a pair": ('{"key": "\\ud800"}', "broken JSON"),
}
PLACES = [*FOREIGN, *ANY, "UTF-16"]


def spoil(path: Path, kind: str) -> str:
    """Puts something else in a record's place; returns what must be said of it."""
    path.unlink(missing_ok=True)
    if kind in FOREIGN:
        content, words = FOREIGN[kind]
        path.write_text(content)
        return words
    damage, words = kinds(path.name)[kind]
    damage(path, b"{}")
    return words


@pytest.mark.parametrize("kind", PLACES)
@pytest.mark.parametrize("name", ["stage.json", "begun.json"])
def test_a_stage_that_finds_another_record_in_its_place_says_so(name: str, kind: str, tmp_path: Path) -> None:
    make(tmp_path / "s") if name == "stage.json" else begun(tmp_path / "s")
    words = spoil(tmp_path / "s" / name, kind)
    with pytest.raises(UserError, match=words) as caught:
        make(tmp_path / "s")
    assert name in str(caught.value)


@pytest.mark.parametrize("kind", PLACES)
@pytest.mark.parametrize(
    ("name", "read"), [("run.json", read_run), ("round.json", read_round), ("stage.json", read_stage)]
)
def test_whoever_reads_a_record_is_told_what_stands_in_its_place(
    name: str, read: Callable[[Path], object], kind: str, tmp_path: Path
) -> None:
    words = spoil(tmp_path / name, kind)
    with pytest.raises(UserError, match=rf"{words}|a link that leads out of its folder") as caught:
        read(tmp_path)
    assert name in str(caught.value)


@pytest.mark.parametrize(
    "line",
    [
        b"{",
        b"5",
        b"[]",
        b'{"unit": 5, "records": []}',
        b'{"unit": "u-0"}',
        b"\xff\xfe",
        b"[" * 5000,
        b'{"unit": "u-9"}',
    ],
)
@pytest.mark.parametrize("at", [0, 1, 2])
def test_a_line_of_a_journal_that_is_none_costs_no_other(line: bytes, at: int, tmp_path: Path) -> None:
    journal = begun(tmp_path / "s") / "journal.jsonl"
    lines = journal.read_bytes().splitlines()
    journal.write_bytes(b"\n".join([*lines[:at], line, *lines[at:]]) + b"\n")
    assert make(tmp_path / "s") == ["0", "1", "2", "3"]
    make(tmp_path / "whole")
    assert (tmp_path / "s" / "data.jsonl").read_bytes() == (tmp_path / "whole" / "data.jsonl").read_bytes()


@pytest.mark.parametrize(
    "records",
    [[5], [{}], [{"type": "Rejected"}], [{"type": "Order", "row": {}}], [{"type": "Rejected", "row": {"key": 5}}]],
)
def test_a_unit_with_records_of_another_stage_is_named(records: list[object], tmp_path: Path) -> None:
    journal = begun(tmp_path / "s") / "journal.jsonl"
    journal.write_text(json.dumps({"unit": "u-0", "records": records}) + "\n")
    with pytest.raises(UserError, match=r"journal\.jsonl: the line of unit u-0 is none that this stage writes"):
        make(tmp_path / "s")


@pytest.mark.parametrize("kind", ANY)
def test_what_stands_in_the_place_of_a_journal_is_named(kind: str, tmp_path: Path) -> None:
    journal = begun(tmp_path / "s") / "journal.jsonl"
    words = spoil(journal, kind)
    with pytest.raises(UserError, match=words):
        make(tmp_path / "s")


# --- a whole run ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def finished() -> Path:
    folder = scratch() / "records" / "run"
    assert sloop("loop", *acme(), ALONE, "loop.rounds=1", f"output_dir={folder}") == 0
    return folder


@pytest.mark.parametrize("kind", ["empty", "a list", "folder", "pipe"])
@pytest.mark.parametrize("place", ["run.json", "round_1/round.json", "round_1/train/stage.json", "sidecar/usage.jsonl"])
def test_a_loop_that_goes_on_over_a_spoilt_record_says_so(
    place: str, kind: str, finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path(shutil.copytree(finished, tmp_path / "run"))
    (folder / place).parent.mkdir(exist_ok=True)
    spoil(folder / place, kind)
    status = sloop("loop", *acme(), ALONE, "loop.rounds=1", f"output_dir={folder}")
    err = capsys.readouterr().err
    assert "Traceback" not in err
    if place.endswith("usage.jsonl") and kind == "empty":
        assert status == 0
    else:
        assert status == 2
        assert Path(place).name in err


@pytest.mark.parametrize("stray", ["round_x", "round_", "round_-1", "round_1.bak"])
@pytest.mark.parametrize("as_file", [True, False])
def test_what_else_is_called_round_is_no_round(stray: str, as_file: bool, finished: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(finished, tmp_path / "run"))
    (folder / stray).write_text("mine") if as_file else (folder / stray).mkdir()
    assert [round.round for round in Run.at(folder).rounds] == [1]
    assert sloop("loop", *acme(), ALONE, "loop.rounds=1", f"output_dir={folder}") == 0
    assert (folder / stray).exists()


def test_a_file_where_a_round_should_be_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "round_1").write_text("mine")
    assert sloop("loop", *acme(), ALONE, "loop.rounds=1", f"output_dir={tmp_path / 'run'}") == 2
    assert "a part of its path is no folder" in capsys.readouterr().err
    assert (tmp_path / "run" / "round_1").read_text() == "mine"
