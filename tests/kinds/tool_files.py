"""Files of tools: names, bad ones among good ones, and how the file is written."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from kinds import Kind
from kinds.tools import TOWN

TITLE = "Files of tools"
ABOUT = (
    "Names become such as servers take, which is told. A definition that cannot be read ends the command with its "
    "reason; `tools.keep_going=true` leaves it out, named and counted."
)


def tool(name: str, **keys: Any) -> dict[str, Any]:
    """A definition."""
    return {"name": name, "description": "Find it.", "parameters": TOWN, **keys}


def text(*names: str) -> bytes:
    """A file of tools of these names."""
    return json.dumps([tool(name) for name in names]).encode()


class Kept(NamedTuple):
    """What `tools.keep_going=true` makes of a file that is else an error."""

    refused: str
    """A part of that error."""
    names: list[str]
    told: list[str]
    """A part of what is told of each definition that is left out."""


def _kept(name: str, source: str, looks: str, given: list[Any] | bytes, comes: Kept) -> Kind:
    read_as = f"an error; with `keep_going` {', '.join(comes.names)}, and {len(comes.told)} left out, named"
    return Kind(name, source, looks, read_as, given if isinstance(given, bytes) else json.dumps(given).encode(), comes)


def _lines(*lines: bytes) -> bytes:
    return b"\n".join(lines) + b"\n"


ONE = "tools.keep_going=true"
BAD, GOOD = tool("a", parameters={"type": "string"}), tool("b")
KINDS = [
    Kind("name with a dot", "xorbitsai/xagent#1340", '"depot.find"', "depot_find", text("depot.find"), ["depot_find"]),
    Kind("name with a slash", "danishjsheikh/swagger-mcp#13", '"get_/whoami"', "get__whoami", text("get_/whoami"),
         ["get__whoami"]),
    Kind("name of a path", "jedisct1/openapi-mcp#9", '"DELETE_/points/{id}"', "DELETE__points_id",
         text("DELETE_/points/{id}"), ["DELETE__points_id"]),
    Kind("name with a space", "ivo-toby/mcp-openapi-server#5", '"Find depot"', "Find_depot", text("Find depot"),
         ["Find_depot"]),
    Kind("name with an umlaut", "github/copilot-sdk#743", '"größe"', "gro_e", text("größe"), ["gro_e"]),
    Kind("name of no letters", "RageAgainstThePixel/OpenAI-DotNet#270", '"工具"', "an error", text("工具"),
         "is not allowed"),
    Kind("name too long", "jedisct1/openapi-mcp#9", "65 letters", "cut, its end a digest of the whole",
         text("x" * 65), ["x" * 55 + "_cfa70e8e"]),
    Kind("byte order mark", "volcengine/OpenViking#500", "EF BB BF", "passed over", b"\xef\xbb\xbf" + text("a"), ["a"]),
    Kind("byte order mark before lines", "eprbell/rp2#33", "EF BB BF", "passed over",
         b"\xef\xbb\xbf" + json.dumps(tool("a")).encode() + b"\n", ["a"]),
    Kind("byte order mark of UTF-16", "cityjson/cjio#21", "FF FE", "an error", text("a").decode().encode("utf-16"),
         "UTF-16"),
    Kind("lines, whatever the file's name", "ShishirPatil/gorilla bfcl_eval/data",
         "a definition a line", "each is a tool", b"\n".join(json.dumps(tool(name)).encode() for name in "ab"),
         ["a", "b"]),
    _kept("one bad tool", "sandialabs/atlas-ui-3#727", "one of two is of `type: string`", [BAD, GOOD],
          Kept(ONE, ["b"], ["tool 1, a: "])),
    _kept("two bad tools", "mastra-ai/mastra#23731", "`required` within `properties`, and no object",
          [BAD, GOOD, tool("c", parameters={"properties": {"x": {"type": "string"}, "required": ["x"]}})],
          Kept(ONE, ["b"], ["tool 1, a: ", "tool 3, c: "])),
    _kept("one without a name", "ivo-toby/mcp-openapi-server#5", "no `name`", [{"description": "Find it."}, GOOD],
          Kept(ONE, ["b"], ["tool 1"])),
    _kept("two of one name among others", "hostinger/api-mcp-server#52", '"a.b", "a_b", "b"',
          [tool("a.b"), tool("a_b"), GOOD],
          Kept("a second tool is named a_b", ["a_b", "b"], ["a second tool is named a_b"])),
    _kept("a line that holds a number", "huggingface/trl#5307", "`3`", _lines(b"3", json.dumps(GOOD).encode()),
          Kept("line", ["b"], ["line 1"])),
    _kept("a line that is cut off", "huggingface/trl#5307", '`{"name": "c", "param}`',
          _lines(json.dumps(GOOD).encode(), b'{"name": "c", "param}'), Kept("line 2, is not JSON", ["b"], ["line 2"])),
    Kind("all bad", "jedisct1/openapi-mcp#9", "two of two", "an error that names both", json.dumps([BAD, BAD]).encode(),
         "2 of 2 definitions"),
    Kind("nothing", "huggingface/trl#5307", "[]", "an error", b"[]", "holds no tools"),
]  # fmt: skip
