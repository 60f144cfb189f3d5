"""Servers that send too much, too slowly, without end or nonsense: a failed request, in time and in bounded memory."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import resource
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from clients import GREEDY, ask_all, client

from sloop.models.base import ModelError, Reply
from sloop.records import Message

TIMEOUT = 1.0
SOON = 6.0
"""Seconds: the limit, and time for a machine that is busy."""
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
Script = Callable[[socket.socket], None]


@contextlib.contextmanager
def server(script: Script) -> Iterator[str]:
    """A server on loopback that reads a request and then does what the script says; its base URL."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    line, _ = listening.accept()
                    threading.Thread(target=answer, args=(line,), daemon=True).start()

        def answer(line: socket.socket) -> None:
            with line, contextlib.suppress(OSError):
                line.recv(1 << 16)
                script(line)

        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/v1"


def completion(**message: Any) -> bytes:
    return json.dumps({"choices": [{"message": {"content": "yes", **message}, "finish_reason": "stop"}]}).encode()


def whole(content: bytes, *headers: bytes, status: bytes = b"200 OK") -> Script:
    head = b"HTTP/1.1 " + status + b"\r\nContent-Type: application/json\r\n" + b"".join(headers)
    return lambda line: line.sendall(head + b"Content-Length: %d\r\n\r\n" % len(content) + content)


def on_and_on(start: bytes, part: bytes, pause: float = 0.0) -> Script:
    def script(line: socket.socket) -> None:
        line.sendall(start)
        while True:
            line.sendall(part)
            time.sleep(pause)

    return script


def once(*parts: bytes, then: float = 0.0) -> Script:
    def script(line: socket.socket) -> None:
        line.sendall(b"".join(parts))
        time.sleep(then)

    return script


def ask(url: str) -> Reply | BaseException:
    (found,) = ask_all(client(url, timeout=TIMEOUT, retries=0), ["hi"])
    return found


def test_a_whole_reply_is_one() -> None:
    with server(whole(completion())) as url:
        found = ask(url)
    assert isinstance(found, Reply)
    assert found.content == "yes"


CALL = b'{"function": {"name": "f"}}'
DRIPPING = on_and_on(HEAD + b"Content-Length: 100000\r\n\r\n", b" ", 0.05)
REPLIES: dict[str, tuple[Script, str]] = {
    "nothing": (once(then=10.0), "timeout"),
    "half a header": (once(b"HTTP/1.1 200", then=10.0), "timeout"),
    "half a body": (once(HEAD + b"Content-Length: 50\r\n\r\n{", then=10.0), "timeout"),
    "dripping": (DRIPPING, "timeout"),
    "dripping headers": (on_and_on(HEAD, b"X-A: b\r\n", 0.05), "timeout"),
    "headers without end": (on_and_on(HEAD, b"X-A: b\r\n" * 1000), "dropped"),
    "a line without end": (on_and_on(HEAD + b"X-A: ", b"a" * 10_000), "dropped"),
    "chunks without end": (
        on_and_on(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"10000\r\n" + b" " * 0x10000 + b"\r\n"),
        "malformed timeout",
    ),
    "gigabytes": (on_and_on(HEAD + b"Content-Length: 99999999999\r\n\r\n", b" " * 0x100000), "malformed timeout"),
    "a bomb": (whole(gzip.compress(bytes(200_000_000), 9), b"Content-Encoding: gzip\r\n"), "malformed"),
    "bombs in bombs": (whole(gzip.compress(b"x"), b"Content-Encoding: gzip, gzip\r\n"), "malformed"),
    "an error of gigabytes": (
        on_and_on(b"HTTP/1.1 400 Bad\r\nContent-Length: 99999999999\r\n\r\n", b" " * 0x100000),
        "malformed timeout",
    ),
    "no text": (whole(b"\xff\xfe\x00"), "malformed"),
    "no text in a string": (whole(completion().replace(b"yes", b"\xff\xc3")), "malformed"),
    "half a character": (whole(completion().replace(b"yes", b"\\ud800")), "malformed"),
    "deep": (whole(b"[" * 100_000), "malformed"),
    "deep arguments": (
        whole(completion(tool_calls=[{"function": {"name": "f", "arguments": "D"}}]).replace(b'"D"', b'{"a":' * 5000)),
        "malformed",
    ),
    "a million calls": (
        whole(completion(tool_calls="C").replace(b"\"C\"", b"[" + b",".join([CALL] * 10**6) + b"]")),
        "malformed",
    ),
    "many calls": (whole(completion(tool_calls=[json.loads(CALL)] * 1001)), "malformed"),
    "a deep error": (whole(b"[" * 100_000, status=b"400 Bad"), "refused"),
    "a wait without end": (whole(b"{}", b"Retry-After: 1e308\r\n", status=b"429 No"), "quota"),
    "a wait of no number": (whole(b"{}", b"Retry-After: nan\r\n", status=b"429 No"), "rate_limit"),
    "a wait until no day": (
        whole(b"{}", b"Retry-After: Mon, 01 Jan 0001 00:00:00 +2359\r\n", status=b"429 No"),
        "rate_limit",
    ),
    "no HTTP": (once(b"SSH-2.0-x\r\n"), "dropped"),
    "no status": (once(b"HTTP/1.1 abc OK\r\n\r\n"), "dropped"),
}  # fmt: skip


