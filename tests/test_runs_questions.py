"""What a run was asked, kept in its folder."""

from __future__ import annotations

from pathlib import Path

from models import pool

from sloop.runs.questions import keep_questions, questions_of
from sloop.store import Dataset, write_rows


def test_questions_are_kept_whole_and_what_a_killed_process_left_goes(tmp_path: Path) -> None:
    write_rows(tmp_path / "pool.jsonl", pool())
    folder = tmp_path / "run" / "questions"
    folder.mkdir(parents=True)
    (folder / ".dev[1].jsonl.gz.99999.partial").write_bytes(b"half")
    (folder / ".other.jsonl.gz.99999.partial").write_bytes(b"of another set")
    keep_questions(tmp_path / "run", ("dev[1]", Dataset(tmp_path / "pool.jsonl")))
    assert sorted(path.name for path in folder.iterdir()) == [".other.jsonl.gz.99999.partial", "dev[1].jsonl.gz"]
    assert [path.name for path in questions_of(tmp_path / "run")] == ["dev[1].jsonl.gz"]
