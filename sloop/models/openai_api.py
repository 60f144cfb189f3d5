"""Any OpenAI-compatible endpoint, through the ``openai`` SDK over its aiohttp transport.

The SDK's own retries are off: they know one request, where a storm of 429s concerns them all. Its reply objects are not
used either: they are built without validation, and a half-made reply must be told from a whole one.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager
from random import Random
from types import MappingProxyType
from typing import Any

import aiohttp
import httpx2
import openai
from pydantic import ValidationError

from sloop.models.base import DETAIL_LENGTH, FINAL, PASSING, CallText, Chunk, ModelError, Reply, Sampling, Usage
from sloop.models.environment import Key, checked_url
from sloop.models.streaming import Events, fold, read_chunk
from sloop.models.structured import (
    UNSUPPORTED,
    WEAKER,
    StructuredOutput,
    asked_again,
    read_object,
    response_format,
    told_schema,
)
from sloop.models.throttle import Limits, Throttle
from sloop.models.usage import Account, Meter
from sloop.models.wire import answered, failure, read_reply, request_body, told_failure, wrong_with
from sloop.records import Message, Tool

BEARER = "Authorization"
LONGEST_BACKOFF = 8.0
"""Seconds; longer ones make a sample that meets faults by chance hold up the end of a run."""
CONNECT_TIMEOUT = 5.0
FIRST_CONTACT_TRIES = 2
"""Tries to reach an endpoint that has never answered: more would only delay the message."""
ADAPTATIONS = 3
"""Further tries of a request that may be spent on finding out what the server does without."""
DISPENSABLE = {
    "logprobs": re.compile(r"logprob"),
    "stream_options": re.compile(r"stream_options"),
    "temperature": re.compile(r"temperature.*support|unsupported.*temperature"),
    "seed": re.compile(r"\bseed\b.*support|(unsupported|unknown|unrecognized|extra).*\bseed\b"),
    "tool_choice": re.compile(r"tool_choice\b.*support|(unsupported|unknown|unrecognized|extra).*\btool_choice"),
}
"""Parts of a request that are left out where a server's refusal names them so. Models that reason take no temperature:
their answers are not the likeliest ones."""
BYTES_A_TOKEN = 4
"""Of a prompt, roughly, for the pace in tokens: corrected by the server's own count."""
REPAIRS = 2
"""Further answers asked for where one missed its schema, or was none."""
LONGEST_SAID = 10_000
"""Characters of a server's words that are looked at, for a message or a key in it."""
MOST_BYTES = 8 << 20
"""Of a reply, or of all of a stream: an answer of 50,000 tokens with the probability of each takes less."""
MOST_MODELS = 1000
SECRET = 16
"""Characters from which on a key is looked for in replies, too; a shorter one is a word that a local server takes."""


