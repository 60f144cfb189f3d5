"""`sloop serve` over real HTTP: the unmodified OpenAI client, batches, tokens, and the same answers as in process."""

from __future__ import annotations

import copy
import json
import math
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import openai
import pytest
from checkpoints import MODEL, GatedStudent, local, responder, serving, taught, trained
from clients import GREEDY, student
from fault_proxy import faulty
from models import TIMER, WEATHER
from running import ALONE, sloop

from sloop.measures.metrics import grade, scores
from sloop.models.environment import Key
from sloop.models.openai_api import request_body
from sloop.records import Decode, Prediction, Sample
from sloop.serve.engine import CheckpointResponder
from sloop.store import predictions_at, read_json, write_rows

DECODE = Decode(max_tokens=64)
TOKEN = "planted-token-0123456789"

BESIDE = {"logprob", "raw"}
"""Of an answer: what differs in its last bits, and what was handed over apart, which is kept as it came."""


@pytest.fixture(scope="module")
def answering() -> CheckpointResponder:
    return responder(trained().path)


@pytest.fixture(scope="module")
def url(answering: CheckpointResponder) -> Iterator[str]:
    with serving(answering) as found:
        yield found


@pytest.fixture(scope="module")
def expected() -> list[Prediction]:
    """What the checkpoint answers in this process."""
    return local(trained()).predict(taught(), DECODE)


@pytest.fixture
def client(url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=url, api_key="none", max_retries=0) as made:
        yield made


def request(text: str, **changes: Any) -> dict[str, Any]:
    """The arguments that ask for the answer to a request that was taught."""
    sample = next(sample for sample in taught() if sample.request == text)
    body = request_body(MODEL, sample.messages, sample.tools, GREEDY)
    del body["logprobs"]
    return {name: value for name, value in {**body, **changes}.items() if value is not None}


# --- the contract with the OpenAI client --------------------------------------------------------------------------


