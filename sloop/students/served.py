"""A student behind an OpenAI-compatible endpoint: it is asked over HTTP, many samples at a time.

What an endpoint fails to answer is never taken for the student's answer: such a sample is a failed unit of the stage,
tried again when the stage is resumed, and in the end gets the error ``model``, which no metric counts as right, wrong
or silent, and which `retry_failed` asks again for. What every request would meet (nobody listens, a wrong key, an
unknown model) stops the stage at once; what was answered before is kept.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sloop.calls.formats import FormatName, Parsed, parse, parse_tool_calls, render_tool_calls
from sloop.models.base import ModelError, Reply, Sampling
from sloop.models.endpoint import Endpoint
from sloop.records import Checkpoint, Decode, Prediction, Sample, Tool, ToolCall, UserError, digest
from sloop.records.ranges import Name, Seed
from sloop.store import Dataset

NOT_SERVED, LONGEST_NAME = re.compile(r"[^a-zA-Z0-9_-]"), 64
"""What OpenAI and others refuse in a tool's name, and how long it may be."""
AROUND_NAMES = re.compile(r"\A\s*(functions\.)?\s*|\s+\Z")


class ServedStudent:
    """A model that is asked over HTTP. Its weights are whatever the endpoint serves under that name."""

    MODULES = (
        "sloop.records.base",
        "sloop.records.samples",
        "sloop.calls.formats",
        "sloop.students.served",
    )

    def __init__(
        self, *, name: Name, endpoint: Endpoint, answer_format: FormatName | None, logprobs: bool, seed: Seed | None
    ) -> None:
        """Take the settings as they stand in ``conf/student/endpoint.yaml``, which says what each value is."""
        self.name = name
        self.endpoint = endpoint
        self.answer_format = answer_format
        self.logprobs = logprobs
        self.seed = seed

    def start(self, data: Dataset, *, seed: int, out: Path) -> Checkpoint:
        """The endpoint itself; nothing is made, asked or written."""
        return Checkpoint(path=self.endpoint.base_url, digest=digest(self.endpoint.identity))

    def load(self, checkpoint: Checkpoint) -> None:
        """Answer by the endpoint from now on.

        Raises:
            UserError: the checkpoint is not this endpoint with this model.
        """
        self.close()
        if checkpoint.digest != digest(self.endpoint.identity):
            raise UserError(
                f"student {self.name}: the checkpoint {checkpoint.path} is not the model {self.endpoint.model!r} at "
                f"{self.endpoint.base_url}. Choose another output_dir, or the student that made it."
            )

    def identity(self, checkpoint: Checkpoint) -> dict[str, str]:
        """The format in which answers are read; the template is the server's."""
        return {"parser": self.answer_format or "tool_calls", "template": "the server's"}

    @property
    def in_flight(self) -> int:
        """Samples worth asking for at a time."""
        return self.endpoint.in_flight

    def predict(self, samples: Sequence[Sample], decode: Decode) -> list[Prediction]:
        """Answers in input order, asked for all at once as far as `Limits` allows.

        ``logprob`` is None where the server gave none for the answer's tokens. A prompt that does not fit the model is
        an answer cut off (``truncated``, no text), as in `sloop.students.local`; a call that the server could not read
        is a ``format`` error of the model.

        Raises:
            UserError: nobody listens, the key is refused, there is no such model, or a reply is missing from a cache
                that is only read.
        """
        return self.endpoint.run(self._answer_all(samples, decode))

    async def answer(self, sample: Sample, decode: Decode) -> Prediction:
        """The answer to one sample, whichever event loop asks.

        Raises:
            ModelError: the endpoint failed in all its tries.
            UserError: as in `predict`.
        """
        sampling = Sampling(
            temperature=decode.temperature,
            max_tokens=decode.max_tokens,
            seed=self._seed(decode),
            logprobs=self.logprobs,
            tool_choice="auto" if self.answer_format is None else "none",
            in_text={} if self.answer_format is None else self.endpoint.in_text.model_dump(exclude_defaults=True),
        )
        asked, own = under_served_names(sample)
        # Without it a kept reply would be the answer in every trial where the endpoint is sent no seed.
        salt = f"seed {decode.seed} trial {decode.trial}" if decode.seed or decode.trial else ""
        try:
            reply = await self.endpoint.complete(asked.messages, tools=asked.tools, sampling=sampling, salt=salt)
        except ModelError as error:
            if error.kind == "too_long":
                return Prediction(sample_id=sample.id, error="truncated")
            if error.kind == "unreadable":  # the model's own doing, and the server has judged it
                found = parse_tool_calls(error.written, [], asked.tools).recovered
                answer = Prediction(sample_id=sample.id, text=error.written, error="format", recovered=found)
                return under_own_names(answer, own)
            raise
        answer = read_answer(asked, reply, self.answer_format)
        return under_own_names(answer.model_copy(update={"sample_id": sample.id}), own)

    def close(self) -> None:
        """Close connections and the cache."""
        self.endpoint.close()

    def _seed(self, decode: Decode) -> int | None:
        """What is sent for the endpoint's draws: another number for each seed of the run and each trial."""
        if self.seed is None or not (decode.seed or decode.trial):
            return self.seed
        return int(digest([self.seed, decode.seed, decode.trial])[:8], 16) >> 1  # some servers take 31 bits

    async def _answer_all(self, samples: Sequence[Sample], decode: Decode) -> list[Prediction]:
        async def ask(sample: Sample) -> Prediction:
            try:
                return await self.answer(sample, decode)
            except ModelError:
                return Prediction(sample_id=sample.id, error="model")

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(ask(sample)) for sample in samples]
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from None
        return [task.result() for task in tasks]


