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
from typing import Any

from sloop.calls.formats import parse_tool_calls, render_tool_calls
from sloop.calls.schema import call_errors
from sloop.models.base import Reply, Sampling
from sloop.models.endpoint import Endpoint
from sloop.teachers.prompts import Prompts
from sloop.teachers.template import continued
from sloop.types import (
    Dialogue,
    Kind,
    Label,
    Message,
    Order,
    Rejected,
    Rubric,
    Sample,
    Tool,
    UserError,
    Verdict,
    digest,
)

REQUEST: Mapping[str, Any] = {
    "type": "object",
    "properties": {"request": {"type": "string"}},
    "required": ["request"],
    "additionalProperties": False,
}
"""What the user's role answers."""
CALLS: Mapping[Kind, tuple[int, int]] = {"single": (1, 1), "parallel": (2, 99)}
"""Fewest and most calls that a kind of sample is about; any other kind is about none."""
RUBRIC: Mapping[str, float] = {"tool_relevance": 0.4, "argument_quality": 0.4, "clarity": 0.2}
"""The most that each part of the rubric may give."""


class LLMTeacher:
    """Writes dialogues (`sloop.teachers.base.Teacher`).

    The assistant answers through the chat API's own ``tools``, not through JSON of ours: that is what models are
    trained for and what a student is asked through, and it sends the tools once, outside the prompt's text. A server
    without tool calls cannot be the teacher's.
    """

    FOLDERS = frozenset({"prompts"})

    def __init__(
        self,
        *,
        endpoint: Endpoint,
        request_temperature: float,
        answer_temperature: float,
        max_tokens: int,
        seed: int | None,
        styles: list[str],
        prompts: str | None,
    ) -> None:
        """Take the settings as they stand in ``conf/teacher/llm.yaml``, which says what each value is.

        Raises:
            UserError: a setting outside what is allowed, or a folder of prompts that is not there.
        """
        for key, value in (("request_temperature", request_temperature), ("answer_temperature", answer_temperature)):
            if not 0 <= value <= 2:
                raise UserError(f"teacher.{key}={value}: a number from 0 to 2. Try teacher.{key}=1.")
        if max_tokens < 1:
            raise UserError(f"teacher.max_tokens={max_tokens}: 1 or more. Try teacher.max_tokens=512.")
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
            "kind": order.kind,
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
        if reply.finish in ("length", "content_filter"):
            raise _Unusable("unfinished", f"the assistant's reply ended with {reply.finish}")
        parsed = parse_tool_calls(reply.content.strip(), [(call.name, call.arguments) for call in reply.calls])
        if parsed.error:
            written = [(call.name, call.arguments) for call in reply.calls]
            raise _Unusable("invalid_call", f"cannot be read: {render_tool_calls(reply.content, written)}")
        for call in parsed.calls:
            if not any(tool.name == call.name for tool in order.tools):
                raise _Unusable("not_offered", call.name)
            if errors := call_errors(call, order.tools):
                raise _Unusable("invalid_call", f"{call.name}: {errors[0]}")
        if not parsed.calls and not parsed.content.strip():
            raise _Unusable("no_answer", "neither calls nor words")
        fewest, most = CALLS.get(order.kind, (0, 0))
        if not fewest <= len(parsed.calls) <= most:
            raise _Unusable("other_kind", f"{order.kind} was asked for, and the answer has {len(parsed.calls)} calls")
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
        return await self._endpoint.complete(
            self._prompts.write(brief), tools=tools, sampling=sampling, schema=schema, salt=f"{order.key}/{role}"
        )


