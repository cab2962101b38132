"""What values cost by the entropy model, and rounding, both with gradients: for all that optimises.

Estimates in floats; what a file really takes, the integer seam and the coder say.
"""

from __future__ import annotations

import torch
from torch import Tensor

SCALE_MIN = 0.11  # smallest standard deviation of the entropy tables
LIKELIHOOD_MIN = 1e-9


class _LowerBound(torch.autograd.Function):
    """max(x, bound) whose gradient may still push x up from below the bound."""

    @staticmethod
    def forward(ctx, x: Tensor, bound: float) -> Tensor:  # type: ignore[no-untyped-def]
        ctx.save_for_backward(x)
        ctx.bound = bound
        return x.clamp(min=bound)

    @staticmethod
    def backward(ctx, grad: Tensor):  # type: ignore[no-untyped-def]
        (x,) = ctx.saved_tensors
        return grad * ((x >= ctx.bound) | (grad < 0)), None


def lower_bound(x: Tensor, bound: float) -> Tensor:
    """max(x, bound), elementwise; see `_LowerBound` for its gradient."""
    return _LowerBound.apply(x, bound)


def gaussian_bits(residual: Tensor, scale: Tensor, offset: float = 0.0) -> Tensor:
    """Bits of each value: -log2 of the Gaussian mass of scale `scale` on residual +- 1/2.

    With `offset`, which is added to the mass, no value costs more than -log2 of it.
    """
    scale = lower_bound(scale, SCALE_MIN)
    distance = residual.abs()
    upper = torch.special.ndtr((0.5 - distance) / scale)
    lower = torch.special.ndtr((-0.5 - distance) / scale)
    mass = upper - lower
    return -torch.log2(mass + offset if offset else lower_bound(mass, LIKELIHOOD_MIN))


def rounded(residual: Tensor) -> Tensor:
    """Rounded values whose gradient passes straight through."""
    return residual + (residual.round() - residual).detach()
