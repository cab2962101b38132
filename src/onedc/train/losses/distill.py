"""Semantic distillation: predict the teacher's tokens from z alone. In training only.

Cross-entropy to the teacher's indices, and the squared error of its codes against the mean of the codebook
under the predicted probabilities. Source: Xue et al. 2025 (OneDC). The convolutional head serves crops of
any size and reads z_semantic; the paper's (`networks/swin.py`) multiples of its window, and the tokens.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from onedc.config import ModelConfig
from onedc.errors import ConfigError
from onedc.model.blocks import DepthConvBlock, ResidualBlockUpsample, ResnetBlock
from onedc.train.networks.swin import SwinHead

CODE_WEIGHT = 0.01  # of the code error beside cross-entropy
HEAD_WIDTH, HEAD_BLOCKS = 192, 2  # of the convolutional head: channels, and residual blocks at 1/32


@dataclass(frozen=True, kw_only=True)
class DistillConfig:
    """Distillation beside the other terms of a stage."""

    weight: float = 0.0  # of cross-entropy and code error together; 0: no distillation
    head: str = "convolutional"  # or "swin", the paper's
    window: int = 16  # positions of 32 px a side that attention of the swin head sees

    def __post_init__(self) -> None:
        if self.weight < 0:
            raise ConfigError("objective.distill: weight must not be negative")
        if self.head not in ("convolutional", "swin"):
            raise ConfigError(f"objective.distill.head: {self.head!r} is neither 'convolutional' nor 'swin'")
        if self.window < 2 or self.window % 2:
            raise ConfigError("objective.distill: window must be even and at least 2")


class DistillHead(nn.Module):
    """z_semantic [B,C,H/64,W/64] -> logits [B,K,H/32,W/32] of the teacher's codes."""

    def __init__(self, channels: int, codes: int) -> None:
        super().__init__()
        width = HEAD_WIDTH
        self.layers = nn.Sequential(
            DepthConvBlock(channels, width),
            ResidualBlockUpsample(width, width),
            *(ResnetBlock(width) for _ in range(HEAD_BLOCKS)),
            nn.GroupNorm(32, width),
            nn.SiLU(),
            nn.Conv2d(width, codes, 1),
        )

    def forward(self, z_semantic: Tensor) -> Tensor:
        logits: Tensor = self.layers(z_semantic)
        return logits


def make_head(config: DistillConfig, model: ModelConfig, codes: int) -> DistillHead | SwinHead:
    """The head that a config describes, for a teacher of so many codes."""
    if config.head == "swin":
        return SwinHead(model.token_channels, codes, config.window)
    return DistillHead(model.hyper_channels, codes)


def distillation(logits: Tensor, codebook: Tensor, indices: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Cross-entropy, squared error of the codes, and accuracy.

    Args:
        logits: [B,K,h,w].
        codebook: the teacher's codes [K,C].
        indices: what the teacher says, [B,h,w] in 0..K-1.
    """
    logits = logits.float()
    entropy = F.cross_entropy(logits, indices)
    expected = torch.einsum("bkhw,kc->bhwc", logits.softmax(dim=1), codebook)
    error = F.mse_loss(expected, F.embedding(indices, codebook))
    accuracy = (logits.argmax(dim=1) == indices).float().mean()
    return entropy, error, accuracy
