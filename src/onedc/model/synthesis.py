"""The decoder's float networks: g_s and the one-step generator.

The generator is a diffusion UNet that is run once, at one timestep. Its output is taken as the noise
prediction, a small convolutional branch on its input as the noisy latents; clean latents follow from both.
Attention sees the semantic tokens in place of a text prompt.
Source: Xue et al. 2025 (OneDC); `semantic_adaptor` and `dec` in its checkpoints.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from onedc.config import ModelConfig
from onedc.model.blocks import (
    GROUP_NORM,
    DepthConvBlock,
    QualityBias,
    QualityTable,
    ResidualBlockUpsample,
    ResnetBlock,
    Upsample2,
    doubling,
)
from onedc.model.unet import Transformer2d, UNet

NOISE_SIDE = 32
"""Positions of vae_latents after which fixed noise begins again."""
NOISE_START = 0.09
"""Standard deviation of what is added at first: a tenth of that of the tiny autoencoder's latents."""


class SynthesisTransform(nn.Module):
    """y_hat [B,N,H/16,W/16] and tokens [B,D,H/64,W/64] -> generator input [B,C,H/8,W/8]."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        (low, high), (blocks_low, blocks_high) = config.synthesis_widths, config.synthesis_blocks
        first, second = config.semantic_up_widths
        self.trans_coding = nn.Sequential(DepthConvBlock(config.y_channels, low), DepthConvBlock(low))
        self.quality_bias = QualityBias(config.quality_knots, low) if config.quality_knots else None
        self.blocks = nn.Sequential(
            *(ResnetBlock(low) for _ in range(blocks_low)),
            doubling(low, high) if config.reduced else Upsample2(low, high),
            *(ResnetBlock(high) for _ in range(blocks_high)),
        )
        self.sem_up = nn.Sequential(
            ResidualBlockUpsample(config.token_channels, first), DepthConvBlock(first),
            ResidualBlockUpsample(first, second), DepthConvBlock(second),
            ResidualBlockUpsample(second, second),
        )  # fmt: skip
        self.conv_out = DepthConvBlock(high + second, config.generator_channels)

    def forward(self, y_hat: Tensor, tokens: Tensor, quality: Tensor) -> Tensor:
        h = self.trans_coding(y_hat)
        if self.quality_bias is not None:
            h = self.quality_bias(h, quality)
        return self.conv_out(torch.cat([self.blocks(h), self.sem_up(tokens)], dim=1))


class VAEReduction(nn.Module):
    """Generator input [B,C,h,w] -> what plays the part of the noisy latents [B,L,h,w]."""

    def __init__(self, channels: int, latents: int) -> None:
        super().__init__()
        self.norm1 = GROUP_NORM(channels)
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm2 = GROUP_NORM(channels)
        self.conv2 = nn.Conv2d(channels, latents, 3, padding=1)
        self.skip = nn.Conv2d(channels, latents, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x)))
        return self.conv2(F.silu(self.norm2(h))) + self.skip(x)


class NoiseInjection(nn.Module):
    """Adds fixed noise to vae_latents [B,L,h,w], as much as their quality byte and they themselves ask for.

    Where latents stay the same, a decoder repeats what it draws every 8 px; noise makes texture of it.
    Blended tiles begin at multiples of NOISE_SIDE positions: a tile has the noise of the whole picture.
    Source: Karras et al. 2019 (StyleGAN), where noise is drawn anew for each picture.
    """

    values: Tensor  # [C,NOISE_SIDE,NOISE_SIDE], standard normal, repeated over the picture

    def __init__(self, channels: int, latents: int, knots: int) -> None:
        super().__init__()
        drawn = np.random.RandomState(0).standard_normal((channels, NOISE_SIDE, NOISE_SIDE))
        self.register_buffer("values", torch.from_numpy(drawn.astype(np.float32)))
        self.quality = QualityTable(knots, channels) if knots else None  # gains
        for gains in self.quality.parameters() if self.quality else ():
            nn.init.ones_(gains)
        self.amount = nn.Conv2d(latents, channels, 3, padding=1)
        nn.init.zeros_(self.amount.weight)
        nn.init.zeros_(self.amount.bias)  # type: ignore[arg-type]
        self.mix = nn.Conv2d(channels, latents, 1, bias=False)
        bound = NOISE_START * (3 / channels) ** 0.5
        nn.init.uniform_(self.mix.weight, -bound, bound)  # normal_ on the meta device would import sympy

    def forward(self, vae_latents: Tensor, quality: Tensor) -> Tensor:
        rows, columns = (
            torch.arange(side, device=quality.device) % NOISE_SIDE for side in vae_latents.shape[-2:]
        )
        dtype = self.mix.weight.dtype
        amount = 1 + self.amount(vae_latents.to(dtype)).float()
        if self.quality is not None:
            amount = amount * self.quality.vectors(quality)[:, :, None, None]
        noise = self.values[None, :, rows][..., columns] * amount
        return vae_latents + self.mix(noise.to(dtype)).float()


class OneStepGenerator(nn.Module):
    """x_hat [B,C,H/8,W/8] and tokens [B,D,H/64,W/64] -> vae_latents [B,L,H/8,W/8] float32."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        unet, channels = config.generator_unet, config.generator_channels
        limit, window = config.attention_positions, config.attention_window
        self.unet = UNet(
            unet,
            config.vae_channels,
            lambda c: Transformer2d(c, unet.heads, config.token_channels, limit, window),
        )
        self.vae_reduction = VAEReduction(channels, config.vae_channels)
        self.unet.conv_in = nn.Conv2d(channels, unet.widths[0], 3, padding=1)
        self.quality = (
            QualityTable(config.quality_knots, unet.time_channels) if config.quality_knots else None
        )
        self.noise = (
            NoiseInjection(config.noise_channels, config.vae_channels, config.quality_knots)
            if config.noise_channels
            else None
        )
        if config.guidance == "none":
            self.untold = nn.Parameter(torch.zeros(config.token_channels))  # stands for every token
        self.timestep, self.alpha_bar = config.timestep, config.alpha_bar

    def forward(self, x_hat: Tensor, tokens: Tensor, quality: Tensor) -> Tensor:
        noise, noisy = self.predict(x_hat, tokens, quality)
        vae_latents = self.clean(noise, noisy)
        return vae_latents if self.noise is None else self.noise(vae_latents, quality)

    def predict(self, x_hat: Tensor, tokens: Tensor, quality: Tensor) -> tuple[Tensor, Tensor]:
        """The UNet's noise prediction and the noisy latents it belongs to, alike in shape."""
        if hasattr(self, "untold"):
            tokens = self.untold.to(tokens.dtype)[:, None, None].expand_as(tokens)
        noise, _ = self.unet.trunk(self.unet.conv_in(x_hat), self.time_vector(quality), tokens)
        return noise, self.vae_reduction(x_hat.to(self.vae_reduction.skip.weight.dtype))

    def time_vector(self, quality: Tensor) -> Tensor | None:
        """What the residual blocks learn of the timestep and the quality; None for a UNet without."""
        if not hasattr(self.unet, "time_embedding"):
            return None
        time = self.unet.time_embedding(torch.full_like(quality, self.timestep))
        return time if self.quality is None else time + self.quality.vectors(quality).to(time.dtype)

    def clean(self, noise: Tensor, noisy: Tensor) -> Tensor:
        """x0 = (x_t - sqrt(1 - a) noise) / sqrt(a), in float64 since both terms may be large."""
        a = self.alpha_bar
        x0 = (noisy.double() - (1 - a) ** 0.5 * noise.double()) / a**0.5
        return x0.float()
