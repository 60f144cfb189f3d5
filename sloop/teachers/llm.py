"""A teacher and a judge that are models behind an endpoint, in roles: user, assistant, judge.

A record takes up to three requests. The *user* writes what is asked for, knowing which tools it should be about. The
*assistant* is then shown the dialogue and the tools on offer and nothing else, and decides: what it does is the label.
The *judge* sees the question and the answer. Nobody is shown what another role was told, so that the request of the
first, the calls of the second and the verdict of the third are three opinions; where they differ, the record is
`Rejected` with a reason, and counted.

The judge is the ``judge`` of the configuration: ``gen.judge=true`` asks it about every sample that a teacher writes,
``optimize`` about every expansion. A teacher does not judge itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any, cast, get_args

from sloop.calls.formats import parse_tool_calls, render_tool_calls
from sloop.calls.schema import call_errors
from sloop.models.base import ModelError, Reply, Sampling
from sloop.models.endpoint import Endpoint
from sloop.models.prompts import Prompts, said
from sloop.records import (
    AnyKind,
    Dialogue,
    Kind,
    Label,
    Message,
    Order,
    Rejected,
    Tool,
    digest,
)
from sloop.records.ranges import PathText, Seed, ServedTemperature, Tokens
from sloop.teachers.base import continued

REQUEST: Mapping[str, Any] = {
    "type": "object",
    "properties": {"request": {"type": "string"}},
    "required": ["request"],
    "additionalProperties": False,
}
"""What the user's role answers."""
CALLS: Mapping[Kind, tuple[int, int]] = {"single": (1, 1), "parallel": (2, 99)}
"""Fewest and most calls that a kind of sample is about; any other kind is about none."""
WITHOUT: Mapping[AnyKind, Kind] = {"missing_value": "incomplete", "missing_tool": "irrelevant"}
"""By kind of task, what a decision of it is that calls nothing; one of any other kind of task is chat."""


