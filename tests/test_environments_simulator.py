"""The simulator: it says what it is, answers alike, remembers what calls made, and bounds what a stranger brings."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path
from typing import Any

import pytest

from sloop.environments.base import ERROR
from sloop.environments.checks import run, shortfall
from sloop.environments.domains import make_environment
from sloop.environments.simulator import MAX_MADE, SAYS, output_schema, simulated
from sloop.records import EnvSpec, Tool, ToolCall, UserError, from_json
from sloop.tools.sources import load_tools


def tool(name: str, /, **properties: str) -> Tool:
    schema = {"type": "object", "properties": {key: {"type": kind} for key, kind in properties.items()}}
    return Tool(name=name, description=f"{name}.", parameters=schema)


def call(name: str, /, **arguments: Any) -> ToolCall:
    return ToolCall(name=name, arguments=arguments)


TOOLS = [
    tool("create_booking", room="string", seats="integer"),
    tool("update_booking", booking_id="string", seats="integer"),
    tool("cancel_booking", booking_id="string"),
    tool("get_booking", booking_id="string"),
    tool("list_bookings", room="string"),
]
SPEC = simulated(TOOLS, seed=1)
BOOK = call("create_booking", room="A", seats=4)


def results(*calls: ToolCall, spec: EnvSpec = SPEC) -> list[Any]:
    return [json.loads(result)["result"] for result in run(spec, calls).results]


def made(call: ToolCall, spec: EnvSpec = SPEC) -> str:
    return str(results(call, spec=spec)[0]["id"])


def test_it_says_that_it_is_one_in_every_description_and_answer() -> None:
    environment = make_environment(SPEC)
    assert all(each.description.endswith(SAYS) for each in environment.tools)
    assert all(json.loads(environment.act(one))["simulated"] is True for one in (BOOK, call("list_bookings")))


def test_what_calls_make_is_known_to_later_ones() -> None:
    thing = made(BOOK)
    known = {"id": thing, "room": "A", "seats": 4}
    assert results(BOOK, call("get_booking", booking_id=thing))[1] == known
    assert results(BOOK, call("list_bookings", room="A"), call("list_bookings", room="B"))[1:] == [
        {"found": [known]},
        {"found": []},
    ]
    changed = call("update_booking", booking_id=thing, seats=6)
    assert results(BOOK, changed, call("get_booking", booking_id=thing))[2] == {**known, "seats": 6}
    gone = run(SPEC, [BOOK, call("cancel_booking", booking_id=thing)])
    assert gone.state["made"] == {}


def test_the_first_verb_of_a_name_says_what_writes_unless_it_is_said() -> None:
    assert make_environment(SPEC).writes == {"create_booking", "update_booking", "cancel_booking"}
    names = ["getOrderStatus", "bookFlight", "orders", "send-mail", "update_list"]
    guessed = make_environment(simulated([tool(name) for name in names], seed=0)).writes
    assert guessed == {"bookFlight", "send-mail", "update_list"}
    told = simulated(TOOLS, seed=1, writes=["list_bookings"])
    assert make_environment(told).writes == {"list_bookings"}


def test_the_same_calls_are_answered_alike_and_another_seed_answers_otherwise() -> None:
    assert run(SPEC, [BOOK, BOOK]) == run(SPEC, [BOOK, BOOK])
    assert made(BOOK) != made(BOOK, simulated(TOOLS, seed=2))
    assert len(run(SPEC, [BOOK, BOOK]).state["made"]) == 2


def test_the_state_check_holds_for_simulated_tools() -> None:
    other = call("create_booking", room="B")
    wanted = run(SPEC, [BOOK, other])
    assert shortfall(run(SPEC, [other, call("list_bookings"), BOOK]), wanted) is None
    for given in ([BOOK], [BOOK, other, other], [BOOK, call("create_booking", room="C")]):
        assert shortfall(run(SPEC, given), wanted) is not None


OUTPUT = {
    "type": "object",
    "properties": {
        "booking_id": {"type": "string"},
        "room": {"type": "string"},
        "price": {"type": "number", "minimum": 10, "maximum": 20},
        "state": {"enum": ["open", "paid"]},
        "guests": {"type": "array", "minItems": 2, "items": {"$ref": "#/$defs/guest"}},
        "day": {"type": "string", "format": "date"},
        "seats": {"type": ["integer", "null"]},
    },
    "required": ["price"],
    "$defs": {"guest": {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}},
}


def test_an_answer_is_of_the_schema_that_a_definition_says() -> None:
    spec = simulated(TOOLS, seed=1, outputs={"create_booking": OUTPUT})
    (answer,) = results(BOOK, spec=spec)
    assert answer["room"] == "A"
    assert answer["seats"] == 4
    assert answer["booking_id"] in run(spec, [BOOK]).state["made"]
    assert 10 <= answer["price"] <= 20
    assert [*answer["guests"][0]] == ["name"]


@pytest.mark.parametrize(
    ("schema", "answer"),
    [
        ({"type": "object", "properties": {"seats": {"type": "number"}}}, {"seats": 4}),
        ({"type": "null"}, None),
        ({"enum": [None]}, None),
    ],
)
def test_what_is_known_and_what_is_nothing_are_answers_as_well(schema: dict[str, Any], answer: Any) -> None:
    spec = simulated(TOOLS, seed=1, outputs={"create_booking": schema})
    assert results(BOOK, spec=spec) == [answer]
    assert len(run(spec, [BOOK]).state["made"]) == 1


@pytest.mark.parametrize(
    "bounds",
    [
        {"minimum": 0.2, "maximum": 0.9},
        {"exclusiveMinimum": 0, "exclusiveMaximum": 1},
        {"minimum": 0.5, "maximum": 0.5},
        {"minimum": 0.5, "maximum": 3},
    ],
)
def test_a_number_is_found_between_narrow_bounds(bounds: dict[str, float]) -> None:
    for seed in range(5):
        schema = {"type": "number", **bounds}
        (answer,) = results(BOOK, spec=simulated(TOOLS, seed=seed, outputs={"create_booking": schema}))
        assert bounds.get("minimum", 0) <= answer <= bounds.get("maximum", 1)


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string", "pattern": "^(a+)+$"},
        {"type": "integer", "minimum": 5, "maximum": 4},
        {"type": "number", "minimum": -1e308, "maximum": 1e308, "multipleOf": 1e-300},
        {"type": "array", "minItems": 10**9, "items": {}},
        {"type": "string", "minLength": 10**9},
        {"$ref": "#"},
        {"not": {}},
    ],
)
def test_what_cannot_be_made_is_told_and_changes_nothing(schema: dict[str, Any]) -> None:
    found = run(simulated(TOOLS, seed=1, outputs={"create_booking": schema}), [BOOK])
    assert found.results[0] == f"{ERROR}what create_booking returns cannot be simulated by its schema"
    assert found.state["made"] == {}


@pytest.mark.parametrize(
    ("state", "told"),
    [
        ({}, "state.tools: Field required"),
        ({"tools": [{"name": "f", "parameters": {"type": 3}}]}, "tool 'f': its parameters are not a JSON Schema"),
        ({"tools": [TOOLS[0].to_openai()] * 2}, "two tools of one name"),
        ({"tools": [], "writes": ["f"]}, "no tool is called 'f'"),
        ({"tools": [TOOLS[0].to_openai()], "outputs": {"create_booking": {"type": 3}}}, "not a JSON Schema"),
        ({"tools": [TOOLS[0].to_openai()] * 201}, "state.tools: List should have at most 200"),
        ({"tools": [], "made": {"x": {"y": "z" * 10**6}}}, "1000000 are allowed"),
    ],
)
def test_what_is_no_state_is_told_so(state: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError, match=told):
        make_environment(EnvSpec(toolkit="simulated", state=state))


def test_who_makes_endlessly_is_refused() -> None:
    full = SPEC.model_copy(update={"state": {**SPEC.state, "made": {str(k): {} for k in range(MAX_MADE)}}})
    (answer,) = run(full, [BOOK]).results
    assert answer == f"{ERROR}there is no room for more; {MAX_MADE} things can be made"


@pytest.mark.parametrize(
    ("definition", "schema"),
    [
        ({"name": "f", "outputSchema": {"type": "object"}}, {"type": "object"}),
        ({"function": {"name": "f", "returns": {"type": "integer"}}}, {"type": "integer"}),
        ({"name": "f", "response": {"type": "dict"}}, {"type": "object"}),
        (
            {"responses": {"200": {"content": {"application/json": {"schema": {"type": "array", "items": {}}}}}}},
            {"type": "array", "items": {}},
        ),
        ({"name": "f", "returns": "a number"}, None),
        ({"responses": {"200": {"description": "ok"}}}, None),
        ({"outputSchema": {"$ref": "#/nowhere"}}, None),
        ({"name": "f"}, None),
    ],
)
def test_what_a_definition_says_of_its_output_is_read(
    definition: dict[str, Any], schema: dict[str, Any] | None
) -> None:
    assert output_schema(definition) == schema


FOLDER = os.environ.get("SLOOP_TOOLS")


@pytest.mark.skipif(not FOLDER, reason="reads public tool sets: SLOOP_TOOLS=FOLDER")
def test_every_public_tool_set_is_simulated() -> None:
    for path in sorted(Path(str(FOLDER)).glob("*.json.gz")):
        if ".meta." in path.name:
            continue
        tools = load_tools(path, keep_going=True)[:200]
        rows = from_json(gzip.decompress(path.read_bytes()).decode())
        outputs = {}
        for row in rows if isinstance(rows, list) else []:
            name = (row.get("function") or row).get("name")
            if name in {tool.name for tool in tools} and (schema := output_schema(row)):
                outputs[name] = schema
        environment = make_environment(simulated(tools, seed=0, outputs=outputs))
        answers = [environment.act(call(tool.name)) for tool in tools if not tool.required]
        assert all(json.loads(answer)["simulated"] for answer in answers if not answer.startswith(ERROR))
