"""Next tokens, again and again: batched decoding, greedy or drawn, with log-probabilities."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from transformers import DynamicCache, PreTrainedModel

from sloop.records import digest
from sloop.students.prefill import can_read, read

Watch = Callable[[int, int, float], bool]
"""Told (index of the prompt, token, its log-probability) as tokens are written; True: this answer needs no more."""


class Written(NamedTuple):
    """What follows a prompt."""

    tokens: list[int]
    """With the one that ended it."""
    logprobs: list[float]
    """Natural-log probability of each token."""
    ended: bool
    """Whether it ended of itself."""


class Draws:
    """Next tokens drawn at a temperature: every prompt has draws of its own, whatever else is in its batch.

    The largest of the log-probabilities with Gumbel noise on them is a draw from the distribution (the Gumbel-max
    trick); unlike inverting the cumulative one, it lets the last bits of a logit change next to nothing.
    """

    def __init__(self, prompts: Sequence[tuple[float, int]]) -> None:
        """Take the temperature and the seed of each prompt; at temperature 0 its likeliest tokens are taken."""
        self._temperatures = [temperature for temperature, _ in prompts]
        self._generators = [torch.Generator().manual_seed(seed) for _, seed in prompts]

    def pick(self, logs: torch.Tensor, rows: Sequence[int]) -> torch.Tensor:
        """The next token of some prompts.

        Args:
            logs: (prompts, vocabulary) natural-log probabilities.
            rows: which prompts these are.

        Returns:
            (prompts,) token ids.
        """
        tokens, size = logs.argmax(-1), logs.shape[-1]
        places = [place for place, row in enumerate(rows) if self._temperatures[row]]
        if places:
            drawn = [rows[place] for place in places]
            # In double precision: 24 random bits never draw a token of a chance below 6e-8
            noise = torch.stack(
                [torch.rand(size, generator=self._generators[row], dtype=torch.float64) for row in drawn]
            )
            heat = torch.tensor([self._temperatures[row] for row in drawn], dtype=torch.float64)[:, None]
            chances = logs[places].cpu().double()
            chances -= chances.max(-1, keepdim=True).values  # so that no temperature is too low to divide by
            best = (chances / heat - noise.log().neg().log()).argmax(-1)
            tokens[places] = best.to(tokens.device)
        return tokens


def draw_seed(parts: Any) -> int:
    """The seed that belongs to what is drawn: plain data."""
    return int(digest(parts)[:8], 16)


@torch.inference_mode()
def generate(
    model: PreTrainedModel,
    prompts: Sequence[list[int]],
    max_tokens: Sequence[int],
    stops: frozenset[int],
    watch: Watch | None = None,
    draws: Draws | None = None,
    prefill_tokens: int | None = None,
) -> list[Written]:
    """The likeliest next token again and again, or a drawn one, for all prompts at once.

    Written out rather than left to ``generate``: log-probabilities come without keeping the logits of every step
    (batch x tokens x vocabulary), and rows that have ended leave the batch.

    Args:
        model: who writes.
        prompts: token ids.
        max_tokens: longest answer to each prompt, at least 1.
        stops: tokens that end an answer.
        watch: see `Watch`.
        draws: choose the tokens; None: the likeliest ones.
        prefill_tokens: most tokens of prompts that are read at once (see `sloop.students.prefill`), where the model can
            be read so; None: all prompts at once, padded on the left.

    Returns:
        What follows each prompt, in their order.
    """
    tokens: list[list[int]] = [[] for _ in prompts]
    logprobs: list[list[float]] = [[] for _ in prompts]
    ended = [False] * len(prompts)
    over = [False] * len(prompts)
    if not prompts:
        return []
    if prefill_tokens is not None and can_read(model):
        logits, cache, mask = read(model, prompts, prefill_tokens)
        positions = mask.sum(-1, keepdim=True) - 1
    else:
        longest = max(len(prompt) for prompt in prompts)
        pad = next(iter(stops))
        ids = torch.tensor([[pad] * (longest - len(prompt)) + prompt for prompt in prompts], device=model.device)
        mask = torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in prompts], device=model.device)
        positions = (mask.cumsum(-1) - 1).clamp(min=0)
        cache = DynamicCache(config=model.config)
        logits = _next(model, ids, mask, positions, cache)
    rows = list(range(len(prompts)))
    while True:
        logs = logits.float().log_softmax(-1)
        token = logs.argmax(-1) if draws is None else draws.pick(logs, rows)
        chosen = logs.gather(-1, token[:, None])[:, 0]
        for row, index, logprob in zip(rows, token.tolist(), chosen.tolist(), strict=True):
            if not over[row]:
                tokens[row].append(index)
                logprobs[row].append(logprob)
                ended[row] = index in stops
                enough = watch is not None and watch(row, index, logprob)
                over[row] = ended[row] or enough or len(tokens[row]) >= max_tokens[row]
        writing = [place for place, row in enumerate(rows) if not over[row]]
        if not writing:
            break
        ids, positions = token[:, None], positions[:, -1:] + 1
        mask = torch.cat([mask, mask.new_ones(len(rows), 1)], dim=-1)
        if len(writing) <= len(rows) * KEEP_SHARE:
            kept = torch.tensor(writing, device=model.device, dtype=torch.long)
            ids, positions, mask = ids[kept], positions[kept], mask[kept]
            cache.reorder_cache(kept)  # type: ignore[arg-type]
            rows = [rows[place] for place in writing]
        logits = _next(model, ids, mask, positions, cache)
    return [Written(*row) for row in zip(tokens, logprobs, ended, strict=True)]


def _next(
    model: PreTrainedModel, ids: torch.Tensor, mask: torch.Tensor, positions: torch.Tensor, cache: DynamicCache
) -> torch.Tensor:
    """The logits (rows, vocabulary) of what follows the tokens (rows, tokens)."""
    given = {"input_ids": ids, "attention_mask": mask, "position_ids": positions, "past_key_values": cache}
    logits: torch.Tensor = model(**given, use_cache=True, logits_to_keep=1).logits[:, -1]
    return logits


KEEP_SHARE = 0.75
"""Ended rows leave the batch once no more than this share is still writing: each leaving copies the cache."""
