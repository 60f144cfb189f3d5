"""What a chat model is: pure data in and out, and one error with a kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol

from pydantic import Field

from sloop.models.endings import Ending, read_ending
from sloop.records import Message, Record, Tool

ErrorKind = Literal[
    "unreachable", "dropped", "timeout", "rate_limit", "server", "malformed",
    "no_answer", "unreadable", "filtered", "auth", "quota", "unknown_model", "no_such_path", "too_long", "refused",
]  # fmt: skip
"""What went wrong, in this order: nobody listens; the connection broke; no whole reply in time; too many requests;
the server failed; the reply cannot be read; it ended as no answer does; the server could not read what the model wrote;
the server withheld it (all three: `sloop.models.endings`); the key was refused; the account is spent, or a longer wait
was asked for than is allowed; no such model; no chat completions under this address; the prompt does not fit the model;
this request was turned down."""
PASSING: frozenset[ErrorKind] = frozenset(
    {"unreachable", "dropped", "timeout", "rate_limit", "server", "malformed", "no_answer"}
)
"""Kinds that another try may get over."""
FINAL: frozenset[ErrorKind] = frozenset({"auth", "quota", "unknown_model", "no_such_path"})
"""Kinds that every other request would meet, too."""
DETAIL_LENGTH = 300


class ModelError(Exception):
    """A request that got no usable reply, after all its tries."""

    def __init__(
        self,
        kind: ErrorKind,
        said: str,
        wait: float | None = None,
        *,
        written: str = "",
        usage: Usage | None = None,
    ) -> None:
        """Note what happened.

        Args:
            kind: see `ErrorKind`.
            said: in words, without any key.
            wait: seconds that the server asked to wait before another try.
            written: what the model wrote, where the server could not read it.
            usage: what the try cost.
        """
        self.detail = said[:DETAIL_LENGTH]
        """For a message; what a server complains of may stand further on in ``said``."""
        super().__init__(f"{kind}: {self.detail}")
        self.kind: ErrorKind = kind
        self.said = said
        self.wait = wait
        self.written = written
        self.usage = usage

    @property
    def spent_nothing(self) -> bool:
        """Whether nobody took the request up."""
        return self.kind in FINAL or self.kind == "unreachable"


class Sampling(Record):
    """How a reply is written."""

    temperature: float
    """0: the likeliest token, again and again."""
    max_tokens: int
    """Longest reply, in tokens."""
    seed: int | None = None
    """Passed on to servers that draw at random."""
    logprobs: bool = False
    """Ask for the log-probabilities of the reply's tokens."""
    tool_choice: Literal["auto", "none"] = "auto"
    """``none``: tools are shown to the model, and its calls are left in the text."""
    in_text: Mapping[str, str | bool | None] = Field(default_factory=dict)
    """What else is sent for the calls to be left in the text; a value of None takes a part of the request away."""


class Usage(Record):
    """What a request cost, in tokens, as the server counted."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    """Of the prompt's: those that the server had met before."""

    def __add__(self, other: Usage) -> Usage:
        return Usage(**{name: getattr(self, name) + getattr(other, name) for name in Usage.model_fields})


class CallText(Record):
    """A call as the model wrote it: the arguments may be anything, JSON or not."""

    name: str
    arguments: str
    sent: Any = Field(None, exclude_if=lambda sent: sent is None)
    """What the server handed over in place of this text: the arguments parsed, or one of the ways to say none."""


class Reply(Record):
    """A model's reply. It may still be wrong in every way that a model can be wrong."""

    content: str = ""
    calls: tuple[CallText, ...] = ()
    finish: str = "stop"
    """The server's ``finish_reason``, or a word of its own."""
    logprob: float | None = None
    """Sum of the natural-log probabilities of the tokens that logprobs were given for; None where none were."""
    num_logprobs: int = 0
    """Number of those tokens."""
    data: Any = None
    """The content as JSON that satisfies the schema, where one was asked for."""
    usage: Usage | None = None
    """Of all requests that it took; None where the server did not count."""

    @property
    def ending(self) -> Ending:
        """How it ended: what a `ChatModel` gives is an answer, or was cut."""
        return read_ending(self.finish, self.content, bool(self.calls))[0]


class CallDelta(Record):
    """A piece of a call."""

    index: int
    """Of the call in the reply."""
    id: str = ""
    """The server's, with the call's first piece; another one under the same index begins another call."""
    name: str = ""
    arguments: str = ""


class Chunk(Record):
    """A piece of a reply. Pieces are to be put together in order; see `sloop.models.streaming.fold`."""

    content: str = ""
    reasoning: str = ""
    """What a server hands over apart from the content; no part of the reply that is kept."""
    calls: tuple[CallDelta, ...] = ()
    finish: str | None = None
    """With the last piece that has text or calls."""
    logprobs: tuple[float, ...] | None = ()
    """Natural-log probabilities of this piece's tokens, where they were given; None: one of them is not known."""
    usage: Usage | None = None
    """Of the whole reply, in the very last piece, where the server counts."""


class ChatModel(Protocol):
    """Remote text."""

    @property
    def identity(self) -> dict[str, Any]:
        """Which model this is, as plain data without any key: part of what a reply depends on."""
        ...

    async def complete(
        self,
        messages: Sequence[Message],
        *,
        tools: Sequence[Tool] = (),
        sampling: Sampling,
        schema: Mapping[str, Any] | None = None,
        salt: str = "",
    ) -> Reply:
        """One reply.

        Args:
            messages: the dialogue so far.
            tools: on offer.
            sampling: how the reply is written.
            schema: JSON Schema (draft 2020-12, of type object) that ``Reply.data`` will satisfy.
            salt: what tells this request from an equal one: the vote, the attempt. Not sent.

        Raises:
            ModelError: there is no usable reply.
        """
        ...

    async def close(self) -> None:
        """Close connections."""
        ...
