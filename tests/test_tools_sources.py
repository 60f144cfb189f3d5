from __future__ import annotations

import gzip
import json
import math
import os
from pathlib import Path

import pytest

from sloop.records import UserError
from sloop.tools.sources import SPLITS, load_tools

ECHO = {"name": "echo", "description": "Say it again.", "parameters": {"type": "object", "properties": {}}}


def write(folder: Path, name: str, content: object) -> Path:
    path = folder / name
    text = content if isinstance(content, str) else json.dumps(content)
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return path


def test_the_everyday_set_has_its_splits():
    parts = [load_tools("everyday", split) for split in SPLITS]
    assert [len(part) for part in parts] == [18, 3, 5]
    assert load_tools("everyday") == tuple(tool for part in parts for tool in part)


def test_the_everyday_set_has_real_types():
    tools = load_tools("everyday", "train")
    kinds = {schema["type"] for tool in tools for schema in tool.properties.values()}
    assert kinds == {"string", "integer", "number", "boolean", "array"}
    assert any(set(tool.properties) > set(tool.required) for tool in tools)
    assert all(schema["description"] for tool in load_tools("everyday") for schema in tool.properties.values())


@pytest.mark.parametrize("name", ["t.json", "t.json.gz"])
def test_a_list_of_bare_or_wrapped_functions_is_read(tmp_path, name):
    path = write(tmp_path, name, [ECHO, {"type": "function", "function": {**ECHO, "name": "echo2"}}])
    assert [tool.name for tool in load_tools(path)] == ["echo", "echo2"]


@pytest.mark.parametrize("name", ["t.jsonl", "t.jsonl.gz"])
def test_one_definition_a_line_is_read(tmp_path, name):
    path = write(tmp_path, name, json.dumps(ECHO) + "\n\n")
    assert [tool.name for tool in load_tools(str(path))] == ["echo"]


def test_a_function_without_parameters_takes_none(tmp_path):
    (tool,) = load_tools(write(tmp_path, "t.json", [{"name": "now"}]))
    assert tool.parameters == {"type": "object", "properties": {}}


@pytest.mark.parametrize(
    ("content", "word"),
    [
        ("{", "JSON"),
        ({"a": 1}, "function name"),
        ([1], "object"),
        ([], "no tools"),
        ([{"description": "x"}], "function name"),
        ([{"name": "工具"}], "工具"),
        ([ECHO, {**ECHO, "description": "Shout."}], "second tool"),
        ([{**ECHO, "description": 3}], "description"),
        ([{**ECHO, "parameters": {"type": "array"}}], "object"),
        ([{**ECHO, "parameters": {"properties": {"a": {"type": "txet"}}}}], "txet.*allowed: string"),
        ([{**ECHO, "parameters": {"required": ["a"]}}], "required"),
        ([{**ECHO, "parameters": {"properties": {"a": {"default": math.nan}}}}], "NaN is not JSON"),
    ],
)
def test_a_bad_file_is_a_user_error_that_names_the_trouble(tmp_path, content, word):
    with pytest.raises(UserError, match=word):
        load_tools(write(tmp_path, "t.json", content))


