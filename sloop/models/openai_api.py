"""Any OpenAI-compatible endpoint, through the ``openai`` SDK over its aiohttp transport.

The SDK's own retries are off: they know one request, where a storm of 429s concerns them all. Its reply objects are not
used either: they are built without validation, and a half-made reply must be told from a whole one.
"""

from __future__ import annotations

import asyncio
import email.utils
import json
import math
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from random import Random
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import httpx2
import openai
from pydantic import BaseModel, Field, ValidationError

from sloop.models.base import FINAL, PASSING, CallText, ErrorKind, ModelError, Reply, Sampling, Usage
from sloop.models.environment import Key
from sloop.models.throttle import Throttle
from sloop.types import Message, Record, Tool, UserError

LONGEST_BACKOFF = 8.0
"""Seconds; longer ones make a sample that meets faults by chance hold up the end of a run."""
CONNECT_TIMEOUT = 5.0
FIRST_CONTACT_TRIES = 2
"""Tries to reach an endpoint that has never answered: more would only delay the message."""
DETAIL_LENGTH = 300
TOO_LONG = re.compile(r"context.?(length|window|size)|maximum context|too many tokens|prompt is too long", re.I)
NO_MODEL = re.compile(r"model.*(not exist|not found|unknown|no access)|(unknown|no such|invalid) model", re.I | re.S)


class Limits(Record):
    """How hard an endpoint may be pressed, and how long it is waited for."""

    concurrency: int = Field(ge=1)
    requests_per_minute: float | None = Field(gt=0)
    tokens_per_minute: float | None = Field(gt=0)
    timeout: float = Field(gt=0)
    """Seconds for one try, from the request to the last byte of the reply."""
    retries: int = Field(ge=0)
    """Further tries after the first."""
    backoff: float = Field(ge=0)
    """Seconds before the second try, doubled for every further one, where the server does not ask for a time."""
    max_wait: float = Field(gt=0)
    """Longest Retry-After, in seconds, that is waited for; a longer one ends the run."""


class OpenAIChat:
    """A chat model behind an address. Use it from one event loop.

    Until the endpoint has answered once, requests go one at a time, so that an endpoint that is down, a wrong key or an
    unknown model cost one request; after that, such a client fails at once.
    """

    def __init__(self, *, base_url: str, model: str, key: Key, limits: Limits) -> None:
        """Prepare the client; nothing is sent.

        Args:
            base_url: where ``/chat/completions`` stands, such as ``http://127.0.0.1:8000/v1``.
            model: the name that the endpoint knows it by.
            key: sent as a bearer token.
            limits: how hard the endpoint may be pressed.

        Raises:
            UserError: the address is none, or holds a password.
        """
        self.base_url = checked_url(base_url)
        self.model = model
        self.limits = limits
        self.requests = 0
        """Tries that were sent."""
        self._key = key
        self._client = openai.AsyncOpenAI(
            api_key=key.reveal(),
            base_url=self.base_url,
            max_retries=0,
            timeout=openai.Timeout(limits.timeout, connect=min(CONNECT_TIMEOUT, limits.timeout)),
            http_client=openai.DefaultAioHttpClient(),
        )
        self._throttle = Throttle(
            concurrency=limits.concurrency,
            requests_per_minute=limits.requests_per_minute,
            tokens_per_minute=limits.tokens_per_minute,
        )
        self._jitter = Random(0)
        self._door = asyncio.Lock()
        self._met = False
        self._hopeless: ModelError | None = None
        self._gives_logprobs = True

    @property
    def identity(self) -> dict[str, Any]:
        """Address and model's name."""
        return {"base_url": self.base_url, "model": self.model}

    async def complete(
        self, messages: Sequence[Message], *, tools: Sequence[Tool] = (), sampling: Sampling, salt: str = ""
    ) -> Reply:
        """One reply, tried again as often as `Limits` allows; see `sloop.models.base.ChatModel`."""
        body = request_body(self.model, messages, tools, sampling)
        if self._met:
            return await self._persist(body)
        async with self._door:
            if not self._met:
                return await self._first_contact(body)
        return await self._persist(body)

    async def models(self) -> list[str]:
        """Names of the models that the endpoint lists; none where it does not say."""
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                page = await self._client.get("/models", cast_to=httpx2.Response)
            return sorted(str(row["id"]) for row in page.json()["data"])
        except (TimeoutError, openai.OpenAIError, aiohttp.ClientError, ValueError, KeyError, TypeError):
            return []  # asked for a message's sake alone

    async def close(self) -> None:
        """Close connections."""
        await self._client.close()

    async def _first_contact(self, body: dict[str, Any]) -> Reply:
        if self._hopeless is None:
            try:
                return await self._persist(body)
            except ModelError as error:
                if error.kind not in FINAL and error.kind != "unreachable":
                    raise
                self._hopeless = error
        raise ModelError(self._hopeless.kind, self._hopeless.detail)

    async def _persist(self, body: dict[str, Any]) -> Reply:
        """Try until there is a reply, or no hope."""
        estimate = len(json.dumps(body)) / 4 + body["max_tokens"]
        tries = 0
        while True:
            tries += 1
            try:
                async with self._throttle.slot(estimate):
                    reply = await self._once(body)
            except ModelError as error:
                if error.kind == "refused" and self._gives_logprobs and "logprob" in error.detail.lower():
                    self._gives_logprobs = False
                    continue
                wait = self._wait(error, tries)
                if error.kind == "rate_limit":
                    self._throttle.limited(wait)
                allowed = self.limits.retries + 1
                if error.kind == "unreachable" and not self._met:
                    allowed = min(allowed, FIRST_CONTACT_TRIES)
                if error.kind not in PASSING or tries >= allowed:
                    raise
                if error.wait is not None and error.wait > self.limits.max_wait:
                    raise ModelError("quota", f"the server asks to wait {error.wait:.0f} s ({error.detail})") from error
                await asyncio.sleep(wait)
            else:
                self._throttle.answered()
                if reply.usage:
                    self._throttle.used(estimate, reply.usage.prompt_tokens + reply.usage.completion_tokens)
                return reply

    def _wait(self, error: ModelError, tries: int) -> float:
        """Seconds before the next try: what the server asked for, or twice as long each time; spread a little."""
        backoff = min(LONGEST_BACKOFF, self.limits.backoff * 2.0 ** (tries - 1))
        return (backoff if error.wait is None else error.wait) * (1 + self._jitter.random() / 10)

    async def _once(self, body: dict[str, Any]) -> Reply:
        """One try.

        Raises:
            ModelError: it failed.
        """
        sent = body if self._gives_logprobs else {k: v for k, v in body.items() if k != "logprobs"}
        self.requests += 1
        try:
            async with asyncio.timeout(self.limits.timeout):
                response = await self._client.post("/chat/completions", body=sent, cast_to=httpx2.Response)
        except TimeoutError as error:
            raise ModelError("timeout", f"no whole reply within {self.limits.timeout:g} s") from error
        except openai.APIStatusError as error:
            self._met = self._met or status_kind(error) not in FINAL
            raise self._said(error) from None
        except (openai.APIConnectionError, aiohttp.ClientError) as error:
            raise self._broken(error) from error
        self._met = True
        try:
            return read_reply(response.content)
        except ValidationError as error:
            start = response.text[:DETAIL_LENGTH]
            raise ModelError("malformed", self._key.hide_in(f"not a chat completion: {start!r}")) from error

    def _said(self, error: openai.APIStatusError) -> ModelError:
        """What an error status means; the SDK's own error holds the request with its key and goes no further."""
        detail = f"HTTP {error.status_code}: {' '.join(said(error)[:DETAIL_LENGTH].split())}"
        return ModelError(status_kind(error), self._key.hide_in(detail), retry_after(error.response.headers))

    def _broken(self, error: Exception) -> ModelError:
        """What a connection without a reply means; the transport calls a refused connection a timeout."""
        for cause in _causes(error):
            if isinstance(cause, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError):
                return ModelError("unreachable", self._key.hide_in(str(cause)))
            if isinstance(cause, aiohttp.ServerTimeoutError):
                return ModelError("timeout", f"no answer within {self.limits.timeout:g} s")
        last = list(_causes(error))[-1]
        words = " ".join(f"{type(last).__name__}: {last}"[:DETAIL_LENGTH].split())
        return ModelError("dropped", self._key.hide_in(words))


