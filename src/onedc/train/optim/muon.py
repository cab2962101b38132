"""AdamW whose matrices are updated by Muon: the momentum's nearest orthogonal matrix, at AdamW's step size.

Convolutions are matrices of one row for each output channel, transposed ones for each input channel. Vectors
and what has a short side (depthwise convolutions, embeddings of a few rows) stay with AdamW. Matrices of one
shape are updated together.
Source: Jordan et al. 2024, "Muon"; size of the step: Liu et al. 2025, arXiv 2502.16982.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from onedc.engine.device import fast_dtype

SHORTEST_SIDE = 16
MOMENTUM = 0.95
UPDATE_RMS = 0.2  # root mean square of an update at learning rate 1: AdamW's
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)  # coefficients of a step
STEPS = 5


class Muon(torch.optim.AdamW):
    """Takes AdamW's settings; which of the parameters count as matrices follows from their shapes.

    Gradients stay where they are, so that a captured graph may write into them again.
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One update of every parameter that has a gradient."""
        held: list[tuple[Tensor, Tensor]] = []
        for group in self.param_groups:
            by_shape: dict[tuple[int, int], list[Tensor]] = {}
            for p in group["params"]:
                if p.grad is not None and is_matrix(p):
                    by_shape.setdefault((len(p), p[0].numel()), []).append(p)
            for same in by_shape.values():
                self._update(same, group)
                held += [(p, p.grad) for p in same if p.grad is not None]
        for p, _ in held:
            p.grad = None  # AdamW passes them over
        loss = super().step(closure)
        for p, grad in held:
            p.grad = grad
        return loss

    def _update(self, matrices: list[Tensor], group: dict[str, Any]) -> None:
        rows, columns = len(matrices[0]), matrices[0][0].numel()
        for p in matrices:
            if "momentum_buffer" not in self.state[p]:
                self.state[p]["step"] = torch.zeros(())  # AdamW looks for it when it is loaded
                self.state[p]["momentum_buffer"] = torch.zeros_like(p)
        momenta = [self.state[p]["momentum_buffer"] for p in matrices]
        grads = [p.grad for p in matrices if p.grad is not None]
        torch._foreach_lerp_(momenta, grads, 1 - MOMENTUM)
        updates = [u.reshape(rows, columns) for u in torch._foreach_lerp(grads, momenta, MOMENTUM)]
        step = orthogonal(torch.stack(updates)) * (-group["lr"] * UPDATE_RMS * math.sqrt(max(rows, columns)))
        torch._foreach_mul_(matrices, 1 - group["lr"] * group["weight_decay"])
        torch._foreach_add_(matrices, [s.reshape(p.shape) for s, p in zip(step, matrices, strict=True)])


def is_matrix(p: Tensor) -> bool:
    """Whether a parameter is updated as a matrix."""
    return p.ndim > 1 and min(len(p), p[0].numel()) >= SHORTEST_SIDE


@torch.no_grad()
def orthogonal(matrices: Tensor) -> Tensor:
    """The nearest orthogonal matrices of [K,A,B], nearly, by Newton-Schulz steps; float32.

    They are computed in bf16 where the device multiplies it fast.
    """
    m = matrices.to(fast_dtype(matrices.device))
    wide = m.shape[1] < m.shape[2]
    m = m if wide else m.transpose(1, 2)
    m = m / m.flatten(1).norm(dim=1).clamp(min=1e-7)[:, None, None]
    a, b, c = NEWTON_SCHULZ
    for _ in range(STEPS):
        square = torch.bmm(m, m.transpose(1, 2))
        m = torch.baddbmm(m, torch.baddbmm(square, square, square, beta=b, alpha=c), m, beta=a)
    return (m if wide else m.transpose(1, 2)).float()
