"""What an endpoint can, found out by one small request, or two, before a run spends anything.

The first offers a tool and asks a student for log-probabilities, too: it tells whether the address, the key and the
model are right. The second, to a teacher or judge alone, asks for JSON of a schema, which a reply with a tool call
cannot be. Where tools are turned down, the first is sent once more without them.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol, runtime_checkable

from sloop.models.base import ChatModel, ErrorKind, ModelError, Reply, Sampling
from sloop.models.environment import KEY_OF, Role
from sloop.models.structured import StructuredOutput
from sloop.models.usage import Meter
from sloop.records import Message, Record, Tool

ROLES: tuple[Role, ...] = ("teacher", "judge", "user", "student")
"""In the order in which they are asked."""
WEATHER = Tool(
    name="get_weather",
    description="The weather in a city.",
    parameters={"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
)
USE_TOOL = (Message(role="user", content="Look up the weather in Oslo with the tool."),)
NAME_CITY = (Message(role="user", content="Which city is the capital of Norway?"),)
SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
UNANSWERED: tuple[ErrorKind, ...] = ("no_answer", "unreadable", "filtered")
"""What says nothing of the server: a model may have no answer to this one question."""
LONGEST_ANSWER = 256
"""Tokens: enough for a model that thinks before it calls, at most a fraction of a cent."""


class Finding(Record):
    """What was found out about one endpoint. None: not asked."""

    roles: tuple[Role, ...]
    base_url: str
    model: str
    tools: Literal["yes", "no call made", "refused"]
    structured_output: StructuredOutput | Literal["no"] | None
    """The strongest way to ask for JSON that the server takes; no: no answer satisfied the schema."""
    logprobs: bool | None
    latency: float
    """Seconds of the first request."""


class Chat(ChatModel, Protocol):
    """A chat model that knows how it asks for JSON."""

    @property
    def structured_output(self) -> StructuredOutput:
        """The way that is used now."""
        ...


@runtime_checkable
class Checkable(Protocol):
    """An endpoint as a run sees it."""

    role: Role
    meter: Meter

    @property
    def identity(self) -> dict[str, Any]:
        """Address and model's name."""
        ...

    @property
    def asks_nothing(self) -> bool:
        """Whether every reply comes from the cache."""
        ...

    def check(self, roles: tuple[Role, ...]) -> Finding:
        """Ask it what it can, for these roles."""
        ...

    def close(self) -> None:
        """Close connections."""
        ...


def check_all(endpoints: Sequence[Checkable]) -> list[Finding]:
    """What each endpoint can; one that has several roles, with the same key, is asked once.

    Raises:
        UserError: one is down, refuses the key or has no such model.
        OutOfBudget: nothing more may be spent.
    """
    alike: dict[tuple[str, ...], list[Checkable]] = {}
    for endpoint in sorted(endpoints, key=lambda one: ROLES.index(one.role)):
        if not endpoint.asks_nothing:
            key = (KEY_OF[endpoint.role], *map(str, endpoint.identity.values()))
            alike.setdefault(key, []).append(endpoint)
    return [same[0].check(tuple(dict.fromkeys(one.role for one in same))) for same in alike.values()]


async def look(chat: Chat, roles: tuple[Role, ...]) -> Finding:
    """Send the small requests.

    Raises:
        ModelError: the endpoint gave no reply at all.
    """
    student = "student" in roles
    sampling = Sampling(temperature=0.0, max_tokens=LONGEST_ANSWER, logprobs=student)
    began = time.perf_counter()
    tools: Literal["yes", "no call made", "refused"] = "refused"
    try:
        reply = await chat.complete(USE_TOOL, tools=[WEATHER], sampling=sampling)
        tools = "yes" if reply.calls else "no call made"
    except ModelError as error:
        if error.kind in UNANSWERED:
            tools, reply = "no call made", Reply()
        elif error.kind == "refused":
            reply = await chat.complete(USE_TOOL, sampling=sampling)
        else:
            raise
    return Finding(
        roles=roles,
        base_url=chat.identity["base_url"],
        model=chat.identity["model"],
        tools=tools,
        logprobs=reply.num_logprobs > 0 if student else None,
        latency=time.perf_counter() - began,
        structured_output=await _structured_output(chat) if {"teacher", "judge"} & set(roles) else None,
    )


async def _structured_output(chat: Chat) -> StructuredOutput | Literal["no"]:
    sampling = Sampling(temperature=0.0, max_tokens=LONGEST_ANSWER)
    try:
        await chat.complete(NAME_CITY, sampling=sampling, schema=SCHEMA)
    except ModelError as error:
        if error.kind not in ("malformed", "refused", *UNANSWERED):
            raise
        return "no"
    return chat.structured_output
