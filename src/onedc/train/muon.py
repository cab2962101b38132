"""AdamW whose matrices move by Muon: the momentum's nearest orthogonal matrix, at AdamW's usual size of step.

Convolutions are matrices of one row for each output channel. Vectors and what has a short side (depthwise
convolutions, embeddings of a few rows) stay with AdamW.
Source: Jordan et al. 2024, "Muon"; size of the step: Liu et al. 2025, arXiv 2502.16982.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

SHORTEST_SIDE = 16


class Muon(torch.optim.AdamW):
    """Takes AdamW's settings; which of the parameters count as matrices follows from their shapes."""

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One move of everything that has a gradient; the gradients of matrices are None after it."""
        for group in self.param_groups:
            self._move_matrices(group)
        return super().step(closure)

    def _move_matrices(self, group: dict[str, Any]) -> None:
        moving = [p for p in group["params"] if p.grad is not None and is_matrix(p)]
        views = [nn.Parameter(columns_last(p, p).view(len(p), -1)) for p in moving]
        if not views:
            return
        inner = torch.optim.Muon(
            views, lr=group["lr"], weight_decay=group["weight_decay"], adjust_lr_fn="match_rms_adamw"
        )
        for p, view in zip(moving, views, strict=True):
            view.grad, p.grad = columns_last(p.grad, p).reshape(view.shape), None
            inner.state[view] = self.state[p]
            self.state[p].setdefault("step", torch.zeros(()))  # AdamW looks for it when it is loaded
        inner.step()


def is_matrix(p: Tensor) -> bool:
    """Whether a parameter moves as a matrix."""
    return p.ndim > 1 and min(len(p), p[0].numel()) >= SHORTEST_SIDE


def columns_last(t: Tensor, like: Tensor) -> Tensor:
    """t [A,...] with its dimensions in the order in which they lie in the memory of `like`."""
    if like.ndim == 4 and like.is_contiguous(memory_format=torch.channels_last):
        return t.detach().movedim(1, -1)
    return t.detach()
