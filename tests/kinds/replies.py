"""Replies of real servers: bodies under the status 200 and errors, as a student meets them over HTTP."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from kinds import Kind

TITLE = "Replies of servers"
ABOUT = (
    'What a server answers to one question, with a tool `depot` on offer whose call is `depot(town="Bari")`. A format '
    "error is an attempt to call that cannot be read, wrong in every figure. A failure is in no figure, no cache keeps "
    "it, it is asked again, and a run in which too many fail stops."
)
CALL = {"id": "c1", "type": "function", "function": {"name": "depot", "arguments": '{"town": "Bari"}'}}
SPOKEN = {"role": "assistant", "content": "Good morning."}
CALLED = {"role": "assistant", "content": None, "tool_calls": [CALL]}
EMPTY = {"role": "assistant", "content": ""}
OLD = '{"town" "x"}'


class Answered(NamedTuple):
    """What the server says."""

    body: Any
    """JSON, or bytes as they are."""
    status: int = 200


def reply(message: Any = SPOKEN, finish: Any = "stop", **more: Any) -> Answered:
    """A completion; keys beside the choice's own replace those of the whole."""
    choice = {"index": 0, "message": message, "finish_reason": finish, **more.pop("choice", {})}
    usage = {"prompt_tokens": 9, "completion_tokens": 5}
    return Answered({"id": "r", "object": "chat.completion", "choices": [choice], "usage": usage, **more})


def calling(arguments: Any, name: Any = "depot") -> Answered:
    return reply({"content": None, "tool_calls": [{"id": "c", "function": {"name": name, "arguments": arguments}}]})


def error(status: int, message: str, **more: Any) -> Answered:
    return Answered({"error": {"message": message, **more}}, status)


CALL_READ, WORDS, FORMAT, CUT, FAILED = "called", "words", "format", "truncated", "model"
AS = {
    CALL_READ: "the call",
    WORDS: "an answer in words",
    FORMAT: "a format error",
    CUT: "an answer cut off",
    FAILED: "a failure",
}
LITELLM = "BerriAI/litellm litellm/litellm_core_utils/core_helpers.py"


def _kind(name: str, source: str, looks: str, given: Answered, comes: str, says: str = "") -> Kind:
    """``says``: a part of what is told of a failure."""
    return Kind(name, source, looks, AS[comes] + (f": “{says}”" if says else ""), given, (comes, says))


