"""A tiny trained checkpoint, and servers of it on loopback."""

from __future__ import annotations

import asyncio
import functools
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from models import UNSET, WEATHER, ask, pool, spec, trainer
from running import scratch

from sloop.calls.formats import render_tool_calls
from sloop.models.environment import Key
from sloop.records import Checkpoint, Label, Sample, ToolCall
from sloop.serve.engine import CheckpointResponder
from sloop.serve.limits import ServeLimits
from sloop.serve.protocol import Responder
from sloop.serve.server import Server, listen
from sloop.store import Dataset, checkpoint_at, write_rows
from sloop.students.decoding import Written
from sloop.students.local import LocalStudent
from sloop.students.templates import Learnt, render_answer, render_prompt

MODEL = "tiny"


def taught() -> list[Sample]:
    """What the checkpoint has learnt: calls, words, words beside a call, JSON, and an attempt that cannot be read."""
    call = ToolCall(name="get_weather", arguments={"city": "Rome", "days": 3})
    return [
        *pool(),
        ask("status please", content='{"status": "fine", "code": 7}'),
        ask("look it up for me", call, content="I will look."),
        ask("say it badly", content='So: <tool_call>\n{"name": "get_weather"'),
        ask("close it", content="done </tool_call>"),
        ask("think first", content="<think>which town?</think>\n\nAll is well."),
        ask("both of them", call, ToolCall(name="set_timer", arguments={"minutes": 2.5}), tools=(WEATHER,)),
        ask("hello without tools", content="Hi.", tools=()),
        ask("call without tools", call, tools=()),
    ]


def _as_text(sample: Sample) -> Sample:
    """A call of a tool that is not on offer as the text that it is written as: as a call no trainer takes it."""
    assert sample.label is not None
    calls = sample.label.calls
    if {call.name for call in calls} <= {tool.name for tool in sample.tools}:
        return sample
    text = render_tool_calls("", [(call.name, json.dumps(call.arguments)) for call in calls])
    return sample.model_copy(update={"label": Label(content=text)})


@functools.cache
def trained() -> Checkpoint:
    """The checkpoint, made once."""
    folder = scratch() / "served"
    write_rows(folder / "pool.jsonl", map(_as_text, taught()))
    data = Dataset(folder / "pool.jsonl")
    start = spec().make(data, seed=0, out=folder / "c0")
    with patch("sloop.trainers.batches.learnt", _as_it_stands):
        return trainer(learning_rate=0.01, batch_size=17).train(start, data, None, steps=160, seed=0, out=folder / "c1")


def _as_it_stands(tokenizer: Any, sample: Sample) -> Learnt:
    """What a trainer would leave out, as it cannot be read back, is what this student has to say."""
    prompt = render_prompt(tokenizer, sample)
    return Learnt(prompt, render_answer(tokenizer, sample, prompt), None)


SETTINGS = {
    "name": "served",
    "path": "given",
    "scratch": None,
    "answer_format": None,
    "threads": 1,
    "dtype": "fp32",
    "device": "cpu",
    **UNSET,
}


def local(checkpoint: Checkpoint) -> LocalStudent:
    """The student in this process, its weights loaded."""
    student = LocalStudent(**SETTINGS)  # type: ignore[arg-type]
    student.load(checkpoint)
    return student


class GatedStudent(LocalStudent):
    """A student that writes only once it is let, or fails."""

    def __init__(self) -> None:
        super().__init__(**SETTINGS)  # type: ignore[arg-type]
        self.begun, self.gate = threading.Event(), threading.Event()
        self.failure: Exception | None = None
        self.load(trained())

    def write(self, *given: Any, **named: Any) -> list[Written]:
        self.begun.set()
        self.gate.wait(20)
        if self.failure:
            raise self.failure
        return super().write(*given, **named)


def responder(path: str | Path, *, student: LocalStudent | None = None, batch_size: int = 64) -> CheckpointResponder:
    return CheckpointResponder(
        student=student or local(checkpoint_at(Path(path))),
        name=MODEL,
        batch_size=batch_size,
        batch_wait=0.01,
        max_tokens=64,
    )


@contextmanager
def serving(answerer: Responder, token: Key | None = None, limits: ServeLimits | None = None) -> Iterator[str]:
    """A real server around a responder, on a free port and a thread of its own; its base URL."""
    ready = threading.Event()
    found: list[str] = []

    def told(url: str) -> None:
        found.append(url)
        ready.set()

    with listen("127.0.0.1", 0) as listening:
        server = Server(answerer, listening, token, told, limits)
        thread = threading.Thread(target=lambda: asyncio.run(server.serve([listening])), daemon=True)
        thread.start()
        ready.wait()
        try:
            yield found[0]
        finally:
            server.should_exit = True
            thread.join()
