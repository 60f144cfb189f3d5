"""The teacher and the judge that are models, over real HTTP: roles, checks, votes, and whole runs that are killed."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest
from clients import endpoint_at
from endpoint import Endpoint, serving
from running import ALONE, acme, ended, manifests, questions, rounds, sloop, start
from simulation import answer, briefs, simulate, unique, words

from sloop.judges.llm import LLMJudge, verdict_schema
from sloop.models.base import ModelError
from sloop.models.environment import VARIABLES
from sloop.records import (
    Dialogue,
    Judgement,
    Label,
    Message,
    Order,
    Prediction,
    Rejected,
    Sample,
    ToolCall,
    Truth,
    UserError,
    Verdict,
)
from sloop.store import Dataset, read_json, read_rows
from sloop.teachers.llm import LLMTeacher
from sloop.tools.sources import load_tools

TOOLS = load_tools("everyday", "train")
WEATHER = next(tool for tool in TOOLS if tool.name == "get_weather")
CALCULATE = next(tool for tool in TOOLS if tool.name == "calculate")
ORDER = Order(key="r0-1", kind="single", tools=(WEATHER, CALCULATE), wanted=(WEATHER,))
PARIS = Label(calls=(ToolCall(name="get_weather", arguments={"city": "Paris"}),))
ROME = Label(calls=(ToolCall(name="get_weather", arguments={"city": "Rome"}),))
QUESTION = Sample(tools=ORDER.tools, messages=(Message(role="user", content="what is the weather in Paris?"),))
JUDGED = "gen.judge=true"


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with serving() as server:
        simulate(server)
        yield server


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.setenv(name, "")


def teacher(url: str, **changes: Any) -> LLMTeacher:
    settings = {
        "request_temperature": 1.0,
        "answer_temperature": 0.0,
        "max_tokens": 256,
        "seed": 0,
        "styles": ["terse"],
        "prompts": None,
    }
    own = {name: changes.pop(name) for name in list(changes) if name in settings}
    return LLMTeacher(endpoint=endpoint_at(url, role="teacher", **changes), **{**settings, **own})


def judge(url: str, **changes: Any) -> LLMJudge:
    settings = {"votes": 1, "swap": True, "temperature": 0.0, "max_tokens": 256, "seed": 0, "prompts": None}
    own = {name: changes.pop(name) for name in list(changes) if name in settings}
    return LLMJudge(endpoint=endpoint_at(url, role="judge", **changes), **{**settings, **own})


def written(writer: LLMTeacher, order: Order, seed: int = 0) -> Dialogue | Rejected:
    try:
        return asyncio.run(writer.write(order, Random(seed)))
    finally:
        writer.close()


def judged(by: LLMJudge, answers: Sequence[Label | None]) -> list[Verdict]:
    try:
        return asyncio.run(by.judge(QUESTION, answers, Random(0)))
    finally:
        by.close()


def says(request: str, decision: Label) -> Callable[[dict[str, Any]], Label]:
    """A model that writes this request and decides so."""

    def say(body: dict[str, Any]) -> Label:
        return decision if "tools" in body else Label(content=json.dumps({"request": request}))

    return say


def gen(url: str, folder: Path, *more: str) -> int:
    return sloop("gen", *words(url, JUDGED, "num_samples=40", f"output_dir={folder}", ALONE, *more))


# --- the teacher ------------------------------------------------------------------------------------------------------


def test_a_dialogue_is_the_users_request_and_the_assistants_decision(endpoint: Endpoint) -> None:
    endpoint.answer = says("  what is the\nweather in Paris? ", PARIS)
    dialogue = written(teacher(endpoint.url), ORDER)
    assert isinstance(dialogue, Dialogue)
    assert [message.content for message in dialogue.messages] == ["what is the weather in Paris?", ""]
    assert dialogue.messages[1].tool_calls == PARIS.calls
    assert [body["temperature"] for body in endpoint.seen] == [1.0, 0.0]


def test_the_assistant_is_told_the_dialogue_and_the_tools_and_nothing_else(endpoint: Endpoint) -> None:
    endpoint.answer = says("what is the weather in Paris?", PARIS)
    written(teacher(endpoint.url), ORDER)
    (brief,) = briefs(endpoint, "assistant")
    dialogue = [{"role": "user", "content": "what is the weather in Paris?"}]
    assert brief == {"role": "assistant", "messages": dialogue}
    assert endpoint.seen[1]["tools"] == [tool.to_openai() for tool in ORDER.tools]


def test_the_user_is_told_what_is_wanted_and_what_else_is_on_offer(endpoint: Endpoint) -> None:
    written(teacher(endpoint.url), ORDER)
    (brief,) = briefs(endpoint, "user")
    assert [tool["name"] for tool in brief["wanted"]] == ["get_weather"]
    assert [tool["name"] for tool in brief["others"]] == ["calculate"]
    assert (brief["kind"], brief["style"], brief["seed"], brief["mistake"]) == ("single", "terse", None, None)


@pytest.mark.parametrize(
    ("kind", "label", "asked"),
    [
        ("single_step", PARIS, "single"),
        ("recovery", Label(calls=PARIS.calls + ROME.calls), "parallel"),
        ("missing_value", Label(content="Which city?"), "incomplete"),
        ("missing_tool", Label(content="None of my tools can do that."), "irrelevant"),
        ("multi_turn", Label(content="You are welcome."), "chat"),
        ("missing_value", PARIS, "single"),
        ("multi_step", None, "single"),
    ],
)
def test_a_decision_of_a_task_is_asked_for_as_what_it_does(
    endpoint: Endpoint, kind: Any, label: Label | None, asked: str
) -> None:
    seed = label and QUESTION.model_copy(update={"label": label, "kind": kind})
    written(teacher(endpoint.url), ORDER.model_copy(update={"kind": kind, "seed": seed, "axis": seed and "values"}))
    assert [brief["kind"] for brief in briefs(endpoint, "user")] == [asked]


def test_two_orders_ask_for_different_requests(endpoint: Endpoint) -> None:
    found = [written(teacher(endpoint.url), ORDER, seed) for seed in (1, 2)]
    assert len({dialogue.messages[0].content for dialogue in found if isinstance(dialogue, Dialogue)}) == 2


@pytest.mark.parametrize(
    ("request_text", "decision", "reason"),
    [
        (" ", PARIS, "no_request"),
        ("call get_weather for Paris", PARIS, "names_tool"),
        ("Paris?", Label(calls=(ToolCall(name="get_weather", arguments={}),)), "invalid_call"),
        ("Paris?", Label(calls=(ToolCall(name="fly", arguments={}),)), "not_offered"),
        ("Paris?", Label(content='<tool_call>{"name": "get_'), "invalid_call"),
        ("Paris?", Label(content="I cannot."), "other_kind"),
        ("Paris?", Label(calls=PARIS.calls + ROME.calls), "other_kind"),
    ],
)
def test_what_cannot_be_a_record_is_rejected_with_its_reason(
    endpoint: Endpoint, request_text: str, decision: Label, reason: str
) -> None:
    endpoint.answer = says(request_text, decision)
    refused = written(teacher(endpoint.url), ORDER)
    assert isinstance(refused, Rejected)
    assert (refused.key, refused.reason) == (ORDER.key, reason)


def test_a_request_may_say_the_plain_word_that_a_tool_is_named_by(endpoint: Endpoint) -> None:
    tool = WEATHER.model_copy(update={"name": "weather"})
    call = ToolCall(name="weather", arguments={"city": "Paris"})
    endpoint.answer = says("what is the weather in Paris?", Label(calls=(call,)))
    order = ORDER.model_copy(update={"tools": (tool, CALCULATE), "wanted": (tool,)})
    assert isinstance(written(teacher(endpoint.url), order), Dialogue)


def test_a_reply_that_was_cut_off_is_no_label(endpoint: Endpoint) -> None:
    endpoint.answer, endpoint.finish = says("weather in Paris", PARIS), "length"
    refused = written(teacher(endpoint.url), ORDER)
    assert isinstance(refused, Rejected)
    assert refused.reason == "unfinished"


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        *(("model_length", "unfinished"), ("MAX_TOKENS", "unfinished"), ("content_filter", "unfinished")),
        *(("SAFETY", "unfinished"), ("MALFORMED_FUNCTION_CALL", "invalid_call")),
    ],
)
def test_a_label_has_an_ending_that_is_known_to_be_good(endpoint: Endpoint, word: str, reason: str) -> None:
    _ends(endpoint, word, "None of m")
    refused = written(teacher(endpoint.url), ORDER.model_copy(update={"kind": "irrelevant"}))
    assert isinstance(refused, Rejected)
    assert refused.reason == reason


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("error", "I can"),
        ("abort", "I can"),
        ("insufficient_system_resource", "I can"),
        ("stop", ""),
        ("tool_calls", "x"),
    ],
)
def test_a_reply_that_failed_is_a_failure_and_no_label(endpoint: Endpoint, word: str, said: str) -> None:
    _ends(endpoint, word, said)
    with pytest.raises(ModelError, match="no_answer: "):
        written(teacher(endpoint.url, retries=0), ORDER.model_copy(update={"kind": "irrelevant"}))


def _ends(endpoint: Endpoint, word: str, said: str) -> None:
    """The assistant's replies end so from now on; the user's do not."""

    def answer(body: dict[str, Any]) -> Label:
        endpoint.finish = word if "tools" in body else None
        return says("weather in Paris", Label(content=said))(body)

    endpoint.answer = answer


@pytest.mark.parametrize("axis", ["tools", "contrast"])
def test_other_tools_are_offered_for_the_seeds_own_request(endpoint: Endpoint, axis: Any) -> None:
    tools = (CALCULATE,) if axis == "contrast" else (CALCULATE, WEATHER)
    kind: Any = "irrelevant" if axis == "contrast" else "single"
    order = Order(key="e", kind=kind, tools=tools, axis=axis, seed=QUESTION, wanted=(WEATHER,))
    dialogue = written(teacher(endpoint.url), order)
    assert isinstance(dialogue, Dialogue)
    assert dialogue.messages[:1] == QUESTION.messages
    assert dialogue.messages[1].tool_calls == (PARIS.calls if axis == "tools" else ())
    assert len(endpoint.seen) == 1


@pytest.mark.parametrize("axis", ["values", "phrasing"])
def test_a_new_request_is_written_after_a_seed_and_a_mistake(endpoint: Endpoint, axis: Any) -> None:
    mistake = Prediction(sample_id=QUESTION.id, calls=ROME.calls)
    order = ORDER.model_copy(update={"axis": axis, "seed": QUESTION, "mistake": mistake})
    dialogue = written(teacher(endpoint.url), order)
    assert isinstance(dialogue, Dialogue)
    assert dialogue.messages[0] != QUESTION.messages[0]
    (brief,) = briefs(endpoint, "user")
    assert (brief["seed"], brief["axis"]) == (QUESTION.request, axis)
    assert brief["mistake"]["calls"] == [{"name": "get_weather", "arguments": {"city": "Rome"}}]


def test_no_brief_tells_the_label_of_a_seed(endpoint: Endpoint) -> None:
    seed = QUESTION.model_copy(update={"label": ROME})
    written(teacher(endpoint.url), ORDER.model_copy(update={"axis": "phrasing", "seed": seed}))
    assert "Rome" not in json.dumps(endpoint.seen)


def test_a_request_that_is_turned_down_is_a_model_error(endpoint: Endpoint) -> None:
    endpoint.fault = lambda body, times: "400"
    with pytest.raises(ModelError, match="not welcome"):
        written(teacher(endpoint.url), ORDER)


# --- the judge --------------------------------------------------------------------------------------------------------


def verdicts_by(rule: Callable[[str, dict[str, Any]], bool | None]) -> Callable[[dict[str, Any]], Label]:
    """A judge that decides by the name of an answer and the answer."""

    def say(body: dict[str, Any]) -> Label:
        brief = json.loads(body["messages"][-1]["content"].split("```json\n")[-1].removesuffix("\n```"))
        scores = {"tool_relevance": 0.4, "argument_quality": 0.3, "clarity": 0.1} if brief["rubric"] else {}
        told = {
            name: {"reason": f"{name} it is", "correct": rule(name, shown), **scores}
            for name, shown in brief["answers"].items()
        }
        return Label(content=json.dumps(told))

    return say


def city(shown: dict[str, Any]) -> str:
    return str(shown["calls"][0]["arguments"]["city"])


def test_one_answer_gets_a_verdict_and_a_rubric_whose_sum_is_computed(endpoint: Endpoint) -> None:
    endpoint.answer = verdicts_by(lambda name, shown: True)
    (verdict,) = judged(judge(endpoint.url), [PARIS])
    assert verdict.correct is True
    assert verdict.rubric is not None
    assert verdict.rubric.score == pytest.approx(0.8)
    assert "score" not in verdict_schema(["answer_1"], rubric=True)["properties"]["answer_1"]["properties"]


def test_of_two_answers_each_gets_its_own_verdict_in_either_order(endpoint: Endpoint) -> None:
    endpoint.answer = verdicts_by(lambda name, shown: city(shown) == "Paris")
    for answers in ([PARIS, ROME], [ROME, PARIS]):
        found = judged(judge(endpoint.url), answers)
        assert [verdict.correct for verdict in found] == [answer == PARIS for answer in answers]
        assert all(verdict.rubric is None for verdict in found)


def test_a_judge_with_a_taste_for_the_first_answer_abstains(endpoint: Endpoint) -> None:
    endpoint.answer = verdicts_by(lambda name, shown: name == "answer_1")
    assert [verdict.correct for verdict in judged(judge(endpoint.url), [PARIS, ROME])] == [None, None]
    assert [verdict.correct for verdict in judged(judge(endpoint.url, swap=False), [PARIS, ROME])] == [True, False]


def test_votes_that_differ_abstain_and_end_the_asking(endpoint: Endpoint) -> None:
    votes = iter([True, False, True, True, True])
    endpoint.answer = verdicts_by(lambda name, shown: next(votes))
    (verdict,) = judged(judge(endpoint.url, votes=5, temperature=0.7), [PARIS])
    assert verdict.correct is None
    assert [body["seed"] for body in endpoint.seen] == [0, 1]


def test_repeated_votes_are_not_answered_from_the_first_ones_reply(endpoint: Endpoint, tmp_path: Path) -> None:
    endpoint.answer = verdicts_by(lambda name, shown: True)
    kept = {"cache": "use", "cache_path": str(tmp_path / "replies.jsonl")}
    judged(judge(endpoint.url, votes=3, seed=None, **kept), [PARIS])
    assert (len(endpoint.seen), unique(endpoint)) == (3, 1)
    judged(judge(endpoint.url, votes=3, seed=None, **kept), [PARIS])
    assert len(endpoint.seen) == 3


def test_an_answer_that_could_not_be_parsed_is_wrong_and_nobody_is_asked(endpoint: Endpoint) -> None:
    (verdict,) = judged(judge(endpoint.url), [None])
    assert verdict.correct is False
    assert verdict.rubric is not None
    assert verdict.rubric.score == 0
    assert endpoint.seen == []


def test_beside_an_unparsed_answer_the_other_is_judged(endpoint: Endpoint) -> None:
    endpoint.answer = verdicts_by(lambda name, shown: True)
    assert [verdict.correct for verdict in judged(judge(endpoint.url), [None, PARIS])] == [False, True]


def test_the_judge_is_told_neither_kind_nor_origin_nor_label(endpoint: Endpoint) -> None:
    judged(judge(endpoint.url, swap=False), [PARIS, ROME])
    (brief,) = briefs(endpoint, "judge")
    assert set(brief) == {"role", "rubric", "tools", "messages", "answers"}
    assert set(brief["answers"]) == {"answer_1", "answer_2"}


def test_scores_beyond_the_rubric_are_asked_for_again(endpoint: Endpoint) -> None:
    given = iter([7.0, 0.4])

    def say(body: dict[str, Any]) -> Label:
        scores = {"tool_relevance": next(given), "argument_quality": 0.4, "clarity": 0.2}
        return Label(content=json.dumps({"answer_1": {"reason": "", "correct": True, **scores}}))

    endpoint.answer = say
    (verdict,) = judged(judge(endpoint.url), [PARIS])
    assert verdict.rubric is not None
    assert verdict.rubric.score == pytest.approx(1.0)


def test_a_folder_of_prompts_that_is_not_there_is_named() -> None:
    with pytest.raises(UserError, match="prompts=no"):
        judge("http://127.0.0.1:1/v1", prompts="no")


# --- whole runs -------------------------------------------------------------------------------------------------------


def test_a_record_is_three_calls_and_every_one_is_judged(endpoint: Endpoint, tmp_path: Path) -> None:
    assert gen(endpoint.url, tmp_path / "data") == 0
    summary = read_json(tmp_path / "data" / "stage.json")["summary"]
    assert (summary["samples"], summary["shortfall"]) == (40, 0)
    asked = {role: len(briefs(endpoint, role)) for role in ("user", "assistant", "judge")}
    judgements = list(read_rows(tmp_path / "data" / "judgements.jsonl", Judgement))
    assert sum(asked.values()) == len(endpoint.seen)
    assert asked["judge"] == len(judgements) >= 40
    right = {judgement.sample_id for judgement in judgements if judgement.verdict.correct}
    samples = [sample for name in ("train", "dev") for sample in Dataset(tmp_path / "data" / f"{name}.jsonl")]
    assert {sample.id for sample in samples} <= right
    assert all(body["messages"][0]["content"].endswith("\n```") for body in endpoint.seen)
    assert not any(thread.name == "sloop-endpoint" for thread in threading.enumerate())


def test_the_bytes_are_the_same_for_any_number_in_flight(endpoint: Endpoint, tmp_path: Path) -> None:
    wide, narrow = tmp_path / "wide", tmp_path / "narrow"
    endpoint.latency = 0.05
    assert gen(endpoint.url, wide) == 0
    assert endpoint.most_in_flight > 8
    one = ("teacher.endpoint.limits.concurrency=1", "judge.endpoint.limits.concurrency=1", "executor.workers=1")
    endpoint.latency = 0.0
    assert gen(endpoint.url, narrow, *one) == 0
    assert manifests(wide) == manifests(narrow)


def test_an_endpoint_that_is_down_stops_the_stage_and_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert gen("http://127.0.0.1:9/v1", tmp_path / "data") == 2
    assert "teacher.endpoint.base_url=http://127.0.0.1:9/v1: nobody listens there" in capsys.readouterr().err
    assert not (tmp_path / "data").exists()


def test_a_unit_that_the_endpoint_fails_is_counted_and_another_takes_its_place(
    endpoint: Endpoint, tmp_path: Path
) -> None:
    quick = [f"{role}.endpoint.limits.retries=0" for role in ("teacher", "judge")]
    faults = iter(["500"])
    endpoint.fault = lambda body, times: next(faults, None) if len(endpoint.seen) > 50 else None
    assert gen(endpoint.url, tmp_path / "data", *quick) == 0
    assert len(Dataset(tmp_path / "data" / "train.jsonl")) + len(Dataset(tmp_path / "data" / "dev.jsonl")) == 40
    reasons = Counter(row.reason for row in read_rows(tmp_path / "data" / "rejected.jsonl", Rejected))
    assert reasons["failed:ModelError"] == 1


def test_a_killed_run_repeats_what_was_in_flight_and_ends_in_the_same_bytes(endpoint: Endpoint, tmp_path: Path) -> None:
    narrow = [f"{role}.endpoint.limits.concurrency=8" for role in ("teacher", "judge")]
    common = (JUDGED, "num_samples=60", ALONE, "cache=use", *narrow)
    endpoint.latency = 0.02
    whole = words(endpoint.url, *common, f"output_dir={tmp_path / 'whole'}", f"paths.cache={tmp_path / 'whole.jsonl'}")
    assert sloop("gen", *whole) == 0
    needed = len(endpoint.seen)
    endpoint.seen.clear()
    torn = words(endpoint.url, *common, f"output_dir={tmp_path / 'torn'}", f"paths.cache={tmp_path / 'torn.jsonl'}")
    process = start("gen", *torn, cwd=tmp_path)
    while len(endpoint.seen) < needed // 2:
        assert process.poll() is None
        time.sleep(0.005)
    process.kill()
    process.wait()
    assert len(endpoint.seen) < needed
    assert not orphans(str(tmp_path / "torn"))
    code, _, err = ended(start("gen", *torn, cwd=tmp_path))
    assert code == 0, err
    assert unique(endpoint) == needed
    assert len(endpoint.seen) - needed <= 16  # both endpoints may have had eight on their way
    assert data_of(tmp_path / "torn") == data_of(tmp_path / "whole")


def orphans(folder: str) -> list[str]:
    """Processes that still work on a folder."""
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            lines.append(path.read_bytes().decode(errors="replace"))
        except OSError:
            continue
    return [line for line in lines if folder in line]


def data_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.jsonl")} | {
        "stage.json": (folder / "stage.json").read_bytes()
    }


def test_a_loop_runs_with_both_roles_and_a_second_one_asks_nothing(endpoint: Endpoint, tmp_path: Path) -> None:
    small = ("loop.rounds=2", "loop.budget=30", f"benchmark.path={questions()}", ALONE, "cache=use")
    kept = f"paths.cache={tmp_path / 'replies.jsonl'}"
    assert sloop("loop", *acme(), *words(endpoint.url, *small, kept, f"output_dir={tmp_path / 'a' / 'run'}")) == 0
    contents = rounds(tmp_path / "a" / "run")
    assert [content["round"] for content in contents] == [1, 2]
    assert briefs(endpoint, "judge")
    axes = {brief["axis"] for brief in briefs(endpoint, "user")}
    assert {"values", "phrasing"} <= axes
    assert not any(thread.name == "sloop-endpoint" for thread in threading.enumerate())
    asked = len(endpoint.seen)
    assert sloop("loop", *acme(), *words(endpoint.url, *small, kept, f"output_dir={tmp_path / 'b' / 'run'}")) == 0
    assert len(endpoint.seen) == asked
    assert manifests(tmp_path / "a" / "run") == manifests(tmp_path / "b" / "run")


@pytest.mark.slow
def test_a_killed_loop_repeats_what_was_in_flight_and_ends_in_the_same_bytes(
    endpoint: Endpoint, tmp_path: Path
) -> None:
    narrow = [f"{role}.endpoint.limits.concurrency=8" for role in ("teacher", "judge")]
    small = ("loop.rounds=2", "loop.budget=30", f"benchmark.path={questions()}", ALONE, "cache=use", *narrow)
    endpoint.latency = 0.02

    def command(name: str) -> tuple[str, ...]:
        kept = (f"paths.cache={tmp_path / name / 'replies.jsonl'}", f"output_dir={tmp_path / name / 'run'}")
        return (*acme(), *words(endpoint.url, *small, *kept))

    assert sloop("loop", *command("whole")) == 0
    needed = len(endpoint.seen)
    endpoint.seen.clear()
    moments = (needed // 4, needed * 3 // 4)
    for moment in moments:
        process = start("loop", *command("torn"), cwd=tmp_path)
        while len(endpoint.seen) < moment:
            assert process.poll() is None
            time.sleep(0.005)
        process.kill()
        process.wait()
        assert not orphans(str(tmp_path / "torn"))
    assert unique(endpoint) < needed
    code, _, err = ended(start("loop", *command("torn"), cwd=tmp_path))
    assert code == 0, err
    assert unique(endpoint) == needed
    assert len(endpoint.seen) - needed <= 16 * len(moments)
    assert manifests(tmp_path / "torn" / "run") == manifests(tmp_path / "whole" / "run")
    ours, theirs = ([row["metrics"] for row in rounds(tmp_path / name / "run")] for name in ("torn", "whole"))
    assert ours == theirs


def test_the_noise_wrapper_spoils_the_labels_of_any_teacher(endpoint: Endpoint, tmp_path: Path) -> None:
    at = [f"teacher.teacher.endpoint.{key}" for key in (f"base_url={endpoint.url}", "model=small")]
    noisy = ("teacher=noisy", "teacher@teacher.teacher=llm", *at, "label_noise=0.5", "num_samples=40")
    endpoint.latency = 0.05
    assert sloop("gen", *noisy, f"output_dir={tmp_path}", ALONE) == 0
    truths = list(read_rows(tmp_path / "truth.jsonl", Truth))
    assert len(truths) == 40
    assert 8 < sum(truth.noise is not None for truth in truths) < 32
    assert endpoint.most_in_flight > 8
    assert not any(thread.name == "sloop-endpoint" for thread in threading.enumerate())


def test_a_prompt_of_ones_own_is_used_and_belongs_to_the_key(
    endpoint: Endpoint, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine").mkdir()
    mine = tmp_path / "mine" / "user.jinja"
    mine.write_text("Ask for {{ wanted[0].name if wanted else 'nothing' }}, mate.")
    own = f"teacher.prompts={tmp_path / 'mine'}"
    assert gen(endpoint.url, tmp_path / "data", own) == 0
    first = endpoint.seen[0]["messages"][0]["content"]
    assert first.startswith("Ask for ")
    assert first.endswith("\n```")
    mine.write_text("Ask for something else, mate.")
    (tmp_path / "data" / "stage.json").touch()
    assert gen(endpoint.url, tmp_path / "data", own) == 2
    assert "differing: teacher" in capsys.readouterr().err


def test_a_preview_asks_the_judge_too(endpoint: Endpoint, capsys: pytest.CaptureFixture[str]) -> None:
    assert sloop("gen", *words(endpoint.url, JUDGED, "preview=2")) == 0
    assert "2. " in capsys.readouterr().out
    assert briefs(endpoint, "judge")


def test_an_evaluation_is_scored_by_the_judge_with_many_on_their_way(endpoint: Endpoint, tmp_path: Path) -> None:
    asked = ("benchmark=jsonl", f"benchmark.path={questions()}", f"output_dir={tmp_path}", ALONE)
    one = ("student=endpoint", f"student.endpoint.base_url={endpoint.url}", "student.endpoint.model=small")
    endpoint.latency = 0.05
    assert sloop("eval", *one, *words(endpoint.url, *asked, roles=("judge",))) == 0
    assert len(briefs(endpoint, "judge")) == len(Dataset(questions()))
    assert endpoint.most_in_flight > 8


def test_the_simulated_model_is_what_answers_here() -> None:
    body = {"messages": [{"role": "user", "content": '```json\n{"role": "nobody"}\n```'}]}
    assert answer(body).content == "I do not know what to say."