KINDS = [
    # --- good words ---
    *(
        _kind(f"ends with {word}", source, f"`finish_reason: {word}`", reply(message, word), comes)
        for word, source, message, comes in (
            ("stop", "openai/openai-openapi#88", SPOKEN, WORDS),
            ("tool_calls", "vllm-project/vllm#9209", CALLED, CALL_READ),
            ("STOP", LITELLM, SPOKEN, WORDS),
            ("end_turn", "BerriAI/litellm#12481", CALLED, CALL_READ),
            ("tool_use", LITELLM, CALLED, CALL_READ),
            ("stop_sequence", LITELLM, SPOKEN, WORDS),
            ("eos_token", "huggingface/text-generation-inference#2818", SPOKEN, WORDS),
            ("eos", LITELLM, CALLED, CALL_READ),
            ("COMPLETE", "vercel/ai packages/cohere/src/map-cohere-finish-reason.ts", SPOKEN, WORDS),
            ("TOOL_CALL", "vercel/ai packages/cohere/src/map-cohere-finish-reason.ts", CALLED, CALL_READ),
            ("FinishReason.STOP", "pydantic/pydantic-ai#3095", SPOKEN, WORDS),
            ("FINISH_REASON_STOP", "our own", SPOKEN, WORDS),
            ("Stop.", "our own", SPOKEN, WORDS),
        )
    ),
    # --- cut short ---
    *(
        _kind(f"ends with {word}", source, f"`finish_reason: {word}`, half a sentence", reply(message, word), CUT)
        for word, source, message in (
            ("length", "openai/openai-openapi#88", SPOKEN),
            ("max_tokens", LITELLM, SPOKEN),
            ("MAX_TOKENS", "envoyproxy/ai-gateway#2107", EMPTY),
            ("model_length", "laravel/ai#955", SPOKEN),
            ("model_context_window_exceeded", "laravel/ai#955", CALLED),
            ("max_output_tokens", "vllm-project/vllm#24561", SPOKEN),
            ("FINISH_REASON_MAX_TOKENS", "our own", SPOKEN),
            ("max_new_tokens", "turboderp-org/exllamav2 exllamav2/generator/dynamic.py", SPOKEN),
            ("context_length", "our own", SPOKEN),
            ("token_limit", "caikit/caikit-nlp#253", SPOKEN),
            ("ERROR_LIMIT", "vercel/ai packages/cohere/src/map-cohere-finish-reason.ts", SPOKEN),
        )
    ),
    # --- withheld ---
    *(
        _kind(f"ends with {word}", source, f"`finish_reason: {word}`", reply(message, word), FAILED, "filtered")
        for word, source, message in (
            ("content_filter", "openai/openai-openapi#88", None),
            ("SAFETY", LITELLM, EMPTY),
            ("RECITATION", LITELLM, SPOKEN),
            ("content_filter: PROHIBITED_CONTENT", LITELLM, {"role": "assistant"}),
            ("guardrail_intervened", "vercel/ai packages/amazon-bedrock/src/map-bedrock-finish-reason.ts", SPOKEN),
            ("refusal", LITELLM, EMPTY),
            ("sensitive", LITELLM, EMPTY),
            ("ERROR_TOXIC", LITELLM, SPOKEN),
        )
    ),
    _kind(
        "prompt filtered",
        "openai/openai-python#331",
        "400 `content_filter`",
        error(400, "The response was filtered by the content management policy.", code="content_filter"),
        FAILED,
        "filtered",
    ),
    _kind(
        "flagged by moderation",
        "openrouter.ai/docs/api-reference/errors",
        "403, input was flagged",
        error(403, "Your chosen model requires moderation and your input was flagged", code=403),
        FAILED,
        "filtered",
    ),
    # --- the model's call, which the server could not read ---
    *(
        _kind(f"ends with {word}", source, f"`finish_reason: {word}`", reply(message, word), FORMAT)
        for word, source, message in (
            ("MALFORMED_FUNCTION_CALL", "googleapis/python-genai#1836", {"role": "assistant"}),
            ("malformed_function_call", "NousResearch/hermes-agent#83886", CALLED),
            ("function_call_filter: MALFORMED_FUNCTION_CALL", "mozilla-ai/any-llm#1202", {"role": "assistant"}),
            ("UNEXPECTED_TOOL_CALL", LITELLM, EMPTY),
            ("malformed_tool_use", "docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html", EMPTY),
        )
    ),
    _kind(
        "tool_use_failed with what was written",
        "groq/groq-typescript#28",
        "400 `tool_use_failed`, `failed_generation`",
        error(400, "Failed to call a function.", code="tool_use_failed", failed_generation=f"<function=depot>{OLD}"),
        FORMAT,
    ),
    _kind(
        "tool_use_failed of a call that misses the schema",
        "HunorLaczko/ha-groq-cloud-api#20",
        "400 `tool call validation failed`",
        error(400, "tool call validation failed: parameters for tool depot did not match", code="tool_use_failed"),
        FORMAT,
    ),
    _kind(
        "tool_use_failed with words",
        "agno-agi/agno#4090",
        "400, `failed_generation` in prose",
        error(400, "Failed to call a function.", code="tool_use_failed", failed_generation="### The depot\nIn Bari"),
        FORMAT,
    ),
    _kind(
        "a call under the status 500",
        "ollama/ollama#12884",
        "500 `error parsing tool call: raw='...'`",
        Answered({"error": "error parsing tool call: raw='{\"town\": ' err=unexpected end of JSON input"}, 500),
        FORMAT,
    ),
    _kind(
        "a call that a chat parser stopped at",
        "ggml-org/llama.cpp#23838",
        "500 `Failed to parse input at pos 12`",
        error(500, "Failed to parse input at pos 12: <tool_call>depot", code=500, type="server_error"),
        FORMAT,
    ),
    _kind(
        "a call in a broken channel",
        "vllm-project/vllm#50690",
        "500 `Unexpected token 200002 while expecting start token`",
        error(500, "Unexpected token 200002 while expecting start token 200006", code=500),
        FORMAT,
    ),
    _kind(
        "a call in a broken channel, under the status 200",
        "tenstorrent/vllm#386",
        "200, `error.code: 400`",
        Answered({"error": {"message": "unexpected tokens remaining in message header", "code": 400}}),
        FORMAT,
    ),
    _kind(
        "a call of a tool that was not offered",
        "vybestack/llxprt-code#221",
        "400 `Failed to generate tool_calls`",
        error(400, "Failed to generate tool_calls. Exception: Tool is not present in the tools list."),
        FORMAT,
    ),
    _kind(
        "a call that a server of llama.cpp could not read",
        "noonghunna/club-3090#1195",
        "500 `Failed to parse tool call arguments as JSON`",
        error(500, "Failed to parse tool call arguments as JSON: parse error at line 1, column 7", code=500),
        FORMAT,
    ),
    _kind(
        "a call that a gateway could not read",
        "OpenHands/OpenHands#10187",
        "400 `Failed to parse tool call: ...`",
        error(400, "Failed to parse tool call: expected a comma at column 9", type="invalid_request_error"),
        FORMAT,
    ),
    _kind(
        "an output that could not be parsed",
        "OpenHands/OpenHands#10187",
        "400 `output_parse_failed`",
        error(400, "Parsing failed.", code="output_parse_failed"),
        FORMAT,
    ),
    _kind(
        "a call of a tool that is not available",
        "anomalyco/opencode#31558",
        "400 `Model tried to call unavailable tool`",
        error(400, "Model tried to call unavailable tool 'shed'. Available tools: depot"),
        FORMAT,
    ),
    _kind(
        "a limit of the pace beside such words",
        "groq/groq-typescript#28",
        "429 `tool call validation failed`",
        error(
            429, "Rate limit reached; the last request said: tool call validation failed", code="rate_limit_exceeded"
        ),
        FAILED,
        "rate_limit: HTTP 429",
    ),
    _kind(
        "such words of the dialogue that was sent",
        "am17an/llama.cpp#43",
        "400 `messages[2].tool_calls[0]: error parsing tool call`",
        error(400, "messages[2].tool_calls[0]: error parsing tool call arguments in your request"),
        FAILED,
        "refused: HTTP 400",
    ),
    # --- failures under the status 200 ---
    _kind(
        "an upstream that broke",
        "openrouter.ai/docs/api-reference/errors",
        "`finish_reason: error`, `error` in the choice",
        reply(EMPTY, "error", choice={"error": {"code": 502, "message": "Upstream error: overloaded"}}),
        FAILED,
        "server: error 502: Upstream error: overloaded",
    ),
    _kind(
        "an error and no choices",
        "spring-projects/spring-ai#6908",
        "200, `error.code: 429`",
        Answered({"error": {"message": "Provider returned error", "code": 429, "metadata": {"raw": "slow down"}}}),
        FAILED,
        "rate_limit: error 429: Provider returned error slow down",
    ),
    _kind(
        "an error as a text",
        "open-webui/computer#293",
        "200, `error: ...`",
        Answered({"error": "model is loading", "choices": None}),
        FAILED,
        "server: error : model is loading",
    ),
    *(
        _kind(f"ends with {word!r}", source, f"`finish_reason: {word}`", reply(SPOKEN, word), FAILED, "no_answer")
        for word, source in (
            ("insufficient_system_resource", "api-docs.deepseek.com/api/create-chat-completion"),
            ("abort", "vllm-project/vllm#57082"),
            ("network_error", LITELLM),
            ("OTHER", LITELLM),
            ("a word of tomorrow", LITELLM),
            ("error", "openrouter.ai/docs/api-reference/errors"),
            (None, "sgl-project/sglang#4550"),
        )
    ),
    _kind(
        "two words",
        "openrouter.ai/docs/api-reference/overview",
        "`stop`, `native_finish_reason: MAX_TOKENS`",
        reply(choice={"native_finish_reason": "MAX_TOKENS"}),
        CUT,
    ),
    _kind(
        "two words of which one is malformed",
        "Wei-Shaw/sub2api#7081",
        "`stop`, `native_finish_reason: MALFORMED_FUNCTION_CALL`",
        reply(EMPTY, choice={"native_finish_reason": "MALFORMED_FUNCTION_CALL"}),
        FORMAT,
    ),
    _kind(
        "two words of which one is unknown",
        "openrouter.ai/docs/api-reference/overview",
        "`stop`, a provider's own word",
        reply(choice={"native_finish_reason": "completed_v2"}),
        WORDS,
    ),
    _kind("nothing said", "BerriAI/litellm#24442", "`stop`, empty content", reply(EMPTY), FAILED, "nothing was said"),
    _kind(
        "nothing said, no tokens",
        "Sophomoresty/gemini-web2api#49",
        "`stop`, null, `completion_tokens: 0`",
        reply({"content": None}, usage={"prompt_tokens": 1, "completion_tokens": 0}),
        FAILED,
        "0 tokens counted",
    ),
    _kind("white space said", "BerriAI/litellm#24442", "`stop`, line breaks", reply({"content": "\n\n"}), FAILED),
    _kind("no choices", "Portkey-AI/gateway#1303", "`choices: []`", Answered({"choices": []}), FAILED, "no choices"),
    _kind("choices null", "langgenius/dify#9197", "`choices: null`", Answered({"choices": None}), FAILED, "no choices"),
    _kind(
        "calls announced and missing",
        "vllm-project/vllm#53255",
        "`tool_calls`, an empty list",
        reply({"content": None, "tool_calls": []}, "tool_calls"),
        FAILED,
        "no call came with it",
    ),
    _kind(
        "calls announced beside words",
        "vllm-project/vllm#53255",
        "`tool_calls`, words alone",
        reply({"content": "Let me look it up."}, "tool_calls"),
        FAILED,
        "no call came with it",
    ),
    _kind(
        "all in reasoning_content",
        "vllm-project/vllm#16182",
        "`stop`, content null",
        reply({"content": None, "reasoning_content": "I call depot."}),
        FAILED,
        "nothing was said",
    ),
    _kind(
        "all in reasoning",
        "Alishahryar1/free-claude-code#1136",
        "`stop`, content empty, `reasoning`",
        reply({"content": "", "reasoning": "They greet."}),
        FAILED,
        "nothing was said",
    ),
    _kind(
        "all in thinking tags",
        "vllm-project/vllm#12468",
        "`<think>...</think>` and nothing after",
        reply({"content": "<think>They greet.</think>\n"}),
        FORMAT,
    ),
    _kind(
        "a thought in tags that never ends",
        "vllm-project/vllm#12468",
        "`<think>...`",
        reply({"content": "<think>They greet."}),
        FORMAT,
    ),
    _kind(
        "a good word and a provider's error",
        "openrouter.ai/docs/api-reference/overview",
        "`stop`, `native_finish_reason: error`",
        reply(choice={"native_finish_reason": "error"}),
        FAILED,
        "no_answer",
    ),
    # --- forms of a message ---
    _kind(
        "content in parts",
        "simonw/llm-mistral#39",
        "`[{type: thinking}, {type: text}]`",
        reply(
            {
                "content": [
                    {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
                    {"type": "text", "text": "Good "},
                    {"type": "text", "text": "morning."},
                ]
            }
        ),
        WORDS,
    ),
    _kind(
        "no parts beside a call",
        "mistralai/client-python#252",
        "`content: []`",
        reply({"content": [], "tool_calls": [CALL]}, "tool_calls"),
        CALL_READ,
    ),
    _kind(
        "reasoning parts beside a call",
        "mistralai/client-python#252",
        "`[{type: reasoning}]`",
        reply({"content": [{"type": "reasoning", "summary": []}], "tool_calls": [CALL]}, "tool_calls"),
        CALL_READ,
    ),
    *(
        _kind(f"no calls as {shown}", "mlflow/mlflow#14410", f"`{shown}`", reply({**SPOKEN, **beside}), WORDS)
        for shown, beside in (
            ("tool_calls: {}", {"tool_calls": {}}),
            ('tool_calls: ""', {"tool_calls": ""}),
            ("function_call: {}", {"function_call": {}}),
            ("function_call: null, tool_calls: []", {"function_call": None, "tool_calls": []}),
        )
    ),
    _kind(
        "a part whose text is null",
        "simonw/llm-mistral#39",
        "`[{type: text, text: null}]` beside a call",
        reply({"content": [{"type": "text", "text": None}], "tool_calls": [CALL]}, "tool_calls"),
        CALL_READ,
    ),
    _kind(
        "a call without a function around it",
        "isair/jarvis#560",
        "`tool_calls: [{name: ..., arguments: ...}]`",
        reply({"content": None, "tool_calls": [CALL["function"]]}, "tool_calls"),
        CALL_READ,
    ),
    *(
        _kind(f"a name with {what}", source, f"`{name}`", calling('{"town": "Bari"}', name), FORMAT)
        for what, name, source in (
            ("a space behind", "depot ", "amd/gaia#3742"),
            ("a line feed behind", "depot\n", "ml-explore/mlx-lm#1612"),
            ("a space before", " depot", "code-yeongyu/oh-my-openagent#1595"),
            ("a template's namespace", "functions.depot", "tontinton/maki#518"),
        )
    ),
    _kind("texts in a list", "simonw/llm-mistral#39", '`["Good", ...]`', reply({"content": ["Good ", "day"]}), WORDS),
    _kind(
        "a part of another kind",
        "mistralai/client-python#252",
        "`[{type: image_url}]`",
        reply({"content": [{"type": "image_url", "image_url": "x"}]}),
        FAILED,
        "choices[0].message.content",
    ),
    _kind(
        "function_call",
        "openai/openai-openapi#88",
        "`function_call` beside no `tool_calls`",
        reply({"content": None, "function_call": CALL["function"]}, "function_call"),
        CALL_READ,
    ),
    _kind(
        "function_call with stop",
        "openai/openai-openapi#88",
        "`function_call`, `stop`",
        reply({"content": "", "function_call": {"name": "depot", "arguments": {"town": "Bari"}}}),
        CALL_READ,
    ),
    _kind(
        "function_call beside tool_calls",
        "openai/openai-openapi#88",
        "both, alike",
        reply({**CALLED, "function_call": CALL["function"]}, "tool_calls"),
        CALL_READ,
    ),
    _kind("arguments as an object", "isair/jarvis#560", "`{town: Bari}`", calling({"town": "Bari"}), CALL_READ),
    *(
        _kind(f"no arguments as {shown}", source, shown, calling(given, "list_depots"), CALL_READ)
        for shown, given, source in (
            ("an empty text", "", "sigoden/aichat#1217"),
            ("null", None, "langchain-ai/langchain#34242"),
            ('"null"', "null", "langfuse/langfuse#10452"),
            ("[]", [], "nextcloud/integration_openai#243"),
            ('"[]"', "[]", "prism-php/prism#896"),
            ("{}", {}, "isair/jarvis#560"),
        )
    ),
    _kind(
        "arguments encoded twice",
        "vllm-project/vllm#54964",
        "a JSON text of a JSON text",
        calling(json.dumps('{"town": "Bari"}')),
        FORMAT,
    ),
    _kind("arguments as a list", "ollama/ollama#17638", "`[{...}]`", calling('[{"town": "Bari"}]'), FORMAT),
    _kind("arguments as a number", "ollama/ollama#17638", "`7`", calling(7), FORMAT),
    _kind("a call without a name", "ggml-org/llama.cpp#20761", "`name: null`", calling("{}", None), FORMAT),
    _kind(
        "a custom tool's call",
        "openai/openai-python src/openai/types/chat/chat_completion_message_custom_tool_call.py",
        "`type: custom`, `input`",
        reply({"content": None, "tool_calls": [{"type": "custom", "custom": {"name": "depot", "input": "Bari"}}]}),
        FORMAT,
    ),
    # --- probabilities ---
    *(
        _kind(f"log-probabilities {shown}", source, f"`{json.dumps(given)}`", reply(choice={"logprobs": given}), WORDS)
        for shown, given, source in (
            (
                "null",
                {"content": [{"token": "a", "logprob": None}, {"token": "b", "logprob": -0.5}]},
                "sgl-project/sglang#5984",
            ),
            ("infinite", {"content": [{"token": "a", "logprob": float("-inf")}]}, "dphnAI/sonar#183"),
            ("of no use", {"content": [{"token": "a", "logprob": -9999.0}]}, "madroidmaq/mlx-omni-server#56"),
            ("in a list that is empty", [], "vllm-project/vllm#10234"),
            ("as words", "none", "vllm-project/vllm#10234"),
        )
    ),
    # --- counts ---
    *(
        _kind(f"usage {shown}", source, f"`{json.dumps(given)}`", reply(usage=given), WORDS)
        for shown, given, source in (
            ("null", None, "philschmid/easyllm#40"),
            ("nulls", {"prompt_tokens": None, "completion_tokens": None}, "philschmid/easyllm#40"),
            ("floats", {"prompt_tokens": 10.0, "completion_tokens": 5.5}, "philschmid/easyllm#40"),
            ("a list", [], "nextcloud/integration_openai#243"),
            ("in lists", {"prompt_tokens": [10]}, "langgenius/dify-official-plugins#681"),
        )
    ),
    # --- bodies ---
    _kind(
        "a byte order mark",
        "forwardemail/superagent#1249",
        "EF BB BF before the JSON",
        Answered(b"\xef\xbb\xbf" + json.dumps(reply().body).encode()),
        WORDS,
    ),
    _kind(
        "line breaks before the JSON",
        "inferencerlabs/inferencer-feedback#158",
        "signs of life before the answer",
        Answered(b"\n\n  \n" + json.dumps(reply(CALLED, "tool_calls").body).encode() + b"\n"),
        CALL_READ,
    ),
    _kind(
        "a stream that was not asked for",
        "earendil-works/pi#4844",
        "`data: {...}`",
        Answered(b'data: {"choices": []}\n\ndata: [DONE]\n\n'),
        FAILED,
        "it is no JSON, and begins with 'data: ",
    ),
    _kind("a page", "tbphp/gpt-load#232", "`<html>`", Answered(b"<html>Log in</html>"), FAILED, "begins with '<html>"),
    _kind("an empty body", "tbphp/gpt-load#232", "nothing", Answered(b""), FAILED, "it is no JSON"),
    _kind(
        "content that is a number",
        "karthink/gptel#1035",
        "`content: 7`",
        reply({"content": 7}),
        FAILED,
        "choices[0].message.content is 7",
    ),
]
