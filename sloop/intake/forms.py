"""The forms that datasets of dialogues come in: one row a form, what it is known by and how a row of it is read."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any

from sloop.intake.text import literal, wrong

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Given:
    """A row's dialogue: messages in any spelling (`sloop.intake.turns`), and what is offered."""

    messages: list[Any]
    tools: Any = None
    """Definitions, in whatever they are wrapped; None: what the system message lists."""
    first: int = 0
    """The first message that may be a decision."""
    name: str = "messages"
    """What the messages are called in the row."""
    system: str = ""
    """What stands before the messages, under a key of its own."""


@dataclass(frozen=True)
class Form:
    """A form of dialogues."""

    keys: tuple[str, ...]
    """Of its rows; what an unknown row is compared with."""
    looks: str
    """A row, for messages."""
    known: Callable[[Row], bool]
    """Whether a row is of this form; asked in the order of the table."""
    read: Callable[[Row], Given]
    """The dialogue of a row; ValueError where it is none."""


# --- rows into dialogues ------------------------------------------------------------------------------------------


def _chat(row: Row) -> Given:
    if isinstance(asked := row.get("input"), Mapping):  # OpenAI's preferences
        messages = _list(asked, "messages")
        return Given([*messages, *_list(row, "preferred_output")], _offered(asked), len(messages))
    return Given(_list(row, "messages"), _offered(row))


def _sharegpt(row: Row) -> Given:
    name = _found(row, "conversations", "conversation")[0] or "conversations"
    messages = _list(row, name)
    first = 0
    if isinstance(row.get("chosen"), Mapping):  # of a ranking: what precedes it was said in both
        messages, first = [*messages, row["chosen"]], len(messages)
    return Given(messages, _offered(row), first, name)


def _glaive(row: Row) -> Given:
    if not isinstance(chat := row.get("chat"), str):
        raise wrong("chat", chat, "text such as USER: ... ASSISTANT: ... <|endoftext|>")
    _, *parts = _SPEAKER.split(chat.replace("<|endoftext|>", ""))
    roles = {"USER": "user", "ASSISTANT": "assistant", "FUNCTION RESPONSE": "tool"}
    pairs = zip(parts[::2], parts[1::2], strict=True)
    messages = [{"role": roles[speaker], "content": text.strip()} for speaker, text in pairs]
    return Given(messages, _offered(row), name="chat")


def _xlam(row: Row) -> Given:
    return Given(
        [{"role": "user", "content": row.get("query")}, {"role": "function_call", "content": row.get("answers")}],
        _offered(row),
        name="query, answers",
    )


def _when2call(row: Row) -> Given:
    if "correct_answer" not in row:
        return _trl(row)
    right, answers = row["correct_answer"], row.get("answers")
    if not isinstance(answers, Mapping) or right not in answers:
        raise wrong("correct_answer", right, "a key of answers")
    role = "function_call" if right == "tool_call" else "assistant"
    asked = {"role": "user", "content": row.get("question")}
    return Given([asked, {"role": role, "content": answers[right]}], _offered(row), name="question, answers")


def _langchain(row: Row) -> Given:
    return Given([_unpacked(message) for message in _list(row, "messages")], _offered(row))


def _trl(row: Row) -> Given:
    answer, said = _found(row, "completion", "chosen", "chosen_response")
    if not answer:
        return Given(_spoken(_found(row, "prompt", "messages")[1], "user"), _offered(row))
    prompt, said = _spoken(_found(row, "prompt", "messages")[1], "user"), _spoken(said, "assistant")
    if prompt and not any(_alike(prompt[-1], message) for message in said):
        return Given([*prompt, *said], _offered(row), len(prompt), f"prompt, {answer}")
    other = _spoken(row.get("rejected"), "assistant")  # the prompt is what both have in common
    unlike = (place for place, pair in enumerate(zip(said, other, strict=False)) if pair[0] != pair[1])
    return Given(said, _offered(row), next(unlike, len(said) - 1), answer)


def _distilabel(row: Row) -> Given:
    _, prompt = _found(row, "instruction", "input", "messages", "prompt")
    if isinstance(row.get("instruction"), str) and isinstance(row.get("input"), str):
        prompt = "\n".join(filter(None, (row["instruction"], row["input"])))
    answer, said = _found(row, "output", "generation", "generations")
    if isinstance(said, list) and len(said) == 1 and isinstance(said[0], str):
        (said,) = said
    asked = _spoken(prompt, "user")
    return Given([*asked, *_spoken(said, "assistant")], _offered(row), len(asked), f"input, {answer or 'output'}")


# --- their parts --------------------------------------------------------------------------------------------------

