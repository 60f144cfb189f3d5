"""Records of every version: read, or refused with a word on who wrote them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from running import round_plain, run_plain, sloop

from sloop.engine.folder import read_stage
from sloop.records import RUN_FILE, RunRecord, Score, UserError
from sloop.runs.files import read_round, read_run, write_run
from sloop.store import Dataset, read_json, write_json


def _first_version(folder: Path) -> Path:
    """Make of a run what version 1 would have written: no record bore a number."""
    for name in ("run.json", "round.json", "stage.json"):
        for path in folder.rglob(name):
            write_json(path, {key: value for key, value in read_json(path).items() if key != "version"})
    return folder


@pytest.mark.parametrize("command", ["table", "compare", "runs", "figures", "show"])
def test_a_run_of_the_first_version_is_read(command: str, outputs: Path, tmp_path: Path) -> None:
    folder = _first_version(shutil.copytree(outputs / "acme" / "full0", tmp_path / "outputs" / "acme" / "full0"))
    sample_id = Dataset(folder / "seed" / "portions" / "round_1.jsonl").ids()[0]
    words = {"compare": ["full", "full"], "figures": ["full"], "show": ["full", sample_id]}.get(command, [])
    given = [str(folder) if word == "full" else word for word in words]
    assert sloop(command, *given, "--outputs", str(tmp_path / "outputs")) == 0


def test_a_record_of_a_later_version_is_refused_and_names_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_json(tmp_path / "a" / RUN_FILE, run_plain("a", version=99, more="than is known"))
    for words in (("table",), ("runs",), ("figures", str(tmp_path / "a")), ("show", str(tmp_path / "a"), "0")):
        assert sloop(*words, "--outputs", str(tmp_path)) == 2
        message = capsys.readouterr().err
        assert f"{tmp_path / 'a' / RUN_FILE}: written by a later sloop (record version 99" in message


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"key": ', "broken JSON"),
        ("[]", r"not a StageRecord of sloop"),
        ("{}", r"not a StageRecord of sloop \(key: Field required\)"),
    ],
)
def test_what_is_no_record_is_named(content: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "stage.json").write_text(content)
    with pytest.raises(UserError, match=f"stage.json: {words}"):
        read_stage(tmp_path)


def test_a_record_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"round\.json: there is no such record"):
        read_round(tmp_path)


def test_what_is_written_is_read_and_leaves_out_what_is_empty(tmp_path: Path) -> None:
    record = RunRecord.read(run_plain("a", resumed=2), "a")
    write_run(tmp_path, record)
    assert read_run(tmp_path) == record
    written = read_json(tmp_path / RUN_FILE)
    assert (written["version"], written["resumed"]) == (3, 2)
    assert not {"retried", "inputs", "metrics", "stages", "rounds", "cost", "mlflow"} & written.keys()


def test_the_content_of_a_round_does_not_depend_on_the_version(tmp_path: Path) -> None:
    plain = round_plain(1, [Score(name="acc", value=0.5, n=2)])
    write_json(tmp_path / "round.json", plain)
    assert {"version": plain["version"], **read_round(tmp_path).content()} == plain


def test_a_record_that_knew_nothing_of_processors_is_one_of_this_version() -> None:
    plain = run_plain("a", version=2)
    record = RunRecord.read(plain, "run.json")
    assert (record.version, record.machine.model, record.machine.arithmetic) == (3, "", None)
