"""A codec with lighter parts learns them from another codec, each from what the other has in its place.

Parts alike in shape are the other's and stand still. g_a and h_a learn the other's y and z; the entropy model
learns the distribution of these; g_s and the generator make the other's vae_latents of the other's y_hat; the
decoder makes the other's picture of these. No part waits for another. Stage I comes after it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import torch
from torch import Tensor, nn

from onedc.errors import ConfigError
from onedc.model.hyperprior import bounded
from onedc.model.lpips import LPIPS
from onedc.model.onedc import OneDC
from onedc.train.config import OptimConfig
from onedc.train.data.batches import Batch
from onedc.train.losses.rate import rate_weight
from onedc.train.stages.coding import TrainingVisitor, bpp_of
from onedc.train.stages.stage import Figures
from onedc.train.stages.stage1 import Stage1, Stage1Config

STEP_BYTE = 150
"""Errors of y are measured in quantisation steps of this quality byte."""
Z_WEIGHT = 2.0  # of the mean squared error of the bounded z, in levels; that of y counts once
ALIKE = ("y_channels", "quality_knots")  # what both configurations have in common
PARTS = (
    "vae.encoder", "vae.decoder", "g_a", "h_a", "h_s", "prior", "prior.gain", "semantic", "g_s", "generator"
)  # fmt: skip
RATE_POWER = 0.5  # bits weigh as in stage I to this power: all rates alike, since y stands still


@dataclass(frozen=True, kw_only=True)
class ImitationConfig:
    """`stage1` says the rates, the pixel terms and what validation measures."""

    stage1: Stage1Config = field(default_factory=Stage1Config)


class Taught(NamedTuple):
    """What the other codec makes of a batch at its qualities."""

    y_hat: Tensor  # [B,N,H/16,W/16]
    vae_latents: Tensor  # [B,C,H/8,W/8]
    picture: Tensor  # [B,3,H,W] in [-1,1]


class Imitation(Stage1):
    """Every part of a codec learns at once, and none sees what the others make of it."""

    def __init__(
        self, model: OneDC, lpips: LPIPS, config: ImitationConfig, optim: OptimConfig, codec: OneDC
    ) -> None:
        unlike = any(getattr(codec.config, name) != getattr(model.config, name) for name in ALIKE)
        if unlike:
            raise ConfigError(
                f"nets.codec: {codec.config.name} cannot teach {model.config.name}: it has other "
                f"{' or '.join(ALIKE)}"
            )
        super().__init__(model, lpips, config.stage1, optim, autoencoder=codec.vae)
        self.codec = codec.requires_grad_(False).eval()
        shapes = {part: _shapes(codec, part) for part in PARTS}
        self.taken_over = [part for part in PARTS if shapes[part] and shapes[part] == _shapes(model, part)]
        for part in self.taken_over:
            model.get_submodule(part).requires_grad_(False)

    def begin(self, samples: Iterable[Batch]) -> None:
        """Take over all of the other's layers that are alike."""
        theirs, own = self.codec.state_dict(), self.model.state_dict()
        alike = {name: theirs[name] for name in theirs.keys() & own if theirs[name].shape == own[name].shape}
        self.model.load_state_dict(alike, strict=False)

    def train(self, mode: bool = True) -> Imitation:
        super().train(mode)
        self.codec.eval()
        return self

    def stored(self) -> dict[str, nn.Module]:
        return {"model": self.model}

    def targets(self, x: Tensor) -> Mapping[str, Tensor]:
        with torch.no_grad():
            y, z = self.codec.analyse_unquantised(x, self.codec.vae.encode(x))
        return {"y": y, "z": z}

    def loss(self, group: str, batch: Batch, step: int) -> tuple[Tensor, Figures]:
        model, stage1 = self.model, self.config.weights
        targets = dict(batch.targets) or self.targets(batch.x)
        y, z = targets["y"], targets["z"]
        quality = self.qualities(batch.noise)
        taught = self._taught(y, z, quality)
        analysed = {"vae.encoder", "g_a", "h_a"} <= set(self.taken_over)
        figures = {} if analysed else self._analysis(batch.x, y, z, quality)
        hyper, z_semantic = model.h_s(model.fsq(z))
        gained, below = model.prior.gained(y, quality), self.config.rounded_below
        visitor = TrainingVisitor(gained, quality, batch.noise, rounded_below=below)
        model.prior.scan(hyper, quality, visitor)
        bpp = bpp_of(visitor.bits)
        decoded = model.synthesise(taught.y_hat, z_semantic, quality)
        distance = (decoded - taught.vae_latents).abs().mean(dim=(1, 2, 3))
        terms = self.pixel_terms(replace(batch, x=taught.picture), taught.vae_latents)
        figures |= {"latent_l1": distance.mean(), "bpp": bpp.mean()}
        figures |= {"lpips": terms.lpips.mean(), "l1": terms.l1.mean()}
        rate = rate_weight(quality, stage1.rate_low, stage1.rate_high) ** RATE_POWER * bpp
        total = (rate + distance).mean() + stage1.lpips * figures["lpips"] + stage1.pixel * figures["l1"]
        if "y" in figures:
            total = total + figures["y"] + Z_WEIGHT * figures["z"]
        return total, figures

    @torch.no_grad()
    def _taught(self, y: Tensor, z: Tensor, quality: Tensor) -> Taught:
        codec = self.codec
        hyper, z_semantic = codec.h_s(codec.fsq(z))
        visitor = TrainingVisitor(codec.prior.gained(y, quality), quality)
        y_hat = codec.prior.scan(hyper, quality, visitor)
        vae_latents = codec.synthesise(y_hat, z_semantic, quality)
        return Taught(y_hat, vae_latents, codec.vae.decode(vae_latents).clamp(-1, 1))

    def _analysis(self, x: Tensor, y: Tensor, z: Tensor, quality: Tensor) -> Figures:
        """How far y and z of the photos are from the other's."""
        own_y, semantic = self.model.g_a(x, self.model.vae.encode(x))
        steps = self.model.prior.gained(torch.ones_like(y[:1]), quality.new_full((1,), STEP_BYTE))
        return {
            "y": ((own_y - y).abs() * steps).mean(),
            "z": (bounded(self.model.h_a(y, semantic)) - bounded(z)).square().mean(),
        }


def _shapes(codec: OneDC, part: str) -> dict[str, torch.Size]:
    """Shapes of a part's parameters by name; empty: the codec has no such part."""
    named = codec.state_dict().items()
    return {name: value.shape for name, value in named if name.startswith(f"{part}.")}
