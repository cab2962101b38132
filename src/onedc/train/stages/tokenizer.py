"""The teacher of semantic distillation: a codebook of coarse pixels, one index for 32x32 pixels.

The means of the 4x4 squares of 8 px in each 32x32 pixels are projected to their principal components, evened
out in variance, and quantised to the nearest codes, which learn to be the means of what they stand for.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from onedc.config import ModelConfig
from onedc.errors import ConfigError
from onedc.train.config import OptimConfig
from onedc.train.data.batches import Batch
from onedc.train.stages.stage import Figures, OptimizerGroup, Stage, trainable

FEATURES = 48  # of 32x32 pixels: means of 8x8 pixels in three colours
CHANNELS = 10  # principal components that a code describes
START_IMAGES = 256  # crops that components and first codes are taken from


@dataclass(frozen=True, kw_only=True)
class TokenizerConfig:
    """Size of the codebook."""

    codes: int = 1024

    def __post_init__(self) -> None:
        if self.codes < 2:
            raise ConfigError(f"objective.codes: {self.codes} is no codebook")


def coarse(x: Tensor) -> Tensor:
    """What pictures [B,3,H,W] look like from afar: [B,H/32,W/32,FEATURES]."""
    return F.pixel_unshuffle(F.avg_pool2d(x, 8), 4).permute(0, 2, 3, 1)


class PixelTokenizer(nn.Module):
    """x [B,3,H,W] in [-1,1] -> codes [B,CHANNELS,H/32,W/32] and indices [B,H/32,W/32]."""

    def __init__(self, codes: int) -> None:
        super().__init__()
        self.codebook = nn.Parameter(torch.randn(codes, CHANNELS))
        self.register_buffer("middle", torch.zeros(FEATURES))
        self.register_buffer("axes", torch.zeros(FEATURES, CHANNELS))

    def project(self, x: Tensor) -> Tensor:
        """Pictures -> evened principal components [B,h,w,CHANNELS] of their features."""
        return (coarse(x) - self.get_buffer("middle")) @ self.get_buffer("axes")

    def nearest(self, points: Tensor) -> Tensor:
        """Points [...,C] -> indices of the nearest codes [...]."""
        return torch.cdist(points.flatten(0, -2), self.codebook).argmin(dim=1).view(points.shape[:-1])

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        indices = self.nearest(self.project(x))
        return F.embedding(indices, self.codebook).permute(0, 3, 1, 2), indices

    @torch.no_grad()
    def begin(self, pictures: Iterable[Tensor]) -> None:
        """Take components and first codes from pictures [B,3,H,W].

        Raises:
            ConfigError: they have fewer positions than the codebook has codes.
        """
        points = torch.cat([coarse(x).flatten(0, 2) for x in pictures]).double()
        if len(points) < len(self.codebook):
            raise ConfigError(f"objective.codes: {len(points)} positions for {len(self.codebook)} codes")
        middle = points.mean(dim=0)
        values, vectors = torch.linalg.eigh((points - middle).T @ (points - middle) / len(points))
        axes = vectors[:, -CHANNELS:] / values[-CHANNELS:].clamp(min=1e-6).sqrt()
        self.get_buffer("middle").copy_(middle)
        self.get_buffer("axes").copy_(axes)
        spread = torch.linspace(0, len(points) - 1, len(self.codebook)).long()
        self.codebook.copy_((points[spread] - middle) @ axes)


class Tokenizer(Stage):
    """EMA: codes approach the mean of the features nearest to them."""

    best_by = "loss"

    def __init__(self, tokenizer: PixelTokenizer, model: ModelConfig, optim: OptimConfig) -> None:
        super().__init__()
        self.tokenizer, self.model_config, self.optim = tokenizer, model, optim

    def begin(self, samples: Iterable[Batch]) -> None:
        self.tokenizer.begin(batch.x for batch in itertools.islice(samples, START_IMAGES))

    def stored(self) -> dict[str, nn.Module]:
        return {"tokenizer": self.tokenizer}

    def optimizer_groups(self) -> list[OptimizerGroup]:
        return [OptimizerGroup("codebook", trainable(self.tokenizer, "tokenizer"), self.optim)]

    def loss(self, group: str, batch: Batch, step: int) -> tuple[Tensor, Figures]:
        with torch.no_grad():
            points = self.tokenizer.project(batch.x).float()
            indices = self.tokenizer.nearest(points)
        error = F.mse_loss(F.embedding(indices, self.tokenizer.codebook), points)
        used = torch.bincount(indices.flatten(), minlength=len(self.tokenizer.codebook)).float()
        share = used / used.sum()
        entropy = -(share * share.clamp(min=1e-12).log2()).sum()
        return error, {"code_mse": error, "code_entropy_bits": entropy}

    def validate(self, batch: Batch) -> Figures:
        error, _ = self.loss("codebook", batch, 0)
        return {"loss": error}
