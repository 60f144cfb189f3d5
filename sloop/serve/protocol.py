"""What the HTTP application asks of whoever answers: one request in, one answer out, no HTTP in either."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, Protocol

from sloop.models.base import CallText
from sloop.records import Message, Record, Tool

Finish = Literal["stop", "length"]
"""stop: the answer ended; length: it was cut off after the tokens that were allowed."""


class ChatRequest(Record):
    """A chat completion that is asked for; what it leaves out is None."""

    model: str
    messages: tuple[Message, ...]
    tools: tuple[Tool, ...] = ()
    strict: frozenset[str] = frozenset()
    """Names of the tools whose calls must satisfy their schema."""
    tool_choice: Literal["auto", "none", "required"] = "auto"
    only: str | None = None
    """The one tool that must be called; ``tool_choice`` is then ``required``."""
    parallel: bool = True
    """Whether an answer may have several calls."""
    max_tokens: int | None = None
    temperature: float | None = None
    stop: tuple[str, ...] = ()
    """The answer ends before the first of these."""
    seed: int | None = None
    logprobs: bool = False
    json_output: bool = False
    """The content must be JSON."""
    json_schema: dict[str, Any] | None = None
    """What the JSON must satisfy; None: it is a JSON object of any form."""


class Token(Record):
    """A token of an answer."""

    text: str
    logprob: float
    """Natural logarithm of its probability."""


class Answer(Record):
    """A finished answer."""

    content: str = ""
    calls: tuple[CallText, ...] = ()
    finish: Finish = "stop"
    tokens: tuple[Token, ...] | None = None
    """All that was written, calls and end token included; None: this responder knows no probabilities."""
    prompt_tokens: int = 0
    completion_tokens: int = 0


class Piece(Record):
    """What an answer that is still being written has more of: it starts the final content, or follows in it."""

    text: str
    tokens: tuple[Token, ...]


class RequestError(Exception):
    """A request that gets no answer, as the OpenAI API says it."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        written: str | None = None,
    ) -> None:
        """Note what is wrong.

        Args:
            status: of HTTP, 400 to 599.
            message: in words.
            code: of OpenAI, such as ``model_not_found``.
            param: the field of the request that it is about.
            written: what was generated and is no answer to the request.
        """
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.param = param
        self.written = written


class Responder(Protocol):
    """Whoever answers. It belongs to the event loop of the server and must not block it."""

    @property
    def models(self) -> tuple[str, ...]:
        """The names that it answers to."""
        ...

    async def reply(self, request: ChatRequest, wrote: Callable[[Piece], None] | None) -> Answer:
        """Answer; the model is one of `models`.

        Args:
            request: what is asked.
            wrote: told pieces of the content on the event loop, as they are written; who has none to tell leaves it
                out, and the answer is streamed as a whole. None: nobody wants them.

        Raises:
            RequestError: there is no answer.
        """
        ...

    def close(self) -> None:
        """Give up what is being written, and free what is held."""
        ...
