"""The agent loop against a real endpoint: what models write and tools do is told to the model, and ends nothing."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from clients import client
from endpoint import Endpoint, serving

from sloop.models.agent import AgentChunk, AgentLimits, AgentLoop, End, ErrorChunk
from sloop.models.base import Chunk
from sloop.records import Label, Message, ToolCall, UserError
from sloop.tools.contract import Argument, RunnableTool, SimpleTool, tool

RAN: list[str] = []
DESCRIPTORS = Path("/proc/self/fd")
POOL = 32
"""Most threads of the pool that functions run in, which is asyncio's."""


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    RAN.clear()
    with serving() as server:
        yield server


@tool
async def wait(seconds: float, name: str = "") -> str:
    """Wait."""
    RAN.append(f"{name} began")
    await asyncio.sleep(seconds)
    RAN.append(f"{name} ended")
    return f"waited {seconds:g}"


@tool
def divide(by: int) -> float:
    """Divide one."""
    return 1 / by


@tool
def leave() -> None:
    """Leave."""
    sys.exit(3)


@tool
async def give_up() -> None:
    """Cancel itself."""
    raise asyncio.CancelledError


LOOKUP = SimpleTool("Looks up a project name", [Argument("id", "string")], lambda id: f"project {id}")


class Mute(BaseException):
    """Is no Exception, and cannot say itself."""

    def __str__(self) -> str:
        raise RuntimeError


@tool
def fail(kind: str) -> str:
    """Fail in an odd way."""
    if kind == "half":
        return "\udcff"
    raise {"mute": Mute, "stop": StopIteration}[kind]


TOOLS: Mapping[str, RunnableTool] = {
    "lookup_project": LOOKUP, "wait": wait, "divide": divide, "leave": leave, "give_up": give_up, "fail": fail,
}  # fmt: skip


def call(name: str, /, **arguments: Any) -> ToolCall:
    return ToolCall(name=name, arguments=arguments)


def turns(*labels: Label) -> Callable[[dict[str, Any]], Label]:
    """Answers by the number of messages of the assistant's so far; the last one again and again."""

    def answer(body: dict[str, Any]) -> Label:
        said = sum(row["role"] == "assistant" for row in body["messages"])
        return labels[min(said, len(labels) - 1)]

    return answer


def run(endpoint: Endpoint, *, message: str | None = "hi", **settings: Any) -> tuple[AgentLoop, list[AgentChunk]]:
    async def once() -> tuple[AgentLoop, list[AgentChunk]]:
        model = client(endpoint.url)
        try:
            loop = AgentLoop(model, "Be brief.", TOOLS, **settings)
            return loop, [chunk async for chunk in loop.run(message)]
        finally:
            await model.close()

    return asyncio.run(once())


def kinds(chunks: Sequence[AgentChunk]) -> list[str]:
    return [chunk.type for chunk in chunks]


def texts(chunks: Sequence[AgentChunk], kind: str) -> list[str]:
    return [getattr(chunk, "text", "") for chunk in chunks if chunk.type == kind]


def descriptors() -> int:
    return len(list(DESCRIPTORS.iterdir()))


async def alone() -> None:
    """No task is left but this one, once what closes by itself has closed."""
    async with asyncio.timeout(5):
        while len(asyncio.all_tasks()) > 1:
            await asyncio.sleep(0.01)


def test_a_call_runs_and_the_model_is_told_its_result(endpoint: Endpoint) -> None:
    endpoint.answer = turns(Label(calls=(call("lookup_project", id="7"),)), Label(content="It is project 7."))
    loop, chunks = run(endpoint)
    assert kinds(chunks) == ["tool_call_start", "tool_call_result", *["message"] * 4, "end"]
    assert texts(chunks, "tool_call_result") == ["project 7"]
    assert "".join(texts(chunks, "message")) == "It is project 7."
    end = chunks[-1]
    assert isinstance(end, End)
    assert (end.reason, end.iterations) == ("message", 2)
    assert end.usage.prompt_tokens == 14
    assert [row.role for row in loop.messages] == ["system", "user", "assistant", "tool", "assistant"]
    assert endpoint.seen[1]["messages"][-1]["content"] == "project 7"
    assert [shown["function"]["name"] for shown in endpoint.seen[0]["tools"]] == list(TOOLS)


def test_reasoning_comes_apart(endpoint: Endpoint) -> None:
    endpoint.events = lambda chunks: [
        {"choices": [{"index": 0, "delta": {"reasoning_content": "Hm."}}]}, *chunks, "[DONE]",
    ]  # fmt: skip
    _, chunks = run(endpoint)
    assert texts(chunks, "reasoning") == ["Hm."]
    assert texts(chunks, "message") == ["Hello."]


