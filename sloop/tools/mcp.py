"""Tools of an MCP server, a program of its own or an address, through the official SDK (extra ``mcp``).

What a server says of its tools is read as a file's definitions are, and what it answers is text of a stranger's.
"""

from __future__ import annotations

import asyncio
import logging
import shlex
import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any

from anyio.from_thread import BlockingPortal, start_blocking_portal
from mcp import Client, MCPError, StdioServerParameters
from mcp.types import CallToolResult, ListToolsResult, TextContent

from sloop.records import Tool, UserError, to_json
from sloop.records.ranges import PathText, Seconds
from sloop.tools.contract import ToolError
from sloop.tools.sources import SOURCE, checked_tools

LONGEST_SAID = 300
"""Characters of an error that are repeated."""
MOST_PAGES = 100
"""Of a list of tools: one that never ends is cut off here, with an error."""
# It logs a traceback for every line of a server that is no message, and a server may write such lines without end
logging.getLogger("mcp.client.stdio").setLevel(logging.CRITICAL)


class McpServer:
    """A server and its tools (`sloop.tools.sources.ToolSource`). It is started, or connected to, when first asked.

    It may be used from any thread or event loop; `close` ends it.
    """

    MODULES = ("sloop.tools.mcp", *SOURCE)

    def __init__(
        self,
        *,
        server: PathText,
        env: dict[str, str],
        keep_going: bool,
        seconds: Seconds,
    ) -> None:
        """Take the server's whereabouts; nothing is started.

        Args:
            server: the address of one over streamable HTTP, or the command line of a program, over stdio. That gets
                HOME, LOGNAME, PATH, SHELL, TERM, USER and ``env``, and no other variable of this process.
            env: variables of the program.
            keep_going: leave out tools that cannot be read.
            seconds: longest answer. A start may take 10 s more, in which the SDK asks for the protocol's version.

        Raises:
            UserError: the command line's quotes do not close, or it is empty.
        """
        self.where = server
        self._target: str | StdioServerParameters = server
        if not server.startswith(("http://", "https://")):
            try:
                program, *arguments = shlex.split(server)
            except ValueError as error:
                raise UserError(
                    f"MCP server {server!r} is no command line ({error}) and no address. Give one such as "
                    "'python -m mcp_server_time' or 'http://127.0.0.1:9000/mcp'."
                ) from error
            self._target = StdioServerParameters(command=program, args=arguments, env=dict(env))
        self._keep_going, self._seconds = keep_going, seconds
        self._notes: list[str] = []
        self._open = ExitStack()
        self._client: Client | None = None
        self._portal: BlockingPortal | None = None
        self._opening = threading.Lock()

    def tools(self) -> Sequence[Tool]:
        """Definitions of its tools, in the server's order.

        Raises:
            UserError: it does not start or answer, or a definition cannot be read (see ``keep_going``).
        """
        return tuple(definition for definition, _ in self._list())

    def notes(self) -> Sequence[str]:
        """What was left out when they were last listed, and which names were changed, a sentence each."""
        return tuple(self._notes)

    def runnable(self) -> dict[str, McpTool]:
        """Its tools by name.

        Raises:
            UserError: as of `tools`.
        """
        return {definition.name: McpTool(self, own, definition, mutates) for definition, (own, mutates) in self._list()}

    def close(self) -> None:
        """End it; the next question starts it anew."""
        with self._opening:
            self._open.close()
            self._client = self._portal = None

    async def call(self, name: str, args: dict[str, Any]) -> CallToolResult:
        """Its answer to a call, whichever event loop asks; who gives up waiting cancels it.

        Raises:
            ToolError: it does not answer, or answers with an error of the protocol. One that has ended is started anew
                by the next call.
        """
        portal, client = await asyncio.to_thread(self._connect)
        try:
            return await asyncio.wrap_future(portal.start_task_soon(client.call_tool, name, args))
        except (MCPError, OSError, RuntimeError, ValueError) as error:
            if "closed" in str(error).lower():
                await asyncio.to_thread(self.close)
                raise ToolError(f"the MCP server {self.where} has ended") from error
            raise ToolError(f"the MCP server {self.where}: {_first(error)}") from error

    def _connect(self) -> tuple[BlockingPortal, Client]:
        with self._opening:
            if self._client is None or self._portal is None:
                opened = ExitStack()
                try:
                    portal = opened.enter_context(start_blocking_portal())
                    client = Client(self._target, read_timeout_seconds=self._seconds)
                    opened.enter_context(portal.wrap_async_context_manager(client))
                except (Exception, BaseExceptionGroup) as error:  # whatever the SDK's transports raise of a bad start
                    opened.close()
                    raise UserError(
                        f"the MCP server {self.where} does not start: {_first(error)}. Try it by itself, or "
                        "give another."
                    ) from error
                self._open, self._portal, self._client = opened, portal, client
            return self._portal, self._client

    def _list(self) -> list[tuple[Tool, tuple[str, bool]]]:
        portal, client = self._connect()
        rows: list[Any] = []
        cursor: str | None = None
        for _ in range(MOST_PAGES):
            try:
                page: ListToolsResult = portal.call(partial(client.list_tools, cursor=cursor))
            except (MCPError, OSError, RuntimeError, ValueError) as error:
                raise UserError(f"the MCP server {self.where} does not list its tools: {_first(error)}.") from error
            rows += page.tools
            cursor = page.next_cursor
            if not cursor:
                break
        else:
            raise UserError(f"the MCP server {self.where} lists tools without end: more than {MOST_PAGES} pages.")
        given = [(f"{self.where}, tool {row.name}", row.model_dump(by_alias=True, exclude_none=True)) for row in rows]
        self._notes.clear()
        found = checked_tools(self.where, given, keep_going=self._keep_going, tell=self._notes.append)
        hints = {row.name: row.annotations for row in rows}
        return [(tool, (own, not (hints[own] and hints[own].read_only_hint))) for own, tool in found]


class McpTool:
    """A tool of an `McpServer`; it reads only where the server says so."""

    def __init__(self, server: McpServer, own_name: str, shown: Tool, mutates: bool) -> None:
        """Take the server, and the name that it knows the tool by."""
        self._server, self._own_name, self._shown, self.mutates = server, own_name, shown, mutates

    def description(self) -> str:
        """The server's."""
        return self._shown.description

    def arguments(self) -> Mapping[str, Any]:
        """The server's."""
        return self._shown.parameters

    async def call(self, args: dict[str, Any], /) -> str:
        """The server's answer as text; parts that are none are named.

        Raises:
            ToolError: the server says that it failed, or does not answer.
        """
        answer = await self._server.call(self._own_name, args)
        parts = [part.text if isinstance(part, TextContent) else f"[{part.type}, left out]" for part in answer.content]
        text = "\n".join(parts)
        if not parts and answer.structured_content is not None:
            text = to_json(answer.structured_content)
        if answer.is_error:
            raise ToolError(text)
        return text


def _first(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return f"{type(error).__name__}: {' '.join(str(error).split())[:LONGEST_SAID]}".rstrip(": ")