def test_models_are_listed_and_found_by_name(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == [MODEL]
    assert client.models.retrieve(MODEL).id == MODEL
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("other")


def test_words_come_as_content_with_their_usage(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(**request("hello there"))
    assert answer.choices[0].message.content == "No suitable tool."
    assert (answer.choices[0].finish_reason, answer.choices[0].logprobs) == ("stop", None)
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert (answer.model, answer.object) == (MODEL, "chat.completion")


def test_calls_come_structured_each_with_an_id(client: openai.OpenAI) -> None:
    choice = client.chat.completions.create(**request("both of them")).choices[0]
    assert (choice.finish_reason, choice.message.content) == ("tool_calls", None)
    calls = choice.message.tool_calls or []
    assert [(call.function.name, json.loads(call.function.arguments)) for call in calls] == [  # type: ignore[union-attr]
        ("get_weather", {"city": "Rome", "days": 3}),
        ("set_timer", {"minutes": 2.5}),
    ]
    assert len({call.id for call in calls}) == 2


def test_words_beside_a_call_are_its_content(client: openai.OpenAI) -> None:
    message = client.chat.completions.create(**request("look it up for me")).choices[0].message
    assert message.content == "I will look."
    assert message.tool_calls


def test_a_call_that_cannot_be_read_comes_as_the_text_it_is(client: openai.OpenAI) -> None:
    choice = client.chat.completions.create(**request("say it badly")).choices[0]
    assert choice.message.content == 'So: <tool_call>\n{"name": "get_weather"'
    assert (choice.message.tool_calls, choice.finish_reason) == (None, "stop")


def test_tool_choice_none_leaves_calls_in_the_text(client: openai.OpenAI) -> None:
    message = client.chat.completions.create(**request("look it up for me", tool_choice="none")).choices[0].message
    assert message.content is not None
    assert message.content.startswith("I will look.\n<tool_call>")
    assert message.tool_calls is None


def test_a_dialogue_with_calls_and_their_results_is_taken(client: openai.OpenAI) -> None:
    first = request("look it up for me")
    said = client.chat.completions.create(**first).choices[0].message
    assert said.tool_calls
    result = {"role": "tool", "tool_call_id": said.tool_calls[0].id, "content": "sunny"}
    parts = {"role": "user", "content": [{"type": "text", "text": "hello "}, {"type": "text", "text": "there"}]}
    dialogue = [{"role": "developer", "content": "Be brief."}, *first["messages"], said, result, parts]
    assert client.chat.completions.create(**{**first, "messages": dialogue}).choices[0].finish_reason


@pytest.mark.parametrize("text", [sample.request for sample in taught()[-9:]])
def test_the_stream_assembles_to_the_whole_answer(client: openai.OpenAI, text: str) -> None:
    asked = request(text, logprobs=True)
    whole = client.chat.completions.create(**asked)
    with client.chat.completions.stream(**asked, stream_options={"include_usage": True}) as stream:
        chunks = [found.chunk for found in stream if found.type == "chunk"]
        streamed = stream.get_final_completion()
    message, same = whole.choices[0].message, streamed.choices[0].message
    assert (same.content or None) == (message.content or None)
    assert [(c.function.name, c.function.arguments) for c in same.tool_calls or []] == [
        (c.function.name, c.function.arguments)  # type: ignore[union-attr]
        for c in message.tool_calls or []
    ]
    assert streamed.choices[0].finish_reason == whole.choices[0].finish_reason
    assert streamed.usage == whole.usage
    assert [chunk.usage is not None for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    listed, same_listed = (c.choices[0].logprobs and c.choices[0].logprobs.content for c in (whole, streamed))
    assert listed
    assert same_listed
    assert [token.token for token in listed] == [token.token for token in same_listed]


def test_what_is_drawn_depends_on_the_seed_alone(client: openai.OpenAI) -> None:
    def said(seed: int | None, temperature: float = 2.0, *, stream: bool = False) -> str:
        asked = request("hello there", tool_choice="none", max_tokens=20, temperature=temperature, seed=seed)
        if stream:
            chunks = client.chat.completions.create(**asked, stream=True)
            return "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
        return client.chat.completions.create(**asked).choices[0].message.content or ""

    seeds: list[int | None] = [0, 1, 2, 3]
    alone = [said(seed) for seed in seeds]
    assert len(set(alone)) > 1
    with ThreadPoolExecutor() as pool:
        together = [pool.submit(said, seed) for seed in seeds]
        streamed = pool.submit(said, 0, stream=True)
        likeliest = pool.submit(said, 0, 0.0)
        unseeded = [pool.submit(said, None) for _ in seeds]
    assert [answer.result() for answer in together] == alone
    assert streamed.result() == alone[0]
    assert likeliest.result() == "No suitable tool."
    assert len({answer.result() for answer in unseeded}) > 1


def test_words_are_streamed_while_they_are_written(client: openai.OpenAI) -> None:
    chunks = list(client.chat.completions.create(**request("hello there"), stream=True))
    words = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices[0].delta.content]
    assert len(words) > 1
    assert "".join(words) == "No suitable tool."
    assert chunks[0].choices[0].delta.role == "assistant"


def test_log_probabilities_are_those_of_every_token(client: openai.OpenAI, expected: list[Prediction]) -> None:
    for sample, prediction in zip(taught(), expected, strict=True):
        answer = client.chat.completions.create(**request(sample.request, logprobs=True))
        listed = answer.choices[0].logprobs
        assert listed is not None
        assert listed.content is not None
        assert answer.usage is not None
        assert len(listed.content) == answer.usage.completion_tokens == prediction.num_tokens
        assert math.fsum(token.logprob for token in listed.content) == pytest.approx(prediction.logprob, abs=1e-4)
        assert "".join(token.token for token in listed.content).removesuffix("<|im_end|>") == prediction.text


def test_an_answer_ends_at_its_length_or_before_a_stop(client: openai.OpenAI) -> None:
    short = client.chat.completions.create(**request("hello there", max_tokens=3))
    assert short.choices[0].finish_reason == "length"
    assert short.usage is not None
    assert short.usage.completion_tokens == 3
    for stream in (False, True):
        stopped: Any = client.chat.completions.create(
            **request("hello there"), stop=["nothing", "able t"], stream=stream
        )
        if stream:
            stopped = "".join(chunk.choices[0].delta.content or "" for chunk in stopped)
        else:
            assert stopped.choices[0].finish_reason == "stop"
            stopped = stopped.choices[0].message.content
        assert stopped == "No suit"


def test_max_completion_tokens_is_understood_and_no_limit_is_the_servers(client: openai.OpenAI) -> None:
    asked = request("hello there", max_tokens=None)
    cut = client.chat.completions.create(**asked, max_completion_tokens=2)
    assert cut.choices[0].finish_reason == "length"
    assert client.chat.completions.create(**asked).choices[0].finish_reason == "stop"


def test_demanded_json_is_checked(client: openai.OpenAI) -> None:
    schema = {"type": "object", "properties": {"code": {"type": "integer"}}, "required": ["code"]}
    wanted = {"type": "json_schema", "json_schema": {"name": "status", "schema": schema}}
    for form in (wanted, {"type": "json_object"}, {"type": "text"}):
        answer = client.chat.completions.create(**request("status please", response_format=form))
        assert json.loads(answer.choices[0].message.content or "") == {"status": "fine", "code": 7}
    schema["properties"] = {"code": {"type": "string"}}
    with pytest.raises(openai.BadRequestError, match="the content breaks the schema") as caught:
        client.chat.completions.create(**request("status please", response_format=wanted), stream=True)
    assert caught.value.code == "json_validate_failed"
    assert isinstance(caught.value.body, dict)
    assert json.loads(caught.value.body["failed_generation"]) == {"status": "fine", "code": 7}
    with pytest.raises(openai.BadRequestError, match="not JSON"):
        client.chat.completions.create(**request("hello there", response_format={"type": "json_object"}))


def test_a_demanded_call_is_checked(client: openai.OpenAI) -> None:
    named = {"type": "function", "function": {"name": "get_weather"}}
    for choice in ("required", named):
        assert client.chat.completions.create(**request("look it up for me", tool_choice=choice)).choices
    weather = WEATHER.to_openai()
    weather["function"]["strict"] = True
    closed = copy.deepcopy(weather)
    closed["function"]["parameters"]["properties"]["city"]["enum"] = ["Oslo"]  # which the prompt does not show
    for tool in (WEATHER.to_openai(), weather):
        assert client.chat.completions.create(**request("look it up for me", tools=[tool, TIMER.to_openai()])).choices
    refused: list[tuple[str, dict[str, Any], str]] = [
        ("hello there", {"tool_choice": "required"}, "called no tool"),
        ("look it up for me", {"tool_choice": {**named, "function": {"name": "set_timer"}}}, "instead of set_timer"),
        ("look it up for me", {"tools": [closed, TIMER.to_openai()]}, "enum:city not an allowed value"),
        ("both of them", {"parallel_tool_calls": False}, "called 2 tools"),
    ]
    for text, demand, why in refused:
        with pytest.raises(openai.BadRequestError, match=why) as caught:
            client.chat.completions.create(**request(text, **demand))
        assert caught.value.code == "tool_use_failed"


@pytest.mark.parametrize(
    ("change", "kind", "code", "param"),
    [
        ({"model": "other"}, openai.NotFoundError, "model_not_found", "model"),
        ({"max_tokens": 600}, openai.BadRequestError, "context_length_exceeded", "messages"),
        (
            {"messages": [{"role": "user", "content": "word " * 600}]},
            openai.BadRequestError,
            "context_length_exceeded",
            "messages",
        ),
        ({"temperature": 0.7, "top_p": 0.9}, openai.BadRequestError, "unsupported_value", "top_p"),
        ({"n": 2}, openai.BadRequestError, "unsupported_value", "n"),
        ({"top_logprobs": 3}, openai.BadRequestError, "unsupported_value", "top_logprobs"),
        ({"max_tokens": 0}, openai.BadRequestError, "invalid_value", "max_tokens"),
        ({"messages": []}, openai.BadRequestError, "invalid_value", "messages"),
        ({"extra_body": {"guided_regex": "a"}}, openai.BadRequestError, "unknown_parameter", "guided_regex"),
        ({"stream_options": {"include_usage": True}}, openai.BadRequestError, None, "stream_options"),
        (
            {"tool_choice": {"type": "function", "function": {"name": "fly"}}},
            openai.BadRequestError,
            None,
            "tool_choice",
        ),
        ({"tools": None, "tool_choice": "required"}, openai.BadRequestError, None, "tool_choice"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]},
            openai.BadRequestError,
            "unsupported_value",
            "messages",
        ),
        (
            {
                "messages": [
                    {"role": "user", "content": "a"},
                    {
                        "role": "assistant",
                        "tool_calls": [{"id": "x", "type": "function", "function": {"name": "f", "arguments": "[1"}}],
                    },
                ]
            },
            openai.BadRequestError,
            None,
            "messages[1].tool_calls",
        ),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "no"}}}},
            openai.BadRequestError,
            None,
            "response_format",
        ),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_cannot_be_honoured_is_refused_streamed_or_not(
    client: openai.OpenAI, change: dict[str, Any], kind: type[openai.APIStatusError], code: str | None, param: str
) -> None:
    for stream in (False, True):
        if stream and param == "stream_options":
            continue
        with pytest.raises(kind) as caught:
            client.chat.completions.create(**{**request("hello there"), **change}, stream=stream)
        assert (caught.value.code, caught.value.param) == (code, param)
        assert isinstance(caught.value.body, dict)
        assert caught.value.body["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/chat/completions", b"{", 400),
        ("POST", "/chat/completions", b'"words"', 400),
        ("POST", "/chat/completions", b"", 400),
        ("POST", "/elsewhere", b"{}", 404),
        ("GET", "/chat/completions", None, 405),
    ],
)
def test_every_error_is_openais_json(url: str, method: str, path: str, body: bytes | None, status: int) -> None:
    asked = urllib.request.Request(url + path, data=body, method=method)
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(asked)
    with caught.value as answer:
        assert answer.code == status
        assert set(json.loads(answer.read())["error"]) == {"message", "type", "param", "code"}


