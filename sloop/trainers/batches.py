"""From samples to batches of token ids: what is learnt from, in which order. Pure but for the tokenizer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import count
from random import Random
from typing import NamedTuple

import torch
from transformers import PreTrainedTokenizerBase

from sloop.records import Sample, UserError, digest
from sloop.students.fitting import LABEL_LOST, MESSAGE_LOST, REFUSED, TOOL_LOST
from sloop.students.templates import INSTEAD, encode_pairs, learnt

IGNORED = -100
"""Label of a token that carries no loss (PyTorch's convention)."""
WINDOW = 8
"""Batches among which samples are sorted by length; more save padding, fewer mix better."""


class Example(NamedTuple):
    """One sample as token ids; the loss is on ``answer`` alone."""

    prompt: list[int]
    answer: list[int]

    @property
    def length(self) -> int:
        """Tokens in all."""
        return len(self.prompt) + len(self.answer)


def examples(
    tokenizer: PreTrainedTokenizerBase, data: Iterable[Sample], max_length: int
) -> tuple[list[Example], Counter[str]]:
    """The examples of a dataset, each as often as its ``copies`` say.

    Returns:
        The examples, and how many samples were left out for which reason: ``no label``, ``too long`` (more than
        ``max_length`` tokens; cutting one would cut its tools or its answer), or what the chat template does to it.
    """
    left_out: Counter[str] = Counter()
    prompts, answers, copies = [], [], []
    for sample in data:
        if sample.label is None:
            left_out["no label"] += 1
            continue
        rendered = learnt(tokenizer, sample)
        if rendered.why:
            left_out[rendered.reason] += 1
            continue
        prompts.append(rendered.prompt)
        answers.append(rendered.answer)
        copies.append(sample.copies)
    kept: list[Example] = []
    for (prompt, answer), often in zip(encode_pairs(tokenizer, prompts, answers), copies, strict=True):
        if len(prompt) + len(answer) > max_length:
            left_out["too long"] += 1
        else:
            kept.extend([Example(prompt, answer)] * often)
    return kept, left_out


ADVICE = {
    "too long": "raise trainer.max_length",
    "no label": "give samples with labels",
    **dict.fromkeys((TOOL_LOST, MESSAGE_LOST, LABEL_LOST, REFUSED), f"begin with {INSTEAD}"),
}
"""By reason for which samples are left out: what to do about it."""


def check_left_out(left_out: Mapping[str, int], total: int, most: float) -> None:
    """Pass a dataset of which enough can be trained on.

    Args:
        left_out: samples by reason.
        total: samples in all.
        most: share of them that may be left out.

    Raises:
        UserError: more are left out, or all.
    """
    lost = sum(left_out.values())
    if lost < total and lost <= most * total:
        return
    reasons = ", ".join(f"{number} {reason}" for reason, number in left_out.items())
    advice = "; ".join(dict.fromkeys(ADVICE[reason] for reason in left_out if reason in ADVICE))
    raise UserError(
        f"{lost} of {total} samples cannot be trained on ({reasons}), and trainer.max_left_out={most:g} of them may "
        f"be left out. {f'{advice[0].upper()}{advice[1:]}; or' if advice else 'Give others, or'} train on the rest: "
        "trainer.max_left_out=1"
    )


def batches(lengths: Sequence[int], *, size: int, in_tokens: bool, seed: int) -> Iterator[list[int]]:
    """Which examples make up the batch of every step, without end.

    The examples, shuffled anew for every epoch, form one endless row. It is cut into windows of `WINDOW` batches;
    within a window, batches hold examples of like length, and come in shuffled order. All of it follows from the
    arguments, so that an interrupted training needs no saved generator.

    Args:
        lengths: tokens of each example.
        size: of a batch, in examples; or in tokens, which the last example of a batch may exceed.
        in_tokens: which of the two.
        seed: of the order.
    """
    row = (index for epoch in count() for index in _epoch(len(lengths), epoch, seed))
    for number in count():
        window: list[int] = []
        left = WINDOW * size
        while left > 0:
            window.append(next(row))
            left -= lengths[window[-1]] if in_tokens else 1
        window.sort(key=lengths.__getitem__)
        cut: list[list[int]] = [[] for _ in range(WINDOW)]
        before = 0
        for index in window:
            cut[min(before // size, WINDOW - 1)].append(index)
            before += lengths[index] if in_tokens else 1
        _random(seed, "window", number).shuffle(cut)
        yield from filter(None, cut)


def micro_batches(batch: Sequence[int], lengths: Sequence[int], most: int) -> list[list[int]]:
    """A batch in parts that are computed one after another, of examples of like length.

    Args:
        batch: examples.
        lengths: tokens of each example.
        most: tokens of a part, padding included; an example that is longer alone is a part alone.
    """
    parts: list[list[int]] = []
    for index in sorted(batch, key=lengths.__getitem__):
        if parts and (len(parts[-1]) + 1) * lengths[index] <= most:
            parts[-1].append(index)
        else:
            parts.append([index])
    return parts


def _epoch(examples: int, epoch: int, seed: int) -> list[int]:
    order = list(range(examples))
    _random(seed, "epoch", epoch).shuffle(order)
    return order


def _random(seed: int, what: str, number: int) -> Random:
    return Random(int(digest([seed, what, number]), 16))


def collate(rows: Sequence[Example], pad: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids and labels, both (batch, longest), padded on the right: causal attention never looks there."""
    longest = max(row.length for row in rows)
    ids = torch.full((len(rows), longest), pad)
    labels = torch.full((len(rows), longest), IGNORED)
    for index, row in enumerate(rows):
        ids[index, : row.length] = torch.tensor(row.prompt + row.answer)
        labels[index, len(row.prompt) : row.length] = torch.tensor(row.answer)
    return ids, labels
