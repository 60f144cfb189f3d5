"""The HTTP application: OpenAI's chat API over any responder."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Coroutine, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from sloop.models.environment import Key
from sloop.serve.checks import check_answer, demands
from sloop.serve.limits import InTurn, ServeLimits, read_body
from sloop.serve.protocol import Answer, ChatRequest, Piece, RequestError, Responder
from sloop.serve.wire import Asked, Completion, error_body, event, model_card, read_request

T = TypeVar("T")

CLIENT_GONE = 499
"""Status of what nobody receives."""
HEADERS = {
    401: {"WWW-Authenticate": "Bearer"},
    408: {"Connection": "close"},
    413: {"Connection": "close"},  # else the rest of the body would be taken, and thrown away
    429: {"Retry-After": "1"},
}
"""What a status tells its client beside the error."""


def make_app(responder: Responder, token: Key | None, limits: ServeLimits) -> FastAPI:
    """The application over a responder, which it closes when it ends.

    Args:
        responder: who answers.
        token: demanded as a bearer token of every request but ``/health``; None: none is.
        limits: what clients may take.
    """
    responder = InTurn(responder, limits.max_waiting)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        responder.close()

    async def authorized(request: Request) -> None:
        if token is not None:
            scheme, _, given = request.headers.get("authorization", "").partition(" ")
            if (
                not secrets.compare_digest(given.strip().encode(), token.reveal().encode())
                or scheme.lower() != "bearer"
            ):
                raise RequestError(401, "A bearer token is wanted, and this is not it.", code="invalid_api_key")

    app = FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    app.add_exception_handler(RequestError, _say_error)
    app.add_exception_handler(HTTPException, _say_http_error)
    app.add_exception_handler(Exception, _say_failure)
    created = int(time.time())
    guarded = APIRouter(prefix="/v1", dependencies=[Depends(authorized)])

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @guarded.get("/models")
    async def models() -> dict[str, Any]:
        return {"object": "list", "data": [model_card(name, created) for name in responder.models]}

    @guarded.get("/models/{name:path}")
    async def model(name: str) -> dict[str, Any]:
        _known(responder, name)
        return model_card(name, created)

    @guarded.post("/chat/completions")
    async def chat(request: Request) -> Response:
        try:
            asked = read_request(await read_body(request, limits))
        except ClientDisconnect:
            return Response(status_code=CLIENT_GONE)
        _known(responder, asked.request.model)
        if asked.stream:
            return await _stream(request, responder, asked)
        answer = await _unless_gone(request, _checked(responder, asked.request))
        if answer is None:
            return Response(status_code=CLIENT_GONE)
        return JSONResponse(Completion(asked).whole(answer))

    app.include_router(guarded)
    return app


def _known(responder: Responder, name: str) -> None:
    if name not in responder.models:
        known = ", ".join(responder.models)
        message = f"The model {name!r} does not exist. This server has: {known}."
        raise RequestError(404, message, code="model_not_found", param="model")


async def _checked(responder: Responder, request: ChatRequest) -> Answer:
    answer = await responder.reply(request, None)
    check_answer(request, answer)
    return answer


async def _stream(http: Request, responder: Responder, asked: Asked) -> Response:
    """Server-sent events, once there is something to send: an error before that has its own status."""
    pieces: asyncio.Queue[Piece | None] = asyncio.Queue()
    work = (
        _checked(responder, asked.request)
        if demands(asked.request)
        else responder.reply(asked.request, pieces.put_nowait)
    )
    answering = asyncio.create_task(_whole(work))
    answering.add_done_callback(lambda _: pieces.put_nowait(None))
    try:
        first = await _unless_gone(http, _whole(pieces.get()))
    except asyncio.CancelledError:
        answering.cancel()
        raise
    if first is None and not answering.done():
        answering.cancel()
        return Response(status_code=CLIENT_GONE)
    if first is None:
        answering.result()
    return StreamingResponse(_events(Completion(asked), first, pieces, answering), media_type="text/event-stream")


async def _events(
    completion: Completion, piece: Piece | None, pieces: asyncio.Queue[Piece | None], answering: asyncio.Task[Answer]
) -> AsyncIterator[str]:
    sent: list[str] = []
    number = 0
    try:
        yield event(completion.first())
        while piece is not None:
            sent.append(piece.text)
            number += len(piece.tokens)
            yield event(completion.piece(piece.text, piece.tokens))
            await asyncio.sleep(0)  # a client that has left is noticed, however many pieces wait
            piece = await pieces.get()
        try:
            answer = answering.result()
        except RequestError as error:  # the status has gone out long ago
            yield event(error_body(error))
            return
        for chunk in completion.rest(answer, "".join(sent), (answer.tokens or ())[number:]):
            yield event(chunk)
        yield event("[DONE]")
    finally:
        answering.cancel()


async def _whole(work: Awaitable[T]) -> T:
    return await work


async def _unless_gone(http: Request, work: Coroutine[Any, Any, T]) -> T | None:
    """The result of some work, or None once the client has hung up: the work is then cancelled."""
    working, gone = asyncio.create_task(work), asyncio.create_task(_hung_up(http))
    try:
        await asyncio.wait((working, gone), return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        gone.cancel()
        working.cancel()


async def _hung_up(http: Request) -> None:
    while (await http.receive())["type"] != "http.disconnect":
        pass


def _json_error(error: RequestError, headers: Mapping[str, str] | None = None) -> JSONResponse:
    return JSONResponse(error_body(error), status_code=error.status, headers=headers)


async def _say_error(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestError)
    return _json_error(error, HEADERS.get(error.status))


async def _say_http_error(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    return _json_error(RequestError(error.status_code, f"{error.detail}."), error.headers)


async def _say_failure(_: Request, __: Exception) -> JSONResponse:
    failure = RequestError(500, "The server failed on this request; its log says how.", code="internal_error")
    return _json_error(failure, {"Connection": "close"})  # uvicorn closes it after an error, and clients must know
