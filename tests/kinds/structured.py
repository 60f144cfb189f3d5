"""Answers that are to be JSON of a schema, as models and servers write them around it."""

from __future__ import annotations

import json
from typing import Any

from kinds import Kind

TITLE = "JSON of teachers and judges"
ABOUT = (
    "What a model answers that was asked for one object with the keys `city` and `days`. Read: as that object, without "
    "another request. Asked again: told what was wrong, twice at most, and then a failure."
)
JSON = '{"city": "Bari", "days": 2}'
READ, AGAIN, FAILED = "read", "asked again", "a failure"


def _said(content: Any, finish: str = "stop", **message: Any) -> dict[str, Any]:
    return {"choices": [{"message": {"content": content, **message}, "finish_reason": finish}]}


def _kind(name: str, source: str, looks: str, given: dict[str, Any], comes: str, status: int = 200) -> Kind:
    return Kind(name, source, looks, comes, (status, json.dumps(given).encode()), comes)


KINDS = [
    _kind("JSON alone", "openai/openai-python#2216", "`{...}`", _said(JSON), READ),
    _kind("white space around it", "567-labs/instructor#994", "line breaks", _said(f"\n\n {JSON}\n"), READ),
    _kind(
        "thinking before it",
        "msu-denver/bili-core#289",
        "`<think>...</think>` and JSON",
        _said(f"<think>\nThey want JSON.\n</think>\n\n{JSON}"),
        READ,
    ),
    _kind(
        "thinking that drafts it",
        "langchain-ai/langchain#35530",
        "JSON in the thinking and after it",
        _said(f'<think>Perhaps {{"city": "Rome", "days": 1}}.</think>{JSON}'),
        READ,
    ),
    _kind(
        "thinking whose opening stands in the prompt",
        "vllm-project/vllm#12468",
        "`...</think>` and JSON",
        _said(f"They want JSON.\n</think>\n{JSON}"),
        READ,
    ),
    _kind(
        "thinking and a fence",
        "plastic-labs/honcho#824",
        "`<think>` and a fence",
        _said(f"<think>\nSo.\n</think>\n```json\n{JSON}\n```"),
        READ,
    ),
    _kind("a fence", "ollama/ollama#15416", "three backticks, `json`", _said(f"```json\n{JSON}\n```"), READ),
    _kind(
        "a fence in capitals", "ollama/ollama#15416", "three backticks, `JSON`", _said(f"```JSON\n{JSON}\n```"), READ
    ),
    _kind(
        "a fence in one line", "ollama/ollama#15416", "three backticks, no line break", _said(f"```json{JSON}```"), READ
    ),
    _kind("a fence of no language", "garrytan/gbrain#2364", "three backticks", _said(f"```\n{JSON}\n```"), READ),
    _kind(
        "a fence that is not closed", "garrytan/gbrain#3378", "three backticks once", _said(f"```json\n{JSON}"), READ
    ),
    _kind(
        "words before it",
        "garrytan/gbrain#3378",
        "`Sure! Here is ...`",
        _said(f"Sure! Here is the JSON:\n{JSON}"),
        READ,
    ),
    _kind(
        "words after it",
        "spring-ai-alibaba/DataAgent#615",
        "`... Anything else?`",
        _said(f"{JSON}\nAnything else?"),
        READ,
    ),
    _kind(
        "words around a fence",
        "garrytan/gbrain#3378",
        "a fence among words",
        _said(f"Here:\n```json\n{JSON}\n```\nAnything else?"),
        READ,
    ),
    _kind("a byte order mark", "fastify/secure-json-parse#5", "U+FEFF before it", _said(f"\ufeff{JSON}"), READ),
    _kind(
        "content in parts",
        "simonw/llm-mistral#39",
        "`[{type: thinking}, {type: text}]`",
        _said([{"type": "thinking", "thinking": []}, {"type": "text", "text": JSON}]),
        READ,
    ),
    _kind(
        "all in reasoning_content",
        "vllm-project/vllm#16182",
        "content null, JSON in `reasoning_content`",
        _said(None, reasoning_content=JSON),
        READ,
    ),
    _kind(
        "all in reasoning",
        "vllm-project/vllm#50948",
        "content empty, JSON in `reasoning`",
        _said("", reasoning=f"{JSON}\n"),
        READ,
    ),
    _kind(
        "thoughts alone in reasoning_content",
        "vllm-project/vllm#18255",
        "content null, a draft in `reasoning_content`",
        _said(None, reasoning_content=f"Perhaps {JSON}?"),
        FAILED,
    ),
    _kind("thinking without an end", "langchain-ai/langchain#35530", "`<think>` alone", _said(f"<think>{JSON}"), AGAIN),
    _kind("words in braces before it", "garrytan/gbrain#3378", "`{braces}`", _said(f"I use {{braces}}: {JSON}"), READ),
    _kind("words in braces after it", "garrytan/gbrain#3378", "`{friend}`", _said(f"{JSON}\nThanks {{friend}}"), READ),
    _kind("a set in braces", "garrytan/gbrain#3378", "`{1, 2}`", _said(f"Of {{1, 2}}: {JSON}"), READ),
    _kind(
        "two objects and words in braces",
        "garrytan/gbrain#3378",
        "`{a} {...} {...}`",
        _said(f"{{a}} {JSON} {{}}"),
        AGAIN,
    ),
    _kind(
        "a draft before the end of a thought that the prompt opened",
        "vllm-project/vllm#12468",
        "`{...}</think>{...}`",
        _said(f'{{"city": "Rome", "days": 1}}\n</think>\nSo: {JSON}'),
        READ,
    ),
    _kind("two objects", "garrytan/gbrain#3378", "`{...} or {...}`", _said(f"{JSON} or {JSON}"), AGAIN),
    _kind("a doubled brace", "ollama/ollama-python#523", "`{ {...}`", _said("{\n" + JSON), AGAIN),
    _kind("a list of it", "openai/openai-python#2216", "`[{...}]`", _said(f"[{JSON}]"), AGAIN),
    _kind("words alone", "openai/openai-python#2216", "`Bari, two days.`", _said("Bari, two days."), AGAIN),
    _kind("cut off", "openai/openai-openapi#88", "`length`, half an object", _said(JSON[:9], "length"), AGAIN),
    _kind("cut off under another name", "laravel/ai#955", "`model_length`", _said(JSON[:9], "model_length"), AGAIN),
    _kind("nothing", "openai/openai-python#2216", "white space alone", _said("\n\n"), FAILED),
    _kind("withheld", "openai/openai-openapi#88", "`content_filter`", _said(None, "content_filter"), FAILED),
    _kind(
        "a server that checks it itself",
        "groq/groq-typescript#28",
        "400 `json_validate_failed`, `failed_generation`",
        {"error": {"message": "Failed to generate JSON.", "code": "json_validate_failed", "failed_generation": "{"}},
        AGAIN,
        400,
    ),
]
