"""Rows from wherever they lie: files, tables of Arrow, saved sets; and what is said of those that hold none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import datasets
import pytest
from kinds.dialogues import BARI, FLAT, chat, says
from running import questions

from sloop.intake import Converted, Source, open_dataset
from sloop.records import UserError
from sloop.store import Dataset
from sloop.store.rows import to_datasets

NOTE = {"name": "send_note", "arguments": {"to": "Ann", "body": "Hi"}}
PADDED = [
    chat(says(tool_calls=[{"name": BARI[0], "arguments": BARI[1]}]), id=1),
    chat({"role": "user", "content": "Tell Ann."}, says(tool_calls=[NOTE]), id=2),
]
"""Arrow gives every call the arguments of all, and every schema the properties of all."""


def opened(given: str | Path, folder: Path, **more: Any) -> Dataset:
    return open_dataset(given, form="auto", chosen="all", cache=folder / "cache", max_left_out=0, **more)


def labels(data: Dataset) -> list[Any]:
    return [[call.name, call.arguments] for sample in data if sample.label for call in sample.label.calls]


@pytest.fixture
def table() -> datasets.Dataset:
    rows = [{**row, "tools": FLAT, "messages": [{"tool_calls": None, **m} for m in row["messages"]]} for row in PADDED]
    return datasets.Dataset.from_list(rows)


def test_tables_of_arrow_are_read_without_their_nulls(tmp_path: Path, table: datasets.Dataset) -> None:
    assert table[0]["messages"][1]["tool_calls"][0]["arguments"]["to"] is None, "Arrow pads no more"
    table.to_parquet(tmp_path / "rows.parquet")
    table.save_to_disk(tmp_path / "saved")
    datasets.DatasetDict({"train": table, "test": table.select([1])}).save_to_disk(tmp_path / "parts")
    (tmp_path / "folder").mkdir()
    table.to_parquet(tmp_path / "folder" / "train-0.parquet")
    for given in ("rows.parquet", "saved", "parts", "folder"):
        data = opened(tmp_path / given, tmp_path)
        assert labels(data) == [BARI, list(NOTE.values())], given
        assert isinstance(data, Converted)
        assert data.intake.padded == 2
        assert len(Source(tmp_path / given).sha256) == 64
    assert labels(opened(f"hf:{tmp_path / 'parts'}::test", tmp_path)) == [list(NOTE.values())]
    assert labels(opened(f"hf:{tmp_path / 'folder'}", tmp_path))[0] == BARI


def test_another_content_is_another_digest(tmp_path: Path, table: datasets.Dataset) -> None:
    table.save_to_disk(tmp_path / "whole")
    table.select([0]).save_to_disk(tmp_path / "part")
    assert Source(tmp_path / "whole").sha256 != Source(tmp_path / "part").sha256


def test_another_content_in_memory_is_another_digest(
    tmp_path: Path, table: datasets.Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets.config, "IN_MEMORY_MAX_SIZE", 1 << 30)
    table.select([0]).save_to_disk(tmp_path / "one")
    table.select([1]).save_to_disk(tmp_path / "other")
    assert Source(tmp_path / "one").sha256 != Source(tmp_path / "other").sha256
    assert Source(tmp_path / "one").sha256 == Source(tmp_path / "one").sha256


def test_our_own_samples_come_back_from_a_table(tmp_path: Path) -> None:
    own = Dataset(questions())
    to_datasets(own).to_parquet(tmp_path / "own.parquet")
    assert list(opened(tmp_path / "own.parquet", tmp_path)) == list(own)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("x.parquet", b"PAR1 and no more", r"x\.parquet: not a Parquet file"),
        ("x.json", b"[{]", r"x\.json: not JSON .*allowed: a list of JSON objects"),
        ("x.json", b"[1]", r"x\.json, line 1: not a JSON object"),
        ("x.json", b'{"a": 1}\n[2]', r"x\.json, line 1: a row with the keys a is of no known form"),
    ],
)
def test_what_holds_no_rows_is_named(name: str, content: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=words):
        opened(tmp_path / name, tmp_path)


def test_a_split_that_is_not_there_is_told_with_those_that_are(tmp_path: Path, table: datasets.Dataset) -> None:
    datasets.DatasetDict({"one": table, "two": table}).save_to_disk(tmp_path / "parts")
    for given in (f"hf:{tmp_path / 'parts'}::three", str(tmp_path / "parts")):
        with pytest.raises(UserError, match=r"Its splits: one, two\. Give hf:NAME.*hf:NAME:CONFIG:SPLIT"):
            opened(given, tmp_path)


def test_a_folder_that_holds_no_table_is_told(tmp_path: Path) -> None:
    (tmp_path / "some").mkdir()
    (tmp_path / "some" / "notes.bin").write_bytes(b"\0")
    with pytest.raises(UserError, match=r"some: `datasets` cannot load it"):
        opened(tmp_path / "some", tmp_path)


def test_more_than_may_be_left_out_is_refused_with_the_first_fault_and_the_key(tmp_path: Path) -> None:
    wrong = chat(says(tool_calls=[{"name": BARI[0], "arguments": {"city": "Bari"}}]))
    rows = [{"messages": [{"role": "user", "content": str(number)}, says("Hm.")]} for number in range(9)]
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, [*rows, wrong])))
    open_ = {"form": "auto", "chosen": "all", "cache": tmp_path / "cache"}
    assert len(open_dataset(path, **open_, max_left_out=0.1)) == 9
    words = r"rows\.jsonl, line 10: find_depot: missing_required:town.*10\.0%.*benchmark\.max_left_out=0\.05 allows"
    with pytest.raises(UserError, match=words):
        open_dataset(path, **open_, max_left_out=0.05, section="benchmark.")
