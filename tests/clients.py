"""Clients and students for the endpoint on loopback, quick to give up."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from endpoint import Endpoint

from sloop.models.base import ChatModel, Reply, Sampling
from sloop.models.endpoint import Endpoint as ModelEndpoint
from sloop.models.endpoint import InText
from sloop.models.environment import NO_KEY, Key, Role
from sloop.models.openai_api import OpenAIChat
from sloop.models.throttle import Limits
from sloop.models.wire import request_body
from sloop.records import Label, Message, Sample
from sloop.students.served import ServedStudent

GREEDY = Sampling(temperature=0.0, max_tokens=64, logprobs=True)


def limits(**changes: Any) -> Limits:
    settings = {
        "concurrency": 8,
        "requests_per_minute": None,
        "tokens_per_minute": None,
        "timeout": 5.0,
        "retries": 3,
        "backoff": 0.01,
        "max_wait": 10.0,
    }
    return Limits(**{**settings, **changes})


def client(url: str, *, model: str = "small", key: str | None = None, **changes: Any) -> OpenAIChat:
    held = Key(key, "SLOOP_WEAK_API_KEY") if key else Key(NO_KEY, None)
    return OpenAIChat(base_url=url, model=model, key=held, limits=limits(**changes))


def ask_all(model: ChatModel, requests: Sequence[str], salt: str = "") -> list[Reply | BaseException]:
    """The reply to each request, or what was raised, all asked at once."""

    async def ask() -> list[Reply | BaseException]:
        try:
            asked = (
                model.complete([Message(role="user", content=text)], sampling=GREEDY, salt=salt) for text in requests
            )
            return await asyncio.gather(*asked, return_exceptions=True)
        finally:
            await model.close()

    return asyncio.run(ask())


def endpoint_at(url: str, *, role: Role = "student", **changes: Any) -> ModelEndpoint:
    settings: dict[str, Any] = {
        "base_url": url,
        "model": "small",
        "query": {},
        "key_header": "Authorization",
        "structured_output": "json_schema",
        "in_text": InText(),
        "cache": "off",
        "cache_path": "none",
    }
    pressed = limits(**{name: changes.pop(name) for name in list(changes) if name in Limits.model_fields})
    return ModelEndpoint(**{**settings, "role": role, "limits": pressed, **changes})


def student(url: str, **changes: Any) -> ServedStudent:
    settings = {"name": "endpoint", "answer_format": None, "logprobs": True, "seed": 0}
    own = {name: changes.pop(name) for name in list(changes) if name in settings}
    return ServedStudent(**{**settings, "endpoint": endpoint_at(url, **changes), **own})


def answer_right(endpoint: Endpoint, samples: Sequence[Sample]) -> None:
    """From now on the endpoint gives each of the samples its label, and to anything else some words."""
    labels = {_question(request_body("", s.messages, s.tools, GREEDY)): s.label for s in samples}
    endpoint.answer = lambda body: labels.get(_question(body)) or Label(content="Well, well.")


def _question(body: dict[str, Any]) -> str:
    return json.dumps([body["messages"], body.get("tools")], sort_keys=True)


def everything_under(folder: Path) -> str:
    """The bytes of every file of a folder, as text."""
    return "\n".join(p.read_bytes().decode(errors="replace") for p in sorted(folder.rglob("*")) if p.is_file())
