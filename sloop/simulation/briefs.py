"""A simulated model that plays the roles of `sloop.teachers.llm` without a network, a key or any weights.

It reads the last fenced JSON brief of the prompt, and for the assistant's role the tools that come with the request;
never the prose, and never the truth, which no request holds. The user's role it leaves to a teacher (the templates),
the judge's to a judge (the rules), and the assistant's to `sloop.simulation.hearing`, which has to understand the
request from its words. So it errs as its parts do: it misreads some requests, refuses what it has no phrase for, and
judges by rules. It is there so that the path over HTTP can be run and tested; its answers say nothing about any real
model.
To what has no brief, such as a question after what the server can, it answers in the form that is asked for with
made-up values: a call of the first tool, or JSON of the schema.

The same request always gets the same answer, whatever was asked before: all chance comes from the request's digest.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

from sloop.judges.base import Judge
from sloop.models.prompts import last_brief
from sloop.records import Label, Message, Order, Rejected, Sample, Tool, ToolCall, digest
from sloop.simulation.grammar import Grammar
from sloop.simulation.hearing import Hearing
from sloop.simulation.invent import Unsayable
from sloop.simulation.templates import Templates
from sloop.simulation.values import Values
from sloop.teachers.base import Teacher

UNSURE = "I do not know what to say."
"""Its answer to what is no brief of ours, and its request where it can write none."""


class SimulatedModel:
    """Answers role prompts."""

    def __init__(self, *, teacher: Teacher, judge: Judge, templates: Templates) -> None:
        """Take the parts that answer.

        Args:
            teacher: writes the requests.
            judge: judges the answers.
            templates: phrases that requests are heard by.
        """
        self._teacher = teacher
        self._judge = judge
        self._hearing = Hearing(templates)
        bank = Values(templates.types, part="train", random_values=0.0)
        self._grammar = Grammar(bank, part="train", spelled_values=0.0)

    async def reply(
        self, messages: Sequence[Message], tools: Sequence[Tool], schema: Mapping[str, Any] | None, seed: int | None
    ) -> Label:
        """What the model says: calls, or content, which is JSON for the roles that answer in JSON.

        Args:
            messages: the dialogue.
            tools: on offer.
            schema: of the JSON that is asked for, read only where there is no brief.
            seed: of the request; another seed may get another answer.
        """
        brief = last_brief(messages)
        if brief is None:
            return self._made_up(tools, schema, Random(digest([[message.to_openai() for message in messages], seed])))
        chance = digest([brief, seed])
        try:
            return await answer_brief(
                brief, tools, chance, teacher=self._teacher, judge=self._judge, hearing=self._hearing
            )
        except (KeyError, TypeError, ValueError):  # a role of ours, and not its facts: somebody else's brief
            return Label(content=UNSURE)

    def _made_up(self, tools: Sequence[Tool], schema: Mapping[str, Any] | None, rng: Random) -> Label:
        try:
            if tools:
                call = ToolCall(name=tools[0].name, arguments=self._grammar.draw(tools[0], rng, 0.0))
                return Label(calls=(call,))
            if schema is not None:
                return _as_json(self._grammar.draw(Tool(name="reply", parameters=dict(schema)), rng, 1.0))
        except Unsayable:  # a schema for which no value can be made up
            pass
        return Label(content=UNSURE)


async def answer_brief(
    brief: Mapping[str, Any], tools: Sequence[Tool], chance: str, *, teacher: Teacher, judge: Judge, hearing: Hearing
) -> Label:
    """The answer to one brief.

    Args:
        brief: as `sloop.teachers.llm` writes it.
        tools: that the assistant may call.
        chance: decides all that is left to chance.
        teacher: writes requests.
        judge: judges answers.
        hearing: understands requests.
    """
    rng = Random(chance)
    role = brief.get("role")
    if role == "user":
        return _as_json({"request": await _request(brief, rng, teacher, hearing)})
    if role == "assistant":
        return hearing.label(tools, _dialogue(brief, tools).request, rng)
    if role == "judge":
        return _as_json(await _verdicts(brief, rng, judge))
    return Label(content=UNSURE)


async def _request(brief: Mapping[str, Any], rng: Random, teacher: Teacher, hearing: Hearing) -> str:
    """A request that the teacher writes. Of a seed it is told the text, and what can be heard in that."""
    wanted = tuple(_tool(row) for row in brief["wanted"])
    others = tuple(_tool(row) for row in brief["others"])
    offered = others if brief["kind"] == "irrelevant" else (*others, *wanted)
    seed = None
    if brief["seed"] is not None:
        known = (*others, *wanted)
        heard = hearing.label(known, brief["seed"], rng)
        seed = Sample(tools=known, messages=(Message(role="user", content=brief["seed"]),), label=heard)
    order = Order(
        key="brief", kind=brief["kind"], tools=offered, wanted=wanted, axis=brief["axis"] if seed else None, seed=seed
    )
    for attempt in (order, order.model_copy(update={"axis": None, "seed": None})):
        written = await teacher.write(attempt, rng)
        if not isinstance(written, Rejected):
            return written.messages[0].content
    return UNSURE


async def _verdicts(brief: Mapping[str, Any], rng: Random, judge: Judge) -> dict[str, Any]:
    answers = {
        name: Label(calls=tuple(ToolCall(**call) for call in answer["calls"]), content=answer["content"])
        for name, answer in brief["answers"].items()
    }
    sample = _dialogue(brief, [_tool(row) for row in brief["tools"]])
    verdicts = await judge.judge(sample, list(answers.values()), rng)
    told: dict[str, Any] = {}
    for name, verdict in zip(answers, verdicts, strict=True):
        told[name] = {"reason": "; ".join(verdict.evidence), "correct": verdict.correct}
        if brief["rubric"] and verdict.rubric:
            told[name] |= verdict.rubric.model_dump()
    return told


def _dialogue(brief: Mapping[str, Any], tools: Sequence[Tool]) -> Sample:
    return Sample(tools=tuple(tools), messages=tuple(Message.model_validate(row) for row in brief["messages"]))


def _tool(row: Mapping[str, Any]) -> Tool:
    return Tool(**{"parameters": {"type": "object", "properties": {}}, **row})


def _as_json(value: Mapping[str, Any]) -> Label:
    return Label(content=json.dumps(value, ensure_ascii=False))
