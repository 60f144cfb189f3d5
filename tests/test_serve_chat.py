"""``sloop chat`` and ``sloop tools``: a real endpoint, real tools, and cases that pass and fail."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from endpoint import Endpoint, serving

from sloop.records import Label, ToolCall, UserError
from sloop.serve.chat import STANDARD, chat, tools

MODULE = '''
from sloop.tools.contract import tool

@tool(mutates=True)
def double(number: int) -> int:
    """Double a number."""
    return 2 * number

def shout(text: str) -> str:
    """Shout."""
    return text.upper()

def leave() -> None:
    """Leave."""
    raise SystemExit(3)

class Case: ...

ALL = {"twice": double, "shout": shout}
'''


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with serving() as server:
        server.answer = obedient
        yield server


@pytest.fixture(autouse=True)
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "chat_tools.py").write_text(MODULE, encoding="utf-8")
    (tmp_path / "broken_tools.py").write_text("ALL = {}\n1 / 0\n", encoding="utf-8")
    (tmp_path / "api.json").write_text('{"openapi": "3.1.0", "paths": {"/a": {"get": {}}}}', encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    sys.modules.pop("chat_tools", None)


def obedient(body: dict[str, Any]) -> Label:
    """What the standard cases want."""
    asked = body["messages"][-1]
    if asked["role"] == "tool":
        return Label(content=f"It says {asked['content']}")
    for line in STANDARD.read_text(encoding="utf-8").splitlines():
        case = json.loads(line)
        if case["say"] == asked["content"]:
            calls = tuple(ToolCall(**call) for call in case.get("calls", ()))
            return Label(calls=calls, content="" if calls else "Ready.")
    return Label(calls=(ToolCall(name="twice", arguments={"number": 21}),))


def talk(endpoint: Endpoint, *arguments: str) -> None:
    chat(["--url", endpoint.url, "--model", "small", *arguments])


def test_the_standard_cases_run(endpoint: Endpoint, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("simpleeval", reason='the calculator needs it: pip install "sloop[tools]"')
    talk(endpoint, "--script", "standard")
    said = capsys.readouterr().out
    assert "4 of 4 cases as expected" in said
    assert "= 7006652" in said


def test_a_mismatch_is_told_and_exits_1(endpoint: Endpoint, capsys: pytest.CaptureFixture[str]) -> None:
    cases = [
        {"say": "a", "calls": [{"name": "twice", "arguments": {"number": 21}}], "mentions": ["42"]},
        {"say": "b", "calls": [{"name": "twice", "arguments": {"number": 20}}]},
        {"say": "c", "calls": [{"name": "twice", "arguments": {"number": 21}}], "mentions": ["43"]},
    ]
    Path("cases.jsonl").write_text("\n".join(map(json.dumps, cases)), encoding="utf-8")
    with pytest.raises(SystemExit) as ended:
        talk(endpoint, "--tools", "chat_tools:ALL", "--script", "cases.jsonl")
    assert ended.value.code == 1
    said = capsys.readouterr().out
    assert "case 1: as expected" in said
    assert "case 2: MISMATCH: value:twice.number" in said
    assert "case 3: MISMATCH: its words do not hold '43'" in said
    assert "1 of 3 cases as expected" in said


def test_a_script_without_cases_is_no_check(endpoint: Endpoint) -> None:
    Path("cases.jsonl").write_text("\n", encoding="utf-8")
    with pytest.raises(UserError, match="it holds no cases"):
        talk(endpoint, "--tools", "chat_tools:ALL", "--script", "cases.jsonl")


def test_a_dialogue_is_typed(
    endpoint: Endpoint, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("Double 21.\n\n"))
    talk(endpoint, "--tools", "chat_tools:ALL", "--system", "Be brief.")
    said = capsys.readouterr().out
    assert '[call_0] twice {"number": 21}' in said
    assert "= 42" in said
    assert "It says 42" in said
    assert endpoint.seen[0]["messages"][0] == {"role": "system", "content": "Be brief."}


def test_who_answers_must_be_said(endpoint: Endpoint) -> None:
    both = ["--url", endpoint.url, "--path", "x", "--model", "m"]
    for arguments in ([], ["--url", endpoint.url], both, ["--path", "x", "--model", "m"]):
        with pytest.raises(UserError, match="--model"):
            chat(arguments)


def test_tools_are_listed_and_called(capsys: pytest.CaptureFixture[str]) -> None:
    tools(["list", "chat_tools:ALL"])
    tools(["call", "chat_tools:ALL", "twice", '{"number": 4}'])
    tools(["check", "builtin"])
    tools(["list", "api.json"])
    said = capsys.readouterr().out
    assert "Double a number." in said
    assert "\n8\n" in said
    assert "6 tools, names and schemas" in said
    assert "1 tools, names" in said, "a document is listed without an address"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["call", "chat_tools:ALL", "thrice"], "no tool is called thrice; there are twice, shout"),
        (["call", "chat_tools:ALL", "twice", '{"number": "4"}'], "type:number expected integer, got string"),
        (["call", "chat_tools:ALL", "twice", "4"], "no JSON object"),
        (["list", "chat_tools:NONE"], "Give module:attribute"),
        (["list", "chat_tools"], "no such tools"),
        (["list", "chat_tools:Case"], "is the class Case: name an instance"),
        (["list", "broken_tools:ALL"], r"cannot be imported: ZeroDivisionError: .*broken_tools.py, line 2"),
        (["call", "chat_tools:ALL"], "the tool's name is missing; there are twice, shout"),
        (["call", "chat_tools:leave", "leave"], "leave: SystemExit: 3"),
        (["call", "api.json"], "--base-url"),
        (["list", "chat_tools:__name__"], "is a str; a function or a tool is wanted"),
        (["list", "read_file", "--root", "nowhere"], "no such folder"),
        (["list", "chat_tools:ALL", "twice"], "list takes no twice: .* sloop tools call chat_tools:ALL NAME"),
    ],
)
def test_a_mistake_is_told(arguments: list[str], told: str) -> None:
    with pytest.raises(UserError, match=told):
        tools(arguments)
