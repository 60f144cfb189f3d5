"""Customers at the bookings desk: episodes with a user, graded by state and by what was said, and their pass^k."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest
from desk_student import WAYS, DeskStudent
from endpoint import Endpoint, serving
from hypothesis import given, settings
from hypothesis import strategies as st
from running import ALONE, CONF, sloop

from sloop.benchmarks.base import Benchmark
from sloop.benchmarks.desk import DeskBenchmark, DeskEpisode
from sloop.engine.stage import Made, Place, run_stage
from sloop.environments.checks import run
from sloop.models.environment import VARIABLES
from sloop.models.prompts import last_brief
from sloop.models.usage import USAGE_FILE, read_usage
from sloop.records import Decode, Grade, Label, Message, Prediction, Sample, Score, ToolCall, Utterance
from sloop.rollout import Spoken, replay, rollout
from sloop.simulation.tasks.desk import SLICES, make_errand
from sloop.simulation.user import Scenario, ScriptedUser
from sloop.stages.evaluate import GRADES, SCORES, Evaluate, EvaluateSummary, grades_of
from sloop.store import predictions_at, read_json, read_rows

TASKS = 20
FILES = ("predictions.jsonl", GRADES, SCORES, "stage.json")
SCRIPTED = ScriptedUser(seed=0, marker="###STOP###")


def bench(folder: Path, **changes: Any) -> DeskBenchmark:
    plain = {"name": "bookings", "part": "test", "num_tasks": TASKS, "seed": 0, "max_steps": 12, "max_errors": 4}
    return DeskBenchmark(**{**plain, "user": SCRIPTED, "cache_path": str(folder / "cache"), **changes})


def student(*ways: str) -> DeskStudent:
    return DeskStudent(name="desk", ways=list(ways), num_tasks=TASKS, seed=0)


def evaluated(
    out: Path, who: DeskStudent, *, trials: int = 1, retry_failed: bool = False, **changes: Any
) -> Made[EvaluateSummary]:
    benchmark = bench(out.parent, **changes)
    stage = Evaluate(
        benchmark=benchmark, data=benchmark.data, student=who, decode=Decode(), batch_size=8, trials=trials,
        checkpoint=who.start(benchmark.data, seed=0, out=out),
    )  # fmt: skip
    return run_stage(stage, Place(out, retry_failed=retry_failed))


def scored(folder: Path) -> dict[str, Score]:
    return {score.name: score for score in read_rows(folder / SCORES, Score) if not score.slice}


def played(folder: Path, *ways: str, **changes: Any) -> list[Grade]:
    who = student(*ways)

    async def answer(samples: Sequence[Sample]) -> list[Prediction]:
        return who.predict(samples, Decode())

    episodes = list(bench(folder, **changes).episodes())
    asyncio.run(rollout(episodes, answer))
    return [grade for episode in episodes for grade in episode.grade()]


# --- the errands --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", SLICES)
def test_every_errand_can_be_done_and_its_customer_knows_what_its_calls_need(kind: str) -> None:
    for seed in range(60):
        task, scenario = make_errand(Random(seed), kind, ("train", "dev", "test")[seed % 3])
        outcome = run(task.env, task.calls)
        assert not outcome.failed, (task, outcome.results)
        found = " ".join([*scenario.knows.values(), *scenario.later, *outcome.results])
        for call in task.calls:
            if call.name not in ("refund_booking", "transfer_to_person"):  # by the policy
                assert all(str(value) in found for value in call.arguments.values()), call
        assert all(text in " ".join(outcome.results) or kind == "cancel" for text in scenario.hears)
        assert (outcome.state != run(task.env, ()).state) == (kind not in ("too_late", "price", "when"))


def test_what_is_paid_back_is_what_the_policy_says() -> None:
    found = set()
    for seed in range(200):
        task, scenario = make_errand(Random(seed), "cancel", "train")
        before, after = task.env.state["bookings"], run(task.env, task.calls).state["bookings"]
        ((key, booking),) = [(key, one) for key, one in before.items() if after[key] != one]
        member = task.env.state["customers"][booking["customer"]]["rate"] == "member"
        soon = booking["date"] <= task.env.state["today"]
        share = after[key]["refunded"] / booking["price"]
        assert share in ((0,) if soon else (1,) if member else (0.5, 1))
        assert scenario.hears == ((str(after[key]["refunded"]),) if share else ())
        found.add((member, soon, share))
    assert found == {(True, True, 0), (False, True, 0), (True, False, 1), (False, False, 0.5), (False, False, 1)}


# --- episodes -----------------------------------------------------------------------------------------------------


def test_it_is_a_benchmark_and_its_episodes_are_spoken(tmp_path: Path) -> None:
    assert isinstance(bench(tmp_path), Benchmark)
    assert isinstance(next(bench(tmp_path).episodes()), Spoken)
    assert [sample.slice for sample in bench(tmp_path).data] == [*SLICES, *SLICES]
    assert bench(tmp_path, num_tasks=5).data.ids() == bench(tmp_path).data.ids()[:5]


def test_a_student_that_does_all_that_is_right_is_right(tmp_path: Path) -> None:
    assert [grade.reason for grade in played(tmp_path, "right")] == [None] * TASKS


REASONS = {
    "silent": "silent: it neither spoke nor called",
    "unsaid": "unsaid: the user did not hear",
    "wrong": "state.waiting",
    "asks_on": "steps: nothing ended it within 12 answers",
    "calls_on": "steps: nothing ended it within 12 answers",
    "fails_on": "errors: 4 of its calls failed",
    "unreadable": "format: ",
    "hands_over": "state.handed_over: ",
    "early": "state.",
    "missing": "state.",
}
RIGHT_ANYWAY = {"early": {"too_late"}, "missing": {"too_late", "price", "when"},
                "unsaid": {"taken", "move", "too_late", "guest", "complaint", "invoice", "cancel"},
                "wrong": {"complaint", "invoice"}}  # fmt: skip
"""Kinds of errand to which a way of erring may make no difference."""


@pytest.mark.parametrize("way", REASONS)
def test_a_student_that_errs_is_told_how(way: str, tmp_path: Path) -> None:
    grades = played(tmp_path, way)
    wrong = [grade for grade in grades if not grade.correct]
    assert {grade.slice for grade in grades if grade.correct} <= RIGHT_ANYWAY.get(way, set())
    assert any((grade.reason or "").startswith(REASONS[way]) for grade in wrong)
    assert all(grade.reason for grade in wrong)
    assert all(grade.error is None for grade in wrong) or way == "unreadable"


def test_where_no_answer_could_be_had_nothing_is_measured(tmp_path: Path) -> None:
    assert {(grade.correct, grade.error) for grade in played(tmp_path, "no_answer")} == {(None, "model")}


class Erring:
    """A user that makes one of the mistakes that models make, at its second word."""

    def __init__(self, *said: Utterance) -> None:
        self.said = said
        self.asked = 0

    async def reply(self, scenario: Scenario, messages: Sequence[Message], *, key: str, trial: int) -> Utterance:
        self.asked += 1
        before = sum(message.role == "user" for message in messages) - 1
        return self.said[min(before, len(self.said) - 1)]


@pytest.mark.parametrize("error", ["empty", "calls", "failed"])
def test_a_mistake_of_the_users_is_counted_and_never_the_students(error: Any, tmp_path: Path) -> None:
    made = evaluated(tmp_path / "eval", student("right"), user=Erring(Utterance(error=error)))
    found = scored(made.folder)
    direct = sum(sample.slice in ("complaint", "invoice") for sample in bench(tmp_path).data)  # speak to nobody
    assert (found["user_errors"].value, found["user_errors"].n) == ((TASKS - direct) / TASKS, TASKS)
    assert (found["call_accuracy"].value, found["call_accuracy"].n) == (1.0, direct)
    assert made.summary.failed["answers"] == TASKS - direct


def test_a_user_that_never_ends_is_stopped_and_one_that_ends_at_once_is_heard(tmp_path: Path) -> None:
    endless = played(tmp_path, "right", user=Erring(Utterance(text="Hm.")))
    assert {grade.reason for grade in endless if not grade.correct} == {"steps: nothing ended it within 12 answers"}
    hasty = played(tmp_path, "right", user=Erring(Utterance(text="Bye ###STOP###", ends=True)))
    assert {grade.slice for grade in hasty if grade.correct} == {"complaint", "invoice", "too_late"}


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_no_answer_and_no_reply_can_break_an_episode(data: st.DataObject) -> None:
    (task, scenario), text = make_errand(Random(data.draw(st.integers(0, 9))), "book", "test"), st.text(max_size=20)
    calls = st.builds(ToolCall, name=st.sampled_from(["list_rooms", "transfer_to_person", "x"]),
                      arguments=st.dictionaries(text, st.none() | text, max_size=2))  # fmt: skip
    first = next(iter(bench(Path("none"), num_tasks=1)._errands.values()))[0]
    episode = DeskEpisode(first, task, scenario, SCRIPTED, 6, 3)
    utterances = st.builds(Utterance, text=text, ends=st.booleans(), error=st.sampled_from([None, "empty", "calls"]))

    def answer(sample: Sample) -> Prediction:
        return Prediction(
            sample_id=sample.id, content=data.draw(text), calls=data.draw(st.lists(calls, max_size=2).map(tuple)),
            reply=data.draw(st.none() | utterances), error=data.draw(st.sampled_from([None, None, "format", "model"])),
        )  # fmt: skip

    assert len(replay(episode, answer)) <= 6
    (found,) = episode.grade()
    assert found.correct is not True


# --- evaluations --------------------------------------------------------------------------------------------------


def test_pass_hat_k_is_of_trials_whose_users_speak_differently(tmp_path: Path) -> None:
    who = student("right", "right", "right", "wrong")
    made = evaluated(tmp_path / "eval", who, trials=4)
    right = [grade.correct for grade in grades_of(made.folder)]
    found = scored(made.folder)
    assert found["pass_hat_1"].value == pytest.approx(sum(map(bool, right)) / len(right))
    assert found["pass_hat_1"].value > found["pass_hat_2"].value > found["pass_hat_4"].value > 0
    by_trial: dict[int, list[str]] = {}
    for answer in read_rows(made.folder / "predictions.jsonl", Prediction):
        if answer.reply:
            by_trial.setdefault(answer.trial, []).append(answer.reply.text)
    assert len({tuple(words) for words in by_trial.values()}) == 4


def test_an_interrupted_evaluation_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    dying = student(*WAYS)
    dying.deaths.append(90)
    with pytest.raises(KeyboardInterrupt):
        evaluated(tmp_path / "a" / "eval", dying, trials=2)
    again = student(*WAYS)
    resumed = evaluated(tmp_path / "a" / "eval", again, trials=2)
    unbroken = student(*WAYS)
    whole = evaluated(tmp_path / "b" / "eval", unbroken, trials=2)
    assert 0 < again.asked < unbroken.asked
    for name in FILES:
        assert (resumed.folder / name).read_bytes() == (whole.folder / name).read_bytes(), name


def test_recorded_answers_are_graded_again_without_the_user(tmp_path: Path) -> None:
    made = evaluated(tmp_path / "eval", student(*WAYS))
    answers = predictions_at(made.folder / "predictions.jsonl")
    nobody = Erring()
    episodes = list(bench(tmp_path, user=nobody).episodes())
    for episode in episodes:
        replay(episode, lambda sample: next(answers.pick([sample.id])))
    assert [grade for episode in episodes for grade in episode.grade()] == list(grades_of(made.folder))
    assert nobody.asked == 0


# --- a model as the user, over HTTP -------------------------------------------------------------------------------


@pytest.fixture
def server() -> Iterator[Endpoint]:
    with serving() as endpoint:
        endpoint.answer = speaks
        endpoint.latency = 0.02
        yield endpoint


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.setenv(name, "")


def speaks(body: dict[str, Any]) -> Label:
    """Plays the customer by the prompt alone; which words it takes depends on the seed that it is sent."""
    brief = last_brief([Message(**message) for message in body["messages"]])
    if brief is None:  # asked what it can
        return Label(content="Oslo")
    said = " ".join(line["words"] for line in brief["dialogue"] if line["says"] == "you")
    untold = [value for value in (*brief["knows"].values(), *brief["later"]) if value not in said]
    if untold:
        return Label(content=f"{'Well: ' if body['seed'] % 2 else ''}{'; '.join(untold)}")
    return Label(content=f"Thanks. {brief['marker']}")


def desk(url: str, out: Path, *more: str) -> int:
    return sloop(
        "eval", "--config-dir", str(CONF), "student=desk", "benchmark=bookings_llm", f"benchmark.num_tasks={TASKS}",
        f"benchmark.user.endpoint.base_url={url}", "benchmark.user.endpoint.model=small", ALONE, "batch_size=8",
        f"output_dir={out}", f"paths.outputs={out.parent}", "benchmark.user.endpoint.limits.retries=0", *more,
    )  # fmt: skip


def usage(out: Path, role: str) -> int:
    return sum(row.requests for row in read_usage(out / USAGE_FILE) if row.role == role)


def test_a_model_plays_the_user_and_the_replies_of_a_step_are_asked_for_at_once(
    server: Endpoint, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    assert desk(server.url, out, "trials=4", "student.ways=[right,right,right,wrong]") == 0
    found = {row["name"]: row for row in read_json(out / "run.json")["metrics"] if not row["slice"]}
    values = [found[f"eval/bookings_llm/pass_hat_{k}"]["value"] for k in (1, 2, 3, 4)]
    assert values[0] > values[1] > values[3] > 0
    assert found["eval/bookings_llm/user_errors"]["value"] == 0
    assert "pass_hat_4" in capsys.readouterr().out
    assert server.most_in_flight > 4  # of the batch of 8: how many at once is up to the clock
    spoken = [answer for answer in read_rows(out / "predictions.jsonl", Prediction) if answer.reply]
    assert len(spoken) + 1 == usage(out, "user") == len(server.seen)  # the one that was asked what the endpoint can
    assert all("tools" not in body for body in server.seen[1:])


def test_an_interruption_and_a_spent_budget_end_in_the_same_bytes(server: Endpoint, tmp_path: Path) -> None:
    words = ("trials=2", f"student.ways=[{','.join(WAYS)}]", "preflight=false")
    whole, parts = tmp_path / "a" / "run", tmp_path / "b" / "run"
    assert desk(server.url, whole, *words) == 0
    assert desk(server.url, parts, *words, "spending.requests=12") != 0
    assert usage(parts, "user") == 12
    assert desk(server.url, parts, *words) == 0
    assert usage(whole, "user") < usage(parts, "user") < 12 + usage(whole, "user")
    for name in FILES:
        assert (whole / name).read_bytes() == (parts / name).read_bytes(), name


def test_replies_that_could_not_be_had_are_counted_and_asked_for_again(server: Endpoint, tmp_path: Path) -> None:
    out, whole = tmp_path / "run", tmp_path / "whole"
    server.fault = lambda body, times: "500" if body["seed"] % 3 == 0 else None
    assert desk(server.url, out, "preflight=false") == 0
    before, asked = read_json(out / "stage.json")["summary"]["failed"]["answers"], len(server.seen)
    assert 0 < before < TASKS
    server.fault = lambda body, times: None
    assert desk(server.url, out, "preflight=false", "retry_failed=true") == 0
    assert read_json(out / "stage.json")["summary"]["failed"]["answers"] == 0
    assert len(server.seen) > asked
    assert desk(server.url, whole, "preflight=false") == 0
    assert (out / "predictions.jsonl").read_bytes() == (whole / "predictions.jsonl").read_bytes()


def test_a_users_endpoint_that_is_down_or_refuses_is_named_by_its_place(
    server: Endpoint, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.key = "secret"
    assert desk(server.url, tmp_path / "run") == 2
    told = capsys.readouterr().err
    assert "benchmark.user.endpoint.base_url" in told
    assert "SLOOP_STRONG_API_KEY" in told
    assert not (tmp_path / "run" / "run.json").exists()


@pytest.mark.parametrize(
    ("said", "error"),
    [({"content": "  "}, "empty"), ({"content": "", "tool_calls": [{"id": "x", "type": "function", "function": {
        "name": "book_room", "arguments": "{}"}}]}, "calls")],
)  # fmt: skip
def test_what_no_user_says_spoils_the_episode(
    said: dict[str, Any], error: str, server: Endpoint, tmp_path: Path
) -> None:
    server.message = {"role": "assistant", **said}
    assert desk(server.url, tmp_path / "run", "preflight=false") == 0
    replies = [answer.reply for answer in read_rows(tmp_path / "run" / "predictions.jsonl", Prediction) if answer.reply]
    assert {reply.error for reply in replies} == {error}


def test_prompts_of_ones_own_are_used(server: Endpoint, tmp_path: Path) -> None:
    own = tmp_path / "prompts"
    own.mkdir()
    (own / "simulated_user.jinja").write_text("Be {{ wants }} and end with {{ marker }}.")
    assert desk(server.url, tmp_path / "run", "preflight=false", f"benchmark.user.prompts={own}") == 0
    assert all(body["messages"][0]["content"].startswith("Be You") for body in server.seen)
