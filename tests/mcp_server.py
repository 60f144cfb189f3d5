"""An MCP server in fifty lines, of the handshake of 2025: it answers, fails, dies or hangs as it is told."""

import json
import os
import sys
import time
from typing import Any

TOOLS = [
    {"name": name, "description": name, "inputSchema": {"type": "object", "properties": {}}}
    for name in ("answer", "fail", "die", "hang", "picture", "math.add")
]
if "unreadable" in sys.argv:
    TOOLS.append({"name": "bad", "inputSchema": {"type": "object", "properties": {"x": {"type": "strin"}}}})


def result(method: str, params: dict[str, Any]) -> dict[str, Any]:
    name = params.get("name")
    if method == "initialize":
        server = {"name": "bad", "version": "0"}
        version = params["protocolVersion"]
        return {"protocolVersion": version, "capabilities": {"tools": {}}, "serverInfo": server}
    if method == "tools/list":
        at = int(params.get("cursor") or 0)
        rows = TOOLS[at : at + 4] if "endless" not in sys.argv else TOOLS[:1]
        more = {"nextCursor": str(at + 4)} if "endless" in sys.argv or at + 4 < len(TOOLS) else {}
        return {"tools": rows, **more}
    if name == "die":
        os._exit(1)
    if name == "hang":
        time.sleep(3600)
    if name == "picture":
        return {"content": [{"type": "image", "data": "AAAA", "mimeType": "image/png"}]}
    return {"content": [{"type": "text", "text": os.environ.get("SECRET", "none")}], "isError": name == "fail"}


for line in sys.stdin:
    asked = json.loads(line)
    if "id" not in asked:
        continue
    if asked["method"] in ("initialize", "tools/list", "tools/call"):
        answer = {"result": result(asked["method"], asked.get("params") or {})}
    else:
        answer = {"error": {"code": -32601, "message": "no such method"}}
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", "id": asked["id"], **answer}) + "\n")
    sys.stdout.flush()
