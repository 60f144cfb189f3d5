"""Replies in pieces: a chunk as servers really send it, and the whole that chunks make."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import openai
from pydantic import BaseModel, Field

from sloop.models.base import CallDelta, CallText, Chunk, Reply, Usage
from sloop.models.wire import MOST_CALLS, LogProbs, WireUsage, arguments_text, read_usage
from sloop.records import Record


class Events(openai.AsyncStream[Any]):
    """The SDK's stream, which ends alike whether the server closed it or the connection broke; this one tells."""

    done = False
    """Whether the server said that the stream is over."""

    async def _iter_events(self) -> Any:
        async for event in super()._iter_events():
            self.done = self.done or event.data.startswith("[DONE]")
            yield event


class _Function(BaseModel):
    name: str | None = None
    arguments: str | dict[str, Any] | None = None


class _Call(BaseModel):
    index: int | None = None
    id: str | None = None
    function: _Function = _Function()


class _Delta(BaseModel):
    content: str | None = None
    refusal: str | None = None
    tool_calls: list[_Call] | None = Field(None, max_length=MOST_CALLS)


class _Choice(BaseModel):
    delta: _Delta = _Delta()
    finish_reason: str | None = None
    logprobs: LogProbs | None = None


class _Chunk(BaseModel):
    choices: list[_Choice] = []
    usage: WireUsage | None = None


def read_chunk(data: object) -> Chunk:
    """The first choice of one event's JSON; an event without choices may still hold the usage.

    Raises:
        ValidationError: it is not a chunk of a chat completion.
    """
    chunk = _Chunk.model_validate(data)
    choice = chunk.choices[0] if chunk.choices else _Choice()
    tokens = (choice.logprobs and choice.logprobs.content) or []
    return Chunk(
        content=choice.delta.content or choice.delta.refusal or "",
        calls=tuple(_call(place, call) for place, call in enumerate(choice.delta.tool_calls or ())),
        finish=choice.finish_reason,
        logprobs=tuple(token.logprob for token in tokens),
        usage=read_usage(chunk.usage),
    )


def _call(place: int, call: _Call) -> CallDelta:
    return CallDelta(
        index=place if call.index is None else call.index,
        id=call.id or "",
        name=call.function.name or "",
        arguments=arguments_text(call.function.arguments),
    )


class _Piece(Record):
    id: str = ""
    name: str = ""
    arguments: str = ""


def fold(chunks: Iterable[Chunk]) -> Reply:
    """The reply that the chunks make, equal to the one that would have come in one piece."""
    content: list[str] = []
    logprobs: list[float] = []
    calls: list[_Piece] = []
    place: dict[int, int] = {}
    finish, usage = "stop", None
    for chunk in chunks:
        content.append(chunk.content)
        logprobs += chunk.logprobs
        finish = chunk.finish or finish
        usage = _latest(usage, chunk.usage)
        for delta in chunk.calls:
            at = place.get(delta.index)
            if at is None or (delta.id and calls[at].id and delta.id != calls[at].id):
                at = place[delta.index] = len(calls)
                calls.append(_Piece())
            before = calls[at]
            calls[at] = _Piece(
                id=before.id or delta.id,
                name=before.name + delta.name,
                arguments=before.arguments + delta.arguments,
            )
    return Reply(
        content="".join(content),
        calls=tuple(CallText(name=call.name, arguments=call.arguments) for call in calls),
        finish=finish,
        logprob=math.fsum(logprobs) if logprobs else None,
        num_logprobs=len(logprobs),
        usage=usage,
    )


def _latest(before: Usage | None, found: Usage | None) -> Usage | None:
    """Some servers count along in every chunk: the last count is that of the whole."""
    return found or before
