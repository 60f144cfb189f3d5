"""A student behind an endpoint: its answers are read as a local one's, and the endpoint's failures are not its own."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import yaml
from acme_tools import CountingTrainer
from clients import answer_right, student
from endpoint import Endpoint, serving
from kinds import Kind
from kinds.names import KINDS
from running import questions

from sloop.benchmarks.base import SampleBenchmark
from sloop.cli import conf_folder
from sloop.engine.stage import Place, run_stage
from sloop.measures.metrics import grade
from sloop.models.base import ModelError
from sloop.models.endpoint import InText
from sloop.records import Checkpoint, Decode, Label, Message, Prediction, Sample, Score, Tool, ToolCall, UserError
from sloop.stages.evaluate import SCORES, Evaluate
from sloop.stages.probe import Probe
from sloop.stages.train import Train
from sloop.store import Dataset, predictions_at, read_rows, write_rows
from sloop.students.served import under_served_names

CALL = ToolCall(name="get_weather", arguments={"city": "Oslo"})
ASKED = Sample(
    tools=tuple(Tool(name=name, parameters={"type": "object"}) for name in ("get_weather", "set_timer")),
    messages=(Message(role="user", content="weather in Oslo"),),
    label=Label(calls=(CALL,)),
)
TEXT_CALL = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Oslo"}}\n</tool_call>'
FAULTS = ["429", "500", "drop", "truncate", "garbage", "empty"]


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with serving() as server:
        yield server


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    return list(islice(Dataset(questions()), 40))


def answers(url: str, samples: list[Sample], **changes: Any) -> list[Prediction]:
    one = student(url, **changes)
    try:
        one.load(one.start(Dataset(questions()), seed=0, out=Path("unused")))
        return one.predict(samples, Decode(max_tokens=50))
    finally:
        one.close()


def evaluated(url: str, out: Path, **changes: Any) -> dict[str, Score]:
    benchmark = SampleBenchmark(name="dev", path=str(questions()))
    one = student(url, **changes)
    stage = Evaluate(
        benchmark=benchmark,
        data=benchmark.data,
        student=one,
        checkpoint=one.start(benchmark.data, seed=0, out=out),
        decode=Decode(),
        batch_size=32,
        judge=yaml.safe_load((conf_folder() / "judge" / "grounding.yaml").read_text()),
    )
    try:
        run_stage(stage, Place(out))
    finally:
        one.close()
    return {score.name: score for score in read_rows(out / SCORES, Score) if not score.slice}


# --- what is read ---


def test_a_batch_is_answered_in_order_and_measured(endpoint: Endpoint, samples: list[Sample]) -> None:
    answer_right(endpoint, samples)
    found = answers(endpoint.url, samples)
    assert [one.sample_id for one in found] == [sample.id for sample in samples]
    assert all(grade(sample, one).correct for sample, one in zip(samples, found, strict=True))
    assert all(one.perplexity == pytest.approx(math.exp(0.5)) for one in found)


def test_it_is_asked_greedily_with_the_tools_on_offer(endpoint: Endpoint) -> None:
    answers(endpoint.url, [ASKED])
    (body,) = endpoint.seen
    assert (body["temperature"], body["max_tokens"], body["seed"], body["logprobs"]) == (0.0, 50, 0, True)
    assert [tool["function"]["name"] for tool in body["tools"]] == ["get_weather", "set_timer"]
    assert body["tool_choice"] == "auto"


def test_a_drawn_answer_is_asked_for_with_a_temperature_and_a_seed_of_its_own(endpoint: Endpoint) -> None:
    one = student(endpoint.url)
    warm = Decode(temperature=0.7)
    for change in ({}, {"trial": 1}, {"trial": 2}, {"seed": 1}, {"trial": 1}):
        one.predict([ASKED], warm.model_copy(update=change))
    one.close()
    assert {body["temperature"] for body in endpoint.seen} == {0.7}
    seeds = [body["seed"] for body in endpoint.seen]
    assert seeds[0] == 0
    assert len(set(seeds[:4])) == 4
    assert seeds[4] == seeds[1]


@pytest.mark.parametrize("seed", [0, None])
def test_a_kept_reply_is_not_the_answer_of_every_trial(endpoint: Endpoint, tmp_path: Path, seed: int | None) -> None:
    one = student(endpoint.url, seed=seed, cache="use", cache_path=str(tmp_path / "replies.jsonl"))
    for trial in (0, 1, 2, 1, 0):
        one.predict([ASKED], Decode(temperature=0.7, trial=trial))
    one.close()
    assert len(endpoint.seen) == 3


def test_calls_are_read_from_the_text_where_a_format_is_given(endpoint: Endpoint) -> None:
    endpoint.text = TEXT_CALL
    (found,) = answers(endpoint.url, [ASKED], answer_format="hermes")
    assert (found.calls, found.error, found.text) == ((CALL,), None, TEXT_CALL)
    assert endpoint.seen[0]["tool_choice"] == "none"
    assert "skip_special_tokens" not in endpoint.seen[0]


@pytest.mark.parametrize(("preset", "choice"), [("vllm", "none"), ("sglang", None)])
def test_calls_in_the_text_are_asked_for_as_the_server_wants_it(
    endpoint: Endpoint, preset: str, choice: str | None
) -> None:
    in_text = yaml.safe_load((conf_folder() / "endpoint" / f"{preset}.yaml").read_text())["in_text"]
    answers(endpoint.url, [ASKED], answer_format="hermes", in_text=InText(**in_text))
    answers(endpoint.url, [ASKED], in_text=InText(**in_text))
    asked, plain = endpoint.seen
    assert (asked.get("tool_choice"), asked["skip_special_tokens"]) == (choice, False)
    assert "skip_special_tokens" not in plain
    assert plain["tool_choice"] == "auto"


DOTTED = ASKED.model_copy(update={"tools": tuple(Tool(name=name, parameters={}) for name in ("math.add", "now"))})


@pytest.mark.parametrize("answer_format", [None, "hermes"])
def test_a_name_that_servers_refuse_is_sent_with_underscores_and_read_back(
    endpoint: Endpoint, answer_format: str | None
) -> None:
    called = {"name": "math_add", "arguments": '{"x": 1}'}
    if answer_format:
        endpoint.text = '<tool_call>\n{"name": "math_add", "arguments": {"x": 1}}\n</tool_call>'
    else:
        endpoint.message = {"tool_calls": [{"function": called}]}
    before = Message(role="assistant", tool_calls=(ToolCall(name="math.add", arguments={}),))
    asked = DOTTED.model_copy(update={"messages": (*DOTTED.messages, before, *DOTTED.messages)})
    (found,) = answers(endpoint.url, [asked], answer_format=answer_format)
    (body,) = endpoint.seen
    assert [tool["function"]["name"] for tool in body["tools"]] == ["math_add", "now"]
    assert body["messages"][1]["tool_calls"][0]["function"]["name"] == "math_add"
    assert (found.sample_id, found.calls) == (asked.id, (ToolCall(name="math.add", arguments={"x": 1}),))
    assert "math_add" in found.text


def test_an_answer_is_to_the_sample_also_where_a_call_alone_was_sent_under_another_name(endpoint: Endpoint) -> None:
    before = Message(role="assistant", tool_calls=(ToolCall(name="math.add", arguments={}),))
    asked = Sample(tools=(), messages=(*DOTTED.messages, before, *DOTTED.messages))
    (found,) = answers(endpoint.url, [asked])
    (body,) = endpoint.seen
    assert body["messages"][1]["tool_calls"][0]["function"]["name"] == "math_add"
    assert (found.sample_id, found.error) == (asked.id, None)


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_name_goes_out_and_comes_back_as_its_kind_says(endpoint: Endpoint, kind: Kind) -> None:
    asked = ASKED.model_copy(update={"tools": tuple(Tool(name=name, parameters={}) for name in kind.given)})
    if isinstance(kind.comes, str):
        with pytest.raises(ModelError, match=rf"{kind.comes} there\. Rename one"):
            under_served_names(asked)
        assert [found.error for found in answers(endpoint.url, [asked, ASKED])] == ["model", None]
        assert len(endpoint.seen) == 1, "the one before it ends nothing, and is not sent"
        return
    endpoint.message = {"tool_calls": [{"function": {"name": name, "arguments": "{}"}} for name in kind.comes]}
    (found,) = answers(endpoint.url, [asked])
    (body,) = endpoint.seen
    assert [tool["function"]["name"] for tool in body["tools"]] == kind.comes
    assert all(re.fullmatch("[a-zA-Z0-9_-]{1,64}", name) for name in kind.comes)
    assert [call.name for call in found.calls] == kind.given


@pytest.mark.parametrize("arguments", ['{"city": ', '["Oslo"]', '{"city": NaN}', '{"a": 1, "a": 2}'])
def test_arguments_that_are_no_object_are_an_attempted_call(endpoint: Endpoint, arguments: str) -> None:
    endpoint.message = {"tool_calls": [{"function": {"name": "get_weather", "arguments": arguments}}]}
    (found,) = answers(endpoint.url, [ASKED])
    assert (found.calls, found.error) == ((), "format")
    assert arguments in found.text
    assert grade(ASKED, found).attempted


@pytest.mark.parametrize(
    ("arguments", "read", "kept"),
    [
        ({"city": "Oslo"}, {"city": "Oslo"}, {"city": "Oslo"}),
        ({"near": {"lat": 1.5, "of": None}, "names": ["Øst", '"']}, ..., ...),
        ({}, {}, {}),
        ([], {}, []),
        ("null", {}, "null"),
        ('{"city": "Oslo"}', {"city": "Oslo"}, '{"city": "Oslo"}'),
        ([1], None, [1]),
        (7, None, 7),
        ({"days": float("nan")}, None, '{"days": NaN}'),
    ],
)
def test_arguments_are_read_and_kept_as_the_server_hands_them_over(
    endpoint: Endpoint, tmp_path: Path, arguments: Any, read: Any, kept: Any
) -> None:
    endpoint.message = {"tool_calls": [{"function": {"name": "get_weather", "arguments": arguments}}]}
    read, kept = (arguments if expected is ... else expected for expected in (read, kept))
    for _ in range(2):  # the second time from the cache
        (found,) = answers(endpoint.url, [ASKED], cache="use", cache_path=str(tmp_path / "kept.jsonl"))
        assert [call.arguments for call in found.calls] == ([] if read is None else [read])
        assert (found.raw, found.error) == ([{"get_weather": kept}], "format" if read is None else None)
        write_rows(tmp_path / "answers.jsonl", [found])
        assert list(read_rows(tmp_path / "answers.jsonl", Prediction)) == [found]
    assert endpoint.times.total() == 1


def test_a_key_in_arguments_that_were_handed_over_parsed_is_struck_out(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint.key = "sk-" + "Ab3" * 12
    monkeypatch.setenv("SLOOP_WEAK_API_KEY", endpoint.key)
    arguments = {"city": endpoint.key}
    endpoint.message = {"tool_calls": [{"function": {"name": "get_weather", "arguments": arguments}}]}
    (found,) = answers(endpoint.url, [ASKED])
    assert [call.arguments for call in found.calls] == [{"city": "***"}]
    assert endpoint.key not in repr(found)


def test_a_call_that_the_server_left_in_the_words_is_an_attempted_call(endpoint: Endpoint) -> None:
    endpoint.text = TEXT_CALL
    (found,) = answers(endpoint.url, [ASKED])
    assert (found.calls, found.error) == ((), "format")


def test_a_call_that_was_cut_off_is_an_attempted_call(endpoint: Endpoint) -> None:
    endpoint.message = {"tool_calls": [{"function": {"name": "get_weather", "arguments": '{"ci'}}]}
    endpoint.finish = "length"
    (found,) = answers(endpoint.url, [ASKED])
    assert found.error == "truncated"
    assert grade(ASKED, found).attempted


def test_probabilities_of_the_words_alone_are_not_taken_for_those_of_the_calls(endpoint: Endpoint) -> None:
    endpoint.answer = lambda body: Label(calls=(CALL,))
    endpoint.tokens_listed = 2
    (found,) = answers(endpoint.url, [ASKED])
    assert found.calls == (CALL,)
    assert found.logprob is None
    assert found.perplexity is None
    assert found.num_tokens > 2


def test_a_server_without_probabilities_leaves_the_perplexity_unmeasured(endpoint: Endpoint) -> None:
    endpoint.token_logprob = None
    (found,) = answers(endpoint.url, [ASKED])
    assert (found.content, found.logprob, found.error) == ("Hello.", None, None)


# --- what fails ---


def test_a_sample_without_an_answer_is_a_model_error_and_the_others_are_answered(
    endpoint: Endpoint, samples: list[Sample]
) -> None:
    answer_right(endpoint, samples)
    endpoint.fault = lambda body, times: "500" if body["messages"][-1]["content"] == samples[3].request else None
    found = answers(endpoint.url, samples, retries=1)
    lost = {one.sample_id for one in found if one.error == "model"}
    assert lost == {sample.id for sample in samples if sample.request == samples[3].request}
    assert all(one.error is None for one in found if one.sample_id not in lost)


@pytest.mark.parametrize(("fault", "error"), [("context", "truncated"), ("400", "model"), ("filter", "model")])
def test_what_the_server_turns_down_is_no_answer(endpoint: Endpoint, fault: str, error: str) -> None:
    endpoint.fault = lambda body, times: fault
    (found,) = answers(endpoint.url, [ASKED])
    assert (found.error, found.calls, found.text) == (error, (), "")


def test_twenty_percent_of_faults_change_no_answer(endpoint: Endpoint, samples: list[Sample]) -> None:
    answer_right(endpoint, samples)
    clean = answers(endpoint.url, samples)
    endpoint.times.clear()
    order = {sample.request: number for number, sample in enumerate(samples)}

    def fault(body: dict[str, Any], times: int) -> str | None:
        number = order[body["messages"][-1]["content"]]
        return FAULTS[number // 5 % len(FAULTS)] if number % 5 == 0 and not times else None

    endpoint.fault = fault
    assert answers(endpoint.url, samples) == clean


def test_samples_that_the_endpoint_lost_are_in_no_score_and_counted(endpoint: Endpoint, tmp_path: Path) -> None:
    data = list(Dataset(questions()))
    answer_right(endpoint, data)
    unlucky = {sample.request for sample in data[::30]}
    lost = sum(sample.request in unlucky for sample in data)
    endpoint.fault = lambda body, times: "500" if body["messages"][-1]["content"] in unlucky else None
    found = evaluated(endpoint.url, tmp_path / "eval", retries=0)
    assert (found["call_accuracy"].value, found["call_accuracy"].n) == (1.0, len(data) - lost)
    assert found["false_refusal_rate"].value == 0.0
    assert found["model_errors"].value == pytest.approx(lost / len(data))
    assert found["judge_score"].n == len(data) - lost


def test_an_endpoint_that_answers_nothing_more_stops_the_stage_and_what_it_answered_is_kept(
    endpoint: Endpoint, tmp_path: Path
) -> None:
    data = list(Dataset(questions()))
    answer_right(endpoint, data)
    endpoint.fault = lambda body, times: "500" if len(endpoint.seen) > 64 else None
    with pytest.raises(UserError, match=r"7 of 120 units failed, .* server: HTTP 500"):
        evaluated(endpoint.url, tmp_path / "eval", retries=0)
    endpoint.fault = lambda body, times: None
    asked = len(endpoint.seen)
    found = evaluated(endpoint.url, tmp_path / "eval", retries=0)
    assert (found["call_accuracy"].n, found["model_errors"].value) == (len(data), 0.0)
    assert len(endpoint.seen) - asked < len(data)


# --- the reader's mistakes ---


def test_nobody_listening_is_one_message() -> None:
    with serving() as gone:
        url = gone.url
    with pytest.raises(UserError, match=rf"student\.endpoint\.base_url={url}: nobody listens there"):
        answers(url, [ASKED] * 20)


def test_an_unknown_model_is_named_beside_those_that_are_there(endpoint: Endpoint) -> None:
    endpoint.models = ["medium", "tiny"]
    with pytest.raises(UserError, match=r"student\.endpoint\.model=small: .* has no such model.* It has: medium, tiny"):
        answers(endpoint.url, [ASKED] * 20)


def test_a_wrong_key_is_named_by_its_variable_and_not_repeated(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint.key = "sk-right"
    monkeypatch.setenv("SLOOP_WEAK_API_KEY", "sk-planted")
    with pytest.raises(UserError, match=r"the key in SLOOP_WEAK_API_KEY was refused") as caught:
        answers(endpoint.url, [ASKED] * 20)
    assert "sk-planted" not in str(caught.value)
    assert "sk-planted" not in repr(vars(student(endpoint.url)))


def test_a_key_that_is_wanted_and_missing_is_asked_for(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    endpoint.key = "sk-right"
    monkeypatch.delenv("SLOOP_WEAK_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(UserError, match=r"neither SLOOP_WEAK_API_KEY nor OPENAI_API_KEY is set"):
        answers(endpoint.url, [ASKED])


def test_an_endpoint_is_not_trained(endpoint: Endpoint, tmp_path: Path) -> None:
    write_rows(tmp_path / "data.jsonl", [ASKED])
    data = Dataset(tmp_path / "data.jsonl")
    start = student(endpoint.url).start(data, seed=0, out=tmp_path)
    with pytest.raises(UserError, match="an endpoint can be probed and evaluated, not trained"):
        Train(trainer=CountingTrainer(gain=0.1), start=start, data=data, steps=1, seed=0)


def test_answers_of_another_endpoint_are_not_continued(endpoint: Endpoint) -> None:
    with pytest.raises(UserError, match="is not the model 'small'"):
        student(endpoint.url).load(Checkpoint(path="http://elsewhere/v1", digest="0" * 64))


# --- replay ---


def test_a_study_is_repeated_without_its_endpoint(tmp_path: Path) -> None:
    def probed(url: str, out: str, mode: str) -> bytes:
        data = Dataset(questions())
        one = student(url, cache=mode, cache_path=str(tmp_path / "replies.jsonl"))
        checkpoint = one.start(data, seed=0, out=tmp_path)
        asked = Probe(data=[data], student=one, checkpoint=checkpoint, decode=Decode(), batch_size=32)
        stage = run_stage(asked, Place(tmp_path / out))
        one.close()
        assert len(predictions_at(stage.folder / "predictions.jsonl")) == len(data)
        return (stage.folder / "predictions.jsonl").read_bytes()

    with serving() as endpoint:
        answer_right(endpoint, list(Dataset(questions())))
        first = probed(endpoint.url, "first", "use")
    assert probed(endpoint.url, "again", "read_only") == first
