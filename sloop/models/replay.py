"""Replies kept on disk: a run that is repeated asks nothing twice, and a study can be run again without a network.

A reply is kept under the model's name, the whole request and a salt. The address is no part of it: the same model
behind a gateway, or on another port, gives what is kept.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from sloop.models.base import ChatModel, ModelError, Reply, Sampling
from sloop.models.usage import Account
from sloop.models.wire import answered
from sloop.records import Message, Tool, UserError, digest
from sloop.store import Cache, is_file

CacheMode = Literal["off", "use", "read_only"]
"""off: ask; use: ask what is not kept, and keep it; read_only: ask nothing."""


def check_cache(mode: CacheMode, path: Path) -> None:
    """Fail where replies are only to be read and there are none.

    Raises:
        UserError: there is no such file.
    """
    if mode == "read_only" and not is_file(path):
        raise UserError(f"cache=read_only: there are no kept replies at {path}. Run with cache=use first.")


class Replay:
    """A chat model whose replies are kept, by the digest of model, request and salt. Failures are neither kept nor, in
    older files, taken for kept; what a server could not read of the model's is kept as that.

    Of equal requests that are on their way together one is sent. Use it from one event loop.
    """

    def __init__(
        self, model: ChatModel, *, mode: Literal["use", "read_only"], path: Path, account: Account | None = None
    ) -> None:
        """Open the cache.

        Args:
            model: who is asked.
            mode: see `CacheMode`.
            path: the file of kept replies.
            account: told of every kept reply that was given; None: nobody is.

        Raises:
            UserError: nothing is to be asked, and there is no such file.
        """
        check_cache(mode, path)
        self.hits = self.misses = 0
        self._account = account
        self._asking: dict[str, asyncio.Event] = {}
        self._model = model
        self._mode = mode
        self._cache = Cache(path)

    @property
    def identity(self) -> dict[str, Any]:
        """That of the model itself."""
        return self._model.identity

    async def complete(
        self,
        messages: Sequence[Message],
        *,
        tools: Sequence[Tool] = (),
        sampling: Sampling,
        schema: Mapping[str, Any] | None = None,
        salt: str = "",
    ) -> Reply:
        """The kept reply, or a new one; see `sloop.models.base.ChatModel`.

        Raises:
            UserError: the reply is not kept, and nothing is to be asked.
        """
        request = {
            "messages": [message.to_openai() for message in messages],
            "tools": [tool.to_openai() for tool in tools],
            "sampling": sampling.model_dump(exclude=None if sampling.in_text else {"in_text"}),
            "schema": dict(schema) if schema is not None else None,
        }
        key = digest({"model": self.identity.get("model"), **request, "salt": salt})
        while self._cache.get(key) is not None and self._kept(key) is None:  # a failure stands there for good
            key = digest(key)
        while (kept := self._kept(key)) is None:
            if self._mode == "read_only":
                raise self._missing(key, messages, tools, salt)
            if key not in self._asking:
                break
            await self._asking[key].wait()  # where that one fails, the next of those who wait asks
        if kept is not None:
            self.hits += 1
            if self._account:
                self._account.hit()
            return answered(kept)
        self.misses += 1
        done = self._asking[key] = asyncio.Event()
        try:
            try:
                reply = await self._model.complete(messages, tools=tools, sampling=sampling, schema=schema, salt=salt)
            except ModelError as error:
                if error.kind != "unreadable":
                    raise
                reply = Reply(content=error.written, finish="malformed_tool_use", usage=error.usage)
            self._cache.put(key, reply.model_dump(mode="json"))
            return answered(self._kept(key) or reply)
        finally:
            del self._asking[key]
            done.set()

    def _kept(self, key: str) -> Reply | None:
        kept = self._cache.get(key)
        if kept is None:
            return None
        try:
            reply = Reply.model_validate(kept)
        except ValueError as error:
            raise UserError(
                f"{self._cache.path}: what is kept under the key {key[:16]}... is no reply of a model. Take that line "
                "out, or name another file (paths.cache)."
            ) from error
        return reply if reply.ending in ("answer", "cut", "unreadable") else None

    def _missing(self, key: str, messages: Sequence[Message], tools: Sequence[Tool], salt: str) -> UserError:
        last = next((m.content for m in reversed(messages) if m.role == "user"), "")
        return UserError(
            f"cache=read_only: no reply is kept in {self._cache.path} for the request {key[:16]} to model "
            f"{self.identity.get('model')!r} ({last[:80]!r}, {len(tools)} tools"
            f"{f', salt {salt!r}' if salt else ''}). Ask for what is missing with cache=use."
        )

    async def close(self) -> None:
        """Close the file and the model's connections."""
        self._cache.close()
        await self._model.close()
