"""The file system in memory: what its tools do, how they read paths, and what they refuse."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sloop.environments.base import ERROR, replay
from sloop.environments.files import MAX_DEPTH, MAX_ENTRIES, MAX_TEXT, MAX_TOTAL, Files
from sloop.records import EnvSpec, ToolCall, UserError, canonical_json

STATE: dict[str, Any] = {
    "root": {"notes": {"a.txt": "One\nTwo two\n", "old": {}}, "b.md": "Three", "[x].log": ""},
    "_folder": "/notes",
}
SPEC = EnvSpec(toolkit="files", state=STATE)


def act(name: str, /, **arguments: Any) -> tuple[str, dict[str, Any]]:
    """The answer, and the state behind it."""
    files = replay(Files, SPEC, ())
    return files.act(ToolCall(name=name, arguments=arguments)), files.state()


@pytest.mark.parametrize(
    ("name", "arguments", "answer"),
    [
        ("list_folder", {}, {"folder": "/notes", "entries": [
            {"name": "a.txt", "kind": "file", "characters": 12}, {"name": "old", "kind": "folder"}]}),
        ("read_file", {"path": "a.txt"}, {"path": "/notes/a.txt", "text": "One\nTwo two\n"}),
        ("read_file", {"path": "a.txt", "start_line": 2}, {"path": "/notes/a.txt", "text": "Two two\n"}),
        ("read_file", {"path": "a.txt", "line_count": 1}, {"path": "/notes/a.txt", "text": "One\n"}),
        ("read_file", {"path": "a.txt", "start_line": 10**300}, {"path": "/notes/a.txt", "text": ""}),
        ("count_text", {"path": "a.txt", "unit": "words"}, {"path": "/notes/a.txt", "words": 3}),
        ("find_files", {"pattern": "*.txt"}, ["/notes/a.txt"]),
        ("find_files", {"pattern": "[x]*"}, ["/[x].log"]),
        ("find_files", {"pattern": "*", "kind": "folder"}, ["/notes", "/notes/old"]),
        ("search_text", {"text": "two"}, ["/notes/a.txt, line 2: Two two"]),
        ("search_text", {"text": "three", "case_sensitive": True}, []),
    ],
)  # fmt: skip
def test_what_reads_tells(name: str, arguments: dict[str, Any], answer: Any) -> None:
    told, state = act(name, **arguments)
    assert json.loads(told) == answer
    assert state == STATE


@pytest.mark.parametrize("path", ["a.txt", "./a.txt", "/notes/a.txt", "//notes//a.txt", "old/../a.txt", "a.txt/",
                                  "../notes/a.txt", "../../../notes/a.txt"])  # fmt: skip
def test_a_path_is_read_as_models_write_it(path: str) -> None:
    assert json.loads(act("read_file", path=path)[0])["path"] == "/notes/a.txt"


NOTES = STATE["root"]["notes"]


@pytest.mark.parametrize(
    ("name", "arguments", "root"),
    [
        ("write_file", {"path": "c.txt", "text": "x"}, {"notes": {**NOTES, "c.txt": "x"}}),
        ("write_file", {"path": "/b.md", "text": "x", "overwrite": True}, {"b.md": "x"}),
        ("append_text", {"path": "/b.md", "text": "Four"}, {"b.md": "Three\nFour"}),
        ("append_text", {"path": "a.txt", "text": "Four"}, {"notes": {**NOTES, "a.txt": "One\nTwo two\nFour"}}),
        ("replace_text", {"path": "/b.md", "old": "e", "new": "ee"}, {"b.md": "Threeee"}),
        ("make_folder", {"path": "/x/y"}, {"x": {"y": {}}}),
        ("move", {"source": "/b.md", "target": "."}, {"b.md": None, "notes": {**NOTES, "b.md": "Three"}}),
        ("move", {"source": "/notes", "target": "/n"}, {"notes": None, "n": NOTES}),
        ("copy", {"source": "/b.md", "target": "/c.md"}, {"c.md": "Three"}),
        ("copy", {"source": "/notes", "target": "/n"}, {"n": NOTES}),
        ("delete", {"path": "/b.md"}, {"b.md": None}),
        ("delete", {"path": "old"}, {"notes": {"a.txt": NOTES["a.txt"]}}),
    ],
)
def test_what_writes_does(name: str, arguments: dict[str, Any], root: dict[str, Any]) -> None:
    told, state = act(name, **arguments)
    assert not told.startswith(ERROR), told
    wanted = {key: part for key, part in {**STATE["root"], **root}.items() if part is not None}
    assert state["root"] == wanted


def test_the_current_folder_goes_along_with_what_it_is_in() -> None:
    assert act("move", source="/notes", target="/n")[1]["_folder"] == "/n"
    assert act("change_folder", path="old/")[1]["_folder"] == "/notes/old"
    assert act("delete", path="/notes", recursive=True)[0] == "error: the current folder is in /notes; change it first"


def test_a_copy_of_a_folder_is_another_folder() -> None:
    files = replay(Files, SPEC, [ToolCall(name="copy", arguments={"source": "/notes", "target": "/n"})])
    files.act(ToolCall(name="write_file", arguments={"path": "/n/a.txt", "text": "x", "overwrite": True}))
    assert files.state()["root"]["notes"] == NOTES


@pytest.mark.parametrize(
    ("name", "arguments", "told"),
    [
        ("read_file", {"path": "c.txt"}, "there is no /notes/c.txt"),
        ("read_file", {"path": "old"}, "/notes/old is a folder"),
        ("list_folder", {"path": "a.txt"}, "/notes/a.txt is a file"),
        ("list_folder", {"path": "a.txt/x"}, "there is no folder /notes/a.txt/x"),
        ("write_file", {"path": "a.txt", "text": ""}, "/notes/a.txt is there already; set overwrite"),
        ("write_file", {"path": "old", "text": "", "overwrite": True}, "/notes/old is a folder"),
        ("write_file", {"path": "/", "text": ""}, "/ is a folder"),
        ("write_file", {"path": "x/y", "text": ""}, "there is no folder /notes/x"),
        ("write_file", {"path": "a.txt/y", "text": ""}, "/notes/a.txt is a file"),
        ("write_file", {"path": "a\x00b", "text": ""}, "is no name"),
        ("write_file", {"path": "n" * 300, "text": ""}, "is no name"),
        ("write_file", {"path": "x", "text": "y" * (MAX_TEXT + 1)}, "constraint:text maxLength"),
        ("write_file", {"path": "x"}, "missing_required:text"),
        ("append_text", {"path": "c.txt", "text": ""}, "there is no /notes/c.txt"),
        ("replace_text", {"path": "a.txt", "old": "one", "new": ""}, "/notes/a.txt does not hold 'one'"),
        ("make_folder", {"path": "old"}, "/notes/old is there already"),
        ("make_folder", {"path": "a.txt/x"}, "/notes/a.txt is a file"),
        ("make_folder", {"path": "d/" * (MAX_DEPTH + 1)}, f"folders lie {MAX_DEPTH} deep at most"),
        ("move", {"source": "/notes", "target": "/notes/old"}, "/notes cannot be put at or below itself"),
        ("move", {"source": "a.txt", "target": "a.txt"}, "/notes/a.txt cannot be put at or below itself"),
        ("move", {"source": "a.txt", "target": "/b.md"}, "/b.md is there already"),
        ("move", {"source": "/", "target": "old"}, "that cannot be done with the root"),
        ("copy", {"source": "c.txt", "target": "old"}, "there is no /notes/c.txt"),
        ("delete", {"path": "/notes"}, "/notes is not empty; set recursive"),
        ("change_folder", {"path": "a.txt"}, "/notes/a.txt is a file"),
        ("run", {}, "unknown_tool:run"),
    ],
)
def test_what_cannot_be_done_is_told_and_changes_nothing(name: str, arguments: dict[str, Any], told: str) -> None:
    answer, state = act(name, **arguments)
    assert answer.startswith(ERROR)
    assert told in answer
    assert state == STATE


def test_who_writes_endlessly_is_refused() -> None:
    files = replay(Files, SPEC, ())
    text = "x" * MAX_TEXT
    answers = [
        files.act(ToolCall(name="write_file", arguments={"path": f"/{number}", "text": text})) for number in range(12)
    ]
    assert sum(answer.startswith(ERROR) for answer in answers) == 12 - MAX_TOTAL // MAX_TEXT + 1
    assert f"room for {MAX_ENTRIES} files" in answers[-1]
    files.reset({"root": {f"{number}": "" for number in range(MAX_ENTRIES)}})
    assert f"room for {MAX_ENTRIES} files" in files.act(ToolCall(name="make_folder", arguments={"path": "/x"}))
    grown = [files.act(ToolCall(name="copy", arguments={"source": "/1", "target": "/y"})) for _ in range(2)]
    assert all(answer.startswith(ERROR) for answer in grown)


def test_what_is_moved_takes_no_room_beside_itself() -> None:
    full = {f"{number}": "" for number in range(MAX_ENTRIES - 1)}
    files = replay(Files, EnvSpec(toolkit="files", state={"root": {"a": full}}), ())
    assert files.act(ToolCall(name="move", arguments={"source": "/a", "target": "/b"})) == "/a is now /b."
    assert files.state()["root"] == {"b": full}
    refused = files.act(ToolCall(name="move", arguments={"source": "/b", "target": "/c/d"}))
    assert (refused, files.state()["root"]) == ("error: there is no folder /c", {"b": full})


def test_a_text_that_would_grow_too_large_is_never_made() -> None:
    files = replay(Files, EnvSpec(toolkit="files", state={"root": {"a": "x" * MAX_TEXT}}), ())
    call = ToolCall(name="replace_text", arguments={"path": "a", "old": "x", "new": "y" * MAX_TEXT})
    assert files.act(call) == f"error: a file holds {MAX_TEXT} characters at most"


def test_a_search_ends_where_there_is_too_much() -> None:
    files = replay(Files, EnvSpec(toolkit="files", state={"root": {"a": "x\n" * 1000}}), ())
    found = json.loads(files.act(ToolCall(name="search_text", arguments={"text": "x"})))
    assert len(found) == 101
    assert found[-1] == "and more: narrow the search"


@pytest.mark.parametrize(
    "state",
    [
        {},
        {"root": []},
        {"root": {"a": 1}},
        {"root": {"..": "x"}},
        {"root": {"a/b": "x"}},
        {"root": {}, "_folder": "/x"},
        {"root": {}, "_folder": 1},
        {"root": {}, "other": 1},
        {"root": {"a": "x" * (MAX_TEXT + 1)}},
    ],
)
def test_what_is_no_state_is_told_so(state: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="no state of the environment files: "):
        Files().reset(state)


PATHS = st.one_of(
    st.sampled_from(["/", "..", ".", "notes", "a.txt", "/notes/a.txt", "/b.md", "/x", "/notes/", "/x/y", "old"]),
    st.text(max_size=6),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | PATHS,
    lambda each: st.lists(each, max_size=2) | st.dictionaries(st.text(max_size=4), each, max_size=2),
    max_leaves=4,
)
TOOLS = Files().tools


@st.composite
def calls(draw: st.DrawFn) -> ToolCall:
    """A call as a model might write it: often right, sometimes of any shape."""
    tool = draw(st.sampled_from(TOOLS))
    names = [name for name in tool.properties if name in tool.required or draw(st.integers(0, 3)) == 0]
    arguments = {name: draw(PATHS if draw(st.integers(0, 9)) else JSON) for name in names}
    for name, schema in tool.properties.items():
        if name in arguments and schema.get("type") == "boolean" and draw(st.booleans()):
            arguments[name] = draw(st.booleans())
    if draw(st.integers(0, 19)) == 0:
        arguments[draw(st.text(max_size=4))] = draw(JSON)
    return ToolCall(name=draw(st.sampled_from([tool.name] * 20 + ["", "sh"])), arguments=arguments)


@settings(max_examples=50, deadline=None)
@given(given_calls=st.lists(calls(), max_size=12))
def test_any_calls_are_answered_alike_and_only_what_writes_and_is_met_changes_the_state(
    given_calls: list[ToolCall],
) -> None:
    before = canonical_json(STATE)
    one, other = replay(Files, SPEC, ()), replay(Files, SPEC, ())
    for call in given_calls:
        was = one.state()
        answer = one.act(call)
        assert answer == other.act(call)
        if call.name not in one.writes or answer.startswith(ERROR):
            assert one.state() == was
        again = replay(Files, SPEC.model_copy(update={"state": one.state()}), ())
        assert again.state() == one.state() == other.state()
    assert canonical_json(STATE) == before
