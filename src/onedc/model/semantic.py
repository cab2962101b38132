"""The semantic adaptor: z_semantic to the tokens that condition the generator.

Source: Xue et al. 2025 (OneDC); `semantic_adaptor` in its checkpoints.
"""

from __future__ import annotations

from torch import Tensor, nn

from onedc.config import ModelConfig
from onedc.model.blocks import AttentionBlock, DepthConvBlock, ResnetBlock, RMSNorm2d


class SemanticAdaptor(nn.Module):
    """z_semantic [B,C,H/64,W/64] -> tokens as a map [B,D,H/64,W/64]."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width, limit, window = config.token_channels, config.attention_positions, config.attention_window
        stages: list[nn.Module] = []
        for _ in range(config.semantic_stages):
            if config.light is not None:
                stages.append(ResnetBlock(width, norm=RMSNorm2d))
                continue
            stages += [ResnetBlock(width), *(AttentionBlock(width, limit, window) for _ in range(2))]
        self.to_semantic = nn.Sequential(
            DepthConvBlock(config.hyper_channels, width), *stages, DepthConvBlock(width)
        )

    def forward(self, z_semantic: Tensor) -> Tensor:
        return self.to_semantic(z_semantic)
