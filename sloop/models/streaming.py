"""Replies in pieces: a chunk as servers really send it, and the whole that chunks make."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import openai
from pydantic import AliasChoices, BaseModel, Field

from sloop.models.base import CallDelta, Chunk, Reply
from sloop.models.endings import telling
from sloop.models.wire import MOST_CALLS, Text, arguments_text, call_text, read_logprobs, read_usage, told_failure
from sloop.records import from_json


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
    arguments: str | dict[str, Any] | list[Any] | None = None


class _Call(BaseModel):
    index: int | None = None
    id: str | None = None
    function: _Function | None = None


class _Delta(BaseModel):
    content: Text = None
    reasoning: str | None = Field(None, validation_alias=AliasChoices("reasoning_content", "reasoning"))
    refusal: str | None = None
    tool_calls: list[_Call] | None = Field(None, max_length=MOST_CALLS)
    function_call: _Function | None = None


class _Choice(BaseModel):
    delta: _Delta | None = None
    finish_reason: str | None = None
    native_finish_reason: str | None = None
    logprobs: Any = None
    error: Any = None


class _Chunk(BaseModel):
    choices: list[_Choice] | None = None
    usage: Any = None


def read_chunk(data: object) -> Chunk:
    """The first choice of one event's JSON; an event without choices may still hold the usage.

    Raises:
        ValidationError: it is not a chunk of a chat completion.
        ModelError: it tells of a failure.
    """
    chunk = _Chunk.model_validate(data)
    choice = chunk.choices[0] if chunk.choices else _Choice()
    if choice.error:
        raise told_failure(choice.error)
    delta = choice.delta or _Delta()
    calls = delta.tool_calls or ([_Call(index=0, function=delta.function_call)] if delta.function_call else [])
    return Chunk(
        content=delta.content or delta.refusal or "",
        reasoning=delta.reasoning or "",
        calls=tuple(_call(place, call) for place, call in enumerate(calls)),
        finish=telling(choice.finish_reason, choice.native_finish_reason) or None,
        logprobs=read_logprobs(choice.logprobs),
        usage=read_usage(chunk.usage),
    )


def _call(place: int, call: _Call) -> CallDelta:
    function = call.function or _Function()
    arguments = function.arguments
    return CallDelta(
        index=place if call.index is None else call.index,
        id=call.id or "",
        name=function.name or "",
        # What stands for no arguments in a whole call may be a part of them here.
        arguments=arguments if isinstance(arguments, str) else arguments_text(arguments),
    )


def fold(chunks: Iterable[Chunk]) -> Reply:
    """The reply that the chunks make, equal to the one that would have come in one piece."""
    content: list[str] = []
    logprobs: list[float] = []
    known = True
    calls: list[CallDelta] = []
    place: dict[int, int] = {}
    named_again: dict[int, CallDelta] = {}
    finish, usage = "", None
    for chunk in chunks:
        content.append(chunk.content)
        known = known and chunk.logprobs is not None
        logprobs += chunk.logprobs or ()
        finish = chunk.finish or finish
        usage = chunk.usage or usage  # some servers count along in every chunk: the last count is that of the whole
        for piece in chunk.calls:
            delta = _joined(again, piece) if (again := named_again.pop(piece.index, None)) else piece
            at = place.get(delta.index)
            if at is None or _begins(calls[at], delta):
                place[delta.index] = len(calls)
                calls.append(delta)
            elif delta.name and not delta.arguments.strip() and _is_object(calls[at].arguments):
                named_again[delta.index] = delta  # the next call, where arguments follow, or else an echo
            else:
                calls[at] = _joined(calls[at], delta)
    return Reply(
        content="".join(content),
        calls=tuple(call_text(call.name, call.arguments) for call in calls),
        finish=finish,
        logprob=math.fsum(logprobs) if logprobs and known else None,
        num_logprobs=len(logprobs) if known else 0,
        usage=usage,
    )


def _begins(before: CallDelta, delta: CallDelta) -> bool:
    """Whether a delta begins another call under an index that has one already.

    Some servers number no calls, others repeat the name, or make up another id, with every piece of one call.
    """
    if not delta.name or (delta.id and delta.id == before.id):
        return False
    if delta.name != before.name and delta.id and before.id:
        return True
    return bool(delta.arguments.strip() or delta.name != before.name) and _is_object(before.arguments)


def _is_object(arguments: str) -> bool:
    try:
        return isinstance(from_json(arguments), dict)
    except (ValueError, RecursionError):
        return False


def _joined(before: CallDelta, delta: CallDelta) -> CallDelta:
    name = delta.name if delta.name.startswith(before.name) else before.name + delta.name
    return before.model_copy(
        update={"id": before.id or delta.id, "name": name, "arguments": before.arguments + delta.arguments}
    )
