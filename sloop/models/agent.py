"""The agent loop: a model is asked, its calls run, it is told what came of them, and asked again.

The model writes the arguments, so nothing that it writes ends the loop: an unknown tool, arguments that are no JSON or
miss the schema, and whatever a tool raises are told to the model as an error. A reply that broke off or was cut runs
none of its calls.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Literal, Protocol, runtime_checkable

from sloop.calls.formats import FormatName, parse, parse_tool_calls
from sloop.calls.formats.base import made
from sloop.environments.base import ERROR, refusal
from sloop.models.base import CallDelta, CallText, ChatModel, Chunk, ErrorKind, ModelError, Reply, Sampling, Usage
from sloop.models.streaming import fold
from sloop.records import Message, Record, ToolCall, UserError, to_json
from sloop.records.ranges import Positive, Seconds
from sloop.tools.contract import RunnableTool, definition, failure, run_tool

LONGEST_NAME = 200
"""Characters of a name or of arguments that an error repeats."""


class MessageChunk(Record):
    """A piece of the model's words."""

    type: Literal["message"] = "message"
    text: str


class ReasoningChunk(Record):
    """A piece of its reasoning, where the server hands that over apart."""

    type: Literal["reasoning"] = "reasoning"
    text: str


class ErrorChunk(Record):
    """The model gave no usable answer; the end follows."""

    type: Literal["error"] = "error"
    kind: str
    """An `sloop.models.base.ErrorKind`, ``truncated`` or ``format``."""
    text: str


class ToolCallStart(Record):
    """A whole call was read, and is about to be checked and run."""

    type: Literal["tool_call_start"] = "tool_call_start"
    id: str
    """``call_<k>``: its place in the dialogue."""
    name: str
    arguments: str
    """As the model wrote them."""


class ToolCallError(Record):
    """The call was refused or failed; the model is told this text."""

    type: Literal["tool_call_error"] = "tool_call_error"
    id: str
    name: str
    text: str


class ToolCallResult(Record):
    """What the tool answered; the model is told this text."""

    type: Literal["tool_call_result"] = "tool_call_result"
    id: str
    name: str
    text: str


EndReason = Literal["message", "iterations", "time", "error"]
"""The model answered without a call; it was asked as often as allowed; time was up; it gave no usable answer."""


class End(Record):
    """The last chunk of a run, always there."""

    type: Literal["end"] = "end"
    reason: EndReason
    iterations: int
    """Replies that were asked for."""
    usage: Usage
    """Of all of them, as far as the server counted."""


AgentChunk = MessageChunk | ReasoningChunk | ErrorChunk | ToolCallStart | ToolCallError | ToolCallResult | End


class AgentLimits(Record):
    """What ends a run, or a call."""

    iterations: Positive = 10
    """Most replies that one run asks for."""
    seconds: Seconds = 300.0
    """Longest run, from its start."""
    call_seconds: Seconds = 30.0
    """Longest call of a tool. A function that is not async cannot be stopped and its thread runs on, unheard: isolate
    such a tool (`sloop.tools.sandbox`)."""
    parallel: Positive = 16
    """Most calls that run at a time."""
    result_characters: Positive = 50_000
    """Longest result that a model is told; the rest is cut, and it is told so."""


LIMITS = AgentLimits()
SAMPLING = Sampling(temperature=0.0, max_tokens=1024)


@runtime_checkable
class Streams(Protocol):
    """A chat model whose replies come in pieces, such as `sloop.models.openai_api.OpenAIChat`."""

    def stream(
        self, messages: Sequence[Message], *, tools: Sequence[Any] = (), sampling: Sampling
    ) -> AsyncIterator[Chunk]:
        """A reply in pieces."""
        ...


