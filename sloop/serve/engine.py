"""A checkpoint that answers: requests that wait together are written in one batch, on a thread of their own.

What is written is what `sloop.students.local` writes for the same sample, and depends neither on the batch nor on how
the answer is sent. What is drawn at a temperature depends on the prompt and on the request's ``seed``, where it has
one. Calls are read from the text by the format that the checkpoint records. A text that attempts a call and cannot be
read is handed over as content, to the letter; so are reasoning, with the mark that opened it where that stands in the
prompt, and the whole text under ``tool_choice: none``.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from sloop.calls.formats import OPENINGS, after_thinking, parse, parse_tool_calls, thoughts_of
from sloop.models.base import CallText
from sloop.records import Sample, Tool
from sloop.serve.protocol import Answer, ChatRequest, Finish, Piece, RequestError, Token
from sloop.students.decoding import Draws, draw_seed
from sloop.students.local import LocalStudent, Prompt
from sloop.students.templates import Unrendered

T = TypeVar("T")

UNFINISHED = "\ufffd"
"""What the first bytes of a character decode to, before the rest is written."""


class CheckpointResponder:
    """Answers from a checkpoint. Belongs to one event loop."""

    def __init__(
        self, *, student: LocalStudent, name: str, batch_size: int, batch_wait: float, max_tokens: int
    ) -> None:
        """Take a student with its weights loaded.

        Args:
            student: who writes.
            name: of the model, as clients know it.
            batch_size: requests written at a time.
            batch_wait: seconds that a request waits for others to join it.
            max_tokens: longest answer to a request that sets no limit, as far as the context allows.
        """
        self.batches = 0
        """Batches written so far."""
        self._student = student
        self._name = name
        self._batch_size = batch_size
        self._batch_wait = batch_wait
        self._max_tokens = max_tokens
        self._stops = student.stops
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="sloop-batch")
        self._waiting: deque[_Writing] = deque()
        self._turns: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def models(self) -> tuple[str, ...]:
        """The one name."""
        return (self._name,)

    async def reply(self, request: ChatRequest, wrote: Callable[[Piece], None] | None) -> Answer:
        """Answer; see `sloop.serve.protocol.Responder`. Who gives up waiting frees the place in the batch."""
        writing = _Writing(request, wrote, self._student)
        self._waiting.append(writing)
        if self._turns is None or self._turns.done():
            self._turns = asyncio.create_task(self._take_turns())
        return await writing.answer

    def close(self) -> None:
        """Break off what is being written, and end the thread."""
        self._closed = True
        if self._turns is not None:
            self._turns.cancel()
        self._thread.shutdown(wait=True)
        self._student.close()

    async def _take_turns(self) -> None:
        """Write batch after batch while anybody waits."""
        while self._waiting:
            if len(self._waiting) < self._batch_size:
                await asyncio.sleep(self._batch_wait)
            batch = [self._waiting.popleft() for _ in range(min(self._batch_size, len(self._waiting)))]
            batch = [writing for writing in batch if not writing.over]
            await asyncio.gather(*(self._on_thread(self._prepare, writing, of=[writing]) for writing in batch))
            if asked := [writing for writing in batch if not writing.over]:
                self.batches += 1
                await self._on_thread(self._write, asked, of=asked)

    async def _on_thread(self, work: Callable[[T], None], given: T, *, of: Sequence[_Writing]) -> None:
        """Do a step of some answers on the thread; whatever it fails of is their end, and nobody else's."""
        done = asyncio.get_running_loop().run_in_executor(self._thread, work, given)
        await asyncio.wait([done])
        if error := done.exception():
            for writing in of:
                writing.fail(error)

    def _prepare(self, writing: _Writing) -> None:
        """Make the prompt.

        Raises:
            RequestError: the dialogue has none, or the model has no room for it.
        """
        request, context = writing.request, self._student.context
        try:
            writing.prompt = self._student.prompt(Sample(tools=request.tools, messages=request.messages))
        except Unrendered as error:
            raise RequestError(400, str(error), param="messages") from error
        except RecursionError as error:
            raise RequestError(400, "the dialogue or its tools nest too deep.", param="messages") from error
        length = len(writing.prompt.tokens)
        room = context - length
        writing.max_tokens = request.max_tokens or max(1, min(self._max_tokens, room))
        if writing.max_tokens > room:
            message = (
                f"This model's maximum context length is {context} tokens: {length} in messages and tools and "
                f"{writing.max_tokens} for the answer are more."
            )
            raise RequestError(400, message, code="context_length_exceeded", param="messages")
        seed = secrets.randbits(32) if request.seed is None else draw_seed([request.seed, writing.prompt.tokens])
        writing.draw = request.temperature or 0.0, seed

    def _write(self, batch: Sequence[_Writing]) -> None:
        """Write a batch of prepared answers."""

        def watch(row: int, token: int, logprob: float) -> bool:
            writing = batch[row]
            writing.add(token, logprob, ended=token in self._stops)
            return writing.over or self._closed

        draws = Draws([writing.draw for writing in batch])
        lengths = [writing.max_tokens for writing in batch]
        self._student.write([writing.prompt.tokens for writing in batch], lengths, watch, draws)


