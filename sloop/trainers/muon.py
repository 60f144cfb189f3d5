"""Muon in single precision, all matrices of one shape at once.

`torch.optim.Muon` orthogonalises one matrix after another in bfloat16, which a CPU without bfloat16 instructions
computes ten times more slowly than float32 (measured: benchmarks/README.md). Same rule, same coefficients.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import torch

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the quintic iteration (Jordan et al., 2024, https://kellerjordan.github.io/posts/muon/)."""
ITERATIONS = 5


class Muon(torch.optim.Optimizer):
    """Momentum whose update is orthogonalised, for matrices; its size is matched to AdamW's (Liu et al., 2025)."""

    def __init__(
        self, matrices: Iterable[torch.nn.Parameter], *, lr: float, weight_decay: float, momentum: float
    ) -> None:
        """Take the matrices to train.

        Args:
            matrices: parameters of two dimensions.
            lr: learning rate, of the same meaning as AdamW's.
            weight_decay: decoupled, per unit of learning rate.
            momentum: of the Nesterov average of gradients.
        """
        super().__init__(matrices, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """Update every matrix that has a gradient; ``closure`` is not used."""
        for group in self.param_groups:
            shaped: dict[tuple[int, ...], list[tuple[torch.Tensor, torch.Tensor]]] = defaultdict(list)
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                state = self.state[weight]
                if not state:
                    state["average"] = torch.zeros_like(weight)
                state["average"].lerp_(weight.grad, 1 - group["momentum"])
                update = weight.grad.lerp(state["average"], group["momentum"])
                wide = update if update.shape[0] <= update.shape[1] else update.T
                shaped[tuple(wide.shape)].append((weight, wide))
            for shape, pairs in shaped.items():
                turned = orthogonalise(torch.stack([update for _, update in pairs]))
                size = group["lr"] * 0.2 * max(shape) ** 0.5
                for (weight, _), update in zip(pairs, turned, strict=True):
                    weight.mul_(1 - group["lr"] * group["weight_decay"])
                    weight.add_(update if weight.shape == update.shape else update.T, alpha=-size)


def orthogonalise(matrices: torch.Tensor) -> torch.Tensor:
    """Drive all singular values towards 1 by a Newton-Schulz iteration.

    Args:
        matrices: (count, rows, columns) with rows <= columns.
    """
    a, b, c = COEFFICIENTS
    x: torch.Tensor = matrices / matrices.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    for _ in range(ITERATIONS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x
