"""Replies that satisfy a schema: asked for in the strongest way that the server takes, checked, and asked for again."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

import pytest
from clients import limits
from endpoint import Endpoint, serving
from hypothesis import given
from hypothesis import strategies as st

from sloop.models.base import ModelError, Reply, Sampling
from sloop.models.environment import NO_KEY, Key
from sloop.models.openai_api import OpenAIChat
from sloop.models.structured import StructuredOutput, read_object, told_schema
from sloop.records import Label, Message

SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 1}},
    "required": ["city", "days"],
    "additionalProperties": False,
}
RIGHT = {"city": "Łódź", "days": 2}
SAMPLING = Sampling(temperature=0.0, max_tokens=64)
KINDS = ("json_schema", "json_object")


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with serving() as server:
        server.answer = lambda body: Label(content=json.dumps(RIGHT))
        yield server


def ask(
    url: str, requests: Sequence[str] = ("where?",), *, way: StructuredOutput = "json_schema", in_turn: bool = False
) -> list[Reply | BaseException]:
    """The reply to each request, or what was raised: asked all at once, or one after another."""
    one = OpenAIChat(base_url=url, model="small", key=Key(NO_KEY, None), limits=limits(), structured_output=way)

    async def all_at_once() -> list[Reply | BaseException]:
        try:
            asked = (
                one.complete([Message(role="user", content=text)], sampling=SAMPLING, schema=SCHEMA)
                for text in requests
            )
            if in_turn:
                return [await each for each in asked]
            return await asyncio.gather(*asked, return_exceptions=True)
        finally:
            await one.close()

    return asyncio.run(all_at_once())


def formats(endpoint: Endpoint) -> list[str | None]:
    """The kind of response_format of every request that was not turned down."""
    return [body.get("response_format", {}).get("type") for body in endpoint.seen]


def refuse(*kinds: str) -> Any:
    def words(body: dict[str, Any]) -> str | None:
        kind = body.get("response_format", {}).get("type")
        return f"response_format of type {kind} is not supported" if kind in kinds else None

    return words


def test_a_server_that_holds_a_model_to_the_schema_is_asked_by_it_alone(endpoint: Endpoint) -> None:
    (reply,) = ask(endpoint.url)
    assert isinstance(reply, Reply)
    assert reply.data == RIGHT
    (body,) = endpoint.seen
    assert body["response_format"]["json_schema"]["schema"] == SCHEMA
    assert [message["role"] for message in body["messages"]] == ["user"]  # the schema is not told in words, too


@pytest.mark.parametrize(("refused", "used"), [(KINDS[:1], "json_object"), (KINDS, None)])
def test_a_weaker_way_is_taken_where_the_server_refuses_and_kept_from_then_on(
    endpoint: Endpoint, refused: tuple[str, ...], used: str | None
) -> None:
    endpoint.refuses = refuse(*refused)
    replies = ask(endpoint.url, ["a", "b", "c"], in_turn=True)
    assert [reply.data for reply in replies if isinstance(reply, Reply)] == [RIGHT] * 3
    assert formats(endpoint) == [used] * 3
    assert len(endpoint.headers) == 3 + len(refused)
    assert all("JSON Schema" in body["messages"][0]["content"] for body in endpoint.seen)


def test_requests_on_their_way_together_find_the_weaker_way_and_none_is_lost(endpoint: Endpoint) -> None:
    endpoint.refuses, endpoint.latency = refuse(*KINDS), 0.01
    replies = ask(endpoint.url, [str(n) for n in range(24)])
    assert [reply.data for reply in replies if isinstance(reply, Reply)] == [RIGHT] * 24
    assert formats(endpoint) == [None] * 24


def test_a_refusal_of_something_else_is_not_taken_for_one_of_the_way(endpoint: Endpoint) -> None:
    endpoint.refuses = lambda body: "this content is not welcome"
    (error,) = ask(endpoint.url)
    assert isinstance(error, ModelError)
    assert error.kind == "refused"
    assert len(endpoint.headers) == 1


def test_a_server_that_ignores_the_way_is_found_out_and_asked_again_in_words(endpoint: Endpoint) -> None:
    said = iter(["It is Łódź, for two days.", json.dumps(RIGHT)])
    endpoint.answer = lambda body: Label(content=next(said))
    (reply,) = ask(endpoint.url)
    assert isinstance(reply, Reply)
    assert reply.data == RIGHT
    assert reply.usage is not None
    assert reply.usage.prompt_tokens == 14  # of both requests
    again = endpoint.seen[1]["messages"]
    assert [message["role"] for message in again[-2:]] == ["assistant", "user"]
    assert "not JSON" in again[-1]["content"]


def test_an_answer_that_misses_its_schema_is_asked_for_twice_more_and_then_given_up(endpoint: Endpoint) -> None:
    endpoint.answer = lambda body: Label(content='{"city": "Oslo", "days": 0}')
    (error,) = ask(endpoint.url)
    assert isinstance(error, ModelError)
    assert error.kind == "malformed"
    assert "3 answers miss their schema" in error.detail
    assert "$.days" in error.detail
    assert len(endpoint.seen) == 3


def test_an_answer_that_was_cut_off_is_said_to_be(endpoint: Endpoint) -> None:
    endpoint.answer, endpoint.finish = lambda body: Label(content='{"city": "Os'), "length"
    (error,) = ask(endpoint.url)
    assert isinstance(error, ModelError)
    assert "cut off at max_tokens" in error.detail


@pytest.mark.parametrize(
    "text", ["```json\n{}\n```", "```\n{}\n```", "Here you are:\n```json\n{}\n```\nAnything else?"]
)
def test_json_in_a_code_fence_is_read(endpoint: Endpoint, text: str) -> None:
    endpoint.answer = lambda body: Label(content=text.replace("{}", json.dumps(RIGHT)))
    (reply,) = ask(endpoint.url)
    assert isinstance(reply, Reply)
    assert reply.data == RIGHT
    assert len(endpoint.seen) == 1


@pytest.mark.parametrize("way", ["json_object", "prompt"])
def test_a_preset_may_begin_with_a_weaker_way(endpoint: Endpoint, way: StructuredOutput) -> None:
    (reply,) = ask(endpoint.url, way=way)
    assert isinstance(reply, Reply)
    assert reply.data == RIGHT
    assert formats(endpoint) == ["json_object" if way == "json_object" else None]


@given(st.fixed_dictionaries({"city": st.text(), "days": st.integers(1)}))
def test_what_satisfies_the_schema_is_read_as_it_is(value: dict[str, Any]) -> None:
    assert read_object(json.dumps(value), SCHEMA) == value
    assert read_object(f"```json\n{json.dumps(value)}\n```", SCHEMA) == value


@given(st.text())
def test_any_text_is_read_or_turned_down(text: str) -> None:
    with suppress(ValueError):
        assert isinstance(read_object(text, SCHEMA), dict)


def test_json_that_nests_without_end_is_turned_down() -> None:
    with pytest.raises(ValueError, match="not JSON"):
        read_object("[" * 100_000, SCHEMA)


def test_the_schema_is_told_in_the_one_system_message() -> None:
    dialogue = [Message(role="system", content="Be brief."), Message(role="user", content="where?")]
    told = told_schema(dialogue, SCHEMA)
    assert [message.role for message in told] == ["system", "user"]
    assert told[0].content.startswith("Be brief.\n\n")
    assert json.dumps(SCHEMA) in told[0].content
    assert [message.role for message in told_schema(dialogue[1:], SCHEMA)] == ["system", "user"]
