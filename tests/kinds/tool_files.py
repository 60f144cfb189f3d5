"""Files of tools: names, bad ones among good ones, and how the file is written."""

from __future__ import annotations

import json
from typing import Any

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
    Kind("name too long", "jedisct1/openapi-mcp#9", "65 letters", "an error", text("x" * 65), "1 to 64"),
    Kind("names that become one", "hostinger/api-mcp-server#52", '"a.b", "a_b"', "an error", text("a.b", "a_b"),
         "a second tool is named a_b"),
    Kind("byte order mark", "volcengine/OpenViking#500", "EF BB BF", "passed over", b"\xef\xbb\xbf" + text("a"), ["a"]),
    Kind("byte order mark before lines", "eprbell/rp2#33", "EF BB BF", "passed over",
         b"\xef\xbb\xbf" + json.dumps(tool("a")).encode() + b"\n", ["a"]),
    Kind("byte order mark of UTF-16", "cityjson/cjio#21", "FF FE", "an error", text("a").decode().encode("utf-16"),
         "UTF-16"),
    Kind("lines, whatever the file's name", "ShishirPatil/gorilla bfcl_eval/data",
         "a definition a line", "each is a tool", b"\n".join(json.dumps(tool(name)).encode() for name in "ab"),
         ["a", "b"]),
    Kind("one bad tool", "ivo-toby/mcp-openapi-server#5", "one of two", "an error that names the way on",
         json.dumps([BAD, GOOD]).encode(), "tools.keep_going=true"),
    Kind("bad line", "huggingface/trl#5307", "a line that holds a number", "an error that names the line",
         b"3\n" + json.dumps(GOOD).encode(), "line"),
    Kind("line that is no JSON", "huggingface/trl#5307", "a line that is cut off", "an error that names the way on",
         json.dumps(GOOD).encode() + b'\n{"name": "c", "param}\n', "line 2, is not JSON"),
    Kind("all bad", "jedisct1/openapi-mcp#9", "two of two", "an error that names both", json.dumps([BAD, BAD]).encode(),
         "2 of 2 definitions"),
    Kind("nothing", "huggingface/trl#5307", "[]", "an error", b"[]", "holds no tools"),
]  # fmt: skip