# --- the same answers as in process -------------------------------------------------------------------------------


@pytest.mark.parametrize("answer_format", [None, "hermes"])
@pytest.mark.parametrize("share", [0.0, 0.2])
def test_over_http_the_student_answers_as_in_process(
    url: str, expected: list[Prediction], answer_format: str | None, share: float
) -> None:
    samples = taught()
    with faulty(url, share) as proxy:
        served = student(proxy.url if share else url, model=MODEL, answer_format=answer_format, retries=6)
        served.load(served.start(None, seed=0, out=Path("none")))  # type: ignore[arg-type]
        try:
            found = served.predict(samples, DECODE)
        finally:
            served.close()
        assert bool(proxy.faults) == bool(share)
    plain = [prediction.model_dump(exclude=BESIDE) for prediction in expected]
    assert [prediction.model_dump(exclude=BESIDE) for prediction in found] == plain
    assert [p.logprob for p in found] == pytest.approx([p.logprob for p in expected], abs=1e-4)
    assert {prediction.error for prediction in found} == {None, "format"}
    assert list(scores(map(grade, samples, found))) == list(scores(map(grade, samples, expected)))


def test_what_does_not_fit_is_truncated_as_in_process(url: str) -> None:
    long = Sample(tools=(), messages=({"role": "user", "content": "word " * 250},))  # type: ignore[arg-type]
    cut = taught()[0]
    decode = Decode(max_tokens=5)
    served = student(url, model=MODEL)
    served.load(served.start(None, seed=0, out=Path("none")))  # type: ignore[arg-type]
    found, same = served.predict([long, cut], decode), local(trained()).predict([long, cut], decode)
    served.close()
    assert [p.model_dump(exclude={"logprob"}) for p in found] == [p.model_dump(exclude={"logprob"}) for p in same]
    assert [p.error for p in found] == ["truncated", "truncated"]


