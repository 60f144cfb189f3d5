"""Kept replies: nothing is asked twice, nothing at all where that is wanted, and a failure is never kept."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from clients import ask_all, client
from endpoint import Endpoint, serving

from sloop.models.base import ModelError, Reply
from sloop.models.replay import Replay
from sloop.records import Label, UserError

ASKED = ["a", "b", "c"]


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with serving() as server:
        server.answer = lambda body: Label(content=f"echo {body['messages'][0]['content']}")
        yield server


def replayed(
    url: str, path: Path, requests: list[str], mode: str = "use", **changes: str
) -> list[Reply | BaseException]:
    return ask_all(Replay(client(url, retries=0), mode=mode, path=path), requests, **changes)  # type: ignore[arg-type]


def test_an_equal_request_is_asked_once_and_answered_alike_without_a_network(
    endpoint: Endpoint, tmp_path: Path
) -> None:
    first = replayed(endpoint.url, tmp_path / "r.jsonl", ASKED)
    assert replayed(endpoint.url, tmp_path / "r.jsonl", ASKED) == first
    assert len(endpoint.seen) == 3
    endpoint.fault = lambda body, times: "drop"
    assert replayed(endpoint.url, tmp_path / "r.jsonl", ASKED, "read_only") == first
    assert len(endpoint.seen) == 3


def test_the_salt_and_the_model_tell_equal_requests_apart_and_the_address_does_not(
    endpoint: Endpoint, tmp_path: Path
) -> None:
    endpoint.models = ["small", "large"]
    path = tmp_path / "r.jsonl"
    replayed(endpoint.url, path, ["a"])
    replayed(endpoint.url, path, ["a"], salt="vote 2")
    ask_all(Replay(client(endpoint.url, model="large"), mode="use", path=path), ["a"])
    assert len(endpoint.seen) == 3
    replayed("http://127.0.0.1:1/v1", path, ["a"])
    assert len(endpoint.seen) == 3


def test_a_request_that_is_missing_is_named(endpoint: Endpoint, tmp_path: Path) -> None:
    replayed(endpoint.url, tmp_path / "r.jsonl", ["a"])
    kept, missing = replayed(endpoint.url, tmp_path / "r.jsonl", ["a", "what about Lima?"], "read_only")
    assert isinstance(kept, Reply)
    assert isinstance(missing, UserError)
    assert "what about Lima?" in str(missing)
    assert "cache=use" in str(missing)
    assert len(endpoint.seen) == 1


def test_without_kept_replies_reading_only_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no kept replies at .*none\.jsonl"):
        replayed("http://127.0.0.1:1/v1", tmp_path / "none.jsonl", ["a"], "read_only")


def test_a_failure_is_not_kept(endpoint: Endpoint, tmp_path: Path) -> None:
    endpoint.fault = lambda body, times: "500" if times == 0 else None
    assert isinstance(replayed(endpoint.url, tmp_path / "r.jsonl", ["a"])[0], ModelError)
    assert isinstance(replayed(endpoint.url, tmp_path / "r.jsonl", ["a"])[0], Reply)


def test_a_torn_last_line_is_counted_and_asked_for_again_alone(endpoint: Endpoint, tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    first = replayed(endpoint.url, path, ASKED)
    path.write_bytes(path.read_bytes()[:-9])
    again = Replay(client(endpoint.url), mode="use", path=path)
    assert ask_all(again, ASKED) == first
    assert len(endpoint.seen) == 4
    assert replayed(endpoint.url, path, ASKED, "read_only") == first


@pytest.mark.parametrize(("finish", "kind"), [("content_filter", "filtered"), ("error", "no_answer")])
def test_what_ended_as_no_answer_does_is_asked_again(
    endpoint: Endpoint, tmp_path: Path, finish: str, kind: str
) -> None:
    endpoint.finish = finish
    (failed,) = replayed(endpoint.url, tmp_path / "r.jsonl", ["hi"])
    assert isinstance(failed, ModelError)
    assert failed.kind == kind
    endpoint.finish = None
    asked = len(endpoint.seen)
    first, second = (replayed(endpoint.url, tmp_path / "r.jsonl", ["hi"]) for _ in range(2))
    assert first == second
    assert len(endpoint.seen) == asked + 1


def test_a_failure_that_an_older_version_kept_is_not_taken_for_a_reply(endpoint: Endpoint, tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    (whole,) = replayed(endpoint.url, path, ["hi"])
    path.write_text(path.read_text().replace('"stop"', '"error"'))
    for mode in ("use", "use", "read_only"):  # it stands under its key for good: the reply is kept under another
        assert replayed(endpoint.url, path, ["hi"], mode) == [whole]
    assert len(endpoint.seen) == 2


def test_a_call_that_the_server_could_not_read_is_kept_as_one(endpoint: Endpoint, tmp_path: Path) -> None:
    endpoint.finish = "MALFORMED_FUNCTION_CALL"
    for _ in range(2):
        (error,) = replayed(endpoint.url, tmp_path / "r.jsonl", ["hi"])
        assert isinstance(error, ModelError)
        assert (error.kind, error.written) == ("unreadable", "echo hi")
    assert len(endpoint.seen) == 1


def test_two_that_share_the_file_and_ask_together_go_on_with_the_same_reply(endpoint: Endpoint, tmp_path: Path) -> None:
    times = iter(range(2))
    endpoint.answer = lambda body: Label(content=f"reply {next(times)}")
    one, two = (Replay(client(endpoint.url), mode="use", path=tmp_path / "r.jsonl") for _ in range(2))
    (first,), (second,) = ask_all(one, ["a"]), ask_all(two, ["a"])
    assert len(endpoint.seen) == 2
    assert first == second == replayed(endpoint.url, tmp_path / "r.jsonl", ["a"], "read_only")[0]
