"""Tools, dialogues, the samples sliced from them, and a student's answers to these.

Tools, messages and calls are written in OpenAI chat form (``arguments`` is a JSON *string*), so that a file of ours is
readable by other tools and survives Arrow, which pads mixed objects with nulls and turns integers into floats.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from functools import cached_property
from typing import Any, Literal, Self

from pydantic import Field, model_serializer, model_validator

from sloop.records.base import Record, digest, from_json, to_json
from sloop.records.ranges import Count, Seed, Temperature, Tokens

Kind = Literal["single", "parallel", "irrelevant", "incomplete", "chat"]
"""What a request asks for: one call, several calls, a tool that is not offered, a call that lacks a required value,
or no tool at all."""

TaskKind = Literal["single_step", "multi_step", "multi_turn", "missing_value", "missing_tool", "recovery", "read_only"]
"""What a task in an environment is like (`sloop.simulation.tasks`); every decision of its dialogue is of that kind."""

AnyKind = Kind | TaskKind

Axis = Literal["values", "phrasing", "tools", "contrast"]
"""What an expansion changes of its seed: the argument values, the wording, the other tools on offer, or whether the
wanted tool is on offer at all."""

Part = Literal["train", "dev", "test"]
"""Names, values and phrasings of templates: what stands in one part stands in no other."""

Source = Literal["seed", "fresh", "unseen", "error", "expanded", "mastered"]
"""Why a sample stands in a training set."""


class Tool(Record):
    """A function the model may call; ``parameters`` is a JSON Schema of type object."""

    name: str
    description: str = ""
    parameters: dict[str, Any]

    @model_validator(mode="before")
    @classmethod
    def _from_openai(cls, data: Any) -> Any:
        if isinstance(data, Mapping) and isinstance(function := data.get("function"), Mapping):
            return {"parameters": {"type": "object", "properties": {}}, **function}
        return data

    @model_serializer
    def to_openai(self) -> dict[str, Any]:
        """The OpenAI form: ``{"type": "function", "function": {...}}``."""
        function = {"name": self.name, "description": self.description, "parameters": self.parameters}
        return {"type": "function", "function": function}

    @property
    def properties(self) -> dict[str, Any]:
        """Schema of each parameter, in declaration order, also of those that a branch declares (``allOf``, ``anyOf``,
        ``oneOf``, ``then``, ``else``); none where ``parameters`` is no usable schema.
        """
        properties = self.parameters.get("properties")
        own: dict[str, Any] = properties if isinstance(properties, dict) else {}
        if not BRANCHING & self.parameters.keys():
            return own
        found: dict[str, list[Any]] = {}
        for schema in (own, *(part.properties for part in self._branches())):
            for name, each in schema.items():
                found.setdefault(name, [])
                found[name] += [each] if each not in found[name] else []
        return {name: each[0] if len(each) == 1 else {"anyOf": each} for name, each in found.items()}

    @property
    def required(self) -> tuple[str, ...]:
        """Names of the parameters that a call must give; none where ``parameters`` is no usable schema."""
        required = self.parameters.get("required")
        own = tuple(required) if isinstance(required, list | tuple) else ()
        if "allOf" not in self.parameters:
            return own
        return tuple(dict.fromkeys([*own, *(name for part in self._branches("allOf") for name in part.required)]))

    def _branches(self, *keywords: str) -> list[Tool]:
        """The parts of the parameters, each as a tool's."""
        given = [self.parameters.get(keyword) for keyword in keywords or sorted(BRANCHING)]
        parts = [part for each in given for part in (each if isinstance(each, list | tuple) else [each])]
        return [self.model_copy(update={"parameters": part}) for part in parts if isinstance(part, dict)]


BRANCHING = frozenset({"allOf", "anyOf", "oneOf", "then", "else"})
"""Keywords under which a schema may say more of the same object."""


