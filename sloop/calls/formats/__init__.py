"""Text to calls and back, one small reader per chat format; the checkpoint records the format's name.

What is read here is text that a model made up, so nothing in it raises: whatever opens a call and does not finish one
is ``error="format"``, an attempted call, and never an empty list of calls. A call is read where nothing has to be
guessed or dropped; what more a lenient reader would find beside an error is ``recovered``. So is a call in another
format than the one that was chosen: text with the unmistakable mark of any format is never taken for words.

The table of all formats, with what a call in each looks like and which models write it, is
`sloop.calls.formats.table.ROWS` (docs/compatibility.md shows it). Readers follow what vllm-project/vllm
``tool_parsers``, sgl-project/sglang ``function_call`` and the models' own templates accept;
benchmarks/bench_readers.py compares them.

Calls that a server hands over apart from the text (OpenAI's ``tool_calls``) are read by `parse_tool_calls`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from typing import Annotated

from pydantic import AfterValidator

from sloop.calls.formats.bare import GLM4, REACT, is_name
from sloop.calls.formats.base import Format, Parsed, Tools, Unreadable, join, json_calls, made
from sloop.calls.formats.marked import HERMES, read_harmony
from sloop.calls.formats.python import MAX_PYTHON, bare_calls, list_at
from sloop.calls.formats.table import FORMATS, ROWS
from sloop.calls.formats.thoughts import split_thinking
from sloop.records import Label, ToolCall, UserError
from sloop.records.ranges import refused

__all__ = [
    "FORMATS",
    "MARKS",
    "MAX_PYTHON",
    "OPENINGS",
    "FormatName",
    "Parsed",
    "after_thinking",
    "for_template",
    "known_format",
    "opens_call",
    "parse",
    "parse_tool_calls",
    "render_hermes",
    "render_tool_calls",
    "thoughts_of",
]

MARKS: dict[str, re.Pattern[str]] = {row.name: row.mark for row in ROWS}
"""What a call begins with, where the format is known."""
OPENINGS: dict[str, tuple[str, ...]] = {row.name: row.openings for row in ROWS}
"""Text before the first of these is content whatever follows: what of an answer may be sent before it is whole."""
_OPENS = tuple((opening, row.mark) for row in ROWS if row.certain for opening in row.openings)
_SUSPECT = (*"<[{`✿", "Action Input", "to=functions.")
"""No call is without one of these."""
_STRAY = (
    "</tool_call>", "<|python_tag|>", "<|python_start|>", "<|python_end|>", "<｜tool▁call▁begin｜>",
    "<｜tool▁call▁end｜>", "<|tool_call_begin|>", "<|tool_call_end|>", "<tool_call|>", "<end_function_call>",
    "<|END_ACTION|>", "<|action_end|>", "<|tools_suffix|>", "</TOOLCALL>", "</minimax:tool_call>",
    "</seed:tool_call>", "</function_calls>", "✿FUNCTION✿", "<longcat_tool_call>",
    "```tool_call",
)  # fmt: skip
"""Marks of calls with which no row's calls begin: what a server leaves that takes tokens away."""
_ARGS = re.compile(r"\w\[ARGS\]\s*+\{")
"""Mistral's, between a name and an object; alone it is how the usage of commands is written."""


def _formats() -> str:
    return f"allowed: {', '.join(sorted(FORMATS))}. Set student.answer_format to one of these"


def known_format(format: str) -> str:
    """A name in `FORMATS`, or the error of a setting that is none."""
    if format not in FORMATS:
        raise refused(_formats())
    return format


FormatName = Annotated[str, AfterValidator(known_format)]


def parse(format: str, text: str, *, thinking: bool = False, tools: Tools = ()) -> Parsed:
    """Read a model's answer. A call that is plainly one of another format is an attempt that cannot be read.

    Reasoning is dropped. Nothing said is no answer, and no refusal to call either, but an error; so is reasoning that
    was never finished, or that nothing follows. So are calls of tools on offer in bare Python, or as a name's object.

    Args:
        format: a name in `FORMATS`.
        text: the answer as it was generated, end-of-turn token removed, other special tokens kept.
        thinking: the prompt ended within a thought, so everything before its close is reasoning.
        tools: what was on offer: formats in tags do not say which type a value has.

    Raises:
        UserError: there is no such format. No text raises.
    """
    if format not in FORMATS:
        raise UserError(f"unknown tool-call format {format!r}: {_formats()}.")
    row = FORMATS[format]
    _, answer = split_thinking(text, row.mark.search, thinking=thinking)
    if answer is None:
        return Parsed(error="format", recovered=_recover(row, text, tools))
    try:
        calls, words = row.read(answer, tools)
    except (ValueError, RecursionError):
        found = row.mark.search(answer)
        words = [answer[: found.start()] if found else answer]
        return Parsed(content=join(words), error="format", recovered=_recover(row, answer, tools))
    content = join(words)
    if calls:
        return Parsed(calls=tuple(calls), content=content)
    if not content or ("<|channel|>" in answer and _analysed(answer)):
        return Parsed(error="format")
    if _opens(answer):
        return Parsed(content=content, error="format", recovered=_recover(row, answer, tools))
    if tools and (bare := bare_calls(answer, tools)) is not None:
        return Parsed(content=content, error="format", recovered=tuple(bare))
    return Parsed(content=content)


