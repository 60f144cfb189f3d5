"""The loss on an answer, by the model's own forward and head."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from sloop.trainers.batches import IGNORED


def answer_loss(model: Any, ids: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Summed cross-entropy, in nats, of the labelled tokens; auxiliary losses of experts' routers are no part of it.

    Scaled or capped logits and norms before the head are the model's own. Only the positions that carry loss reach the
    head, as the logits of a whole prompt would be most of the memory; a model that does not call its head as a module
    makes them all.

    Args:
        model: a causal language model.
        ids: (batch, length), padded on the right.
        labels: (batch, length), `IGNORED` where there is no loss.
    """
    carries = F.pad(labels[:, 1:] != IGNORED, (0, 1))

    def chosen(_: torch.nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...] | None:
        is_whole = given and isinstance(given[0], torch.Tensor) and given[0].shape[:2] == ids.shape
        return (given[0][carries][None], *given[1:]) if is_whole else None

    head = model.get_output_embeddings()
    hook = head.register_forward_pre_hook(chosen) if isinstance(head, torch.nn.Module) else None
    try:
        logits = model(input_ids=ids, use_cache=False).logits
    finally:
        if hook:
            hook.remove()
    if logits.shape[:2] == ids.shape:
        logits = logits[carries]
    return F.cross_entropy(logits.flatten(0, -2).float(), labels[:, 1:][carries[:, :-1]], reduction="sum")