@pytest.mark.parametrize("kind", REPLIES)
def test_a_bad_reply_is_a_failed_request_in_time(kind: str) -> None:
    script, kinds = REPLIES[kind]
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    with server(script) as url:
        found = ask(url)
    assert isinstance(found, ModelError), found
    assert found.kind in kinds.split()
    assert len(found.detail) <= 300
    assert time.perf_counter() - began < SOON
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 900_000  # KiB


def event(**delta: Any) -> bytes:
    return b"data: " + json.dumps({"choices": [{"delta": delta}]}).encode() + b"\n\n"


STREAMS: dict[str, tuple[Script, str]] = {
    "pieces without end": (on_and_on(STREAM, event(content="a"), 0.05), "timeout"),
    "one piece": (once(STREAM, event(content="a"), then=10.0), "timeout"),
    "an event without end": (on_and_on(STREAM + b"data: ", b"a" * 0x10000), "malformed timeout"),
    "comments without end": (on_and_on(STREAM, b": ping\n\n", 0.05), "timeout"),
    "a deep piece": (once(STREAM, b"data: " + b"[" * 100_000 + b"\n\n"), "malformed"),
    "no text": (once(STREAM, b"data: \xff\xfe\n\n"), "malformed"),
    "many calls": (once(STREAM, event(tool_calls=[{"index": 0}] * 1001)), "malformed"),
    "compressed": (once(STREAM.replace(b"\r\n\r\n", b"\r\nContent-Encoding: gzip\r\n\r\n")), "malformed"),
    "broken off": (once(STREAM, event(content="a")), "dropped"),
}


@pytest.mark.parametrize("kind", STREAMS)
def test_a_bad_stream_is_a_failed_request_in_time(kind: str) -> None:
    script, kinds = STREAMS[kind]

    async def listen(url: str) -> None:
        one = client(url, timeout=TIMEOUT, retries=0)
        try:
            async for _ in one.stream([Message(role="user", content="hi")], sampling=GREEDY):
                pass
        finally:
            await one.close()

    began = time.perf_counter()
    with server(script) as url, pytest.raises(ModelError) as told:
        asyncio.run(listen(url))
    assert told.value.kind in kinds.split()
    assert time.perf_counter() - began < SOON


def test_the_time_that_a_caller_takes_for_pieces_is_its_own() -> None:
    ended = b'data: {"choices": [{"delta": {}, "finish_reason": "stop"}]}\n\ndata: [DONE]\n\n'

    async def listen(url: str) -> int:
        one, pieces = client(url, timeout=TIMEOUT, retries=0), 0
        async for _ in one.stream([Message(role="user", content="hi")], sampling=GREEDY):
            pieces += 1
            await asyncio.sleep(TIMEOUT * 0.8)
        await one.close()
        return pieces

    with server(once(STREAM, event(content="a"), event(content="b"), ended)) as url:
        assert asyncio.run(listen(url)) == 3