class OpenAIChat:
    """A chat model behind an address. Use it from one event loop.

    Until the endpoint has answered once, requests go one at a time, so that an endpoint that is down, a wrong key or an
    unknown model cost one request; after that, such a client fails at once.
    """

    def __init__(
        self,
        *,
        base_url: str,
        model: str,
        key: Key,
        limits: Limits,
        query: Mapping[str, str] = MappingProxyType({}),
        key_header: str = BEARER,
        structured_output: StructuredOutput = "json_schema",
        account: Account | None = None,
    ) -> None:
        """Prepare the client; nothing is sent.

        Args:
            base_url: where ``/chat/completions`` stands, such as ``http://127.0.0.1:8000/v1``.
            model: the name that the endpoint knows it by.
            key: sent with every request.
            limits: how hard the endpoint may be pressed.
            query: sent after every address, such as Azure's ``api-version``.
            key_header: the header that the key is sent in; in ``Authorization`` it is a bearer token.
            structured_output: how JSON is asked for; a weaker way is found where the server does not take it.
            account: counts what is spent and may end it; None: one of its own, without a limit.

        Raises:
            UserError: the address is none, or holds a password.
        """
        self.base_url = checked_url(base_url)
        self.model = model
        self.limits = limits
        self.requests = 0
        """Tries that were sent."""
        self._account = account or Meter().account("student", model)
        self._key = key
        self._client = openai.AsyncOpenAI(
            api_key=key.reveal(),
            base_url=self.base_url,
            max_retries=0,
            default_query=dict(query),
            # Uncompressed, as a few bytes may be sent for gigabytes.
            default_headers={"Accept-Encoding": "identity"}
            | ({} if key_header == BEARER else {key_header: key.reveal()}),
            timeout=openai.Timeout(limits.timeout, connect=min(CONNECT_TIMEOUT, limits.timeout)),
            # A redirect would take a key in a header of its own to whatever address it names.
            http_client=openai.DefaultAioHttpClient(follow_redirects=False, event_hooks={"response": [_limit]}),
        )
        # A key beside the header that it belongs in would be taken for a token of another kind.
        self._options: Any = {} if key_header == BEARER else {"headers": {BEARER: openai.Omit()}}
        self._throttle = Throttle(
            concurrency=limits.concurrency,
            requests_per_minute=limits.requests_per_minute,
            tokens_per_minute=limits.tokens_per_minute,
        )
        self._jitter = Random(0)
        self._door = asyncio.Lock()
        self._met = False
        self._hopeless: ModelError | None = None
        self._structured = structured_output
        self._left_out: set[str] = set()
        self._limit_name = "max_tokens"

    @property
    def identity(self) -> dict[str, Any]:
        """Address and model's name."""
        return {"base_url": self.base_url, "model": self.model}

    @property
    def structured_output(self) -> StructuredOutput:
        """How JSON is asked for, as far as was found out."""
        return self._structured

    async def complete(
        self,
        messages: Sequence[Message],
        *,
        tools: Sequence[Tool] = (),
        sampling: Sampling,
        schema: Mapping[str, Any] | None = None,
        salt: str = "",
    ) -> Reply:
        """One reply, tried again as often as `Limits` allows; see `sloop.models.base.ChatModel`."""
        if schema is None:
            return await self._reply(request_body(self.model, messages, tools, sampling), wants_json=False)
        return await self._structured_reply(messages, tools, sampling, schema)

    async def stream(
        self, messages: Sequence[Message], *, tools: Sequence[Tool] = (), sampling: Sampling
    ) -> AsyncIterator[Chunk]:
        """A reply in pieces, as they come; `sloop.models.streaming.fold` makes the whole of them.

        The agent loop asks so (`sloop.models.agent`), no stage does.

        What fails before the first piece is tried again as in `complete`; what fails after it is not, as pieces were
        handed over. `Limits.timeout` is that of all pieces together, without the time that the caller takes for them.

        Raises:
            ModelError: there is no reply, it broke off (``dropped``): no finish reason, or no end of the stream, or it
                ended as no answer does.
            OutOfBudget: nothing more may be spent.
        """
        body = request_body(self.model, messages, tools, sampling)
        body |= {"stream": True, "stream_options": {"include_usage": True}}
        estimate = len(json.dumps(body)) / BYTES_A_TOKEN + body["max_tokens"]
        with self._account.request() as counted:
            begun = False
            while not begun:
                try:
                    async with self._throttle.slot(estimate):
                        self._account.check()
                        counted.sent()
                        async with aclosing(self._pieces(body)) as pieces:
                            async for chunk in pieces:
                                begun = True
                                counted.usage = chunk.usage or counted.usage
                                yield chunk
                except ModelError as error:
                    if begun:
                        raise
                    await self._before_next(error, counted.tries)
        self._throttle.answered()
        if counted.usage:
            self._throttle.used(estimate, counted.usage.prompt_tokens + counted.usage.completion_tokens)

    async def _pieces(self, body: dict[str, Any]) -> AsyncGenerator[Chunk]:
        """One try at a stream."""
        self.requests += 1
        pieces: list[Chunk] = []
        clock = asyncio.get_running_loop().time
        began, waited = clock(), 0.0
        with self._errors():
            async with asyncio.timeout(self.limits.timeout):
                stream = await self._client.post(
                    "/chat/completions",
                    body=self._sent(body),
                    cast_to=object,
                    options=self._options,
                    stream=True,
                    stream_cls=Events,
                )
            self._met = True
            async with stream:
                events, waited = aiter(stream), clock() - began
                while True:
                    began = clock()
                    try:
                        async with asyncio.timeout(self.limits.timeout - waited):
                            chunk = read_chunk(await anext(events))
                    except StopAsyncIteration:
                        break
                    except ValidationError as error:
                        wrong = wrong_with(error, b"")
                        raise ModelError("malformed", f"not a chunk of a completion: {wrong}") from error
                    except (ValueError, RecursionError) as error:
                        raise ModelError("malformed", f"not a chunk of a completion: {error}") from error
                    waited += clock() - began
                    pieces.append(chunk)
                    yield chunk
            reply = fold(pieces)
            if not (reply.finish and stream.done):
                raise ModelError("dropped", "the stream broke off before its end")
            answered(reply)

    async def _structured_reply(
        self, messages: Sequence[Message], tools: Sequence[Tool], sampling: Sampling, schema: Mapping[str, Any]
    ) -> Reply:
        """A reply that satisfies the schema, asked for in the strongest way that the server takes."""
        used: Usage | None = None
        dialogue, problem, answers = list(messages), "", 0
        while answers <= REPAIRS:
            how = self._structured
            told = dialogue if how == "json_schema" else told_schema(dialogue, schema)
            body = request_body(self.model, told, tools, sampling)
            if wanted := response_format(schema, how):
                body["response_format"] = wanted
            try:
                reply = await self._reply(body, wants_json=True)
            except ModelError as error:
                if error.kind == "unreadable":  # a server that checks its model's JSON itself
                    answers, problem = answers + 1, error.detail
                    dialogue = asked_again(dialogue, error.written or "...", problem)
                    continue
                if error.kind != "refused" or how not in WEAKER or not UNSUPPORTED.search(error.said):
                    raise
                if self._structured == how:  # another request may have found it out meanwhile
                    self._structured = WEAKER[how]
                continue
            answers += 1
            if reply.usage:
                used = used + reply.usage if used else reply.usage
            try:
                return reply.model_copy(update={"data": read_object(reply.content, schema), "usage": used})
            except ValueError as error:
                problem = "cut off at max_tokens" if reply.ending == "cut" else str(error)
                dialogue = asked_again(dialogue, reply.content, problem)
        raise ModelError("malformed", self._words(f"{answers} answers miss their schema; the last: {problem}"))

    async def _reply(self, body: dict[str, Any], *, wants_json: bool) -> Reply:
        if self._met:
            return await self._persist(body, wants_json)
        async with self._door:
            if not self._met:
                return await self._first_contact(body, wants_json)
        return await self._persist(body, wants_json)

    async def models(self) -> list[str]:
        """Names of the models that the endpoint lists; none where it does not say."""
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                page = await self._client.get("/models", cast_to=httpx2.Response, options=self._options)
            return sorted(self._words(str(row["id"]))[:DETAIL_LENGTH] for row in page.json()["data"][:MOST_MODELS])
        except (
            *(TimeoutError, openai.OpenAIError, aiohttp.ClientError, ModelError),
            *(ValueError, KeyError, TypeError, RecursionError),
        ):
            return []  # asked for a message's sake alone

    async def close(self) -> None:
        """Close connections."""
        await self._client.close()

    async def _first_contact(self, body: dict[str, Any], wants_json: bool) -> Reply:
        if self._hopeless is None:
            try:
                return await self._persist(body, wants_json)
            except ModelError as error:
                if error.kind not in FINAL and error.kind != "unreachable":
                    raise
                self._hopeless = error
        raise ModelError(self._hopeless.kind, self._hopeless.said)

    async def _persist(self, body: dict[str, Any], wants_json: bool) -> Reply:
        """Try until there is a reply, or no hope.

        Raises:
            ModelError: there is no reply.
            OutOfBudget: nothing more may be spent.
        """
        with self._account.request() as counted:
            while True:
                # Made here and not by the SDK, which would do it a second time after what the estimate needs.
                content = json.dumps(self._sent(body), ensure_ascii=False, separators=(",", ":")).encode()
                estimate = len(content) / BYTES_A_TOKEN + body["max_tokens"]
                try:
                    async with self._throttle.slot(estimate):
                        self._account.check()
                        counted.sent()
                        reply = await self._once(content, wants_json)
                        counted.replied(reply.usage)
                except ModelError as error:
                    counted.spent(error.usage)
                    await self._before_next(error, counted.tries)
                else:
                    break
        self._throttle.answered()
        if reply.usage:
            self._throttle.used(estimate, reply.usage.prompt_tokens + reply.usage.completion_tokens)
        return reply

    async def _before_next(self, error: ModelError, tries: int) -> None:
        """Wait as long as another try should, or raise the error where there is to be none."""
        allowed = 1 + (min(self.limits.retries, REPAIRS) if error.kind == "no_answer" else self.limits.retries)
        if error.kind == "refused" and tries <= allowed + ADAPTATIONS and self._adapt(error.said.lower()):
            return
        if error.wait is not None and error.wait > self.limits.max_wait:
            raise ModelError(
                "quota", f"the server asks to wait {min(error.wait, 1e9):.0f} s ({error.detail})"
            ) from error
        wait = self._wait(error, tries)
        if error.kind == "rate_limit":
            self._throttle.limited(wait)
        if error.kind == "unreachable" and not self._met:
            allowed = min(allowed, FIRST_CONTACT_TRIES)
        if error.kind not in PASSING or tries >= allowed:
            raise error
        await asyncio.sleep(wait)

    def _adapt(self, detail: str) -> bool:
        """Whether the server named what it does without: newer models know the limit by another name."""
        limit = "max_completion_tokens" in detail
        named = {name for name, sign in DISPENSABLE.items() if sign.search(detail)}
        self._limit_name = "max_completion_tokens" if limit else self._limit_name
        self._left_out |= named
        return limit or bool(named)

    def _wait(self, error: ModelError, tries: int) -> float:
        """Seconds before the next try: what the server asked for, or twice as long each time; spread a little."""
        backoff = min(LONGEST_BACKOFF, self.limits.backoff * 2.0 ** (tries - 1))
        return (backoff if error.wait is None else error.wait) * (1 + self._jitter.random() / 10)

    async def _once(self, content: bytes, wants_json: bool) -> Reply:
        """One try.

        Raises:
            ModelError: it failed.
        """
        self.requests += 1
        with self._errors():
            async with asyncio.timeout(self.limits.timeout):
                response = await self._client.post(
                    "/chat/completions", content=content, cast_to=httpx2.Response, options=self._options
                )
            self._met = True
            return self._without_key(read_reply(response.content, wants_json=wants_json))

    def _without_key(self, reply: Reply) -> Reply:
        """The reply as it may be kept."""
        if len(self._key.reveal()) < SECRET:
            return reply
        hide = self._key.hide_in
        calls = tuple(
            CallText(name=hide(name), arguments=(kept := hide(given)), sent=sent if kept == given else None)
            for name, given, sent in ((call.name, call.arguments, call.sent) for call in reply.calls)
        )
        return reply.model_copy(update={"content": hide(reply.content), "calls": calls, "finish": hide(reply.finish)})

    def _sent(self, body: dict[str, Any]) -> dict[str, Any]:
        """The request without what the server is known not to take."""
        sent = {name: value for name, value in body.items() if name not in self._left_out}
        return {self._limit_name if name == "max_tokens" else name: value for name, value in sent.items()}

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Say in our words what goes wrong on the way.

        Raises:
            ModelError: it did.
        """
        try:
            yield
        except TimeoutError as error:
            raise ModelError("timeout", f"no whole reply within {self.limits.timeout:g} s") from error
        except openai.APIStatusError as error:  # it holds the request with its key and goes no further
            told = failure(error)
            self._met = self._met or told.kind not in FINAL
            raise self._masked(told) from None
        except (openai.APIConnectionError, aiohttp.ClientError) as error:
            raise self._masked(self._broken(error)) from error
        except openai.APIError as error:  # said within a stream, under the status 200
            raise self._masked(told_failure(error.body or error.message)) from None
        except ModelError as error:
            raise self._masked(error) from None

    def _broken(self, error: Exception) -> ModelError:
        """What a connection without a reply means; the transport calls a refused connection a timeout."""
        for cause in _causes(error):
            if isinstance(cause, ModelError):
                return cause
            if isinstance(cause, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError):
                return ModelError("unreachable", str(cause))
            if isinstance(cause, aiohttp.ServerTimeoutError):
                return ModelError("timeout", f"no answer within {self.limits.timeout:g} s")
        last = list(_causes(error))[-1]
        return ModelError("dropped", f"{type(last).__name__}: {last}")

    def _masked(self, error: ModelError) -> ModelError:
        """The error without the key."""
        written = self._key.hide_in(error.written) if len(self._key.reveal()) >= SECRET else error.written
        return ModelError(error.kind, self._words(error.said), error.wait, written=written, usage=error.usage)

    def _words(self, text: str) -> str:
        """Somebody else's words in a line, without the key: struck out whole, for half a key is not found."""
        return " ".join(self._key.hide_in(text[:LONGEST_SAID]).split())


async def _limit(response: httpx2.Response) -> None:
    """Bound what is read of a response, before any of it is.

    Raises:
        ModelError: it is compressed, or says that it is too long.
    """
    coding = response.headers.get("content-encoding", "identity").lower()
    if coding not in ("", "identity"):
        raise ModelError("malformed", f"the reply is compressed ({coding[:20]}), and was asked for uncompressed")
    assert isinstance(response.stream, httpx2.AsyncByteStream)
    response.stream = _Counted(response.stream)


class _Counted(httpx2.AsyncByteStream):
    """A body that ends with an error where it is too long."""

    def __init__(self, stream: httpx2.AsyncByteStream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        read = 0
        async for part in self._stream:
            read += len(part)
            if read > MOST_BYTES:
                raise ModelError("malformed", f"the reply has more than {MOST_BYTES} bytes")
            yield part

    async def aclose(self) -> None:
        await self._stream.aclose()


def _causes(error: BaseException) -> Iterator[BaseException]:
    at: BaseException | None = error
    while at is not None:
        yield at
        at = at.__cause__