def checked_url(base_url: str) -> str:
    """The address without a slash at its end.

    Raises:
        UserError: it is no http(s) address, or holds a user's name or password, which would be written into records.
    """
    parts = urlsplit(base_url.strip())
    if "@" in parts.netloc or parts.query:
        raise UserError(
            f"base_url ({parts.scheme}://...{parts.hostname}): an address is kept in records and must hold no password "
            "or query. Put the key into the environment or .env instead: SLOOP_WEAK_API_KEY, SLOOP_STRONG_API_KEY."
        )
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UserError(f"base_url={base_url!r}: not an address. Give one such as http://127.0.0.1:8000/v1")
    return base_url.strip().rstrip("/")


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
    except (KeyError, ValueError):
        return None
    return max(0.0, date.timestamp() - time.time())


class _Function(BaseModel):
    name: str
    arguments: str | dict[str, Any] = ""


class _Call(BaseModel):
    function: _Function


class _Message(BaseModel):
    content: str | None = None
    refusal: str | None = None
    tool_calls: list[_Call] | None = None


class _Token(BaseModel):
    logprob: float


class _LogProbs(BaseModel):
    content: list[_Token] | None = None


class _Choice(BaseModel):
    message: _Message
    finish_reason: str | None = None
    logprobs: _LogProbs | None = None


class _Details(BaseModel):
    cached_tokens: int | None = None


class _Usage(BaseModel):
    prompt_tokens: int = 0
    completion_tokens: int = 0
    prompt_tokens_details: _Details | None = None


class _Completion(BaseModel):
    choices: list[_Choice] = Field(min_length=1)
    usage: _Usage | None = None


def read_reply(content: bytes) -> Reply:
    """The first choice of a chat completion.

    Raises:
        ValidationError: it is not JSON, or not a chat completion.
    """
    completion = _Completion.model_validate_json(content)
    choice, usage = completion.choices[0], completion.usage
    tokens = (choice.logprobs and choice.logprobs.content) or []
    details = usage.prompt_tokens_details if usage else None
    return Reply(
        content=choice.message.content or choice.message.refusal or "",
        calls=tuple(_call(call.function) for call in choice.message.tool_calls or ()),
        finish=choice.finish_reason or "stop",
        logprob=math.fsum(token.logprob for token in tokens) if tokens else None,
        num_logprobs=len(tokens),
        usage=Usage(
            prompt_tokens=usage.prompt_tokens,
            completion_tokens=usage.completion_tokens,
            cached_tokens=(details.cached_tokens if details else None) or 0,
        )
        if usage
        else None,
    )


def _call(function: _Function) -> CallText:
    arguments = function.arguments
    text = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
    return CallText(name=function.name, arguments=text)


def _causes(error: BaseException) -> Iterator[BaseException]:
    at: BaseException | None = error
    while at is not None:
        yield at
        at = at.__cause__
