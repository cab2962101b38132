"""The codec in training: noise for the rate, straight-through rounding, bits of y; and how well z is used.

No losses, weights of terms or stages here.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from onedc.constants import Y_PX
from onedc.model.hyperprior import CENTRE, SPREAD
from onedc.model.likelihood import gaussian_bits, rounded
from onedc.model.onedc import OneDC
from onedc.model.parts import collapse
from onedc.train.data.noise import Noise


class TrainingVisitor:
    """Visits `SpatialPrior.scan` in training: noise for the rate, straight-through rounding for y_hat.

    Pictures of quality byte 0 store no y: they get the means and cost nothing. Without `noise`, and below
    the quality byte `rounded_below`, the rate is that of the rounded values. `offset`: see `gaussian_bits`.
    """

    def __init__(
        self,
        y_gained: Tensor,
        quality: Tensor,
        noise: Noise | None = None,
        *,
        rounded_below: int = 0,
        offset: float = 0.0,
    ) -> None:
        self.y, self.noise, self.offset = y_gained.float(), noise, offset
        self.noisy = (quality >= rounded_below)[:, None, None, None]
        self.stored = (quality > 0).float()[:, None, None, None]
        self.bits = self.y.new_zeros(len(y_gained), *y_gained.shape[2:])  # at each position [B,h,w]

    def _perturbed(self, part: int, residual: Tensor) -> Tensor:
        if self.noise is None:
            return rounded(residual)
        noisy = residual + self.noise.uniform(f"y{part}", *residual.shape[1:]) - 0.5
        return torch.where(self.noisy, noisy, rounded(residual))

    def __call__(self, part: int, scale: Tensor, mean: Tensor) -> Tensor:
        scale, mean = scale.float(), mean.float()
        residual = collapse(self.y, part) - mean
        bits = gaussian_bits(self._perturbed(part, residual), scale, self.offset)
        self.bits = self.bits + (bits * self.stored).sum(dim=1)
        return mean + rounded(residual) * self.stored


class Analysed(NamedTuple):
    """What the encoder makes of a batch."""

    y_hat: Tensor  # [B,N,H/16,W/16]
    z_semantic: Tensor  # [B,C,H/64,W/64]
    bits: Tensor  # of y at each of its positions [B,H/16,W/16]
    z: Tensor  # [B,7,H/64,W/64], before quantisation

    @property
    def bpp(self) -> Tensor:
        """Of y [B]."""
        return bpp_of(self.bits)


def analysed(
    model: OneDC,
    x: Tensor,
    vae_latents: Tensor,
    quality: Tensor,
    noise: Noise | None = None,
    *,
    rounded_below: int = 0,
    offset: float = 0.0,
) -> Analysed:
    """x [B,3,H,W], what g_a takes beside it and quality bytes -> what the encoder would send, and z.

    `noise`, `rounded_below` and `offset`: see `TrainingVisitor`.
    """
    y, z = model.analyse_unquantised(x, vae_latents)
    hyper, z_semantic = model.h_s(model.fsq(z))
    gained = model.prior.gained(y, quality)
    visitor = TrainingVisitor(gained, quality, noise, rounded_below=rounded_below, offset=offset)
    y_hat = model.prior.scan(hyper, quality, visitor)
    return Analysed(y_hat, z_semantic, visitor.bits, z)


def bpp_of(bits: Tensor) -> Tensor:
    """Bits at positions of y [B,H/16,W/16] -> bits per pixel [B]."""
    return bits.mean(dim=(1, 2)) / Y_PX**2


def reconstruct(model: OneDC, x: Tensor, vae_latents: Tensor, quality: Tensor) -> tuple[Tensor, Tensor]:
    """x [B,3,H,W], what g_a takes beside it, quality bytes -> (decoded vae_latents, bpp of y [B])."""
    sent = analysed(model, x, vae_latents, quality)
    return model.synthesise(sent.y_hat, sent.z_semantic, quality), sent.bpp


def spread_lack(z: Tensor) -> Tensor:
    """What z [B,7,h,w] lacks in the batch to use all its values alike: 0 if nothing.

    How far each dimension's mean and standard deviation are from those that make its four levels equally
    frequent, and mean squared correlation between dimensions. Without it h_a saturates the quantiser within
    some hundred steps and z stops learning: a constant z is the quickest way out of the noise that an
    untrained one brings into the prior and the decoder.
    """
    values = z.float().transpose(0, 1).flatten(1)
    mean, std = values.mean(dim=1), values.std(dim=1, correction=0) + 1e-3
    scaled = F.normalize(values - mean[:, None], dim=1)  # torch.corrcoef would make a GPU wait
    correlation = scaled @ scaled.T
    off_centre = torch.log1p(((mean - CENTRE) / SPREAD).square())
    off_spread = torch.log(std / SPREAD).square()
    return off_centre.mean() + off_spread.mean() + torch.triu(correlation, 1).square().mean()


def used_share(z_idx: Tensor) -> Tensor:
    """Distinct values of z_idx [B,h,w] over its positions: 1 where each position has a value of its own."""
    return z_idx.new_tensor(len(z_idx.unique()) / z_idx.numel(), dtype=torch.float32)
