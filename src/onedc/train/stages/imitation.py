"""A light codec learns its parts from another codec, each from what the other has in its place.

g_a and h_a learn the other's y and z; the entropy model learns the distribution of these; the generator makes
the autoencoder's latents of the photo from them; the decoder makes pixels of these latents. No part waits for
another. Stage I of the whole comes after it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from onedc.errors import ConfigError
from onedc.model.hyperprior import bounded
from onedc.model.lpips import LPIPS
from onedc.model.onedc import OneDC
from onedc.train.config import OptimConfig
from onedc.train.data.batches import Batch
from onedc.train.stages.coding import TrainingVisitor
from onedc.train.stages.stage import Figures
from onedc.train.stages.stage1 import Stage1, Stage1Config, rate_weight

STEP_BYTE = 150
"""Errors of y are measured in quantisation steps of this quality byte."""
Z_WEIGHT = 2.0  # of the mean squared error of the bounded z, in levels; that of y counts once
TAKEN_OVER = ("y_channels", "quality_knots")  # what both configurations have in common
RATE_POWER = 0.5  # bits weigh as in stage I to this power: all rates alike, since y stands still


@dataclass(frozen=True, kw_only=True)
class ImitationConfig:
    """`stage1` says the rates, the pixel terms and what validation measures."""

    stage1: Stage1Config = field(default_factory=Stage1Config)


class Imitation(Stage1):
    """Every part of a codec learns at once, and none sees what the others make of it."""

    def __init__(
        self, model: OneDC, lpips: LPIPS, config: ImitationConfig, optim: OptimConfig, codec: OneDC
    ) -> None:
        unlike = any(getattr(codec.config, name) != getattr(model.config, name) for name in TAKEN_OVER)
        if codec.config.light is not None or unlike:
            raise ConfigError(
                f"nets.codec: {codec.config.name} cannot teach {model.config.name}: it has no autoencoder, "
                f"or other {' or '.join(TAKEN_OVER)}"
            )
        super().__init__(model, lpips, config.stage1, optim, autoencoder=codec.vae)
        self.codec = codec.requires_grad_(False).eval()
        if model.prior.gain is not None:
            model.prior.gain.requires_grad_(False)

    def begin(self, samples: Iterable[Batch]) -> None:
        """Take over the other's gains."""
        own, other = self.model.prior.gain, self.codec.prior.gain
        if own is not None and other is not None:
            own.load_state_dict(other.state_dict())

    def train(self, mode: bool = True) -> Imitation:
        super().train(mode)
        self.codec.eval()
        return self

    def stored(self) -> dict[str, nn.Module]:
        return {"model": self.model}

    def targets(self, x: Tensor) -> Mapping[str, Tensor]:
        with torch.no_grad():
            latents = self.codec.vae.encode(x)  # type: ignore[operator]
            y, z = self.codec.analyse_unquantised(x, latents)
        return {"vae_latents": latents, "y": y, "z": z}

    def loss(self, group: str, batch: Batch, step: int) -> tuple[Tensor, Figures]:
        model = self.model
        targets = dict(batch.targets) or self.targets(batch.x)
        latents = batch.vae_latents if batch.vae_latents is not None else targets["vae_latents"]
        y, z = targets["y"], targets["z"]
        quality = self.qualities(batch.noise)
        own_y, semantic = model.g_a(batch.x)
        steps = model.prior.gained(torch.ones_like(y[:1]), quality.new_full((1,), STEP_BYTE))
        figures: Figures = {
            "y": ((own_y - y).abs() * steps).mean(),
            "z": (bounded(model.h_a(y, semantic)) - bounded(z)).square().mean(),
        }
        hyper, z_semantic = model.h_s(model.fsq(z))
        gained, below = model.prior.gained(y, quality), self.config.rounded_below
        visitor = TrainingVisitor(gained, quality, batch.noise, rounded_below=below)
        y_hat = model.prior.scan(hyper, quality, visitor).detach()
        bpp = visitor.bits / (batch.x.shape[-1] * batch.x.shape[-2])
        decoded = model.synthesise(y_hat, z_semantic, quality)
        distance = (decoded - latents).abs().mean(dim=(1, 2, 3))
        terms, stage1 = self.pixel_terms(batch, latents), self.config.weights
        figures |= {"latent_l1": distance.mean(), "bpp": bpp.mean()}
        figures |= {"lpips": terms.lpips.mean(), "l1": terms.l1.mean()}
        rate = rate_weight(quality, stage1) ** RATE_POWER * bpp
        share = torch.where(quality > 0, 1.0, stage1.zonly)
        total = figures["y"] + Z_WEIGHT * figures["z"] + (rate + share * distance).mean()
        return total + stage1.lpips * figures["lpips"] + stage1.pixel * figures["l1"], figures
