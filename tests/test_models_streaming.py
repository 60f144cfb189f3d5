"""Replies in pieces: the same whole as in one piece, and a stream that breaks off is never taken for a reply."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import pytest
from clients import GREEDY, client, limits
from endpoint import Endpoint, pieces, serving
from hypothesis import given
from hypothesis import strategies as st

from sloop.models.base import CallDelta, Chunk, ModelError, Reply
from sloop.models.environment import NO_KEY, Key
from sloop.models.openai_api import OpenAIChat
from sloop.models.streaming import fold, read_chunk
from sloop.models.usage import Meter, Spending
from sloop.models.wire import answered, read_reply
from sloop.records import Label, Message, OutOfBudget, ToolCall

CALLS = (
    ToolCall(name="get_weather", arguments={"city": "Łódź", "days": 2}),
    ToolCall(name="set_timer", arguments={"minutes": 5}),
)
ASKED = [Message(role="user", content="hi")]


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with serving() as server:
        server.answer = lambda body: Label(calls=CALLS, content="Let me see, one moment.")
        yield server


async def read(one: OpenAIChat, most: int | None = None) -> list[Chunk]:
    found: list[Chunk] = []
    async for chunk in one.stream(ASKED, sampling=GREEDY):
        found.append(chunk)
        if len(found) == most:
            break
    return found


def streamed(url: str, **changes: Any) -> list[Chunk]:
    async def once() -> list[Chunk]:
        one = client(url, **changes)
        try:
            return await read(one)
        finally:
            await one.close()

    return asyncio.run(once())


def whole(url: str) -> Reply:
    async def once() -> Reply:
        one = client(url)
        try:
            return await one.complete(ASKED, sampling=GREEDY)
        finally:
            await one.close()

    return asyncio.run(once())


# --- the whole ---

texts = st.text(st.characters(exclude_categories=["Cs"]))
replies = st.fixed_dictionaries(
    {
        "content": texts,
        "calls": st.lists(st.tuples(st.text(min_size=1), texts), max_size=3),
        "finish": st.sampled_from(["stop", "tool_calls", "length", "content_filter"]),
        "logprobs": st.lists(st.floats(-50, 0), max_size=8),
        "usage": st.tuples(st.integers(0, 10**6), st.integers(0, 10**6)),
    }
)


def completion(parts: dict[str, Any]) -> dict[str, Any]:
    calls = [
        {"id": f"x{k}", "type": "function", "function": {"name": name, "arguments": arguments}}
        for k, (name, arguments) in enumerate(parts["calls"])
    ]
    message = {"role": "assistant", "content": parts["content"] or None, "tool_calls": calls or None}
    tokens = [{"token": "t", "logprob": value} for value in parts["logprobs"]]
    prompt, answer = parts["usage"]
    return {
        "choices": [{"message": message, "finish_reason": parts["finish"], "logprobs": {"content": tokens}}],
        "usage": {"prompt_tokens": prompt, "completion_tokens": answer, "prompt_tokens_details": None},
    }


@given(replies, st.lists(st.integers(0, 40), max_size=6))
def test_any_split_of_a_reply_gives_the_equal_reply(parts: dict[str, Any], cuts: list[int]) -> None:
    def cut(text: str) -> list[str]:
        places = sorted({0, len(text), *(place for place in cuts if place < len(text))})
        return [text[start:end] for start, end in pairwise(places)]

    reply = completion(parts)
    chunks = [read_chunk(json.loads(json.dumps(chunk))) for chunk in pieces(reply, cut=cut)]
    assert _outcome(lambda: answered(fold(chunks))) == _outcome(lambda: read_reply(json.dumps(reply).encode()))


def _outcome(read: Callable[[], Reply]) -> Reply | str:
    """The reply, or why it is none."""
    try:
        return read()
    except ModelError as error:
        return str(error)


def test_a_stream_is_the_reply_in_pieces(endpoint: Endpoint) -> None:
    chunks = streamed(endpoint.url)
    assert len(chunks) > 5
    assert fold(chunks) == whole(endpoint.url)
    assert endpoint.seen[0]["stream_options"] == {"include_usage": True}


@pytest.mark.parametrize(
    "deltas",
    [
        [CallDelta(index=0, id="a", name="f", arguments="{}"), CallDelta(index=0, id="b", name="g", arguments="{}")],
        [
            CallDelta(index=0, id="a", name="f"),
            CallDelta(index=1, id="b", name="g"),
            CallDelta(index=1, arguments="{}"),
        ],
        [CallDelta(index=1, name="f", arguments="{"), CallDelta(index=2, name="g"), CallDelta(index=1, arguments="}")],
    ],
)
def test_calls_are_told_apart_by_their_index_and_id(deltas: list[CallDelta]) -> None:
    assert [call.name for call in fold([Chunk(calls=(delta,)) for delta in deltas]).calls] == ["f", "g"]


def test_arguments_that_come_parsed_are_text_again() -> None:
    chunk = read_chunk({"choices": [{"delta": {"tool_calls": [{"function": {"name": "f", "arguments": {"a": 1}}}]}}]})
    assert fold([chunk]).calls[0].arguments == '{"a": 1}'


# --- what goes wrong ---


@pytest.mark.parametrize(
    "end",
    [
        lambda chunks: [*chunks[:4], "drop"],
        lambda chunks: chunks[:4],
        lambda chunks: [*chunks[:4], "[DONE]"],
        lambda chunks: chunks,
    ],
    ids=["connection lost", "closed early", "no finish reason", "no end"],
)
def test_a_stream_that_breaks_off_is_dropped_and_not_asked_for_again(endpoint: Endpoint, end: Any) -> None:
    endpoint.events = end
    with pytest.raises(ModelError) as caught:
        streamed(endpoint.url)
    assert caught.value.kind == "dropped"
    assert len(endpoint.seen) == 1


@pytest.mark.parametrize("fault", ["429", "500", "drop", "hang"])
def test_what_fails_before_the_first_piece_is_tried_again(endpoint: Endpoint, fault: str) -> None:
    endpoint.fault = lambda body, times: fault if times < 2 else None
    assert fold(streamed(endpoint.url, timeout=0.3)).calls
    assert len(endpoint.seen) == 3


def test_an_empty_stream_is_tried_again_and_then_given_up(endpoint: Endpoint) -> None:
    endpoint.events = lambda chunks: []
    with pytest.raises(ModelError, match="dropped"):
        streamed(endpoint.url, retries=1)
    assert len(endpoint.seen) == 2


@pytest.mark.parametrize(
    ("event", "kind"),
    [("{nonsense", "malformed"), ('{"choices": 3}', "malformed"), ('{"error": {"message": "overloaded"}}', "server")],
)
def test_what_is_said_wrong_within_a_stream_ends_it(endpoint: Endpoint, event: str, kind: str) -> None:
    endpoint.events = lambda chunks: [*chunks[:3], event]
    with pytest.raises(ModelError) as caught:
        streamed(endpoint.url)
    assert caught.value.kind == kind
    assert len(endpoint.seen) == 1


def test_a_server_that_refuses_to_count_streams_is_asked_without(endpoint: Endpoint) -> None:
    endpoint.refuses = lambda body: "unknown parameter: stream_options" if "stream_options" in body else None
    reply = fold(streamed(endpoint.url))
    assert reply.calls
    assert reply.usage is None


def test_a_stream_is_counted_and_held_to_the_budget(endpoint: Endpoint) -> None:
    meter = Meter(limits=Spending(dollars=None, tokens=None, requests=1))
    account = meter.account("teacher", "small")
    one = OpenAIChat(base_url=endpoint.url, model="small", key=Key(NO_KEY, None), limits=limits(), account=account)

    async def twice() -> None:
        try:
            await read(one)
            await read(one)
        finally:
            await one.close()

    with pytest.raises(OutOfBudget):
        asyncio.run(twice())
    (row,) = meter.spent
    assert (row.requests, row.tries, row.prompt_tokens) == (1, 1, 7)
    assert len(endpoint.seen) == 1


def test_who_stops_reading_gives_its_place_to_the_next(endpoint: Endpoint) -> None:
    async def some() -> int:
        one = client(endpoint.url, concurrency=1)
        try:
            for _ in range(3):
                stream = one.stream(ASKED, sampling=GREEDY)
                async for _ in stream:
                    break
                await stream.aclose()  # type: ignore[attr-defined]
            return len(await read(one))
        finally:
            await one.close()

    assert asyncio.run(some()) > 5