class ToolCall(Record):
    """One call. Calls carry no id: a call is known by its position in the dialogue (``call_0``, ``call_1``, ...)."""

    name: str
    arguments: dict[str, Any]

    @model_validator(mode="before")
    @classmethod
    def _from_openai(cls, data: Any) -> Any:
        if isinstance(data, Mapping) and isinstance(function := data.get("function"), Mapping):
            data = {"name": function.get("name"), "arguments": function.get("arguments")}
        if isinstance(data, Mapping) and "arguments" in data:
            # Whoever gave them, a model or a file: what cannot be read again would make the row that holds it worthless
            given = data["arguments"]
            try:
                text = given if isinstance(given, str) else json.dumps(given, ensure_ascii=False)
            except TypeError as error:
                raise ValueError(str(error)) from error
            return {**data, "arguments": from_json(text)}
        return data

    @model_serializer
    def to_openai(self) -> dict[str, Any]:
        """The OpenAI form without an id; ``arguments`` is a JSON string in the order in which they were given."""
        arguments = to_json(self.arguments)
        return {"type": "function", "function": {"name": self.name, "arguments": arguments}}


class Message(Record):
    """One message of a dialogue. ``tool_call_id`` is ``call_<k>`` for the answer to the dialogue's k-th call, whatever
    the call was named on intake.
    """

    role: Literal["system", "user", "assistant", "tool"]
    content: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _null_content(cls, data: Any) -> Any:
        if isinstance(data, Mapping):
            return {key: value for key, value in data.items() if value is not None}
        return data

    @model_serializer
    def to_openai(self) -> dict[str, Any]:
        """The OpenAI form; fields that do not apply are left out."""
        row: dict[str, Any] = {"role": self.role, "content": self.content}
        if self.tool_calls:
            row["tool_calls"] = [call.to_openai() for call in self.tool_calls]
        if self.tool_call_id is not None:
            row["tool_call_id"] = self.tool_call_id
        return row


class Label(Record):
    """The right decision: calls (none = do not call) and content, which is trained on and never matched."""

    calls: tuple[ToolCall, ...] = ()
    content: str = ""
    ordered: bool = False
    """True where the order of the calls matters."""

    def message(self) -> Message:
        """The assistant message that says this label."""
        return Message(role="assistant", content=self.content, tool_calls=self.calls)


class EnvSpec(Record):
    """The environment a dialogue runs in: a toolkit's name and its initial state, JSON only."""

    toolkit: str
    state: dict[str, Any] = Field(default_factory=dict)


class Lineage(Record):
    """Where a sample comes from."""

    stage: str = ""
    round: int = 0
    unit: str = ""
    """Key of the order that it was written for."""
    parents: tuple[str, ...] = ()
    """Ids of the samples that it was made from."""
    axis: Axis | None = None
    teacher: str = ""


_OWN_NAME = re.compile(r"call_[0-9]+")


def number_calls(data: Any) -> Any:
    """The fields of a dialogue, its calls known by position: what a provider named a call is no part of a sample.

    An answer is to the last call before it that bears its id, as some providers number anew in every turn. Where calls
    came without ids and an answer with one that is not ``call_<k>``, answers are in the order of the calls.
    """
    if not isinstance(data, Mapping) or not isinstance(data.get("messages"), list | tuple):
        return data
    names: dict[str, str] = {}
    nameless: list[str] = []
    numbered: list[Any] = []
    count = 0
    for message in data["messages"]:
        fields = message if isinstance(message, Mapping) else getattr(message, "__dict__", {})
        answered, calls = fields.get("tool_call_id"), fields.get("tool_calls")
        if isinstance(answered, str):
            if answered not in names and nameless and not _OWN_NAME.fullmatch(answered):
                names[answered] = nameless[0]
            name = names.get(answered, answered)
            nameless = [other for other in nameless if other != name]
            if name != answered:
                message = Message.model_validate({**fields, "tool_call_id": name})
        for call in calls if isinstance(calls, list | tuple) else ():
            name = f"call_{count}"
            given = call.get("id") if isinstance(call, Mapping) else None
            names[given if isinstance(given, str) else name] = name
            if given is None:
                nameless.append(name)
            count += 1
        numbered.append(message)
    return {**data, "messages": numbered}


