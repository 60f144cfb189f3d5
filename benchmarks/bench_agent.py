"""The agent loop: a thousand dialogues with two calls each, what they leave behind, and what they cost beside the SDK.

usage: python benchmarks/bench_agent.py [--loops N] [--in-flight N]

A small server in a process of its own streams a reply with two calls, and then one with words. The bare loop is
``openai.AsyncOpenAI`` with streams: it puts the pieces together, reads the arguments by ``json.loads``, calls the same
functions and sends their results; it checks nothing. CPU seconds are this process's.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import openai
from aiohttp import web

from sloop.models.agent import AgentLoop, End
from sloop.models.environment import NO_KEY, Key
from sloop.models.openai_api import OpenAIChat
from sloop.models.throttle import Limits
from sloop.tools.contract import tool

CALLS = [
    {"index": 0, "id": "a", "function": {"name": "divide", "arguments": '{"one": 6, "other": 3}'}},
    {"index": 1, "id": "b", "function": {"name": "shout", "arguments": '{"text": "hello"}'}},
]


async def divide(one: float, other: float) -> float:
    """Divide."""
    return one / other


async def shout(text: str) -> str:
    """Shout."""
    return text.upper()


async def answer(request: web.Request) -> web.StreamResponse:
    """Calls first, then words."""
    body = await request.json()
    answered = body["messages"][-1]["role"] == "tool"
    deltas = (
        [{"content": word} for word in ("It ", "is ", "done.")] if answered else [{"tool_calls": [c]} for c in CALLS]
    )
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    for delta in [*deltas, {}]:
        choice = {"index": 0, "delta": delta, "finish_reason": None if delta else "stop"}
        chunk = {"id": "c", "object": "chat.completion.chunk", "created": 0, "model": "m", "choices": [choice]}
        await response.write(f"data: {json.dumps(chunk)}\n\n".encode())
    await response.write(b"data: [DONE]\n\n")
    return response


def serve(port: Any) -> None:
    """Answer until the process is ended."""

    async def run() -> None:
        app = web.Application()
        app.router.add_post("/v1/chat/completions", answer)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        port.send(runner.addresses[0][1])
        await asyncio.Event().wait()

    asyncio.run(run())


async def ours(client: OpenAIChat) -> None:
    """One dialogue by the agent loop."""
    tools = {"divide": tool(divide), "shout": tool(shout)}
    chunks = [chunk async for chunk in AgentLoop(client, "", tools).run("hi")]
    end = chunks[-1]
    assert isinstance(end, End)
    assert (end.reason, end.iterations) == ("message", 2)


async def bare(client: openai.AsyncOpenAI) -> None:
    """The same by the SDK alone."""
    functions = {"divide": divide, "shout": shout}
    shown = [{"type": "function", "function": {"name": name, "parameters": {}}} for name in functions]
    messages: list[Any] = [{"role": "user", "content": "hi"}]
    while True:
        calls: dict[int, Any] = {}
        stream = await client.chat.completions.create(model="m", messages=messages, tools=shown, stream=True)  # type: ignore[call-overload]
        async for chunk in stream:
            for piece in chunk.choices[0].delta.tool_calls or ():
                calls[piece.index] = piece
        if not calls:
            return
        messages.append({"role": "assistant", "tool_calls": [call.model_dump() for call in calls.values()]})
        for call in calls.values():
            result = await functions[call.function.name](**json.loads(call.function.arguments))  # type: ignore[operator]
            messages.append({"role": "tool", "tool_call_id": call.id, "content": json.dumps(result)})


async def many(one: Callable[[], Awaitable[None]], loops: int, in_flight: int) -> float:
    """CPU seconds of so many dialogues."""
    free = asyncio.Semaphore(in_flight)

    async def held() -> None:
        async with free:
            await one()

    began = time.process_time()
    async with asyncio.TaskGroup() as group:
        for _ in range(loops):
            group.create_task(held())
    return time.process_time() - began


def left() -> dict[str, int]:
    """What this process holds."""
    children = len(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())
    return {
        "descriptors": len(list(Path("/proc/self/fd").iterdir())),
        "threads": threading.active_count(),
        "processes": children,
        "tasks": len(asyncio.all_tasks()),
    }


async def measure(url: str, loops: int, in_flight: int) -> None:
    """Print what is left, and what a call costs."""
    limits = Limits(
        concurrency=in_flight, requests_per_minute=None, tokens_per_minute=None,
        timeout=60.0, retries=0, backoff=0.5, max_wait=1.0,
    )  # fmt: skip
    client = OpenAIChat(base_url=url, model="m", key=Key(NO_KEY, None), limits=limits)
    sdk = openai.AsyncOpenAI(base_url=url, api_key="none", http_client=openai.DefaultAioHttpClient())
    await many(lambda: ours(client), in_flight, in_flight)  # connections are opened, and what is made once is made
    await many(lambda: bare(sdk), in_flight, in_flight)
    await asyncio.sleep(0.2)
    before = left()
    took = await many(lambda: ours(client), loops, in_flight)
    await asyncio.sleep(0.2)
    after = left()
    sdk_took = await many(lambda: bare(sdk), loops, in_flight)
    for name, count in after.items():
        sys.stdout.write(f"{name:12} {before[name]} before, {count} after {loops} dialogues\n")
    for name, seconds in (("agent loop", took), ("bare SDK", sdk_took)):
        sys.stdout.write(f"{name:12} {seconds / loops * 1000:.2f} CPU ms a dialogue of two replies and two calls\n")
    sys.stdout.write(f"ratio        {took / sdk_took:.2f}; {(took - sdk_took) / loops / 2 * 1000:+.2f} CPU ms a call\n")
    await client.close()
    await sdk.close()
    if any(after[name] > before[name] for name in after):
        sys.exit(1)


def main() -> None:
    """Parse and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--loops", type=int, default=1000)
    parser.add_argument("--in-flight", type=int, default=16)
    options = parser.parse_args()
    here, there = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(there,), daemon=True)
    server.start()
    try:
        asyncio.run(measure(f"http://127.0.0.1:{here.recv()}/v1", options.loops, options.in_flight))
    finally:
        server.terminate()


if __name__ == "__main__":
    main()
