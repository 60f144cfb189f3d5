"""Tools as people have them (tests/kinds/tools.py, tool_files.py, made.py): each is read, or what is wrong is said."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from random import Random

import pytest
from kinds import Kind, made, tool_files, tools
from running import sloop

from sloop.calls.schema import call_errors
from sloop.records import Dialogue, Order, UserError
from sloop.simulation.template import TemplateTeacher
from sloop.store import read_json
from sloop.tools.definitions import read_tools
from sloop.tools.sources import load_tools

TEACHER = TemplateTeacher(
    templates="everyday", values="train", phrases="train", random_values=0.3, optional_arguments=0.3, spelled_values=0.3
)


@pytest.mark.parametrize("kind", tools.KINDS, ids=str)
def test_a_definition_is_read_whole_or_refused(kind: Kind) -> None:
    if isinstance(kind.comes, str):
        with pytest.raises(ValueError, match=r"^here") as refused:
            read_tools(kind.given, "here")
        assert kind.comes in str(refused.value)
    else:
        assert {tool.name: tool.parameters for tool in read_tools(kind.given, "here")} == kind.comes


@pytest.mark.parametrize("kind", tool_files.KINDS, ids=str)
@pytest.mark.parametrize("name", ["t.json", "t.jsonl"])
def test_a_file_is_read_or_its_trouble_named(kind: Kind, name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(kind.given)
    if isinstance(kind.comes, str | tool_files.Kept):
        with pytest.raises(UserError) as refused:
            load_tools(path)
        assert (kind.comes if isinstance(kind.comes, str) else kind.comes.refused) in str(refused.value)
        assert name in str(refused.value)
    else:
        assert [tool.name for tool in load_tools(path)] == kind.comes


@pytest.mark.parametrize("kind", [kind for kind in tool_files.KINDS if not isinstance(kind.comes, list)], ids=str)
def test_what_is_bad_is_left_out_and_named_where_that_is_wanted(kind: Kind, tmp_path: Path) -> None:
    path, told = tmp_path / ("t.jsonl" if b"\n" in kind.given else "t.json"), []
    path.write_bytes(kind.given)
    if isinstance(kind.comes, str):  # nothing would be left
        with pytest.raises(UserError):
            load_tools(path, keep_going=True, tell=told.append)
        assert told == []
        return
    _, names, left_out = kind.comes
    assert [tool.name for tool in load_tools(path, keep_going=True, tell=told.append)] == names
    total = len(names) + len(left_out)
    assert told[0] == f"{path}: {len(left_out)} of {total} definitions are left out (tools.keep_going=true)."
    for sentence, part in zip(told[1:], left_out, strict=False):
        assert sentence.startswith(f"left out: {path}, ")
        assert part in sentence


def test_a_changed_name_is_told(tmp_path: Path) -> None:
    path, told = tmp_path / "t.json", []
    path.write_bytes(tool_files.text("a.b", "c", "d e"))
    load_tools(path, tell=told.append)
    assert told == [
        f"{path}: servers take letters, digits, _ and - in a name, 64 at most, so 'a.b' is a_b, 'd e' is d_e."
    ]


@pytest.mark.parametrize("kind", made.KINDS, ids=str)
def test_a_request_can_be_made_up_or_the_reason_is_told(kind: Kind) -> None:
    (tool,) = read_tools({"name": "find_depot", "description": "Find a depot.", "parameters": kind.given}, "here")
    reason = TEACHER.unable(tool)
    assert (kind.comes in reason) if kind.comes else not reason
    if reason:
        return
    order = Order(key="0", kind="single", tools=(tool,), wanted=(tool,))
    for seed in range(20):
        written = asyncio.run(TEACHER.write(order, Random(seed)))
        if isinstance(written, Dialogue):
            (call,) = written.messages[-1].tool_calls
            assert call.arguments
            assert call_errors(call, [tool]) == ()


def test_a_run_makes_what_can_be_made_and_tells_of_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [
        {"name": f"find.{number}", "description": "Find a depot.", "inputSchema": kind.given}
        for number, kind in enumerate(made.KINDS)
    ]
    Path("tools.json").write_text(json.dumps({"tools": [*rows, {"name": "bad", "params": {"x": "string"}}]}))
    words = ("gen", "num_samples=60", "tools=own", "tools.path=tools.json", "tracking.enabled=false", "output_dir=run")
    assert sloop(*words) == 2
    assert '"params" seems to hold its parameters' in capsys.readouterr().err
    assert sloop(*words, "tools.keep_going=true") == 0
    said = capsys.readouterr().out
    left_out = sum(bool(kind.comes) for kind in made.KINDS)
    assert f"note: tools.json: 1 of {len(rows) + 1} definitions are left out (tools.keep_going=true)." in said
    assert f"note: {left_out} of {len(rows)} tools are left out: no request for them can be written" in said
    assert "'find.0' is find_0" in said
    told = read_json(Path("run/run.json"))["told"]
    assert told[0] == f"tools.json: 1 of {len(rows) + 1} definitions are left out (tools.keep_going=true)."
    assert any(sentence.startswith("left out: ") and '"params"' in sentence for sentence in told)
    assert said.count(told[0]) == 1
    summary = read_json(Path("run/stage.json"))["summary"]
    assert summary["samples"] == 60
    assert summary["rejected"].get("no_value", 0) == 0
