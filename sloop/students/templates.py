"""What a student reads and is trained to write: dialogues rendered by the chat template of its checkpoint."""

from __future__ import annotations

import functools
import json
import weakref
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, get_args

from transformers import PreTrainedTokenizerBase

from sloop.calls.formats import for_template
from sloop.models.bounded import Bounded, Exceeded
from sloop.records import Sample, UserError
from sloop.records.ranges import shown
from sloop.students.fitting import (
    REFUSED,
    SHAPES,
    TOOL_LOST,
    Fit,
    Listing,
    answer_after,
    chat,
    fit,
    lost,
    opened_thought,
    read_fitted,
    until_end,
)
from sloop.students.tiny import ANSWER_FORMAT, chat_template
from sloop.students.tiny import Listing as OwnListing

__all__ = ["opened_thought"]

ENDS = (
    "<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<|eot|>", "<|eom|>", "<end_of_turn>", "<turn|>", "<|end_of_turn|>",
    "<|END_OF_TURN_TOKEN|>", "<|return|>", "<|call|>",
)  # fmt: skip
"""Special tokens that end a turn wherever they are known, whatever a configuration says (ggml-org/llama.cpp
src/llama-vocab.cpp): those of base models and of fine-tuned ones often name the end of a text alone."""
INSTEAD = "student.chat_template=hermes (or compact), which writes tools and calls as text"


def end_marks(tokenizer: PreTrainedTokenizerBase) -> dict[str, int]:
    """The tokens that end a turn, by text: the tokenizer's own first, then those of `ENDS` that it holds as special."""
    special = {token.content: index for index, token in tokenizer.added_tokens_decoder.items() if token.special}
    # Harmony ends a message, and not a turn, with what ends a turn of Phi
    known = ENDS if "<|return|>" in special else (*ENDS, "<|end|>")
    own: Any = tokenizer.eos_token_id
    found = {} if own is None else {str(tokenizer.eos_token): int(own)}
    return found | {text: special[text] for text in known if text in special}


# --- which template ---------------------------------------------------------------------------------------------------


def single_template(tokenizer: PreTrainedTokenizerBase) -> str | None:
    """A tokenizer's chat template, of several the one for tools; None: it has none."""
    given: Any = tokenizer.chat_template
    if not isinstance(given, dict):
        return given or None
    return str(given[min(given, key=lambda name: (name != "tool_use", name != "default", name))]) if given else None


def fitted(tokenizer: PreTrainedTokenizerBase, template: str, listing: Listing | None = None) -> Fit:
    """A template as a tokenizer's dialogues can be rendered with it; see `fit`."""
    if template in OWN_TEMPLATES and listing is None:
        return Fit(read_fitted(template), ANSWER_FORMAT, {})
    ends = tuple(end_marks(tokenizer))
    key = (template, listing, ends, json.dumps(tokenizer.special_tokens_map, default=str))
    if key not in _FITS:
        try:
            _FITS[key] = fit(_renderer(tokenizer), template, ends, listing)
        except Unrendered as error:  # it takes too long, and is not asked again
            _FITS[key] = Fit(read_fitted(template), for_template(template), dict.fromkeys(SHAPES, str(error)))
    return _FITS[key]


def fit_tokenizer(tokenizer: PreTrainedTokenizerBase) -> None:
    """Give a tokenizer its chat template as it takes most shapes of dialogues."""
    if (template := single_template(tokenizer)) is not None:
        tokenizer.chat_template = fitted(tokenizer, template).fitted.template


def template_format(tokenizer: PreTrainedTokenizerBase) -> str | None:
    """The answer format in which a tokenizer's chat template writes calls; None: none is known."""
    template = single_template(tokenizer)
    return None if template is None else fitted(tokenizer, template).format or for_template(template)


# --- what a sample becomes --------------------------------------------------------------------------------------------


def render_prompt(tokenizer: PreTrainedTokenizerBase, sample: Sample) -> str:
    """The text that a student reads before it answers ``sample``.

    Raises:
        UserError: the chat template refuses the dialogue, or loses a tool.
    """
    text = _render(tokenizer, sample, answered=False)
    for tool in sample.tools:
        if tool.name not in text and json.dumps(tool.name)[1:-1] not in text:
            raise Unrendered(
                f"the chat template of {tokenizer.name_or_path} loses the tool {tool.name} of the sample that asks "
                f"{shown(sample.request)}. Use {INSTEAD}.",
                TOOL_LOST,
            )
    return text