def test_a_missing_file_and_a_strange_ending_are_user_errors(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        load_tools(tmp_path / "none.json")
    with pytest.raises(UserError, match=r"\.jsonl"):
        load_tools(tmp_path / "tools.yaml")


def test_a_place_in_a_definition_is_a_json_pointer(tmp_path):
    inner = {"type": "object", "properties": {"a/b": {"type": "array", "items": {"type": "txet"}}}}
    path = write(tmp_path, "t.json", [ECHO, {"name": "f", "parameters": {"properties": {"o": inner}}}])
    pointer = "#/parameters/properties/o/properties/a~1b/items"
    with pytest.raises(UserError) as told:
        load_tools(path)
    assert str(told.value).startswith(f'{path}, tool 2, f: {pointer}: the type "txet" is not known')


def test_a_definition_that_stands_there_again_is_one_tool_and_said(tmp_path):
    told = []
    path = write(tmp_path, "t.json", [ECHO, {"type": "function", "function": ECHO}, {**ECHO, "name": "b"}])
    assert [tool.name for tool in load_tools(path, tell=told.append)] == ["echo", "b"]
    assert told == [f"{path}: 1 of 3 definitions repeat an earlier one word for word."]
    with pytest.raises(UserError, match="a second tool is named a_b"):  # one is another's name, spelled otherwise
        load_tools(write(tmp_path, "u.json", [{**ECHO, "name": "a.b"}, {**ECHO, "name": "a_b"}]))


def test_a_name_that_is_too_long_is_cut_and_said(tmp_path):
    told = []
    path = write(tmp_path, "t.json", [{**ECHO, "name": f"/quotes/{'p' * 60}/{end}"} for end in "xy"])
    first, second = (tool.name for tool in load_tools(path, tell=told.append))
    assert len(first) == len(second) == 64
    assert first != second
    assert first[:50] == second[:50] == "quotes_" + "p" * 43
    assert first in told[0]


DOCUMENT = {
    "openapi": "3.0.1",
    "info": {"title": "Depots", "version": "1"},
    "paths": {
        "/depots/{id}": {
            "get": {
                "operationId": "findDepot",
                "description": "Finds one.",
                "parameters": [{"name": "id", "in": "path", "required": True, "schema": {"type": "integer"}}],
            }
        },
        "/bad": {"get": {"operationId": "bad", "parameters": [{"$ref": "#/nowhere"}]}},
    },
}


@pytest.mark.parametrize("text", [False, True])
def test_the_operations_of_an_openapi_document_are_read_alone_and_as_toolalpaca_keeps_them(tmp_path, text):
    row = {"Name": "Depots", "Documentation": json.dumps(DOCUMENT)}
    path = write(tmp_path, "t.json", [row] if text else DOCUMENT)
    told = []
    (tool,) = load_tools(path, keep_going=True, tell=told.append)
    assert (tool.name, tool.required, tool.properties["id"]["type"]) == ("findDepot", ("id",), "integer")
    assert f"{', tool 1, Documentation' if text else ''}#/paths/~1bad/get: " in told[1]


def test_an_unknown_split_is_a_user_error():
    with pytest.raises(UserError, match="split=held_out"):
        load_tools("everyday", "held_out")


@pytest.mark.parametrize("name", ["t.json", "t.jsonl"])
def test_a_broken_line_alone_is_left_out(tmp_path, name):
    told = []
    path = write(tmp_path, name, json.dumps(ECHO) + '\n{"name": "cut}\n' + json.dumps({**ECHO, "name": "other"}) + "\n")
    assert [tool.name for tool in load_tools(path, keep_going=True, tell=told.append)] == ["echo", "other"]
    assert told[0] == f"{path}: 1 of 3 definitions are left out (tools.keep_going=true)."
    assert told[1].startswith(f"left out: {path}, line 2, is not JSON")


def test_a_split_hides_no_row_that_is_no_object(tmp_path):
    path = write(tmp_path, "t.json", [{**ECHO, "split": "train"}, 3])
    with pytest.raises(UserError, match="tool 2 is no object"):
        load_tools(path, "train")
    assert [tool.name for tool in load_tools(path, "train", keep_going=True)] == ["echo"]


def test_a_split_may_stand_beside_the_list(tmp_path):
    other = {**ECHO, "name": "other", "split": "dev"}
    path = write(tmp_path, "t.jsonl", json.dumps({"tools": [ECHO, other], "split": "train"}))
    assert [tool.name for tool in load_tools(path, "train")] == ["echo"]
    assert [tool.name for tool in load_tools(path, "dev")] == ["other"]


@pytest.mark.skipif(
    "SLOOP_TOOLS" not in os.environ,
    reason="reads public tool corpora, which are not shipped: set SLOOP_TOOLS to their folder",
)
@pytest.mark.parametrize(
    ("name", "count"), [("apizoo", 4216), ("bfcl_nonlive", 953), ("toolalpaca_eval", 94), ("toolbench_example", 29)]
)
def test_the_corpora_load(name, count):
    assert len(load_tools(Path(os.environ["SLOOP_TOOLS"]) / f"{name}.json.gz")) == count
