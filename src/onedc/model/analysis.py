"""g_a: picture and VAE latents in, latents y and semantic features out.

Source: Xue et al. 2025 (OneDC); `enc` in its checkpoints.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from onedc.config import ModelConfig
from onedc.model.blocks import AttentionBlock, DepthConvBlock, ResnetBlock, as_floats
from onedc.model.unet import SelfAttention2d, UNet

TIMESTEP = 999  # constant input of the analysis UNet's time embedding, where it has one


class AnalysisTransform(nn.Module):
    """x [B,3,H,W] and vae_latents [B,C,H/8,W/8] -> y [B,N,H/16,W/16], sem [B,S,H/64,W/64]."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        unet = config.analysis_unet
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
