"""The simulated model behind the endpoint on loopback, and the words that choose it."""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from endpoint import Endpoint

from sloop.cli import conf_folder
from sloop.engine.build import build
from sloop.models.prompts import last_brief
from sloop.records import Label, Message, Tool
from sloop.simulation.briefs import SimulatedModel
from sloop.simulation.templates import load_templates


@functools.cache
def model() -> SimulatedModel:
    def part(name: str) -> Any:
        return build(yaml.safe_load((Path(conf_folder()) / f"{name}.yaml").read_text()), name)

    return SimulatedModel(
        teacher=part("teacher/template"), judge=part("judge/grounding"), templates=load_templates("everyday")
    )


def answer(body: dict[str, Any]) -> Label:
    """What the simulated model says to a request; it waits for nothing, so that no event loop is needed."""
    messages = [Message.model_validate(row) for row in body["messages"]]
    tools = [Tool.model_validate(row) for row in body.get("tools", [])]
    schema = body.get("response_format", {}).get("json_schema", {}).get("schema")
    try:
        model().reply(messages, tools, schema, body.get("seed")).send(None)
    except StopIteration as end:
        said: Label = end.value
        return said
    raise AssertionError("the simulated model waits")


def simulate(endpoint: Endpoint) -> None:
    """From now on the endpoint answers as the simulated model."""
    endpoint.answer = answer


def briefs(endpoint: Endpoint, role: str) -> list[dict[str, Any]]:
    """What the endpoint was asked in a role, in the order in which it came."""
    asked = [last_brief([Message.model_validate(row) for row in body["messages"]]) or {} for body in endpoint.seen]
    return [brief for brief in asked if brief.get("role") == role]


def unique(endpoint: Endpoint) -> int:
    """How many different requests came."""
    return len({json.dumps(body, sort_keys=True) for body in endpoint.seen})


def words(url: str, *more: str, roles: Sequence[str] = ("teacher", "judge")) -> tuple[str, ...]:
    """The words of a command that make this endpoint its teacher and its judge, and ask it nothing beside."""
    chosen = [f"{role}=llm" for role in roles]
    at = [f"{role}.endpoint.{key}" for role in roles for key in (f"base_url={url}", "model=small")]
    return (*chosen, *at, "preflight=false", *more)
