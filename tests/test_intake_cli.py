"""A stranger's dialogues from the command line: evaluated over HTTP, trained on, refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from endpoint import Endpoint, serving
from kinds.dialogues import BARI, HERMES, SYSTEM, chat, says, turns
from running import ALONE, sloop

from sloop.models.environment import VARIABLES
from sloop.records import Label, ToolCall
from sloop.store import read_json

TOWNS = ("Bari", "Graz", "Lyon")


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[Endpoint]:
    for name in VARIABLES:
        monkeypatch.setenv(name, "")
    with serving() as server:
        yield server


def answer(body: dict[str, Any]) -> Label:
    """The depot of the town that is asked about."""
    town = body["messages"][-1]["content"].removeprefix("A depot in ").removesuffix("?")
    return Label(calls=(ToolCall(name=BARI[0], arguments={"town": town}),)) if town in TOWNS else Label(content="Hi.")


def written(path: Path, *rows: Any) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize("named", [(), ("benchmark.form=hermes",)])
def test_calls_in_the_text_of_labels_are_what_right_answers_are_graded_by(
    named: tuple[str, ...], endpoint: Endpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint.answer = answer
    rows = [
        turns(("system", SYSTEM), ("human", f"A depot in {town}?"), ("gpt", HERMES.replace("Bari", town)))
        for town in TOWNS
    ]
    written(tmp_path / "rows.jsonl", *rows)
    monkeypatch.chdir(tmp_path)
    student = ("student=endpoint", f"student.endpoint.base_url={endpoint.url}", "student.endpoint.model=small")
    asked = ("benchmark=jsonl", "benchmark.path=rows.jsonl", *named, "output_dir=run", ALONE)
    assert sloop("eval", *student, *asked) == 0
    record = read_json(tmp_path / "run" / "run.json")
    accuracy = next(row for row in record["metrics"] if row["name"].endswith("/call_accuracy") and not row["slice"])
    assert (accuracy["value"], accuracy["n"]) == (1.0, 3)
    assert record["inputs"][0]["source"]["form"] == "hermes"


def test_data_has_a_form_and_a_share_that_may_be_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = chat(says(tool_calls=[{"name": BARI[0], "arguments": {"city": "Bari"}}]), label=True)
    written(tmp_path / "rows.jsonl", wrong, chat({"role": "user", "content": "Hi"}, says("Hello."), turn=1))
    monkeypatch.chdir(tmp_path)
    train = ("train", "data=rows.jsonl", "steps=1", "output_dir=run", ALONE)
    assert sloop(*train) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "rows.jsonl, line 1: find_depot: missing_required:town." in said
    assert "max_left_out=1" in said
    assert sloop(*train, "form=glaive") == 2
    assert "chat is null; allowed: text such as USER:" in " ".join(capsys.readouterr().err.split())
    assert sloop(*train, "form=nonsense") == 2
    assert "form='nonsense'" in " ".join(capsys.readouterr().err.split())
    assert sloop(*train, "max_left_out=0.5") == 0
    source = read_json(tmp_path / "run" / "run.json")["inputs"][0]["source"]
    assert (source["form"], source["left_out"], source["places"]) == ("openai", {"off_schema": 1}, {"off_schema": [1]})
