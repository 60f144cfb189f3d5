from __future__ import annotations

import asyncio
import os
import re
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sloop.calls.schema import call_errors
from sloop.calls.surface import stands_in
from sloop.records import Dialogue, Order, Tool, ToolCall
from sloop.simulation.grammar import Grammar, action, ask, label, names_tool
from sloop.simulation.invent import Unsayable
from sloop.simulation.template import TemplateTeacher
from sloop.simulation.templates import load_templates
from sloop.simulation.values import Values
from sloop.tools.sources import load_tools

CODE = re.compile(r"\w=\S|[{}\[\]]|\"\w+\":")
TYPES = load_templates("everyday").types


def grammar(part="train"):
    return Grammar(Values(TYPES, part=part, random_values=0.3), part=part, spelled_values=0.3)


GRAMMAR = grammar()


def tool(description="Get the weather of a planet.", name="planet_weather", **properties):
    required = [key for key, schema in properties.items() if not schema.pop("optional", False)]
    parameters = {"type": "object", "properties": properties, "required": required}
    return Tool(name=name, description=description, parameters=parameters)


def assert_right(made: Tool, arguments: dict, text: str) -> None:
    assert not call_errors(ToolCall(name=made.name, arguments=arguments), [made]), (made, arguments)
    for name, value in arguments.items():
        assert stands_in(value, made.properties[name], text), (name, value, text)
    assert not names_tool(made.name, made.description, text), text
    assert not CODE.search(text), text


SCALAR = st.one_of(
    st.builds(dict, type=st.just("integer"), minimum=st.integers(-50, 50)),
    st.builds(
        lambda low, size: {"type": "integer", "minimum": low, "maximum": low + size},
        st.integers(-9, 99),
        st.integers(0, 99),
    ),
    st.builds(dict, type=st.just("number"), maximum=st.integers(-50, 5000)),
    st.just({"type": "boolean"}),
    st.builds(dict, enum=st.lists(st.sampled_from(["a_b", "left", 3, 2.5, True]), min_size=1, max_size=3)),
    st.builds(
        dict, type=st.just("string"), format=st.sampled_from(["date", "time", "date-time", "email", "uuid", "uri"])
    ),
    st.builds(dict, type=st.just("string"), minLength=st.integers(0, 30)),
    st.builds(dict, type=st.just("string"), pattern=st.sampled_from(["^[A-Z]{3}$", r"^\d+$", "^[a-z]+$", "@"])),
    st.just({"anyOf": [{"type": "null"}, {"type": "integer"}]}),
    st.just({"type": ["null", "string"]}),
    st.just({"const": "fixed"}),
    st.sampled_from(
        [
            {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1},
            {"type": "integer", "minimum": 700, "exclusiveMaximum": 702},
            {"type": "integer", "multipleOf": 25},
            {"type": "number", "multipleOf": 0.5, "maximum": 2},
            {"type": "integer", "maximum": -7},
        ]
    ),
)
SCHEMA = st.one_of(
    SCALAR,
    st.builds(lambda items, least: {"type": "array", "items": items, "minItems": least}, SCALAR, st.integers(0, 4)),
    st.builds(
        lambda one, two: {"type": "object", "properties": {"size": one, "note": two}, "required": ["size"]},
        SCALAR,
        SCALAR,
    ),
)
NAME = st.sampled_from(
    ["id", "userId", "city", "due_date", "from", "q", "page[size]", "fullName", "Status", "X", "total"]
)


@settings(deadline=None, max_examples=50)
@given(st.dictionaries(NAME, SCHEMA, max_size=4), st.integers(0, 10_000), st.sampled_from(["train", "dev", "test"]))
def test_any_schema_gives_a_valid_call_that_stands_in_its_request(properties, seed, part):
    made = Tool(
        name="do_things",
        description="Does things to <b>stuff</b>.",
        parameters={"type": "object", "properties": properties, "required": list(properties)[:2]},
    )
    rng = Random(seed)
    by = grammar(part)
    arguments = by.draw(made, rng, 0.5)
    assert set(made.required) <= set(arguments)
    assert_right(made, arguments, by.say(made, arguments, rng))


