"""Tools that run, by the name that a reader gives, and as a source of definitions."""

from __future__ import annotations

import pytest
from running import ALONE, sloop

from sloop.records import UserError
from sloop.store import Dataset
from sloop.tools.running import PythonTools
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
