"""verifiers' environments as benchmarks: what is read, kept, graded and refused, with a worker that stands in; and with
the real package, where SLOOP_VERIFIERS_PYTHON names a Python that has it.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from endpoint import serving
from running import ALONE, CONF, sloop
from verifiers_stand_in import REFUSALS, stand_in

from sloop.benchmarks.base import Benchmark
from sloop.benchmarks.verifiers import VerifiersBenchmark
from sloop.engine.identity import known_as
from sloop.engine.stage import Place, run_stage
from sloop.environments import verifiers as foreign
from sloop.records import Checkpoint, Decode, Grade, Label, Prediction, Sample, Score, ToolCall, UserError
from sloop.rollout import Spoken, replay, rollout
from sloop.stages.evaluate import Evaluate, grades_of
from sloop.store import Dataset, predictions_at, read_rows

PYTHON = os.environ.get("SLOOP_VERIFIERS_PYTHON")
PUBLIC = os.environ.get("SLOOP_VERIFIERS_ENVIRONMENTS")
OURS = Path(__file__).with_name("verifiers_environments")
real = pytest.mark.skipif(
    PYTHON is None,
    reason="plays with verifiers: SLOOP_VERIFIERS_PYTHON names a Python that has it (docs/environments.md)",
)
Say = Callable[[Sample], Prediction]
MADE: list[VerifiersBenchmark] = []


@pytest.fixture(autouse=True)
def _ended() -> Iterator[None]:
    """Ends the processes of a test."""
    yield
    while MADE:
        MADE.pop().close()


def bench(folder: Path, environment: str = "toy", **changes: Any) -> VerifiersBenchmark:
    plain: dict[str, Any] = {
        "name": "foreign", "environment": environment, "python": stand_in(folder), "path": None, "arguments": {},
        "num_tasks": None, "slice_by": None, "right_from": 1.0, "seconds": 60.0, "cache_path": str(folder / "cache"),
    }  # fmt: skip
    MADE.append(VerifiersBenchmark(**{**plain, **changes}))
    return MADE[-1]


def seen(folder: Path, do: str) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in (folder / "seen.jsonl").read_text().splitlines()]
    return [row for row in rows if row["do"] == do]


def right(sample: Sample) -> Prediction:
    """What the toy wants: a call, then its result."""
    if (last := sample.messages[-1]).role == "tool":
        return Prediction(sample_id=sample.id, content=f"It is {last.content}.", text="said")
    number = int(re.findall(r"\d+", last.content)[0])
    call = ToolCall(name="double", arguments={"n": number})
    return Prediction(sample_id=sample.id, calls=(call,), text="called", num_tokens=3)


def wrong(sample: Sample) -> Prediction:
    return Prediction(sample_id=sample.id, content="I do not know.", text="said")


def mixed(sample: Sample) -> Prediction:
    """Right in every other task."""
    assert sample.env is not None
    return (wrong if sample.env.state["task"] % 2 else right)(sample)


def played(benchmark: VerifiersBenchmark, say: Say) -> tuple[list[Prediction], list[Grade]]:
    async def answer(samples: Sequence[Sample]) -> list[Prediction]:
        return [say(sample) for sample in samples]

    episodes = list(benchmark.episodes())
    answers = asyncio.run(rollout(episodes, answer))
    return answers, [grade for episode in episodes for grade in episode.grade()]


def sums(benchmark: VerifiersBenchmark, grades: list[Grade]) -> dict[tuple[str, str], tuple[float | None, int]]:
    return {(score.name, score.slice): (score.value, score.n) for score in benchmark.score(grades)}


class Answering:
    """A student that says what it is told to (`sloop.students.base.Student`)."""

    def __init__(self, say: Say) -> None:
        self.name = "told"
        self.say = say

    def start(self, data: Dataset, *, seed: int, out: Path) -> Checkpoint:
        return Checkpoint(path="none", digest="none")

    def load(self, checkpoint: Checkpoint) -> None: ...

    def close(self) -> None: ...

    def predict(self, samples: Sequence[Sample], decode: Decode) -> list[Prediction]:
        return [self.say(sample) for sample in samples]


# --- questions ----------------------------------------------------------------------------------------------------


def test_its_questions_are_the_environments_and_have_no_label(tmp_path: Path) -> None:
    benchmark = bench(tmp_path)
    assert isinstance(benchmark, Benchmark)
    assert isinstance(next(benchmark.episodes()), Spoken)
    first = next(iter(benchmark.data))
    assert [(m.role, m.content) for m in first.messages] == [
        ("system", "You count."), ("user", "Double 3 by the tool, and say it."),
    ]  # fmt: skip
    assert [tool.name for tool in first.tools] == ["double"]
    assert first.label is None
    assert first.env is not None
    assert first.env.state == {"environment": "toy", "task": 0}
    assert [sample.group for sample in benchmark.data] == ["k0", "k1", "k2", "k3"]
    assert len(bench(tmp_path, num_tasks=2).data) == 2


def test_what_the_environment_is_makes_the_question_another_and_where_it_lies_does_not(tmp_path: Path) -> None:
    plain = bench(tmp_path)
    for change in ({"arguments": {"version": 2}}, {"environment": "other"}):
        assert bench(tmp_path, **change).data.sha256 != plain.data.sha256
    for place in ("a", "b"):
        (tmp_path / place).mkdir()
    moved = bench(tmp_path, python=stand_in(tmp_path / "a"), path=str(tmp_path / "b"), seconds=50.0)
    assert moved.data.sha256 == plain.data.sha256
    assert known_as(moved) == known_as(plain)
    assert known_as(bench(tmp_path, right_from=0.5)) != known_as(plain)


def test_a_task_is_started_for_its_question_once(tmp_path: Path) -> None:
    assert len(bench(tmp_path).data) == len(seen(tmp_path, "open")) == len(seen(tmp_path, "close"))
    assert len(bench(tmp_path).data) == len(seen(tmp_path, "open"))


# --- episodes -----------------------------------------------------------------------------------------------------


def test_the_environment_says_what_comes_next_and_what_it_is_worth(tmp_path: Path) -> None:
    benchmark = bench(tmp_path, slice_by="kind")
    answers, grades = played(benchmark, mixed)
    assert [grade.measured["reward"] for grade in grades] == [1.0, 0.25, 1.0, 0.25]
    assert [grade.correct for grade in grades] == [True, False, True, False]
    assert grades[1].reason == "reward: 0.25 is below 1"
    assert len(answers) == 6
    came = answers[0].consequence
    assert came is not None
    assert (came.keeps, [m.role for m in came.messages], came.tools, came.ended) == (
        2,
        ["assistant", "tool"],
        None,
        None,
    )
    assert came.messages[1].tool_call_id == "call_0"
    late = next(one.consequence for one in answers[2:] if one.consequence and one.consequence.tools is not None)
    assert late.tools == ()  # the toy takes its tool away
    found = sums(benchmark, grades)
    assert found["reward", ""] == (0.625, 4)
    assert found["reward", "even"] == (1.0, 2)
    assert found["reward", "odd"] == (0.25, 2)
    assert found["measured/turns", ""] == (2.0, 4)
    assert found["call_accuracy", ""] == (0.5, 4)
    assert {name for name, _ in found} == {
        "reward", "reward/said", "measured/turns", "call_accuracy", "format_correctness", "format_recovered",
        "model_errors",
    }  # fmt: skip
    assert all(grade.correct for grade in played(bench(tmp_path, right_from=0.25), mixed)[1])


def test_trials_of_a_task_are_alike_and_say_no_more_of_the_mean_than_one(tmp_path: Path) -> None:
    benchmark = bench(tmp_path)
    _, grades = played(benchmark, mixed)
    again = [grade.model_copy(update={"trial": trial}) for grade in grades for trial in range(4)]
    alone, found = ({score.name: score for score in benchmark.score(rows)}["reward"] for rows in (grades, again))
    assert found == alone


def test_an_answer_goes_to_it_as_an_endpoint_would_give_it(tmp_path: Path) -> None:
    def unread(sample: Sample) -> Prediction:
        assert sample.env is not None
        error: Any = ("format", "truncated")[sample.env.state["task"] % 2]
        return Prediction(sample_id=sample.id, text="<tool_call>{", error=error)

    _, grades = played(bench(tmp_path, num_tasks=2), unread)
    sent = {row["answer"]["truncated"]: row["answer"] for row in seen(tmp_path, "tell")}
    assert [(sent[cut]["content"], sent[cut]["calls"]) for cut in (False, True)] == [("<tool_call>{", [])] * 2
    assert [(grade.error, grade.parsed, grade.correct) for grade in grades] == [
        ("format", False, False), ("truncated", False, False),
    ]  # fmt: skip


def test_a_call_against_its_schema_is_run_by_the_environment_and_counted(tmp_path: Path) -> None:
    def careless(sample: Sample) -> Prediction:
        given = right(sample)
        return given.model_copy(update={"calls": tuple(ToolCall(name="double", arguments={}) for _ in given.calls)})

    _, grades = played(bench(tmp_path), careless)
    assert [grade.schema_valid for grade in grades] == [False] * 4
    assert [grade.measured["reward"] for grade in grades] == [0.25] * 4


def test_an_answer_that_could_not_be_had_is_not_scored(tmp_path: Path) -> None:
    benchmark = bench(tmp_path)
    _, grades = played(benchmark, lambda sample: Prediction(sample_id=sample.id, error="model"))
    assert [(grade.correct, grade.error, grade.measured) for grade in grades] == [(None, "model", {})] * 4
    assert sums(benchmark, grades)["model_errors", ""] == (1.0, 4)


def test_an_episode_is_graded_again_without_the_environment(tmp_path: Path) -> None:
    answers, grades = played(bench(tmp_path), mixed)
    known = {answer.sample_id: Prediction.model_validate_json(answer.model_dump_json()) for answer in answers}
    before = len(seen(tmp_path, "tell"))
    again = bench(tmp_path)
    for episode, grade in zip(again.episodes(), grades, strict=True):
        replay(episode, lambda sample: known[sample.id])
        assert episode.grade() == (grade,)
    assert len(seen(tmp_path, "tell")) == before


def test_an_evaluation_keeps_what_the_environment_did_and_plays_the_constant_answer_too(tmp_path: Path) -> None:
    benchmark = bench(tmp_path)
    who = Answering(mixed)
    stage = Evaluate(
        benchmark=benchmark, data=benchmark.data, student=who, decode=Decode(), batch_size=2,
        checkpoint=who.start(benchmark.data, seed=0, out=tmp_path),
    )  # fmt: skip
    made = run_stage(stage, Place(tmp_path / "eval"))
    assert made.summary.failed == {"answers": 0, "verdicts": 0}
    assert "toy 1" in made.summary.notes[0]
    assert [grade.measured["reward"] for grade in grades_of(tmp_path / "eval")] == [1.0, 0.25, 1.0, 0.25]
    assert all(answer.consequence for answer in predictions_at(tmp_path / "eval" / "predictions.jsonl"))
    scored = {score.name: score.value for score in read_rows(tmp_path / "eval" / "scores.jsonl", Score)}
    assert scored["reward"] == 0.625
    assert scored["baseline/always_refuse/reward"] == 0.25
    assert len(seen(tmp_path, "tell")) == 6 + 4


def test_a_loop_asks_it_in_every_round(tmp_path: Path) -> None:
    words = ["--config-dir", str(CONF), "experiment=acme", "benchmark=verifiers", "benchmark.environment=toy"]
    words += [f"benchmark.python={stand_in(tmp_path)}", "benchmark.name=toy", "loop.rounds=2", "loop.budget=10"]
    assert sloop("loop", *words, f"output_dir={tmp_path / 'loop'}", f"paths.outputs={tmp_path}", ALONE) == 0
    for number in (1, 2):
        (path,) = (tmp_path / "loop" / f"round_{number}" / "evaluate").rglob("scores.jsonl")
        scored = {score.name for score in read_rows(path, Score)}
        assert {"reward", "call_accuracy", "baseline/always_refuse/reward"} <= scored


# --- what is refused ----------------------------------------------------------------------------------------------

SAID = {
    "verifiers": ["it has no verifiers 0.4", "pip install", "benchmark.python="],
    "environment": ["it is not installed for that Python", "benchmark.path=FOLDER"],
    "seats": ["played by white, black", "one student plays"],
    "judge": ["it judges", "is not scored 0"],
    "unsafe": ["bash runs what the student writes on this machine", "benchmark.arguments="],
    "endless": ["benchmark.num_tasks=N"],
    "slice": ["benchmark.slice_by=None", "It has level"],
    "slow": ["benchmark.seconds=60"],
    "broken": ["KeyError: 'x'"],
}


@pytest.mark.parametrize("kind", REFUSALS)
def test_what_cannot_be_played_is_refused_in_words(kind: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as told:
        _ = bench(tmp_path, kind).data
    assert str(told.value).startswith("benchmark.")
    assert all(words in str(told.value) for words in SAID[kind]), told.value


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"python": "no_such_python"}, "benchmark.python=no_such_python: there is no such program"),
        ({"path": "no_such_folder"}, "benchmark.path=no_such_folder: no such folder"),
        ({"environment": " "}, "name a taskset's module"),
    ],
)
def test_what_is_not_there_is_told(changes: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=words):
        _ = bench(tmp_path, **changes).data


def test_a_python_without_verifiers_is_told_by_the_worker_itself(tmp_path: Path) -> None:
    if importlib.util.find_spec("verifiers") is not None:
        pytest.skip("is about a Python without verifiers, and the one that runs the tests has it")
    with pytest.raises(UserError, match=r"it has no verifiers 0\.4"):
        _ = bench(tmp_path, python=None).data


def test_an_episode_without_a_reward_ends_the_evaluation_and_is_not_scored_0(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"task 0 could not be played to a reward: TaskError: Connection error\..*judge"
    ):
        played(bench(tmp_path, "fails", num_tasks=1), right)


def test_a_process_that_dies_is_told_with_its_last_words(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"its process ended: status 3, it hurts"):
        played(bench(tmp_path, "dies", num_tasks=1), right)


def test_a_process_that_hangs_is_ended_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(foreign, "_GRACE", 0.5)
    monkeypatch.setattr(foreign, "_ENDING", 0.5)
    benchmark = bench(tmp_path, "hangs", num_tasks=1)
    assert len(benchmark.data) == 1
    benchmark.foreign._seconds = 0.5
    line = benchmark.foreign.line
    with pytest.raises(UserError, match=r"it hangs after benchmark.seconds=0.5"):
        played(benchmark, right)
    assert line._process.poll() is not None
    assert not _running(str(tmp_path))


def _running(words: str) -> list[str]:
    """Processes in whose command line some words stand, a moment later."""
    for _ in range(50):
        found = [
            path.read_bytes().decode(errors="replace")
            for path in Path("/proc").glob("[0-9]*/cmdline")
            if path.parent.name != str(os.getpid())
        ]
        if not (left := [text for text in found if words in text]):
            return []
        time.sleep(0.1)
    return left


def test_what_was_begun_ends_with_the_benchmark(tmp_path: Path) -> None:
    benchmark = bench(tmp_path)
    assert len(benchmark.data) == 4
    benchmark.close()
    assert not _running(str(tmp_path))


def test_an_environment_that_asks_otherwise_each_time_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="task 0 asks something else each time"):
        played(bench(tmp_path, "draws", num_tasks=1), right)


def test_an_image_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="something of type 'image_url'"):
        _ = bench(tmp_path, "shows").data


# --- with the real package ----------------------------------------------------------------------------------------


def genuine(folder: Path, environment: str, path: Path = OURS, **changes: Any) -> VerifiersBenchmark:
    return bench(folder, environment, python=PYTHON, path=str(path), seconds=300.0, **changes)


def shopper(sample: Sample) -> Prediction:
    """Asks the price, sells, and says the price."""
    words = next(m.content for m in sample.messages if m.role == "user")
    number, item = int(re.findall(r"\d+", words)[0]), re.findall(r"of (\w+) cost", words)[0]
    if sample.messages[-1].role != "tool":
        price = ToolCall(name="shop_price", arguments={"item": item, "number": number})
        calls = (price, ToolCall(name="shop_sell", arguments={"item": item}))
        return Prediction(sample_id=sample.id, calls=calls, text="called")
    return Prediction(sample_id=sample.id, content=f"{sample.messages[-2].content}.", text="said")


def teller(sample: Sample) -> Prediction:
    """Only asks the price again and again."""
    given = shopper(sample)
    asked = given if given.calls else shopper(sample.model_copy(update={"messages": sample.messages[:2]}))
    return asked.model_copy(update={"sample_id": sample.id, "calls": asked.calls[:1]})


@real
@pytest.mark.slow
def test_a_real_environment_is_played_to_its_own_rewards(tmp_path: Path) -> None:
    benchmark = genuine(tmp_path, "vf_shop", slice_by="level", right_from=1.5)
    _, grades = played(benchmark, shopper)
    assert [(grade.slice, grade.measured["reward"], grade.correct) for grade in grades] == [
        ("cheap", 1.5, True), ("cheap", 1.5, True), ("dear", 1.5, True), ("dear", 1.5, True),
    ]  # fmt: skip
    assert grades[0].measured == {"reward": 1.5, "reward/said": 1.0, "reward/sold": 1.0, "measured/answers": 2.0}
    first = next(iter(benchmark.data))
    assert [m.role for m in first.messages] == ["system", "user"]
    assert re.fullmatch(r"not installed, sha256 [0-9a-f]{64}", benchmark.foreign.loaded.versions["vf_shop"])
    answers, grades = played(benchmark, teller)  # stopped by the environment at its third answer
    assert len(answers) == 12
    assert [grade.measured["reward"] for grade in grades] == [0.0] * 4
    benchmark.close()
    assert not _running("vf_shop.counter")


@real
@pytest.mark.slow
def test_a_real_environment_in_which_a_user_speaks(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="tasks without end"):
        _ = genuine(tmp_path, "vf_talk").data

    def say(sample: Sample) -> Prediction:
        assert sample.env is not None
        words = ("one", "two", "three" if sample.env.state["task"] else "four")
        said = words[sum(m.role == "assistant" for m in sample.messages)]
        return Prediction(sample_id=sample.id, content=said, text=said)

    _, grades = played(genuine(tmp_path, "vf_talk", num_tasks=2), say)
    assert [grade.correct for grade in grades] == [False, True]
    assert grades[0].measured["reward"] == pytest.approx(2 / 3)


@real
@pytest.mark.slow
@pytest.mark.parametrize(
    ("behaves", "words"),
    [
        ("dies", "its process ended: status 3"),
        ("sleeps", "was not done after benchmark.seconds"),
        ("raises", "could not be played to a reward: .*no such price"),
        ("asks_a_judge", "could not be played to a reward: .*judge model"),
        ("shows", "something of type 'image_url'"),
    ],
)
def test_a_real_environment_that_goes_wrong_is_told_of(behaves: str, words: str, tmp_path: Path) -> None:
    benchmark = genuine(tmp_path, "vf_shop", arguments={"taskset": {"task": {"behaves": behaves}}}, num_tasks=1)
    if behaves == "sleeps":
        assert len(benchmark.data) == 1
        benchmark.close()
        benchmark.foreign._seconds = 60.0  # to load it, and then to reward
    with pytest.raises(UserError, match=words):
        played(benchmark, shopper)


@real
@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"environment": "vf_pair"}, "it is played by white, black"),
        ({"environment": "vf_nothing"}, "it is not installed for that Python"),
        ({"slice_by": "colour"}, "benchmark.slice_by=colour: a task has no such field. It has .*level"),
        ({"arguments": {"agent": {"harness": {"id": "bash"}}}}, "bash runs what the student writes on this machine"),
        ({"arguments": {"taskset": {"colour": "red"}}}, "colour"),
    ],
)
def test_what_the_real_package_cannot_play_is_refused(changes: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=words):
        _ = genuine(tmp_path, **{"environment": "vf_shop", **changes}).data


# --- verifiers' own evaluation ------------------------------------------------------------------------------------

WAYS = ("right", "silent", "wrong_value", "unknown_tool", "wrong_end")
ROUNDS = {"vf_shop": 2, "glossary": 2, "scratchpad": 1}
"""How often all tasks are played, each time another way."""


def line(tool: str, argument: str, wanted: str, step: int, heard: str, way: str, **more: int) -> Label:
    """An answer to a task of one call and its result, right or mutated."""
    if way == "silent":
        return Label(content="I do not know.")
    if step == 0:
        name = "no_such_tool" if way == "unknown_tool" else tool
        given = {argument: "zebra" if way == "wrong_value" else wanted, **more}
        return Label(calls=(ToolCall(name=name, arguments=given),))
    return Label(content="Something else." if way == "wrong_end" else f"<answer>{heard}</answer>")


def plays(environment: str, messages: Sequence[Mapping[str, Any]], way: str) -> Label:
    """What is said in an environment, by its messages alone."""
    words = next(str(m["content"]) for m in messages if m["role"] == "user")
    step = sum(m["role"] == "assistant" for m in messages)
    heard = str(messages[-1]["content"])
    if environment == "vf_shop":
        return line("shop_price", "item", re.findall(r"of (\w+) cost", words)[0], step, heard, way, number=2)
    tool, argument = {"glossary": ("facts_lookup", "name"), "scratchpad": ("scratchpad_roundtrip", "word")}[environment]
    return line(tool, argument, re.findall('"(.*?)"', words)[0], step, heard, way)


@real
@pytest.mark.slow
@pytest.mark.parametrize("environment", ROUNDS)
def test_vf_eval_gives_the_same_rewards_row_by_row(environment: str, tmp_path: Path) -> None:
    assert PYTHON is not None
    if not Path(PYTHON).with_name("uv").is_file():
        pytest.skip("vf-eval needs uv beside SLOOP_VERIFIERS_PYTHON: pip install uv there")
    if environment != "vf_shop" and PUBLIC is None:
        pytest.skip("plays verifiers' public environments: SLOOP_VERIFIERS_ENVIRONMENTS names their folder")
    path = OURS if environment == "vf_shop" else Path(PUBLIC or "") / environment
    benchmark = genuine(tmp_path, environment, path)
    places = {sample.request: place for place, sample in enumerate(benchmark.data)}
    rows: list[tuple[float, float]] = []
    for shift in range(ROUNDS[environment]):

        def said(messages: Sequence[Mapping[str, Any]], shift: int = shift) -> Label:
            words = next(str(message["content"]) for message in messages if message["role"] == "user")
            return plays(environment, messages, WAYS[(places[words] + shift) % len(WAYS)])

        def say(sample: Sample, said: Callable[..., Label] = said) -> Prediction:
            found = said([message.to_openai() for message in sample.messages])
            return Prediction(sample_id=sample.id, calls=found.calls, content=found.content, text=found.content)

        _, grades = played(benchmark, say)
        theirs = _evaluated(environment, path, tmp_path / str(shift), lambda body, said=said: said(body["messages"]))
        rows += zip((grade.measured["reward"] for grade in grades), theirs, strict=True)
    assert [ours for ours, _ in rows] == [theirs for _, theirs in rows]
    assert len({ours for ours, _ in rows}) > 1
    (tmp_path / "rows.json").write_text(json.dumps(rows))


def _evaluated(environment: str, path: Path, out: Path, answer: Callable[[dict[str, Any]], Label]) -> list[float]:
    """The rewards by vf-eval, in the order of the tasks."""
    assert PYTHON is not None
    with serving() as server:
        server.answer = answer
        settings = {
            "model": "small", "client.base-url": server.url, "client.api-key-var": "ENDPOINT_KEY",
            "max-concurrent": "2", "env.agent.runtime.type": "subprocess", "env.agent.harness.id": "null",
            "output-dir": str(out), "run.dir": "run",
        }  # fmt: skip
        words = [part for name, value in settings.items() for part in (f"--{name}", value)]
        done = subprocess.run(
            [str(Path(PYTHON).with_name("vf-eval")), environment, "--no-rich", "--no-push", *words],
            env={**os.environ, "PYTHONPATH": str(path), "ENDPOINT_KEY": "none",
                 "PATH": f"{Path(PYTHON).parent}:{os.environ['PATH']}"},
            cwd=path, capture_output=True, text=True, timeout=560, check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    rows = [json.loads(text) for text in (out / "run" / "traces.jsonl").read_text().splitlines()]
    traces = sorted((trace for row in rows for trace in row["traces"]), key=lambda trace: trace["task"]["data"]["idx"])
    assert not [trace["errors"] for trace in traces if trace["errors"]]
    return [sum(one["score"] * one["weight"] for one in trace["rewards"].values()) for trace in traces]


@real
@pytest.mark.slow
def test_the_command_plays_it(tmp_path: Path) -> None:
    words = [
        "benchmark=verifiers",
        "benchmark.environment=vf_shop",
        f"benchmark.python={PYTHON}",
        "benchmark.seconds=300",
    ]
    words += [f"benchmark.path={OURS}", "benchmark.num_tasks=2", "student=scripted", f"output_dir={tmp_path / 'run'}"]
    assert sloop("eval", *words, f"paths.outputs={tmp_path / 'outputs'}", ALONE) == 0
