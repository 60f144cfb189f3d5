"""Prompts are read before anything is written: a beginning that several share once, and no padding masked.

Padding stands on the right of what is read together, where causal attention never looks, so that nothing is masked and
attention takes its fastest path; what follows a shared beginning is masked as by any cache.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import takewhile
from typing import Any, NamedTuple

import torch
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer

FEWEST_SHARED = 32
"""Tokens of a beginning that is read apart: a pass of fewer takes about as long (weights are read from memory)."""
ROOM = 64
"""Tokens by which a full cache grows: each time it is copied."""

Past = list[tuple[torch.Tensor, torch.Tensor]]
"""Keys and values of every layer, (prompts, heads, tokens, size) each."""


class Read(NamedTuple):
    """What is known of prompts once they were read."""

    logits: torch.Tensor
    """(prompts, vocabulary) of the token after each."""
    cache: DynamicCache
    """Of all of them, each from the first place on; what is behind a shorter one is masked."""
    mask: torch.Tensor
    """(prompts, longest): 1 where there is a token of the prompt."""


class Roomy(DynamicLayer):  # type: ignore[no-untyped-call]
    """Keys and values of one layer for many prompts, with room behind them: a token more copies nothing."""

    def __init__(self, like: torch.Tensor, values_like: torch.Tensor, prompts: int, longest: int) -> None:
        """Make room for prompts of up to ``longest`` tokens, of the heads and sizes that these have."""
        super().__init__()  # type: ignore[no-untyped-call]
        self.lazy_initialization(like, values_like)
        self._keys, self._values = (
            x.new_zeros(prompts, x.shape[1], longest + ROOM, x.shape[3]) for x in (like, values_like)
        )
        self._show(longest)

    def _show(self, length: int) -> None:
        self.keys, self.values = self._keys[:, :, :length], self._values[:, :, :length]

    def put(self, row: int, keys: torch.Tensor, values: torch.Tensor) -> None:
        """Keep (heads, tokens, size) of one prompt."""
        self._keys[row, :, : keys.shape[1]] = keys
        self._values[row, :, : values.shape[1]] = values

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: object, **kwargs: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Take further tokens of every prompt."""
        start = self.get_seq_length()
        end = start + key_states.shape[-2]
        if end > self._keys.shape[-2]:
            more = (0, 0, 0, end - start + ROOM)
            self._keys, self._values = (torch.nn.functional.pad(x, more) for x in (self._keys, self._values))
        self._keys[:, :, start:end] = key_states
        self._values[:, :, start:end] = value_states
        self._show(end)
        return self._keys[:, :, :end], self._values[:, :, :end]

    def reorder_cache(self, beam_idx: torch.Tensor) -> None:
        """Keep these prompts, in this order."""
        length = self.get_seq_length()
        self._keys, self._values = (x.index_select(0, beam_idx) for x in (self._keys, self._values))
        self._show(length)


def can_read(model: PreTrainedModel) -> bool:
    """Whether every layer keeps all keys and values of all tokens, and nothing else that padding would change."""
    layers = DynamicCache(config=model.config).layers
    return bool(layers) and all(type(layer) is DynamicLayer for layer in layers)


def read(model: PreTrainedModel, prompts: Sequence[list[int]], tokens: int) -> Read:
    """Read prompts.

    Args:
        model: see `can_read`.
        prompts: token ids, one at least of each.
        tokens: most that are read at once, but for a longer prompt, which is read alone.
    """
    longest = max(map(len, prompts))
    layers: list[Roomy] = []
    logits = torch.empty(0)
    for rows, found, last in _passes(model, prompts, tokens):
        if not layers:
            layers = [Roomy(keys, values, len(prompts), longest) for keys, values in found]
            logits = last.new_empty(len(prompts), last.shape[-1])
        for place, row in enumerate(rows):
            logits[row] = last[place]
            for kept, (keys, values) in zip(layers, found, strict=True):
                length = len(prompts[row])
                kept.put(row, keys[place, :, :length], values[place, :, :length])
    cache = DynamicCache()
    cache.layers = list(layers)
    mask = torch.tensor([[1] * len(p) + [0] * (longest - len(p)) for p in prompts], device=model.device)
    return Read(logits, cache, mask)


def _passes(
    model: PreTrainedModel, prompts: Sequence[list[int]], tokens: int
) -> Iterator[tuple[list[int], Past, torch.Tensor]]:
    """Prompts that were read together, with what is kept of them and the logits of what follows each."""
    # (prompts in order, tokens of each that were read, their cache)
    waiting: list[tuple[list[int], int, Past]] = [(sorted(range(len(prompts)), key=prompts.__getitem__), 0, [])]
    while waiting:
        rows, start, past = waiting.pop()
        alone = []
        for group in _groups(prompts, rows, start):
            if len(group) == 1:
                alone += group
            else:
                shared = _shared(prompts[group[0]], prompts[group[-1]])
                found, _ = _run(model, [prompts[group[0]][start:shared]], past)
                waiting.append((group, shared, found))
        for batch in _batches(alone, [len(prompts[row]) - start for row in alone], tokens):
            yield batch, *_run(model, [prompts[row][start:] for row in batch], past)


def _run(model: PreTrainedModel, texts: list[list[int]], past: Past) -> tuple[Past, torch.Tensor]:
    """Read on from what all of them share; keys and values of it all, and the logits (texts, vocabulary) after each."""
    longest = max(map(len, texts))
    ids = torch.tensor([text + [0] * (longest - len(text)) for text in texts], device=model.device)
    cache: Any = DynamicCache(config=model.config)
    for layer, pair in zip(cache.layers, past, strict=bool(past)):
        layer.update(*(part.expand(len(texts), -1, -1, -1) for part in pair))
    ends = sorted({len(text) - 1 for text in texts})
    keep = torch.tensor(ends, device=model.device)
    logits = model(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=keep).logits
    found = [(layer.keys, layer.values) for layer in cache.layers]
    return found, torch.stack([logits[row, ends.index(len(text) - 1)] for row, text in enumerate(texts)])


def _groups(prompts: Sequence[list[int]], rows: Sequence[int], start: int) -> Iterator[list[int]]:
    """Prompts in order, cut where a neighbour shares no further beginning that is worth a pass of its own."""
    group = [rows[0]]
    for row in rows[1:]:
        if _shared(prompts[group[-1]], prompts[row]) < start + FEWEST_SHARED:
            yield group
            group = []
        group.append(row)
    yield group


def _shared(first: list[int], second: list[int]) -> int:
    """Tokens that two prompts begin with alike; the last of each is always left to be read."""
    pairs = zip(first[:-1], second[:-1], strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def _batches(rows: Sequence[int], lengths: Sequence[int], tokens: int) -> Iterator[list[int]]:
    """Rows in order of length, in batches of at most so many tokens, padding included."""
    batch: list[int] = []
    for length, row in sorted(zip(lengths, rows, strict=True)):
        if batch and (len(batch) + 1) * length > tokens:
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch
