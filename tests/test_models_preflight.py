"""What a preflight finds out about an endpoint, by how many requests, and what ends it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from clients import endpoint_at
from endpoint import Endpoint, serving

from sloop.models.preflight import Finding, check_all
from sloop.models.usage import Meter, Spending
from sloop.records import Label, OutOfBudget, ToolCall, UserError

CALL = ToolCall(name="get_weather", arguments={"city": "Oslo"})


def willing(body: dict[str, Any]) -> Label:
    """A model that does all it is asked for."""
    return Label(calls=(CALL,)) if body.get("tools") else Label(content=json.dumps({"city": "Oslo"}))


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with serving() as server:
        server.answer = willing
        yield server


def found(url: str, *roles: Any, **changes: Any) -> list[Finding]:
    endpoints = [endpoint_at(url, role=role, **changes) for role in roles]
    try:
        return check_all(endpoints)
    finally:
        for one in endpoints:
            one.close()


def test_a_student_is_checked_by_one_request(endpoint: Endpoint) -> None:
    (one,) = found(endpoint.url, "student")
    assert (one.tools, one.logprobs, one.structured_output) == ("yes", True, None)
    assert (one.base_url, one.model, one.latency > 0) == (endpoint.url, "small", True)
    (body,) = endpoint.seen
    assert body["max_tokens"] <= 256


@pytest.mark.parametrize("word", ["MALFORMED_FUNCTION_CALL", "content_filter", "abort"])
def test_a_model_without_an_answer_to_the_one_question_ends_nothing(endpoint: Endpoint, word: str) -> None:
    endpoint.finish = word
    (one,) = found(endpoint.url, "teacher", retries=0)
    assert (one.tools, one.structured_output) == ("no call made", "no")


def test_a_teacher_and_a_judge_at_one_address_are_checked_together_by_two(endpoint: Endpoint) -> None:
    (one,) = found(endpoint.url, "judge", "teacher")
    assert one.roles == ("teacher", "judge")
    assert (one.tools, one.logprobs, one.structured_output) == ("yes", None, "json_schema")
    assert len(endpoint.seen) == 2


def test_roles_with_keys_of_their_own_are_checked_apart(endpoint: Endpoint) -> None:
    assert [one.roles for one in found(endpoint.url, "student", "teacher")] == [("teacher",), ("student",)]


@pytest.mark.parametrize(
    ("refused", "way"), [(["json_schema"], "json_object"), (["json_schema", "json_object"], "prompt")]
)
def test_the_way_to_ask_for_json_is_found(endpoint: Endpoint, refused: list[str], way: str) -> None:
    endpoint.refuses = lambda body: (
        "response_format is not supported" if body.get("response_format", {}).get("type") in refused else None
    )
    (one,) = found(endpoint.url, "judge")
    assert one.structured_output == way


def test_a_model_that_writes_no_json_is_told_from_one_that_does(endpoint: Endpoint) -> None:
    endpoint.answer = lambda body: Label(content="Oslo.")
    (one,) = found(endpoint.url, "judge")
    assert (one.tools, one.structured_output) == ("no call made", "no")


def test_a_server_that_turns_tools_down_is_asked_without_them(endpoint: Endpoint) -> None:
    endpoint.refuses = lambda body: '"auto" tool choice requires --enable-auto-tool-choice' if "tools" in body else None
    (one,) = found(endpoint.url, "student")
    assert one.tools == "refused"
    assert len(endpoint.headers) == 2


def test_a_server_without_probabilities_is_told(endpoint: Endpoint) -> None:
    endpoint.token_logprob = None
    (one,) = found(endpoint.url, "student")
    assert one.logprobs is False


def test_where_all_comes_from_the_cache_nothing_is_asked(endpoint: Endpoint, tmp_path: Any) -> None:
    (tmp_path / "replies.jsonl").touch()
    assert found(endpoint.url, "student", cache="read_only", cache_path=str(tmp_path / "replies.jsonl")) == []
    assert not endpoint.headers


def test_what_it_costs_is_counted_and_held_to_the_budget(endpoint: Endpoint) -> None:
    one = endpoint_at(endpoint.url, role="judge")
    one.meter = Meter(limits=Spending(dollars=None, tokens=None, requests=1))
    with pytest.raises(OutOfBudget):
        check_all([one])
    one.close()
    assert [row.requests for row in one.meter.spent] == [1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"url": "http://127.0.0.1:1/v1"}, "nobody listens there"),
        ({"key": "sk-right"}, "a key is wanted"),
        ({"model": "large"}, r"has no such model .* It has: small"),
        ({"fault": "500"}, "HTTP 500"),
        ({"fault": "hang", "timeout": 0.2}, "no whole reply within 0.2 s"),
        ({"fault": "garbage"}, "not a chat completion"),
        ({"fault": "quota"}, "You exceeded your current quota"),
    ],
)
def test_what_is_wrong_is_one_message(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], message: str
) -> None:
    for name in ("SLOOP_STRONG_API_KEY", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    endpoint.key, fault = change.pop("key", None), change.pop("fault", None)
    endpoint.fault = lambda body, times: fault
    with pytest.raises(UserError, match=message):
        found(change.pop("url", endpoint.url), "teacher", retries=1, **change)