def render_answer(tokenizer: PreTrainedTokenizerBase, sample: Sample, prompt: str) -> str:
    """The text that says the sample's label after ``prompt``, up to and including the token that ends the turn.

    Raises:
        UserError: the chat template renders the dialogue with the answer otherwise than the one before it.
    """
    assert sample.label is not None
    answer = answer_after(prompt, _render(tokenizer, sample, answered=True))
    if answer is None:
        raise Unrendered(
            f"the chat template of {tokenizer.name_or_path} does not keep the prompt in front of the answer, so that "
            f"the loss cannot be laid on the answer alone. Use {INSTEAD}, or another checkpoint.",
            REFUSED,
        )
    return until_end(answer, tuple(end_marks(tokenizer)))


class Learnt(NamedTuple):
    """A sample as it is trained on."""

    prompt: str
    answer: str
    why: str | None
    """Why it is not: what kind of reason, and behind a colon what it is of this sample; None: it is."""

    @property
    def reason(self) -> str:
        """The kind of reason, to be counted by."""
        return (self.why or "").partition(":")[0]


def learnt(tokenizer: PreTrainedTokenizerBase, sample: Sample, format: str | None = None) -> Learnt:
    """A labelled sample's prompt and answer; or what of it the chat template refuses, loses, or writes unreadably.

    Args:
        tokenizer: with the template.
        sample: with a label.
        format: that answers are read in; None: the template's.
    """
    try:
        prompt = render_prompt(tokenizer, sample)
        answer = render_answer(tokenizer, sample, prompt)
    except Unrendered as error:
        return Learnt("", "", f"{error.kind}: {error}")
    words = "words" not in read_fitted(single_template(tokenizer) or "").switches
    read = format or template_format(tokenizer) or ANSWER_FORMAT
    return Learnt(prompt, answer, lost(sample, prompt, read, answer, ends=tuple(end_marks(tokenizer)), words=words))


def check(tokenizer: PreTrainedTokenizerBase, samples: Iterable[Sample], format: str | None = None) -> None:
    """Pass a chat template with which most of some samples can be asked and learnt, as a server would be sent them.

    Raises:
        UserError: it refuses or loses more than half of them, or makes other tokens of them; names template and sample.
    """
    found = [(sample, learnt(tokenizer, sample, format)) for sample in samples if sample.label is not None]
    wrong = [(sample, one.why) for sample, one in found if one.why]
    if len(wrong) * 2 > len(found):
        sample, why = wrong[0]
        raise UserError(
            f"the chat template of {tokenizer.name_or_path} fails on {len(wrong)} of {len(found)} samples, the first "
            f"of them {shown(sample.request)}: {why}. Use {INSTEAD}, or student.chat_template=FILE."
        )
    for sample, one in found:
        if not one.why:
            check_parity(tokenizer, sample, encode_pairs(tokenizer, [one.prompt], [one.answer])[0])


def check_parity(tokenizer: PreTrainedTokenizerBase, sample: Sample, tokens: tuple[list[int], list[int]]) -> None:
    """Pass tokens to train on that a server would be sent for the sample, and that say its answer.

    Raises:
        UserError: they are others; shows the first.
    """
    tools: Any = [tool.to_openai() for tool in sample.tools] or None
    sent: Any = tokenizer.apply_chat_template(
        chat(sample.messages), tools=tools, add_generation_prompt=True, tokenize=True, return_dict=False
    )
    trained = tokens[0]
    if trained != sent:
        at = next(
            (n for n, (a, b) in enumerate(zip(trained, sent, strict=False)) if a != b), min(len(trained), len(sent))
        )
        ours, theirs = (tokenizer.decode(row[at : at + 1]) for row in (trained, sent))
        raise UserError(
            f"the chat template of {tokenizer.name_or_path}: {shown(sample.request)} would be trained on with other "
            f"tokens than a server is sent, from token {at + 1} on ({ours!r}, sent: {theirs!r})."
        )
    if len(trained) > 1 and trained[0] == trained[1] == tokenizer.bos_token_id:
        raise UserError(
            f"the chat template of {tokenizer.name_or_path} begins a dialogue twice ({tokenizer.bos_token!r}). Take "
            "one of them out of the template: student.chat_template=FILE."
        )


# --- tokens -----------------------------------------------------------------------------------------------------------