_SPEAKER = re.compile(r"^\s*(USER|ASSISTANT|FUNCTION RESPONSE):[ \t]*", re.M)
_ANSWERING = ("assistant", "gpt", "ai", "model", "chatgpt", "function_call", "tool_call")
_CHAT_KEYS = ("messages", "tools", "functions", "available_tools", "parallel_tool_calls")


def _list(row: Row, key: str) -> list[Any]:
    found = row.get(key)
    if isinstance(found, str):
        try:
            found = literal(found)
        except ValueError as error:
            raise wrong(key, row[key], f"a list of messages, or its JSON ({error})") from error
    if not isinstance(found, list) or not found:
        raise wrong(key, row.get(key), "a list of one message or more")
    return found


def _offered(row: Row) -> Any:
    """What a row offers, None where it says nothing; as a list, where it is JSON."""
    key, found = _found(row, "tools", "functions", "available_tools")
    if found is None or (isinstance(found, str) and not found.strip()):
        return None
    try:
        found = literal(found) if isinstance(found, str) else found
        if isinstance(found, list):
            return [literal(tool) if isinstance(tool, str) else tool for tool in found]
        return found
    except ValueError as error:
        raise wrong(key, row[key], f"a list of function definitions, or its JSON ({error})") from error


def _found(row: Row, *keys: str) -> tuple[str, Any]:
    """The first of some keys that holds something, and what."""
    return next(((key, row[key]) for key in keys if row.get(key) is not None), ("", None))


def _alike(one: Any, other: Any) -> bool:
    return _role(one) == _role(other) and bool(one.get("content") == other.get("content"))


def _text(row: Row, key: str) -> str:
    found = row.get(key)
    if found is not None and not isinstance(found, str):
        raise wrong(key, found, "text")
    return found or ""


def _role(message: Any) -> Any:
    return message.get("role", message.get("from", message.get("type"))) if isinstance(message, Mapping) else None


def _spoken(given: Any, role: str) -> list[Any]:
    """A list of messages, one, or the text of one."""
    if isinstance(given, str):
        return [{"role": role, "content": given}]
    return list(given) if isinstance(given, list) else [] if given is None else [given]


def _unpacked(message: Any) -> Any:
    """A message of LangChain's as OpenAI's: ``data`` and ``kwargs`` are what it is packed in."""
    if not isinstance(message, Mapping):
        return message
    kind = message.get("type", "")
    if kind == "constructor" and isinstance(message.get("id"), list):
        kind = str(message["id"][-1])
    inner = next((message[key] for key in ("data", "kwargs") if isinstance(message.get(key), Mapping)), message)
    calls = inner.get("tool_calls") or (inner.get("additional_kwargs") or {}).get("tool_calls")
    role = str(kind).lower().removesuffix("chunk").removesuffix("message") or inner.get("role")
    return {**inner, "role": role, "tool_calls": calls}


def _messages(row: Row, key: str = "messages") -> list[Mapping[str, Any]]:
    """The messages that a row is known by."""
    found = row.get(key)
    if isinstance(found, str) and found.lstrip().startswith("["):
        try:
            found = literal(found)
        except ValueError:
            return []
    return [message for message in found if isinstance(message, Mapping)] if isinstance(found, list) else []


def _turns(row: Row) -> list[Mapping[str, Any]]:
    return _messages(row, "conversations") or _messages(row, "conversation")


def _holds(row: Row, *marks: str) -> bool:
    texts = [str(message.get("value", message.get("content", ""))) for message in _turns(row)]
    return any(mark in text for text in (*texts, str(row.get("system", ""))) for mark in marks)


def _answered(row: Row) -> bool:
    """Whether it holds a dialogue that ends in its answer: no other key decides its form."""
    return str(_role((_messages(row) or _turns(row) or [{}])[-1])).lower() in _ANSWERING


def _has(row: Row, *keys: str) -> bool:
    return any(row.get(key) is not None for key in keys)


def _speaks(row: Row) -> bool:
    return any(_role(message) in ("assistant", "tool_call", "function_call") for message in _messages(row))