def opens_call(text: str, *, thinking: bool = False) -> bool:
    """True where a text opens a call in any known format: what to ask of an answer that was cut off.

    JSON counts where a name stands beside arguments, in whichever order; an object with a name alone may be an answer,
    and one with a description or a schema defines a tool. Reasoning does not count.
    """
    _, answer = split_thinking(text, _opens, thinking=thinking)
    return answer is not None and _opens(answer)


def after_thinking(text: str, format: str, *, thinking: bool = False) -> str:
    """The answer proper; nothing, where the reasoning was never finished."""
    return split_thinking(text, MARKS[format].search, thinking=thinking)[1] or ""


def thoughts_of(text: str, format: str) -> str:
    """The reasoning in an answer, in its marks: with the words behind it, it reads as they do."""
    return split_thinking(text, MARKS[format].search)[0]


def for_template(template: str) -> str | None:
    """The format that a chat template writes calls in, by its marks; None: it writes none that is known."""
    return next((row.name for row in ROWS if row.template and re.search(row.template, template)), None)


def parse_tool_calls(content: str, calls: Sequence[tuple[str, str]], tools: Tools = ()) -> Parsed:
    """Read the OpenAI form, in which a server hands over (name, text of the arguments) apart from the words.

    Arguments are a JSON object, or nothing at all for none. Words that hold or attempt a call in a known format are a
    call that the server could not read. Reasoning is dropped.
    """
    if not calls:
        parsed = parse("hermes", content, tools=tools)
        return Parsed(content=parsed.content, error="format", recovered=parsed.calls) if parsed.calls else parsed
    words = after_thinking(content, "hermes").strip()
    try:
        return Parsed(calls=tuple(made(name, arguments.strip() or {}) for name, arguments in calls), content=words)
    except (ValueError, RecursionError):
        return Parsed(content=words, error="format")


def render_hermes(label: Label) -> str:
    """The text that a student is trained to write, read back as "hermes": content, then one block a call."""
    bodies = (
        json.dumps({"name": call.name, "arguments": call.arguments}, ensure_ascii=False, allow_nan=False)
        for call in label.calls
    )
    return _with_blocks(label.content, bodies)


def render_tool_calls(content: str, calls: Sequence[tuple[str, str]]) -> str:
    """The OpenAI form as one text, in Hermes blocks, with the arguments as they were written."""
    return _with_blocks(
        content,
        (f'{{"name": {json.dumps(name, ensure_ascii=False)}, "arguments": {given}}}' for name, given in calls),
    )


def _with_blocks(content: str, bodies: Iterable[str]) -> str:
    blocks = [f"{HERMES[0]}\n{body}\n{HERMES[1]}" for body in bodies]
    return "\n".join([content, *blocks] if content else blocks)


def _opens(answer: str) -> bool:
    """Whether an answer without its reasoning opens a call in any format."""
    if not any(map(answer.__contains__, _SUSPECT)):
        return False
    if any(map(answer.__contains__, _STRAY)) or ("[ARGS]" in answer and _ARGS.search(answer)):
        return True
    if any(opening in answer and mark.search(answer) for opening, mark in _OPENS):
        return True
    if "[" in answer and list_at(answer) >= 0:
        return True
    if REACT.search(answer):
        return True
    if "{" not in answer:
        return False
    named = GLM4.match(answer)
    return bool(named and is_name(named["name"], ())) or next(json_calls(answer), False) is not False


def _analysed(answer: str) -> bool:
    """Whether gpt-oss's marks stand around reasoning alone."""
    try:
        calls, words = read_harmony(answer, ())
    except (ValueError, RecursionError):
        return False
    return not calls and not join(words)


def _recover(first: Format, answer: str, tools: Tools) -> tuple[ToolCall, ...]:
    """The calls that a lenient reader finds: of any format, left open, with words behind, or in JSON anywhere."""
    for row in (first, *ROWS):
        if not any(opening in answer for opening in row.openings) or not row.mark.search(answer):
            continue
        found: list[Sequence[ToolCall]] = []
        for text in (answer, answer + row.closing, answer[: answer.rfind(")]") + 2]):
            try:
                found.append(row.read(text, tools)[0])
            except (ValueError, RecursionError) as error:
                found.append(error.calls if isinstance(error, Unreadable) else ())
        if calls := max(found, key=len):
            return tuple(calls)
    return tuple(call for call in json_calls(answer) if call)
