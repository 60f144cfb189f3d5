"""Orders for expansions: every axis is used, and offers what its meaning asks for."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sloop.records import Label, Message, Prediction, Sample, Tool, ToolCall
from sloop.stages.optimize.expand import (
    axes_of,
    kind_of,
    order_for,
    plan_expansions,
    plan_replacements,
    replacement_for,
)

AXES = ("values", "phrasing", "tools", "contrast")
TOOLS = tuple(Tool(name=f"f{n}", parameters={"type": "object", "properties": {}}) for n in range(8))
DEMANDING = tuple(
    tool.model_copy(update={"parameters": {"type": "object", "properties": {"x": {}}, "required": ["x"]}})
    for tool in TOOLS
)
IDS = [f"{n:032x}" for n in range(40)]


def _seed(called=(0,), offered=3, kind="single", tools=TOOLS):
    return Sample(
        tools=tools[:offered],
        messages=(Message(role="user", content="do it"),),
        label=Label(calls=tuple(ToolCall(name=f"f{n}", arguments={}) for n in called)),
        kind=kind,
        group="g",
    )


def _order(axis, seed=None, tools=TOOLS, number=0):
    return order_for("k", seed or _seed(), Prediction(sample_id="x"), axis, tools, Random(number))


def _names(tools):
    return [tool.name for tool in tools]


# --- plans --------------------------------------------------------------------------------------------------------


def test_a_seed_is_expanded_along_every_axis_before_one_comes_again():
    axes = {}
    for _, sample_id, axis in plan_expansions(IDS, AXES, 8):
        axes.setdefault(sample_id, []).append(axis)
    assert all(set(used[:4]) == set(used[4:]) == set(AXES) for used in axes.values())


def test_one_expansion_a_seed_still_uses_every_axis():
    assert set(Counter(axis for _, _, axis in plan_expansions(IDS, AXES, 1))) == set(AXES)


def test_every_seed_comes_once_before_any_comes_twice():
    planned = [sample_id for _, sample_id, _ in plan_expansions(IDS, AXES, 2)]
    assert planned == IDS + IDS


@settings(deadline=None, max_examples=50)
@given(st.lists(st.sampled_from(IDS), unique=True), st.sets(st.sampled_from(AXES), min_size=1), st.integers(0, 6))
def test_keys_are_unique_and_as_many_as_asked_for(ids, axes, expansions):
    planned = list(plan_expansions(ids, sorted(axes), expansions))
    assert len({key for key, _, _ in planned}) == len(planned) == len(ids) * expansions


@settings(deadline=None, max_examples=50)
@given(st.text(), st.lists(st.sampled_from(AXES), unique=True, min_size=1))
def test_the_axes_of_a_seed_are_the_given_ones_turned(sample_id, axes):
    assert Counter(axes_of(sample_id, axes)) == Counter(axes)


# --- orders -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("axis", ["values", "phrasing"])
def test_new_values_and_wording_keep_the_tools_and_the_kind(axis):
    order = _order(axis, _seed(kind="parallel"))
    assert order.tools == TOOLS[:3]
    assert (order.kind, _names(order.wanted)) == ("parallel", ["f0"])


@pytest.mark.parametrize("number", range(10))
def test_other_tools_are_offered_beside_the_called_one(number):
    order = _order("tools", number=number)
    assert len(order.tools) == len(set(_names(order.tools))) == 3
    assert "f0" in _names(order.tools)
    assert order.kind == "single"


def test_other_tools_come_from_all_that_there_are():
    seen = {name for number in range(40) for name in _names(_order("tools", number=number).tools)}
    assert seen == set(_names(TOOLS))


@pytest.mark.parametrize("number", range(10))
@pytest.mark.parametrize("called", [(0,), (0, 1), (0, 1, 2)])
def test_a_contrast_offers_none_of_the_called_tools(number, called):
    order = _order("contrast", _seed(called), number=number)
    assert not set(_names(order.tools)) & {f"f{n}" for n in called}
    assert order.tools
    assert order.kind == "irrelevant"


@pytest.mark.parametrize("axis", ["tools", "contrast"])
def test_where_nothing_is_called_one_of_the_offered_tools_goes_and_none_comes(axis):
    order = _order(axis, _seed(called=(), kind="irrelevant"))
    assert len(order.tools) == 2
    assert set(_names(order.tools)) < {"f0", "f1", "f2"}
    assert order.wanted == ()


@pytest.mark.parametrize(("called", "kind"), [((), "irrelevant"), ((0,), "single"), ((0, 1), "parallel")])
def test_a_seed_without_a_kind_gets_that_of_its_label(called, kind):
    assert _order("values", _seed(called, kind=None)).kind == kind


def test_an_answer_to_what_a_tool_said_is_no_refusal():
    told = Message(role="tool", content="done", tool_call_id="call_0")
    seed = _seed((), kind=None)
    calling = Message(role="assistant", tool_calls=(ToolCall(name="f0", arguments={}),))
    assert kind_of(seed.model_copy(update={"messages": (*seed.messages, calling, told)})) == "single"


def test_an_order_carries_its_seed_and_the_mistake():
    order = _order("values")
    assert order.seed == _seed()
    assert order.mistake.sample_id == "x"


def test_the_same_generator_gives_the_same_order():
    assert _order("tools", number=5) == _order("tools", number=5)


@settings(deadline=None, max_examples=100)
@given(
    st.sampled_from(AXES),
    st.integers(1, 5),
    st.integers(0, 3),
    st.integers(1, 8),
    st.integers(0, 10**6),
)
def test_an_order_never_offers_a_tool_twice(axis, offered, called, known, number):
    seed = _seed(tuple(range(min(called, offered))), offered)
    names = _names(_order(axis, seed, TOOLS[:known], number).tools)
    assert len(set(names)) == len(names)


# --- replacements -------------------------------------------------------------------------------------------------


def test_every_lost_sample_is_written_anew_once_before_any_is_again():
    assert list(plan_replacements(["a", "b"], 2)) == [
        ("l0-a", "a", None), ("l0-b", "b", None), ("l1-a", "a", None), ("l1-b", "b", None)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "asked", "wanted"),
    [("single", "single", 1), ("parallel", "parallel", 2), ("incomplete", "incomplete", 1), ("chat", "chat", 0),
     ("irrelevant", "irrelevant", 1), (None, "single", 1), ("multi_step", "multi_step", 1)],
)  # fmt: skip
def test_a_replacement_is_of_a_kind_of_the_data_and_about_what_the_lost_one_offers(kind, asked, wanted):
    order = replacement_for("k", _seed(tools=DEMANDING), _seed(kind=kind), Random(1))
    assert (order.kind, len(order.wanted)) == (asked, wanted)
    offered, about = {*_names(order.tools)}, {*_names(order.wanted)}
    assert offered | about == {"f0", "f1", "f2"}
    assert bool(offered & about) == (asked not in ("irrelevant", "chat"))
    assert (order.seed, order.axis, order.mistake) == (None, None, None)


@pytest.mark.parametrize(("called", "kind"), [((), "irrelevant"), ((0,), "single"), ((0, 1), "parallel")])
def test_what_stands_in_for_a_lost_trace_asks_for_what_the_labels_of_traces_do(called, kind):
    assert replacement_for("k", _seed(), _seed(called, kind=None), Random(1)).kind == kind


def test_nothing_is_left_out_where_nothing_is_required():
    order = replacement_for("k", _seed(), _seed(kind="incomplete"), Random(1))
    assert (order.kind, order.wanted[0] in order.tools) == ("single", True)


@pytest.mark.parametrize("kind", ["single", "incomplete", "irrelevant", None])
def test_where_no_tool_is_offered_none_is_asked_for(kind):
    order = replacement_for("k", _seed((), offered=0), _seed(kind=kind), Random(1))
    assert (order.kind, order.tools, order.wanted) == ("chat", (), ())


def test_where_one_tool_is_offered_nothing_is_asked_for_that_it_cannot_do():
    order = replacement_for("k", _seed(offered=1), _seed(kind="irrelevant"), Random(1))
    assert (order.kind, _names(order.tools), _names(order.wanted)) == ("single", ["f0"], ["f0"])