class Sample(Record):
    """ONE decision: the tools on offer and the dialogue so far in, one assistant message out."""

    tools: tuple[Tool, ...]
    messages: tuple[Message, ...]
    label: Label | None = None
    kind: AnyKind | None = None
    group: str = ""
    """The dialogue that it was sliced from: splits and clusters keep a group together."""
    turn: int = 0
    copies: int = 1
    """A dataset is unique by id; repetition in training is this number."""
    source: Source = "seed"
    slice: str = ""
    """The part of a benchmark that it belongs to; empty in training data."""
    lineage: Lineage = Lineage()
    env: EnvSpec | None = None

    _numbered = model_validator(mode="before")(number_calls)

    @cached_property
    def id(self) -> str:
        """Identity is content: 32 hex digits over tools, messages and environment, never over the label."""
        return digest(
            {
                "tools": [tool.to_openai() for tool in self.tools],
                "messages": [message.to_openai() for message in self.messages],
                "env": self.env.model_dump() if self.env else None,
            }
        )[:32]

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """A changed copy. The cached id is forgotten: a change of tools or messages is another sample."""
        copied = super().model_copy(update=update, deep=deep)
        copied.__dict__.pop("id", None)
        return copied

    @property
    def request(self) -> str:
        """Text of the last user message; empty where there is none."""
        return next((m.content for m in reversed(self.messages) if m.role == "user"), "")

    def tool(self, name: str) -> Tool | None:
        """The offered tool of that name."""
        return next((tool for tool in self.tools if tool.name == name), None)

    def blind(self) -> Self:
        """The question alone, as a judge may see it: no label, no kind, no origin."""
        return self.model_copy(
            update={"label": None, "kind": None, "source": "seed", "lineage": Lineage(), "slice": ""}
        )


class Dialogue(Record):
    """What a teacher writes: a whole dialogue, sliced into samples by `decisions`."""

    tools: tuple[Tool, ...]
    messages: tuple[Message, ...]
    doubtful: frozenset[int] = frozenset()
    """Indices of assistant messages that yield no sample."""
    ordered: frozenset[int] = frozenset()
    """Indices of assistant messages whose calls must keep their order."""
    env: EnvSpec | None = None
    withheld: dict[int, frozenset[str]] = Field(default_factory=dict)
    """By message index, names of the tools that are not on offer there."""
    labels: dict[int, Label] = Field(default_factory=dict)
    """By message index, the label of a decision that is another than the one that the dialogue goes on with."""
    truth: dict[int, Label] = Field(default_factory=dict)
    """By message index, what a simulated annotator was given before it erred; for metrics alone."""
    noise: dict[int, str] = Field(default_factory=dict)
    """By message index, the name of the simulated annotator's mistake."""

    _numbered = model_validator(mode="before")(number_calls)

    def offered(self, index: int) -> tuple[Tool, ...]:
        """The tools on offer where the message with this index is written."""
        return tuple(tool for tool in self.tools if tool.name not in self.withheld.get(index, ()))

    def label(self, index: int) -> Label:
        """The decision that an assistant message is."""
        message = self.messages[index]
        said = Label(calls=message.tool_calls, content=message.content, ordered=index in self.ordered)
        return self.labels.get(index, said)


class Truth(Record):
    """The right label of a sample whose label may be wrong; read by `sloop.measures` alone."""

    sample_id: str
    label: Label
    noise: str | None = None
    """The mistake that was made, None where the written label is right."""


def decisions(
    dialogue: Dialogue, *, group: str, kind: AnyKind | None, source: Source, lineage: Lineage
) -> list[tuple[Sample, Truth | None]]:
    """Slice a dialogue into one sample per assistant message, with its truth where that is known."""
    pairs: list[tuple[Sample, Truth | None]] = []
    for index, message in enumerate(dialogue.messages):
        if message.role != "assistant" or index in dialogue.doubtful:
            continue
        sample = Sample(
            tools=dialogue.offered(index),
            messages=dialogue.messages[:index],
            label=dialogue.label(index),
            kind=kind,
            group=group,
            turn=len(pairs),
            source=source,
            lineage=lineage,
            env=dialogue.env,
        )
        right = dialogue.truth.get(index)
        truth = Truth(sample_id=sample.id, label=right, noise=dialogue.noise.get(index)) if right else None
        pairs.append((sample, truth))
    return pairs


class Decode(Record):
    """How a student writes: the likeliest tokens, or drawn ones."""

    max_tokens: Tokens = 128
    """Longest answer, in tokens."""
    temperature: Temperature = 0.0
    """0: the likeliest token, again and again; above: drawn, the more freely the higher it is."""
    seed: Seed = 0
    """Of the draws."""
    trial: Count = 0
    """Which of several answers to the same sample this is: each has draws of its own."""