class AgentLoop:
    """One dialogue between a model and whoever runs it, with tools. Use it from one event loop, one run at a time."""

    def __init__(
        self,
        model: ChatModel | Streams,
        prompt: str | Sequence[Message],
        tools: Mapping[str, RunnableTool],
        *,
        limits: AgentLimits = LIMITS,
        sampling: Sampling = SAMPLING,
        answer_format: FormatName | None = None,
    ) -> None:
        """Take model and tools; nothing is asked.

        Args:
            model: asked for every reply, in pieces where it has them.
            prompt: the system prompt, or the dialogue so far.
            tools: by the names that the model knows them by.
            limits: what ends a run, or a call.
            sampling: how replies are written.
            answer_format: read calls in the text, as this format writes them; None: the server hands them over apart.

        Raises:
            UserError: a tool is none, or its name or schema is not usable.
        """
        self.model = model
        self.tools = dict(tools)
        self.limits = limits
        self.definitions = tuple(definition(name, tool) for name, tool in tools.items())
        start = (Message(role="system", content=prompt),) if isinstance(prompt, str) and prompt else prompt
        self.messages: list[Message] = list(start) if not isinstance(start, str) else []
        """The dialogue so far, whole after every run."""
        self._running = asyncio.Semaphore(limits.parallel)
        self._answer_format = answer_format
        self._sampling = sampling.model_copy(update={"tool_choice": "none"}) if answer_format else sampling

    async def run(self, message: str | None = None) -> AsyncGenerator[AgentChunk]:
        """Ask until the model answers without a call, or a limit is met.

        Whoever stops listening (``aclose``, or a cancelled task) stops the request and the calls that run.

        Args:
            message: what the user says; None: the dialogue goes on as it stands.

        Yields:
            What happens, in order; `End` last.

        Raises:
            UserError: what no other request would get over, where the model says so in this way.
        """
        if message is not None:
            self.messages.append(Message(role="user", content=message))
        deadline = asyncio.get_running_loop().time() + self.limits.seconds
        reason: EndReason | None = None
        usage, iterations = Usage(), 0
        while reason is None and iterations < self.limits.iterations:
            iterations += 1
            pieces: list[Chunk] = []
            try:
                async with aclosing(self._pieces()) as coming:
                    while True:
                        async with asyncio.timeout_at(deadline):
                            piece = await anext(coming, None)
                        if piece is None:
                            break
                        pieces.append(piece)
                        if piece.reasoning:
                            yield ReasoningChunk(text=piece.reasoning)
                        if piece.content:
                            yield MessageChunk(text=piece.content)
                reply = fold(pieces)
                usage += reply.usage or Usage()
                calls, words, problem = self._take(reply)
                for call in calls:
                    yield call.start
                async with asyncio.timeout_at(deadline):
                    outcomes = await self._run_all(calls)
            except TimeoutError:
                reason = "time"
            except ModelError as error:
                yield ErrorChunk(kind=error.kind, text=error.detail)
                reason = "error"
            else:
                if problem is not None:
                    yield problem
                    reason = "error"
                    continue
                # Only now, with its results: a dialogue in which calls have no answer cannot go on.
                said = tuple(call.told for call in calls)
                self.messages.append(Message(role="assistant", content=_sayable(words), tool_calls=said))
                for outcome in outcomes:
                    self.messages.append(Message(role="tool", content=outcome.text, tool_call_id=outcome.id))
                for outcome in outcomes:
                    yield outcome
                reason = None if calls else "message"
        yield End(reason=reason or "iterations", iterations=iterations, usage=usage)

    async def _pieces(self) -> AsyncGenerator[Chunk]:
        """One reply, in pieces or whole.

        Raises:
            ModelError: there is none; also where the model, which may be another's class, raises something else.
            UserError: as the model says.
        """
        try:
            async with aclosing(self._asked()) as pieces:
                async for piece in pieces:
                    yield piece
        except (ModelError, UserError):
            raise
        except Exception as error:  # the boundary to others' code
            kind: ErrorKind = "timeout" if isinstance(error, TimeoutError) else "dropped"
            raise ModelError(kind, failure(error)) from error

    async def _asked(self) -> AsyncGenerator[Chunk]:
        if isinstance(self.model, Streams):
            pieces = self.model.stream(self.messages, tools=self.definitions, sampling=self._sampling)
            try:
                async for piece in pieces:
                    yield piece
            finally:
                if inspect.isasyncgen(pieces):
                    await pieces.aclose()
            return
        reply = await self.model.complete(self.messages, tools=self.definitions, sampling=self._sampling)
        calls = (CallDelta(index=k, name=each.name, arguments=each.arguments) for k, each in enumerate(reply.calls))
        yield Chunk(content=reply.content, calls=tuple(calls), finish=reply.finish, usage=reply.usage)

    def _take(self, reply: Reply) -> tuple[list[_Call], str, ErrorChunk | None]:
        """A reply's calls and words, or what is wrong with all of it."""
        if reply.ending == "cut":
            told = "the answer was cut off at its longest length, and nothing of it runs"
            return [], "", ErrorChunk(kind="truncated", text=told)
        written = reply.calls
        if self._answer_format is None or written:
            parsed = parse_tool_calls(reply.content, [(call.name, "") for call in written], self.definitions)
        else:
            parsed = parse(self._answer_format, reply.content, tools=self.definitions)
            written = tuple(CallText(name=call.name, arguments=to_json(call.arguments)) for call in parsed.calls)
        if parsed.error and not written:
            told = "a call stands in the text and cannot be read"
            if not reply.content.strip():
                told = "nothing was answered"
            elif self._answer_format is None:
                told = "a call stands in the text: start the server with its tool parser, or say answer_format"
            return [], "", ErrorChunk(kind="format", text=told)
        made_before = sum(len(row.tool_calls) for row in self.messages)
        calls = [_Call(f"call_{made_before + k}", call) for k, call in enumerate(written)]
        return calls, parsed.content, None

    async def _run_all(self, calls: Sequence[_Call]) -> list[ToolCallError | ToolCallResult]:
        """Run calls side by side; what came of each, in their order."""
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._run(call)) for call in calls]
        return [
            ToolCallError(id=call.id, name=call.start.name, text=f"{ERROR}the tool was cancelled")
            if task.cancelled()  # by the tool itself
            else task.result()
            for call, task in zip(calls, tasks, strict=True)
        ]

    async def _run(self, call: _Call) -> ToolCallError | ToolCallResult:
        def failed(text: str) -> ToolCallError:
            return ToolCallError(id=call.id, name=call.start.name, text=self._cut(f"{ERROR}{text}"))

        if call.problem is not None:
            return failed(call.problem)
        if call.told.name not in self.tools:
            offered = ", ".join(self.tools) or "none"
            return failed(f"no tool is called {call.told.name[:LONGEST_NAME]!r}; on offer: {offered}")
        if (refused := refusal(call.told, self.definitions)) is not None:
            return failed(refused.removeprefix(ERROR))
        try:
            async with self._running, asyncio.timeout(self.limits.call_seconds) as limit:
                text = await run_tool(self.tools[call.told.name], call.told.arguments)
        except (asyncio.CancelledError, KeyboardInterrupt):
            raise
        except BaseException as error:  # the boundary to others' code: its failure, of whatever kind, is told the model
            if isinstance(error, TimeoutError) and limit.expired():
                return failed(f"no result within {self.limits.call_seconds:g} s")
            return failed(failure(error))
        return ToolCallResult(id=call.id, name=call.start.name, text=self._cut(text))

    def _cut(self, text: str) -> str:
        most = self.limits.result_characters
        said = _sayable(text[:most])
        return said if len(text) <= most else f"{said}\n[cut: {len(text)} characters in all]"


def _sayable(text: str) -> str:
    """The text without halves of surrogate pairs, which no request could say; two that belong together become one."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


class _Call:
    """A call as written, and as read."""

    def __init__(self, id: str, written: CallText) -> None:
        self.id = id
        self.start = ToolCallStart(id=id, name=written.name, arguments=written.arguments)
        self.problem: str | None = None
        try:
            self.told = made(written.name, written.arguments.strip() or {})
        except (ValueError, RecursionError) as error:
            shown = written.arguments[:LONGEST_NAME]
            self.problem = f"the arguments are no JSON object ({error}): {shown}"
            self.told = ToolCall(name=written.name or "unnamed", arguments={})
