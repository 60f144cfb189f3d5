"""What goes over the wire: requests in OpenAI chat form, replies and errors as servers really send them."""

from __future__ import annotations

import email.utils
import json
import math
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import openai
from pydantic import BaseModel, Field

from sloop.models.base import CallText, ErrorKind, Reply, Sampling, Usage
from sloop.records import Message, Tool

TOO_LONG = re.compile(r"context.?(length|window|size)|maximum context|too many tokens|prompt is too long", re.I)
NO_MODEL = re.compile(r"model\W+\S+\W+(does not exist|(was |is )?not found)|(unknown|no such|invalid) model", re.I)
"""This ends a run, so the words must name the model itself; that "the model" cannot do something is another matter."""


MOST_CALLS = 1000
"""Of a reply, or of a piece of one."""


def request_body(model: str, messages: Sequence[Message], tools: Sequence[Tool], sampling: Sampling) -> dict[str, Any]:
    """The request as the endpoint gets it, in OpenAI chat form."""
    body: dict[str, Any] = {
        "model": model,
        "messages": list(_wire(messages)),
        "temperature": sampling.temperature,
        "max_tokens": sampling.max_tokens,
    }
    if tools:
        body["tools"] = [tool.to_openai() for tool in tools]
        body["tool_choice"] = sampling.tool_choice
    if sampling.seed is not None:
        body["seed"] = sampling.seed
    if sampling.logprobs:
        body["logprobs"] = True
    return body


def _wire(messages: Sequence[Message]) -> Iterator[dict[str, Any]]:
    """Messages with the ids that servers ask for: ``call_<k>`` for the dialogue's k-th call."""
    made = 0
    for message in messages:
        row = message.to_openai()
        for call in row.get("tool_calls", ()):
            call["id"] = f"call_{made}"
            made += 1
        yield row


def status_kind(error: openai.APIStatusError) -> ErrorKind:
    """The kind that an error status means. Servers differ: vLLM says 404 for a model, others 400."""
    status, text, code = error.status_code, said(error), error.code or ""
    if code == "model_not_found" or (status in (400, 404) and NO_MODEL.search(text)):
        return "unknown_model"
    if 300 <= status < 400:
        return "no_such_path"
    if status in (400, 413, 422):
        return "too_long" if code == "context_length_exceeded" or TOO_LONG.search(text) else "refused"
    if status in (402, 429) and (status == 402 or "insufficient_quota" in (code, error.type)):
        return "quota"
    kinds: dict[int, ErrorKind] = {401: "auth", 403: "auth", 404: "no_such_path", 405: "no_such_path"}
    kinds |= {408: "timeout", 409: "server", 425: "server", 429: "rate_limit"}
    return kinds.get(status, "server" if status >= 500 else "refused")


def said(error: openai.APIStatusError) -> str:
    """The server's own words."""
    body = error.body
    if isinstance(body, Mapping):
        return str(body.get("message") or body.get("detail") or dict(body))
    return str(body or error.response.reason_phrase)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that the server asks to wait: ``retry-after-ms``, or ``retry-after`` in seconds or as a date."""
    for name, unit in (("retry-after-ms", 1000), ("retry-after", 1)):
        try:
            seconds = float(headers[name]) / unit
        except (KeyError, ValueError):
            continue
        if math.isfinite(seconds):
            return max(0.0, seconds)
    try:
        date = email.utils.parsedate_to_datetime(headers["retry-after"])
        return max(0.0, date.timestamp() - time.time())
    except (KeyError, ValueError, OverflowError):
        return None


class _Function(BaseModel):
    name: str
    arguments: str | dict[str, Any] | None = None


class _Call(BaseModel):
    function: _Function


class _Message(BaseModel):
    content: str | None = None
    refusal: str | None = None
    tool_calls: list[_Call] | None = Field(None, max_length=MOST_CALLS)


class _Token(BaseModel):
    logprob: float


class LogProbs(BaseModel):
    """``logprobs`` of a choice."""

    content: list[_Token] | None = None


class _Choice(BaseModel):
    message: _Message
    finish_reason: str | None = None
    logprobs: LogProbs | None = None


class _Details(BaseModel):
    cached_tokens: int | None = None


class WireUsage(BaseModel):
    """``usage`` of a completion or of a stream's last chunk."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: _Details | None = None


class _Completion(BaseModel):
    choices: list[_Choice] = Field(min_length=1)
    usage: WireUsage | None = None


def read_reply(content: bytes) -> Reply:
    """The first choice of a chat completion.

    Raises:
        ValidationError: it is not JSON, or not a chat completion.
    """
    completion = _Completion.model_validate_json(content)
    choice, usage = completion.choices[0], completion.usage
    tokens = (choice.logprobs and choice.logprobs.content) or []
    return Reply(
        content=choice.message.content or choice.message.refusal or "",
        calls=tuple(_call(call.function) for call in choice.message.tool_calls or ()),
        finish=choice.finish_reason or "stop",
        logprob=math.fsum(token.logprob for token in tokens) if tokens else None,
        num_logprobs=len(tokens),
        usage=read_usage(usage),
    )


def read_usage(usage: WireUsage | None) -> Usage | None:
    """The server's count."""
    if usage is None:
        return None
    details = usage.prompt_tokens_details
    return Usage(
        prompt_tokens=usage.prompt_tokens or 0,
        completion_tokens=usage.completion_tokens or 0,
        cached_tokens=(details.cached_tokens if details else None) or 0,
    )


def arguments_text(arguments: str | dict[str, Any] | None) -> str:
    """Arguments as the model wrote them, nothing for none; some servers hand them over parsed."""
    if arguments is None or isinstance(arguments, str):
        return arguments or ""
    return json.dumps(arguments, ensure_ascii=False)


def _call(function: _Function) -> CallText:
    return CallText(name=function.name, arguments=arguments_text(function.arguments))
