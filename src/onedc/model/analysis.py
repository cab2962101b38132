"""g_a: picture and VAE latents in, latents y and semantic features out.

Source: Xue et al. 2025 (OneDC); `enc` in its checkpoints.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from onedc.config import ModelConfig
from onedc.model.blocks import (
    AttentionBlock,
    DepthConvBlock,
    ResidualBlock,
    ResnetBlock,
    RMSNorm2d,
    as_floats,
    in_tiles,
)
from onedc.model.unet import SelfAttention2d, UNet

TIMESTEP = 999  # constant input of the analysis UNet's time embedding, where it has one


class AnalysisTransform(nn.Module):
    """x [B,3,H,W] and vae_latents [B,C,H/8,W/8] -> y [B,N,H/16,W/16], sem [B,S,H/64,W/64]."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        unet = config.analysis_unet
        assert unet is not None
        width, limit, window = unet.widths[0], config.attention_positions, config.attention_window
        self.pix_emb = nn.Conv2d(3, config.pixel_channels, 8, stride=8)
        self.pix_fusion = nn.Conv2d(config.pixel_channels + config.vae_channels, config.fusion_channels, 1)
        ins = [config.fusion_channels] + [width] * config.analysis_in_blocks
        self.conv_in = nn.Sequential(
            *(ResnetBlock(a, b) for a, b in pairwise(ins)), nn.Conv2d(width, width, 3, stride=2, padding=1)
        )
        self.unet = UNet(unet, width, lambda c: SelfAttention2d(c, unet.head_width, limit, window))
        attention = [AttentionBlock(width, limit, window)] if config.analysis_attention else []
        self.trans_coding = nn.Sequential(
            ResnetBlock(width), *attention, ResnetBlock(width),
            DepthConvBlock(width), DepthConvBlock(width, config.y_channels),
        )  # fmt: skip
        self.skip = (
            nn.Conv2d(config.vae_channels, config.y_channels, 2, stride=2) if config.analysis_skip else None
        )

    def forward(self, x: Tensor, vae_latents: Tensor) -> tuple[Tensor, Tensor]:
        return self.behind_pixels(self.pix_emb(as_floats(x, vae_latents.dtype)), vae_latents)

    def behind_pixels(self, embedded: Tensor, vae_latents: Tensor) -> tuple[Tensor, Tensor]:
        """Pixels as `pix_emb` has them [B,E,H/8,W/8] and vae_latents -> y, sem."""
        h = self.conv_in(self.pix_fusion(torch.cat([embedded, vae_latents], dim=1)))
        time = None
        if hasattr(self.unet, "time_embedding"):
            time = self.unet.time_embedding(torch.full((len(h),), TIMESTEP, device=h.device))
        h, sem = self.unet.trunk(h, time, None)
        y = self.trans_coding(h)
        return (y if self.skip is None else y + self.skip(vae_latents)), sem


class PixelAnalysis(nn.Module):
    """g_a of a light model: x [B,3,H,W] -> y [B,N,H/16,W/16], sem [B,S,H/64,W/64].

    What lies above 1/16 runs in bands of rows, as if it were whole.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        light = config.light
        assert light is not None
        quarter, eighth, sixteenth = light.analysis_widths
        blocks = light.analysis_blocks
        self.stem = nn.Sequential(
            nn.PixelUnshuffle(4), nn.Conv2d(48, quarter, 3, padding=1),
            *(ResidualBlock(quarter) for _ in range(blocks[0])),
            nn.PixelUnshuffle(2), nn.Conv2d(4 * quarter, eighth, 1),
            *(ResidualBlock(eighth) for _ in range(blocks[1])),
            nn.PixelUnshuffle(2), nn.Conv2d(4 * eighth, sixteenth, 1),
        )  # fmt: skip
        seen = 1 + 2 * blocks[0] + 4 * blocks[1]  # rows at 1/4 beyond each
        self.halo = -(-seen // 4)  # positions at 1/16
        self.trunk = nn.Sequential(*(ResnetBlock(sixteenth, norm=RMSNorm2d) for _ in range(blocks[2])))
        self.conv_out = nn.Conv2d(sixteenth, config.y_channels, 3, padding=1)
        semantic = light.semantic_width
        self.to_semantic = nn.Sequential(
            nn.PixelUnshuffle(2), nn.Conv2d(4 * sixteenth, semantic, 1),
            ResnetBlock(semantic, norm=RMSNorm2d),
            nn.PixelUnshuffle(2), nn.Conv2d(4 * semantic, semantic, 1),
            ResnetBlock(semantic, norm=RMSNorm2d),
        )  # fmt: skip

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        def stem(x: Tensor) -> Tensor:
            found: Tensor = self.stem(as_floats(x, self.conv_out.weight.dtype))
            return found

        return self.behind_stem(in_tiles(stem, x, halo=self.halo, px_in=1, px_out=16))

    def behind_stem(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """What the stem makes at 1/16 -> y, sem."""
        h = self.trunk(features)
        return self.conv_out(h), self.to_semantic(h)