def test_parallel_calls_run_together_and_answer_in_the_order_of_the_calls(endpoint: Endpoint) -> None:
    slow, quick = call("wait", seconds=0.3, name="slow"), call("wait", seconds=0.01, name="quick")
    endpoint.answer = turns(Label(calls=(slow, quick)), Label(content="Done."))
    loop, chunks = run(endpoint)
    assert RAN == ["slow began", "quick began", "quick ended", "slow ended"]
    assert texts(chunks, "tool_call_result") == ["waited 0.3", "waited 0.01"]
    assert [row.tool_call_id for row in loop.messages if row.role == "tool"] == ["call_0", "call_1"]


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (call("lookup", id="7"), "error: no tool is called 'lookup'; on offer: lookup_project, wait"),
        (call("lookup_project", id=7), "error: type:id expected string, got integer"),
        (call("lookup_project"), "error: missing_required:id"),
        (call("divide", by=0), "error: ZeroDivisionError: division by zero"),
        (call("leave"), "error: SystemExit: 3"),
        (call("give_up"), "error: the tool was cancelled"),
    ],
)
def test_what_cannot_be_done_is_told_to_the_model_and_the_loop_goes_on(
    endpoint: Endpoint, wrong: ToolCall, told: str
) -> None:
    right = call("lookup_project", id="7")
    endpoint.answer = turns(Label(calls=(wrong, right)), Label(content="Sorry."))
    _, chunks = run(endpoint)
    assert texts(chunks, "tool_call_error")[0].startswith(told)
    assert texts(chunks, "tool_call_result") == ["project 7"]
    assert [row["content"] for row in endpoint.seen[1]["messages"][-2:]] == [
        *texts(chunks, "tool_call_error"), "project 7",
    ]  # fmt: skip
    assert chunks[-1].type == "end"


@pytest.mark.parametrize("arguments", ['{"id": "7"', "[7]", '"7"', '{"id": 1e999}', "[" * 100_000])
def test_arguments_that_are_no_json_object_are_told_to_the_model(endpoint: Endpoint, arguments: str) -> None:
    function = {"name": "lookup_project", "arguments": arguments}
    message = {"role": "assistant", "content": None, "tool_calls": [{"id": "x", "function": function}]}
    endpoint.message = message
    _, chunks = run(endpoint, limits=AgentLimits(iterations=1))
    (told,) = texts(chunks, "tool_call_error")
    assert told.startswith("error: the arguments are no JSON object")
    assert len(told) < 600


@pytest.mark.parametrize("left", ["drop", "no end"])
def test_a_stream_that_breaks_half_way_runs_nothing(endpoint: Endpoint, left: str) -> None:
    endpoint.answer = turns(Label(calls=(call("wait", seconds=0.0, name="first"), call("wait", seconds=0.0))))
    endpoint.events = lambda chunks: [*chunks[:-2], "drop"] if left == "drop" else chunks[:-2]
    loop, chunks = run(endpoint)
    assert RAN == []
    assert kinds(chunks)[-2:] == ["error", "end"]
    assert chunks[-1].reason == "error"  # type: ignore[union-attr]
    assert [row.role for row in loop.messages] == ["system", "user"], "the dialogue can go on"


def test_an_answer_that_was_cut_runs_nothing(endpoint: Endpoint) -> None:
    endpoint.answer, endpoint.finish = turns(Label(calls=(call("wait", seconds=0.0),))), "length"
    _, chunks = run(endpoint)
    assert (RAN, kinds(chunks)) == ([], ["error", "end"])


def test_a_model_that_never_stops_calling_is_stopped(endpoint: Endpoint) -> None:
    endpoint.answer = turns(Label(calls=(call("lookup_project", id="7"),)))
    loop, chunks = run(endpoint, limits=AgentLimits(iterations=3))
    assert chunks[-1] == End(reason="iterations", iterations=3, usage=chunks[-1].usage)  # type: ignore[union-attr]
    assert len(endpoint.seen) == 3
    assert loop.messages[-1].role == "tool"


def test_a_call_that_takes_too_long_is_told_to_the_model(endpoint: Endpoint) -> None:
    endpoint.answer = turns(Label(calls=(call("wait", seconds=60, name="long"),)), Label(content="Sorry."))
    _, chunks = run(endpoint, limits=AgentLimits(call_seconds=0.1))
    assert texts(chunks, "tool_call_error") == ["error: no result within 0.1 s"]
    assert RAN == ["long began"]


def test_time_ends_a_run_and_leaves_a_dialogue_that_can_go_on(endpoint: Endpoint) -> None:
    endpoint.answer = turns(Label(calls=(call("wait", seconds=60, name="long"),)))
    began = time.monotonic()
    loop, chunks = run(endpoint, limits=AgentLimits(seconds=0.5))
    assert time.monotonic() - began < 10
    assert chunks[-1].reason == "time"  # type: ignore[union-attr]
    assert [row.role for row in loop.messages] == ["system", "user"]


def test_who_stops_listening_stops_the_calls(endpoint: Endpoint) -> None:
    endpoint.answer = turns(Label(calls=(call("wait", seconds=60, name="long"),)))

    async def once() -> None:
        model = client(endpoint.url)
        loop = AgentLoop(model, "", TOOLS)
        waiting = asyncio.create_task(listen(loop))
        while not RAN:
            await asyncio.sleep(0.01)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await alone()
        await model.close()

    async def listen(loop: AgentLoop) -> None:
        async with aclosing(loop.run("hi")) as chunks:
            async for _ in chunks:
                pass

    asyncio.run(once())
    assert RAN == ["long began"]


