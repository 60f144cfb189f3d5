"""Every kind of answer that is to be JSON, over HTTP: read, asked for again, or a failure."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from clients import client
from endpoint import Endpoint, serving
from kinds import Kind
from kinds.structured import AGAIN, FAILED, KINDS, READ

from sloop.models.base import ModelError, Reply, Sampling
from sloop.records import Message

SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
    "required": ["city", "days"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def endpoint() -> Iterator[Endpoint]:
    with serving() as server:
        yield server


def ask(url: str) -> Reply | ModelError:
    async def once() -> Reply:
        one = client(url, retries=0)
        try:
            return await one.complete(
                [Message(role="user", content="Where?")],
                sampling=Sampling(temperature=0.0, max_tokens=9),
                schema=SCHEMA,
            )
        finally:
            await one.close()

    try:
        return asyncio.run(once())
    except ModelError as error:
        return error


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_json_is_what_its_kind_says(endpoint: Endpoint, kind: Kind) -> None:
    endpoint.raw = kind.given
    asked = len(endpoint.seen)
    found = ask(endpoint.url)
    times = len(endpoint.seen) - asked
    if kind.comes == READ:
        assert isinstance(found, Reply), found
        assert found.data == {"city": "Bari", "days": 2}
        assert times == 1
        return
    assert isinstance(found, ModelError)
    assert ("3 answers miss their schema" in found.detail) == (kind.comes == AGAIN)
    assert times == (3 if kind.comes == AGAIN else 1)
    assert kind.comes in (AGAIN, FAILED)
