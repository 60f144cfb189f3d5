"""The simulated model of `sloop.simulation.briefs` behind the HTTP application: it answers without a key."""

from __future__ import annotations

import json
from collections.abc import Callable

from sloop.models.base import CallText
from sloop.serve.protocol import Answer, ChatRequest, Piece
from sloop.simulation.briefs import SimulatedModel


class SimulatedResponder:
    """Answers at once, and writes nothing piece by piece."""

    def __init__(self, *, model: SimulatedModel, name: str) -> None:
        """Take the model and the name that clients know it by."""
        self._model = model
        self._name = name

    @property
    def models(self) -> tuple[str, ...]:
        """The one name."""
        return (self._name,)

    async def reply(self, request: ChatRequest, wrote: Callable[[Piece], None] | None) -> Answer:
        """Answer; see `sloop.serve.protocol.Responder`. Tokens are counted as words."""
        said = await self._model.reply(request.messages, request.tools, request.json_schema, request.seed)
        calls = tuple(
            CallText(name=call.name, arguments=json.dumps(call.arguments, ensure_ascii=False)) for call in said.calls
        )
        written = " ".join([said.content, *(call.arguments for call in calls)])
        return Answer(
            content=said.content,
            calls=calls,
            prompt_tokens=sum(len(message.content.split()) for message in request.messages),
            completion_tokens=len(written.split()),
        )

    def close(self) -> None:
        """Nothing is held."""
