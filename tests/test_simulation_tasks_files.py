"""Tasks in the file system: each can be done as it is told, the state check tells right from wrong, and the parts share
nothing.
"""

from __future__ import annotations

import json
import re
from random import Random
from typing import Any

import pytest

from sloop.environments.checks import heard, run, shortfall
from sloop.environments.files import Files
from sloop.records import Task, ToolCall
from sloop.simulation.tasks import TASKS
from sloop.simulation.tasks.files import KINDS, SCENES, make_task, words

PARTS = ("train", "dev", "test")
SEEDS = range(60)
WRITES = Files().writes


def tasks(kind: str) -> list[Task]:
    return [make_task(Random(f"{part}{seed}"), kind, part) for part in PARTS for seed in SEEDS]


def texts(value: Any) -> list[str]:
    """All that is said in a JSON value."""
    if isinstance(value, dict):
        return [text for each in value.values() for text in texts(each)]
    return [text for each in value for text in texts(each)] if isinstance(value, list) else [str(value)]


def lacking(task: Task, calls: list[ToolCall]) -> str | None:
    wanted = run(task.env, task.calls)
    reads = [read for turn in task.turns for read in turn.reads]
    return shortfall(run(task.env, calls), wanted, heard(task.calls, wanted, reads))


def test_there_are_tasks_of_all_kinds_and_every_scene_has_its_words() -> None:
    assert TASKS["files"].KINDS == KINDS
    assert set(KINDS) == {
        "single_step", "multi_step", "multi_turn", "missing_value", "missing_tool", "recovery", "read_only",
    }  # fmt: skip
    names = [name for scenes in SCENES.values() for name in scenes]
    assert sorted(names) == sorted(words()["requests"]) == sorted(words()["replies"])
    with pytest.raises(ValueError, match="files has no tasks of kind other, only of single_step"):
        make_task(Random(0), "other", "train")


@pytest.mark.parametrize("kind", KINDS)
def test_a_call_fails_where_there_is_something_to_recover_from_and_nowhere_else(kind: str) -> None:
    for task in tasks(kind):
        assert run(task.env, task.calls).failed == ((0,) if kind == "recovery" else ()), task.turns


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_call_needs_was_said_or_answered_before_it(kind: str) -> None:
    for task in tasks(kind):
        environment, known = Files(), ""
        environment.reset(task.env.state)
        for turn in task.turns:
            known += turn.request
            for call in (call for step in turn.calls for call in step):
                given = [text for key, text in call.arguments.items() if key not in ("overwrite", "line_count")]
                for text in given:
                    name = text.rpartition("/")[2] if text.startswith("/") and text not in known else text
                    assert name in known, (task.turns, call)
                answer = environment.act(call)
                known += " ".join(texts(json.loads(answer))) if answer[0] in "[{" else answer


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_what_it_says(kind: str) -> None:
    for task in tasks(kind):
        first, *later = task.turns
        assert task.slice == kind
        assert all("{" not in turn.request + turn.reply and turn.reply for turn in task.turns)
        assert bool(later) == (kind in ("multi_turn", "missing_value", "missing_tool"))
        assert (not first.calls) == (kind in ("missing_value", "missing_tool"))
        changed = {name for name in WRITES if name in {call.name for call in task.calls}}
        assert bool(changed) == (lacking(task, []) is not None and kind != "read_only") or first.withheld
        assert bool(first.withheld) == (kind == "missing_tool")
        if kind == "missing_value":
            values = [text for call in task.calls for text in call.arguments.values()]
            assert [text for text in values if not re.search(re.escape(text) + r"(?![/\w])", first.request)]
        if kind == "multi_step":
            values = [text for text in task.calls[-1].arguments.values() if isinstance(text, str)]
            assert not all(value in first.request for value in values)


def test_what_is_withheld_is_needed() -> None:
    for task in tasks("missing_tool"):
        withheld = set(task.turns[0].withheld)
        needed = {call.name for call in task.calls}
        assert needed <= withheld
        assert withheld <= {tool.name for tool in Files().tools}


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "read_only"])
def test_the_state_check_tells_right_from_wrong(kind: str) -> None:
    for task in tasks(kind):
        calls = list(task.calls)
        last = max((k for k, call in enumerate(calls) if call.name in WRITES), default=None)
        if last is None:
            continue
        wrong = ToolCall(name="write_file", arguments={"path": "/unasked.txt", "text": "x"})
        assert lacking(task, calls) is None
        assert lacking(task, [ToolCall(name="list_folder", arguments={}), *calls]) is None
        somewhere = ToolCall(name="change_folder", arguments={"path": f"/{min(task.env.state['root'])}"})
        assert lacking(task, [somewhere, *calls]) is None
        assert (lacking(task, [*calls[:last], *calls[last + 1 :]]) or "").startswith("state.")
        assert (lacking(task, [*calls, wrong]) or "").startswith("state.root: ")


def test_calls_in_a_harmless_other_order_are_right_and_in_a_harmful_one_wrong() -> None:
    task = make_task(Random(3), "single_step", "train")
    one = ToolCall(name="make_folder", arguments={"path": "/one"})
    other = ToolCall(name="write_file", arguments={"path": "/b.txt", "text": "b"})
    within = ToolCall(name="write_file", arguments={"path": "/one/c.txt", "text": "c"})
    calls = [one, other, within]
    wanted = run(task.env, calls)
    assert shortfall(run(task.env, [other, one, within]), wanted) is None
    assert shortfall(run(task.env, [within, one, other]), wanted) == "state.root.one: {} is not " + '{"c.txt":"c"}'


def test_what_the_user_wants_to_hear_must_be_read() -> None:
    for task in tasks("read_only"):
        assert lacking(task, list(task.calls)) is None
        assert (lacking(task, []) or "").startswith("read: no call was answered")


def test_the_parts_share_no_name_no_line_and_no_phrase() -> None:
    said = words()
    for groups in (said, said["requests"]):
        for name, parts in groups.items():
            if set(PARTS) <= set(parts):
                found = [{one for each in parts[part] for one in ([each] if isinstance(each, str) else each)}
                         for part in PARTS]  # fmt: skip
                assert len(set().union(*found)) == sum(map(len, found)), name


def test_the_same_seed_makes_the_same_task_and_others_make_others() -> None:
    for kind in KINDS:
        assert make_task(Random(1), kind, "train") == make_task(Random(1), kind, "train")
        assert len({task.model_dump_json() for task in tasks(kind)}) == len(PARTS) * len(SEEDS)
