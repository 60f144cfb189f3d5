"""Dialogues on their way to a server, in the one form that every server takes."""

from __future__ import annotations

from typing import Any

from kinds import Kind

TITLE = "Dialogues sent to servers"
ABOUT = "The messages of a request that has calls and their answers in its history, and what is asked for beside them."


def _call(name: str = "depot", **arguments: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "arguments": arguments}}


def _sent(id: str, name: str = "depot", arguments: str = "{}") -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "arguments": arguments}, "id": id}


def _kind(name: str, source: str, looks: str, read_as: str, given: list[dict[str, Any]], comes: Any) -> Kind:
    return Kind(name, source, looks, read_as, (given, {}), {"messages": comes})


def _asked(name: str, source: str, looks: str, read_as: str, in_text: dict[str, Any], comes: dict[str, Any]) -> Kind:
    return Kind(name, source, looks, read_as, ([{"role": "user", "content": "Hello"}], in_text), comes)


NINE = "ids of nine letters and digits"
KINDS = [
    _kind(
        "ids of calls for Mistral",
        "langchain-ai/langchain#24668",
        "`must be a-z, A-Z, 0-9, with a length of 9`",
        NINE,
        [
            {"role": "assistant", "content": "One moment.", "tool_calls": [_call()]},
            {"role": "tool", "content": "Dock 4", "tool_call_id": "call_0"},
        ],
        [
            {"role": "assistant", "content": "One moment.", "tool_calls": [_sent("call00000")]},
            {"role": "tool", "content": "Dock 4", "tool_call_id": "call00000"},
        ],
    ),
    _kind(
        "answers in another order",
        "anomalyco/opencode#1680",
        "two calls, the second answered first",
        NINE,
        [
            {"role": "assistant", "content": "Two.", "tool_calls": [_call(), _call("now")]},
            {"role": "tool", "content": "noon", "tool_call_id": "call_1"},
            {"role": "tool", "content": "Dock 4", "tool_call_id": "call_0"},
        ],
        [
            {"role": "assistant", "content": "Two.", "tool_calls": [_sent("call00000"), _sent("call00001", "now")]},
            {"role": "tool", "content": "noon", "tool_call_id": "call00001"},
            {"role": "tool", "content": "Dock 4", "tool_call_id": "call00000"},
        ],
    ),
    _kind(
        "ids over several turns",
        "ml-explore/mlx-lm#1375",
        "the same call twice",
        "ids that no other call of the dialogue has",
        [
            {"role": "assistant", "content": "First.", "tool_calls": [_call()]},
            {"role": "assistant", "content": "Then.", "tool_calls": [_call()]},
        ],
        [
            {"role": "assistant", "content": "First.", "tool_calls": [_sent("call00000")]},
            {"role": "assistant", "content": "Then.", "tool_calls": [_sent("call00001")]},
        ],
    ),
    _kind(
        "an answer to no call",
        "editor-code-assistant/eca#233",
        "`2968-LWy3uasib`",
        NINE,
        [{"role": "tool", "content": "Dock 4", "tool_call_id": "2968-LWy3uasib"}],
        [{"role": "tool", "content": "Dock 4", "tool_call_id": "f9915f2cf"}],
    ),
    _kind(
        "no words beside a call",
        "BerriAI/litellm#7169",
        "`text content blocks must be non-empty`",
        "`content: null`",
        [{"role": "assistant", "tool_calls": [_call(town="Bari")]}],
        [{"role": "assistant", "content": None, "tool_calls": [_sent("call00000", "depot", '{"town": "Bari"}')]}],
    ),
    _kind(
        "no words beside calls, over turns",
        "OpenHands/OpenHands#5339",
        "`The text field in the ContentBlock object is blank`",
        "`content: null`",
        [
            {"role": "assistant", "tool_calls": [_call(), _call("now")]},
            {"role": "user", "content": "Go on"},
            {"role": "assistant", "tool_calls": [_call()]},
        ],
        [
            {"role": "assistant", "content": None, "tool_calls": [_sent("call00000"), _sent("call00001", "now")]},
            {"role": "user", "content": "Go on"},
            {"role": "assistant", "content": None, "tool_calls": [_sent("call00002")]},
        ],
    ),
    _kind(
        "words beside a call",
        "anomalyco/opencode#15777",
        "a text and a call",
        "both",
        [{"role": "assistant", "content": "One moment.", "tool_calls": [_call()]}],
        [{"role": "assistant", "content": "One moment.", "tool_calls": [_sent("call00000")]}],
    ),
    _kind(
        "a tool that said nothing",
        "anomalyco/opencode#15777",
        "an empty answer of a tool",
        "as it is",
        [{"role": "tool", "content": "", "tool_call_id": "call_0"}],
        [{"role": "tool", "content": "", "tool_call_id": "call00000"}],
    ),
    _asked(
        "calls in the text, of vLLM",
        "vllm-project/vllm#17177",
        "special tokens are left out of the text",
        "`skip_special_tokens: false`",
        {"skip_special_tokens": False},
        {"tool_choice": "none", "skip_special_tokens": False},
    ),
    _asked(
        "calls in the text, of SGLang",
        "sgl-project/sglang python/sglang/srt/entrypoints/openai/serving_chat.py",
        "`tool_choice: none` hides the tools",
        "no `tool_choice`",
        {"tool_choice": None, "skip_special_tokens": False},
        {"tool_choice": None, "skip_special_tokens": False},
    ),
    _asked(
        "calls in the text, of any other",
        "openai/openai-openapi#88",
        "keys that a server does not know are refused",
        "`tool_choice: none` alone",
        {},
        {"tool_choice": "none", "skip_special_tokens": None},
    ),
]
