"""Finite scalar quantisation of z: 7 dimensions of 4 levels, 14 bits for each 64x64 pixels.

Source: Mentzer et al. 2023; constants of Xue et al. 2025 (OneDC).
"""

from __future__ import annotations

import math
from statistics import NormalDist

import torch
from torch import Tensor, nn

from onedc.config import FSQ_DIMS, FSQ_LEVELS

_HALF = (FSQ_LEVELS - 1) * 1.001 / 2
_SHIFT = math.atanh(0.5 / _HALF)
CENTRE = -_SHIFT
SPREAD = math.atanh(1 / _HALF) / NormalDist().inv_cdf(0.75)
"""With CENTRE, mean and standard deviation of a normal z whose four levels are equally frequent."""


def bounded(z: Tensor) -> Tensor:
    """z of any shape, float32, between the outermost levels: -2 to 1, and a little beyond."""
    return torch.tanh(z.float() + _SHIFT) * _HALF - 0.5


class FSQ(nn.Module):
    """z [B,7,h,w] -> z_hat with values in {-1, -0.5, 0, 0.5}; the gradient passes straight through."""

    def forward(self, z: Tensor) -> Tensor:
        levels = bounded(z)
        rounded = levels + (levels.round() - levels).detach()
        return (rounded / (FSQ_LEVELS // 2)).to(z.dtype)

    @staticmethod
    def to_levels(z_hat: Tensor) -> Tensor:
        """z_hat [B,7,h,w] -> levels of the same shape, int64 in 0..3."""
        return (z_hat.float() * (FSQ_LEVELS // 2)).round().long() + FSQ_LEVELS // 2

    @staticmethod
    def to_indices(z_hat: Tensor) -> Tensor:
        """z_hat [B,7,h,w] -> codebook index [B,h,w] int64 in 0..16383; dimension 0 is least significant."""
        powers = FSQ_LEVELS ** torch.arange(FSQ_DIMS, device=z_hat.device)
        return (FSQ.to_levels(z_hat) * powers[:, None, None]).sum(dim=1)

    @staticmethod
    def from_indices(z_idx: Tensor) -> Tensor:
        """Codebook index [B,h,w] -> z_hat [B,7,h,w] float32."""
        powers = FSQ_LEVELS ** torch.arange(FSQ_DIMS, device=z_idx.device)
        levels = z_idx[:, None] // powers[:, None, None] % FSQ_LEVELS
        return (levels - FSQ_LEVELS // 2).float() / (FSQ_LEVELS // 2)
