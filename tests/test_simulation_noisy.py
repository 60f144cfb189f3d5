from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from random import Random

import pytest
import yaml

from sloop.calls.match.strict import strict
from sloop.calls.schema import call_errors
from sloop.engine.build import build
from sloop.records import (
    Dialogue,
    Label,
    Lineage,
    Order,
    Prediction,
    Rejected,
    Sample,
    Tool,
    ToolCall,
    UserError,
    decisions,
)
from sloop.simulation.mistakes import MISTAKES, packaged_grammar
from sloop.simulation.noisy import NoisyTeacher
from sloop.simulation.template import TemplateTeacher
from sloop.tools.sources import load_tools

ROOT = Path(__file__).parent.parent
TOOLS = load_tools("everyday", "train")
WEIGHTS = dict.fromkeys(MISTAKES, 1.0)
RIGHT = TemplateTeacher(
    templates="everyday",
    values="train",
    phrases="train",
    random_values=0.3,
    optional_arguments=0.4,
    spelled_values=0.2,
)


def noisy(label_noise=1.0, teacher=RIGHT, refusal="No tool for that.", **weights):
    return NoisyTeacher(teacher=teacher, label_noise=label_noise, refusal=refusal, **{**WEIGHTS, **weights})


def only(mistake, label_noise=1.0):
    return noisy(label_noise, **{name: float(name == mistake) for name in MISTAKES})


def orders(count, kind="single"):
    plan = Random(0)
    for number in range(count):
        offered = plan.sample(TOOLS, 4)
        wanted = offered[:2] if kind == "parallel" else [TOOLS[0]] if kind == "irrelevant" else offered[:1]
        offered = [tool for tool in offered if kind != "irrelevant" or tool not in wanted]
        yield Order(key=f"k{number}", kind=kind, tools=tuple(offered), wanted=() if kind == "chat" else tuple(wanted))


def write(by, order):
    return asyncio.run(by.write(order, Random(order.key)))


def written(by, count=60, kind="single"):
    """Pairs of a sample and its truth."""
    pairs = []
    for order in orders(count, kind):
        dialogue = write(by, order)
        assert isinstance(dialogue, Dialogue)
        pairs += decisions(dialogue, group="g", kind=kind, source="seed", lineage=Lineage())
    return pairs


@pytest.mark.parametrize("kind", ["single", "parallel", "irrelevant", "incomplete", "chat"])
def test_an_altered_label_differs_from_the_truth(kind):
    for sample, truth in written(noisy(), kind=kind):
        assert truth.noise in MISTAKES
        assert not strict(sample.tools, sample.label.calls, truth.label).valid


@pytest.mark.parametrize("mistake", sorted(MISTAKES))
def test_each_mistake_is_what_its_name_says(mistake):
    for sample, truth in written(only(mistake), kind="parallel"):
        assert truth.noise == mistake
        right, wrong = truth.label.calls, sample.label.calls
        names = [Counter(call.name for call in calls) for calls in (right, wrong)]
        if mistake == "missing_call":
            assert len(wrong) == len(right) - 1
        elif mistake == "spurious_call":
            assert len(wrong) == len(right) + 1
        else:
            assert len(wrong) == len(right)
            assert (names[0] == names[1]) == (mistake != "wrong_tool")
        if mistake == "dropped_argument":
            assert sum(len(call.arguments) for call in wrong) == sum(len(call.arguments) for call in right) - 1
        else:
            assert not any(call_errors(call, sample.tools) for call in wrong)
        assert {call.name for call in wrong} <= {tool.name for tool in sample.tools}


def test_parameters_that_take_anything_can_be_altered():
    schema = {"type": "object", "properties": {"a": True, "b": True}, "required": ["a", "b"]}
    tag = Tool(name="tag", description="Tag a thing.", parameters=schema)
    right = Label(calls=(ToolCall(name="tag", arguments={"a": "red", "b": "blue"}),))
    made = [MISTAKES["altered_value"]((tag,), "tag red blue", right, Random(n), packaged_grammar()) for n in range(9)]
    assert all(wrong and wrong != right for wrong in made)


