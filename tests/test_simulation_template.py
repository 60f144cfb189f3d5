from __future__ import annotations

import asyncio
from pathlib import Path
from random import Random
from typing import get_args

import pytest
import yaml

from sloop.calls.schema import call_errors
from sloop.calls.surface import stands_in
from sloop.engine.build import build
from sloop.records import (
    Dialogue,
    Label,
    Message,
    Order,
    Rejected,
    Sample,
    TaskKind,
    Tool,
    ToolCall,
    UserError,
    decisions,
)
from sloop.simulation.phrases import Phrase
from sloop.simulation.template import TemplateTeacher
from sloop.simulation.templates import EVERYDAY, load_templates
from sloop.simulation.values import Values, part_of
from sloop.tools.sources import load_tools

SETTINGS = {"random_values": 0.3, "optional_arguments": 0.4, "spelled_values": 0.3}
ROOT = Path(__file__).parent.parent


def teacher(values="train", phrases="train", templates="everyday", **changes):
    return TemplateTeacher(templates=templates, values=values, phrases=phrases, **{**SETTINGS, **changes})


def write(order, seed=0, by=None):
    return asyncio.run((by or TEACHER).write(order, Random(seed)))


def sample(written, kind="single"):
    assert isinstance(written, Dialogue), written
    ((made, truth),) = decisions(
        written, group="g", kind=kind, source="seed", lineage=Sample(tools=(), messages=()).lineage
    )
    assert truth is None
    return made


def order(kind, offered, wanted=(), **more):
    offered, wanted = (tuple(ALL[name] for name in names) for names in (offered, wanted))
    return Order(key="k", kind=kind, tools=offered, wanted=wanted, **more)


SPLITS = {split: {tool.name: tool for tool in load_tools("everyday", split)} for split in ("train", "dev", "test")}
TOOLS = SPLITS["train"]
ALL = {name: tool for part in SPLITS.values() for name, tool in part.items()}
TEACHER = teacher()
OFFER = ("get_weather", "set_timer", "send_message", "search_flights")


def assert_right(made: Sample) -> None:
    assert made.label is not None
    for call in made.label.calls:
        assert not call_errors(call, made.tools), (made.request, call)
        for name, value in call.arguments.items():
            assert stands_in(value, made.tool(call.name).properties[name], made.request), (made.request, name, value)


@pytest.mark.parametrize("part", ["train", "dev", "test"])
@pytest.mark.parametrize("split", ["train", "dev", "test"])
def test_every_call_is_valid_and_stands_in_its_request(split, part):
    by = teacher(part, part)
    offered = tuple(SPLITS[split])
    for seed, name in enumerate(offered * 15):
        assert_right(sample(write(order("single", offered, [name]), seed, by)))


@pytest.mark.parametrize("kind", get_args(TaskKind))
def test_a_task_in_an_environment_is_no_kind_of_request(kind):
    assert write(order(kind, OFFER, OFFER[:1])).reason == "cannot_express"


def test_two_tools_are_joined_in_one_request():
    made = sample(write(order("parallel", OFFER, ["get_weather", "set_timer"])), "parallel")
    assert [call.name for call in made.label.calls] == ["get_weather", "set_timer"]
    assert_right(made)


def test_one_tool_is_called_twice_with_different_arguments():
    for seed in range(20):
        made = sample(write(order("parallel", OFFER, ["set_timer"]), seed), "parallel")
        first, second = made.label.calls
        assert first.name == second.name == "set_timer"
        assert first.arguments != second.arguments


def test_an_irrelevant_request_is_refused():
    made = sample(write(order("irrelevant", OFFER, ["play_music"])), "irrelevant")
    assert made.label == Label(content="None of my tools can do that.")


def test_an_incomplete_request_is_answered_with_a_question():
    names = [name for name, tool in TOOLS.items() if tool.required]
    for seed, name in enumerate(names * 5):
        made = sample(write(order("incomplete", names, [name]), seed), "incomplete")
        assert made.label.calls == ()
        assert made.label.content.endswith("?")


def test_small_talk_gets_a_short_reply():
    made = sample(write(order("chat", OFFER)), "chat")
    assert made.label.calls == ()
    assert made.label.content


def test_the_generator_alone_decides():
    asked = order("parallel", OFFER, ["get_weather", "search_flights"])
    assert write(asked, 7) == write(asked, 7, teacher())
    assert write(asked, 7) != write(asked, 8)


