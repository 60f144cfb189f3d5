"""Every row of the table of dialogues, read as a stranger's file is."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any, get_args

import pytest
from kinds import Kind
from kinds.dialogues import KINDS

from sloop.intake import FORMS, Converted, Form, open_dataset
from sloop.records import Label, UserError

READ = [kind for kind in KINDS if "error" not in kind.comes]


def written(folder: Path, rows: Any) -> Path:
    path = folder / "given.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def told(label: Label | None) -> Any:
    assert label is not None
    return [[call.name, call.arguments] for call in label.calls] or label.content


@pytest.mark.parametrize("kind", READ, ids=str)
def test_a_kind_is_read_as_what_it_is(kind: Kind, tmp_path: Path) -> None:
    for form in ("auto", kind.comes["form"]):
        data = open_dataset(written(tmp_path, kind.given), form=form, chosen="all", cache=tmp_path)
        assert [told(sample.label) for sample in data] == kind.comes["labels"]
        if isinstance(data, Converted):
            assert (data.intake.form, data.intake.left_out) == (kind.comes["form"], kind.comes["left_out"])
            assert set(data.intake.places) == set(data.intake.left_out)
        if "roles" in kind.comes:
            last = list(data)[-1]
            assert [message.role for message in last.messages] == kind.comes["roles"]
            answers = [message.tool_call_id for message in last.messages if message.role == "tool"]
            assert answers == [f"call_{number}" for number in range(len(answers))]


@pytest.mark.parametrize("kind", [kind for kind in KINDS if "error" in kind.comes], ids=str)
def test_a_kind_that_is_refused_says_why(kind: Kind, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=kind.comes["error"]):
        open_dataset(written(tmp_path, kind.given), form="auto", chosen="all", cache=tmp_path)


def test_every_form_has_a_row_and_a_name_among_the_settings() -> None:
    assert {"auto", *FORMS} == set(get_args(Form))
    assert {kind.comes["form"] for kind in READ} == set(FORMS)


@pytest.mark.parametrize("kind", READ[::7], ids=str)
@pytest.mark.parametrize("name", ["given.json", "given.json.gz", "given.jsonl.gz", "marked.jsonl", "lines.json"])
def test_a_kind_is_the_same_in_every_file(name: str, kind: Kind, tmp_path: Path) -> None:
    plain = open_dataset(written(tmp_path, kind.given), form="auto", chosen="all", cache=tmp_path)
    content = (tmp_path / "given.jsonl").read_bytes()
    if name.startswith("given.json.") or name == "given.json":
        content = json.dumps(kind.given, indent=1).encode()
    if name.startswith("marked"):
        content = b"\xef\xbb\xbf" + content
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    other = open_dataset(tmp_path / name, form="auto", chosen="all", cache=tmp_path)
    assert [told(sample.label) for sample in other] == [told(sample.label) for sample in plain]
