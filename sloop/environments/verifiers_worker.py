"""Started as a script of its own by `sloop.environments.verifiers`, by a Python that has the verifiers package (0.4).

A line of JSON in, one out for each, in whatever order they are done, until standard input ends. Everything that counts
is verifiers' own: it sets a task up, starts its tools, runs them, ends a rollout and rewards it. What it asks a model
comes to an address on loopback here, waits until the answer is told, and goes on. Imports nothing of sloop's.

Where an environment brings no program of its own that talks to the model, verifiers' plain chat loop does, the one of
its harness ``null``; it is run in this process, which spares a Python environment and a process for each rollout.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import importlib
import importlib.metadata
import json
import os
import resource
import sys
from collections.abc import Mapping
from contextlib import AsyncExitStack, suppress
from contextvars import ContextVar
from pathlib import Path
from types import ModuleType
from typing import Any

HARNESS = "sloop_chat"
"""The name under which the chat loop of this process is known to verifiers."""
AT_ONCE = 4
"""Rollouts that are started at a time: each may start processes of its own, which take seconds to import verifiers."""
JUDGING = "the environment's rewards ask a judge model"


class RefusedError(Exception):
    """What cannot be done, and why; the first argument says what kind of thing it is."""


class Rollout:
    """A task that is being played: what waits for the student, and how it ended."""

    def __init__(self) -> None:
        """Nothing has been asked."""
        self.happened: asyncio.Queue[tuple[Mapping[str, Any], asyncio.Future[Any] | None]] = asyncio.Queue()
        self.waiting: asyncio.Future[Any] | None = None
        self.playing: asyncio.Task[None] | None = None

    async def next(self) -> Mapping[str, Any]:
        """What is asked next, or how it ended."""
        found, self.waiting = await self.happened.get()
        return found


class Rollouts:
    """One environment and the rollouts in it, by the key that they were opened under."""

    def __init__(self, seconds: float) -> None:
        """Nothing is loaded; what takes longer than ``seconds`` is given up."""
        self._seconds = seconds
        self._open: dict[str, Rollout] = {}
        self._by_trace: dict[str, Rollout] = {}
        self._serving = AsyncExitStack()
        self._starting = asyncio.Semaphore(AT_ONCE)
        self._env: Any = None
        self._tasks: list[Any] = []

    async def answer(self, request: Mapping[str, Any]) -> Any:
        """What a request is answered with, by its key ``do``."""
        try:
            return await self._answer(request)
        except TimeoutError as error:
            raise RefusedError("slow", "it was not done") from error

    async def _answer(self, request: Mapping[str, Any]) -> Any:
        match request:
            case {"do": "begin", "environment": name, "arguments": arguments, "num_tasks": number, "slice_by": field}:
                async with asyncio.timeout(self._seconds):
                    return await self._begin(name, arguments, number, field)
            case {"do": "open", "key": key, "task": number}:
                rollout = self._open[key] = Rollout()
                async with self._starting, asyncio.timeout(self._seconds):
                    rollout.playing = asyncio.create_task(self._play(rollout, self._tasks[number]))
                    return await rollout.next()
            case {"do": "tell", "key": key, "answer": answer}:
                rollout = self._open[key]
                assert rollout.waiting is not None
                rollout.waiting.set_result(answer)
                async with asyncio.timeout(self._seconds):
                    return await rollout.next()
            case {"do": "close", "key": key}:
                await self._close(key)
        return None

    async def _begin(self, name: str, arguments: dict[str, Any], number: int | None, field: str | None) -> Any:
        """Load the environment, and serve what its rollouts share; its tasks, and what all of it depends on."""
        config, version = _config(name, arguments)
        from verifiers.v1.utils.loaders import load_environment

        self._env = load_environment(config)
        taskset = self._env.taskset
        if number is None and not taskset.bounded:
            raise RefusedError("endless", f"{type(taskset).__name__} makes tasks without end")
        self._tasks = list(taskset if number is None else taskset.take(number))
        url = await _listen(self._serving, self._by_trace)
        await self._serving.enter_async_context(self._env.serving())
        self._context = _context(url)
        rows = [(task.data.model_dump(mode="json"), task.key) for task in self._tasks]
        if field is not None and (lacking := next((row for row, _ in rows if row.get(field) is None), None)):
            raise RefusedError("slice", ", ".join(sorted(key for key, value in lacking.items() if value is not None)))
        names = dict.fromkeys([name, config.id, *(each.id for each in config.agent_harnesses().values())])
        return {
            "tasks": [{"key": key, "slice": "" if field is None else str(row[field])} for row, key in rows],
            "versions": {"verifiers": version} | _versions(each for each in names if each and each != HARNESS),
        }

    async def _play(self, rollout: Rollout, task: Any) -> None:
        """A task from its start to its rewards."""
        minted: list[str] = []

        def remember(trace: Any) -> None:
            minted.append(trace.id)
            self._by_trace[trace.id] = rollout

        try:
            slot = self._env.slots(task)[0]
            ended = _ended(await self._env.run_slot(slot, self._context, on_trace=remember))
        except Exception as error:  # whatever it is, it is no reward
            ended = {"failed": f"{type(error).__name__}: {error}"}
        finally:
            for name in minted:
                self._by_trace.pop(name, None)
        rollout.happened.put_nowait((ended, None))

    async def _close(self, key: str) -> None:
        rollout = self._open.pop(key, None)
        if rollout is not None and rollout.playing is not None:
            rollout.playing.cancel()
            with suppress(asyncio.CancelledError):
                await rollout.playing

    async def close(self) -> None:
        """End what is open, and all that was started for it."""
        for key in [*self._open]:
            await self._close(key)
        await self._serving.aclose()


def _ended(episode: Any) -> dict[str, Any]:
    """How an episode ended: its rewards, as the environment gives them, or why there are none."""
    traces = episode.traces
    errors = [*episode.errors, *(error for trace in traces if not trace.ok for error in trace.errors)]
    if errors:
        return {"failed": f"{errors[-1].type}: {errors[-1].message}"}
    if len(traces) != 1:
        return {"failed": f"{len(traces)} rollouts were played for one task, and a student plays one"}
    (trace,) = traces
    if lacking := [name for name, reward in trace.rewards.items() if reward is None]:
        return {"failed": f"no reward {lacking[0]!r} was given: the rollout ended with {trace.stop_condition}"}
    if not trace.rewards:
        return {"failed": "the environment gives no reward"}
    measured = {"reward": trace.reward} | {f"reward/{name}": one.score for name, one in trace.rewards.items()}
    measured |= {f"measured/{name}": value for name, value in trace.metrics.items() if value is not None}
    return {"ended": trace.stop_condition or "ended", "measured": measured}


def _config(name: str, arguments: dict[str, Any]) -> tuple[Any, str]:
    """The environment's configuration: what its authors and the arguments say, and else a runtime on this machine.

    Raises:
        RefusedError: the package or the environment is missing, or it is nothing that a student can play alone.
    """
    try:
        from verifiers.v1.configs.agent import AgentConfig
        from verifiers.v1.utils import loaders
    except ImportError as error:
        found = getattr(sys.modules.get("verifiers"), "__version__", None)
        raise RefusedError("verifiers", f"{error}" if found is None else f"verifiers {found} has no v1") from error
    version = importlib.metadata.version("verifiers")
    try:
        loaders.import_taskset(name)
        kind = loaders.env_config_type(name, arguments.get("id") or "")
        own = loaders.default_harness_id(name)
    except ModuleNotFoundError as error:
        raise RefusedError("environment", f"{error.__cause__ or error}") from error
    seats = {each: field.default for each, field in kind.model_fields.items() if isinstance(field.default, AgentConfig)}
    if len(seats) != 1:
        raise RefusedError("seats", ", ".join(seats))
    ((seat, declared),) = seats.items()
    given = {"runtime": {"type": "subprocess"}, **(arguments.get(seat) or {})}
    if declared.harness is None and own != name and "harness" not in given:
        given["harness"] = {"id": HARNESS}
        _add_harness()
    raw = {**arguments, seat: given, "taskset": {**(arguments.get("taskset") or {}), "id": name}}
    config = loaders.resolve_env_config(raw)
    chosen = getattr(config, seat)
    (harness,) = config.agent_harnesses().values()
    if loaders.harness_class(harness.id).EXECUTES_CODE and chosen.runtime.type == "subprocess":
        raise RefusedError("unsafe", f"{harness.id}, {seat}")
    if getattr(config.taskset.task, "judges", None):
        raise RefusedError("judge", JUDGING)
    return config, version


def _add_harness() -> None:
    """Let verifiers know its plain chat loop, run here, by a name of its own."""
    from verifiers.v1.harnesses.null import NullHarness
    from verifiers.v1.harnesses.utils.launch import CHAT_PROGRAM_SOURCE
    from verifiers.v1.runtimes import ProgramResult

    program = ModuleType("verifiers_chat")
    # A constant of the installed package, which its harness runs as a script: no environment and no student writes it
    exec(compile(CHAT_PROGRAM_SOURCE, "verifiers_chat", "exec"), program.__dict__)  # noqa: S102
    settings: ContextVar[argparse.Namespace] = ContextVar("settings")
    program.__dict__["parse_args"] = settings.get

    class ChatHarness(NullHarness):  # type: ignore[misc]
        """``null``, without a process of its own."""

        async def setup(self, runtime: Any) -> None:
            """Nothing is to be installed."""

        async def launch(
            self,
            ctx: Any,
            trace: Any,
            runtime: Any,
            endpoint: str,
            secret: str,
            mcp_urls: dict[str, str],
            data: Any,
            tool_interception_url: str | None = None,
        ) -> Any:
            """Run the loop until it ends, as its process would."""
            from verifiers.v1.dialects.chat import message_to_wire

            system, prompt = self.resolve_prompt(data)
            servers = {name: {"url": url, "timeout": self.config.tool_timeout} for name, url in mcp_urls.items()}
            beginning = ""
            if not isinstance(prompt, str) and prompt is not None:
                path = Path(runtime.workdir) / "beginning.json"  # read and removed by the loop
                path.write_text(json.dumps([message_to_wire(message) for message in prompt]), encoding="utf-8")
                beginning = str(path)
            settings.set(
                argparse.Namespace(
                    base_url=endpoint, api_key=secret, model=ctx.model, system_prompt=system or "",
                    prompt=prompt if isinstance(prompt, str) else "", initial_messages_file=beginning,
                    mcp_config=json.dumps({"mcpServers": servers}), tool_interception_url=tool_interception_url or "",
                    bash=False, compaction=False, summarize_at_tokens=None, edit=False, search=False, serper_key="",
                )
            )  # fmt: skip
            try:
                await program.main()
            except SystemExit as ended:
                return ProgramResult(ended.code if isinstance(ended.code, int) else 1, "", "the chat loop gave up")
            except Exception as error:  # as a process that ends with it: a stop of the environment's is one of them
                return ProgramResult(1, "", f"{type(error).__name__}: {error}")
            return ProgramResult(0, "", "")

    module = ModuleType(HARNESS)
    module.__dict__.update({"ChatHarness": ChatHarness, "__all__": ["ChatHarness"]})
    sys.modules[HARNESS] = module


def _context(url: str) -> Any:
    from verifiers.v1.clients import EvalClientConfig, ModelContext

    return ModelContext(model="student", client=EvalClientConfig(base_url=url, api_key_var="SLOOP_STUDENT"))


async def _listen(stack: AsyncExitStack, rollouts: Mapping[str, Rollout]) -> str:
    """Where the student is asked, on loopback; which rollout asks is said by verifiers' own header."""
    from aiohttp import web
    from verifiers.v1.clients.client import SESSION_ID_HEADER

    async def ask(request: web.Request) -> web.StreamResponse:
        rollout = rollouts.get(request.headers.get(SESSION_ID_HEADER, ""))
        if rollout is None:
            return web.json_response({"error": {"message": "no rollout asks"}}, status=400)
        body = await request.json()
        told: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        rollout.happened.put_nowait(({"asked": {key: body.get(key) for key in ("messages", "tools")}}, told))
        completion = _completion(await told)
        if not body.get("stream"):
            return web.json_response(completion)
        return web.Response(body=_streamed(completion), content_type="text/event-stream")

    app = web.Application(client_max_size=1 << 30)
    app.router.add_post("/v1/chat/completions", ask)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    return f"http://{host}:{port}/v1"


