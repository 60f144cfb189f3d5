"""A stranger's package: a teacher, a judge, a student and a trainer of their own, rule-based and instant.

They agree on one plain language, so that a student can read a request and a judge can check it:
``Korimo here: use set_timer with minutes = 5, label = "tea"; use ring_bell``.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

from sloop.calls.formats import render_hermes
from sloop.calls.schema import call_errors
from sloop.calls.surface import stands_in
from sloop.models.base import Sampling
from sloop.models.endpoint import Endpoint
from sloop.records import (
    Checkpoint,
    Decode,
    Dialogue,
    Label,
    Message,
    Order,
    Prediction,
    Rejected,
    Sample,
    Tool,
    ToolCall,
    Verdict,
)
from sloop.store import Dataset, checkpoint_at
from sloop.trainers.base import Progress

REFUSAL = "No tool of mine does that."


def share_of(*parts: str) -> float:
    """0 to 1, from the parts alone."""
    return int(hashlib.sha256("|".join(parts).encode()).hexdigest()[:8], 16) / 16**8


def say(calls: Sequence[tuple[str, dict[str, Any]]]) -> str:
    """The request's words for these calls."""
    values = [", ".join(f"{name} = {json.dumps(value)}" for name, value in given.items()) for _, given in calls]
    return "; ".join(f"use {name}" + (f" with {v}" if v else "") for (name, _), v in zip(calls, values, strict=True))


def hear(request: str) -> list[ToolCall]:
    """The calls that a request spells out, for whatever tools; empty where it is not in our language."""
    calls = []
    for part in re.split(r"(?:^|: |; )use (?=\w)", request)[1:]:
        name, _, rest = part.partition(" with ")
        given: dict[str, Any] = {}
        while match := re.match(r"(?:, )?(\w+) = ", rest):
            value, end = json.JSONDecoder().raw_decode(rest, match.end())
            given[match[1]] = value
            rest = rest[end:]
        calls.append(ToolCall(name=name.strip(), arguments=given))
    return calls


def right(sample: Sample) -> Label | None:
    """What a perfect reader answers; None where the request is not in our language."""
    calls = hear(sample.request)
    if not calls:
        return Label(content="Hello!") if sample.request.endswith("how are you?") else None
    if any(sample.tool(call.name) is None for call in calls):
        return Label(content=REFUSAL)
    lacking = [name for call in calls for name in sample.tool(call.name).required if name not in call.arguments]
    return Label(content=f"Which {lacking[0]}?") if lacking else Label(calls=tuple(calls))


class EchoTeacher:
    """Writes a request for any tool from its schema; a share of the labels is wrong, with the truth told."""

    def __init__(self, *, error_rate: float) -> None:
        """``error_rate``: probability, 0 to 1, that a call's first argument is altered or the call is left out."""
        self.error_rate = error_rate

    async def write(self, order: Order, rng: Random) -> Dialogue | Rejected:
        """Write one dialogue of one decision."""
        seed = order.seed
        if seed is not None and order.axis in ("tools", "contrast"):
            return self._dialogue(order, seed.request, rng)
        greeting = f"{_word(rng).title()} {_word(rng)} here: "
        if order.kind == "chat":
            return self._dialogue(order, greeting + "how are you?", rng)
        wanted = [(tool.name, _arguments(tool, rng)) for tool in order.wanted]
        if seed is not None:
            heard = [(call.name, call.arguments) for call in hear(seed.request)]
            if order.axis == "values":
                tools = {tool.name: tool for tool in (*order.tools, *seed.tools)}
                heard = [(name, _arguments(tools[name], rng) if name in tools else given) for name, given in heard]
            wanted = heard
        if not wanted:
            return Rejected(key=order.key, reason="cannot_express", detail="a request in another language")
        if order.kind == "incomplete" and seed is None:
            if not order.wanted[0].required:
                return Rejected(key=order.key, reason="nothing_required", detail=order.wanted[0].name)
            del wanted[0][1][order.wanted[0].required[0]]
        return self._dialogue(order, greeting + say(wanted), rng)

    def _dialogue(self, order: Order, request: str, rng: Random) -> Dialogue:
        asked = Message(role="user", content=request)
        label = right(Sample(tools=order.tools, messages=(asked,)))
        if label is None:
            raise ValueError(f"cannot read {request!r}")
        written, noise = label, None
        if label.calls and rng.random() < self.error_rate:
            written, noise = _spoilt(label)
        messages = (asked, written.message())
        truth, noises = {1: label}, {1: noise} if noise else {}
        return Dialogue(tools=order.tools, messages=messages, truth=truth, noise=noises)


