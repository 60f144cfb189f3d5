"""``sloop chat``: a dialogue with a model that has tools, typed or by a script; ``sloop tools``: tools alone."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.table import Table

from sloop.calls.formats import FORMATS
from sloop.calls.match.strict import strict
from sloop.calls.schema import call_errors
from sloop.models.agent import AgentLimits, AgentLoop, End, ErrorChunk, MessageChunk, ToolCallError, ToolCallStart
from sloop.models.base import Sampling
from sloop.models.environment import key_for
from sloop.models.openai_api import OpenAIChat
from sloop.models.throttle import Limits
from sloop.records import Label, Record, ToolCall, UserError, from_json
from sloop.records.ranges import Positive, Tokens
from sloop.serve.server import TOKEN_VARIABLE
from sloop.show.arguments import of
from sloop.show.console import Terminal, console, visible
from sloop.store.files import record_in
from sloop.tools.contract import RunnableTool, definition, failure, run_tool
from sloop.tools.running import FORMS, definitions_of, open_tools

STANDARD = Path(__file__).with_name("cases.jsonl")
"""Cases for the built-in tools, which come with sloop."""
REQUEST = Limits(
    concurrency=1,
    requests_per_minute=None,
    tokens_per_minute=None,
    timeout=300.0,
    retries=2,
    backoff=0.5,
    max_wait=30.0,
)
NOWHERE = "http://nowhere.invalid"
"""Where a document's tools are said to be served while they are only listed."""
READY = re.compile(r"serving .* at (http\S+)")


class Case(Record):
    """What is said to a model, and what it should do."""

    say: str
    calls: tuple[ToolCall, ...] = ()
    """All calls that it should make, in any order, as the comparator sees them; none: it should call nothing."""
    mentions: tuple[str, ...] = ()
    """What its words should hold, in whichever case."""


def chat(arguments: Sequence[str]) -> None:
    """Talk to a model; see ``sloop chat --help``."""
    options = _options().parse_args(arguments)
    if (options.path is None) == (options.url is None):
        raise UserError("say who answers: --path CHECKPOINT, or --url ADDRESS --model NAME. See: sloop chat --help")
    if options.url and not options.model:
        raise UserError("--model is missing: the name that the endpoint knows the model by.")
    if options.path and options.model:
        raise UserError(f"--model {options.model}: it names a model of --url, and --path is one model. Leave it out.")
    with tempfile.TemporaryDirectory() as scratch:
        root = options.root or Path(scratch)
        given = open_tools(options.tools, root=root, base_url=options.base_url, isolate=options.isolate)
        with given as tools, _served(options) as (url, model):
            failed = asyncio.run(_talk(options, url, model, tools))
    if failed:
        sys.exit(1)


def tools(arguments: Sequence[str]) -> None:
    """List tools, check them, or call one; see ``sloop tools --help``."""
    parser = argparse.ArgumentParser(prog="sloop tools", description="Tools that run: list, check or call them.")
    parser.add_argument("action", choices=["list", "check", "call"])
    parser.add_argument("tools", help=FORMS)
    parser.add_argument("name", nargs="?", help="of the tool to call")
    parser.add_argument("args", nargs="?", default="{}", help='its arguments, such as \'{"city": "Rome"}\'')
    _places(parser)
    options = parser.parse_args(arguments)
    if options.action != "call" and options.name is not None:
        raise UserError(
            f"sloop tools {options.action} takes no {options.name}: it is of all these tools. To call one: sloop tools "
            f"call {options.tools} NAME"
        )
    out = console()
    with tempfile.TemporaryDirectory() as scratch:
        root = options.root or Path(scratch)
        base_url = options.base_url or (None if options.action == "call" else NOWHERE)
        with open_tools([options.tools], root=root, base_url=base_url, isolate=options.isolate) as found:
            if options.action == "call":
                out.say(asyncio.run(_called(found, options.name, options.args)))
                return
            shown = Table("tool", "arguments", "changes things", "description")
            for tool in definitions_of(found):
                named = ", ".join(name if name in tool.required else f"{name}?" for name in tool.properties)
                changes = "yes" if getattr(found[tool.name], "mutates", False) else "no"
                shown.add_row(tool.name, named, changes, " ".join(tool.description.split()))
            if options.action == "list":
                out.print(shown)
            out.say(f"{len(found)} tools, names and schemas as servers and models take them")


async def _called(tools: Mapping[str, RunnableTool], name: str | None, text: str) -> str:
    if name not in tools:
        missing = f"no tool is called {name}" if name else "the tool's name is missing"
        raise UserError(f"{missing}; there are {', '.join(tools)}.")
    try:
        given = from_json(text)
        call = ToolCall(name=str(name), arguments=given)
    except ValueError as error:
        raise UserError(f'the arguments {text} are no JSON object. Give such as \'{{"city": "Rome"}}\'.') from error
    if errors := call_errors(call, [definition(call.name, tools[call.name])]):
        raise UserError(f"{name}: {'; '.join(errors)}.")
    try:
        return await run_tool(tools[call.name], call.arguments)
    except (Exception, SystemExit) as error:  # the boundary to others' code
        raise UserError(f"{name}: {failure(error)}") from error


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="sloop chat", description="A dialogue with a model that has tools.")
    who = parser.add_argument_group("who answers")
    who.add_argument("--path", help="folder of a checkpoint, served here meanwhile")
    who.add_argument("--url", help="an OpenAI-compatible endpoint, such as http://127.0.0.1:8000/v1")
    who.add_argument("--model", help="its model")
    who.add_argument(
        "--answer-format", choices=sorted(FORMATS), help="read calls in the text (default: the server does)"
    )
    parser.add_argument("--tools", nargs="+", default=["builtin"], metavar="TOOLS", help=f"{FORMS} (default: builtin)")
    parser.add_argument("--system", default="", help="the system prompt")
    parser.add_argument(
        "--script", metavar="FILE", help="run these cases (JSON lines; standard: those that come along)"
    )
    parser.add_argument("--max-tokens", type=of(Tokens, "max-tokens"), default=512, help="of an answer (default: 512)")
    parser.add_argument("--iterations", type=of(Positive, "iterations"), default=10, help="of a turn (default: 10)")
    _places(parser)
    return parser