def test_calls_in_the_text_are_read_in_the_format_that_is_named(endpoint: Endpoint) -> None:
    said = '<tool_call>\n{"name": "lookup_project", "arguments": {"id": "7"}}\n</tool_call>'
    endpoint.text = said
    _, chunks = run(endpoint, answer_format="hermes", limits=AgentLimits(iterations=1))
    assert texts(chunks, "tool_call_result") == ["project 7"]
    assert endpoint.seen[0]["tool_choice"] == "none"
    _, chunks = run(endpoint)
    assert texts(chunks, "error") == [
        "a call stands in the text: start the server with its tool parser, or say answer_format"
    ]


def test_a_long_result_is_cut_and_says_so(endpoint: Endpoint) -> None:
    endpoint.answer = turns(Label(calls=(call("lookup_project", id="7" * 100),)), Label(content="ok"))
    _, chunks = run(endpoint, limits=AgentLimits(result_characters=20))
    assert texts(chunks, "tool_call_result") == ["project 777777777777\n[cut: 108 characters in all]"]


def test_a_server_that_fails_ends_the_run_with_its_words(endpoint: Endpoint) -> None:
    endpoint.fault = lambda body, times: "400"
    _, chunks = run(endpoint)
    assert texts(chunks, "error") == ["HTTP 400: this content is not welcome"]


def test_a_dialogue_goes_on_from_where_it_stands(endpoint: Endpoint) -> None:
    async def once() -> list[list[str]]:
        model = client(endpoint.url)
        loop = AgentLoop(model, [Message(role="user", content="first")], TOOLS)
        for message in (None, "second"):
            async for _ in loop.run(message):
                pass
        await model.close()
        return [[row["content"] for row in body["messages"]] for body in endpoint.seen]

    assert asyncio.run(once()) == [["first"], ["first", "Hello.", "second"]]


def test_tools_are_checked_before_anything_is_asked() -> None:
    with pytest.raises(UserError, match="make a name"):
        AgentLoop(client("http://127.0.0.1:9/v1"), "", {"look up": LOOKUP})


def test_many_loops_leak_no_task_thread_or_descriptor(endpoint: Endpoint) -> None:
    """A hundred here; `benchmarks/bench_agent.py` runs a thousand, processes counted as well."""
    endpoint.answer = turns(Label(calls=(call("divide", by=2), call("wait", seconds=0.0))), Label(content="ok"))

    async def many() -> tuple[int, int]:
        before = 0
        model = client(endpoint.url)
        for number in range(100):
            if number == 10:
                before = descriptors()
            async for _ in AgentLoop(model, "", TOOLS).run("hi"):
                pass
        await alone()
        after = descriptors()
        await model.close()
        return after - before, threading.active_count()

    if not DESCRIPTORS.is_dir():
        pytest.skip("descriptors are counted in /proc, which this system lacks: run it on Linux")
    more, threads = asyncio.run(many())
    assert more <= 0
    assert threads <= threading.active_count() + POOL


@pytest.mark.parametrize(
    ("kind", "said"),
    [("mute", "error: Mute"), ("stop", "error: RuntimeError: the tool raised StopIteration"), ("half", "\ufffd")],
)
def test_no_way_to_fail_ends_the_loop_or_spoils_the_dialogue(endpoint: Endpoint, kind: str, said: str) -> None:
    endpoint.answer = turns(Label(calls=(call("fail", kind=kind), call("lookup_project", id="7"))), Label(content="ok"))
    loop, chunks = run(endpoint)
    assert [message.content for message in loop.messages[3:]] == [said, "project 7", "ok"]
    assert chunks[-1].type == "end"


class Broken:
    """A model of somebody's own, whose stream breaks off after its words."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    async def stream(self, messages: Sequence[Message], **_: Any) -> AsyncIterator[Chunk]:
        yield Chunk(content="a\ud83d")
        if not isinstance(self.error, StopAsyncIteration):
            raise self.error
        yield Chunk(content="\ude00", finish="stop")


@pytest.mark.parametrize(
    ("error", "end", "kind"),
    [
        (ConnectionResetError("gone"), "error", "dropped"),
        (TimeoutError("slow"), "error", "timeout"),
        (StopAsyncIteration(), "message", None),
    ],
)
def test_a_model_of_ones_own_may_raise_what_it_likes(error: BaseException, end: str, kind: str | None) -> None:
    async def once() -> tuple[AgentLoop, list[AgentChunk]]:
        loop = AgentLoop(Broken(error), "", TOOLS)
        return loop, [chunk async for chunk in loop.run("hi")]

    loop, chunks = asyncio.run(once())
    assert isinstance(chunks[-1], End)
    assert (chunks[-1].reason, [chunk.kind for chunk in chunks if isinstance(chunk, ErrorChunk)]) == (
        end,
        [kind] * (kind is not None),
    )
    assert [row.content for row in loop.messages] == ["hi"] + ["a\U0001f600"] * (kind is None)
