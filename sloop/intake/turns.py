"""Messages in any spelling as turns of one: who speaks, the words, the calls, which call is answered."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from sloop.calls.formats.thoughts import THINKING_PARTS
from sloop.intake.forms import Given
from sloop.intake.text import calls_in, literal, one_call, results_in, said, wrong
from sloop.records import Tool, ToolCall

Role = Literal["system", "user", "assistant", "tool"]
ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
    "function": "tool",
    "human": "user",
    "gpt": "assistant",
    "ai": "assistant",
    "model": "assistant",
    "chatgpt": "assistant",
    "observation": "tool",
    "tool_response": "tool",
    "function_response": "tool",
    "function_call": "assistant",
    "tool_call": "assistant",
}
CALLING = ("function_call", "tool_call")
"""Roles whose content is a call."""


class NotTextError(Exception):
    """Content of another kind, such as an image."""


@dataclass
class Turn:
    """One message."""

    place: int
    """Among the messages of its row."""
    role: Role
    content: str = ""
    calls: list[tuple[str | None, ToolCall]] = field(default_factory=list)
    """Each with its id."""
    answers: str | None = None
    reason: str = ""
    """Why it is no decision (`sloop.intake.convert.LEFT_OUT`)."""
    detail: str = ""

    def plain(self) -> dict[str, Any]:
        """What `Message` reads."""
        calls = [{**({"id": known_as} if known_as else {}), **call.to_openai()} for known_as, call in self.calls]
        return {"role": self.role, "content": self.content, "tool_calls": calls, "tool_call_id": self.answers}


def turns_of(given: Given) -> list[Turn]:
    """The turns of a row.

    Raises:
        ValueError: a message is none; names its place and what is allowed.
        NotTextError: one holds something else than text.
    """
    if not given.messages:
        raise wrong(given.name, given.messages, "a list of one message or more")
    turns = [Turn(-1, "system", given.system)] if given.system else []
    for place, message in enumerate(given.messages):
        turns += _turns(message, place, f"{given.name}[{place}]")
    return turns


def read_calls(turns: list[Turn], tools: Sequence[Tool]) -> None:
    """Take the calls that assistants wrote into their text, and say which calls are answered."""
    offered = {tool.name for tool in tools}
    for turn in turns:
        if turn.role == "assistant" and not turn.calls and not turn.reason:
            found = said(turn.content, offered)
            if found.error:
                turn.reason, turn.detail = "unread_call", turn.content[:60]
            elif found.calls:
                turn.content, turn.calls = found.content, [(None, call) for call in found.calls]
    turns[:] = _joined(turns)
    _link(turns)


def _joined(turns: Sequence[Turn]) -> list[Turn]:
    """What is said before a call is one decision with it: alone it would be a refusal to call."""
    joined: list[Turn] = []
    for turn in turns:
        before = joined[-1] if joined else turn
        if (
            before.role == turn.role == "assistant"
            and before is not turn
            and (turn.calls or turn.reason == "unread_call")
        ):
            turn.content = "\n".join(filter(None, (before.content, turn.content)))
            turn.calls = [*before.calls, *turn.calls]
            turn.reason, turn.detail = before.reason or turn.reason, before.detail or turn.detail
            joined.pop()
        joined.append(turn)
    return joined


def _turns(message: Any, place: int, where: str) -> Iterator[Turn]:
    if not isinstance(message, Mapping):
        raise wrong(where, message, "an object with role and content")
    given = message.get("role", message.get("from", message.get("type")))
    named = str(given)
    role = ROLES.get(named)
    if role is None:
        raise wrong(f"{where}.role", given, ", ".join(ROLES))
    content = message.get("content", message.get("value"))
    calls = list(_calls(message, where))
    if calls and role != "assistant":
        raise wrong(f"{where}.role", named, "assistant, for a message with calls")
    if named in CALLING and not calls:
        yield _calling(content, place)
    elif role == "assistant":
        words = _text(content, f"{where}.content", calls) or _text(message.get("refusal"), f"{where}.refusal", calls)
        lost = bool(message.get("invalid_tool_calls")) and not calls  # LangChain's, of a call that it could not read
        yield Turn(place, role, words, calls, reason=_meant(message, where) or ("unread_call" if lost else ""))
    elif role == "tool" and not isinstance(content, str | list | None):
        yield Turn(place, role, json.dumps(content, ensure_ascii=False), answers=message.get("tool_call_id"))
    else:
        words = _text(content, f"{where}.content", calls)
        parts = results_in(words) if role in ("tool", "user") else [words]
        if role == "user" and parts != [words]:
            role = "tool"
        answered = message.get("tool_call_id")
        for part in parts:
            yield Turn(place, role, part, answers="last" if named == "function" and not answered else answered)


def _calling(content: Any, place: int) -> Turn:
    try:
        calls = calls_in(literal(content) if isinstance(content, str) else content)
        return Turn(place, "assistant", calls=[(None, call) for call in calls])
    except ValueError:
        return Turn(place, "assistant", reason="unread_call", detail=str(content)[:60])


def _meant(message: Mapping[str, Any], where: str) -> str:
    """Whether its author took it out of training: ``weight`` (OpenAI), ``train`` (axolotl), ``loss`` (ms-swift)."""
    weight = message.get("weight")
    if weight not in (None, 0, 1):
        raise wrong(f"{where}.weight", weight, "0 and 1")
    return "weight_0" if weight == 0 or message.get("train") is False or message.get("loss") is False else ""


def _calls(message: Mapping[str, Any], where: str) -> Iterator[tuple[str | None, ToolCall]]:
    given = message.get("tool_calls")
    if isinstance(given, str) and given.strip():
        try:
            given = literal(given)
        except ValueError:
            given = message["tool_calls"]
    if given not in (None, "") and not isinstance(given, list):
        raise wrong(f"{where}.tool_calls", given, "a list of calls")
    places = [(call, f"{where}.tool_calls[{number}]") for number, call in enumerate(given or ())]
    places.append(({"function": message.get("function_call")}, f"{where}.function_call"))
    for call, place in places:
        if _is_padding(call):
            continue
        known_as = call.get("id") if isinstance(call, Mapping) else None
        try:
            yield known_as if isinstance(known_as, str) else None, ToolCall.model_validate(one_call(call))
        except ValueError as error:
            if str(error) == "name":
                allowed = '{"id": ..., "type": "function", "function": {"name": ..., "arguments": "{...}"}}'
                raise wrong(place, call, allowed) from error
            arguments = (call.get("function") or call).get("arguments")
            raise wrong(f"{place}.arguments", arguments, "a JSON object, as text or as it is") from error


def _is_padding(call: Any) -> bool:
    """Whether a table made it of nothing."""
    parts = [part for key, part in call.items() if key not in ("type", "index")] if isinstance(call, Mapping) else []
    return call is None or (bool(parts) and all(map(_is_padding, parts)))


def _text(given: Any, where: str, calls: Sequence[Any]) -> str:
    """Text, or the text of a list of parts."""
    if given is None or isinstance(given, str):
        return given or ""
    if not isinstance(given, list):
        raise wrong(where, given, "text, null, or a list of parts of type text")
    pieces = []
    for number, part in enumerate(given):
        kind = part.get("type") if isinstance(part, dict) else None
        if not isinstance(kind, str):
            raise wrong(f"{where}[{number}]", part, 'a part such as {"type": "text", "text": "..."}')
        if kind in THINKING_PARTS or (kind == "tool_use" and calls):  # LangChain repeats Anthropic's calls here
            continue
        if kind not in ("text", "refusal"):
            raise NotTextError(kind)
        if not isinstance(part.get(kind), str):
            raise wrong(f"{where}[{number}].{kind}", part.get(kind), "text")
        pieces.append(part[kind])
    return "".join(pieces)


def _link(turns: Sequence[Turn]) -> None:
    """Say which calls are answered where messages do not: the last, in the older form, else the first that waits."""
    count = 0
    waiting: list[str] = []
    for turn in turns:
        for known_as, _ in turn.calls:
            waiting.append(known_as or f"call_{count}")
            count += 1
        if turn.role == "tool":
            if turn.answers == "last":
                turn.answers = f"call_{count - 1}" if count else None
            elif turn.answers is None and waiting:
                turn.answers = waiting[0]
            if turn.answers in waiting:
                waiting.remove(turn.answers)
