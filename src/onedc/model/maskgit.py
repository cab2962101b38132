"""The paper's teacher of semantic distillation: the encoder and codebook of MaskGIT's VQGAN, f16.

It sees pictures at half their size, so it says one index for 32x32 pixels. Keys are those of the published
file. Source: Chang et al. 2022 (MaskGIT).
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from onedc.model.blocks import GROUPS, ResnetBlock

WIDTHS = (128, 128, 256, 256, 512)
CODES, CODE_CHANNELS = 1024, 256


class _Level(nn.Module):
    """Two residual blocks of one resolution."""

    def __init__(self, channels_in: int, channels: int) -> None:
        super().__init__()
        self.block = nn.Sequential(ResnetBlock(channels_in, channels), ResnetBlock(channels))


class _Encoder(nn.Module):
    """Pictures [B,3,h,w] in [0,1] -> points [B,C,h/16,w/16] to be quantised."""

    def __init__(self, widths: tuple[int, ...], code_channels: int) -> None:
        super().__init__()
        last = widths[-1]
        self.conv_in = nn.Conv2d(3, widths[0], 3, padding=1, bias=False)
        self.down = nn.ModuleList(_Level(a, b) for a, b in pairwise((widths[0], *widths)))
        self.mid = nn.Sequential(ResnetBlock(last), ResnetBlock(last))
        self.norm_out = nn.GroupNorm(GROUPS, last, eps=1e-6)
        self.conv_out = nn.Conv2d(last, code_channels, 1)

    def forward(self, picture: Tensor) -> Tensor:
        h = self.conv_in(picture)
        for number, level in enumerate(self.down):
            h = level.block(F.avg_pool2d(h, 2) if number else h)  # type: ignore[operator]
        return self.conv_out(F.silu(self.norm_out(self.mid(h))))


class _Quantiser(nn.Module):
    def __init__(self, codes: int, channels: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(codes, channels)


class MaskGITTokenizer(nn.Module):
    """x [B,3,H,W] in [-1,1] -> codes [B,256,H/32,W/32] and indices [B,H/32,W/32] in 0..1023."""

    def __init__(
        self, widths: tuple[int, ...] = WIDTHS, codes: int = CODES, code_channels: int = CODE_CHANNELS
    ) -> None:
        super().__init__()
        self.encoder = _Encoder(widths, code_channels)
        self.quantize = _Quantiser(codes, code_channels)

    @property
    def codebook(self) -> Tensor:
        """What the indices stand for [K,C]."""
        return self.quantize.embedding.weight

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        half = F.interpolate((x + 1) / 2, scale_factor=0.5, mode="bilinear", align_corners=False)
        with torch.autocast(x.device.type, enabled=False):  # targets are to be the teacher's own
            points = self.encoder(half).permute(0, 2, 3, 1)
            indices = torch.cdist(points.flatten(0, -2), self.codebook).argmin(dim=1)
        indices = indices.view(points.shape[:-1])
        return F.embedding(indices, self.codebook).permute(0, 3, 1, 2), indices