def trial_field() -> Any:
    """The field ``trial`` of a record: left out where it is 0, so that a line of a single trial does not have it."""
    return Field(0, ge=0, exclude_if=lambda trial: trial == 0)


def trial_id(sample_id: str, trial: int) -> str:
    """What one of several answers to a sample is known by: the sample's id, ``<id>/<trial>`` from the second on."""
    return f"{sample_id}/{trial}" if trial else sample_id


class Utterance(Record):
    """What a simulated user says to an answer of a student's that calls nothing."""

    text: str = ""
    """Its words; of an error, what is known of it."""
    ends: bool = Field(False, exclude_if=lambda ends: not ends)
    """They end the dialogue."""
    error: Literal["empty", "calls", "failed"] | None = Field(None, exclude_if=lambda error: error is None)
    """A mistake of the user's: no words, a call in their place, or no reply could be had."""


class Consequence(Record):
    """What an environment of another package did upon an answer: the next question, or how the episode ended."""

    keeps: int = 0
    """How many messages of the question stand in the next one."""
    messages: tuple[Message, ...] = ()
    """Those that follow."""
    tools: tuple[Tool, ...] | None = Field(None, exclude_if=lambda tools: tools is None)
    """On offer from then on; None: the same."""
    ended: str | None = Field(None, exclude_if=lambda ended: ended is None)
    """Why it is over, in the environment's words; None: it goes on."""
    measured: dict[str, float] = Field(default_factory=dict, exclude_if=lambda measured: not measured)
    """At the end: what the environment measures, by name; ``reward`` is its verdict."""


class Prediction(Record):
    """A student's answer to one sample. No usage and no clock: those are sidecars, which no digest covers."""

    sample_id: str
    calls: tuple[ToolCall, ...] = ()
    content: str = ""
    text: str = ""
    """The answer as it was generated."""
    raw: Any = Field(None, exclude_if=lambda raw: raw is None)
    """What the text does not hold: calls that a server handed over apart, as they came, ``[{name: arguments}, ...]``;
    or an answer as somebody's file of results has it. None: the text is all."""
    error: Literal["format", "truncated", "model"] | None = None
    """None: the text parsed. A format error is an attempted call, never an empty one."""
    recovered: tuple[ToolCall, ...] = Field((), exclude_if=lambda calls: not calls)
    """Beside a format error: the calls that a lenient reading gets."""
    thinking: bool = Field(False, exclude_if=lambda thinking: not thinking)
    """The prompt ended within a thought, which the text goes on with."""
    logprob: float | None = None
    """Sum of the natural-log probabilities of the answer's tokens; None where it was not measured."""
    num_tokens: int = 0
    trial: int = trial_field()
    """Which of several answers to the sample, from 0."""
    reply: Utterance | None = Field(None, exclude_if=lambda reply: reply is None)
    """What a simulated user said to it: kept, so that the episode can be graded again without the user."""
    consequence: Consequence | None = Field(None, exclude_if=lambda consequence: consequence is None)
    """What an environment of another package did upon it: kept, so that the episode can be graded again without it."""

    @property
    def failed(self) -> bool:
        """Whether the answer, or the user's reply to it, could not be had: no more is known of the student."""
        return self.error == "model" or (self.reply is not None and self.reply.error is not None)

    @property
    def perplexity(self) -> float | None:
        """exp(-mean log p) over the answer's tokens."""
        if self.logprob is None or not self.num_tokens:
            return None
        return math.exp(-self.logprob / self.num_tokens)

    @property
    def answer(self) -> Label | None:
        """The decision as a label; None where nothing could be parsed."""
        return None if self.error else Label(calls=self.calls, content=self.content)


class Order(Record):
    """What a teacher is asked to write. To expand is an order with a seed, its mistake and an axis."""

    key: str
    kind: AnyKind
    tools: tuple[Tool, ...] = ()
    """The tools on offer; none where the teacher brings its own."""
    wanted: tuple[Tool, ...] = ()
    """The tools that the request is about: offered, or (kind ``irrelevant``) not."""
    axis: Axis | None = None
    seed: Sample | None = None
    mistake: Prediction | None = None


class Rejected(Record):
    """A sample that was not let in, and why; counted, never lost in silence."""

    key: str
    reason: str
    detail: str = ""
