"""Tasks in environments as dialogues: each decision's label leads on to the state that the task wants."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest

from sloop.calls.grounding import ungrounded
from sloop.calls.match.strict import strict
from sloop.calls.schema import call_errors
from sloop.engine.build import build
from sloop.environments.checks import run
from sloop.environments.domains import make_environment
from sloop.records import (
    Dialogue,
    EnvSpec,
    Label,
    Lineage,
    Order,
    Rejected,
    Sample,
    Task,
    ToolCall,
    Truth,
    Turn,
    UserError,
    decisions,
)
from sloop.simulation.dialogues import DialogueTeacher, played
from sloop.simulation.mistakes import MISTAKES
from sloop.simulation.noisy import NoisyTeacher
from sloop.simulation.tasks import TASKS

EVERY = [(domain, kind) for domain in TASKS for kind in TASKS[domain].KINDS]
SHARES = {"single_step": 1.0, "multi_step": 1.0, "multi_turn": 1.0, "missing_value": 1.0}
SHARES |= {"missing_tool": 1.0, "recovery": 1.0, "read_only": 1.0}


def teacher(**changes: Any) -> DialogueTeacher:
    spec = {"_target_": "sloop.simulation.dialogues.DialogueTeacher", "part": "train"}
    made = build(spec | {"domains": list(TASKS), "kinds": SHARES} | changes, "teacher")
    assert isinstance(made, DialogueTeacher)
    return made


def write(by: DialogueTeacher | NoisyTeacher, order: Order) -> Dialogue | Rejected:
    return asyncio.run(by.write(order, Random(order.key)))


def sliced(dialogue: Dialogue | Rejected, kind: Any = "multi_step") -> list[tuple[Sample, Truth | None]]:
    assert isinstance(dialogue, Dialogue), dialogue
    return decisions(dialogue, group="g", kind=kind, source="seed", lineage=Lineage())


def tasks(domain: str, kind: str, number: int = 6) -> Iterator[Task]:
    return (TASKS[domain].make_task(Random(seed), kind, "train") for seed in range(number))


def labelled(sample: Sample) -> Label:
    assert sample.label is not None
    return sample.label


def called(sample: Sample) -> list[ToolCall]:
    return [call for message in sample.messages for call in message.tool_calls]


@pytest.mark.parametrize(("domain", "kind"), EVERY)
def test_every_decision_leads_on_to_the_state_of_the_task(domain: str, kind: str) -> None:
    for task in tasks(domain, kind):
        samples = [sample for sample, _ in sliced(played(task), kind)]
        for sample, following in zip(samples, [*samples[1:], None], strict=True):
            so_far = [*called(sample), *labelled(sample).calls]
            assert so_far == (called(following) if following else list(task.calls))
            heard = [message.content for message in sample.messages if message.role == "tool"]
            assert sample.env == task.env
            assert tuple(heard) == run(task.env, called(sample)).results
        last = samples[-1]
        assert run(task.env, [*called(last), *labelled(last).calls]).state == run(task.env, task.calls).state


UNSEEN = ("read_file.line_count=1", "write_file.overwrite=True")
"""Said by words that are no form of the value: "the first line", "empty it and write only ..."."""


@pytest.mark.parametrize(("domain", "kind"), EVERY)
def test_what_is_right_raises_no_alarm(domain: str, kind: str) -> None:
    for task in tasks(domain, kind):
        for sample, _ in sliced(played(task), kind):
            label = labelled(sample)
            assert [error for call in label.calls for error in call_errors(call, sample.tools)] == []
            assert strict(sample.tools, label.calls, label).valid
            assert [loose for loose in ungrounded(sample, label) if not loose.startswith(UNSEEN)] == []
            assert label.calls or label.content


WITHHELD = Task(
    env=EnvSpec(toolkit="phonebook", state={"contacts": {"Ada Lind": "555-0001"}, "sent": []}),
    turns=(
        Turn(request="Wish Ada Lind a happy birthday.", reply="I cannot send messages.", withheld=("send_message",)),
        Turn(
            request="You can now.",
            calls=(
                (ToolCall(name="find_number", arguments={"name": "Ada Lind"}),),
                (ToolCall(name="send_message", arguments={"number": "555-0001", "text": "happy birthday"}),),
            ),
            reply="Sent.",
        ),
    ),
)


def test_tools_that_come_later_are_on_offer_later() -> None:
    offered = [[tool.name for tool in sample.tools] for sample, _ in sliced(played(WITHHELD))]
    assert offered == [["find_number"], *[["find_number", "send_message"]] * 3]


def test_noise_is_in_the_labels_and_never_in_the_history() -> None:
    weights = dict.fromkeys(MISTAKES, 1.0)
    noisy = NoisyTeacher(teacher=teacher(), label_noise=1.0, refusal="No tool for that.", **weights)
    assert (noisy.shares, noisy.decisions) == (teacher().shares, DialogueTeacher.decisions)
    altered = 0
    for number in range(20):
        order = Order(key=f"k{number}", kind="multi_step")
        right = [sample for sample, _ in sliced(write(teacher(), order))]
        wrong = sliced(write(noisy, order))
        assert [sample.messages for sample, _ in wrong] == [sample.messages for sample in right]
        for (sample, truth), was in zip(wrong, right, strict=True):
            assert truth is not None
            assert truth.label == was.label
            assert (truth.noise is None) == (sample.label == was.label)
            altered += truth.noise is not None
    assert altered > 40


def seed_of(kind: str, place: int) -> Sample:
    return sliced(write(teacher(), Order(key="seed", kind=kind)), kind)[place][0]  # type: ignore[arg-type]


@pytest.mark.parametrize("place", [0, 1, 2])
def test_new_values_are_the_same_decision_of_another_task(place: int) -> None:
    seed = seed_of("multi_step", place)
    ((sample, _),) = sliced(write(teacher(), Order(key="new", kind="multi_step", axis="values", seed=seed)))
    assert sample.id != seed.id
    assert sum(message.role == "assistant" for message in sample.messages) == place


def test_what_cannot_be_said_is_refused_with_its_reason() -> None:
    seed = seed_of("multi_step", 0)
    for axis in ("phrasing", "contrast"):
        refused = write(teacher(), Order(key="no", kind="multi_step", axis=axis, seed=seed))  # type: ignore[arg-type]
        assert isinstance(refused, Rejected)
        assert (refused.reason, axis in refused.detail) == ("cannot_express", True)
    talk = seed.model_copy(update={"label": Label(content="Well.")})
    for axis, other in (("tools", talk), ("values", seed.model_copy(update={"env": None}))):
        refused = write(teacher(), Order(key="no", kind="multi_step", axis=axis, seed=other))  # type: ignore[arg-type]
        assert isinstance(refused, Rejected)


def test_fewer_tools_are_on_offer_and_all_that_are_called() -> None:
    seed = seed_of("multi_step", 0)
    assert seed.env is not None
    extra = seed.tools[0].model_copy(update={"name": "unused"})
    seed = seed.model_copy(update={"tools": (*make_environment(seed.env).tools, extra)})
    ((sample, _),) = sliced(write(teacher(), Order(key="few", kind="multi_step", axis="tools", seed=seed)))
    assert {call.name for call in labelled(seed).calls} <= {tool.name for tool in sample.tools}
    assert len(sample.tools) < len(seed.tools)
    assert (sample.messages, sample.label, sample.env) == (seed.messages, seed.label, seed.env)


def test_settings_that_leave_nothing_to_write_are_refused() -> None:
    with pytest.raises(
        UserError, match=r"teacher\.domains=atlantis: there is no such domain\. Give some of .*phonebook"
    ):
        teacher(domains=["atlantis"])
    with pytest.raises(UserError, match=r"teacher\.kinds: no share of any kind that phonebook has\. Give one, such as"):
        teacher(domains=["phonebook"], kinds={"recovery": 1.0})
