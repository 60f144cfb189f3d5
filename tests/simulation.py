"""The simulated model behind the endpoint on loopback, and the words that choose it."""

from __future__ import annotations

import asyncio
import functools
from typing import Any

from endpoint import Endpoint

from sloop.build import build
from sloop.run import parse_config
from sloop.teachers.briefs import SimulatedModel
from sloop.teachers.templates import load_templates
from sloop.types import Label, Message, parse_tools

WORDS = ("teacher=llm", "judge=llm", "gen.judge=true")


@functools.cache
def model() -> SimulatedModel:
    from hydra import compose, initialize_config_dir
    from omegaconf import OmegaConf

    from sloop.cli import conf_folder

    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        plain: Any = OmegaConf.to_container(compose("config", ["teacher=template"]), resolve=True)
    config = parse_config(plain)
    return SimulatedModel(
        teacher=build(config.teacher, "teacher"),
        judge=build(config.judge, "judge"),
        templates=load_templates("everyday"),
    )


def answer(body: dict[str, Any]) -> Label:
    """What the simulated model says to a request."""
    messages = [Message.model_validate(row) for row in body["messages"]]
    return asyncio.run(model().reply(messages, parse_tools(body.get("tools", [])), body.get("seed")))


def simulate(endpoint: Endpoint) -> None:
    """From now on the endpoint answers as the simulated model."""
    model()
    endpoint.answer = lambda body: answer_apart(body)


def answer_apart(body: dict[str, Any]) -> Label:
    """As `answer`, from within an event loop."""
    with __import__("concurrent.futures").futures.ThreadPoolExecutor(1) as thread:
        return thread.submit(answer, body).result()


def words(url: str, *more: str) -> tuple[str, ...]:
    """The words of a command that make this endpoint its teacher and judge."""
    at = (f"{role}.endpoint.base_url={url}" for role in ("teacher", "judge"))
    return (*WORDS, *at, "teacher.endpoint.model=small", "judge.endpoint.model=small", *more)
