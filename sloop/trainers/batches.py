"""From samples to batches of token ids: what is learnt from, in which order. Pure but for the tokenizer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache
from random import Random
from typing import NamedTuple

import torch
from transformers import PreTrainedTokenizerBase

from sloop.records import Sample, digest
from sloop.students.templates import encode_pairs, learnt

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
    for (prompt, answer), count in zip(encode_pairs(tokenizer, prompts, answers), copies, strict=True):
        if len(prompt) + len(answer) > max_length:
            left_out["too long"] += 1
        else:
            kept.extend([Example(prompt, answer)] * count)
    return kept, left_out


def batch_indices(lengths: Sequence[int], *, step: int, batch_size: int, seed: int) -> list[int]:
    """Which examples make up the batch of one step.

    The examples, shuffled anew for every epoch, form one endless row. It is cut into windows of `WINDOW` batches;
    within a window, batches hold examples of like length, and come in shuffled order. All of it follows from the
    arguments, so that an interrupted training needs no saved generator.

    Args:
        lengths: tokens of each example.
        step: counted from 0.
        batch_size: examples per batch; every batch is full.
        seed: of the order.
    """
    window, place = divmod(step, WINDOW)
    return list(_window(tuple(lengths), window, batch_size, seed)[place])


@lru_cache(maxsize=4)
def _window(lengths: tuple[int, ...], window: int, batch_size: int, seed: int) -> list[list[int]]:
    size = WINDOW * batch_size
    row = [
        _epoch(len(lengths), position // len(lengths), seed)[position % len(lengths)]
        for position in range(window * size, (window + 1) * size)
    ]
    row.sort(key=lambda index: lengths[index])
    batches = [row[start : start + batch_size] for start in range(0, size, batch_size)]
    _random(seed, "window", window).shuffle(batches)
    return batches


@lru_cache(maxsize=8)
def _epoch(count: int, epoch: int, seed: int) -> list[int]:
    order = list(range(count))
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