def test_parts_share_no_phrase_and_no_listed_value():
    templates = load_templates("everyday")
    for template in templates.tools.values():
        for phrases in (template.phrases, template.incomplete):
            assert set(phrases) == {"train", "dev", "test"}
            told = [phrase for part in phrases.values() for phrase in part]
            assert len(set(told)) == len(told), template.name
    banks = {part: Values(templates.types, part=part, random_values=0.5) for part in ("train", "dev", "test")}
    drawn = {part: {bank.draw("city", Random(seed)) for seed in range(300)} for part, bank in banks.items()}
    assert drawn["train"].isdisjoint(drawn["test"] | drawn["dev"])
    assert drawn["dev"].isdisjoint(drawn["test"])


def test_generated_values_are_held_out_too():
    types = load_templates("everyday").types
    banks = [Values(types, part=part, random_values=0.0) for part in ("train", "test")]
    for kind in ("expression", "minutes", "date", "time", "amount"):
        drawn = [{str(bank.draw(kind, Random(seed))) for seed in range(100)} for bank in banks]
        assert drawn[0].isdisjoint(drawn[1]), kind


def test_there_are_enough_phrases_for_every_tool():
    for name in TOOLS:
        phrases = load_templates("everyday").tools[name].phrases
        assert len(phrases["train"]) >= 8, name
        assert len(phrases["dev"]) >= 2, name
        assert len(phrases["test"]) >= 3, name


def test_every_everyday_tool_has_a_template_that_fits():
    templates = load_templates("everyday").tools
    for name, tool in ALL.items():
        assert templates[name].fits(tool), name
        for part in ("train", "dev", "test"):
            said = templates[name].complete(part, tool.required)
            assert len(said) == len(templates[name].phrases[part]), (name, part)
            assert templates[name].lacking(part, tool.required), (name, part)


def test_requests_are_diverse():
    requests = {sample(write(order("single", OFFER, [name]), seed)).request for seed, name in enumerate(OFFER * 50)}
    assert len(requests) > 190


# --- expansions -------------------------------------------------------------------------------------------------------


def seed_sample(kind="single", wanted=("get_weather",), offered=OFFER, seed=0):
    made = sample(write(order(kind, offered, wanted), seed), kind)
    return made.model_copy(update={"kind": kind, "group": "seed"})


def test_values_keeps_the_tools_and_changes_the_request():
    seed = seed_sample()
    made = sample(write(order("single", OFFER, ["get_weather"], axis="values", seed=seed), 5))
    assert made.label.calls[0].name == "get_weather"
    assert made.request != seed.request
    assert_right(made)


@pytest.mark.parametrize("wanted", [["get_weather"], ["search_flights"], ["send_message", "set_timer"]])
def test_phrasing_says_the_label_in_other_words(wanted):
    for number in range(20):
        kind = "parallel" if len(wanted) > 1 else "single"
        seed = seed_sample(kind, wanted, seed=number)
        made = sample(write(order(kind, OFFER, wanted, axis="phrasing", seed=seed), number), kind)
        assert made.label == seed.label
        assert made.request.casefold() != seed.request.casefold()
        assert_right(made)


def test_phrasing_is_written_from_the_label_even_if_that_is_wrong():
    seed = seed_sample().model_copy(
        update={"label": Label(calls=(ToolCall(name="set_timer", arguments={"minutes": 17}),))}
    )
    made = sample(write(order("single", OFFER, ["set_timer"], axis="phrasing", seed=seed)))
    assert_right(made)


@pytest.mark.parametrize(
    "call",
    [
        ToolCall(name="get_weather", arguments={}),
        ToolCall(name="get_weather", arguments={"city": ""}),
        ToolCall(name="get_weather", arguments={"city": "Rome", "planet": "Mars"}),
        ToolCall(name="play_music", arguments={"song": "Creep"}),
    ],
)
def test_a_label_that_cannot_be_said_is_rejected(call):
    seed = seed_sample().model_copy(update={"label": Label(calls=(call,))})
    written = write(order("single", OFFER, axis="phrasing", seed=seed))
    assert isinstance(written, Rejected)
    assert written.reason == "cannot_express"


def test_tools_keeps_request_and_label():
    seed = seed_sample()
    offered = ("get_weather", "play_music", "calculate")
    made = sample(write(order("single", offered, ["get_weather"], axis="tools", seed=seed)))
    assert (made.request, made.label) == (seed.request, seed.label)
    assert {tool.name for tool in made.tools} == set(offered)


