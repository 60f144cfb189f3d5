"""Who answers, behind an address: what the configuration says of it, its connections, and what its errors mean.

The part of every component that asks a model: ``student.endpoint``, ``teacher.endpoint``, ``judge.endpoint``,
``benchmark.user.endpoint``.
"""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, Field

from sloop.models.base import FINAL, ChatModel, ErrorKind, ModelError, Reply, Sampling
from sloop.models.environment import KEY_OF, Key, Role, checked_url, key_for
from sloop.models.openai_api import OpenAIChat
from sloop.models.preflight import Finding, look
from sloop.models.replay import CacheMode, Replay, check_cache
from sloop.models.structured import StructuredOutput
from sloop.models.throttle import Limits
from sloop.models.usage import Meter
from sloop.records import Message, Record, Tool, UserError
from sloop.records.ranges import PathText, refused

T = TypeVar("T")

WAITING_FACTOR = 4
"""Requests on their way for each that may be in flight, so that those who wait to try again keep nobody waiting."""


_ADVICE: dict[ErrorKind, str] = {
    "quota": "Run the same command again when the endpoint lets you",
    "rate_limit": "Run the same command again when the endpoint lets you",
    "timeout": "Give it more time with limits.timeout, or look at what the server says of it",
    "malformed": "A server is needed that answers as OpenAI's chat completions do",
}


def _header(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9-]{1,100}", name):
        raise refused("give the name of a header, such as api-key")
    return name


HeaderName = Annotated[str, AfterValidator(_header)]


class InText(Record):
    """What a server is asked for where calls are read in the text (``answer_format``); None: it is sent nothing."""

    tool_choice: Literal["none"] | None = "none"
    skip_special_tokens: bool | None = None