def _places(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--root", type=Path, help="workspace of tools (default: an empty folder)")
    parser.add_argument(
        "--isolate", action="store_true", help="run Python functions in a sandbox, which sees --root alone"
    )
    parser.add_argument("--base-url", help="where an OpenAPI document's tools are served")


@contextmanager
def _served(options: argparse.Namespace) -> Iterator[tuple[str, str]]:
    """Address and name of the model; a checkpoint is served by a process of its own until the block ends."""
    if options.url:
        yield options.url, options.model
        return
    command = [sys.executable, "-m", "sloop", "serve", f"path={json.dumps(options.path)}", "model=chat", "port=0"]
    open_to_all = {name: value for name, value in os.environ.items() if name != TOKEN_VARIABLE}  # on loopback, for us
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=open_to_all) as server:
        assert server.stdout is not None
        try:
            said = next((found for line in server.stdout if (found := READY.search(line))), None)
            if said is None:
                raise UserError(f"--path {options.path}: it cannot be served; see the message above.")
            yield said[1], "chat"
        finally:
            server.terminate()


async def _talk(options: argparse.Namespace, url: str, model: str, tools: Mapping[str, RunnableTool]) -> int:
    """The dialogue; the number of cases that failed."""
    client = OpenAIChat(base_url=url, model=model, key=key_for("student"), limits=REQUEST)
    out = console()

    def fresh() -> AgentLoop:
        return AgentLoop(
            client,
            options.system,
            tools,
            limits=AgentLimits(iterations=options.iterations),
            sampling=Sampling(temperature=0.0, max_tokens=options.max_tokens),
            answer_format=options.answer_format,
        )

    try:
        if options.script:
            return await _run_cases(_cases(options.script), fresh, tools, out)
        loop = fresh()
        out.say(f"{model} at {url}; tools: {', '.join(tools) or 'none'}. End with an empty line.")
        while line := (await asyncio.to_thread(_asked)).strip():
            await _turn(loop, line, out)
        return 0
    finally:
        await client.close()


def _asked() -> str:
    sys.stdout.write("> ")
    sys.stdout.flush()
    return sys.stdin.readline()


async def _turn(loop: AgentLoop, line: str, out: Terminal) -> tuple[list[ToolCall], str, End]:
    """One turn, shown as it comes: the calls that it made, its words, its end."""
    calls: list[ToolCall] = []
    words: list[str] = []
    end: End | None = None

    def say(line: str) -> None:
        if words and not words[-1].endswith("\n"):
            words.append("\n")
            out.file.write("\n")
        out.say(line)

    async for chunk in loop.run(line):
        if isinstance(chunk, MessageChunk):
            words.append(chunk.text)
            out.file.write(visible(chunk.text))
            out.file.flush()
        elif isinstance(chunk, End):
            end = chunk
        elif isinstance(chunk, ToolCallStart):
            say(f"[{chunk.id}] {chunk.name} {chunk.arguments}")
        elif isinstance(chunk, ErrorChunk):
            say(f"{chunk.kind}: {chunk.text}")
        else:
            say(f"{'!' if isinstance(chunk, ToolCallError) else '='} {chunk.text}")
    assert end is not None
    say("" if end.reason == "message" else f"[ended: {end.reason}]")
    for message in loop.messages[_last_user(loop) :]:
        calls += message.tool_calls
    return calls, "".join(words), end


def _last_user(loop: AgentLoop) -> int:
    return max(place for place, message in enumerate(loop.messages) if message.role == "user")


def _cases(path: str) -> list[Case]:
    place = STANDARD if path == "standard" else Path(path)
    try:
        lines = place.read_bytes().splitlines()
    except OSError as error:
        raise UserError(
            f"--script {path}: it cannot be read ({error.strerror}). Give a file of cases, or standard."
        ) from error
    cases = [record_in(line, Case, place, f"line {number}") for number, line in enumerate(lines, 1) if line.strip()]
    if not cases:
        raise UserError(f"--script {path}: it holds no cases, and nothing would be checked. Give a file of cases.")
    return cases


async def _run_cases(cases: Sequence[Case], fresh: Any, tools: Mapping[str, RunnableTool], out: Terminal) -> int:
    failed = 0
    for number, case in enumerate(cases, 1):
        out.say(f"case {number}: {case.say}")
        calls, words, end = await _turn(fresh(), case.say, out)
        match = strict(definitions_of(tools), calls, Label(calls=case.calls))
        wrong = [] if match.valid else [str(match.reason)]
        wrong += [f"its words do not hold {text!r}" for text in case.mentions if text.lower() not in words.lower()]
        wrong += [] if end.reason == "message" else [f"it ended by {end.reason}"]
        failed += bool(wrong)
        out.say(f"case {number}: {'MISMATCH: ' + '; '.join(wrong) if wrong else 'as expected'}")
    out.say(f"{len(cases) - failed} of {len(cases)} cases as expected")
    return failed