def test_required_arguments_are_always_given_and_optional_ones_up_to_four():
    properties = {f"p{n}": {"type": "integer", "optional": n > 1} for n in range(9)}
    made = tool(**properties)
    sizes = {len(GRAMMAR.draw(made, Random(seed), 0.3)) for seed in range(100)}
    assert sizes == {2, 3, 4}
    everything = tool(**{f"p{n}": {"type": "integer"} for n in range(9)})
    assert len(GRAMMAR.draw(everything, Random(0), 0.5)) == 9


@pytest.mark.parametrize(
    ("description", "command"),
    [
        ("Get the weather of a planet.", "get the weather of a planet"),
        (
            "Shop API - Orders: getOrders. Retrieves the orders of a customer. **Scopes:** x",
            "get the orders of a customer",
        ),
        ("Use this API to remove the [common area](https://a.b/c).", "remove the common area"),
        ("Send a request to this endpoint to create a <b>unit</b> of measure.", "create a unit of measure"),
        ("Discards the draft of a message", "discard the draft of a message"),
        ("GET /now/contact/{id}. Returns a contact that matches the id.", "get a contact"),
    ],
)
def test_a_description_is_boiled_down_to_a_command(description, command):
    assert action(tool(description, name="x_y")) == command


def test_without_a_usable_description_the_name_gives_the_command():
    assert action(tool("", name="users_settings_delete")) == "delete users settings"
    assert action(tool("", name="zz")) == "do what this is for"


def test_a_name_that_is_a_plain_word_of_the_description_may_be_said():
    assert not names_tool("translate", "Translate a text.", "please translate this")
    assert names_tool("getgroup", "Groups: getGroup.", "please getGroup this")


def test_parameters_are_named_in_plain_words():
    assert [label(name) for name in ("userId", "page[size]", "from", "q", "apiURL")] == [
        *("user ID", "page size", "from value", "q value", "API URL"),
    ]
    assert ask("due_date") == "What is the due date?"


@pytest.mark.parametrize("schema", [{"type": "string", "pattern": "^(?!.)a"}, {"type": "object", "properties": {}}])
def test_a_value_that_cannot_be_made_up_is_not_sayable(schema):
    with pytest.raises(Unsayable):
        GRAMMAR.draw(tool(x=schema), Random(0), 0.0)


def test_what_cannot_be_seen_is_not_sayable():
    with pytest.raises(Unsayable):
        GRAMMAR.say(tool(x={"type": "string"}), {"x": ""}, Random(0))


def test_parts_have_phrases_of_their_own():
    made = tool(x={"type": "integer"})
    said = [{grammar(part).say(made, {"x": 5}, Random(seed)) for seed in range(60)} for part in ("train", "test")]
    assert len(said[0]) > 10
    assert said[0].isdisjoint(said[1])


def test_the_same_generator_gives_the_same_request():
    made = tool(x={"type": "string"}, when={"type": "string", "format": "date"})
    drawn = [GRAMMAR.draw(made, Random(4), 0.5) for _ in range(2)]
    assert drawn[0] == drawn[1]
    assert GRAMMAR.say(made, drawn[0], Random(4)) == GRAMMAR.say(made, drawn[1], Random(4))


@pytest.mark.skipif(
    "SLOOP_TOOLS" not in os.environ,
    reason="reads public tool corpora, which are not shipped: set SLOOP_TOOLS to their folder",
)
def test_every_tool_of_the_corpus_gets_a_right_request():
    teacher = TemplateTeacher(
        templates="everyday",
        values="train",
        phrases="train",
        random_values=0.3,
        optional_arguments=0.35,
        spelled_values=0.2,
    )

    async def write_all() -> list[tuple[Tool, object]]:
        made = load_tools(Path(os.environ["SLOOP_TOOLS"]) / "apizoo.json.gz")
        orders = [Order(key=each.name, kind="single", tools=(each,), wanted=(each,)) for each in made]
        return [(each.tools[0], await teacher.write(each, Random(each.key))) for each in orders]

    for made, written in asyncio.run(write_all()):
        assert isinstance(written, Dialogue), made.name
        request, answer = written.messages
        (call,) = answer.tool_calls
        assert_right(made, call.arguments, request.content)