class LLMJudge:
    """Judges by a model (`sloop.teachers.base.Judge`). Which of the answers is the label it is never told.

    Every answer gets the verdict on which all votes agree, and None where they do not, or where one cannot tell. One
    answer is also scored by the rubric, whose parts are averaged over the votes and added up here.
    """

    FOLDERS = frozenset({"prompts"})

    def __init__(
        self,
        *,
        endpoint: Endpoint,
        votes: int,
        swap: bool,
        temperature: float,
        max_tokens: int,
        seed: int | None,
        prompts: str | None,
    ) -> None:
        """Take the settings as they stand in ``conf/judge/llm.yaml``, which says what each value is.

        Raises:
            UserError: a setting outside what is allowed, or a folder of prompts that is not there.
        """
        if not 0 <= temperature <= 2:
            raise UserError(f"judge.temperature={temperature}: a number from 0 to 2. Try judge.temperature=0.")
        for key, value in (("votes", votes), ("max_tokens", max_tokens)):
            if value < 1:
                raise UserError(f"judge.{key}={value}: 1 or more. Leave it out for the default.")
        self._endpoint = endpoint
        self._votes = votes
        self._swap = swap
        self._temperature = temperature
        self._max_tokens = max_tokens
        self._seed = seed
        self._prompts = Prompts(prompts)

    @property
    def in_flight(self) -> int:
        """Samples worth having on their way at a time."""
        return self._endpoint.in_flight

    def close(self) -> None:
        """Close connections and the cache."""
        self._endpoint.close()

    async def judge(self, sample: Sample, answers: Sequence[Label | None], rng: Random) -> list[Verdict]:
        """One verdict per answer, in order. An answer that could not be parsed is wrong, and nobody is asked about it.

        Raises:
            ModelError: the endpoint failed in all its tries.
            UserError: what every request would meet; see `sloop.models.endpoint.Endpoint`.
        """
        rubric = len(answers) == 1
        asked = [answer for answer in answers if answer is not None]
        votes: list[list[Mapping[str, Any]]] = [[] for _ in asked]
        turns = [False, True] if self._swap and len(asked) > 1 else [False]
        for vote in range(self._votes if asked else 0):
            for turned in turns:
                if votes[0] and all(_agreed(given) is None for given in votes):
                    break  # no further vote can settle it
                given = await self._vote(sample, asked[::-1] if turned else asked, rubric, vote, turned)
                for one, word in zip(votes, reversed(given) if turned else given, strict=True):
                    one.append(word)
        summed = iter([_verdict(given, rubric) for given in votes])
        return [next(summed) if answer is not None else _unparsed(rubric) for answer in answers]

    async def _vote(
        self, sample: Sample, answers: Sequence[Label], rubric: bool, vote: int, turned: bool
    ) -> list[Mapping[str, Any]]:
        """What one request says of each answer, in the order in which they were shown."""
        names = [f"answer_{number}" for number in range(1, len(answers) + 1)]
        brief = {
            "role": "judge",
            "rubric": rubric,
            "tools": [tool.to_openai()["function"] for tool in sample.tools],
            "messages": [message.to_openai() for message in sample.messages],
            "answers": {name: said(answer) for name, answer in zip(names, answers, strict=True)},
        }
        sampling = Sampling(
            temperature=self._temperature,
            max_tokens=self._max_tokens,
            seed=None if self._seed is None else self._seed + vote,
        )
        reply = await self._endpoint.complete(
            self._prompts.write(brief),
            sampling=sampling,
            schema=verdict_schema(names, rubric),
            salt=f"{sample.id}/judge/{vote}{'/swapped' if turned else ''}",
        )
        return [reply.data[name] for name in names]


def verdict_schema(names: Sequence[str], rubric: bool) -> dict[str, Any]:
    """What the judge's role answers: for each named answer a reason, a verdict and, with a rubric, its parts."""
    parts: dict[str, Any] = {"reason": {"type": "string"}, "correct": {"type": ["boolean", "null"]}}
    if rubric:
        parts |= {name: {"type": "number", "minimum": 0, "maximum": most} for name, most in RUBRIC.items()}
    one = {"type": "object", "properties": parts, "required": list(parts), "additionalProperties": False}
    properties = dict.fromkeys(names, one)
    return {"type": "object", "properties": properties, "required": list(names), "additionalProperties": False}


def said(label: Label) -> dict[str, Any]:
    """An answer as a brief shows it."""
    return {
        "calls": [{"name": call.name, "arguments": call.arguments} for call in label.calls],
        "content": label.content,
    }


def _verdict(votes: Sequence[Mapping[str, Any]], rubric: bool) -> Verdict:
    parts = {name: sum(vote[name] for vote in votes) / len(votes) for name in RUBRIC} if rubric else {}
    return Verdict(
        correct=_agreed(votes),
        rubric=Rubric(**{name: round(value, 6) for name, value in parts.items()}) if rubric else None,
        evidence=tuple(dict.fromkeys(str(vote["reason"]) for vote in votes)),
    )


def _agreed(votes: Sequence[Mapping[str, Any]]) -> bool | None:
    """The one word of all votes; None where they differ, or cannot tell."""
    words = {vote["correct"] for vote in votes}
    return words.pop() if len(words) == 1 else None


def _unparsed(rubric: bool) -> Verdict:
    nothing = Rubric(tool_relevance=0.0, argument_quality=0.0, clarity=0.0) if rubric else None
    return Verdict(correct=False, rubric=nothing, evidence=("format: the output cannot be parsed",))


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
