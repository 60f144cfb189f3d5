"""Names of tools on their way to a server, and back."""

from __future__ import annotations

from kinds import Kind

TITLE = "Names sent to servers"
ABOUT = (
    "A sample's tools may have any names (BFCL's have dots); servers take letters, digits, `_` and `-`, 64 at most. "
    "What they refuse is sent as `_`, a longer name is cut; a call of the name that was sent is one of the tool's own."
)
LONG = "mcp__4e9e25f1-b480-40f3-ba8d-a792f8f6ff07__update_project_deployment_protection"


def _kind(name: str, source: str, given: list[str], comes: list[str] | str) -> Kind:
    read_as = f"this sample's failure: “{comes}”" if isinstance(comes, str) else f"`{'`, `'.join(comes)}`, and back"
    return Kind(name, source, f"`{'`, `'.join(given)}`", read_as, given, comes)


KINDS = [
    _kind("a dot", "ShishirPatil/gorilla bfcl_eval/model_handler/utils.py", ["math.factorial", "now"],
          ["math_factorial", "now"]),
    _kind("dots of one server's tools", "openai/codex#8174", ["calendar.updateEvent", "calendar.respondToEvent"],
          ["calendar_updateEvent", "calendar_respondToEvent"]),
    _kind("a dot within a word", "hostinger/api-mcp-server#40", ["hosting_createNode.jsBuildFromArchiveV1"],
          ["hosting_createNode_jsBuildFromArchiveV1"]),
    _kind("a slash", "malloydata/publisher#543", ["malloy/executeQuery"], ["malloy_executeQuery"]),
    _kind("spaces", "modelcontextprotocol/csharp-sdk#679", ["local.netcore server getMacroList"],
          ["local_netcore_server_getMacroList"]),
    _kind("no letters of ASCII", "crewAIInc/crewAI#7625", ["搜索工具"], ["____"]),
    _kind("79 letters", "microsoft/foundry-dev-tools#723", [LONG], [LONG[:64]]),
    _kind("as servers take it", "mattt/iMCP#71", ["math_add", "get-time"], ["math_add", "get-time"]),
    _kind("a dot in one, _ in the other", "sourcebot-dev/sourcebot#1423", ["catalog.query", "catalog_query"],
          "catalog.query and catalog_query would both be catalog_query"),
    _kind("two of no letters", "crewAIInc/crewAI#7625", ["搜索工具", "天气预报"],
          "搜索工具 and 天气预报 would both be ____"),
    _kind("two that begin with the same 64 letters", "activepieces/activepieces#11544", [LONG, f"{LONG}s"],
          f"would both be {LONG[:64]}"),
]  # fmt: skip