def test_contrast_takes_the_tool_away_and_refuses():
    seed = seed_sample()
    made = sample(write(order("irrelevant", ["play_music", "calculate"], axis="contrast", seed=seed)), "irrelevant")
    assert made.request == seed.request
    assert made.label == Label(content="None of my tools can do that.")


def test_contrast_with_the_tool_on_offer_is_rejected():
    written = write(order("irrelevant", OFFER, axis="contrast", seed=seed_sample()))
    assert isinstance(written, Rejected)
    assert written.reason == "wanted_is_offered"


@pytest.mark.parametrize("axis", ["values", "phrasing", "tools", "contrast"])
def test_an_irrelevant_seed_stays_irrelevant(axis):
    """What the request was about is read back from the templates, as the sample does not say it."""
    for number in range(10):
        seed = seed_sample("irrelevant", ["play_music"], seed=number)
        offered = OFFER if axis in ("values", "phrasing") else ("calculate", "web_search", "get_stock_price")
        made = sample(write(order("irrelevant", offered, axis=axis, seed=seed), number), "irrelevant")
        assert made.label == Label(content="None of my tools can do that.")
        heard = load_templates("everyday").hear(made.request)
        assert "play_music" in {each.template.name for each in heard}


@pytest.mark.parametrize("axis", ["tools", "contrast"])
def test_an_irrelevant_seed_is_not_offered_its_tool(axis):
    seed = seed_sample("irrelevant", ["play_music"])
    written = write(order("irrelevant", ("calculate", "play_music"), axis=axis, seed=seed))
    assert isinstance(written, Rejected)
    assert written.reason == "wanted_is_offered"


@pytest.mark.parametrize("axis", ["values", "phrasing", "tools"])
def test_an_incomplete_seed_stays_incomplete(axis):
    seed = seed_sample("incomplete", ["search_flights"])
    made = sample(write(order("incomplete", OFFER, axis=axis, seed=seed), 3), "incomplete")
    assert made.label.calls == ()
    assert made.label.content.endswith("?")


def test_small_talk_has_no_contrast():
    seed = seed_sample("chat", ())
    assert write(order("irrelevant", ["calculate"], axis="contrast", seed=seed)).reason == "no_contrast"


def test_a_label_that_lost_its_calls_is_rejected():
    seed = seed_sample().model_copy(update={"label": Label(content="None of my tools can do that.")})
    for axis in ("values", "phrasing"):
        assert write(order("single", OFFER, axis=axis, seed=seed)).reason == "no_wanted_tool"


def test_earlier_answers_of_a_seed_yield_no_samples():
    seed = seed_sample()
    earlier = (Message(role="user", content="hi"), Message(role="assistant", content="Hello!"))
    seed = seed.model_copy(update={"messages": (*earlier, *seed.messages)})
    made = sample(write(order("single", OFFER, ["get_weather"], axis="phrasing", seed=seed), 1))
    assert made.messages[:2] == earlier


# --- templates of one's own -------------------------------------------------------------------------------------------

LAMP = Tool(
    name="set_lamp",
    description="Set the brightness of a lamp.",
    parameters={
        "type": "object",
        "properties": {"room": {"type": "string"}, "level": {"type": "integer", "minimum": 0, "maximum": 100}},
        "required": ["room", "level"],
    },
)
OWN = {
    "tools": {
        "set_lamp": {
            "slots": {"room": ["kitchen", "hall"], "level": {"integers": [0, 100]}},
            "example": "dim the {room} lamp to {level}",
            "test": ["{level} percent of light in the {room}, please"],
        }
    }
}


def own(folder: Path, content: object) -> str:
    path = folder / "own.yaml"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return str(path)


def test_templates_of_ones_own_are_used(tmp_path):
    by = teacher(templates=own(tmp_path, OWN))
    made = sample(write(Order(key="k", kind="single", tools=(LAMP,), wanted=(LAMP,)), 0, by))
    assert made.request.startswith("dim the ")
    assert_right(made)


def test_a_tool_without_phrases_for_the_part_is_left_to_the_grammar(tmp_path):
    by = teacher(phrases="dev", templates=own(tmp_path, OWN))
    made = sample(write(Order(key="k", kind="single", tools=(LAMP,), wanted=(LAMP,)), 0, by))
    assert "brightness" in made.request
    assert_right(made)


