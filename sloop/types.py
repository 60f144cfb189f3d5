"""The records of the loop: their identity, their canonical form, and nothing else.

Every record is immutable and is written to disk as one JSON line. Tools, messages and calls are written in
OpenAI chat form (``arguments`` is a JSON *string*), so that a file of ours is readable by other tools and survives
Arrow, which pads mixed objects with nulls and turns integers into floats.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_serializer, model_validator

Kind = Literal["single", "parallel", "irrelevant", "incomplete", "chat"]
"""What a request asks for: one call, several calls, a tool that is not offered, a call that lacks a required value,
or no tool at all."""

Axis = Literal["values", "phrasing", "tools", "contrast"]
"""What an expansion changes of its seed: the argument values, the wording, the other tools on offer, or whether the
wanted tool is on offer at all."""

Source = Literal["seed", "fresh", "unseen", "error", "expanded", "mastered"]
"""Why a sample stands in a training set."""

Outcome = Literal["PRED_WRONG", "LABEL_WRONG", "BOTH_CORRECT", "BOTH_WRONG", "ABSTAIN"]
"""Who is wrong where student and label disagree (METHOD: verify)."""


class UserError(Exception):
    """A mistake of the reader's: shown as one message without a traceback, exit status 2.

    The text names the thing, the value, what is allowed and the next command.
    """


class OutOfBudget(UserError):
    """What may be spent is spent: what is on its way is let finish and kept, then the run ends."""


def canonical_json(value: Any) -> str:
    """One spelling per JSON value: sorted keys, no spaces, UTF-8; 1 and 1.0 stay different."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def finite(text: str) -> float:
    """A JSON number, of which 1e999 would be read as infinity.

    Raises:
        ValueError: it is too large for a float.
    """
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is not a finite number")
    return number


def no_constant(text: str) -> float:
    """Refuse NaN and Infinity, which Python reads and JSON lacks.

    Raises:
        ValueError: always.
    """
    raise ValueError(f"{text} is not JSON")


_DECODER = json.JSONDecoder(parse_float=finite, parse_constant=no_constant)


def from_json(text: str) -> Any:
    """Read a JSON value.

    Raises:
        ValueError: it is none, or holds a number that JSON has no spelling for.
    """
    return _DECODER.decode(text)


def digest(value: Any) -> str:
    """SHA-256 (64 hex digits) of a JSON value's canonical form."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


class Record(BaseModel):
    """An immutable value; unknown fields are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


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
        """Schema of each parameter, in declaration order; none where ``parameters`` is no usable schema."""
        properties = self.parameters.get("properties")
        return properties if isinstance(properties, dict) else {}

    @property
    def required(self) -> tuple[str, ...]:
        """Names of the parameters that a call must give; none where ``parameters`` is no usable schema."""
        required = self.parameters.get("required")
        return tuple(required) if isinstance(required, list | tuple) else ()


class ToolCall(Record):
    """One call. Calls carry no id: a call is known by its position in the dialogue (``call_0``, ``call_1``, ...)."""

    name: str
    arguments: dict[str, Any]

    @model_validator(mode="before")
    @classmethod
    def _from_openai(cls, data: Any) -> Any:
        if isinstance(data, Mapping) and isinstance(function := data.get("function"), Mapping):
            arguments = function.get("arguments")
            return {
                "name": function.get("name"),
                "arguments": from_json(arguments) if isinstance(arguments, str) else arguments,
            }
        return data

    @model_serializer
    def to_openai(self) -> dict[str, Any]:
        """The OpenAI form without an id; ``arguments`` is a JSON string in the order in which they were given."""
        arguments = json.dumps(self.arguments, ensure_ascii=False, allow_nan=False)
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
    state: dict[str, Any] = {}


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
    kind: Kind | None = None
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
    truth: dict[int, Label] = {}
    """By message index, what a simulated annotator was given before it erred; for metrics alone."""
    noise: dict[int, str] = {}
    """By message index, the name of the simulated annotator's mistake."""

    _numbered = model_validator(mode="before")(number_calls)


