"""Clients of `sloop serve` that send too much, too slowly or nothing at all, over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from checkpoints import serving

from sloop.serve.limits import ServeLimits
from sloop.serve.protocol import Answer, ChatRequest, Piece

LIMITS = ServeLimits(patience=0.5, max_body=100_000, max_waiting=3, max_connections=8)
POST = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
ENOUGH = 4.0
"""Seconds in which a connection is closed that is waited for too long."""


class Slow:
    """Answers when it is let, and writes on and on where it is streamed."""

    models = ("m",)

    def __init__(self) -> None:
        self.gone = 0
        self.wait = 0.0

    async def reply(self, request: ChatRequest, wrote: Callable[[Piece], None] | None) -> Answer:
        try:
            while wrote and request.stop:
                wrote(Piece(text="x" * 100_000, tokens=()))
                await asyncio.sleep(0.001)
            await asyncio.sleep(self.wait)
        except asyncio.CancelledError:
            self.gone += 1
            raise
        return Answer(content="yes")

    def close(self) -> None:
        pass


@pytest.fixture
def responder() -> Slow:
    return Slow()


@pytest.fixture
def port(responder: Slow) -> Iterator[int]:
    with serving(responder, limits=LIMITS) as url:
        yield int(url.rsplit(":", 1)[1].split("/")[0])


def body(**changes: Any) -> bytes:
    return json.dumps({"model": "m", "messages": [{"role": "user", "content": "hi"}], **changes}).encode()


ONCE = b"Connection: close\r\n"


def asked(content: bytes, *headers: bytes) -> bytes:
    return b"".join([POST, b"Content-Length: %d\r\n" % len(content), *headers, b"\r\n", content])


def open_at(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=10)


def until_closed(line: socket.socket) -> bytes:
    """All that is sent until the other side closes."""
    said = b""
    try:
        while part := line.recv(1 << 16):
            said += part
    except ConnectionResetError:
        pass
    return said


def answer_to(port: int, content: bytes) -> bytes:
    with open_at(port) as line:
        line.sendall(content)
        return until_closed(line)


def test_an_ordinary_request_is_answered(port: int) -> None:
    said = answer_to(port, asked(body(), ONCE))
    assert said.startswith(b"HTTP/1.1 200")
    assert b'"yes"' in said


# --- too slowly, or not at all ------------------------------------------------------------------------------------

UNFINISHED = {
    "nothing": b"",
    "half a line": b"POST /v1/chat",
    "half the headers": POST + b"X-A: b",
    "an answered request": asked(body()),
    "an answered request and a half": asked(body()) + b"POST /v1",
    "half a body": POST + b"Content-Length: 500\r\n\r\n{",
    "no body": POST + b"Content-Length: 500\r\n\r\n",
    "half a chunk": POST + b"Transfer-Encoding: chunked\r\n\r\n5\r\n{",
    "a refused body": b"POST /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\n{",
}


@pytest.mark.parametrize("kind", UNFINISHED)
def test_a_connection_is_closed_on_which_nothing_more_comes(kind: str, port: int) -> None:
    with open_at(port) as line:
        line.sendall(UNFINISHED[kind])
        began = time.perf_counter()
        until_closed(line)
    assert LIMITS.patience * 0.8 < time.perf_counter() - began < ENOUGH


@pytest.mark.parametrize("start", [b"", POST, POST + b"Content-Length: 5000\r\n\r\n"], ids=["line", "headers", "body"])
def test_dripping_does_not_hold_a_connection(start: bytes, port: int) -> None:
    began = time.perf_counter()
    with open_at(port) as line, contextlib.suppress(OSError):
        line.sendall(start)
        while time.perf_counter() - began < ENOUGH:
            line.sendall(b"X")
            time.sleep(0.1)
    assert time.perf_counter() - began < ENOUGH


def test_who_waits_for_an_answer_is_not_closed(port: int, responder: Slow) -> None:
    responder.wait = 3 * LIMITS.patience
    assert answer_to(port, asked(body(), ONCE)).startswith(b"HTTP/1.1 200")


def test_a_stream_that_nobody_takes_is_broken_off(port: int, responder: Slow) -> None:
    with open_at(port) as line:
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        line.sendall(asked(body(stream=True, stop=["never"])))
        began = time.perf_counter()
        while not responder.gone and time.perf_counter() - began < ENOUGH:
            time.sleep(0.05)
    assert responder.gone == 1


def test_a_stream_that_its_client_leaves_is_stopped(port: int, responder: Slow) -> None:
    with open_at(port) as line:
        line.sendall(asked(body(stream=True, stop=["never"])))
        line.recv(100)
    began = time.perf_counter()
    while not responder.gone and time.perf_counter() - began < ENOUGH:
        time.sleep(0.05)
    assert responder.gone == 1


# --- too much -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        POST + b"Content-Length: 100001\r\n\r\n",
        POST + b"Content-Length: 99999999999999\r\n\r\n{",
        POST + b"Transfer-Encoding: chunked\r\n\r\n" + b"8000\r\n" + b" " * 0x8000 + b"\r\n8000\r\n" + b" " * 0x8000
        + b"\r\n8000\r\n" + b" " * 0x8000 + b"\r\n8000\r\n" + b" " * 0x8000 + b"\r\n",
    ],
    ids=["declared", "huge", "chunked"],
)  # fmt: skip
def test_a_body_that_is_too_large_is_refused_before_it_is_read(content: bytes, port: int) -> None:
    with open_at(port) as line:
        line.sendall(content)
        said = until_closed(line)
    assert said.startswith(b"HTTP/1.1 413")
    assert b"request_too_large" in said


@pytest.mark.parametrize(
    "content",
    [
        POST + b"X-A: " + b"a" * 100_000,
        POST + b"".join(b"X-%d: a\r\n" % number for number in range(20_000)),
        b"GET /" + b"a" * 100_000,
    ],
    ids=["long", "many", "line"],
)
def test_headers_that_are_too_large_are_refused(content: bytes, port: int) -> None:
    with open_at(port) as line:
        try:
            line.sendall(content)
        except OSError:
            return  # closed already
        assert until_closed(line)[:12] in (b"HTTP/1.1 400", b"")


def test_no_more_requests_wait_than_may(port: int, responder: Slow) -> None:
    responder.wait = 2.0
    lines = [open_at(port) for _ in range(5)]
    for line in lines:
        line.sendall(asked(body(), ONCE))
    said = sorted(line.recv(1 << 16)[:12] for line in lines)
    for line in lines:
        line.close()
    assert said == [b"HTTP/1.1 200"] * 3 + [b"HTTP/1.1 429"] * 2


def test_no_more_connections_are_answered_than_may(port: int, responder: Slow) -> None:
    held = [open_at(port) for _ in range(LIMITS.max_connections)]
    assert answer_to(port, asked(body(), ONCE)).startswith(b"HTTP/1.1 503")
    for line in held:
        line.close()
    time.sleep(0.2)
    assert answer_to(port, asked(body(), ONCE)).startswith(b"HTTP/1.1 200")


# --- what is no request -------------------------------------------------------------------------------------------


def messages(**fields: Any) -> bytes:
    return body(messages=[{"role": "user", "content": "hi"}, {"role": "assistant", **fields}])


def call(arguments: str) -> bytes:
    return messages(tool_calls=[{"id": "a", "function": {"name": "f", "arguments": arguments}}])


BAD = {
    "empty": b"",
    "no JSON": b"{",
    "no text": b"\xff\xfe",
    "deep": b"[" * 50_000,
    "deep field": b'{"metadata": ' + b'{"a":' * 10_000 + b"1" + b"}" * 10_001,
    "deep schema": body(response_format={"type": "json_schema", "json_schema": {"schema": {}}}).replace(
        b'"schema": {}', b'"schema": ' + b'{"not":' * 150 + b"{}" + b"}" * 150
    ),
    "half a character": body().replace(b"hi", b"\\ud800"),
    "half a character in arguments": call('{"a": "\\ud800"}'),
    "deep arguments": call('{"a":' * 5000 + "1" + "}" * 5000),
    "arguments of no JSON": call("{"),
    "arguments of nan": call('{"a": NaN}'),
    "huge max_tokens": body(max_tokens=-1),
    "max_tokens of text": body(max_tokens="many"),
    "several answers": body(n=1000),
    "many stops": body(stop=["a"] * 5),
    "a long stop": body(stop="a" * 1001),
    "a temperature of nan": body().replace(b'"m"', b'"m", "temperature": NaN'),
    "no messages": body(messages=[]),
    "a schema that is none": body(response_format={"type": "json_schema", "json_schema": {"schema": {"type": 3}}}),
}


@pytest.mark.parametrize("kind", BAD)
def test_what_is_no_request_is_the_clients_mistake(kind: str, port: int) -> None:
    said = answer_to(port, asked(BAD[kind], ONCE))
    assert said.startswith(b"HTTP/1.1 400"), said[:300]
    assert json.loads(said.split(b"\r\n\r\n", 1)[1])["error"]["message"]
