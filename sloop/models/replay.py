"""Replies kept on disk: a run that is repeated asks nothing twice, and a study can be run again without a network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from sloop.models.base import ChatModel, Reply, Sampling
from sloop.store import Cache
from sloop.types import Message, Tool, UserError, digest

CacheMode = Literal["off", "use", "read_only"]
"""off: ask; use: ask what is not kept, and keep it; read_only: ask nothing."""


def check_cache(mode: CacheMode, path: Path) -> None:
    """Fail where replies are only to be read and there are none.

    Raises:
        UserError: there is no such file.
    """
    if mode == "read_only" and not path.is_file():
        raise UserError(f"cache=read_only: there are no kept replies at {path}. Run with cache=use first.")


class Replay:
    """A chat model whose replies are kept, by the digest of model, request and salt. Failures are not kept."""

    def __init__(self, model: ChatModel, *, mode: Literal["use", "read_only"], path: Path) -> None:
        """Open the cache.

        Args:
            model: who is asked.
            mode: see `CacheMode`.
            path: the file of kept replies.

        Raises:
            UserError: nothing is to be asked, and there is no such file.
        """
        check_cache(mode, path)
        self.hits = self.misses = 0
        self._model = model
        self._mode = mode
        self._cache = Cache(path)

    @property
    def identity(self) -> dict[str, Any]:
        """That of the model itself."""
        return self._model.identity

    @property
    def torn_lines(self) -> int:
        """Lines of the file that could not be read: their replies are asked for again."""
        return self._cache.torn_lines

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
            "sampling": sampling.model_dump(),
            "schema": dict(schema) if schema is not None else None,
        }
        key = digest({**self.identity, **request, "salt": salt})
        kept = self._cache.get(key)
        if kept is not None:
            self.hits += 1
            return Reply.model_validate(kept)
        if self._mode == "read_only":
            last = next((m.content for m in reversed(messages) if m.role == "user"), "")
            raise UserError(
                f"cache=read_only: no reply is kept in {self._cache.path} for the request {key[:16]} to model "
                f"{self.identity.get('model')!r} ({last[:80]!r}, {len(tools)} tools"
                f"{f', salt {salt!r}' if salt else ''}). Ask for what is missing with cache=use."
            )
        self.misses += 1
        reply = await self._model.complete(messages, tools=tools, sampling=sampling, schema=schema, salt=salt)
        self._cache.put(key, reply.model_dump(mode="json"))
        return reply

    async def close(self) -> None:
        """Close the file and the model's connections."""
        self._cache.close()
        await self._model.close()