class _Writing:
    """One answer while it is written: on the thread, but for what is handed to the event loop."""

    def __init__(self, request: ChatRequest, wrote: Callable[[Piece], None] | None, student: LocalStudent) -> None:
        self.request = request
        self.prompt = Prompt([], "")
        self.max_tokens = 0
        self.draw = 0.0, 0
        """Temperature and seed."""
        self.over = False
        """Nothing more is to be written: it is finished, or nobody waits for it."""
        self._loop = asyncio.get_running_loop()
        self.answer: asyncio.Future[Answer] = self._loop.create_future()
        self.answer.add_done_callback(self._end)
        self._wrote = wrote
        self._student = student
        self._openings = () if request.tool_choice == "none" else OPENINGS[student.format]
        self._ids: list[int] = []
        self._tokens: list[Token] = []
        self._told_text = self._told_tokens = 0

    def add(self, token: int, logprob: float, *, ended: bool) -> None:
        """Take the next token."""
        self._ids.append(token)
        if self.request.logprobs:
            self._tokens.append(Token(text=self._student.text([token], with_end=True), logprob=logprob))
        finish: Finish | None = "stop" if ended else "length" if len(self._ids) >= self.max_tokens else None
        text = ""
        if finish or self._wrote or self.request.stop:
            text = self.prompt.thought + self._student.text(self._ids)
            if (cut := _first_of(self.request.stop, text)) is not None:
                text, finish = text[:cut], "stop"
        if finish:
            self.over = True
            self._loop.call_soon_threadsafe(self._settle, self._read(text, finish))
        elif self._wrote:
            self._tell(text)

    def fail(self, error: BaseException) -> None:
        """End with an error, on the event loop."""
        if not self.answer.done():
            self.answer.set_exception(error)
        self.over = True

    def _end(self, _: object) -> None:
        self.over = True

    def _settle(self, answer: Answer) -> None:
        if not self.answer.done():
            self.answer.set_result(answer)

    def _tell(self, text: str) -> None:
        """Hand on what is certain to stand in the content, with the tokens so far."""
        assert self._wrote is not None
        sure = _before(text, (*self.request.stop, *self._openings, UNFINISHED))
        if self._openings:
            sure = sure.rstrip()  # white space before a call is no content
        if len(sure) <= self._told_text:
            return
        piece = Piece(text=sure[self._told_text :], tokens=tuple(self._tokens[self._told_tokens :]))
        self._told_text, self._told_tokens = len(sure), len(self._tokens)
        self._loop.call_soon_threadsafe(self._wrote, piece)

    def _read(self, text: str, finish: Finish) -> Answer:
        """The answer that a text is."""
        read = finish == "stop" and self._openings
        content, calls = handed_over(self._student.format, text, self.request.tools) if read else (text, ())
        return Answer(
            content=content,
            calls=calls,
            finish=finish,
            tokens=tuple(self._tokens) if self.request.logprobs else None,
            prompt_tokens=len(self.prompt.tokens),
            completion_tokens=len(self._ids),
        )


def handed_over(answer_format: str, text: str, tools: Sequence[Tool] = ()) -> tuple[str, tuple[CallText, ...]]:
    """A finished text as content and calls, from which `sloop.calls.formats.parse_tool_calls` reads what `parse` does.

    Without calls the content is the text itself, unless its words stand in marks of the format alone; beside calls it
    is the words outside them, reasoning included. Only
    marks of reasoning behind a call read otherwise: ``parse`` takes them for words.
    """
    parsed = parse(answer_format, text, tools=tools)
    plain = after_thinking(text, answer_format).strip() == parsed.content == parse_tool_calls(text, ()).content
    if parsed.error or (not parsed.calls and plain):
        return text, ()
    calls = (CallText(name=c.name, arguments=json.dumps(c.arguments, ensure_ascii=False)) for c in parsed.calls)
    return (thoughts_of(text, answer_format) + parsed.content).rstrip(), tuple(calls)


def _first_of(marks: Sequence[str], text: str) -> int | None:
    """Where the first of the marks begins in a text."""
    return min((at for mark in marks if (at := text.find(mark)) >= 0), default=None)


def _before(text: str, marks: Sequence[str]) -> str:
    """The text before the first mark, or before what may become one."""
    end = len(text) if (at := _first_of(marks, text)) is None else at
    for mark in marks:
        for length in range(min(len(mark) - 1, end), 0, -1):
            if text.endswith(mark[:length], 0, end):
                end -= length
                break
    return text[:end]
