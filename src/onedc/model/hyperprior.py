"""The hyperprior: h_a, the quantisation of z (FSQ), h_s, the tokens that z becomes, and the prior of y.

h_s and the prior belong to the integer seam: no normalisation, no attention, no division there. Files are
coded by its integers (`seam.fixed_point`). The floats here are what is trained, with noise, and what effort
takes gradients through: one walk, `SpatialPrior.scan`, with different visitors.
Sources: Xue et al. 2025 (OneDC), whose four-part spatial prior is that of DCVC; FSQ: Mentzer et al. 2023.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist

import torch
from torch import Tensor, nn

from onedc.config import FSQ_DIMS, FSQ_LEVELS, PARTS, ModelConfig
from onedc.model.blocks import (
    AttentionBlock,
    DepthConvBlock,
    QualityBias,
    QualityGain,
    ResidualBlockUpsample,
    ResnetBlock,
)
from onedc.model.parts import collapse, expand


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
        normed = config.hyper_analysis_norm
        self.norm_in, self.norm_out = (
            nn.GroupNorm(1, channels) if normed else nn.Identity() for channels in (fused, second)
        )

    def forward(self, y: Tensor, sem: Tensor) -> Tensor:
        fused = self.fusion[:-1](self.norm_in(torch.cat([self.y_trans_coding(y), sem], dim=1)))
        return self.fusion[-1](self.norm_out(fused))


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


_HALF = (FSQ_LEVELS - 1) * 1.001 / 2
_SHIFT = math.atanh(0.5 / _HALF)
CENTRE = -_SHIFT
SPREAD = math.atanh(1 / _HALF) / NormalDist().inv_cdf(0.75)
"""With CENTRE, mean and standard deviation of a normal z whose four levels are equally frequent."""


def bounded(z: Tensor) -> Tensor:
    """z of any shape, float32, between the outermost levels: -2 to 1, and a little beyond."""
    return torch.tanh(z.float() + _SHIFT) * _HALF - 0.5


class FSQ(nn.Module):
    """z [B,7,h,w] -> z_hat with values in {-1, -0.5, 0, 0.5}; the gradient passes straight through."""

    def forward(self, z: Tensor) -> Tensor:
        levels = bounded(z)
        rounded = levels + (levels.round() - levels).detach()
        return (rounded / (FSQ_LEVELS // 2)).to(z.dtype)

    @staticmethod
    def to_levels(z_hat: Tensor) -> Tensor:
        """z_hat [B,7,h,w] -> levels of the same shape, int64 in 0..3."""
        return (z_hat.float() * (FSQ_LEVELS // 2)).round().long() + FSQ_LEVELS // 2

    @staticmethod
    def to_indices(z_hat: Tensor) -> Tensor:
        """z_hat [B,7,h,w] -> codebook index [B,h,w] int64 in 0..16383; dimension 0 is least significant."""
        powers = FSQ_LEVELS ** torch.arange(FSQ_DIMS, device=z_hat.device)
        return (FSQ.to_levels(z_hat) * powers[:, None, None]).sum(dim=1)


Visitor = Callable[[int, Tensor, Tensor], Tensor]
"""(part, scale, mean) -> decoded values; all collapsed, [B,N/4,H/16,W/16], in the gained domain."""


class SemanticAdaptor(nn.Module):
    """z_semantic [B,C,H/64,W/64] -> tokens for the generator's cross-attention, a map [B,D,H/64,W/64]."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width, limit, window = config.token_channels, config.attention_positions, config.attention_window
        stages: list[nn.Module] = []
        for _ in range(config.semantic_stages):
            stages += [ResnetBlock(width), *(AttentionBlock(width, limit, window) for _ in range(2))]
        self.to_semantic = nn.Sequential(
            DepthConvBlock(config.hyper_channels, width), *stages, DepthConvBlock(width)
        )

    def forward(self, z_semantic: Tensor) -> Tensor:
        return self.to_semantic(z_semantic)


class SpatialPrior(nn.Module):
    """Hyper features to scales and means, part by part."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        n = config.y_channels
        self.y_channels = n

        def block(channels_in: int = 2 * n) -> DepthConvBlock:
            return DepthConvBlock(channels_in, 2 * n, config.seam_expansion)

        self.fusion = nn.Sequential(block(config.hyper_channels), block())
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
