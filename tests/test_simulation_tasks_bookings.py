"""Tasks at the bookings desk: each can be done as it is told, and the parts share nothing."""

from __future__ import annotations

import json
from random import Random

import pytest

from sloop.environments.base import ERROR, replay
from sloop.environments.bookings import Bookings
from sloop.records import Task
from sloop.simulation.tasks import TASKS
from sloop.simulation.tasks.bookings import KINDS, make_task, words

PARTS = ("train", "dev", "test")
SEEDS = range(60)


def tasks(kind: str) -> list[Task]:
    return [make_task(Random(f"{part}{seed}"), kind, part) for part in PARTS for seed in SEEDS]


def said_and_heard(task: Task) -> list[tuple[str, list[str]]]:
    """Of each call, what stood in words before it, and its answer."""
    desk, known, found = replay(Bookings, task.env, ()), "", []
    for turn in task.turns:
        known += f" {turn.request}"
        for step in turn.calls:
            answers = [desk.act(call) for call in step]
            found.append((known, answers))
            known += " ".join(answers)
    return found


def test_the_desk_has_tasks_of_all_kinds() -> None:
    assert TASKS["bookings"].KINDS == KINDS
    assert set(KINDS) == {
        "single_step", "multi_step", "multi_turn", "missing_value", "missing_tool", "recovery", "read_only",
    }  # fmt: skip
    with pytest.raises(ValueError, match="has no tasks of kind other, only of single_step"):
        make_task(Random(0), "other", "train")


@pytest.mark.parametrize("kind", KINDS)
def test_a_call_fails_where_there_is_something_to_recover_from_and_nowhere_else(kind: str) -> None:
    for task in tasks(kind):
        answers = [answer for _, step in said_and_heard(task) for answer in step]
        failed = [answer for answer in answers if answer.startswith(ERROR)]
        assert len(failed) == (kind == "recovery"), task.turns
        if failed:
            assert failed[0] in (answers[0], answers[1])
            assert not answers[-1].startswith(ERROR)


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_call_needs_was_said_or_found_before_it(kind: str) -> None:
    for task in tasks(kind):
        steps = [step for turn in task.turns for step in turn.calls]
        for step, (known, _) in zip(steps, said_and_heard(task), strict=True):
            for call in step:
                for value in call.arguments.values():
                    assert str(value) in known, (task.turns, call)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_what_it_says(kind: str) -> None:
    for task in tasks(kind):
        first, *later = task.turns
        assert task.slice == kind
        assert all("{" not in turn.request + turn.reply and turn.reply for turn in task.turns)
        assert bool(later) == (kind in ("multi_turn", "missing_value", "missing_tool"))
        assert (not first.calls) == (kind in ("missing_value", "missing_tool"))
        assert bool(first.withheld) == (kind == "missing_tool")
        assert [call.name for call in task.calls if call.name in Bookings.writes] or kind == "read_only"
        assert set(first.withheld) <= {call.name for call in task.calls}
        assert bool(first.reads) == (kind == "read_only")
        if kind == "missing_value":
            said = [value for call in task.calls for value in call.arguments.values() if value not in first.request]
            assert said
            assert all(value in later[0].request for value in said)
        if kind == "multi_step":
            given = [str(value) for value in task.calls[-1].arguments.values()]
            assert not all(value in first.request for value in given)


def test_what_was_read_is_in_the_reply() -> None:
    for task in tasks("read_only"):
        (turn,) = task.turns
        (read,) = turn.reads
        answer = json.loads(replay(Bookings, task.env, ()).act(read))
        rows = answer if isinstance(answer, list) else [answer]
        for row in rows:
            times = [row] if isinstance(row, str) else [str(row.get(key, "")) for key in ("time", "date", "room")]
            assert all(time in turn.reply for time in times), turn


def test_the_parts_share_no_name_no_room_and_no_phrase() -> None:
    said = words()
    for groups in (said, said["requests"]):
        for name, parts in groups.items():
            if set(PARTS) <= set(parts):
                found = [set(parts[part]) for part in PARTS]
                assert len(set().union(*found)) == sum(map(len, found)), name
    for kind in KINDS:
        requests = {
            part: {turn.request for seed in SEEDS for turn in make_task(Random(seed), kind, part).turns}
            for part in PARTS
        }
        assert not requests["train"] & requests["test"] | requests["dev"] & (requests["train"] | requests["test"])


def test_the_same_seed_makes_the_same_task_and_others_make_others() -> None:
    for kind in KINDS:
        assert make_task(Random(1), kind, "train") == make_task(Random(1), kind, "train")
        assert len({task.model_dump_json() for task in tasks(kind)}) == len(PARTS) * len(SEEDS)
        assert len({turn.request for task in tasks(kind) for turn in task.turns}) > 20
