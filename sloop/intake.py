"""Datasets in OpenAI's fine-tuning form: one dialogue a line, read as samples.

A line is ``{"messages": [...], "tools": [...]}``, with ``functions`` and ``function_call`` in older files. Every
assistant message is a decision, but one of ``"weight": 0``. Other keys of a line or a message, such as
``parallel_tool_calls``, and a function's ``strict`` say nothing that a sample holds and are passed over.

A file is converted once, into a file of samples in a folder of its own, under a name that stands for its bytes, for how
it was read, and for the code that read it. What a line holds that makes no sample is counted under one of `LEFT_OUT`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock
from pydantic import ValidationError

from sloop.calls.schema import validator
from sloop.engine.identity import code_digest
from sloop.records import Dialogue, Lineage, Record, Sample, Tool, UserError, decisions, digest, from_json
from sloop.store.files import is_file, lines_of, named, read_json, write_json, write_rows
from sloop.store.rows import Dataset

MODULES = ("sloop.calls.schema", "sloop.intake", "sloop.records.base", "sloop.records.samples")
"""What a conversion depends on."""

Form = Literal["auto", "sloop", "openai"]
Decisions = Literal["all", "last"]

LEFT_OUT = {
    "no_decision": "lines without an assistant message",
    "not_text": "lines with content that is not text",
    "weight_0": "assistant messages of weight 0",
    "no_request": "assistant messages before any user message",
    "empty": "assistant messages that say and call nothing",
    "not_offered": "assistant messages that call a tool which their line does not offer",
    "repeated": "the same tools, messages and calls as before",
    "contradicted": "the same tools and messages as before with other calls",
}
"""Why something of a file makes no sample."""
ROLES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
    "function": "tool",
}
OWN_KEYS = frozenset({"label", "turn", "copies", "lineage"})
"""Of a line that is a sample: no dialogue has them."""


class Intake(Record):
    """How a file of dialogues was read."""

    path: str
    sha256: str
    """Of the file as it was given."""
    lines: int
    samples: int
    silent: int
    """Lines that made no sample."""
    left_out: dict[str, int]
    """By reason (`LEFT_OUT`)."""

    def note(self) -> str:
        """In a sentence."""
        said = "; ".join(f"{count} {LEFT_OUT[reason]}" for reason, count in self.left_out.items())
        silent = f", {self.silent} of which made none" if self.silent else ""
        return f"{self.path}: {self.samples} samples of {self.lines} lines{silent}; left out: {said or 'nothing'}"


class Converted(Dataset):
    """A dataset that was made of a file of dialogues."""

    def __init__(self, path: Path, intake: Intake) -> None:
        """Open the samples; ``intake`` says what they were made of."""
        super().__init__(path)
        self.intake = intake


def open_dataset(path: Path, *, form: Form, chosen: Decisions, cache: Path) -> Dataset:
    """A dataset in sloop's form or in OpenAI's.

    Args:
        path: ``.jsonl`` or ``.jsonl.gz``.
        form: of the file; ``auto``: by its lines (`is_dialogues`).
        chosen: of a dialogue's assistant messages, all or the last that is a decision.
        cache: folder for the samples of dialogues.

    Raises:
        UserError: no such file; a line that is no dialogue; or nothing that makes a sample.
    """
    given = Dataset(path)
    if form == "sloop" or (form == "auto" and not is_dialogues(path)):
        return given
    name = digest([given.sha256, chosen, code_digest(MODULES)])[:32]
    target, told = cache / f"{name}.jsonl", cache / f"{name}.json"
    cache.mkdir(parents=True, exist_ok=True)
    with FileLock(cache / f"{name}.lock"):
        if not is_file(told) or not is_file(target):
            reader = _Reader(path, chosen)
            samples = write_rows(target, reader)
            write_json(told, {**reader.told(), "samples": samples})
        intake = Intake(path=str(path), sha256=given.sha256, **read_json(told))
    if not intake.samples:
        raise UserError(f"{intake.note()}. Nothing is left: give lines that end in an assistant message.")
    return Converted(target, intake)


def is_dialogues(path: Path) -> bool:
    """Whether a file of JSON lines holds dialogues and no samples; the first line that tells decides."""
    for _, row in _lines(path):
        if OWN_KEYS & set(row):
            return False
        messages = row.get("messages")
        last = messages[-1] if isinstance(messages, list) and messages else None
        said = isinstance(last, dict) and last.get("role") == "assistant"
        if said or "functions" in row or "parallel_tool_calls" in row:
            return True
    return False


class _Reader:
    """The samples of a file, once; counts what makes none."""

    def __init__(self, path: Path, chosen: Decisions) -> None:
        self._path = path
        self._chosen = chosen
        self._labels: dict[bytes, str] = {}
        """Digest of the calls by id of every sample so far."""
        self.lines = self.silent = 0
        self.left_out: Counter[str] = Counter()

    def __iter__(self) -> Iterator[Sample]:
        for number, row in _lines(self._path):
            self.lines += 1
            try:
                found = list(self._samples(number, row))
            except ValueError as error:
                raise UserError(f"{self._path}, line {number}: {_reason(error)}") from error
            self.silent += not found
            yield from found

    def told(self) -> dict[str, Any]:
        ordered = {reason: self.left_out[reason] for reason in LEFT_OUT if self.left_out[reason]}
        return {"lines": self.lines, "silent": self.silent, "left_out": ordered}

    def _samples(self, number: int, row: Mapping[str, Any]) -> Iterator[Sample]:
        given = row.get("messages")
        if not isinstance(given, list) or not given:
            raise _wrong("messages", given, "a list of one message or more")
        try:
            messages = [_message(message, f"messages[{place}]") for place, message in enumerate(given)]
        except _NotTextError:
            self.left_out["not_text"] += 1
            return
        dialogue = Dialogue.model_validate({"tools": _tools(row), "messages": list(_answered(messages))})
        asked = [place for place, message in enumerate(dialogue.messages) if message.role == "assistant"]
        self.left_out["no_decision"] += not asked
        reasons = {place: _why_not(dialogue, place, given[place]) for place in asked}
        self.left_out.update(reason for reason in reasons.values() if reason)
        sound = [place for place in asked if not reasons[place]]
        kept = sound if self._chosen == "all" else sound[-1:]
        unit = f"line-{number}"
        for sample, _ in decisions(
            dialogue.model_copy(update={"doubtful": frozenset(asked) - frozenset(kept)}),
            group=unit,
            kind=None,
            source="seed",
            lineage=Lineage(unit=unit),
        ):
            calls = digest([call.to_openai() for call in sample.label.calls]) if sample.label else ""
            before = self._labels.get(known_as := bytes.fromhex(sample.id))
            if before is None:
                self._labels[known_as] = calls
                yield sample
            else:
                self.left_out["repeated" if before == calls else "contradicted"] += 1


class _NotTextError(Exception):
    """Content of another kind, such as an image."""


def _wrong(what: str, value: Any, allowed: str) -> ValueError:
    shown = json.dumps(value, ensure_ascii=False)
    return ValueError(f"{what} is {shown if len(shown) < 80 else shown[:77] + '...'}; allowed: {allowed}.")


def _reason(error: ValueError) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}."
    return str(error)


def _lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in lines_of(path):
        try:
            row = from_json(line)
        except ValueError as error:
            raise UserError(
                f"{named(path)}, line {number}: not JSON ({error}); allowed: one JSON object a line."
            ) from error
        if not isinstance(row, dict):
            raise UserError(f"{path}, line {number}: not a JSON object; allowed: one JSON object a line.")
        yield number, row


def _why_not(dialogue: Dialogue, place: int, given: Mapping[str, Any]) -> str:
    """Why an assistant message is no decision (`LEFT_OUT`); empty where it is one."""
    message = dialogue.messages[place]
    weight = given.get("weight")
    if weight not in (None, 0, 1):
        raise _wrong(f"messages[{place}].weight", weight, "0 and 1")
    if weight == 0:
        return "weight_0"
    if all(before.role != "user" for before in dialogue.messages[:place]):
        return "no_request"
    if not message.content and not message.tool_calls:
        return "empty"
    offered = {tool.name for tool in dialogue.tools}
    return "not_offered" if any(call.name not in offered for call in message.tool_calls) else ""


def _message(given: Any, where: str) -> dict[str, Any]:
    """A message with what `Message` reads, and ``function`` where it answers a call of the older form."""
    if not isinstance(given, dict):
        raise _wrong(where, given, "an object with role and content")
    role = ROLES.get(str(given.get("role")))
    if role is None:
        raise _wrong(f"{where}.role", given.get("role"), ", ".join(ROLES))
    made: dict[str, Any] = {"role": role, "content": _text(given.get("content"), f"{where}.content")}
    if role == "assistant":
        made["content"] = made["content"] or _text(given.get("refusal"), f"{where}.refusal")
    calls = given.get("tool_calls")
    if calls is not None and not isinstance(calls, list):
        raise _wrong(f"{where}.tool_calls", calls, "a list of calls")
    made["tool_calls"] = [_call(call, f"{where}.tool_calls[{k}]") for k, call in enumerate(calls or ())]
    if given.get("function_call") is not None:
        made["tool_calls"].append(_call({"function": given["function_call"]}, f"{where}.function_call"))
    if made["tool_calls"] and role != "assistant":
        raise _wrong(f"{where}.role", given["role"], "assistant, for a message with calls")
    if role == "tool":
        made |= {"tool_call_id": given.get("tool_call_id"), "function": given["role"] == "function"}
    return made


def _answered(messages: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """An answer of the older form names no call: it is to the last one."""
    count = 0
    for message in messages:
        count += len(message["tool_calls"])
        if message.pop("function", False) and count:
            message["tool_call_id"] = f"call_{count - 1}"
        yield message


def _text(given: Any, where: str) -> str:
    """Text, or the text of a list of parts."""
    if given is None or isinstance(given, str):
        return given or ""
    if not isinstance(given, list):
        raise _wrong(where, given, "text, null, or a list of parts of type text")
    pieces = []
    for k, part in enumerate(given):
        kind = part.get("type") if isinstance(part, dict) else None
        if not isinstance(kind, str):
            raise _wrong(f"{where}[{k}]", part, 'a part such as {"type": "text", "text": "..."}')
        if kind not in ("text", "refusal"):
            raise _NotTextError(kind)
        if not isinstance(part.get(kind), str):
            raise _wrong(f"{where}[{k}].{kind}", part.get(kind), "text")
        pieces.append(part[kind])
    return "".join(pieces)


def _call(given: Any, where: str) -> dict[str, Any]:
    function = given.get("function") if isinstance(given, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise _wrong(where, given, '{"id": ..., "type": "function", "function": {"name": ..., "arguments": "{...}"}}')
    arguments = function.get("arguments")
    if isinstance(arguments, str):
        try:
            arguments = from_json(arguments) if arguments.strip() else {}
        except ValueError:
            arguments = None
    if not isinstance(arguments, dict):
        raise _wrong(f"{where}.arguments", function.get("arguments"), "a JSON object, as text or as it is")
    named = {"id": given["id"]} if isinstance(given.get("id"), str) else {}
    return {**named, "function": {"name": function["name"], "arguments": arguments}}


def _tools(row: Mapping[str, Any]) -> list[Tool]:
    key = "functions" if row.get("tools") is None and "functions" in row else "tools"
    given = row.get(key)
    if given is not None and not isinstance(given, list):
        raise _wrong(key, given, "a list of function definitions")
    return [_tool(tool, f"{key}[{k}]") for k, tool in enumerate(given or ())]


def _tool(given: Any, where: str) -> Tool:
    function = given.get("function", given) if isinstance(given, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise _wrong(where, given, '{"type": "function", "function": {"name": ..., "parameters": {...}}}')
    parameters = function.get("parameters") or {}
    if not isinstance(parameters, dict):
        raise _wrong(f"{where}.parameters", parameters, "a JSON Schema of type object")
    description = _text(function.get("description"), f"{where}.description")
    tool = Tool(
        name=function["name"], description=description, parameters={"type": "object", "properties": {}, **parameters}
    )
    try:
        validator(tool)
    except UserError as error:
        raise ValueError(f"{where}: {error}") from error
    return tool
