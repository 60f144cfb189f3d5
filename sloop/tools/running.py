"""Tools that run, by how a reader names them on a command line."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from sloop.records import Tool, UserError
from sloop.records.ranges import PathText
from sloop.tools.builtin import BY_DEFAULT, NAMES, builtin_tools
from sloop.tools.contract import RunnableTool, as_tool, definition, named
from sloop.tools.isolated import IsolatedTool
from sloop.tools.openapi import OpenApi
from sloop.tools.sources import SOURCE

FORMS = (
    f"builtin (or one of {', '.join(NAMES)}), MODULE:ATTRIBUTE (a tool, a function, or a mapping of such by name), "
    "an OpenAPI document (.json, .yaml), or mcp:COMMAND or mcp:ADDRESS of an MCP server"
)
SECONDS = 60.0
"""Longest answer of a server."""
TOKEN = "SLOOP_TOOLS_TOKEN"
"""Environment variable whose value an OpenAPI document's server is sent as a bearer token."""
DOCUMENTS = (".json", ".yaml", ".yml", ".json.gz", ".yaml.gz", ".yml.gz")


@contextmanager
def open_tools(
    given: Sequence[str], *, root: Path = Path(), base_url: str | None = None, isolate: bool = False
) -> Iterator[dict[str, RunnableTool]]:
    """Tools by name, and their definitions checked; servers that were started end with the block.

    Args:
        given: see `FORMS`.
        root: the workspace of the built-in tools, and all that isolated ones see of the user's files.
        base_url: where an OpenAPI document is served.
        isolate: run Python tools in a sandbox, each call in a process of its own (`IsolatedTool`).

    Raises:
        UserError: there is no such tool, two have one name, a definition is not usable, or this machine cannot isolate.
    """
    found: dict[str, RunnableTool] = {}
    with ExitStack() as opened:
        for what in given:
            for name, tool in _named(what, root, base_url, isolate, opened.callback).items():
                if name in found:
                    raise UserError(f"two tools are called {name}. Leave one of them out.")
                definition(name, tool)
                found[name] = tool
        yield found


def definitions_of(tools: Mapping[str, RunnableTool]) -> tuple[Tool, ...]:
    """What a model is shown of tools that run."""
    return tuple(definition(name, tool) for name, tool in tools.items())


class PythonTools:
    """Functions of Python and other tools that run (`sloop.tools.sources.ToolSource`): samples are made of their
    definitions, and nothing is called.
    """

    MODULES = (*(f"sloop.tools.{name}" for name in ("running", "isolated", "launch", "sandbox")), *SOURCE)

    def __init__(self, *, module: PathText) -> None:
        """Take the name, ``module:attribute`` (see `python_tools`)."""
        self.module = module

    def tools(self) -> Sequence[Tool]:
        """Their definitions, in the mapping's order.

        Raises:
            UserError: there is nothing of that name, it is no tool, or a definition is not usable.
        """
        try:
            return definitions_of(python_tools(self.module))
        except UserError as error:
            raise UserError(f"tools.module={self.module}: {error}") from error


def _named(
    what: str, root: Path, base_url: str | None, isolate: bool, at_the_end: Callable[[Callable[[], None]], Any]
) -> Mapping[str, RunnableTool]:
    if what == "builtin" or what in NAMES:
        return builtin_tools(root=root, allow=BY_DEFAULT if what == "builtin" else [what])
    if what.startswith("mcp:"):
        from sloop.tools.mcp import McpServer

        server = McpServer(server=what.removeprefix("mcp:"), env={}, keep_going=False, seconds=SECONDS)
        at_the_end(server.close)
        return server.runnable()
    if what.endswith(DOCUMENTS):
        return OpenApi(
            document=what, base_url=base_url, token_variable=TOKEN, keep_going=False, seconds=SECONDS
        ).runnable()
    tools = python_tools(what)
    if not isolate:
        return tools
    several = isinstance(named(what), Mapping)
    return {name: IsolatedTool(what, key=name if several else None, root=root) for name in tools}


def python_tools(name: str) -> dict[str, RunnableTool]:
    """The tool or tools that ``module:attribute`` names, of this folder or installed; functions become tools.

    Raises:
        UserError: there is none of that name, or it is none.
    """
    if ":" not in name:
        raise UserError(f"{name}: no such tools. Give {FORMS}.")
    sys.path[:0] = [] if str(Path.cwd()) in sys.path else [str(Path.cwd())]
    found = named(name)
    rows = found if isinstance(found, Mapping) else {name.partition(":")[2]: found}
    return {str(key): as_tool(f"{name}, {key}", each) for key, each in rows.items()}