class Truth(Record):
    """The right label of a sample whose label may be wrong; read by `sloop.evaluate` alone."""

    sample_id: str
    label: Label
    noise: str | None = None
    """The mistake that was made, None where the written label is right."""


def decisions(
    dialogue: Dialogue, *, group: str, kind: Kind | None, source: Source, lineage: Lineage
) -> list[tuple[Sample, Truth | None]]:
    """Slice a dialogue into one sample per assistant message, with its truth where that is known."""
    pairs: list[tuple[Sample, Truth | None]] = []
    for index, message in enumerate(dialogue.messages):
        if message.role != "assistant" or index in dialogue.doubtful:
            continue
        sample = Sample(
            tools=dialogue.tools,
            messages=dialogue.messages[:index],
            label=Label(calls=message.tool_calls, content=message.content, ordered=index in dialogue.ordered),
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

    max_tokens: int = 128
    """Longest answer, in tokens."""
    temperature: float = Field(0.0, ge=0, allow_inf_nan=False)
    """0: the likeliest token, again and again; above: drawn, the more freely the higher it is."""
    seed: int = 0
    """Of the draws."""
    trial: int = 0
    """Which of several answers to the same sample this is: each has draws of its own."""


def trial_field() -> Any:
    """The field ``trial`` of a record: left out where it is 0, so that a line of a single trial does not have it."""
    return Field(0, ge=0, exclude_if=lambda trial: trial == 0)


def trial_id(sample_id: str, trial: int) -> str:
    """What one of several answers to a sample is known by: the sample's id, ``<id>/<trial>`` from the second on."""
    return f"{sample_id}/{trial}" if trial else sample_id


class Prediction(Record):
    """A student's answer to one sample. No usage and no clock: those are sidecars, which no digest covers."""

    sample_id: str
    calls: tuple[ToolCall, ...] = ()
    content: str = ""
    text: str = ""
    """The answer as it was generated."""
    error: Literal["format", "truncated", "model"] | None = None
    """None: the text parsed. A format error is an attempted call, never an empty one."""
    logprob: float | None = None
    """Sum of the natural-log probabilities of the answer's tokens; None where it was not measured."""
    num_tokens: int = 0
    trial: int = trial_field()
    """Which of several answers to the sample, from 0."""

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
    kind: Kind
    tools: tuple[Tool, ...]
    """The tools on offer."""
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


class Rubric(Record):
    """Absolute score of one answer (ToolsGen v0.1.0): the sum is recomputed, never trusted."""

    tool_relevance: float
    """0 to 0.4"""
    argument_quality: float
    """0 to 0.4"""
    clarity: float
    """0 to 0.2"""

    @property
    def score(self) -> float:
        """0 to 1; a sample is accepted from 0.7."""
        return self.tool_relevance + self.argument_quality + self.clarity


class Verdict(Record):
    """A judge's word on one answer: right, wrong, or None (it cannot tell)."""

    correct: bool | None
    rubric: Rubric | None = None
    evidence: tuple[str, ...] = ()
    """The rules that decided, in the order in which they were applied."""


class Judgement(Record):
    """A judge's verdict on one answer to one sample, kept as evidence."""

    sample_id: str
    verdict: Verdict
    trial: int = trial_field()
    """Which of several answers to the sample, from 0."""


class Ruling(Record):
    """What was decided about one sample on which student and label disagree (or, unasked, agree)."""

    sample_id: str
    outcome: Outcome
    old: Label
    new: Label | None
    """The label from now on; None where the sample leaves the data."""
    verdict_label: Verdict | None
    verdict_prediction: Verdict | None


class Score(Record):
    """A rate or a mean with its doubt. ``value`` is None where nothing was measured (n = 0)."""

    name: str
    value: float | None
    n: int
    low: float | None = None
    """Lower end of the 95% interval."""
    high: float | None = None
    slice: str = ""


class Checkpoint(Record):
    """A student's weights: a folder, with the digest of what is in it."""

    path: str
    digest: str


def parse_tools(rows: Sequence[Mapping[str, Any]]) -> tuple[Tool, ...]:
    """Tools from OpenAI definitions."""
    return tuple(Tool.model_validate(row) for row in rows)