def test_probe_and_eval_through_faults_write_what_they_write_in_process(url: str, tmp_path: Path) -> None:
    samples = tmp_path / "samples.jsonl"
    write_rows(samples, taught())
    here = ("student=checkpoint", f"student.path={trained().path}", "student.threads=1")
    for stage, source in (("probe", [f"data={samples}"]), ("eval", ["benchmark=jsonl", f"benchmark.path={samples}"])):
        with faulty(url, 0.2) as proxy:
            there = (
                "student=endpoint",
                f"student.endpoint.base_url={proxy.url}",
                f"student.endpoint.model={MODEL}",
                "student.endpoint.limits.backoff=0.01",
            )
            for name, words in (("here", here), ("there", there)):
                out = f"output_dir={tmp_path / stage / name}"
                assert sloop(stage, *source, *words, "decode.max_tokens=64", out, ALONE) == 0
            assert proxy.faults
        answers = [
            {p.sample_id: p for p in predictions_at(next((tmp_path / stage / name).rglob("predictions.jsonl")))}
            for name in ("here", "there")
        ]
        assert set(answers[0]) == set(answers[1])
        for sample_id, one in answers[0].items():
            other = answers[1][sample_id]
            assert other.model_dump(exclude=BESIDE) == one.model_dump(exclude=BESIDE)
            assert other.perplexity == pytest.approx(one.perplexity, rel=1e-4)
    records = [read_json(tmp_path / "eval" / name / "run.json")["metrics"] for name in ("here", "there")]
    assert records[0] == records[1]
    for name in ("grades.jsonl", "scores.jsonl", "judgements.jsonl"):
        here_and_there = [(tmp_path / "eval" / folder / name).read_bytes() for folder in ("here", "there")]
        assert here_and_there[0] == here_and_there[1], name


