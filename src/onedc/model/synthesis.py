"""g_s: decoded latents and tokens to the generator's input.

Source: Xue et al. 2025 (OneDC); `dec` in its checkpoints.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from onedc.config import ModelConfig
from onedc.model.blocks import (
    GROUP_NORM,
    DepthConvBlock,
    QualityBias,
    ResidualBlockUpsample,
    ResnetBlock,
    RMSNorm2d,
    Upsample2,
)


class SynthesisTransform(nn.Module):
    """y_hat [B,N,H/16,W/16] and tokens [B,D,H/64,W/64] -> generator input [B,C,H/8,W/8] (light: 1/16)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        (low, high), (blocks_low, blocks_high) = config.synthesis_widths, config.synthesis_blocks
        first, second = config.semantic_up_widths
        self.trans_coding = nn.Sequential(DepthConvBlock(config.y_channels, low), DepthConvBlock(low))
        self.quality_bias = QualityBias(config.quality_knots, low) if config.quality_knots else None
        norm = GROUP_NORM if config.light is None else RMSNorm2d
        blocks: list[nn.Module] = [ResnetBlock(low, norm=norm) for _ in range(blocks_low)]
        sem_up: list[nn.Module] = [
            ResidualBlockUpsample(config.token_channels, first), DepthConvBlock(first),
            ResidualBlockUpsample(first, second), DepthConvBlock(second),
        ]  # fmt: skip
        if config.light is None:
            blocks += [Upsample2(low, high), *(ResnetBlock(high, norm=norm) for _ in range(blocks_high))]
            sem_up.append(ResidualBlockUpsample(second, second))
        self.blocks, self.sem_up = nn.Sequential(*blocks), nn.Sequential(*sem_up)
        width = low if config.light is not None else high
        self.conv_out = DepthConvBlock(width + second, config.generator_channels)

    def forward(self, y_hat: Tensor, tokens: Tensor, quality: Tensor) -> Tensor:
        h = self.trans_coding(y_hat)
        if self.quality_bias is not None:
            h = self.quality_bias(h, quality)
        return self.conv_out(torch.cat([self.blocks(h), self.sem_up(tokens)], dim=1))
