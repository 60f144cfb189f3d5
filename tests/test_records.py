"""Records: identity, canonical form, the way to disk and back."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from sloop.records import (
    Dialogue,
    EnvSpec,
    Label,
    Lineage,
    Message,
    Prediction,
    Rubric,
    Sample,
    Tool,
    ToolCall,
    canonical_json,
    decisions,
    digest,
    from_json,
    trial_id,
)

TIMER = Tool(
    name="set_timer",
    description="Start a timer.",
    parameters={"type": "object", "properties": {"minutes": {"type": "number"}}, "required": ["minutes"]},
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def _call(minutes=5, name="set_timer"):
    return ToolCall(name=name, arguments={"minutes": minutes})


def _sample(request="five minutes, please", label=None, **changes):
    messages = (Message(role="user", content=request),)
    return Sample(tools=(TIMER,), messages=messages, label=label or Label(calls=(_call(),)), **changes)


def _again(record):
    return type(record).model_validate(json.loads(record.model_dump_json()))


# --- canonical form -----------------------------------------------------------------------------------------------


def test_canonical_json_sorts_keys_and_keeps_letters():
    assert canonical_json({"b": 1, "a": "é"}) == '{"a":"é","b":1}'


def test_canonical_json_tells_an_integer_from_a_float():
    assert canonical_json(1) != canonical_json(1.0)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_canonical_json_refuses_what_json_cannot_say(value):
    with pytest.raises(ValueError, match="JSON compliant"):
        canonical_json({"x": value})


@settings(deadline=None, max_examples=60)
@given(st.dictionaries(st.text(), VALUES, max_size=4))
def test_a_digest_depends_on_the_value_and_not_on_the_order_of_keys(value):
    reordered = dict(reversed(list(value.items())))
    assert digest(value) == digest(reordered) == digest(json.loads(canonical_json(value)))


def test_a_digest_is_sha256_of_the_canonical_form():
    assert digest({}) == "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"


# --- identity -----------------------------------------------------------------------------------------------------


def test_an_id_has_32_hex_digits():
    assert len(_sample().id) == 32
    assert int(_sample().id, 16) >= 0


def test_an_id_survives_the_way_through_json():
    sample = _sample(env=EnvSpec(toolkit="bank", state={"balance": 1.0}))
    assert _again(sample).id == sample.id


def test_an_id_does_not_depend_on_label_or_origin():
    other = _sample(label=Label(content="no"), source="expanded", group="g", copies=3, lineage=Lineage(round=4))
    assert other.id == _sample().id


def test_an_id_depends_on_messages_tools_and_environment():
    sample = _sample()
    changed = [
        _sample("six minutes"),
        sample.model_copy(update={"tools": (TIMER.model_copy(update={"description": "Stop."}),)}),
        sample.model_copy(update={"env": EnvSpec(toolkit="bank")}),
    ]
    assert len({sample.id, *(other.id for other in changed)}) == 4


def test_an_id_tells_earlier_calls_with_1_and_1_0_apart():
    def with_history(minutes):
        earlier = Message(role="assistant", tool_calls=(_call(minutes),))
        return Sample(tools=(TIMER,), messages=(earlier, Message(role="user", content="again")))

    assert with_history(1).id != with_history(1.0).id


def _dialogue_row(ids, answers):
    """A row as providers write them: a turn of two calls, a turn of one, and what the tools answered."""

    def call(given, minutes):
        function = {"name": "set_timer", "arguments": json.dumps({"minutes": minutes})}
        return {"type": "function", "function": function, **({"id": given} if given else {})}

    def tool(answered, content):
        return {"role": "tool", "content": content, "tool_call_id": answered}

    messages = [
        {"role": "user", "content": "five and six minutes"},
        {"role": "assistant", "content": None, "tool_calls": [call(ids[0], 5), call(ids[1], 6)]},
        tool(answers[0], "first"),
        tool(answers[1], "second"),
        {"role": "user", "content": "and seven"},
        {"role": "assistant", "content": "", "tool_calls": [call(ids[2], 7)]},
        tool(answers[2], "third"),
        {"role": "user", "content": "thanks"},
    ]
    return {"tools": [TIMER.to_openai()], "messages": messages}


NAMED = ["call_0", "call_1", "call_2"]


@pytest.mark.parametrize(
    "ids",
    [
        NAMED,
        ["call_aX", "call_bY", "call_cZ"],
        ["call_1", "call_0", "call_2"],
        ["0", "1", "0"],
        ["call_0", "call_1"] * 2,
    ],
)
def test_what_a_provider_named_its_calls_is_no_part_of_a_sample(ids):
    sample = Sample.model_validate(_dialogue_row(ids, ids))
    assert [m.tool_call_id for m in sample.messages if m.role == "tool"] == NAMED
    assert sample == Sample.model_validate(_dialogue_row([None] * 3, NAMED))
    assert sample.id == Sample.model_validate(_dialogue_row(NAMED, NAMED)).id
    assert _again(sample) == sample


def test_answers_out_of_order_still_point_at_their_calls():
    sample = Sample.model_validate(_dialogue_row(["x", "y", "z"], ["y", "x", "z"]))
    assert [m.tool_call_id for m in sample.messages if m.role == "tool"] == ["call_1", "call_0", "call_2"]
    assert sample.id != Sample.model_validate(_dialogue_row(["x", "y", "z"], ["x", "y", "z"])).id
    assert _again(sample) == sample


def test_a_dialogue_of_messages_that_lost_the_names_of_their_calls_is_numbered_in_order():
    row = _dialogue_row(["x", "y", "z"], ["x", "y", "z"])
    messages = tuple(Message.model_validate(message) for message in row["messages"])
    for kind in (Dialogue, Sample):
        made = kind(tools=(TIMER,), messages=messages)
        assert [m.tool_call_id for m in made.messages if m.role == "tool"] == NAMED


def test_an_answer_to_no_call_is_left_as_it_is():
    row = _dialogue_row(["x", "y", "z"], ["x", "nobody", "z"])
    assert [m.tool_call_id for m in Sample.model_validate(row).messages if m.role == "tool"][1] == "nobody"
    row = _dialogue_row([None] * 3, ["call_0", "call_9", "call_2"])
    assert [m.tool_call_id for m in Sample.model_validate(row).messages if m.role == "tool"][1] == "call_9"


@pytest.mark.parametrize("parameters", [{"properties": None, "required": True}, {"properties": [], "required": {}}, {}])
def test_a_tool_without_a_usable_schema_has_no_properties(parameters):
    tool = Tool(name="f", parameters=parameters)
    assert (tool.properties, tool.required) == ({}, ())


@pytest.mark.parametrize("function", [None, "f", {}, {"name": "f"}, {"name": "f", "arguments": "{"}])
def test_what_is_no_call_is_refused_as_such(function):
    with pytest.raises(ValidationError):
        ToolCall.model_validate({"type": "function", "function": function})


@pytest.mark.parametrize("function", [None, "f", {}])
def test_what_is_no_tool_is_refused_as_such(function):
    with pytest.raises(ValidationError):
        Tool.model_validate({"type": "function", "function": function})


def test_a_changed_copy_forgets_the_cached_id():
    sample = _sample()
    before = sample.id
    assert sample.model_copy(update={"messages": ()}).id != before


def test_records_cannot_be_changed_or_extended():
    with pytest.raises(ValidationError, match="frozen"):
        TIMER.name = "other"
    with pytest.raises(ValidationError, match="Extra inputs"):
        Label.model_validate({"call": []})


# --- OpenAI form --------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=60)
@given(st.dictionaries(st.text(), VALUES, max_size=3))
def test_arguments_come_back_as_they_were(arguments):
    call = ToolCall(name="f", arguments=arguments)
    assert canonical_json(_again(call).arguments) == canonical_json(arguments)


@pytest.mark.parametrize(("minutes", "kind"), [(1, int), (1.0, float), (True, bool)])
def test_arguments_keep_their_type(minutes, kind):
    assert type(_again(_call(minutes)).arguments["minutes"]) is kind


def test_arguments_are_a_json_string_in_the_order_given():
    call = ToolCall(name="f", arguments={"b": 1, "a": 2})
    assert call.model_dump()["function"]["arguments"] == '{"b": 1, "a": 2}'


def test_provider_ids_of_calls_are_dropped():
    row = {"id": "call_x9", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    assert ToolCall.model_validate(row) == ToolCall(name="f", arguments={})


def test_a_tool_without_parameters_takes_none():
    tool = Tool.model_validate({"type": "function", "function": {"name": "ring"}})
    assert (tool.properties, tool.required) == ({}, ())


def test_a_message_with_null_content_is_an_empty_one():
    assert Message.model_validate({"role": "assistant", "content": None, "tool_calls": None}).content == ""


def test_a_message_leaves_out_what_does_not_apply():
    assert Message(role="user", content="hi").model_dump() == {"role": "user", "content": "hi"}


def test_a_tool_message_keeps_the_call_that_it_answers():
    assert _again(Message(role="tool", content="done", tool_call_id="call_0")).tool_call_id == "call_0"


# --- what is derived ----------------------------------------------------------------------------------------------


def test_the_blind_question_has_the_same_id_and_tells_nothing_else():
    sample = _sample(kind="single", source="error", slice="x", lineage=Lineage(unit="u", teacher="T"))
    blind = sample.blind()
    assert blind.id == sample.id
    assert (blind.label, blind.kind, blind.source, blind.slice, blind.lineage) == (None, None, "seed", "", Lineage())


def test_the_request_is_the_last_user_message():
    said = [("user", "first"), ("assistant", "what?"), ("user", "second"), ("assistant", "ok")]
    messages = tuple(Message(role=role, content=content) for role, content in said)
    assert Sample(tools=(), messages=messages).request == "second"


def test_a_dialogue_gives_one_sample_for_each_assistant_message_that_is_not_doubtful():
    said = [("user", "a"), ("assistant", "b"), ("user", "c"), ("assistant", "d"), ("user", "e"), ("assistant", "f")]
    messages = tuple(Message(role=role, content=content) for role, content in said)
    dialogue = Dialogue(tools=(TIMER,), messages=messages, doubtful=frozenset({3}), ordered=frozenset({5}))
    samples = [s for s, _ in decisions(dialogue, group="g", kind="chat", source="seed", lineage=Lineage())]
    assert [(s.turn, len(s.messages), s.label.content, s.label.ordered) for s in samples] == [
        (0, 1, "b", False),
        (1, 5, "f", True),
    ]


def test_a_dialogue_tells_the_truth_and_the_mistake_of_its_decision():
    messages = (Message(role="user", content="a"), Message(role="assistant", content="b"))
    right = Label(content="c")
    dialogue = Dialogue(tools=(), messages=messages, truth={1: right}, noise={1: "refusal"})
    ((sample, truth),) = decisions(dialogue, group="g", kind="chat", source="seed", lineage=Lineage())
    assert (truth.sample_id, truth.label, truth.noise) == (sample.id, right, "refusal")


def test_perplexity_is_the_exponential_of_the_mean_negative_log_probability():
    assert Prediction(sample_id="x", logprob=-4 * math.log(3), num_tokens=4).perplexity == pytest.approx(3)


@pytest.mark.parametrize("answer", [Prediction(sample_id="x", num_tokens=4), Prediction(sample_id="x", logprob=-1.0)])
def test_there_is_no_perplexity_without_a_measurement(answer):
    assert answer.perplexity is None


def test_an_unreadable_answer_is_no_decision():
    assert Prediction(sample_id="x", error="format").answer is None
    assert Prediction(sample_id="x").answer == Label()


def test_a_rubric_adds_its_parts_up():
    assert Rubric(tool_relevance=0.4, argument_quality=0.3, clarity=0.1).score == pytest.approx(0.8)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_a_number_that_json_lacks_is_refused_in_arguments(number: str) -> None:
    call = {"function": {"name": "f", "arguments": f'{{"a": {number}}}'}}
    with pytest.raises(ValueError, match=number.lstrip("-")):
        ToolCall.model_validate(call)


@given(VALUES)
def test_reading_json_undoes_writing_it(value: object) -> None:
    assert from_json(canonical_json(value)) == value


def test_the_trial_is_written_from_the_second_answer_on() -> None:
    first, second = (Prediction(sample_id="a", trial=trial) for trial in (0, 1))
    assert "trial" not in first.model_dump()
    assert second.model_dump()["trial"] == 1
    assert [Prediction.model_validate(one.model_dump()) for one in (first, second)] == [first, second]
    assert [trial_id(one.sample_id, one.trial) for one in (first, second)] == ["a", "a/1"]
