"""What requests cost and the budget that ends a run: counted on disk, never beyond what is in flight."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import numpy
import pytest
from clients import GREEDY, endpoint_at
from endpoint import Endpoint, serving
from hypothesis import given
from hypothesis import strategies as st

from sloop.models.base import ModelError, Reply, Usage
from sloop.models.usage import (
    Meter,
    Price,
    Spending,
    Spent,
    dollars,
    price_of,
    read_latencies,
    read_usage,
    total_dollars,
)
from sloop.records import Message, OutOfBudget, UserError

PRICES = {
    "small": Price(prompt=1.0, cached=0.1, completion=10.0),
    "gpt-4.1-mini": Price(prompt=2.0, cached=0.5, completion=8.0),
}


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with serving() as server:
        yield server


def meter(path: Path | None = None, **limits: float) -> Meter:
    return Meter(path, Spending(**{"dollars": None, "tokens": None, "requests": None, **limits}), PRICES)


def asked(url: str, counted: Meter, requests: list[str], **changes: object) -> list[Reply | BaseException]:
    one = endpoint_at(url, **changes)
    one.meter = counted

    async def ask() -> list[Reply | BaseException]:
        questions = (one.complete([Message(role="user", content=text)], sampling=GREEDY) for text in requests)
        return await asyncio.gather(*questions, return_exceptions=True)

    try:
        return one.run(ask())
    finally:
        one.close()


# --- prices ---


def test_a_price_is_found_with_and_without_the_date_of_the_model() -> None:
    for name in ("gpt-4.1-mini", "gpt-4.1-mini-2025-04-14", "gpt-4.1-mini-20250414"):
        assert price_of(name, PRICES) == PRICES["gpt-4.1-mini"]
    for name in ("gpt-4.1", "gpt-4.1-mini-high", "my/gpt-4.1-mini", ""):
        assert price_of(name, PRICES) is None


def test_cached_tokens_have_a_price_of_their_own() -> None:
    spent = Spent(role="judge", model="small", requests=2, prompt_tokens=1000, cached_tokens=400, completion_tokens=50)
    assert dollars(spent, PRICES) == pytest.approx((600 * 1 + 400 * 0.1 + 50 * 10) / 1e6)


def test_what_has_no_price_or_no_count_is_unknown_and_never_nothing() -> None:
    unpriced = Spent(role="judge", model="large", requests=1, prompt_tokens=10)
    uncounted = Spent(role="judge", model="small", requests=1, uncounted=1)
    known = Spent(role="teacher", model="small", requests=1, completion_tokens=100_000)
    assert dollars(unpriced, PRICES) is None
    assert dollars(uncounted, PRICES) is None
    assert dollars(Spent(role="judge", model="large", cache_hits=5), PRICES) == 0.0
    assert total_dollars([known, known], PRICES) == pytest.approx(2.0)
    assert total_dollars([known, unpriced], PRICES) is None


@given(st.lists(st.integers(0, 10**6), min_size=3, max_size=3))
def test_a_cached_token_never_costs_more_than_a_new_one(counts: list[int]) -> None:
    prompt, cached, completion = counts[0] + counts[1], counts[1], counts[2]
    row = Spent(role="r", model="small", requests=1, prompt_tokens=prompt, completion_tokens=completion)
    some = row.model_copy(update={"cached_tokens": cached})
    assert 0 <= (dollars(some, PRICES) or 0) <= (dollars(row, PRICES) or 0)


# --- counting ---


def test_every_request_is_on_disk_as_soon_as_it_is_answered(endpoint: Endpoint, tmp_path: Path) -> None:
    counted = meter(tmp_path / "u.jsonl")
    endpoint.fault = lambda body, times: "500" if body["messages"][0]["content"] == "1" and not times else None
    counted.round = 2
    asked(endpoint.url, counted, ["0", "1", "2"], role="judge")
    (row,) = read_usage(tmp_path / "u.jsonl")  # nothing was closed or flushed
    assert (row.role, row.round, row.model) == ("judge", 2, "small")
    assert (row.requests, row.tries, row.prompt_tokens) == (3, 4, 21)
    assert row.completion_tokens > 0


def test_roles_rounds_and_models_are_told_apart_and_a_later_process_adds_to_them(
    endpoint: Endpoint, tmp_path: Path
) -> None:
    endpoint.models = ["small", "gpt-4.1-mini"]
    for _ in range(2):
        counted = meter(tmp_path / "u.jsonl")
        asked(endpoint.url, counted, ["a"], role="teacher")
        counted.round = 1
        asked(endpoint.url, counted, ["a"], role="teacher")
        asked(endpoint.url, counted, ["a"], role="teacher", model="gpt-4.1-mini")
    assert [(row.round, row.model, row.requests) for row in counted.spent] == [
        (0, "small", 2),
        (1, "gpt-4.1-mini", 2),
        (1, "small", 2),
    ]


def test_a_torn_last_line_is_passed_over(endpoint: Endpoint, tmp_path: Path) -> None:
    path = tmp_path / "u.jsonl"
    asked(endpoint.url, meter(path), ["a", "b", "c"])
    path.write_bytes(path.read_bytes()[:-7])
    asked(endpoint.url, meter(path), ["d"])
    assert sum(row.requests for row in read_usage(path)) == 3


def test_a_request_that_nobody_took_up_leaves_no_trace(endpoint: Endpoint, tmp_path: Path) -> None:
    endpoint.key = "sk-right"
    (error,) = asked(endpoint.url, meter(tmp_path / "u.jsonl"), ["a"])
    assert isinstance(error, UserError)
    assert not (tmp_path / "u.jsonl").exists()


def test_a_request_that_failed_is_counted_without_tokens(endpoint: Endpoint, tmp_path: Path) -> None:
    endpoint.fault = lambda body, times: "500"
    (error,) = asked(endpoint.url, meter(tmp_path / "u.jsonl"), ["a"], retries=2)
    assert isinstance(error, ModelError)
    (row,) = read_usage(tmp_path / "u.jsonl")
    assert (row.requests, row.tries, row.uncounted) == (1, 3, 0)


def test_kept_replies_are_hits_and_cost_nothing(endpoint: Endpoint, tmp_path: Path) -> None:
    cache = {"cache": "use", "cache_path": str(tmp_path / "replies.jsonl")}
    asked(endpoint.url, meter(tmp_path / "a.jsonl"), ["a", "b"], **cache)
    again = meter(tmp_path / "b.jsonl")
    asked(endpoint.url, again, ["a", "b", "c"], **cache)
    again.flush()
    (row,) = read_usage(tmp_path / "b.jsonl")
    assert (row.requests, row.cache_hits) == (1, 2)


def test_equal_requests_at_the_same_time_cost_one(endpoint: Endpoint, tmp_path: Path) -> None:
    endpoint.latency = 0.05
    counted = meter()
    replies = asked(endpoint.url, counted, ["a"] * 20, cache="use", cache_path=str(tmp_path / "replies.jsonl"))
    assert len({reply.model_dump_json() for reply in replies if isinstance(reply, Reply)}) == 1
    assert (len(endpoint.seen), counted.spent[0].cache_hits) == (1, 19)


def test_where_the_first_of_equal_requests_fails_the_next_one_asks(endpoint: Endpoint, tmp_path: Path) -> None:
    endpoint.latency = 0.02
    endpoint.fault = lambda body, times: "500" if not times else None
    replies = asked(endpoint.url, meter(), ["a"] * 4, retries=0, cache="use", cache_path=str(tmp_path / "r.jsonl"))
    assert [isinstance(reply, Reply) for reply in replies] == [False, True, True, True]
    assert len(endpoint.seen) == 2


def test_what_is_held_back_is_written_with_what_comes_next(endpoint: Endpoint, tmp_path: Path) -> None:
    counted = meter(tmp_path / "u.jsonl")
    counted.holding = True
    asked(endpoint.url, counted, ["a"])
    counted.holding = False
    assert not (tmp_path / "u.jsonl").exists()
    asked(endpoint.url, counted, ["b"])
    assert sum(row.requests for row in read_usage(tmp_path / "u.jsonl")) == 2


def test_the_file_holds_no_key_and_no_text(endpoint: Endpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    endpoint.key = "sk-planted"
    monkeypatch.setenv("SLOOP_WEAK_API_KEY", "sk-planted")
    asked(endpoint.url, meter(tmp_path / "u.jsonl"), ["a secret question"])
    (line,) = (tmp_path / "u.jsonl").read_text().splitlines()
    assert set(json.loads(line)) <= {*Spent.model_fields, "latency", "waited"}
    assert "secret" not in line
    assert "sk-planted" not in line


# --- how long replies took ---


def test_percentiles_are_those_of_the_tries_that_were_answered(endpoint: Endpoint, tmp_path: Path) -> None:
    endpoint.latency = 0.05
    endpoint.fault = lambda body, times: "500" if "late" in str(body["messages"]) and not times else None
    counted = meter(tmp_path / "u.jsonl")
    asked(endpoint.url, counted, ["a", "b", "c", "late", "later"], backoff=0.1)
    (found,) = read_latencies(tmp_path / "u.jsonl")
    assert (found.role, found.round, found.requests) == ("student", 0, 5)
    assert 0.05 <= found.p50 <= found.p90 <= found.p99
    lines = [json.loads(line) for line in (tmp_path / "u.jsonl").read_text().splitlines()]
    assert [line["waited"] >= line["latency"] + 0.15 for line in lines if line["tries"] > 1] == [True, True]
    assert not [line for line in lines if line["tries"] == 1 and "waited" in line]
    assert found.waited_p99 > found.p99
    assert found.p90 == pytest.approx(float(numpy.percentile([line["latency"] for line in lines], 90)))


def test_what_was_never_answered_and_what_was_asked_beforehand_have_no_latency(
    endpoint: Endpoint, tmp_path: Path
) -> None:
    counted = meter(tmp_path / "u.jsonl")
    counted.holding = True
    asked(endpoint.url, counted, ["beforehand"])
    counted.holding = False
    endpoint.fault = lambda body, times: "500"
    asked(endpoint.url, counted, ["a"], retries=0)
    assert sum(row.requests for row in read_usage(tmp_path / "u.jsonl")) == 2
    assert read_latencies(tmp_path / "u.jsonl") == read_latencies(tmp_path / "none.jsonl") == []


# --- the budget ---


def test_no_more_requests_begin_than_the_budget_has(endpoint: Endpoint) -> None:
    endpoint.latency = 0.01
    counted = meter(requests=10)
    replies = asked(endpoint.url, counted, [str(n) for n in range(40)], concurrency=4)
    assert len(endpoint.seen) == 10
    assert sum(isinstance(reply, Reply) for reply in replies) == 10
    assert all(isinstance(reply, Reply | OutOfBudget) for reply in replies)


def test_tokens_overshoot_by_no_more_than_what_is_in_flight(endpoint: Endpoint) -> None:
    endpoint.latency = 0.01
    counted = meter(tokens=200)
    replies = asked(endpoint.url, counted, [str(n) for n in range(80)], concurrency=4)
    (row,) = counted.spent
    each = (row.prompt_tokens + row.completion_tokens) / row.requests
    assert 200 <= row.prompt_tokens + row.completion_tokens < 200 + 4 * each
    stopped = [reply for reply in replies if isinstance(reply, OutOfBudget)]
    assert len(stopped) == 80 - len(endpoint.seen)
    assert "spending.tokens=200 is spent" in str(stopped[0])
    assert "spending.tokens=400" in str(stopped[0])


def test_dollars_are_held_to_the_table(endpoint: Endpoint) -> None:
    counted = meter(dollars=0.001)
    asked(endpoint.url, counted, [str(n) for n in range(80)], concurrency=1)
    (row,) = counted.spent
    cost = dollars(row, PRICES)
    assert cost is not None
    assert 0.001 <= cost < 0.001 + cost / row.requests * 1.01
    assert row.requests < 80


def test_what_was_spent_before_counts(endpoint: Endpoint, tmp_path: Path) -> None:
    asked(endpoint.url, meter(tmp_path / "u.jsonl"), ["a", "b", "c"])
    replies = asked(endpoint.url, meter(tmp_path / "u.jsonl", requests=4), ["d", "e"])
    assert sorted(type(reply).__name__ for reply in replies) == ["OutOfBudget", "Reply"]


def test_kept_replies_are_given_out_of_budget(endpoint: Endpoint, tmp_path: Path) -> None:
    cache = {"cache": "use", "cache_path": str(tmp_path / "replies.jsonl")}
    asked(endpoint.url, meter(), ["a"], **cache)
    (reply,) = asked(endpoint.url, meter(requests=0), ["a"], **cache)
    assert isinstance(reply, Reply)


def test_a_limit_in_dollars_without_a_price_is_a_mistake_before_anything_is_sent(endpoint: Endpoint) -> None:
    endpoint.models = ["mine"]
    (error,) = asked(endpoint.url, meter(dollars=1), ["a"], model="mine")
    assert isinstance(error, UserError)
    assert "no price of the model 'mine'" in str(error)
    assert "+prices={mine:{prompt:1,cached:1,completion:2}}" in str(error)
    assert not endpoint.headers


def test_a_server_that_does_not_count_tokens_is_not_held_to_them_in_silence() -> None:
    counted = meter(tokens=1000)
    with counted.request("judge", "small") as request:
        request.tries = 1
    with pytest.raises(OutOfBudget, match=r"endpoint of the judge does not say how many tokens"):
        counted.check(begins=False)


def test_without_limits_nothing_is_refused() -> None:
    counted = Meter()
    with counted.request("judge", "unknown") as request:
        request.tries, request.usage = 1, Usage(prompt_tokens=10**9)
    counted.check(begins=True, model="unknown")
