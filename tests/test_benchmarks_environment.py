"""Tasks of several steps and turns, graded by the state that they end in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest
import yaml
from acme_tools import share_of
from phonebook_student import PhonebookStudent, two_step

from sloop.benchmarks.base import Benchmark
from sloop.benchmarks.environment import EnvironmentEpisode, FrozenBenchmark
from sloop.benchmarks.part import Part
from sloop.calls.wording import request_key
from sloop.cli import conf_folder
from sloop.engine.build import build
from sloop.engine.stage import Made, Place, run_stage
from sloop.measures.metrics import scores
from sloop.measures.overlap import forbidden_requests
from sloop.records import (
    Decode,
    EnvSpec,
    Grade,
    Label,
    Prediction,
    Sample,
    Score,
    Step,
    Task,
    ToolCall,
    Turn,
    UserError,
)
from sloop.rollout import replay
from sloop.simulation.tasks import TASKS
from sloop.stages.evaluate import GRADES, SCORES, Evaluate, EvaluateSummary, grades_of
from sloop.store import predictions_at, read_rows


def evaluated(out: Path, student: PhonebookStudent, batch_size: int = 8) -> Made[EvaluateSummary]:
    benchmark = two_step(out.parent)
    stage = Evaluate(
        benchmark=benchmark,
        data=benchmark.data,
        student=student,
        checkpoint=student.start(benchmark.data, seed=0, out=out),
        decode=Decode(),
        batch_size=batch_size,
    )
    return run_stage(stage, Place(out))


def played(folder: Path, write: Any, **changes: Any) -> list[Grade]:
    grades = []
    for episode in two_step(folder, **changes).episodes():
        replay(episode, write)
        grades += episode.grade()
    return grades


def test_it_is_a_benchmark(tmp_path: Path) -> None:
    assert isinstance(two_step(tmp_path), Benchmark)


def test_a_share_of_the_tasks_that_is_the_students_skill_is_right(tmp_path: Path) -> None:
    made = evaluated(tmp_path / "eval", PhonebookStudent(skill=0.5))
    data = two_step(tmp_path).data
    right = [share_of(sample.request) < 0.5 for sample in data]
    assert [grade.correct for grade in grades_of(made.folder)] == right
    found = {score.name: score for score in read_rows(made.folder / SCORES, Score) if not score.slice}
    assert (found["call_accuracy"].value, found["call_accuracy"].n) == (sum(right) / 20, 20)


def test_every_step_has_its_answer_and_every_episode_its_grade(tmp_path: Path) -> None:
    made = evaluated(tmp_path / "eval", PhonebookStudent(skill=1.0))
    answers = predictions_at(made.folder / "predictions.jsonl")
    assert len(answers) == 3 * 20
    assert [grade.sample_id for grade in grades_of(made.folder)] == two_step(tmp_path).data.ids()
    assert all(grade.correct for grade in grades_of(made.folder))


def test_an_interrupted_evaluation_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    dying = PhonebookStudent(skill=0.5)
    dying.deaths.append(30)
    with pytest.raises(KeyboardInterrupt):
        evaluated(tmp_path / "a" / "eval", dying)
    again = PhonebookStudent(skill=0.5)
    resumed = evaluated(tmp_path / "a" / "eval", again)
    whole = evaluated(tmp_path / "b" / "eval", PhonebookStudent(skill=0.5))
    assert 0 < len(again.asked) < 60
    assert resumed.record == whole.record
    for name in ("predictions.jsonl", GRADES, SCORES, "stage.json"):
        assert (resumed.folder / name).read_bytes() == (whole.folder / name).read_bytes()


def test_one_that_stops_at_once_has_not_done_it(tmp_path: Path) -> None:
    grades = played(tmp_path, lambda sample: Prediction(sample_id=sample.id, content="no"))
    assert {grade.correct for grade in grades} == {False}
    assert {grade.attempted for grade in grades} == {False}


def test_one_that_calls_on_is_stopped(tmp_path: Path) -> None:
    def calls_on(sample: Sample) -> Prediction:
        return Prediction(sample_id=sample.id, calls=(ToolCall(name="find_number", arguments={"name": "Ada Lind"}),))

    grades = played(tmp_path, calls_on, max_steps=4)
    assert {grade.reason for grade in grades} == {"steps: no end after 4 answers"}


def test_where_the_model_failed_nothing_is_measured(tmp_path: Path) -> None:
    grades = played(tmp_path, lambda sample: Prediction(sample_id=sample.id, error="model"))
    assert {(grade.correct, grade.error) for grade in grades} == {(None, "model")}


def test_the_first_tasks_are_the_same_for_any_number_of_them(tmp_path: Path) -> None:
    few, many = (two_step(tmp_path, num_tasks=number).data.ids() for number in (5, 20))
    assert many[:5] == few
    assert two_step(tmp_path, seed=1).data.ids()[0] != few[0]


@pytest.mark.parametrize("change", [{"num_tasks": 0}, {"max_steps": 0}, {"turn_steps": 0}])
def test_no_task_or_no_step_is_refused(change: dict[str, int], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=rf"benchmark\.{next(iter(change))}=0: give a whole number from 1"):
        two_step(tmp_path, **change)


# --- several turns ------------------------------------------------------------------------------------------------

FIND = ToolCall(name="find_number", arguments={"name": "Ada Lind"})
SEND = ToolCall(name="send_message", arguments={"number": "555-0001", "text": "happy birthday"})
TOLD = EnvSpec(toolkit="phonebook", state={"contacts": {"Ada Lind": "555-0001"}, "sent": []})
LATER = Task(
    env=TOLD,
    turns=(
        Turn(request="Wish Ada Lind well.", reply="In which words?"),
        Turn(request="happy birthday", calls=((FIND,), (SEND,)), reply="Sent."),
    ),
)
LOOKED_UP = Task(env=TOLD, turns=(Turn(request="Ada Lind's number?", calls=((FIND,),), reads=(FIND,)),))
WITHHELD = Task(
    env=TOLD,
    turns=(
        Turn(request="Wish Ada Lind a happy birthday.", calls=((FIND,),), withheld=("send_message",)),
        Turn(request="You can send messages now.", calls=((SEND,),)),
    ),
)


def acted(
    task: Task, *answers: Sequence[ToolCall], max_steps: int = 9, turn_steps: int = 3
) -> tuple[Grade, list[Step]]:
    episode = EnvironmentEpisode(task, max_steps, turn_steps)
    waiting = iter(answers)
    steps = replay(episode, lambda sample: Prediction(sample_id=sample.id, calls=tuple(next(waiting)), content="Well."))
    return episode.grade()[0], steps


def test_a_turn_is_over_when_nothing_is_called_and_then_the_user_goes_on() -> None:
    found, steps = acted(LATER, [], [FIND], [SEND], [])
    assert found.correct
    assert [message.role for message in steps[-1].asked.messages] == (
        ["system", "user", "assistant", "user", "assistant", "tool", "assistant", "tool"]
    )
    assert steps[0].asked.label == Label(content="In which words?")
    assert steps[1].asked.request == "happy birthday"


def test_what_may_be_done_later_is_wrong_where_it_was_done_too_early() -> None:
    found, _ = acted(LATER, [FIND, SEND], [], [])
    assert found.reason == "early: send_message was called in turn 1, which wants no call"
    assert acted(LATER, [FIND], [], [SEND], [])[0].correct, "to read is no harm"


def test_one_that_ends_with_turns_left_is_wrong() -> None:
    assert acted(LATER, [], [FIND], [FIND], [FIND])[0].reason == "steps: no end after 4 answers"
    assert acted(LATER, [], [FIND], max_steps=2)[0].reason == "steps: no end after 2 answers"


def test_what_the_user_wants_to_hear_must_be_read() -> None:
    assert acted(LOOKED_UP, [FIND], [])[0].correct
    assert acted(LOOKED_UP, [])[0].reason == "read: no call was answered 555-0001"


def test_a_tool_that_is_withheld_does_not_act_until_it_is_on_offer() -> None:
    found, steps = acted(WITHHELD, [FIND], [SEND], [], [])
    assert [tool.name for tool in steps[0].asked.tools] == ["find_number"]
    assert steps[2].asked.messages[-1].content.startswith("error: ")
    assert not found.correct
    assert acted(WITHHELD, [FIND], [SEND], [], [SEND], [])[0].correct, "a call that was refused has done nothing"
    assert acted(WITHHELD, [FIND, SEND], [], [SEND], [])[0].executed == (2, 2), "nor was it run"
    assert acted(WITHHELD, [FIND, SEND], [], [])[0].executed == (1, 1)
    found, steps = acted(WITHHELD, [FIND], [], [SEND], [])
    assert [tool.name for tool in steps[2].asked.tools] == ["find_number", "send_message"]
    assert (found.correct, found.schema_valid) == (True, True)


def test_what_was_run_before_an_answer_that_could_not_be_had_counts_nowhere() -> None:
    episode = EnvironmentEpisode(LATER, 9, 3)
    waiting = iter([{"content": "Well."}, {"calls": (FIND,)}, {"calls": (SEND, SEND)}, {"error": "model"}])
    replay(episode, lambda sample: Prediction(sample_id=sample.id, **next(waiting)))
    (found,) = episode.grade()
    assert found.executed
    counted = {score.name: score.n for score in scores([found, acted(LOOKED_UP, [FIND], [])[0]])}
    assert (counted["execution_success"], counted["call_accuracy"], counted["model_errors"]) == (1, 1, 2)


def test_domains_and_kinds_that_there_are_not_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"benchmark\.domains=atlantis: there is no such domain\. Give some of .*phonebook"
    ):
        two_step(tmp_path, domains=["atlantis"])
    with pytest.raises(
        UserError, match=r"benchmark\.kinds=juggling: no domain has such tasks\. Give some of multi_step"
    ):
        two_step(tmp_path, kinds=["juggling"])
    with pytest.raises(UserError, match=r"benchmark\.domains=\[\]"):
        two_step(tmp_path, domains=[])


def test_the_parts_share_no_question(tmp_path: Path) -> None:
    asked = [{sample.request for sample in two_step(tmp_path, part=part).data} for part in ("train", "dev", "test")]
    assert not asked[0] & asked[1] | asked[1] & asked[2] | asked[0] & asked[2]


# --- frozen -------------------------------------------------------------------------------------------------------


def frozen(name: str, folder: Path, **changes: Any) -> FrozenBenchmark:
    spec = yaml.safe_load((conf_folder() / "benchmark" / "sloop_bench_v2.yaml").read_text())
    if name != "sloop_bench_v2":
        spec |= yaml.safe_load((conf_folder() / "benchmark" / f"{name}.yaml").read_text())
    settings = {key: value for key, value in spec.items() if key not in ("defaults", "limit", "limit_seed")}
    made = build(settings | {"cache_path": str(folder)} | changes, "benchmark")
    assert isinstance(made, FrozenBenchmark)
    return made


@pytest.mark.parametrize(("name", "samples", "tasks"), [("sloop_bench_v2", 1500, 140), ("sloop_dev_v2", 900, 70)])
def test_a_tasks_own_calls_are_right_and_none_are_wrong(name: str, samples: int, tasks: int, tmp_path: Path) -> None:
    benchmark = frozen(name, tmp_path)
    assert (len(benchmark.data), len(benchmark.tasks)) == (samples + tasks, tasks)
    for task in benchmark.tasks.values():
        own = [step for turn in task.turns for step in (*turn.calls, ())]
        assert acted(task, *own, max_steps=30, turn_steps=8)[0].correct
        assert not acted(task, *[()] * len(task.turns))[0].correct
    asked = forbidden_requests(benchmark.data)
    assert {request_key(task.turns[0].request) for task in benchmark.tasks.values()} <= asked
    assert sum(1 for _ in benchmark.episodes()) == samples + tasks


def test_a_part_of_samples_and_tasks_has_both(tmp_path: Path) -> None:
    whole = frozen("sloop_dev_v2", tmp_path)
    part = Part(benchmark=whole, limit=97, limit_seed=0, cache_path=str(tmp_path))
    episodes = list(part.episodes())
    assert len(part.data) == len(episodes) == 97
    assert sum(isinstance(episode, EnvironmentEpisode) for episode in episodes) == 7


def test_other_tasks_than_the_pinned_ones_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"benchmark\.tasks=.*: its digest is [0-9a-f]{64}, and not 0{64}"):
        frozen("sloop_bench_v2", tmp_path, tasks_sha256="0" * 64)
    with pytest.raises(UserError, match=r"benchmark\.tasks=nowhere\.jsonl: there is no such file"):
        frozen("sloop_bench_v2", tmp_path, tasks="nowhere.jsonl")


def test_no_first_request_of_the_frozen_tasks_stands_in_training_data(tmp_path: Path) -> None:
    trained = {
        request_key(TASKS[domain].make_task(Random(seed), kind, "train").turns[0].request)
        for domain in ("files", "bookings")
        for kind in TASKS[domain].KINDS
        for seed in range(30)
    }
    for name in ("sloop_bench_v2", "sloop_dev_v2"):
        asked = {request_key(task.turns[0].request) for task in frozen(name, tmp_path).tasks.values()}
        assert not asked & trained
