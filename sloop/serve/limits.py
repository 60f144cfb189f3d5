"""How much of a server's time and memory one client may take, and what closes a connection that takes more."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Annotated

from fastapi import Request
from uvicorn.protocols.http.h11_impl import H11Protocol

from sloop.records import Record
from sloop.records.ranges import Seconds, Within
from sloop.serve.protocol import Answer, ChatRequest, Piece, RequestError, Responder

HEADER_BYTES = 32 << 10
"""Of a request's line and headers, all together."""


class ServeLimits(Record):
    """What is allowed; ``conf/serve.yaml`` says it again."""

    patience: Seconds = 30.0
    """Seconds for a client to send a request's headers, then its body, to begin another one, and to take what it is
    sent."""
    max_body: Annotated[int, Within(1, 1 << 30)] = 8 << 20
    """Bytes of a request's body."""
    max_waiting: Annotated[int, Within(1, 10**6)] = 1024
    """Requests that are answered or wait for it; another one gets the status 429."""
    max_connections: Annotated[int, Within(1, 10**6)] = 2048
    """Open connections; a request on another one gets the status 503."""


class InTurn:
    """A responder that has no more than so many requests at a time."""

    def __init__(self, responder: Responder, most: int) -> None:
        """Take who answers, and the number."""
        self._responder = responder
        self._most = most
        self._under_way = 0

    @property
    def models(self) -> tuple[str, ...]:
        """Those of the responder."""
        return self._responder.models

    async def reply(self, request: ChatRequest, wrote: Callable[[Piece], None] | None) -> Answer:
        """Answer; see `sloop.serve.protocol.Responder`."""
        if self._under_way >= self._most:
            message = f"{self._most} requests are waiting, and no more may. Ask again later."
            raise RequestError(429, message, code="rate_limit_exceeded")
        self._under_way += 1
        try:
            return await self._responder.reply(request, wrote)
        finally:
            self._under_way -= 1

    def close(self) -> None:
        """Close the responder."""
        self._responder.close()


async def read_body(request: Request, limits: ServeLimits) -> bytes:
    """The body of a request, of which no more is read than may be.

    Raises:
        RequestError: it is too large, or does not come.
        ClientDisconnect: the client has hung up.
    """
    too_large = RequestError(413, f"The body has more than {limits.max_body} bytes.", code="request_too_large")
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > limits.max_body:
        raise too_large
    body = bytearray()
    try:
        async with asyncio.timeout(limits.patience):
            async for part in request.stream():
                body += part
                if len(body) > limits.max_body:
                    raise too_large
    except TimeoutError:
        raise RequestError(408, f"The body did not come within {limits.patience:g} seconds.") from None
    return bytes(body)


def patient_http(limits: ServeLimits) -> type[asyncio.Protocol]:
    """Uvicorn's HTTP, which by itself waits for ever for a first request, or for a client that takes no answer."""

    class PatientHTTP(H11Protocol):
        """Closes a connection on which a request is waited for too long, or an answer is not taken."""

        _request_due: asyncio.TimerHandle | None = None
        _answer_due: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._watch()

        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            self._cancel()
            if self._answer_due is not None:
                self._answer_due.cancel()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self._watch()

        def on_response_complete(self) -> None:
            self._cancel()
            super().on_response_complete()
            self._watch()

        def pause_writing(self) -> None:
            super().pause_writing()
            self._answer_due = self.loop.call_later(limits.patience, self.transport.abort)

        def resume_writing(self) -> None:
            super().resume_writing()
            if self._answer_due is not None:
                self._answer_due.cancel()

        def _watch(self) -> None:
            answering = self.cycle is not None and not self.cycle.response_complete
            if answering or self.transport.is_closing():
                self._cancel()
            elif self._request_due is None:
                self._request_due = self.loop.call_later(limits.patience, self.transport.abort)

        def _cancel(self) -> None:
            if self._request_due is not None:
                self._request_due.cancel()
            self._request_due = None

    return PatientHTTP
