"""Score networks: noise predictions for latents at a timestep, conditioned on tokens or text or not.

Their UNet has diffusers' key names, so Stable Diffusion's weights load as they are. No losses here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from onedc.config import ModelConfig, UNetConfig
from onedc.errors import ConfigError
from onedc.model.blocks import GROUPS
from onedc.model.unet import Transformer2d, UNet


@dataclass(frozen=True, kw_only=True)
class ScoreConfig:
    """A score network and its condition."""

    unet: UNetConfig = field(
        default_factory=lambda: UNetConfig(
            widths=(96, 160, 192), layers=1, attention=(False, True, True), heads=4, time_channels=384
        )
    )
    guidance: str = "none"  # "tokens" of the codec's hyperprior, "text" of the caption, or "none"

    def __post_init__(self) -> None:
        if self.guidance not in ("tokens", "text", "none"):
            raise ConfigError(f"score.guidance: {self.guidance!r} is none of 'tokens', 'text', 'none'")
        if not self.unet.time_channels:
            raise ConfigError("score.unet.time_channels: a score network must know the timestep")


NO_WINDOWS = 1 << 30
"""Attention is over the whole map: training crops are small, and the words of a caption have no places."""


class ScoreNetwork(nn.Module):
    """Noisy vae_latents [B,C,h,w], timesteps [B] and tokens [B,D,rows,cols] or None -> noise [B,C,h,w]."""

    def __init__(self, config: ScoreConfig, model: ModelConfig) -> None:
        super().__init__()
        unet, width = config.unet, model.token_channels
        self.unet = UNet(
            unet, model.vae_channels, lambda c: Transformer2d(c, unet.heads, width, NO_WINDOWS, NO_WINDOWS)
        )
        self.unet.conv_in = nn.Conv2d(model.vae_channels, unet.widths[0], 3, padding=1)
        self.null_token = nn.Parameter(torch.zeros(width))  # in place of tokens: unconditional

    def _condition(self, noisy: Tensor, tokens: Tensor | None) -> Tensor:
        if tokens is not None:
            return tokens
        rows, cols = (max(side // 8, 1) for side in noisy.shape[-2:])
        return self.null_token[:, None, None].expand(len(noisy), -1, rows, cols)

    def _time(self, timesteps: Tensor) -> Tensor:
        time: Tensor = self.unet.time_embedding(timesteps)
        return time

    def forward(self, noisy: Tensor, timesteps: Tensor, tokens: Tensor | None = None) -> Tensor:
        condition = self._condition(noisy, tokens)
        noise, _ = self.unet.trunk(self.unet.conv_in(noisy), self._time(timesteps), condition)
        return noise

    def middle(self, noisy: Tensor, timesteps: Tensor, tokens: Tensor | None = None) -> Tensor:
        """Output of the middle block alone [B,M,h',w']: the discriminator's features."""
        condition, time = self._condition(noisy, tokens), self._time(timesteps)
        h, _ = self.unet.down(self.unet.conv_in(noisy), time, condition)
        return self.unet.mid_block(h, time, condition)


class FeatureHeads(nn.Module):
    """Unit-length features at several scales, each [B,C,h,w] -> logits [B,1,h,w] at each of them."""

    def __init__(self, widths: Sequence[int], hidden: int = 64) -> None:
        super().__init__()
        self.heads = nn.ModuleList(
            nn.Sequential(
                spectral_norm(nn.Conv2d(width, hidden, 1)),
                nn.LeakyReLU(0.2),
                spectral_norm(nn.Conv2d(hidden, hidden, 3, padding=1)),
                nn.LeakyReLU(0.2),
                nn.Conv2d(hidden, 1, 1),
            )
            for width in widths
        )

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        scaled = (f * f.shape[1] ** 0.5 for f in features)
        return [head(f) for head, f in zip(self.heads, scaled, strict=True)]


class GANHead(nn.Module):
    """Middle features [B,M,h,w] -> logits [B,1,h/8,w/8], at least one: small maps are padded with zeros."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        groups = min(GROUPS, channels // 4)  # a group of one value would be normalised to nothing
        self.conv1 = nn.Conv2d(channels, channels, 4, stride=2, padding=1)
        self.norm1 = nn.GroupNorm(groups, channels)
        self.conv2 = nn.Conv2d(channels, channels, 4, stride=4)
        self.norm2 = nn.GroupNorm(groups, channels)
        self.out = nn.Conv2d(channels, 1, 1)

    def forward(self, middle: Tensor) -> Tensor:
        h = F.silu(self.norm1(self.conv1(middle)))
        h = F.pad(h, (0, max(4 - h.shape[-1], 0), 0, max(4 - h.shape[-2], 0)))
        return self.out(F.silu(self.norm2(self.conv2(h))))