def _completion(answer: Mapping[str, Any]) -> dict[str, Any]:
    """An answer as an endpoint gives it."""
    calls = [{"id": f"call_{answer['calls_before'] + place}", **call} for place, call in enumerate(answer["calls"])]
    message = {"role": "assistant", "content": answer["content"]} | ({"tool_calls": calls} if calls else {})
    ended = "length" if answer["truncated"] else "tool_calls" if calls else "stop"
    tokens = answer["num_tokens"]
    return {
        "id": "answer", "object": "chat.completion", "created": 0, "model": "student",
        "choices": [{"index": 0, "message": message, "finish_reason": ended}],
        "usage": {"prompt_tokens": 0, "completion_tokens": tokens, "total_tokens": tokens},
    }  # fmt: skip


def _streamed(completion: Mapping[str, Any]) -> bytes:
    """The same, as a stream of two chunks."""
    (choice,) = completion["choices"]
    calls = [{"index": place, **call} for place, call in enumerate(choice["message"].get("tool_calls", []))]
    delta = choice["message"] | ({"tool_calls": calls} if calls else {})
    common = {**completion, "object": "chat.completion.chunk", "usage": None}
    chunks = [
        common | {"choices": [{"index": 0, "delta": delta, "finish_reason": choice["finish_reason"]}]},
        common | {"choices": [], "usage": completion["usage"]},
    ]
    return b"".join(f"data: {each}\n\n".encode() for each in [*map(json.dumps, chunks), "[DONE]"])


