"""Tools that run, by the name that a reader gives, and as a source of definitions."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from running import ALONE, sloop

from sloop.records import UserError
from sloop.store import Dataset
from sloop.tools.contract import definition, run_tool
from sloop.tools.running import PythonTools, open_tools
from sloop.tools.sandbox import isolation
from sloop.tools.sources import ToolSource


def test_python_tools_are_a_source_of_definitions() -> None:
    source = PythonTools(module="isolated_tools:NAMED")
    assert isinstance(source, ToolSource)
    assert [(tool.name, tool.required) for tool in source.tools()] == [("sum", ("a",)), ("twice", ("word",))]


@pytest.mark.parametrize(
    ("module", "said"),
    [
        ("isolated_tools", "no such tools"),
        ("isolated_tools:none", "none"),
        ("no.such.module:x", "No module named"),
        ("isolated_tools:no_tool", "is a int"),
    ],
)
def test_what_is_no_tool_is_said(module: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        PythonTools(module=module).tools()


def test_samples_are_made_of_python_tools(tmp_path) -> None:
    words = ("tools=python", "tools.module=isolated_tools:NAMED", "num_samples=12", f"output_dir={tmp_path}/out")
    assert sloop("gen", *words, ALONE) == 0
    offered = {tool.name for sample in Dataset(tmp_path / "out" / "train.jsonl") for tool in sample.tools}
    assert offered == {"sum", "twice"}


@pytest.mark.skipif(isolation() == "none", reason="needs bubblewrap, or user namespaces made by unshare")
def test_isolated_tools_do_the_same_and_see_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("told")
    monkeypatch.setenv("SLOOP_TEST_SECRET", "told")
    (tmp_path / "root").mkdir()
    names = ("isolated_tools:NAMED", "isolated_tools:read", "isolated_tools:variable")
    with open_tools(names) as plain, open_tools(names, root=tmp_path / "root", isolate=True) as tools:
        shown = [definition(name, one) for name, one in tools.items()]
        assert shown == [definition(name, one) for name, one in plain.items()]
        assert asyncio.run(run_tool(tools["sum"], {"a": 1})) == asyncio.run(run_tool(plain["sum"], {"a": 1})) == "3"
        assert asyncio.run(run_tool(tools["twice"], {"word": "ab"})) == "abab"
        assert asyncio.run(run_tool(plain["read"], {"path": str(secret)})) == "told"
        with pytest.raises(ValueError, match="No such file"):
            asyncio.run(run_tool(tools["read"], {"path": str(secret)}))
        assert asyncio.run(run_tool(plain["variable"], {"name": "SLOOP_TEST_SECRET"})) == "told"
        assert asyncio.run(run_tool(tools["variable"], {"name": "SLOOP_TEST_SECRET"})) == "none"


@pytest.mark.skipif(isolation() == "none", reason="needs bubblewrap, or user namespaces made by unshare")
def test_the_command_isolates(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("told")
    call = ("tools", "call", "isolated_tools:read", "read", f'{{"path": "{secret}"}}')
    assert sloop(*call) == 0
    assert capsys.readouterr().out.strip() == "told"
    assert sloop(*call, "--isolate") == 2
    assert "No such file" in capsys.readouterr().err
