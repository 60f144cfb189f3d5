"""Requests in, completions out: whatever a client sends is a request or a 400, and nothing is lost on the way."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from models import TIMER, WEATHER, ask

from sloop.models.base import CallText, Sampling
from sloop.models.openai_api import read_reply, request_body
from sloop.records import Message, Sample, ToolCall
from sloop.serve.protocol import Answer, ChatRequest, RequestError, Token
from sloop.serve.wire import Asked, Completion, read_request

LEAVES = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5)
)
JSON = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner), max_leaves=8
)
KEYS = ("messages", "tools", "tool_choice", "max_tokens", "stop", "response_format", "stream", "stream_options", "n")


@settings(deadline=None, max_examples=100)
@given(st.dictionaries(st.sampled_from(KEYS), JSON), st.booleans())
def test_any_json_is_a_request_or_refused(fields: dict[str, Any], with_messages: bool) -> None:
    if with_messages:
        fields["messages"] = [{"role": "user", "content": "hi"}]
    body = json.dumps({"model": "m", **fields}).encode()
    assert isinstance(outcome(body), Asked | RequestError)


def outcome(body: bytes) -> Asked | RequestError:
    try:
        return read_request(body)
    except RequestError as error:
        return error


def test_a_call_of_old_is_refused_and_not_left_out() -> None:
    def sent(call: Any) -> Asked | RequestError:
        said = {"role": "assistant", "content": "", "function_call": call}
        return outcome(json.dumps({"model": "m", "messages": [{"role": "user", "content": "a"}, said]}).encode())

    refused = sent({"name": "f", "arguments": "{}"})
    assert isinstance(refused, RequestError)
    assert (refused.status, refused.param) == (400, "messages[1].function_call")
    assert "tool_calls" in refused.message
    assert isinstance(sent(None), Asked)


def test_a_sample_arrives_as_it_was_sent() -> None:
    call = ToolCall(name="get_weather", arguments={"days": 1.0, "city": "Øslo", "tags": None})
    messages = (
        Message(role="system", content="Be brief."),
        Message(role="user", content="weather"),
        Message(role="assistant", tool_calls=(call, call)),
        Message(role="tool", content="rain", tool_call_id="call_1"),
        Message(role="tool", content="", tool_call_id="call_0"),
        Message(role="user", content=""),
    )
    sample = Sample(tools=(WEATHER, TIMER), messages=messages)
    sampling = Sampling(temperature=0.0, max_tokens=9, seed=3, logprobs=True, tool_choice="none")
    asked = read_request(json.dumps(request_body("m", sample.messages, sample.tools, sampling)).encode())
    request = asked.request
    assert Sample(tools=request.tools, messages=request.messages).id == sample.id
    assert json.dumps([m.to_openai() for m in request.messages]) == json.dumps([m.to_openai() for m in messages])
    assert (request.max_tokens, request.seed, request.logprobs, request.tool_choice) == (9, 3, True, "none")
    assert not asked.stream


def test_what_asks_for_nothing_is_taken() -> None:
    harmless = {
        "n": 1,
        "top_logprobs": 0,
        "presence_penalty": 0.0,
        "frequency_penalty": 0,
        "logit_bias": {},
        "top_p": 0.9,
        "user": "u",
        "metadata": {"a": "b"},
        "stop": None,
        "temperature": 0,
        "tools": [],
    }
    body = {"model": "m", "messages": [message.to_openai() for message in ask("hi").messages], **harmless}
    assert read_request(json.dumps(body).encode()).request.messages == ask("hi").messages


@pytest.mark.parametrize("number", [0, 1, 2])
def test_an_answer_is_read_back_by_our_own_client(number: int) -> None:
    tokens = tuple(Token(text=text, logprob=-0.5) for text in ("a", "é", "<end>"))
    calls = tuple(CallText(name=f"f{k}", arguments='{"a": 1}') for k in range(number))
    answer = Answer(content="aé", calls=calls, tokens=tokens, prompt_tokens=7, completion_tokens=3)
    request = ChatRequest(model="m", messages=ask("hi").messages, logprobs=True)
    reply = read_reply(json.dumps(Completion(Asked(request=request)).whole(answer)).encode())
    assert (reply.content, reply.calls, reply.num_logprobs, reply.logprob) == ("aé", calls, 3, -1.5)
    assert reply.usage is not None
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens) == (7, 3)
    assert reply.finish == ("tool_calls" if number else "stop")
