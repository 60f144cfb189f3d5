"""A student behind an OpenAI-compatible endpoint: it is asked over HTTP, greedily, many samples at a time.

What an endpoint fails to answer is never taken for the student's answer: such a sample is a failed unit of the stage,
tried again when the stage is resumed, and in the end gets the error ``model``, which no metric counts as right, wrong
or silent. What every request would meet (nobody listens, a wrong key, an unknown model) stops the stage at once; what
was answered before is kept.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any, TypeVar

from sloop.calls.formats import FORMATS, parse, parse_tool_calls, render_tool_calls
from sloop.models.base import FINAL, ChatModel, ModelError, Reply, Sampling
from sloop.models.environment import Key, Role, key_for
from sloop.models.openai_api import Limits, OpenAIChat, checked_url
from sloop.models.replay import CacheMode, Replay, check_cache
from sloop.store import Dataset
from sloop.types import Checkpoint, Decode, Prediction, Sample, UserError, digest

T = TypeVar("T")

WAITING_FACTOR = 4
"""Samples on their way for each that may be in flight."""


class ServedStudent:
    """A model that is asked over HTTP. Its weights are whatever the endpoint serves under that name."""

    NOT_RESULTS = frozenset({"limits", "cache", "cache_path", "role"})
    """Arguments that change how it is asked, and no answer: a stage may be resumed with others."""

    def __init__(
        self,
        *,
        name: str,
        base_url: str,
        model: str,
        role: Role,
        answer_format: str | None,
        logprobs: bool,
        seed: int | None,
        limits: Limits,
        cache: CacheMode,
        cache_path: str,
    ) -> None:
        """Take the settings as they stand in ``conf/student/endpoint.yaml``, which says what each value is.

        Raises:
            UserError: an address or a format that is none, or a cache to be read that is not there.
        """
        check_cache(cache, Path(cache_path))
        if answer_format is not None and answer_format not in FORMATS:
            parse(answer_format, "")
        self.name = name
        self.base_url = checked_url(base_url)
        self.model = model
        self.role: Role = role
        self.answer_format = answer_format
        self.logprobs = logprobs
        self.seed = seed
        self.limits = limits
        self.cache: CacheMode = cache
        self.cache_path = cache_path
        self._answered = False
        self._key: Key = key_for(role)
        self._endpoint: OpenAIChat | None = None
        self._chat: ChatModel | None = None
        self._loop: BackgroundLoop | None = None

    def start(self, data: Dataset, *, seed: int, out: Path) -> Checkpoint:
        """The endpoint itself; nothing is made, asked or written."""
        return Checkpoint(path=self.base_url, digest=digest(self._identity))

    def load(self, checkpoint: Checkpoint) -> None:
        """Answer by the endpoint from now on.

        Raises:
            UserError: the checkpoint is not this endpoint with this model.
        """
        self.close()
        if checkpoint.digest != digest(self._identity):
            raise UserError(
                f"student {self.name}: the checkpoint {checkpoint.path} is not the model {self.model!r} at "
                f"{self.base_url}. Choose another output_dir, or the student that made it."
            )
        self._endpoint = OpenAIChat(base_url=self.base_url, model=self.model, key=self._key, limits=self.limits)
        self._chat = self._endpoint
        if self.cache != "off":
            self._chat = Replay(self._endpoint, mode=self.cache, path=Path(self.cache_path))
        self._loop = BackgroundLoop()

    @property
    def in_flight(self) -> int:
        """So many that those who wait for another try keep nobody from asking."""
        return WAITING_FACTOR * self.limits.concurrency

    def predict(self, samples: Sequence[Sample], decode: Decode) -> list[Prediction]:
        """Greedy answers, in input order, asked for all at once as far as `Limits` allows.

        ``logprob`` is None where the server gave none for the answer's tokens. A prompt that does not fit the model is
        an answer cut off (``truncated``, no text), as in `sloop.students.local`.

        Raises:
            UserError: nobody listens, the key is refused, there is no such model, or a reply is missing from a cache
                that is only read.
        """
        return self._loaded().run(self._ask_all(samples, self._sampling(decode)))

    async def answer(self, sample: Sample, decode: Decode) -> Prediction:
        """The greedy answer to one sample, whichever event loop asks.

        Raises:
            ModelError: the endpoint failed in all its tries.
            UserError: as in `predict`.
        """
        return await self._loaded().wait(self._ask(sample, self._sampling(decode)))

    def close(self) -> None:
        """Close connections and the cache."""
        if self._loop is not None:
            if self._chat is not None:
                self._loop.run(self._chat.close())
            self._loop.close()
        self._loop = self._chat = self._endpoint = None

    def _loaded(self) -> BackgroundLoop:
        if self._loop is None:
            raise UserError("the student has no endpoint yet: call load(checkpoint) before predict.")
        return self._loop

    @property
    def _identity(self) -> dict[str, str]:
        return {"base_url": self.base_url, "model": self.model}

    def _sampling(self, decode: Decode) -> Sampling:
        return Sampling(
            temperature=0.0,
            max_tokens=decode.max_tokens,
            seed=self.seed,
            logprobs=self.logprobs,
            tool_choice="auto" if self.answer_format is None else "none",
        )

    async def _ask_all(self, samples: Sequence[Sample], sampling: Sampling) -> list[Prediction]:
        async def ask(sample: Sample) -> Prediction:
            try:
                return await self._ask(sample, sampling)
            except ModelError:
                return Prediction(sample_id=sample.id, error="model")

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(ask(sample)) for sample in samples]
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from None
        return [task.result() for task in tasks]

    async def _ask(self, sample: Sample, sampling: Sampling) -> Prediction:
        assert self._chat is not None
        try:
            reply = await self._chat.complete(sample.messages, tools=sample.tools, sampling=sampling)
        except ModelError as error:
            if error.kind in FINAL or error.kind == "unreachable":
                raise await self._mistake(error) from None
            if error.kind == "too_long":
                return Prediction(sample_id=sample.id, error="truncated")
            raise
        self._answered = True
        return read_answer(sample.id, reply, self.answer_format)

    async def _mistake(self, error: ModelError) -> UserError:
        """The reader's mistake behind an error that every request would meet."""
        assert self._endpoint is not None
        where, variable = f"student.base_url={self.base_url}", self._key.variable
        own = f"SLOOP_{self.role.upper()}_API_KEY"
        if error.kind == "unreachable":
            told = f"{where}: nobody listens there ({error.detail}). Start the server, or give its address"
        elif error.kind == "auth":
            sent = (
                f"the key in {variable} was refused"
                if variable
                else f"a key is wanted, and neither {own} nor OPENAI_API_KEY is set"
            )
            told = f"{where}: {sent} ({error.detail}). Put the right one into {own}, in the environment or in .env"
        elif error.kind == "unknown_model":
            names = await self._endpoint.models()
            known = f"It has: {', '.join(names[:20])}" if names else "It does not list its models"
            told = (
                f"student.model={self.model}: the endpoint {self.base_url} has no such model ({error.detail}). {known}"
            )
        elif error.kind == "no_such_path":
            told = f"{where}: no chat completions there ({error.detail}). Most addresses end in /v1"
        else:
            told = f"{where}: {error.detail}. Run the same command again when the endpoint lets you"
        return UserError(f"{told}. What was answered before is kept." if self._answered else f"{told}.")