FORMS: dict[str, Form] = {
    "sloop": Form(
        ("tools", "messages", "label", "lineage"),
        '{"tools": [...], "messages": [...], "label": {"calls": [...]}}',
        lambda row: (
            isinstance(row.get("lineage"), Mapping | str) or ("tools" in row and isinstance(row.get("label"), Mapping))
        ),
        _chat,
    ),
    "when2call": Form(
        ("question", "answers", "correct_answer", "tools", "chosen_response"),
        '{"question": ..., "tools": [...], "answers": {...}, "correct_answer": ...}',
        lambda row: (_has(row, "correct_answer") and _has(row, "answers")) or _has(row, "chosen_response"),
        _when2call,
    ),
    "xlam": Form(
        ("query", "answers", "tools"),
        '{"query": ..., "tools": ..., "answers": ...}',
        lambda row: _has(row, "query") and _has(row, "answers") and not _answered(row),
        _xlam,
    ),
    "glaive": Form(
        ("system", "chat"),
        '{"system": "SYSTEM: ...", "chat": "USER: ..."}',
        lambda row: _has(row, "chat") and not _answered(row),
        _glaive,
    ),
    "toolbench": Form(
        ("conversations", "id"),
        '{"conversations": [{"from": "assistant", "value": "Thought: ... Action: ... Action Input: ..."}]}',
        lambda row: _holds(row, "\nAction Input:"),
        _sharegpt,
    ),
    "hermes": Form(
        ("conversations", "tools", "category", "task"),
        '{"conversations": [{"from": "system", "value": "... <tools> ... </tools>"}]}',
        lambda row: _holds(row, "<tools>", "<tool_call>"),
        _sharegpt,
    ),
    "toolace": Form(
        ("system", "conversations"),
        '{"system": "... [{...}] ...", "conversations": [{"from": "assistant", "value": "[f(x=1)]"}]}',
        lambda row: bool(_turns(row)) and "tools" not in row and bool(_text(row, "system")),
        _sharegpt,
    ),
    "apigen_mt": Form(
        ("system", "tools", "conversations"),
        '{"system": ..., "tools": "[...]", "conversations": [{"from": "function_call", "value": "{...}"}]}',
        lambda row: bool(_turns(row)) and "tools" in row and bool(row.get("system")),
        _sharegpt,
    ),
    "sharegpt": Form(
        ("conversations", "tools"),
        '{"conversations": [{"from": "human", "value": ...}, {"from": "gpt", "value": ...}], "tools": "[...]"}',
        lambda row: bool(_turns(row)),
        _sharegpt,
    ),
    "trl": Form(
        ("prompt", "completion", "chosen", "rejected"),
        '{"prompt": [...], "completion": [...]}, or {"prompt": [...], "chosen": [...], "rejected": [...]}',
        lambda row: _has(row, "completion", "chosen") and not _answered(row),
        _trl,
    ),
    "langchain": Form(
        ("messages",),
        '{"messages": [{"type": "human", "content": ...}, {"type": "ai", "tool_calls": [...]}]}',
        lambda row: any("role" not in message and "type" in message for message in _messages(row)),
        _langchain,
    ),
    "distilabel": Form(
        ("input", "output", "instruction", "generation"),
        '{"input": [...], "output": [...]}, or {"instruction": ..., "generation": ...}',
        lambda row: (
            _has(row, "input", "instruction", "messages", "prompt")
            and _has(row, "output", "generation", "generations")
            and not _answered(row)
        ),
        _distilabel,
    ),
    "toucan": Form(
        ("messages", "available_tools", "target_tools"),
        '{"messages": "[...]", "available_tools": "[...]"}',
        lambda row: bool(_messages(row)) and ("available_tools" in row or "target_tools" in row),
        _chat,
    ),
    "openai": Form(
        _CHAT_KEYS,
        '{"messages": [...], "tools": [...]}',
        lambda row: _speaks(row) or not row.keys().isdisjoint({"functions", "parallel_tool_calls", "preferred_output"}),
        _chat,
    ),
}
"""By name; the first that knows a row is its form."""


def form_of(row: Row) -> str | None:
    """The form of a row; None: it does not tell."""
    return next((name for name, form in FORMS.items() if form.known(row)), None)


def dialogue_of(form: str, row: Row) -> Given:
    """The dialogue of a row, with the system message that stands under a key of its own.

    Raises:
        ValueError: it is none of this form.
    """
    given = FORMS[form].read(row)
    system = re.sub(r"\A\s*SYSTEM:\s*", "", _text(row, "system"))
    if not system.strip() or (given.messages and _role(given.messages[0]) in ("system", "developer")):
        return given
    return replace(given, system=system)


def unknown(row: Row) -> str:
    """What to say of a row that no form knows."""
    keys = [str(key) for key in row]
    alike = {name: sum(bool(get_close_matches(key, keys, 1, 0.8)) for key in form.keys) for name, form in FORMS.items()}
    nearest = max(alike, key=lambda name: (alike[name], name == "openai"))
    near = f" Nearest is the form {nearest}: {FORMS[nearest].looks}." if alike[nearest] else ""
    return (
        f"a row with the keys {', '.join(keys)[:200] or '(none)'} is of no known form; a dialogue has messages, such "
        f"as {FORMS['openai'].looks}, or give a file of samples.{near} Forms: {', '.join(FORMS)}"
    )
