"""The entropy model of y: four steps over channels and positions, each seeing what came before.

One walk, `SpatialPrior.scan`, with different visitors: training adds noise, the encoder records
symbols, the decoder reads them, the z-only mode answers with the means. Integer seam: no
normalisation, no attention, no division here.
Source: Xue et al. 2025 (OneDC), whose four-part spatial prior is that of DCVC.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from onedc.config import ModelConfig
from onedc.model.blocks import DepthConvBlock, QualityBias, QualityGain

PARTS = 4
# Positions have a parity (0: even row and column, 1: odd column, 2: odd row, 3: both odd). Those of parity
# group ^ TURN[part] of a quarter of the channels (group) belong to the part.
TURN = (0, 3, 2, 1)

Visitor = Callable[[int, Tensor, Tensor], Tensor]
"""(part, scale, mean) -> decoded values; all collapsed, [B,N/4,H/16,W/16], in the gained domain."""


class SpatialPrior(nn.Module):
    """Hyper features to scales and means, part by part."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        n = config.y_channels
        self.y_channels = n

        def block(channels_in: int = 2 * n) -> DepthConvBlock:
            return DepthConvBlock(channels_in, 2 * n, config.seam_expansion)

        self.fusion = nn.Sequential(
            block(config.hyper_channels), *(block() for _ in range(config.prior_fusion_blocks - 1))
        )
        self.reduction = nn.Conv2d(2 * n, n, 1)
        self.adaptors = nn.ModuleList(block() for _ in range(PARTS - 1))
        self.trunk = nn.Sequential(*(block() for _ in range(config.prior_blocks)))
        knots = config.quality_knots
        self.hyper_bias = QualityBias(knots, config.hyper_channels) if knots else None
        self.context_bias = QualityBias(knots, n) if knots else None
        self.gain = QualityGain(knots, n) if knots else None

    def scan(self, hyper: Tensor, quality: Tensor, visit: Visitor) -> Tensor:
        """Walk the four parts and collect y_hat.

        Args:
            hyper: hyper features [B,C,H/16,W/16].
            quality: quality bytes [B], int64.
            visit: called once a part with the part's number and its collapsed scale and mean, both times
                the gain of the quality; returns the decoded values in the same form.

        Returns:
            y_hat [B,N,H/16,W/16], the gain divided out.
        """
        params = self.fusion(hyper if self.hyper_bias is None else self.hyper_bias(hyper, quality))
        context = self.reduction(params)
        if self.context_bias is not None:
            context = self.context_bias(context, quality)
        y_hat = torch.zeros_like(context)
        for part in range(PARTS):
            if part > 0:
                params = self.trunk(self.adaptors[part - 1](torch.cat([y_hat, context], dim=1)))
            scale, mean = (collapse(self.gained(t, quality), part) for t in params.chunk(2, dim=1))
            decoded = expand(visit(part, scale, mean), part)
            y_hat = y_hat + (decoded if self.gain is None else self.gain.inverse(decoded, quality))
        return y_hat

    def gained(self, t: Tensor, quality: Tensor) -> Tensor:
        """`t` [B,N,...] times the gain of each picture's quality."""
        return t if self.gain is None else self.gain(t, quality)


def _mask(part: int, like: Tensor) -> Tensor:
    """1 where a group's position belongs to the part, else 0: [4 groups,1,1,2,1,2]."""
    four = torch.arange(4, device=like.device)
    return ((four ^ TURN[part])[:, None] == four).to(like.dtype).reshape(4, 1, 1, 2, 1, 2)


def collapse(t: Tensor, part: int) -> Tensor:
    """[B,N,h,w] -> [B,N/4,h,w]: at each position the one group of channels that belongs to the part."""
    b, n, h, w = t.shape
    cells = t.reshape(b, 4, n // 4, h // 2, 2, w // 2, 2)
    return (cells * _mask(part, t)).sum(dim=1).reshape(b, n // 4, h, w)


def expand(t: Tensor, part: int) -> Tensor:
    """The inverse of `collapse`: [B,N/4,h,w] -> [B,N,h,w], zero where the part has nothing."""
    b, n, h, w = t.shape
    cells = t.reshape(b, 1, n, h // 2, 2, w // 2, 2)
    return (cells * _mask(part, t)).reshape(b, 4 * n, h, w)
