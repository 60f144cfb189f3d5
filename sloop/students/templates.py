"""What a student reads and is trained to write: dialogues rendered by the chat template of its checkpoint."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Sequence
from typing import Any, NamedTuple, get_args

from transformers import PreTrainedTokenizerBase

from sloop.calls.formats import for_template
from sloop.calls.formats.thoughts import THOUGHTS
from sloop.models.bounded import Bounded, Exceeded
from sloop.records import Message, Sample, Tool, ToolCall, UserError
from sloop.students.tiny import Listing, chat_template


def template_format(tokenizer: PreTrainedTokenizerBase) -> str | None:
    """The answer format that a tokenizer's chat template shows, the one for tools first; None: none is known."""
    given: Any = tokenizer.chat_template
    templates = {"": given or ""} if not isinstance(given, dict) else given
    in_order = sorted(templates, key=lambda name: name != "tool_use")
    return next(filter(None, (for_template(templates[name]) for name in in_order)), None)


class Shape(NamedTuple):
    """How a chat template wants calls."""

    as_text: bool = False
    """Arguments as JSON text, and no objects."""
    id: str = ""
    """What a call is named, with places for its tool and its number in the dialogue; empty: nothing."""


SHAPES = tuple(
    Shape(as_text, id) for id in ("", "call{number:05}", "functions.{tool}:{number}") for as_text in (False, True)
)
"""In the order in which they are tried: Mistral's templates refuse any name but of nine letters, and Kimi's show it."""


def chat(messages: Sequence[Message], shape: Shape = SHAPES[0]) -> list[dict[str, Any]]:
    """Messages as chat templates want them: the OpenAI form, in one of `SHAPES`."""
    rows: list[dict[str, Any]] = []
    ids: dict[str, str] = {}
    for message in messages:
        row = message.to_openai()
        for call, given in zip(row.get("tool_calls", ()), message.tool_calls, strict=False):
            if not shape.as_text:
                call["function"]["arguments"] = given.arguments
            if shape.id:
                call["id"] = ids[f"call_{len(ids)}"] = shape.id.format(tool=given.name, number=len(ids))
        if message.tool_call_id is not None:
            row["tool_call_id"] = ids.get(message.tool_call_id, message.tool_call_id)
        rows.append(row)
    return rows


def render_prompt(tokenizer: PreTrainedTokenizerBase, sample: Sample) -> str:
    """The text that a student reads before it answers ``sample``."""
    return _render(tokenizer, sample, sample.messages, add_generation_prompt=True)


def render_answer(tokenizer: PreTrainedTokenizerBase, sample: Sample, prompt: str) -> str:
    """The text that says the sample's label after ``prompt``, up to and including the end token.

    A thought that the prompt opens is closed at once: labels hold none.

    Raises:
        UserError: the chat template renders the dialogue with the answer otherwise than the one before it.
    """
    assert sample.label is not None
    whole = _render(tokenizer, sample, (*sample.messages, sample.label.message()), add_generation_prompt=False)
    if not whole.startswith(prompt) and (thought := opened_thought(prompt)):
        before = prompt[: prompt.rindex(thought)]
        if whole.startswith(before):
            answer = whole[len(before) :]
            said = answer.removeprefix(thought).lstrip()
            closed = THOUGHTS[thought]
            whole = prompt + (said if said.startswith(closed) else f"{closed}\n\n{said}")
    if not whole.startswith(prompt):
        raise UserError(
            f"the chat template of {tokenizer.name_or_path} does not keep the prompt in front of the answer, so that "
            "the loss cannot be laid on the answer alone. Use a checkpoint whose template does."
        )
    answer, end = whole[len(prompt) :], str(tokenizer.eos_token)
    return answer[: answer.rindex(end)] + end if end in answer else answer + end


def opened_thought(prompt: str) -> str:
    """The mark of the thought within which a prompt ends, or empty."""
    return next(filter(prompt.rstrip().endswith, THOUGHTS), "")


def encode(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> list[list[int]]:
    """Token ids of each text as it stands."""
    rows: list[list[int]] = tokenizer(list(texts), add_special_tokens=False)["input_ids"] if texts else []
    return rows


def _render(
    tokenizer: PreTrainedTokenizerBase, sample: Sample, messages: Sequence[Message], *, add_generation_prompt: bool
) -> str:
    given = [tool.to_openai() for tool in sample.tools] or None, add_generation_prompt
    if tokenizer.chat_template in OWN_TEMPLATES:
        return _rendered(tokenizer, chat(messages), *given)
    if (render := _RENDERERS.get(tokenizer)) is None:
        held: Any = weakref.proxy(tokenizer)  # else the process would keep alive what it is forgotten with
        render = _RENDERERS[tokenizer] = Bounded(functools.partial(_rendered, held), seconds=TEMPLATE_SECONDS)
    shape: Shape | None = SHAPES[0]
    if any(message.tool_calls for message in messages):
        if tokenizer not in _SHAPES:
            _SHAPES[tokenizer] = _shape(render)
        shape = _SHAPES[tokenizer]
    if shape is None:
        raise Unrendered(
            f"the chat template of {tokenizer.name_or_path} does not write the calls of a dialogue, or refuses them. "
            "Use a checkpoint whose template takes tools, or give it one (chat_template.jinja)."
        )
    try:
        return render(chat(messages, shape), *given)
    except Exceeded as error:
        raise Unrendered(f"the chat template of {tokenizer.name_or_path} fails on a dialogue: {error}") from error


def _shape(render: Bounded) -> Shape | None:
    """How a template wants calls: of another shape it makes an error, Python's form of an object, or nothing at all."""
    probe = ToolCall(name="get_probe", arguments={"key_probe": "value_probe"})
    asked = (Message(role="user", content="?"), Message(role="assistant", tool_calls=(probe,)))
    for shape in SHAPES:
        try:
            text = render(chat(asked, shape), [Tool(name="other", parameters={"type": "object"}).to_openai()], False)
        except Exceeded:
            continue
        if all(part in text for part in ("get_probe", "key_probe", "value_probe")) and "{'key_probe'" not in text:
            return shape
    return None


class Unrendered(UserError):
    """A dialogue that a checkpoint's chat template refuses, or takes too long over."""


OWN_TEMPLATES = frozenset(chat_template(listing) for listing in get_args(Listing))
"""Templates that are known to end."""
TEMPLATE_SECONDS = 10.0
"""For one dialogue; templates take milliseconds."""
_RENDERERS: weakref.WeakKeyDictionary[PreTrainedTokenizerBase, Bounded] = weakref.WeakKeyDictionary()
"""A process for each of the other templates."""
_SHAPES: weakref.WeakKeyDictionary[PreTrainedTokenizerBase, Shape | None] = weakref.WeakKeyDictionary()
"""How each of them wants calls, once it was given some; None: in none of the shapes."""


def _rendered(tokenizer: Any, messages: Any, tools: Any, add_generation_prompt: bool) -> str:
    text = tokenizer.apply_chat_template(
        messages, tools=tools, add_generation_prompt=add_generation_prompt, tokenize=False
    )
    return str(text)