def _versions(names: Any) -> dict[str, str]:
    """Of each module that is no part of verifiers: its package's version, and a digest of its files."""
    found = {}
    packages = importlib.metadata.packages_distributions()
    for name in names:
        module = name.rsplit("/", 1)[-1].split("@", 1)[0].replace("-", "_").lower()
        if any(importlib.util.find_spec(f"verifiers.v1.{part}.{module}") for part in ("tasksets", "harnesses", "envs")):
            continue  # it comes with verifiers, and changes with its version
        file = Path(importlib.import_module(module).__file__ or "")
        known = hashlib.sha256()
        for path in sorted(file.parent.rglob("*")) if file.name == "__init__.py" else [file]:
            if path.is_file() and "__pycache__" not in path.parts:
                known.update(
                    f"{path.relative_to(file.parent)} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode()
                )
        version = next((importlib.metadata.version(each) for each in packages.get(module, ())), "not installed")
        found[module] = f"{version}, sha256 {known.hexdigest()}"
    return found


async def _serve(seconds: float) -> None:
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what an environment prints is no result
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=1 << 30)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    rollouts = Rollouts(seconds)
    doing: set[asyncio.Task[None]] = set()

    async def do(request: Mapping[str, Any]) -> None:
        try:
            reply: dict[str, Any] = {"found": await rollouts.answer(request)}
        except RefusedError as error:
            reply = {"refused": list(error.args)}
        except Exception as error:
            reply = {"refused": ["failed", f"{type(error).__name__}: {error}"]}
        out.write(json.dumps({"number": request["number"], **reply}) + "\n")
        out.flush()

    while line := await reader.readline():
        task = asyncio.create_task(do(json.loads(line)))
        doing.add(task)
        task.add_done_callback(doing.discard)
    for task in doing:
        task.cancel()
    await rollouts.close()


def main() -> None:
    """Run ``verifiers_worker.py SECONDS``."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    asyncio.run(_serve(float(sys.argv[1])))


if __name__ == "__main__":
    main()