def test_a_template_that_does_not_fit_the_tool_is_left_to_the_grammar():
    other = Tool(
        name="get_weather",
        description="Get the weather of a planet.",
        parameters={"type": "object", "properties": {"planet": {"type": "string"}}, "required": ["planet"]},
    )
    made = sample(write(Order(key="k", kind="single", tools=(other,), wanted=(other,))))
    assert set(made.label.calls[0].arguments) == {"planet"}
    assert_right(made)


@pytest.mark.parametrize(
    ("content", "word"),
    [
        ("a: [", "not YAML"),
        ("- a", "keys and values"),
        ({"tolls": {}}, "tolls"),
        ({"tools": {"f": {"slots": {"x": "nothing"}}}}, "nothing"),
        ({"tools": {"f": {"slots": {"x": []}}}}, "empty list"),
        ({"tools": {"f": {"train": ["do {x}"]}}}, "no slot"),
        ({"tools": {"f": {"train": ["do [this"]}}}, "pair up"),
        ({"tools": {"f": {"train": ["do {x=yes}"]}}}, "JSON"),
        ({"tools": {"f": {"train": "do"}}}, "list of texts"),
        ({"tools": {"f": {"trian": ["do"]}}}, "trian"),
        ({"joins": {"train": ["{a} then"]}}, "must hold"),
        ({"values": {"x": {"integers": [1, 2], "dates": []}}}, "exactly one"),
        ({"values": {"x": {"list": ["a"], "made_up": "song"}}}, "made_up"),
        ({"values": {"x": {"list": []}}}, r"values\.x.*at least one"),
        ({"values": {"x": {"codes": [7]}}}, "one text"),
        ({"values": {"x": {"patterns": "{city} airport"}}}, "give a list"),
        ({"values": {"x": {"groups": [["km"], []]}}}, "none of them empty"),
        ({"values": {"x": {"integers": [90, 2]}}}, "smaller one first"),
        ({"values": {"x": {"numbers": [0.5, 2]}}}, "two whole numbers"),
        ({"values": {"x": {"expressions": 5}}}, "two whole numbers"),
        ({"values": {"x": {"items": "city"}}}, "such as count"),
        ({"values": {"x": {"dates": ["2025-12-31", "2025-01-01"]}}}, "earlier one first"),
        ({"values": {"x": {"dates": ["soon", "later"]}}}, "two dates"),
        ({"values": {"x": {"times": 0}}}, "1 to 900"),
        ({"values": {"x": {"list": ["a"], "made_up": "letters", "length": [4, 2]}}}, "length"),
    ],
)
def test_a_bad_template_file_is_a_user_error_that_names_the_trouble(tmp_path, content, word):
    with pytest.raises(UserError, match=word):
        load_templates(own(tmp_path, content))


def test_a_template_file_that_is_not_there_is_a_user_error():
    with pytest.raises(UserError, match="no such file"):
        teacher(templates="nowhere.yaml")


def test_the_configuration_builds_the_teacher():
    spec = yaml.safe_load((ROOT / "conf/teacher/template.yaml").read_text())
    assert isinstance(build(spec, "teacher"), TemplateTeacher)


def test_a_phrase_is_read_back_from_what_it_says():
    phrase = Phrase.parse("weather in {city}[ in {unit}| using {unit}][, soon{soon=true}]", "here")
    assert phrase.pattern.fullmatch("weather in New York using celsius").groups() == ("New York", None, "celsius")
    assert phrase.cover({"city": "Rome", "soon": True}, Random(0)) is not None
    assert phrase.cover({"city": "Rome", "soon": False}, Random(0)) is None
    assert phrase.cover({"city": "Rome", "soon": 1}, Random(0)) is None
    assert phrase.cover({"unit": "celsius"}, Random(0)) is None


def test_numbers_that_are_all_large_are_drawn():
    values = Values({"price": {"numbers": [200, 900]}}, part="train", random_values=0.0)
    assert all(200 <= values.draw("price", Random(seed)) <= 900 for seed in range(50))


def test_every_fifth_value_is_for_test_and_the_one_before_for_dev():
    assert [part_of(index) for index in range(6)] == ["train", "train", "train", "dev", "test", "train"]


def test_the_packaged_file_is_where_the_module_says():
    assert EVERYDAY.is_file()
