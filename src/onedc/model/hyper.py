"""h_a and h_s: between y and the hyperprior z. h_s belongs to the integer seam.

Source: Xue et al. 2025 (OneDC); `hyper_enc` and `hyper_dec` in its checkpoints.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from onedc.config import FSQ_DIMS, ModelConfig
from onedc.model.blocks import AttentionBlock, DepthConvBlock, ResidualBlockUpsample, RMSNorm2d


class HyperAnalysis(nn.Module):
    """y [B,N,H/16,W/16] and sem [B,S,H/64,W/64] -> z [B,7,H/64,W/64], not yet quantised."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        y, (first, second) = config.y_channels, config.hyper_analysis_widths
        fused = y + semantic_channels(config)
        self.y_trans_coding = nn.Sequential(
            DepthConvBlock(y), nn.Conv2d(y, y, 3, stride=2, padding=1),
            DepthConvBlock(y), nn.Conv2d(y, y, 3, stride=2, padding=1),
        )  # fmt: skip
        self.fusion = nn.Sequential(
            DepthConvBlock(fused, first), _attention(config, first),
            DepthConvBlock(first, second), _attention(config, second),
            DepthConvBlock(second), nn.Conv2d(second, FSQ_DIMS, 1),
        )  # fmt: skip
        self.norm_in, self.norm_out = _norm(config, fused), _norm(config, second)

    def forward(self, y: Tensor, sem: Tensor) -> Tensor:
        fused = self.fusion[:-1](self.norm_in(torch.cat([self.y_trans_coding(y), sem], dim=1)))
        return self.fusion[-1](self.norm_out(fused))


def semantic_channels(config: ModelConfig) -> int:
    """Channels of the semantic features that g_a hands to h_a."""
    if config.light is not None:
        return config.light.semantic_width
    assert config.analysis_unet is not None
    return config.analysis_unet.widths[-1]


def _attention(config: ModelConfig, channels: int) -> nn.Module:
    if config.light is not None:
        return nn.Identity()
    return AttentionBlock(channels, config.attention_positions, config.attention_window)


def _norm(config: ModelConfig, channels: int) -> nn.Module:
    if not config.hyper_analysis_norm:
        return nn.Identity()
    return nn.GroupNorm(1, channels) if config.light is None else RMSNorm2d(channels)


class HyperSynthesis(nn.Module):
    """z_hat [B,7,H/64,W/64] -> hyper features [B,C,H/16,W/16] and z_semantic [B,C,H/64,W/64]."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        c, expansion = config.hyper_channels, config.seam_expansion
        self.feat_in = nn.Sequential(nn.Conv2d(FSQ_DIMS, c, 1), nn.LeakyReLU(0.01))
        self.to_entropy = nn.Sequential(
            DepthConvBlock(c, None, expansion), ResidualBlockUpsample(c, c),
            DepthConvBlock(c, None, expansion), ResidualBlockUpsample(c, c),
            DepthConvBlock(c, None, expansion),
        )  # fmt: skip

    def forward(self, z_hat: Tensor) -> tuple[Tensor, Tensor]:
        z_semantic = self.feat_in(z_hat)
        return self.to_entropy(z_semantic), z_semantic