# --- batches ------------------------------------------------------------------------------------------------------


def test_concurrent_requests_share_batches_and_are_answered_as_one_by_one(
    answering: CheckpointResponder, client: openai.OpenAI
) -> None:
    asked = [request(sample.request, logprobs=True) for sample in taught()]

    def ask(arguments: dict[str, Any]) -> tuple[str, list[str], float]:
        choice = client.chat.completions.create(**arguments).choices[0]
        calls = [call.function.arguments for call in choice.message.tool_calls or []]  # type: ignore[union-attr]
        assert choice.logprobs is not None
        return choice.message.content or "", calls, sum(token.logprob for token in choice.logprobs.content or [])

    alone = [ask(arguments) for arguments in asked]
    before = answering.batches
    with ThreadPoolExecutor(len(asked)) as pool:
        together = list(pool.map(ask, asked))
    assert answering.batches - before < len(asked) / 2
    assert [answer[:2] for answer in together] == [answer[:2] for answer in alone]
    assert [answer[2] for answer in together] == pytest.approx([answer[2] for answer in alone], abs=1e-4)


@pytest.fixture
def gated() -> Iterator[tuple[CheckpointResponder, GatedStudent, openai.OpenAI]]:
    """A server whose student writes only when it is let."""
    slow = GatedStudent()
    answerer = responder(trained().path, student=slow, batch_size=4)
    with serving(answerer) as found, openai.OpenAI(base_url=found, api_key="none", max_retries=0) as made:
        try:
            yield answerer, slow, made
        finally:
            slow.gate.set()


