"""Tools of an MCP server: one from the package index as it is, and one that misbehaves."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sloop.calls.schema import call_errors
from sloop.records import ToolCall, UserError
from sloop.tools.contract import ToolError, definition, run_tool

pytest.importorskip("mcp", reason="the extra mcp is not installed: pip install -e .[mcp]")

from sloop.tools.mcp import McpServer


def served(server: str, *, keep_going: bool = False, seconds: float = 60.0) -> McpServer:
    return McpServer(server=server, env={}, keep_going=keep_going, seconds=seconds)


SCRIPT = Path(__file__).with_name("mcp_server.py")


def call(server: McpServer, name: str, **arguments: object) -> str:
    return asyncio.run(run_tool(server.runnable()[name], dict(arguments)))


@pytest.fixture
def bad(monkeypatch: pytest.MonkeyPatch) -> Iterator[McpServer]:
    monkeypatch.setenv("SECRET", "a key of this process")
    server = served(f"{sys.executable} {SCRIPT}", seconds=20)
    yield server
    server.close()


def test_a_server_of_the_package_index_is_listed_and_called_as_it_is() -> None:
    pytest.importorskip("mcp_server_time", reason="it is of the development set: pip install mcp-server-time")
    server = served(f"{sys.executable} -m mcp_server_time --local-timezone Europe/Paris")
    try:
        names = [tool.name for tool in server.tools()]
        assert names == ["get_current_time", "convert_time"]
        tool = server.runnable()["convert_time"]
        given = {"source_timezone": "Etc/UTC", "time": "12:00", "target_timezone": "Asia/Tokyo"}
        assert call_errors(ToolCall(name="convert_time", arguments=given), [definition("convert_time", tool)]) == ()
        assert not tool.mutates
        assert '"time_difference": "+9.0h"' in call(server, "convert_time", **given)
        with pytest.raises(ToolError, match="Mars"):
            call(server, "get_current_time", timezone="Mars/Olympus")
    finally:
        server.close()


def test_all_pages_are_listed_and_names_are_such_as_servers_take(bad: McpServer) -> None:
    tools = bad.runnable()
    assert list(tools) == ["answer", "fail", "die", "hang", "picture", "math_add"]
    assert tools["answer"].mutates, "nothing says that it only reads"


def test_the_program_gets_no_variable_of_this_process(bad: McpServer) -> None:
    assert call(bad, "math_add") == "none"


def test_a_failure_is_told_in_the_tool_s_words_and_a_picture_is_named(bad: McpServer) -> None:
    with pytest.raises(ToolError, match=r"\Anone\Z"):
        call(bad, "fail")
    assert call(bad, "picture") == "[image, left out]"


def test_a_server_that_dies_is_told_and_started_anew(bad: McpServer) -> None:
    with pytest.raises(ToolError, match="has ended"):
        call(bad, "die")
    assert call(bad, "answer") == "none"


def test_a_call_that_hangs_can_be_given_up(bad: McpServer) -> None:
    async def give_up() -> None:
        async with asyncio.timeout(0.3):
            await run_tool(bad.runnable()["hang"], {})

    with pytest.raises(TimeoutError):
        asyncio.run(give_up())


def test_what_cannot_be_read_is_named_or_left_out() -> None:
    for keep_going in (False, True):
        server = served(f"{sys.executable} {SCRIPT} unreadable", keep_going=keep_going)
        try:
            if keep_going:
                for _ in range(2):
                    assert len(server.tools()) == 6
                    assert "1 of 7 definitions are left out" in server.notes()[0]
                    assert "tool bad" in server.notes()[1]
                    assert "'math.add' is math_add" in server.notes()[2]
                    assert len(server.notes()) == 3
            else:
                with pytest.raises(UserError, match=r"tool bad.*strin"):
                    server.tools()
        finally:
            server.close()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"server": "no-such-program-here"}, "does not start: FileNotFoundError"),
        ({"server": "http://127.0.0.1:9/mcp", "seconds": 5.0}, "does not start"),
        ({"server": "'open"}, "no command line"),
        ({"server": " "}, "no command line"),
    ],
)
def test_a_server_that_cannot_be_had_is_a_mistake_of_the_reader_s(arguments: dict[str, object], told: str) -> None:
    with pytest.raises(UserError, match=told):
        served(**arguments).tools()  # type: ignore[arg-type]


def test_a_list_without_end_is_an_error() -> None:
    server = served(f"{sys.executable} {SCRIPT} endless")
    try:
        with pytest.raises(UserError, match="without end"):
            server.tools()
    finally:
        server.close()


def test_a_server_that_writes_what_is_no_message_floods_no_log(caplog: pytest.LogCaptureFixture) -> None:
    server = served(f"{sys.executable} -c 'for _ in range(50): print(1 / 3, flush=True)'", seconds=20)
    with pytest.raises(UserError, match="does not start"):
        server.tools()
    assert not caplog.records
