"""Discriminators: heads on features of LPIPS's network (stage I), and on those of the fake score (stage II).

No losses here.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from onedc.model.blocks import GROUPS


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
