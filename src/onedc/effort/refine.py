"""Encoder-side effort: another y for one picture, by gradient steps against its own rate and distortion.

The decoder is fixed and knows nothing of it: what comes out is written like any other y. Knows no bytes.
Source: Campos et al. 2019, "Content adaptive optimization for neural image compression".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from onedc.constants import QUALITY_MAX
from onedc.effort.level import Progress
from onedc.model.hyperprior import SpatialPrior
from onedc.model.likelihood import gaussian_bits, rounded
from onedc.model.lpips import LPIPS
from onedc.model.onedc import OneDC
from onedc.model.parts import collapse, expand
from onedc.model.taef2 import TAEF2

STEP = 0.05
"""Over the root of the number of steps: root mean square of the first move of y, in quantisation steps. Moves
fall to 0. Larger ones raise the loss after a few steps: too many values leave zero."""
SPAN = 14  # quality bytes to either side, between which bits are weighed against distortion
MEAN, SQUARE = 0.9, 0.99  # what stays of running means after a step: of the gradient, of its square
LATENT, PIXEL = 0.7, 3.0  # weights of mean absolute errors
LPIPS_WEIGHT, FEATURES_WEIGHT = 1.3, 1.0  # weights of the distance by one or the other network


@dataclass(kw_only=True)
class Search:
    """The search for a better y of one picture. Tensors are as one pass made them, in float32 unless said."""

    nets: OneDC  # all networks but the prior
    prior: SpatialPrior  # of floats, to take gradients through; close to the integers that code
    lpips: LPIPS | None  # judges the decoded picture beside mean errors; None: the encoder of TAEF2, if any
    x: Tensor  # [1,3,H,W] in [-1,1], not padded
    vae_latents: Tensor | None  # of the padded picture, [1,C,h/8,w/8]; None: the model has no encoder of them
    y: Tensor  # [1,N,h/16,w/16]
    hyper: Tensor  # [1,Hc,h/16,w/16]
    z_semantic: Tensor  # [1,Hs,h/64,w/64], in the precision of the networks

    @torch.no_grad()
    def __post_init__(self) -> None:
        self.prior.requires_grad_(False).eval()
        vae = self.nets.vae
        self.judge = vae if self.lpips is None and isinstance(vae, TAEF2) else self.lpips
        self.wanted = self._features(self.x)

    @torch.enable_grad()
    def run(self, quality_byte: int, steps: int, progress: Progress | None) -> Tensor:
        """The best y that was met in so many steps, rounded, times the gain: [1,N,h/16,w/16] float32.

        Bits are weighed as the model weighs them at this picture: by what distortion falls for a bit when the
        quality byte rises. Where it does not fall, or nothing costs bits, y stays as it is.
        """
        quality = torch.tensor([quality_byte], device=self.x.device)
        bit_weight = self._bit_weight(quality_byte)
        y = self._gained(quality)
        if bit_weight is None:
            return y
        y.requires_grad_(True)
        descent = _Descent(y)
        least, best = float("inf"), y.detach()
        for step in range(steps + 1):
            distortion, bpp, y_hat = self._terms(y, quality)
            loss = distortion + bit_weight * bpp
            if loss.item() < least:
                least, best = loss.item(), y_hat
            if step == steps:
                break
            (gradient,) = torch.autograd.grad(loss, y)
            descent.move(gradient, STEP / steps**0.5 * (1 - step / steps))
            if progress is not None:
                progress(step + 1, steps)
        return best

    @torch.no_grad()
    def _bit_weight(self, quality_byte: int) -> float | None:
        """What distortion falls for a bit per pixel round a quality byte; None where it does not."""
        ends = max(1, quality_byte - SPAN), min(QUALITY_MAX, quality_byte + SPAN)
        qualities = [torch.tensor([byte], device=self.x.device) for byte in ends]
        low, high = (self._terms(self._gained(quality), quality) for quality in qualities)
        fall, cost = float(low[0] - high[0]), float(high[1] - low[1])
        return fall / cost if fall > 0 and cost > 0 else None

    def _gained(self, quality: Tensor) -> Tensor:
        return self.prior.gained(self.y, quality).detach()

    def _terms(self, y: Tensor, quality: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """y times the gain -> distortion and bits per pixel, both with gradients, and y as it is decoded."""
        visitor = _Visitor(y)
        y_hat = self.prior.scan(self.hyper, quality, visitor)
        vae_latents = self.nets.synthesise(self._for_nets(y_hat), self.z_semantic, quality)
        height, width = self.x.shape[-2:]
        vae: Any = self.nets.vae
        x_hat = vae.decode(self._for_nets(vae_latents))[..., :height, :width].float()
        distortion = PIXEL * (x_hat - self.x).abs().mean()
        if self.vae_latents is not None:
            distortion = distortion + LATENT * (vae_latents - self.vae_latents).abs().mean()
        if self.judge is not None:
            weight = FEATURES_WEIGHT if isinstance(self.judge, TAEF2) else LPIPS_WEIGHT
            distortion = distortion + weight * self.judge.distance(self._features(x_hat), self.wanted).mean()
        return distortion, visitor.bits / (height * width), visitor.y_hat

    def _features(self, x: Tensor) -> list[Tensor]:
        """What the judge sees of pictures [1,3,H,W]."""
        if self.judge is None:
            return []
        return self.judge.features(self._for_nets(x) if isinstance(self.judge, TAEF2) else x)

    def _for_nets(self, t: Tensor) -> Tensor:
        return t.to(self.z_semantic.dtype, memory_format=torch.channels_last)


class _Descent:
    """Adam with one scale for all values: where little is to be gained, little moves, and zeros stay zeros.

    A scale for each value, as Adam has it, saved fewer bits in more steps.
    """

    def __init__(self, y: Tensor) -> None:
        self.y, self.mean, self.square, self.moves = y, torch.zeros_like(y, requires_grad=False), 0.0, 0

    @torch.no_grad()
    def move(self, gradient: Tensor, step: float) -> None:
        """Move y in place, against the running mean of its gradients."""
        self.moves += 1
        self.mean.lerp_(gradient, 1 - MEAN)
        self.square = SQUARE * self.square + (1 - SQUARE) * float(gradient.square().mean())
        scale = ((self.square / (1 - SQUARE**self.moves)) ** 0.5 + 1e-12) * (1 - MEAN**self.moves)
        self.y -= step / scale * self.mean


class _Visitor:
    """Visits `SpatialPrior.scan` with y times the gain; counts bits and collects what is decoded."""

    def __init__(self, y: Tensor) -> None:
        self.y, self.bits, self.y_hat = y, y.new_zeros(()), torch.zeros_like(y, requires_grad=False)

    def __call__(self, part: int, scale: Tensor, mean: Tensor) -> Tensor:
        residual = rounded(collapse(self.y, part) - mean)
        self.bits = self.bits + gaussian_bits(residual, scale).sum()
        self.y_hat = self.y_hat + expand((mean + residual).detach(), part)
        return mean + residual