def until(reached: Any) -> None:
    deadline = time.monotonic() + 20
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def test_while_a_batch_is_written_health_is_told_and_the_next_batch_gathers(
    gated: tuple[CheckpointResponder, GatedStudent, openai.OpenAI],
) -> None:
    answerer, slow, client = gated
    with ThreadPoolExecutor(7) as pool:
        first = pool.submit(client.chat.completions.create, **request("hello there"))
        assert slow.begun.wait(20)
        others = [pool.submit(client.chat.completions.create, **request(s.request)) for s in taught()[:6]]
        until(lambda: len(answerer._waiting) == 6)
        health = str(client.base_url).replace("/v1/", "/health")
        with urllib.request.urlopen(health) as answer:
            assert json.loads(answer.read()) == {"status": "ok"}
        assert not first.done()
        slow.gate.set()
        assert all(call.result().choices[0].message.tool_calls for call in others)
    assert answerer.batches == 1 + 2  # the six in batches of at most four


def test_who_hangs_up_is_not_written_for(gated: tuple[CheckpointResponder, GatedStudent, openai.OpenAI]) -> None:
    answerer, slow, client = gated
    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(client.chat.completions.create, **request("hello there"))
        assert slow.begun.wait(20)
        for stream in (False, True):
            with pytest.raises(openai.APITimeoutError):
                client.chat.completions.create(**request("both of them"), stream=stream, timeout=0.05)
        until(lambda: len(answerer._waiting) == 2 and all(writing.over for writing in answerer._waiting))
        slow.gate.set()
        first.result()
    assert client.chat.completions.create(**request("hello there")).choices
    assert answerer.batches == 2


def test_a_batch_that_fails_is_an_error_of_its_requests_alone(
    gated: tuple[CheckpointResponder, GatedStudent, openai.OpenAI],
) -> None:
    _, slow, client = gated
    slow.failure = RuntimeError("out of memory, secret detail")
    slow.gate.set()
    for stream in (False, True):
        with pytest.raises(openai.InternalServerError) as caught:
            client.chat.completions.create(**request("hello there"), stream=stream)
        assert caught.value.code == "internal_error"
        assert "secret" not in str(caught.value.body)
    slow.failure = None
    assert client.chat.completions.create(**request("hello there")).choices


def test_a_request_that_cannot_be_rendered_leaves_the_others_of_its_batch_alone(
    gated: tuple[CheckpointResponder, GatedStudent, openai.OpenAI],
) -> None:
    answerer, slow, client = gated
    broken = copy.deepcopy(WEATHER.to_openai())
    broken["function"]["parameters"]["required"] = 5  # the template cannot walk through it
    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(client.chat.completions.create, **request("hello there"))
        assert slow.begun.wait(20)
        bad = pool.submit(client.chat.completions.create, **request("hello there", tools=[broken]))
        good = pool.submit(client.chat.completions.create, **request("both of them"))
        until(lambda: len(answerer._waiting) == 2)
        slow.gate.set()
        assert first.result().choices
        assert good.result().choices[0].message.tool_calls
        with pytest.raises(openai.InternalServerError):
            bad.result()
    assert answerer.batches == 2


# --- tokens -------------------------------------------------------------------------------------------------------


def test_with_a_token_only_health_is_open() -> None:
    with serving(responder(trained().path), Key(TOKEN, "SLOOP_SERVE_TOKEN")) as url:
        with openai.OpenAI(base_url=url, api_key=TOKEN, max_retries=0) as client:
            assert [model.id for model in client.models.list()] == [MODEL]
            assert client.chat.completions.create(**request("hello there")).choices
        for wrong in ("none", TOKEN[:-1], TOKEN + "x"):
            with openai.OpenAI(base_url=url, api_key=wrong, max_retries=0) as client:
                for ask in (client.models.list, lambda c=client: c.chat.completions.create(**request("hello there"))):
                    with pytest.raises(openai.AuthenticationError) as caught:
                        ask()
                    assert caught.value.code == "invalid_api_key"
                    assert TOKEN not in str(caught.value)
        with urllib.request.urlopen(url.replace("/v1", "/health")) as answer:
            assert answer.status == 200
        for header in (b"", b"Bearer", TOKEN.encode(), b"Basic " + TOKEN.encode(), "Bearer ключ".encode()):
            asked = urllib.request.Request(url + "/models", headers={"Authorization": header.decode("latin-1")})
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(asked)
            assert refused.value.code == 401
            refused.value.close()