def test_altered_values_keep_their_type():
    for sample, truth in written(only("altered_value")):
        (right,), (wrong,) = truth.label.calls, sample.label.calls
        assert list(right.arguments) == list(wrong.arguments)
        assert wrong.arguments != right.arguments
        for name, value in right.arguments.items():
            kinds = (int, float) if isinstance(value, int | float) and not isinstance(value, bool) else type(value)
            assert isinstance(wrong.arguments[name], kinds)


def test_a_label_that_lost_its_only_call_refuses():
    for sample, _ in written(only("missing_call")):
        assert sample.label == Label(content="No tool for that.")


def test_a_call_too_many_says_nothing_beside():
    for sample, _ in written(only("spurious_call"), kind="irrelevant"):
        assert len(sample.label.calls) == 1
        assert sample.label.content == ""


def test_truth_is_kept_for_every_decision_and_noise_for_the_wrong_ones_alone():
    pairs = written(noisy(0.3), 300)
    for sample, truth in pairs:
        assert strict(sample.tools, sample.label.calls, truth.label).valid == (truth.noise is None)
    share = sum(truth.noise is not None for _, truth in pairs) / len(pairs)
    assert 0.2 < share < 0.4


def test_the_text_is_the_same_at_any_noise():
    for order in orders(20):
        texts = [write(noisy(noise), order).messages[:-1] for noise in (0.0, 1.0)]
        assert texts[0] == texts[1] == write(RIGHT, order).messages[:-1]


def test_without_noise_the_labels_are_the_teachers():
    for order in orders(20):
        assert write(noisy(0.0), order).messages == write(RIGHT, order).messages


def test_the_generator_alone_decides():
    (order,) = orders(1)
    assert write(noisy(), order) == write(noisy(), order)


def test_a_rejection_passes_through():
    written = write(noisy(), Order(key="k", kind="single", tools=(TOOLS[0],)))
    assert isinstance(written, Rejected)


def test_where_no_mistake_is_possible_the_label_stays_right():
    bare = Tool(name="ping", description="Ping the server.", parameters={"type": "object", "properties": {}})
    order = Order(key="k", kind="single", tools=(bare,), wanted=(bare,))
    dialogue = write(only("altered_value"), order)
    assert dialogue.noise == {}
    assert dialogue.truth == {1: dialogue_label(dialogue)}


def dialogue_label(dialogue: Dialogue) -> Label:
    return Label(calls=dialogue.messages[1].tool_calls, content=dialogue.messages[1].content)


def seed_of(order: Order) -> Sample:
    ((sample, _),) = decisions(write(RIGHT, order), group="g", kind=order.kind, source="seed", lineage=Lineage())
    return sample


@pytest.mark.parametrize(("axis", "known"), [("values", True), ("phrasing", True), ("tools", False)])
def test_the_truth_of_a_label_taken_over_from_a_seed_is_not_known(axis, known):
    (order,) = orders(1)
    order = order.model_copy(update={"axis": axis, "seed": seed_of(order)})
    assert bool(write(noisy(0.0), order).truth) == known


@pytest.mark.parametrize("answered", [True, False])
def test_the_truth_of_a_contrast_is_known_if_its_seed_is_fresh(answered):
    (order,) = orders(1)
    seed = seed_of(order)
    others = tuple(tool for tool in order.tools if tool not in order.wanted)
    changes = {"axis": "contrast", "kind": "irrelevant", "seed": seed, "tools": others}
    changes["mistake"] = Prediction(sample_id=seed.id) if answered else None
    assert bool(write(noisy(0.0), order.model_copy(update=changes)).truth) != answered


def test_noise_without_a_way_to_err_is_a_user_error():
    with pytest.raises(UserError, match="all weights are 0"):
        noisy(**dict.fromkeys(MISTAKES, 0.0))


def test_the_configuration_builds_the_teacher():
    spec, inner = (yaml.safe_load((ROOT / f"conf/teacher/{name}.yaml").read_text()) for name in ("noisy", "template"))
    assert spec.pop("defaults")[0] == {"/teacher@teacher": "template"}
    assert isinstance(build({**spec, "teacher": inner, "label_noise": 0.2}, "teacher"), NoisyTeacher)