def under_served_names(sample: Sample) -> tuple[Sample, dict[str, str]]:
    """A sample as servers take it, and its tools' own names by those that they are sent under.

    OpenAI and others refuse a name such as ``math.factorial``: what they do not allow is sent as ``_``, as by the
    leaderboard's handlers of models that call by an API.

    Raises:
        ModelError: two tools would have one name; other samples can be asked.
    """
    used = [tool.name for tool in sample.tools] + [call.name for row in sample.messages for call in row.tool_calls]
    sent = {name: NOT_SERVED.sub("_", name)[:LONGEST_NAME] for name in used}
    if all(name == given for name, given in sent.items()):
        return sample, {}
    own: dict[str, str] = {}
    for name in (tool.name for tool in sample.tools):
        if own.setdefault(sent[name], name) != name:
            raise ModelError(
                "refused",
                f"as servers take names, {own[sent[name]]} and {name} would both be {sent[name]} there. Rename one of "
                "them.",
            )
    tools = tuple(tool.model_copy(update={"name": sent[tool.name]}) for tool in sample.tools)
    messages = tuple(row.model_copy(update={"tool_calls": _renamed(row.tool_calls, sent)}) for row in sample.messages)
    return sample.model_copy(update={"tools": tools, "messages": messages}), own


def under_own_names(answer: Prediction, own: Mapping[str, str]) -> Prediction:
    """An answer with the tools' own names in its calls; its text stays what the model wrote."""
    if not own:
        return answer
    return answer.model_copy(
        update={"calls": _renamed(answer.calls, own), "recovered": _renamed(answer.recovered, own)}
    )


def _renamed(calls: Sequence[ToolCall], names: Mapping[str, str]) -> tuple[ToolCall, ...]:
    return tuple(call.model_copy(update={"name": names.get(call.name, call.name)}) for call in calls)


def read_answer(sample: Sample, reply: Reply, answer_format: str | None) -> Prediction:
    """What a reply answers: calls that the server handed over apart, or (with a format) calls in the text."""
    written = [(call.name, call.arguments) for call in reply.calls]
    text = render_tool_calls(reply.content, written)
    logprob = reply.logprob if _covers(reply) else None
    counted = reply.usage.completion_tokens if reply.usage else 0
    measured: dict[str, Any] = {
        "sample_id": sample.id,
        "text": text,
        "raw": [{call.name: call.arguments if call.sent is None else call.sent} for call in reply.calls] or None,
        "logprob": logprob,
        "num_tokens": reply.num_logprobs if logprob is not None else counted,
    }
    if reply.ending == "cut":
        return Prediction(**measured, error="truncated")
    if answer_format is None or reply.calls:
        parsed = under_bare_names(parse_tool_calls(reply.content, written, sample.tools), sample.tools)
    else:
        parsed = parse(answer_format, reply.content, tools=sample.tools)
    return Prediction(
        **measured, calls=parsed.calls, content=parsed.content, error=parsed.error, recovered=parsed.recovered
    )


def under_bare_names(parsed: Parsed, tools: Sequence[Tool]) -> Parsed:
    """A format error, where a name has white space or a template's namespace around that of a tool on offer: as it was
    handed over nobody can call it, and a lenient reader gets the call (``recovered``).
    """
    offered = {tool.name for tool in tools}
    bare = [call.name if call.name in offered else AROUND_NAMES.sub("", call.name) for call in parsed.calls]
    if not any(name in offered and name != call.name for name, call in zip(bare, parsed.calls, strict=True)):
        return parsed
    calls = (call.model_copy(update={"name": name}) for name, call in zip(bare, parsed.calls, strict=True))
    return Parsed(content=parsed.content, error="format", recovered=tuple(calls))


def _covers(reply: Reply) -> bool:
    """Whether the log-probabilities are those of the whole answer: some servers leave out the tokens of its calls."""
    if not reply.calls:
        return reply.num_logprobs > 0
    ended = 1  # the token that ends the answer is counted by some and never listed
    return reply.usage is not None and 0 < reply.usage.completion_tokens <= reply.num_logprobs + ended