class LLMTeacher:
    """Writes dialogues (`sloop.teachers.base.Teacher`).

    The assistant answers through the chat API's own ``tools``, not through JSON of ours: that is what models are
    trained for and what a student is asked through, and it sends the tools once, outside the prompt's text. A server
    without tool calls cannot be the teacher's.
    """

    MODULES = (
        "sloop.records.base",
        "sloop.records.samples",
        "sloop.calls.formats",
        "sloop.calls.schema",
        "sloop.models.bounded",
        "sloop.models.prompts",
        "sloop.teachers.base",
        "sloop.teachers.llm",
        "sloop/prompts",
    )

    FOLDERS = frozenset({"prompts"})

    def __init__(
        self,
        *,
        endpoint: Endpoint,
        request_temperature: ServedTemperature,
        answer_temperature: ServedTemperature,
        max_tokens: Tokens,
        seed: Seed | None,
        styles: list[str],
        prompts: PathText | None,
    ) -> None:
        """Take the settings as they stand in ``conf/teacher/llm.yaml``, which says what each value is.

        Raises:
            UserError: a folder of prompts that is not there.
        """
        self._endpoint = endpoint
        self._temperatures = {"user": request_temperature, "assistant": answer_temperature}
        self._max_tokens = max_tokens
        self._seed = seed
        self._styles = styles
        self._prompts = Prompts(prompts)

    @property
    def in_flight(self) -> int:
        """Orders worth having on their way at a time."""
        return self._endpoint.in_flight

    def close(self) -> None:
        """Close connections and the cache."""
        self._endpoint.close()

    async def write(self, order: Order, rng: Random) -> Dialogue | Rejected:
        """Write one dialogue, or say why not.

        The label is always the assistant's own answer. Its request is a new one, but for the axes ``tools`` and
        ``contrast``, which ask the seed's own request with other tools on offer.

        Raises:
            ModelError: the endpoint failed in all its tries.
            UserError: what every request would meet; see `sloop.models.endpoint.Endpoint`.
        """
        try:
            messages = await self._question(order, rng)
            return continued(order.tools, messages, await self._label(order, messages))
        except _Unusable as refusal:
            return Rejected(key=order.key, reason=refusal.reason, detail=refusal.detail)

    async def _question(self, order: Order, rng: Random) -> tuple[Message, ...]:
        """The dialogue that the assistant is to answer."""
        seed = order.seed
        if seed is not None and (not seed.messages or seed.messages[-1].role != "user"):
            raise _Unusable("cannot_express", "the seed does not end with a request")
        if seed is not None and order.axis in ("tools", "contrast"):
            return seed.messages
        reply = await self._ask(order, self._user_brief(order, rng), schema=REQUEST)
        request = " ".join(str(reply.data["request"]).split())
        if not request:
            raise _Unusable("no_request", "the user's role wrote nothing")
        if named := [tool.name for tool in (*order.wanted, *order.tools) if _names(request, tool.name)]:
            raise _Unusable("names_tool", f"{named[0]}: {request}")
        before = seed.messages[:-1] if seed is not None and order.axis == "phrasing" else ()
        return (*before, Message(role="user", content=request))

    def _user_brief(self, order: Order, rng: Random) -> dict[str, Any]:
        wanted = {tool.name for tool in order.wanted}
        others = [tool for tool in order.tools if tool.name not in wanted]
        mistake = order.mistake and (order.mistake.answer or Label(content=order.mistake.text))
        return {
            "role": "user",
            "kind": kind_of(order),
            "axis": order.axis,
            "wanted": [tool.to_openai()["function"] for tool in order.wanted],
            "others": [{"name": tool.name, "description": tool.description} for tool in others],
            "seed": order.seed.request if order.seed else None,
            "mistake": said(mistake) if mistake else None,
            "style": rng.choice(self._styles) if self._styles else None,
            "draw": rng.getrandbits(31),
        }

    async def _label(self, order: Order, messages: Sequence[Message]) -> Label:
        """What the assistant does, checked for what needs no second opinion."""
        brief = {"role": "assistant", "messages": [message.to_openai() for message in messages]}
        reply = await self._ask(order, brief, tools=order.tools)
        if reply.ending != "answer":
            raise _Unusable("unfinished", f"the assistant's reply ended with {reply.finish}")
        written = [(call.name, call.arguments) for call in reply.calls]
        parsed = parse_tool_calls(reply.content.strip(), written, order.tools)
        if parsed.error:
            raise _Unusable("invalid_call", f"cannot be read: {render_tool_calls(reply.content, written)}")
        for call in parsed.calls:
            if not any(tool.name == call.name for tool in order.tools):
                raise _Unusable("not_offered", call.name)
            if errors := call_errors(call, order.tools):
                raise _Unusable("invalid_call", f"{call.name}: {errors[0]}")
        kind = kind_of(order)
        fewest, most = CALLS.get(kind, (0, 0))
        if not fewest <= len(parsed.calls) <= most:
            raise _Unusable("other_kind", f"{kind} was asked for, and the answer has {len(parsed.calls)} calls")
        return Label(calls=parsed.calls, content=parsed.content)

    async def _ask(
        self,
        order: Order,
        brief: Mapping[str, Any],
        *,
        tools: Sequence[Tool] = (),
        schema: Mapping[str, Any] | None = None,
    ) -> Reply:
        role = brief["role"]
        sampling = Sampling(
            temperature=self._temperatures[role],
            max_tokens=self._max_tokens,
            seed=None if self._seed is None else int(digest([self._seed, order.key, role])[:7], 16),
        )
        prompt, salt = self._prompts.write(brief), f"{order.key}/{role}"
        try:
            return await self._endpoint.complete(prompt, tools=tools, sampling=sampling, schema=schema, salt=salt)
        except ModelError as error:
            if error.kind == "unreadable":
                raise _Unusable("invalid_call", f"the server cannot read it: {error.written or error.detail}") from None
            if error.kind == "filtered":
                raise _Unusable("unfinished", f"the server withheld it: {error.detail}") from None
            raise


def kind_of(order: Order) -> Kind:
    """What is asked of the roles: the kind that was ordered or, where that is one of tasks in an environment, what the
    decision does that is expanded, or as many calls as tools are wanted.
    """
    if order.kind in get_args(Kind):
        return cast(Kind, order.kind)
    calls = len(order.seed.label.calls) if order.seed and order.seed.label else len(order.wanted)
    return "parallel" if calls > 1 else "single" if calls else WITHOUT.get(order.kind, "chat")


def _names(request: str, name: str) -> bool:
    """Whether the request names a tool as code does; a name that is a plain word names nothing."""
    plain = name.isalpha() and name in (name.lower(), name.capitalize())
    return not plain and re.search(rf"(?<!\w){re.escape(name)}(?!\w)", request, re.IGNORECASE) is not None


class _Unusable(Exception):
    """What a role wrote cannot be part of a record."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.detail = detail[:300]