class StrictJudge:
    """Calls must satisfy their schema, stand in the request and be those that were asked for."""

    def __init__(self, *, abstain: float) -> None:
        """``abstain``: share of the samples on which it cannot tell."""
        self.abstain = abstain

    async def judge(self, sample: Sample, answers: Sequence[Label | None], rng: Random) -> list[Verdict]:
        """One verdict per answer."""
        if sample.label is not None:
            raise ValueError("a judge may not see the label")
        return [self._verdict(sample, answer) for answer in answers]

    def _verdict(self, sample: Sample, answer: Label | None) -> Verdict:
        wanted = right(sample)
        if wanted is None or share_of("judge", sample.id) < self.abstain:
            return Verdict(correct=None, evidence=("cannot tell",))
        if answer is None:
            return Verdict(correct=False, evidence=("unreadable",))
        if errors := [error for call in answer.calls for error in call_errors(call, sample.tools)]:
            return Verdict(correct=False, evidence=(errors[0],))
        for call in answer.calls:
            tool = sample.tool(call.name)
            for name, value in call.arguments.items():
                if tool is not None and not stands_in(value, tool.properties[name], sample.request):
                    return Verdict(correct=False, evidence=(f"{name}={value!r} stands nowhere",))
        same = [call.model_dump() for call in answer.calls] == [call.model_dump() for call in wanted.calls]
        return Verdict(correct=same, evidence=() if same else ("not what was asked for",))


class AskingJudge(StrictJudge):
    """The same verdicts, after a word from a model behind an endpoint."""

    def __init__(self, *, abstain: float, endpoint: Endpoint) -> None:
        """As for `StrictJudge`, and who is asked."""
        super().__init__(abstain=abstain)
        self.endpoint = endpoint

    async def judge(self, sample: Sample, answers: Sequence[Label | None], rng: Random) -> list[Verdict]:
        """One verdict per answer, one request a sample."""
        await self.endpoint.complete(sample.messages, sampling=Sampling(temperature=0.0, max_tokens=8))
        return await super().judge(sample, answers, rng)


class LookupStudent:
    """Answers right where the hash of a sample's id falls under its skill; what it cannot read it looks up."""

    def __init__(self, *, name: str, skill: float, path: str | None = None) -> None:
        """Its name, the skill (0 to 1) of checkpoint 0, or the folder of a checkpoint to start from."""
        self.name = name
        self.skill = skill
        self.path = path
        self._skill: float | None = None

    def start(self, data: Dataset, *, seed: int, out: Path) -> Checkpoint:
        """A folder with config.json and weights.json."""
        if self.path is not None:
            return checkpoint_at(Path(self.path))
        return _save(out, {"skill": self.skill, "history": [f"start {seed} {data.sha256}"]}, pause=0.0)

    def load(self, checkpoint: Checkpoint) -> None:
        """Read the skill."""
        self._skill = json.loads((Path(checkpoint.path) / "weights.json").read_text())["skill"]

    def predict(self, samples: Sequence[Sample], decode: Decode) -> list[Prediction]:
        """Answers in input order."""
        return [self._answer(sample) for sample in samples]

    def _answer(self, sample: Sample) -> Prediction:
        if self._skill is None:
            raise ValueError("no checkpoint was loaded")
        known = right(sample) or sample.label or Label()
        luck = share_of(sample.id)
        error = None
        if luck >= self._skill:
            way = share_of("way", sample.id)
            if way < 0.1:
                known, error = Label(), "format"
            elif not known.calls:
                tool = sample.tools[0]
                known = Label(calls=(ToolCall(name=tool.name, arguments=_arguments(tool, Random(sample.id))),))
            elif way < 0.5:
                known = Label(content=REFUSAL)
            else:
                known = _spoilt(known)[0]
        text = "<tool_call>" if error else render_hermes(known)
        tokens = max(1, len(text.split()))
        return Prediction(
            sample_id=sample.id,
            calls=known.calls,
            content=known.content,
            text=text,
            error=error,
            logprob=-tokens * (0.05 + luck),
            num_tokens=tokens,
        )

    def close(self) -> None:
        """Forget the weights."""
        self._skill = None