def read_answer(sample_id: str, reply: Reply, answer_format: str | None) -> Prediction:
    """What a reply answers: calls that the server handed over apart, or (with a format) calls in the text."""
    written = [(call.name, call.arguments) for call in reply.calls]
    text = render_tool_calls(reply.content, written)
    logprob = reply.logprob if _covers(reply) else None
    counted = reply.usage.completion_tokens if reply.usage else 0
    if reply.finish == "content_filter":  # the server's word, not the model's
        return Prediction(sample_id=sample_id, error="model")
    measured: dict[str, Any] = {
        "sample_id": sample_id,
        "text": text,
        "logprob": logprob,
        "num_tokens": reply.num_logprobs if logprob is not None else counted,
    }
    if reply.finish == "length":
        return Prediction(**measured, error="truncated")
    if answer_format is None or reply.calls:
        parsed = parse_tool_calls(reply.content, written)
    else:
        parsed = parse(answer_format, reply.content)
    return Prediction(**measured, calls=parsed.calls, content=parsed.content, error=parsed.error)


def _covers(reply: Reply) -> bool:
    """Whether the log-probabilities are those of the whole answer: some servers leave out the tokens of its calls."""
    if not reply.calls:
        return reply.num_logprobs > 0
    ended = 1  # the token that ends the answer is counted by some and never listed
    return reply.usage is not None and 0 < reply.usage.completion_tokens <= reply.num_logprobs + ended


class BackgroundLoop:
    """An event loop on a thread of its own: `Student.predict` is synchronous and may be called from within a loop."""

    def __init__(self) -> None:
        """Start the thread."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="sloop-endpoint", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Wait for a coroutine; an interrupt cancels it."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        finally:
            future.cancel()

    async def wait(self, work: Coroutine[Any, Any, T]) -> T:
        """Wait for a coroutine from another loop; who gives up waiting cancels it."""
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))

    def close(self) -> None:
        """End the thread, and what still runs on it."""
        self.run(self._cancel_all())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _cancel_all(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
