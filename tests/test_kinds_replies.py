"""Every kind of reply that servers give, through a student over HTTP: what it answers, and what no cache keeps."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import pytest
from clients import student
from endpoint import Endpoint, serving
from kinds import Kind
from kinds.replies import CALL_READ, FAILED, KINDS, WORDS

from sloop.models.base import ModelError
from sloop.models.wire import read_reply, told_failure
from sloop.records import Decode, Message, Prediction, Sample, Tool, ToolCall

TOOLS = (
    Tool(name="depot", parameters={"type": "object", "properties": {"town": {"type": "string"}}, "required": ["town"]}),
    Tool(name="list_depots", parameters={"type": "object", "properties": {}}),
)
ASKED = Sample(tools=TOOLS, messages=(Message(role="user", content="Where is the depot in Bari?"),), label={})  # type: ignore[arg-type]
CALLS = ((ToolCall(name="depot", arguments={"town": "Bari"}),), (ToolCall(name="list_depots", arguments={}),))


@pytest.fixture(scope="module")
def endpoint() -> Iterator[Endpoint]:
    with serving() as server:
        yield server


def answer(endpoint: Endpoint, kind: Kind, path: Path) -> Prediction | ModelError:
    body = kind.given.body
    endpoint.raw = (kind.given.status, body if isinstance(body, bytes) else json.dumps(body).encode())
    one = student(endpoint.url, retries=0, cache="use", cache_path=str(path))
    try:
        return one.endpoint.run(one.answer(ASKED, Decode()))
    except ModelError as error:
        return error
    finally:
        one.close()


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_reply_is_what_its_kind_says(endpoint: Endpoint, kind: Kind, tmp_path: Path) -> None:
    comes, says = kind.comes
    found = answer(endpoint, kind, tmp_path / "kept.jsonl")
    if comes == FAILED:
        assert isinstance(found, ModelError), found
        assert says in str(found)
        assert not (tmp_path / "kept.jsonl").exists()
        return
    assert isinstance(found, Prediction), found
    assert found.error == (None if comes in (CALL_READ, WORDS) else comes)
    assert (found.calls in CALLS) == (comes == CALL_READ)
    assert bool(found.content) == (comes == WORDS)
    assert found.logprob is None
    asked = endpoint.times.total()
    assert answer(endpoint, kind, tmp_path / "kept.jsonl") == found
    assert endpoint.times.total() == asked


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.name.startswith("a name with")], ids=str)
def test_a_lenient_reader_gets_a_call_whose_name_has_something_around_it(
    endpoint: Endpoint, kind: Kind, tmp_path: Path
) -> None:
    found = answer(endpoint, kind, tmp_path / "kept.jsonl")
    assert isinstance(found, Prediction)
    assert (found.recovered, found.calls) == (CALLS[0], ())


@pytest.mark.parametrize(
    ("said", "wrote"),
    [
        ({"message": "Failed to call a function.", "code": "tool_use_failed"}, ""),
        ({"message": "Failed to call a function.", "failed_generation": "<function=depot>"}, "<function=depot>"),
        ("error parsing tool call: raw='{\"town\": 'x'}' err=unexpected end", "{\"town\": 'x'}"),
        ("Failed to parse input at pos 12: <tool_call>depot", "<tool_call>depot"),
        ("Failed to parse tool call arguments as JSON: parse error at line 1", ""),
    ],
)
def test_what_the_model_wrote_is_told_from_the_complaint(said: Any, wrote: str) -> None:
    error = told_failure(said, 400)
    assert (error.kind, error.written) == ("unreadable", wrote)


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        # google-gemini/gemini-cli#13006, aws-samples/bedrock-chat#95, docker/docker-agent#569,
        # huggingface/text-generation-inference#628 and #695
        ("The input token count (1054016) exceeds the maximum number of tokens allowed (1048576).", "too_long"),
        ("Input is too long for requested model.", "too_long"),
        ("input length and `max_tokens` exceed context limit: 178959 + 64000 > 200000", "too_long"),
        ("Input validation error: `inputs` tokens + `max_new_tokens` must be <= 2048. Given: 1244", "too_long"),
        ("Input validation error: `inputs` must have less than 1024 tokens. Given: 1168.", "too_long"),
        ("tools[0].description is too long", "refused"),
        ("max_tokens exceeds the maximum of 8192", "refused"),
    ],
)
def test_a_prompt_beyond_the_context_is_told_from_another_request_that_is_turned_down(said: str, kind: str) -> None:
    assert told_failure({"message": said}, 400).kind == kind


ODD = (None, -1, 1e308, True, "x", [], {}, [None], {"a": 1}, [{"type": {}}], [{"type": "text", "text": 5}], 10**30)


def spoilt(value: Any, rng: Random) -> Any:
    """The value with something odd somewhere in it."""
    if isinstance(value, dict) and value and rng.random() < 0.8:
        key = rng.choice(list(value))
        return {**value, key: spoilt(value[key], rng)}
    if isinstance(value, list) and value and rng.random() < 0.8:
        place = rng.randrange(len(value))
        return [*value[:place], spoilt(value[place], rng), *value[place + 1 :]]
    return rng.choice(ODD)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if not isinstance(kind.given.body, bytes)], ids=str)
def test_a_spoilt_reply_is_read_or_one_error(kind: Kind) -> None:
    rng = Random(kind.name)
    for _ in range(40):
        body = json.dumps(spoilt(kind.given.body, rng)).encode()
        with suppress(ModelError):
            found = read_reply(body, wants_json=rng.random() < 0.5)
            json.dumps(found.model_dump(mode="json"), allow_nan=False)