class CountingTrainer:
    """Raises the skill, whatever the data; writes slowly where asked to, so that a kill can hit it."""

    def __init__(self, *, gain: float, pause: float = 0.0) -> None:
        """``gain`` of skill a round; ``pause`` in seconds between the two files of a checkpoint."""
        self.gain = gain
        self.pause = pause

    def train(
        self,
        start: Checkpoint,
        data: Dataset,
        predictions: Path | None,
        *,
        steps: int,
        seed: int,
        out: Path,
        progress: Progress | None = None,
    ) -> Checkpoint:
        """A folder with config.json and weights.json; the same arguments give the same bytes."""
        weights = json.loads((Path(start.path) / "weights.json").read_text())
        skill = round(min(1.0, weights["skill"] + self.gain), 6)
        history = [*weights["history"], f"{steps} steps, seed {seed}, on {data.sha256}"]
        if progress:
            progress(steps, steps, {"loss": round(1 - skill, 6), "learning_rate": 0.0})
        return _save(out, {"skill": skill, "history": history}, pause=self.pause)


def _save(out: Path, weights: dict[str, Any], *, pause: float) -> Checkpoint:
    out.mkdir(parents=True, exist_ok=True)
    (out / "config.json").write_text(json.dumps({"architecture": "lookup"}) + "\n")
    time.sleep(pause)
    (out / "weights.json").write_text(json.dumps(weights) + "\n")
    return checkpoint_at(out)


def _spoilt(label: Label) -> tuple[Label, str]:
    first, *rest = label.calls
    for name, value in first.arguments.items():
        if isinstance(value, int | float) and not isinstance(value, bool):
            other: Any = value + 1000
        elif isinstance(value, str):
            other = value[::-1] + "x"
        else:
            continue
        call = first.model_copy(update={"arguments": {**first.arguments, name: other}})
        return label.model_copy(update={"calls": (call, *rest)}), "altered_value"
    return label.model_copy(update={"calls": tuple(rest), "content": "" if rest else REFUSAL}), "missing_call"


def _word(rng: Random) -> str:
    return "".join(rng.choice("bdfgklmnprstvz") + rng.choice("aeiou") for _ in range(3))


def _arguments(tool: Tool, rng: Random) -> dict[str, Any]:
    """Every required parameter, and some of the optional texts and numbers."""
    plain = ("string", "integer", "number")
    return {
        name: _value(schema, rng)
        for name, schema in tool.properties.items()
        if name in tool.required or (schema.get("type") in plain and rng.random() < 0.5)
    }


def _value(schema: dict[str, Any], rng: Random) -> Any:
    if "enum" in schema:
        return rng.choice(schema["enum"])
    low, high = schema.get("minimum", 1), schema.get("maximum", 90)
    kind = schema.get("type")
    if kind == "integer":
        return rng.randint(low, high)
    if kind == "number":
        return rng.randint(2 * int(low), 2 * int(high)) / 2
    if kind == "boolean":
        return rng.random() < 0.5
    if kind == "array":
        return [_value(schema.get("items", {}), rng) for _ in range(max(1, schema.get("minItems", 1)))]
    if kind == "object":
        return {name: _value(part, rng) for name, part in schema.get("properties", {}).items()}
    day = f"2025-{rng.randint(1, 12):02d}-{rng.randint(1, 28):02d}"
    texts = [_word(rng), day, f"{rng.randint(0, 23):02d}:{rng.randint(0, 59):02d}", _word(rng).upper()[:3]]
    if schema.get("format") == "date":
        return day
    return next((text for text in texts if re.search(schema.get("pattern", ""), text)), texts[0])
