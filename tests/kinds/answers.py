"""Answers that others made, as ``sloop eval answers=FILE`` reads them: bodies of the Responses API."""

from __future__ import annotations

from typing import Any

from kinds import Kind
from kinds.replies import AS, CALL_READ, CUT, FAILED, FORMAT, WORDS

TITLE = "Answers in files: bodies of the Responses API"
ABOUT = (
    "What `answers=FILE` reads under `response`, `completion` or `message`, or in a batch's line, where it has an "
    '`output`. The call of the tool on offer is `depot(town="Bari")`. A failure is in no figure.'
)
TYPES = "openai/openai-python src/openai/types/responses"
CALL = {"type": "function_call", "call_id": "c", "name": "depot", "arguments": '{"town": "Bari"}'}
SAID = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "None fits."}]}
THOUGHT = {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "I call depot."}]}


def _kind(name: str, source: str, looks: str, given: dict[str, Any], comes: str, calls: int = 0) -> Kind:
    read_as = f"{calls} calls" if calls > 1 else AS[comes]
    return Kind(name, source, looks, read_as, given, (comes, calls or int(comes == CALL_READ)))


def _cut(reason: str | None, *items: dict[str, Any]) -> dict[str, Any]:
    return {"output": list(items), "status": "incomplete", "incomplete_details": reason and {"reason": reason}}


KINDS = [
    _kind("a call", f"{TYPES}/response_function_tool_call.py", "`function_call`",
          {"output": [CALL], "status": "completed", "error": None}, CALL_READ),
    _kind("a call after reasoning", "vllm-project/vllm#24637", "`reasoning`, `function_call`, no `status`",
          {"output": [THOUGHT, CALL], "status": None}, CALL_READ),
    _kind("two calls", f"{TYPES}/response_function_tool_call.py", "`function_call` twice", {"output": [CALL, CALL]},
          CALL_READ, 2),
    _kind("a call beside words", f"{TYPES}/response_output_message.py", "`message`, `function_call`",
          {"output": [SAID, CALL], "status": "completed"}, CALL_READ),
    _kind("words", f"{TYPES}/response_output_message.py", "`message`", {"output": [SAID], "status": "completed"},
          WORDS),
    _kind("words as a text", f"{TYPES}/easy_input_message.py", "`message`, its `content` a text",
          {"output": [{**SAID, "content": "None fits."}]}, WORDS),
    _kind("a refusal in words", f"{TYPES}/response_output_refusal.py", "a part `refusal`",
          {"output": [{"type": "message", "content": [{"type": "refusal", "refusal": "No."}]}]}, WORDS),
    _kind("arguments that break off", "vllm-project/vllm#47761", '`{"cmd": "mkdir`, and `completed` all the same',
          {"output": [{**CALL, "arguments": '{"town": "Ba'}], "status": "completed"}, FORMAT),
    _kind("arguments with a mark of the template", "vllm-project/vllm#55495", '`</parameter": `',
          {"output": [{**CALL, "arguments": '{"town": "Bari", "x\\n</parameter": '}]}, FORMAT),
    _kind("no arguments", f"{TYPES}/response_function_tool_call.py", "an empty text",
          {"output": [{**CALL, "name": "list_depots", "arguments": ""}]}, CALL_READ),
    _kind("a custom tool's call", f"{TYPES}/response_custom_tool_call.py", "`custom_tool_call`, `input`, beside words",
          {"output": [SAID, {"type": "custom_tool_call", "call_id": "c", "name": "depot", "input": "Bari"}]}, FORMAT),
    _kind("reasoning alone", "NillionNetwork/nilAI#184", "`reasoning`", {"output": [THOUGHT]}, FAILED),
    _kind("nothing", "NousResearch/hermes-agent#65061", "`output: []`", {"output": [], "status": "completed"}, FAILED),
    _kind("cut short", "vllm-project/vllm#24561", "`incomplete`, `max_output_tokens`",
          _cut("max_output_tokens", SAID), CUT),
    _kind("a call cut short", "vllm-project/vllm#24561", "`incomplete`, `max_output_tokens`",
          _cut("max_output_tokens", {**CALL, "status": "incomplete"}), CUT),
    _kind("filtered", "langchain4j/langchain4j#6181", "`incomplete`, `content_filter`", _cut("content_filter", SAID),
          FAILED),
    _kind("incomplete without a reason", "langchain4j/langchain4j#6182", "`incomplete` alone", _cut(None, SAID),
          FAILED),
    _kind("failed", f"{TYPES}/response_error.py", "`failed`, `server_error`",
          {"output": [], "status": "failed", "error": {"code": "server_error", "message": "no"}}, FAILED),
    *(_kind(f"{status}", f"{TYPES}/response_status.py", f"`{status}`, and words so far",
            {"output": [SAID], "status": status}, FAILED) for status in ("in_progress", "cancelled", "queued")),
]  # fmt: skip
