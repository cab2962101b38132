"""h_a and h_s: between y and the hyperprior z. h_s belongs to the integer seam.

Source: Xue et al. 2025 (OneDC); `hyper_enc` and `hyper_dec` in its checkpoints.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from onedc.config import FSQ_DIMS, ModelConfig
from onedc.model.blocks import AttentionBlock, DepthConvBlock, ResidualBlockUpsample


class HyperAnalysis(nn.Module):
    """y [B,N,H/16,W/16] and sem [B,S,H/64,W/64] -> z [B,7,H/64,W/64], not yet quantised."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        y, (first, second) = config.y_channels, config.hyper_analysis_widths
        limit, window = config.attention_positions, config.attention_window
        fused = y + config.analysis_unet.widths[-1]
        self.y_trans_coding = nn.Sequential(
            DepthConvBlock(y), nn.Conv2d(y, y, 3, stride=2, padding=1),
            DepthConvBlock(y), nn.Conv2d(y, y, 3, stride=2, padding=1),
        )  # fmt: skip
        self.fusion = nn.Sequential(
            DepthConvBlock(fused, first), AttentionBlock(first, limit, window),
            DepthConvBlock(first, second), AttentionBlock(second, limit, window),
            DepthConvBlock(second), nn.Conv2d(second, FSQ_DIMS, 1),
        )  # fmt: skip
        scaled = config.hyper_analysis_norm
        self.norm_in = nn.GroupNorm(1, fused) if scaled else nn.Identity()
        self.norm_out = nn.GroupNorm(1, second) if scaled else nn.Identity()

    def forward(self, y: Tensor, sem: Tensor) -> Tensor:
        fused = self.fusion[:-1](self.norm_in(torch.cat([self.y_trans_coding(y), sem], dim=1)))
        return self.fusion[-1](self.norm_out(fused))


class HyperSynthesis(nn.Module):
    """z_hat [B,7,H/64,W/64] -> hyper features [B,C,H/16,W/16] and z_semantic [B,C,H/64,W/64]."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        c = config.hyper_channels
        self.feat_in = nn.Sequential(nn.Conv2d(FSQ_DIMS, c, 1), nn.LeakyReLU(0.01))
        self.to_entropy = nn.Sequential(
            DepthConvBlock(c), ResidualBlockUpsample(c, c),
            DepthConvBlock(c), ResidualBlockUpsample(c, c),
            DepthConvBlock(c),
        )  # fmt: skip

    def forward(self, z_hat: Tensor) -> tuple[Tensor, Tensor]:
        z_semantic = self.feat_in(z_hat)
        return self.to_entropy(z_semantic), z_semantic
