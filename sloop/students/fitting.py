"""A chat template made to take every shape of dialogue: what it loses or refuses is put otherwise before it sees it.

Published templates lose calls and tools in silence, or refuse a role, an id, two calls. Whether one does is found by
rendering a dialogue of each shape; what helps then is written in front of the template (``prompts/chat/fit.jinja``), so
that whatever renders the checkpoint's template, here or elsewhere, renders the same text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from itertools import combinations
from typing import Any, Literal, NamedTuple, get_args

from sloop.calls.formats import FORMATS, for_template, parse
from sloop.calls.formats.thoughts import THOUGHTS
from sloop.models.bounded import Exceeded
from sloop.models.prompts import PACKAGED
from sloop.records import Label, Message, Sample, Tool, ToolCall

Render = Callable[[str, list[dict[str, Any]], list[dict[str, Any]] | None, bool, dict[str, Any]], str]
"""A template, messages, tools, whether the answer is opened, and further variables, as text; raises `Exceeded`."""
Listing = Literal["hermes", "compact", "signatures"]

SWITCHES: dict[str, dict[str, str]] = {
    "names": {"yes": "tool results are given their tool's name"},
    "empty": {"yes": "an answer that only calls has no content, instead of an empty one"},
    "arguments": {"text": "arguments are given as JSON text"},
    "ids": {"nine": "calls are given ids of nine letters", "named": "calls are given ids of tool and number"},
    "parts": {"yes": "content is given as a list of parts"},
    "offer": {"none": "where no tool is offered, an empty list of tools is"},
    "words": {"yes": "words beside a call are left out"},
    "system": {"user": "the system message is put in front of the user's first"},
    "results": {"user": "tool results are given as the user's messages"},
    "tools": {
        "listed": "tools are listed in the system message",
        "hermes": "tools and calls are written as text, in Hermes form",
    },
}
"""What may be put otherwise before a template sees it, by entry of ``sloop_fit`` and its value, as it is told."""
_HEAD = re.compile(r"\A\{#- sloop:((?: \w+=\w+)*) -#\}")
_BODY = "{#- sloop: the template itself -#}"


class Fitted(NamedTuple):
    """A template behind what puts things otherwise."""

    body: str
    """The template itself."""
    switches: dict[str, str]
    """Entries of `SWITCHES`."""

    @property
    def template(self) -> str:
        """As one text, to be kept."""
        if not self.switches:
            return self.body
        head = "{#- sloop:" + "".join(f" {key}={value}" for key, value in self.switches.items()) + " -#}"
        return head + "{%- set sloop_fit = " + repr(self.switches) + " -%}" + _prelude() + self.body

    def render(self, render: Render, sample: Sample, *, answered: bool) -> str:
        """A sample's dialogue with the answer opened, or with its label; every choice of switches is one program."""
        label = [sample.label.message()] if answered and sample.label is not None else []
        tools = [tool.to_openai() for tool in sample.tools] or None
        text, more = (_prelude() + self.body, {"sloop_fit": self.switches}) if self.switches else (self.body, {})
        return render(text, chat([*sample.messages, *label]), tools, not answered, more)


def read_fitted(template: str) -> Fitted:
    """A template as it is kept."""
    if not (head := _HEAD.match(template)):
        return Fitted(template, {})
    return Fitted(template.partition(_BODY)[2], dict(part.split("=", 1) for part in head[1].split()))


@cache
def _prelude() -> str:
    return (PACKAGED / "chat" / "fit.jinja").read_text("utf-8").rstrip("\n")


# --- one dialogue of every shape --------------------------------------------------------------------------------------


def _tool(name: str, description: str, **properties: Any) -> Tool:
    schema = {"type": "object", "properties": properties, "required": list(properties)[:1]}
    return Tool(name=name, description=description, parameters=schema)


_TEXT = {"type": "string"}
_FERRY = _tool("book_ferry", "Books a ferry.", harbour=_TEXT, seats={"type": "integer"})
_NOTE = _tool(
    "send_note", "Sends a note.", text=_TEXT, place={"type": "object", "properties": {"row": {"type": "array"}}}
)
_PING = Tool(name="ping_host", description="Pings.", parameters={"type": "object", "properties": {}})
_LONG = _tool("measure_tide", "How high the tide stands, " + "hour by hour, " * 60 + "in metres.", gauge=_TEXT)
_TOOLS = (_FERRY, _NOTE, _PING)
_CALL = ToolCall(name="book_ferry", arguments={"harbour": "Quimper", "seats": 3})
_SAID = Message(role="user", content="Zebulon asks.")
_CALLED = Message(role="assistant", tool_calls=(_CALL,))
_TOLD = Message(role="tool", content="Yarrow booked it", tool_call_id="call_0")
_TWO = (_CALL, ToolCall(name="send_note", arguments={"text": "Vireo", "place": {"row": [1, 2.5]}}))