class Endpoint:
    """A model behind an OpenAI-compatible address. It may be asked from any event loop, and from none.

    Connections live on a loop of its own, which starts with the first request and ends with `close`; another request
    starts anew.
    """

    MODULES = (
        "sloop.calls.formats",
        "sloop.calls.schema",
        "sloop.models.base",
        "sloop.models.endings",
        "sloop.models.masking",
        "sloop.models.openai_api",
        "sloop.models.streaming",
        "sloop.models.structured",
        "sloop.models.wire",
    )

    NOT_RESULTS = frozenset({"role", "limits", "cache", "cache_path"})
    """Arguments that change how it is asked, and no answer: a stage may be resumed with others."""

    def __init__(
        self,
        *,
        role: Role,
        base_url: str,
        model: Annotated[str, Field(min_length=1, max_length=500)],
        query: dict[str, str],
        key_header: HeaderName,
        structured_output: StructuredOutput,
        in_text: InText,
        limits: Limits,
        cache: CacheMode,
        cache_path: PathText,
    ) -> None:
        """Take the settings as they stand in ``conf/endpoint/*.yaml``, which says what each value is.

        Raises:
            UserError: an address that is none, or a cache to be read that is not there.
        """
        check_cache(cache, Path(cache_path))
        self.role: Role = role
        self.base_url = checked_url(base_url)
        self.model = model
        self.query = query
        self.key_header = key_header
        self.structured_output: StructuredOutput = structured_output
        self.in_text = in_text
        self.limits = limits
        self.cache: CacheMode = cache
        self.cache_path = cache_path
        self.meter = Meter()
        """Counts what is spent; a run puts its own in this place before anything is asked."""
        self._answered = False
        self._key: Key = key_for(role)
        self._client: OpenAIChat | None = None
        self._chat: ChatModel | None = None
        self._loop: BackgroundLoop | None = None
        self._opening = threading.Lock()

    @property
    def identity(self) -> dict[str, Any]:
        """Address and model's name."""
        return {"base_url": self.base_url, "model": self.model}

    @property
    def in_flight(self) -> int:
        """Units of work worth having on their way at a time."""
        return WAITING_FACTOR * self.limits.concurrency

    @property
    def asks_nothing(self) -> bool:
        """Whether every reply comes from the cache."""
        return self.cache == "read_only"

    async def complete(
        self,
        messages: Sequence[Message],
        *,
        tools: Sequence[Tool] = (),
        sampling: Sampling,
        schema: Mapping[str, Any] | None = None,
        salt: str = "",
    ) -> Reply:
        """One reply, whichever event loop asks; see `sloop.models.base.ChatModel`.

        Raises:
            ModelError: the endpoint failed in all its tries, for this request.
            UserError: what every request would meet: nobody listens, the key is refused, there is no such model; or the
                reply is missing from a cache that is only read.
            OutOfBudget: nothing more may be spent.
        """
        loop, chat = self._open()
        asked = chat.complete(messages, tools=tools, sampling=sampling, schema=schema, salt=salt)
        try:
            reply = await (asked if loop.is_running_here() else loop.wait(asked))
        except ModelError as error:
            if error.kind in FINAL or error.kind == "unreachable":
                raise await self._mistake(error) from None
            raise
        self._answered = True
        return reply

    def check(self, roles: tuple[Role, ...]) -> Finding:
        """Ask past the cache what it can; see `sloop.models.preflight`.

        Raises:
            UserError: there was no reply, whatever the cause.
            OutOfBudget: nothing more may be spent.
        """
        loop, _ = self._open()
        return loop.run(self._look(roles))

    async def _look(self, roles: tuple[Role, ...]) -> Finding:
        assert self._client is not None
        try:
            async with asyncio.timeout(self.limits.timeout):
                return await look(self._client, roles)
        except TimeoutError:
            error = ModelError("timeout", f"no whole reply within {self.limits.timeout:g} s")
        except ModelError as failed:
            error = failed
        raise await self._mistake(error)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Wait for a coroutine that asks, from synchronous code; many requests at once need no loop of their own."""
        return self._open()[0].run(work)

    def close(self) -> None:
        """Close connections and the cache."""
        if self._loop is not None:
            if self._chat is not None:
                self._loop.run(self._chat.close())
            self._loop.close()
        self._loop = self._chat = self._client = None

    def _open(self) -> tuple[BackgroundLoop, ChatModel]:
        with self._opening:
            if self._loop is None or self._chat is None:
                account = self.meter.account(self.role, self.model)
                self._client = OpenAIChat(
                    base_url=self.base_url,
                    model=self.model,
                    key=self._key,
                    limits=self.limits,
                    query=self.query,
                    key_header=self.key_header,
                    structured_output=self.structured_output,
                    account=account,
                )
                self._chat = self._client
                if self.cache != "off":
                    self._chat = Replay(self._client, mode=self.cache, path=Path(self.cache_path), account=account)
                self._loop = BackgroundLoop()
            return self._loop, self._chat

    async def _models(self) -> list[str]:
        loop, _ = self._open()
        assert self._client is not None
        listing = self._client.models()
        return await (listing if loop.is_running_here() else loop.wait(listing))

    async def _mistake(self, error: ModelError) -> UserError:
        """The reader's mistake behind an error that every request would meet."""
        path = f"{'benchmark.user' if self.role == 'user' else self.role}.endpoint"
        where, variable = f"{path}.base_url={self.base_url}", self._key.variable
        own = f"SLOOP_{KEY_OF[self.role]}_API_KEY"
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
            names = await self._models()
            known = f"It has: {', '.join(names[:20])}" if names else "It does not list its models"
            told = (
                f"{path}.model={self.model}: the endpoint {self.base_url} has no such model ({error.detail}). {known}"
            )
        elif error.kind == "no_such_path":
            told = f"{where}: no chat completions there ({error.detail}). Most addresses end in /v1"
        else:
            told = f"{where}: {error.detail}. {_ADVICE.get(error.kind, 'Look at what the server says of it')}"
        return UserError(f"{told}. What was answered before is kept." if self._answered else f"{told}.")


class BackgroundLoop:
    """An event loop on a thread of its own: a student is synchronous and may be called from within a loop."""

    def __init__(self) -> None:
        """Start the thread."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="sloop-endpoint", daemon=True)
        self._thread.start()

    def is_running_here(self) -> bool:
        """Whether the caller runs on this loop."""
        return threading.current_thread() is self._thread

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