def encode(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> list[list[int]]:
    """Token ids of each text as it stands."""
    rows: list[list[int]] = tokenizer(list(texts), add_special_tokens=False)["input_ids"] if texts else []
    return rows


def encode_pairs(
    tokenizer: PreTrainedTokenizerBase, prompts: Sequence[str], answers: Sequence[str]
) -> list[tuple[list[int], list[int]]]:
    """Token ids of each prompt, as a server is sent them, and of each answer, as it is written behind it.

    An answer alone is other tokens than behind a prompt where a tokenizer begins every text with a space of its own
    (SentencePiece). Where a token reaches over the border, none that was asked with could be: the answer is then cut
    as it is behind the token that ends a turn.
    """
    pairs = []
    wholes = encode(tokenizer, [prompt + answer for prompt, answer in zip(prompts, answers, strict=True)])
    for asked, whole, answer in zip(encode(tokenizer, prompts), wholes, answers, strict=True):
        if whole[: len(asked)] == asked:
            pairs.append((asked, whole[len(asked) :]))
            continue
        mark = next(iter(end_marks(tokenizer)), "")
        alone, behind = encode(tokenizer, [mark, mark + answer])
        pairs.append((asked, behind[len(alone) :]))
    return pairs


# --- rendering within limits ------------------------------------------------------------------------------------------


class Unrendered(UserError):
    """A dialogue that a checkpoint's chat template refuses or loses, or takes too long over."""

    def __init__(self, message: str, kind: str = REFUSED) -> None:
        """Take what is wrong, and what kind of reason it is."""
        super().__init__(message)
        self.kind = kind


OWN_TEMPLATES = frozenset(chat_template(listing) for listing in get_args(OwnListing))
"""Templates that are known to end."""
TEMPLATE_SECONDS = 10.0
"""For one dialogue; templates take milliseconds."""
_LIMITS = "it takes", "its process", "it writes", "it nests"
"""What `Exceeded` says of a template that is at fault whatever the dialogue."""
_RENDERERS: weakref.WeakKeyDictionary[PreTrainedTokenizerBase, Bounded] = weakref.WeakKeyDictionary()
"""A process for each tokenizer with a template of a stranger."""
_FITS: dict[tuple[Any, ...], Fit] = {}
"""What was found out about templates, by all that it depends on."""


def _bounded(tokenizer: PreTrainedTokenizerBase) -> Bounded:
    if (render := _RENDERERS.get(tokenizer)) is None:
        held: Any = weakref.proxy(tokenizer)  # else the process would keep alive what it is forgotten with
        render = _RENDERERS[tokenizer] = Bounded(functools.partial(_rendered, held), seconds=TEMPLATE_SECONDS)
    return render


def _renderer(tokenizer: PreTrainedTokenizerBase) -> Any:
    """What `fit` renders with; a limit ends the search."""
    bounded = _bounded(tokenizer)

    def render(*given: Any) -> str:
        try:
            return bounded(*given)
        except Exceeded as error:
            if str(error).startswith(_LIMITS):
                raise Unrendered(str(error)) from error
            raise

    return render


def _render(tokenizer: PreTrainedTokenizerBase, sample: Sample, *, answered: bool) -> str:
    template = single_template(tokenizer)
    if template is None:
        raise Unrendered(f"{tokenizer.name_or_path} has no chat template. Give it one: student.chat_template=hermes")
    messages = [*sample.messages, *([sample.label.message()] if answered and sample.label is not None else [])]
    given: tuple[Any, ...] = (
        template,
        chat(messages),
        [tool.to_openai() for tool in sample.tools] or None,
        not answered,
        {},
    )
    if template in OWN_TEMPLATES:
        return _rendered(tokenizer, *given)
    try:
        return _bounded(tokenizer)(*given)
    except Exceeded as error:
        raise Unrendered(
            f"the chat template of {tokenizer.name_or_path} fails on a dialogue: {error}. Where it takes others, use "
            f"{INSTEAD}."
        ) from error


def _rendered(
    tokenizer: Any, template: str, messages: Any, tools: Any, add_generation_prompt: bool, more: dict[str, Any]
) -> str:
    text = tokenizer.apply_chat_template(
        messages,
        tools=tools,
        chat_template=template,
        add_generation_prompt=add_generation_prompt,
        tokenize=False,
        **more,
    )
    return str(text)