def _sample(*messages: Message, calls: Sequence[ToolCall] = (), content: str = "", tools: Any = _TOOLS) -> Sample:
    return Sample(tools=tools, messages=messages or (_SAID,), label=Label(calls=tuple(calls), content=content))


def _note(**arguments: Any) -> list[ToolCall]:
    return [ToolCall(name="send_note", arguments=arguments)]


SHAPES: dict[str, Sample] = {
    "one call": _sample(calls=[_CALL]),
    "several calls": _sample(calls=_TWO),
    "no call": _sample(content="No tool serves."),
    "system message": _sample(Message(role="system", content="Xerxes rules."), _SAID, calls=[_CALL]),
    "tool result, then words": _sample(_SAID, _CALLED, _TOLD, content="It is booked."),
    "tool result, then a call": _sample(_SAID, _CALLED, _TOLD, calls=_note(text="done")),
    "several turns": _sample(
        _SAID, Message(role="assistant", tool_calls=_TWO[:1]), _TOLD,
        Message(role="assistant", content="Wisteria is done."), Message(role="user", content="Thank Thaddeus."),
        calls=_note(text="thanks"),
    ),
    "no tools": _sample(content="Good morning.", tools=()),
    "nested arguments": _sample(calls=_note(text="n", place={"row": [1, {"deep": [True, -2.5]}]})),
    "no arguments": _sample(calls=[ToolCall(name="ping_host", arguments={})]),
    "quotes and other letters": _sample(calls=_note(text='it\'s "süß", <b>8 > 5</b> & {x}\\ \n東京')),
    "words beside a call": _sample(calls=[_CALL], content="Booking it now."),
    "long description": _sample(calls=[ToolCall(name="measure_tide", arguments={"gauge": "Brest"})],
                                tools=(_LONG, *_TOOLS)),
}  # fmt: skip
"""Dialogues of which every message says something of its own; a tool is named where it is offered or called alone."""


# --- what a template makes of one -------------------------------------------------------------------------------------


