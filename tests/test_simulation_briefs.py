"""The simulated model: it reads the last brief and nothing else, and answers the same request in the same way."""

from __future__ import annotations

import asyncio
import json
from random import Random
from typing import Any

import pytest
from simulation import model

from sloop.calls.match.strict import strict
from sloop.calls.schema import call_errors
from sloop.engine.build import Components
from sloop.records import Label, Message, Sample, Tool, ToolCall
from sloop.simulation.briefs import UNSURE
from sloop.stages.gen import Gen, GenSettings, preview
from sloop.stages.samplers import RandomSampler
from sloop.teachers.llm import said
from sloop.tools.sources import load_tools

TOOLS = load_tools("everyday", "train")
WEATHER = next(tool for tool in TOOLS if tool.name == "get_weather")
CALCULATE = next(tool for tool in TOOLS if tool.name == "calculate")
PARIS = Label(calls=(ToolCall(name="get_weather", arguments={"city": "Paris"}),))
ROME = Label(calls=(ToolCall(name="get_weather", arguments={"city": "Rome"}),))


def prompt(brief: Any, prose: str = "Do as told.") -> list[Message]:
    return [Message(role="user", content=f"{prose}\n\n```json\n{json.dumps(brief)}\n```")]


def reply(messages: list[Message], tools: tuple[Tool, ...] = (), seed: int | None = 0) -> Label:
    return asyncio.run(model().reply(messages, tools, None, seed))


def user(**changes: Any) -> dict[str, Any]:
    brief = {
        "role": "user",
        "kind": "single",
        "axis": None,
        "wanted": [WEATHER.to_openai()["function"]],
        "others": [{"name": "calculate", "description": CALCULATE.description}],
        "seed": None,
        "mistake": None,
        "style": None,
        "draw": 1,
    }
    return {**brief, **changes}


def dialogue(text: str) -> dict[str, Any]:
    return {"role": "assistant", "messages": [{"role": "user", "content": text}]}


def request(brief: dict[str, Any]) -> str:
    return str(json.loads(reply(prompt(brief)).content)["request"])


def test_the_same_request_gets_the_same_answer_and_another_draw_another() -> None:
    assert request(user()) == request(user())
    assert len({request(user(draw=draw)) for draw in range(8)}) > 4


def test_the_prose_changes_nothing() -> None:
    first, second = (reply(prompt(user(), prose)) for prose in ("Do as told.", "The label is calculate. Ignore it."))
    assert first == second


def test_the_last_brief_counts_and_what_follows_it_is_no_brief() -> None:
    asked = [
        *prompt(dialogue("what is 2 + 2?")),
        Message(role="assistant", content="What?"),
        *prompt(dialogue("what is the weather in Paris?")),
        Message(role="assistant", content="no JSON"),
        Message(role="user", content="That answer is not usable. Answer again."),
    ]
    assert reply(asked, (WEATHER, CALCULATE)).calls == PARIS.calls


@pytest.mark.parametrize(
    "text",
    [
        "Hello.",
        "```json\n[1]\n```",
        "```json\n{no JSON}\n```",
        '```json\n{"role": "planner"}\n```',
        '```json\n{"role": "user", "wanted": 1}\n```',
    ],
)
def test_what_is_no_brief_is_not_understood(text: str) -> None:
    assert reply([Message(role="user", content=text)]).content == UNSURE


def test_without_a_brief_it_answers_in_the_form_that_is_asked_for() -> None:
    asked = [Message(role="user", content="Look up the weather in Oslo with the tool.")]
    (call,) = reply(asked, (WEATHER,)).calls
    assert call_errors(call, [WEATHER]) == ()
    schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    told = json.loads(asyncio.run(model().reply(asked, (), schema, 0)).content)
    assert set(told) == {"city"}
    nothing = {"type": "object", "properties": {"x": {"not": {}}}, "required": ["x"]}
    assert asyncio.run(model().reply(asked, (), nothing, 0)).content == UNSURE


@pytest.mark.parametrize(
    ("kind", "wanted", "calls"),
    [("single", [WEATHER], 1), ("parallel", [WEATHER], 2), ("incomplete", [WEATHER], 0), ("chat", [], 0)],
)
def test_its_requests_are_of_the_kind_and_understood_by_itself(kind: str, wanted: list[Tool], calls: int) -> None:
    brief = user(kind=kind, wanted=[tool.to_openai()["function"] for tool in wanted])
    answer = reply(prompt(dialogue(request(brief))), (WEATHER, CALCULATE))
    assert len(answer.calls) == calls
    assert answer.calls or answer.content


def test_a_request_for_what_is_not_on_offer_is_refused() -> None:
    text = request(user(kind="irrelevant"))
    answer = reply(prompt(dialogue(text)), (CALCULATE,))
    assert answer.calls == ()
    assert answer.content


@pytest.mark.parametrize("axis", ["values", "phrasing"])
def test_after_a_seed_comes_another_request_for_the_same_tool(axis: str) -> None:
    text = request(user(axis=axis, seed="what is the weather in Paris?"))
    assert text != "what is the weather in Paris?"
    (call,) = reply(prompt(dialogue(text)), (WEATHER, CALCULATE)).calls
    assert call.name == "get_weather"
    assert (call.arguments["city"] == "Paris") == (axis == "phrasing")


def test_a_seed_that_it_does_not_understand_gives_a_fresh_request() -> None:
    assert request(user(axis="phrasing", seed="gibberish, all of it")) != UNSURE


def test_it_judges_by_the_rules_of_the_grounding_judge() -> None:
    brief = {
        "role": "judge",
        "rubric": False,
        "tools": [tool.to_openai()["function"] for tool in (WEATHER, CALCULATE)],
        "messages": [{"role": "user", "content": "what is the weather in Paris?"}],
        "answers": {"answer_1": said(ROME), "answer_2": said(PARIS)},
    }
    told = json.loads(reply(prompt(brief)).content)
    assert {name: verdict["correct"] for name, verdict in told.items()} == {"answer_1": False, "answer_2": True}
    alone = {**brief, "rubric": True, "answers": {"answer_1": said(PARIS)}}
    (verdict,) = json.loads(reply(prompt(alone)).content).values()
    assert set(verdict) == {"reason", "correct", "tool_relevance", "argument_quality", "clarity"}


@pytest.mark.parametrize(("path", "share"), [("everyday", 0.97), ("acme", 0.95)])
def test_it_understands_nearly_all_that_templates_and_grammar_write(path: str, share: float) -> None:
    """What it does not is what a model may miss, too: the loop has to live with it."""
    from running import CONF

    from sloop.simulation.hearing import Hearing
    from sloop.simulation.templates import load_templates

    tools = TOOLS if path == "everyday" else load_tools(CONF.parent / "acme_tools.json")
    kinds = {"single": 0.6, "parallel": 0.1, "irrelevant": 0.15, "incomplete": 0.1, "chat": 0.05}
    settings = GenSettings(kinds=kinds, offered=(3, 5), contrast=0.5)
    asked = Gen(
        tools=tools,
        teacher=model()._teacher,
        sampler=RandomSampler(),
        settings=settings,
        num_samples=300,
        seed=1,
        train_split=1.0,
    )
    writing = preview(asked, Components())
    hearing = Hearing(load_templates("everyday"))
    samples = [sample for sample in asyncio.run(writing) if isinstance(sample, Sample)]
    heard = [hearing.label(sample.tools, sample.request, Random(0)) for sample in samples]
    right = sum(
        strict(sample.tools, answer.calls, sample.label).valid
        for sample, answer in zip(samples, heard, strict=True)
        if sample.label
    )
    assert right >= share * len(samples)
