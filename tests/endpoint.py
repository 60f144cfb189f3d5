"""An OpenAI-compatible endpoint on loopback, over real HTTP, that answers as it is told and fails as it is told."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from aiohttp import web

from sloop.records import Label

Fault = str
"""429, 429-long, 500, 400, quota, context, drop, hang, truncate, garbage, empty, filter."""


class Endpoint:
    """What the server says, and what it has seen."""

    def __init__(self) -> None:
        self.url = ""
        self.key: str | None = None
        """Demanded of every request; None: none is."""
        self.models = ["small"]
        self.answer: Callable[[dict[str, Any]], Label] = lambda body: Label(content="Hello.")
        self.fault: Callable[[dict[str, Any], int], Fault | None] = lambda body, times: None
        """Told the request and how often it came before."""
        self.text: str | None = None
        """This text as every reply, without structured calls."""
        self.message: dict[str, Any] | None = None
        """This message as every reply, to the letter."""
        self.raw: tuple[int, bytes] | None = None
        """This status and body as every reply."""
        self.finish: str | None = None
        self.token_logprob: float | None = -0.5
        """Of every token; None: this server has no logprobs."""
        self.tokens_listed: int | None = None
        """Of how many tokens it is given; None: of all."""
        self.refuses: Callable[[dict[str, Any]], str | None] = lambda body: None
        """Told the request; turned down with these words."""
        self.redirect: str | None = None
        """Where every request is sent on to."""
        self.latency = 0.0
        self.max_in_flight = 0
        """429 above it; 0: no limit."""
        self.retry_after: str | None = None
        self.events: Callable[[list[dict[str, Any]]], list[dict[str, Any] | str]] = lambda chunks: [*chunks, "[DONE]"]
        """What a stream sends for its chunks; a text that is no JSON is sent to the letter, "drop" breaks off."""
        self.seen: list[dict[str, Any]] = []
        self.headers: list[Mapping[str, str]] = []
        self.queries: list[str] = []
        self.most_in_flight = 0
        self.times: Counter[str] = Counter()
        self._flying = 0

    async def chat(self, request: web.Request) -> web.StreamResponse:
        if self.redirect:
            raise web.HTTPTemporaryRedirect(self.redirect)
        body = await request.json()
        self.headers.append(request.headers)
        self.queries.append(request.query_string)
        if self.key and request.headers.get("Authorization") != f"Bearer {self.key}":
            given = request.headers.get("Authorization", "").removeprefix("Bearer ")
            return error(401, f"Incorrect API key provided: {given}.", "invalid_api_key")
        if body["model"] not in self.models:
            return error(404, f"The model `{body['model']}` does not exist.", "model_not_found")
        if words := self.refuses(body):
            return error(400, words, "unsupported_parameter")
        identity = json.dumps(body["messages"], sort_keys=True)
        times, self.times[identity] = self.times[identity], self.times[identity] + 1
        self.seen.append(body)
        self._flying += 1
        self.most_in_flight = max(self.most_in_flight, self._flying)
        try:
            if self.max_in_flight and self._flying > self.max_in_flight:
                return self.too_many()
            await asyncio.sleep(self.latency)
            if self.raw:
                return web.Response(status=self.raw[0], body=self.raw[1], content_type="application/json")
            fault = self.fault(body, times)
            if fault:
                return await self.fail(fault, request)
            if body.get("stream"):
                return await self.stream(body, request)
            return web.json_response(self.reply(body))
        finally:
            self._flying -= 1

    def too_many(self, wait: str | None = None) -> web.Response:
        wait = wait or self.retry_after
        return error(429, "Too many requests.", "rate_limit_exceeded", {"Retry-After": wait} if wait else {})

    async def fail(self, fault: Fault, request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        match fault:
            case "429":
                return self.too_many()
            case "429-long":
                return self.too_many("86400")
            case "500":
                return web.Response(status=500, text="<html>Internal Server Error</html>", content_type="text/html")
            case "400":
                return error(400, "this content is not welcome", "invalid_request_error")
            case "quota":
                return error(429, "You exceeded your current quota.", "insufficient_quota")
            case "context":
                return error(400, "This model's maximum context length is 64 tokens.", "context_length_exceeded")
            case "filter":
                return web.json_response({"choices": [{"message": {}, "finish_reason": "content_filter"}]})
            case "drop":
                request.transport.close()
            case "hang":
                await asyncio.sleep(3600)
            case "truncate":
                response = web.StreamResponse(headers={"Content-Length": "5000", "Content-Type": "application/json"})
                await response.prepare(request)
                await response.write(b'{"choices": [{"mess')
                request.transport.close()
                return response
            case "garbage":
                return web.Response(text='{"choices": [{"message": {"content": "Hel', content_type="application/json")
            case "empty":
                return web.json_response({"choices": []})
        return web.Response()

    def reply(self, body: dict[str, Any]) -> dict[str, Any]:
        label = self.answer(body)
        message: dict[str, Any] = {"role": "assistant", "content": self.text or label.content or None}
        if self.text is None and label.calls:
            message["tool_calls"] = [{"id": f"x{k}", **call.to_openai()} for k, call in enumerate(label.calls)]
        message = self.message or message
        tokens = json.dumps(message).split()
        choice: dict[str, Any] = {"index": 0, "message": message, "finish_reason": self.finish or "stop"}
        if body.get("logprobs") and self.token_logprob is not None:
            choice["logprobs"] = {
                "content": [{"token": token, "logprob": self.token_logprob} for token in tokens[: self.tokens_listed]]
            }
        usage = {"prompt_tokens": 7, "completion_tokens": len(tokens), "total_tokens": 7 + len(tokens)}
        reply = {"id": "c", "object": "chat.completion", "created": 0, "model": body.get("model", "")}
        return {**reply, "choices": [choice], "usage": usage}

    async def stream(self, body: dict[str, Any], request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        counts = bool(body.get("stream_options", {}).get("include_usage"))
        for event in self.events(pieces(self.reply(body), counts=counts)):
            if event == "drop":
                assert request.transport is not None
                request.transport.close()
                return response
            data = event if isinstance(event, str) else json.dumps(event)
            await response.write(f"data: {data}\n\n".encode())
        return response

    async def list_models(self, request: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [{"id": name} for name in self.models]})


def error(status: int, message: str, code: str, headers: Mapping[str, str] | None = None) -> web.Response:
    body = {"error": {"message": message, "type": code, "param": None, "code": code}}
    return web.json_response(body, status=status, headers=headers)


def pieces(
    reply: dict[str, Any],
    *,
    counts: bool = True,
    cut: Callable[[str], list[str]] = lambda text: re.split(r"(?<= )", text),
) -> list[dict[str, Any]]:
    """A completion as the chunks of a stream, its texts cut in pieces."""
    (choice,) = reply["choices"]
    message, tokens = choice["message"], list((choice.get("logprobs") or {}).get("content") or [])
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
    deltas += [{"content": part} for part in cut(message.get("content") or "")]
    for index, call in enumerate(message.get("tool_calls") or ()):
        function = call["function"]
        first = {"index": index, "id": call["id"], "type": "function"}
        deltas.append({"tool_calls": [{**first, "function": {"name": function["name"], "arguments": ""}}]})
        parts = cut(function["arguments"])
        deltas += [{"tool_calls": [{"index": index, "function": {"arguments": part}}]} for part in parts]
    chunks: list[dict[str, Any]] = []
    for number, delta in enumerate(deltas):
        due = tokens[number : number + 1] if number < len(deltas) - 1 else tokens[number:]
        chunks.append({"choices": [{"index": 0, "delta": delta, "logprobs": {"content": due} if due else None}]})
    chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": choice["finish_reason"]}]})
    if counts:
        chunks.append({"choices": [], "usage": reply["usage"]})
    return [{"id": "c", "object": "chat.completion.chunk", **chunk} for chunk in chunks]


@contextmanager
def serving() -> Iterator[Endpoint]:
    """The endpoint on a free port, on a thread of its own, until the block ends."""
    endpoint, loop, ready = Endpoint(), asyncio.new_event_loop(), threading.Event()
    stop = asyncio.Event()

    async def serve() -> None:
        app = web.Application()
        app.router.add_post("/v1/chat/completions", endpoint.chat)
        app.router.add_get("/v1/models", endpoint.list_models)
        runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        endpoint.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        ready.set()
        await stop.wait()
        await runner.cleanup()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),), daemon=True)
    thread.start()
    ready.wait()
    try:
        yield endpoint
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()