def chat(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """Messages as chat templates want them: the OpenAI form with arguments as objects."""
    rows = [message.to_openai() for message in messages]
    for row, message in zip(rows, messages, strict=True):
        for call, given in zip(row.get("tool_calls", ()), message.tool_calls, strict=False):
            call["function"]["arguments"] = given.arguments
    return rows


def answer_after(prompt: str, whole: str) -> str | None:
    """What follows a prompt in the dialogue with its label; None: nothing could have been asked so.

    Labels hold no thought: one that the prompt opens is closed at once, one that it closes at once is in it already.
    """
    thought = opened_thought(prompt)
    closed = THOUGHTS.get(thought, "")
    if whole.startswith(prompt):
        answer = whole[len(prompt) :]
        return f"{closed}\n\n{answer}" if closed and closed not in answer else answer
    if thought and whole.startswith(before := prompt[: prompt.rindex(thought)]):
        said = whole[len(before) :].removeprefix(thought).lstrip()
        return said if said.startswith(closed) else f"{closed}\n\n{said}"
    before, ended = _without_thought(prompt.rstrip())
    if whole.startswith(before):  # but for the space between, or for a thought without words
        return whole[len(before) :].lstrip().removeprefix(ended).lstrip()
    return None


def _without_thought(prompt: str) -> tuple[str, str]:
    """A prompt without the empty thought in which it ends, and the mark that closes it."""
    for opening, closing in THOUGHTS.items():
        if prompt.endswith(closing) and (before := prompt[: -len(closing)].rstrip()).endswith(opening):
            return before.removesuffix(opening).rstrip(), closing
    return prompt, ""


def opened_thought(prompt: str) -> str:
    """The mark of the thought within which a prompt ends, or empty."""
    return next(filter(prompt.rstrip().endswith, THOUGHTS), "")


def until_end(answer: str, ends: Sequence[str]) -> str:
    """An answer up to and including the mark that ends a turn, which is added where it has none."""
    found = [(at, end) for end in ends if (at := answer.find(end)) >= 0]
    at, end = min(found, default=(len(answer), ends[0] if ends else ""))
    return answer[:at] + end


TOOL_LOST, MESSAGE_LOST = "a tool lost by the chat template", "a message lost by the chat template"
LABEL_LOST, REFUSED = "a label that is not read back", "refused by the chat template"
"""What a reason begins with, up to a colon."""


def lost(sample: Sample, prompt: str, format: str, answer: str, *, ends: Sequence[str], words: bool) -> str | None:
    """What of a sample is missing in its prompt, or in what its label becomes; None: nothing.

    Args:
        sample: the sample.
        prompt: it was rendered as.
        format: that calls are read in.
        answer: its label was rendered as, to the end of the turn.
        ends: marks that end a turn.
        words: words beside a call are learnt too.
    """
    for tool in sample.tools:
        if tool.name not in prompt:
            return f"{TOOL_LOST}: {tool.name} does not stand in the prompt"
    for number, message in enumerate(sample.messages):
        said = [] if message.tool_calls and not words else [message.content]
        for call in message.tool_calls:
            said += [call.name, *call.arguments]
        for text in said:
            if (word := max(re.findall(r"[A-Za-z0-9]+", text), key=len, default="")) not in prompt:
                return f"{MESSAGE_LOST}: message {number + 1} ({message.role}) is not in the prompt ({word!r})"
    label = sample.label
    if label is None:
        return None
    end = next(filter(answer.endswith, ends), "")
    read = parse(format, answer.removesuffix(end), thinking=bool(opened_thought(prompt)), tools=sample.tools)
    if read.error or read.calls != label.calls:
        return f"{LABEL_LOST}: its calls are written as {answer[:200]!r}"
    if (words or not label.calls) and read.content.split() != label.content.split():
        return f"{LABEL_LOST}: its words are written as {answer[:200]!r}"
    return None


class Tried(NamedTuple):
    """A sample as a template renders it."""

    prompt: str
    answer: str
    """Its label, to the mark that ends the turn."""
    why: str | None
    """Why nothing can be learnt from it; None: something may be."""


def tried(render: Render, fitted: Fitted, sample: Sample, ends: Sequence[str]) -> Tried:
    """A sample's prompt and answer with a template."""
    try:
        prompt = fitted.render(render, sample, answered=False)
        whole = fitted.render(render, sample, answered=True)
    except Exceeded as error:
        return Tried("", "", f"{REFUSED}: {str(error)[:200]}")
    if (answer := answer_after(prompt, whole)) is None:
        return Tried(prompt, whole, f"{REFUSED}: the prompt does not stand in front of the answer")
    return Tried(prompt, until_end(answer, ends), None)


def refusal_of(render: Render, fitted: Fitted, sample: Sample, format: str, ends: Sequence[str]) -> str | None:
    """Why a sample cannot be learnt from with a template; None: it can."""
    prompt, answer, why = tried(render, fitted, sample, ends)
    return why or lost(sample, prompt, format, answer, ends=ends, words="words" not in fitted.switches)


# --- what helps -------------------------------------------------------------------------------------------------------


class Fit(NamedTuple):
    """A template that was tried with every shape."""

    fitted: Fitted
    format: str | None
    """That calls are written in; None: in none that could be read."""
    refused: dict[str, str]
    """By shape that it cannot take: why."""


def fit(render: Render, template: str, ends: Sequence[str], listing: Listing | None = None) -> Fit:
    """A template with as little in front of it as makes it take the shapes, one after the other.

    Args:
        render: renders a template.
        template: as it was published, or fitted already.
        ends: marks that end a turn.
        listing: how tools are to be written, whatever the template does with them; None: as it does.
    """
    fitted = read_fitted(template)
    if listing:
        fitted = Fitted(fitted.body, {"tools": listing})
    format = _format(render, fitted, ends)
    taken: list[str] = []
    refused: dict[str, str] = {}
    for shape, sample in SHAPES.items():
        # A template that takes nothing at all is left alone
        search = _choices(fitted.switches, shape) if taken or not refused else ()
        why = refusal_of(render, fitted, sample, format or "hermes", ends)
        for more in search if why else ():
            candidate = Fitted(fitted.body, {**fitted.switches, **more})
            if not (read := _format(render, candidate, ends)):
                continue
            if not any(refusal_of(render, candidate, SHAPES[other], read, ends) for other in (shape, *taken)):
                fitted, format, why = candidate, read, None
                break
        if why:
            refused[shape] = why
        else:
            taken.append(shape)
    return Fit(fitted, format, refused)


def _choices(chosen: Mapping[str, str], shape: str) -> Iterator[dict[str, str]]:
    """One thing more, or two; tools and calls as text only where the template writes no call at all."""
    first = shape == next(iter(SHAPES))
    single = [
        {key: value}
        for key, values in SWITCHES.items()
        if key not in chosen and (first or key != "tools")
        for value in values
    ]
    pairs = combinations(single, 2) if first or "result" in shape else ()
    choices = [*single, *({**one, **other} for one, other in pairs if one.keys() != other.keys())]
    yield from sorted(choices, key=lambda more: more.get("tools") in get_args(Listing))


def _format(render: Render, fitted: Fitted, ends: Sequence[str]) -> str | None:
    """The format in which the calls of a template can be read, its marks' before others; None: in none."""
    if fitted.switches.get("tools") in get_args(Listing):
        return "hermes"
    plain = SHAPES["one call"]
    prompt, answer, why = tried(render, fitted, plain, ends)
    formats = [] if why else [for_template(fitted.body), *FORMATS]
    return next(
        (name for name in formats if name and not lost(plain, prompt, name, answer, ends=ends, words=True)), None
    )
