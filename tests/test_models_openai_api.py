"""The client against a real endpoint: what it reads, what it tries again and for how long, and what ends it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from clients import GREEDY, ask_all, client, limits
from endpoint import Endpoint, serving

from sloop.models.base import ModelError, Reply
from sloop.models.environment import Key, checked_url
from sloop.models.openai_api import DETAIL_LENGTH, OpenAIChat
from sloop.models.preflight import WEATHER
from sloop.models.usage import Meter
from sloop.models.wire import read_logprobs, read_reply, request_body, retry_after
from sloop.records import Label, Message, ToolCall, UserError

CALL = ToolCall(name="get_weather", arguments={"city": "Łódź", "days": 2})
PASSING = {
    "429": "rate_limit",
    "500": "server",
    "drop": "dropped",
    "truncate": "dropped",
    "hang": "timeout",
    "garbage": "malformed",
    "empty": "malformed",
}
FINAL = {"429-long": "quota", "quota": "quota", "400": "refused", "context": "too_long"}


@pytest.fixture(scope="module")
def server() -> Iterator[Endpoint]:
    with serving() as endpoint:
        yield endpoint


@pytest.fixture
def endpoint(server: Endpoint) -> Endpoint:
    """The one server of this file, as new."""
    url = server.url
    server.__init__()  # type: ignore[misc]
    server.url = url
    return server


def kinds(replies: list[Reply | BaseException]) -> list[str]:
    return [reply.kind if isinstance(reply, ModelError) else type(reply).__name__ for reply in replies]


def test_a_reply_is_read_whole(endpoint: Endpoint) -> None:
    endpoint.answer = lambda body: Label(calls=(CALL,), content="Let me see.")
    (reply,) = ask_all(client(endpoint.url), ["weather?"])
    assert isinstance(reply, Reply)
    assert reply.content == "Let me see."
    assert [call.name for call in reply.calls] == ["get_weather"]
    assert reply.calls[0].arguments == '{"city": "Łódź", "days": 2}'
    assert reply.logprob == pytest.approx(-0.5 * reply.num_logprobs)
    assert reply.usage is not None
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens) == (7, reply.num_logprobs)


def test_calls_of_a_dialogue_get_the_ids_that_their_answers_name(endpoint: Endpoint) -> None:
    dialogue = [
        Message(role="user", content="hi"),
        Message(role="assistant", tool_calls=(CALL, CALL)),
        Message(role="tool", content="sun", tool_call_id="call_0"),
        Message(role="tool", content="rain", tool_call_id="call_1"),
        Message(role="assistant", tool_calls=(CALL,)),
        Message(role="tool", content="snow", tool_call_id="call_2"),
    ]
    rows = request_body("small", dialogue, (), GREEDY)["messages"]
    ids = [call["id"] for row in rows for call in row.get("tool_calls", ())]
    assert ids == [row["tool_call_id"] for row in rows if row["role"] == "tool"]
    assert len(set(ids)) == 3
    assert all(len(one) == 9 and one.isascii() and one.isalnum() for one in ids)  # Mistral's demand; others allow it


@pytest.mark.parametrize("name", ["call_7", "toolu_01", "", "call_123456789", "call_x"])
def test_an_answer_to_no_call_of_the_dialogue_has_an_id_that_servers_take(name: str) -> None:
    (row,) = request_body("small", [Message(role="tool", tool_call_id=name)], (), GREEDY)["messages"]
    assert len(row["tool_call_id"]) == 9
    assert row["tool_call_id"].isalnum()


def test_beside_calls_an_empty_text_is_null() -> None:
    rows = request_body("small", [Message(role="assistant", tool_calls=(CALL,)), Message(role="user")], (), GREEDY)
    assert [row["content"] for row in rows["messages"]] == [None, ""]


def test_what_leaves_calls_in_the_text_is_sent_with_it_or_takes_a_part_away() -> None:
    asked = GREEDY.model_copy(update={"in_text": {"tool_choice": None, "skip_special_tokens": False}})
    body = request_body("small", [Message(role="user", content="hi")], [WEATHER], asked)
    assert "tool_choice" not in body
    assert body["skip_special_tokens"] is False


def test_a_complaint_is_read_to_its_end_before_it_is_shortened(endpoint: Endpoint) -> None:
    endpoint.refuses = lambda body: f"{'x ' * 400} logprobs are not supported" if body.get("logprobs") else None
    assert kinds(ask_all(client(endpoint.url), ["a"])) == ["Reply"]


def test_what_failed_tries_cost_is_counted(endpoint: Endpoint) -> None:
    endpoint.finish = "abort"
    meter = Meter()
    one = client(endpoint.url)
    one._account = meter.account("student", "small")
    (error,) = ask_all(one, ["a"])
    assert isinstance(error, ModelError)
    assert error.kind == "no_answer"
    (row,) = meter.spent
    assert (row.tries, row.prompt_tokens) == (3, 21)  # asked again twice, whatever the limit of retries is


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ({"content": [{"token": "a", "logprob": -0.5}, {"token": "b", "logprob": 0.0}]}, (-0.5, 0.0)),
        ({"tokens": ["a"], "token_logprobs": [-0.1], "top_logprobs": None}, (-0.1,)),
        (None, ()),
        ({"content": [{"logprob": -0.5}, {"logprob": None}]}, None),
        ({"content": [{"logprob": float("nan")}]}, None),
    ],
)
def test_log_probabilities_are_read_whole_or_not_at_all(given: Any, read: tuple[float, ...] | None) -> None:
    assert read_logprobs(given) == read


@pytest.mark.parametrize("fault", PASSING)
def test_a_passing_fault_is_got_over(endpoint: Endpoint, fault: str) -> None:
    endpoint.fault = lambda body, times: fault if times < 2 else None
    (reply,) = ask_all(client(endpoint.url, timeout=0.2), ["hi"])
    assert isinstance(reply, Reply)
    assert reply.content == "Hello."
    assert len(endpoint.seen) == 3


@pytest.mark.parametrize(("fault", "kind"), PASSING.items())
def test_tries_are_bounded_and_the_last_fault_is_told(endpoint: Endpoint, fault: str, kind: str) -> None:
    endpoint.fault = lambda body, times: fault
    assert kinds(ask_all(client(endpoint.url, timeout=0.2, retries=2), ["hi"])) == [kind]
    assert len(endpoint.seen) == 3


@pytest.mark.parametrize(("fault", "kind"), FINAL.items())
def test_what_no_other_try_can_mend_is_asked_once(endpoint: Endpoint, fault: str, kind: str) -> None:
    endpoint.fault = lambda body, times: fault
    assert kinds(ask_all(client(endpoint.url), ["hi"])) == [kind]
    assert len(endpoint.seen) == 1


def test_a_wrong_key_costs_one_request_however_many_wait(endpoint: Endpoint) -> None:
    endpoint.key = "sk-right"
    replies = ask_all(client(endpoint.url, key="sk-wrong"), [str(n) for n in range(20)])
    assert kinds(replies) == ["auth"] * 20
    assert len(endpoint.headers) == 1


def test_an_unknown_model_costs_one_request_however_many_wait(endpoint: Endpoint) -> None:
    assert kinds(ask_all(client(endpoint.url, model="large"), ["a", "b", "c"])) == ["unknown_model"] * 3
    assert len(endpoint.headers) == 1


def test_where_nobody_listens_the_client_gives_up_after_two_tries() -> None:
    with serving() as gone:
        url = gone.url
    one = client(url, retries=6)
    assert kinds(ask_all(one, ["a", "b", "c"])) == ["unreachable"] * 3
    assert one.requests == 2


def test_a_wrong_path_is_told_from_an_unknown_model(endpoint: Endpoint) -> None:
    assert kinds(ask_all(client(endpoint.url.replace("/v1", "/v2")), ["hi"])) == ["no_such_path"]


def test_a_server_that_echoes_the_key_does_not_get_it_into_the_error(endpoint: Endpoint) -> None:
    endpoint.key = "sk-right"
    (error,) = ask_all(client(endpoint.url, key="sk-planted"), ["hi"])
    assert isinstance(error, ModelError)
    assert "Incorrect API key" in str(error)
    assert "sk-planted" not in str(error)
    assert error.__cause__ is None


def test_no_more_requests_are_in_flight_than_allowed(endpoint: Endpoint) -> None:
    endpoint.latency = 0.02
    replies = ask_all(client(endpoint.url, concurrency=4), [str(n) for n in range(24)])
    assert kinds(replies) == ["Reply"] * 24
    assert endpoint.most_in_flight == 4


def test_a_storm_of_429s_slows_the_client_down_until_every_request_is_answered(endpoint: Endpoint) -> None:
    endpoint.latency, endpoint.max_in_flight, endpoint.retry_after = 0.01, 2, "0.05"
    one = client(endpoint.url, concurrency=32, retries=8)
    replies = ask_all(one, [str(n) for n in range(80)])
    assert kinds(replies) == ["Reply"] * 80
    assert one.requests < 3 * 80


def test_ten_percent_of_faults_of_all_kinds_lose_nothing(endpoint: Endpoint) -> None:
    faults = list(PASSING)
    endpoint.answer = lambda body: Label(content=f"echo {body['messages'][0]['content']}")
    endpoint.fault = lambda body, times: (
        faults[int(body["messages"][0]["content"]) // 10 % len(faults)]
        if times == 0 and int(body["messages"][0]["content"]) % 10 == 3
        else None
    )
    replies = ask_all(client(endpoint.url, timeout=0.3), [str(n) for n in range(140)])
    assert [reply.content for reply in replies if isinstance(reply, Reply)] == [f"echo {n}" for n in range(140)]
    assert len(endpoint.seen) == 140 + 14


def test_a_server_without_logprobs_is_no_error(endpoint: Endpoint) -> None:
    endpoint.token_logprob = None
    (reply,) = ask_all(client(endpoint.url), ["hi"])
    assert isinstance(reply, Reply)
    assert reply.logprob is None


def test_a_server_that_refuses_logprobs_is_asked_without_them_from_then_on(endpoint: Endpoint) -> None:
    endpoint.refuses = lambda body: "logprobs are not supported by this model" if body.get("logprobs") else None
    replies = ask_all(client(endpoint.url), ["a", "b", "c"])
    assert kinds(replies) == ["Reply"] * 3
    assert len(endpoint.headers) == 4  # one refusal, three replies
    assert not any("logprobs" in body for body in endpoint.seen)


def test_a_model_that_calls_the_limit_by_another_name_gets_it_from_then_on(endpoint: Endpoint) -> None:
    endpoint.refuses = lambda body: (
        "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead." if "max_tokens" in body else None
    )
    replies = ask_all(client(endpoint.url), ["a", "b", "c"])
    assert kinds(replies) == ["Reply"] * 3
    assert len(endpoint.headers) == 4  # one refusal, three replies
    assert [body["max_completion_tokens"] for body in endpoint.seen] == [GREEDY.max_tokens] * 3


def test_a_refusal_of_both_is_got_over(endpoint: Endpoint) -> None:
    endpoint.refuses = lambda body: (
        "use max_completion_tokens" if "max_tokens" in body else "no logprobs" if body.get("logprobs") else None
    )
    assert kinds(ask_all(client(endpoint.url), ["a"])) == ["Reply"]
    assert len(endpoint.headers) == 3


def test_an_azure_key_and_version_go_over_the_wire(endpoint: Endpoint) -> None:
    key = Key("sk-azure", "SLOOP_WEAK_API_KEY")
    one = OpenAIChat(
        base_url=endpoint.url,
        model="small",
        key=key,
        limits=limits(),
        query={"api-version": "preview"},
        key_header="api-key",
    )
    assert kinds(ask_all(one, ["a"])) == ["Reply"]
    assert endpoint.headers[0]["api-key"] == "sk-azure"
    assert "Authorization" not in endpoint.headers[0]  # it would be taken for a token of another kind
    assert endpoint.queries == ["api-version=preview"]


def test_a_wait_is_read_from_seconds_milliseconds_and_dates() -> None:
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=3000))
    assert retry_after({"retry-after": "1.5"}) == 1.5
    assert retry_after({"retry-after": "9", "retry-after-ms": "250"}) == 0.25
    assert 2000 < (retry_after({"retry-after": soon}) or 0) <= 3000
    assert retry_after({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}) == 0.0
    assert retry_after({"retry-after": "soon"}) is None
    assert retry_after({"retry-after": "inf"}) is None
    assert retry_after({}) is None


@pytest.mark.parametrize("url", ["http://me:sk-planted@host/v1", "https://host/v1?key=sk-planted"])
def test_an_address_with_a_password_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(UserError, match="must hold no password") as caught:
        checked_url(url)
    assert "sk-planted" not in str(caught.value)


@pytest.mark.parametrize("url", ["", "localhost:8000", "ftp://host/v1", "http:///v1"])
def test_what_is_no_address_is_named(url: str) -> None:
    with pytest.raises(UserError, match="not an address"):
        checked_url(url)


def test_a_model_that_takes_no_temperature_is_asked_without_it_also_after_faults(endpoint: Endpoint) -> None:
    words = "Unsupported value: 'temperature' does not support 0.0 with this model. Only the default is supported."
    endpoint.refuses = lambda body: words if "temperature" in body and len(endpoint.seen) >= 3 else None
    endpoint.fault = lambda body, times: "429" if len(endpoint.seen) <= 3 else None
    (reply,) = ask_all(client(endpoint.url, retries=6), ["hi"])
    assert isinstance(reply, Reply)
    assert "temperature" not in endpoint.seen[-1]


@pytest.mark.parametrize(
    "words",
    [
        "This model does not support the parameter top_k: unknown field",
        "The model did not write what was demanded: 'unknown' is not of type 'object'",
    ],
)
def test_a_refusal_that_speaks_of_the_model_does_not_say_that_there_is_none(endpoint: Endpoint, words: str) -> None:
    endpoint.refuses = lambda body: words
    assert kinds(ask_all(client(endpoint.url), ["a", "b"])) == ["refused"] * 2


def test_a_redirect_does_not_take_the_key_elsewhere(endpoint: Endpoint) -> None:
    with serving() as elsewhere:
        endpoint.redirect = f"{elsewhere.url}/chat/completions"
        one = OpenAIChat(
            base_url=endpoint.url,
            model="small",
            key=Key("sk-azure", "SLOOP_WEAK_API_KEY"),
            limits=limits(),
            key_header="api-key",
        )
        assert kinds(ask_all(one, ["hi"])) == ["no_such_path"]
        assert not elsewhere.headers


def test_not_even_half_of_a_key_stands_in_an_error(endpoint: Endpoint) -> None:
    key = "sk-planted-" + "0123456789" * 3
    for length in range(DETAIL_LENGTH - len(key) - 30, DETAIL_LENGTH):
        endpoint.refuses = lambda body, length=length: f"{'x' * length}{key}"  # type: ignore[misc]
        (error,) = ask_all(client(endpoint.url, key=key), ["hi"])
        assert isinstance(error, ModelError)
        assert "sk-plan" not in str(error)


def test_a_wait_longer_than_allowed_ends_the_run_and_holds_nobody_up(endpoint: Endpoint) -> None:
    endpoint.fault = lambda body, times: "429-long" if body["messages"][0]["content"] == "0" else None
    replies = ask_all(client(endpoint.url, retries=0, max_wait=5, concurrency=1), ["0", "1", "2"])
    assert kinds(replies) == ["quota"] * 3 or kinds(replies) == ["quota", "Reply", "Reply"]


def test_calls_without_arguments_and_uncounted_usage_are_a_reply(endpoint: Endpoint) -> None:
    endpoint.message = {"content": None, "tool_calls": [{"id": "a", "function": {"name": "ping", "arguments": None}}]}
    (reply,) = ask_all(client(endpoint.url), ["hi"])
    assert isinstance(reply, Reply)
    assert [(call.name, call.arguments) for call in reply.calls] == [("ping", "")]
    said = b'{"choices": [{"message": {"content": "a"}, "finish_reason": "stop"}], "usage": {"prompt_tokens": null}}'
    assert read_reply(said).usage is None
