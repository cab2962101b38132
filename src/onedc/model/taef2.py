"""TAEF2, the tiny autoencoder that `small` is built round: f8, 32 channels, 1.34 M parameters each way.

Everything at 1/8 sees the whole image (its GroupNorm does); the purely convolutional part at higher
resolution runs in tiles with a halo of its receptive field, so tiling is exact but for rounding.
Source: github.com/madebyollin/taesd (MIT); layers by index, as in its weight files. The reduced form is ours,
since most of the work lies at 1 and 1/2: its encoder begins at 1/4, its decoder ends with 2x2 pixels at 1/2
and has half the channels inside its blocks at 1/4, and half of all at 1/2.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from onedc.model.autoencoder import Autoencoder, Finish, as_made
from onedc.model.blocks import Link, as_floats, doubling, in_little_memory, in_tiles
from onedc.model.tiling import TINY_AUTOENCODER

POOLED = 4  # the pooled features are this many times as wide, in as many groups
TAPS = (2, 6, 10)  # the encoder's layers behind its last block at 1, 1/2 and 1/4
REDUCED_TAPS = (8, 10)  # both at 1/4: behind the stem and behind the last block


class Tiling(NamedTuple):
    """Tiles of a part that touches pixels, in positions at 1/8: a side, and what is computed round it."""

    side: int
    halo: int


FULL = Tiling(64, 10)  # either part reaches 72 px to each side
REDUCED_IN, REDUCED_OUT = Tiling(128, 6), Tiling(96, 8)  # those reach 44 and 62 px


class Block(Link):
    """Three 3x3 convolutions round a skip; `pool` adds global context by GroupNorm first.

    Args:
        hidden: channels between them; None: `width`.
    """

    def __init__(self, width: int, hidden: int | None = None, pool: bool = False) -> None:
        super().__init__()
        hidden = hidden or width
        self.conv = nn.Sequential(
            nn.Conv2d(width, hidden, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(hidden, hidden, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(hidden, width, 3, padding=1),
        )
        self.pool = (
            nn.Sequential(
                nn.Conv2d(width, POOLED * width, 1, bias=False),
                nn.GroupNorm(POOLED, POOLED * width),
                nn.ReLU(inplace=True),
                nn.Conv2d(POOLED * width, width, 1, bias=False),
            )
            if pool
            else None
        )

    def forward(self, x: Tensor) -> Tensor:
        if self.pool is not None:
            x = x + self.pool(x)
        branch = self.conv(x)
        branch += x
        return torch.relu_(branch)


class SoftClamp(nn.Module):
    """tanh(x / 3) * 3"""

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(x / 3) * 3


def _down(width: int) -> nn.Conv2d:
    return nn.Conv2d(width, width, 3, stride=2, padding=1, bias=False)


def _up(width: int) -> list[nn.Module]:
    return [nn.Upsample(scale_factor=2), nn.Conv2d(width, width, 3, padding=1, bias=False)]


def _stem(width: int) -> list[nn.Module]:
    """Eight layers from pixels to 1/4, the last two a rectified convolution as one."""
    sizes = (48, *3 * (width + width // 2,), width)
    layers = [[nn.Conv2d(a, b, 3, padding=1), nn.ReLU(inplace=True)] for a, b in pairwise(sizes)]
    return [nn.PixelUnshuffle(4), *layers[0], *layers[1], *layers[2], nn.Sequential(*layers[3])]


def _blocks(count: int, width: int, hidden: int | None = None, pool: bool = False) -> list[nn.Module]:
    return [Block(width, hidden, pool) for _ in range(count)]


def _half_resolution(width: int) -> list[nn.Module]:
    """Layers from 1/8 to 2x2 pixels at 1/2."""
    half = width // 2
    quarter = [doubling(width, width), *_blocks(3, width, hidden=half)]
    return [
        *quarter,
        doubling(width, half),
        *_blocks(3, half),
        nn.Conv2d(half, 12, 3, padding=1),
        nn.PixelShuffle(2),
    ]


class TAEF2(Autoencoder):
    """Encoder and decoder, for pictures of any size that is a multiple of 8.

    Args:
        reduced: its encoder begins at 1/4, its decoder ends at 1/2; up to 1/8 layers keep their index.
    """

    overlap = TINY_AUTOENCODER

    def __init__(self, channels: int = 32, width: int = 64, reduced: bool = False) -> None:
        super().__init__()
        w = width
        self.width = width
        self.tiles_in, self.tiles_out = (REDUCED_IN, REDUCED_OUT) if reduced else (FULL, FULL)
        self.taps = REDUCED_TAPS if reduced else TAPS
        if reduced:
            first, last = _stem(w), _half_resolution(w)
        else:
            first = [nn.Conv2d(3, w, 3, padding=1), *_blocks(1, w), _down(w), *_blocks(3, w), _down(w)]
            first += _blocks(1, w)
            last = [*_up(w), *_blocks(3, w), *_up(w), *_blocks(3, w), *_up(w), *_blocks(1, w)]
            last.append(nn.Conv2d(w, 3, 3, padding=1))
        self.encoder = nn.Sequential(
            *first, *_blocks(2, w), _down(w), *_blocks(3, w, pool=True), nn.Conv2d(w, channels, 3, padding=1)
        )
        self.decoder = nn.Sequential(
            SoftClamp(), nn.Conv2d(channels, w, 3, padding=1), nn.ReLU(inplace=True),
            *_blocks(3, w, pool=True), *last,
        )  # fmt: skip

    def from_pixels(self, x: Tensor) -> Tensor:
        """See `Autoencoder`: what sees no more than its neighbourhood, in tiles."""
        side, halo = self.tiles_in
        return in_tiles(self.neighbourhoods, x, side=side, halo=halo, px_in=1, px_out=8)

    def neighbourhoods(self, x: Tensor) -> Tensor:
        """`from_pixels` of one tile."""
        return self.encoder[:11]((as_floats(x, next(self.parameters()).dtype) + 1) / 2)

    def behind_pixels(self, features: Tensor) -> Tensor:
        """See `Autoencoder`; vae_latents of standard deviation about 0.86."""
        return self.encoder[11:](features)

    def features(self, x: Tensor) -> list[Tensor]:
        """Unit-length features of the encoder, float32, at its taps, of x [B,3,H,W] in [-1,1] of any size.

        Where gradients are taken, the maps between them are made again for them.
        """
        height, width = x.shape[-2:]
        h, first, taps = F.pad((x + 1) / 2, (0, -width % 4, 0, -height % 4), mode="replicate"), 0, []
        for last in self.taps:
            layers: Callable[[Tensor], Tensor] = self.encoder[first:last]
            h, first = in_little_memory(layers, h), last
            found = h.float()
            taps.append(found * torch.rsqrt(found.square().sum(dim=1, keepdim=True) + 1e-4))
        return taps

    @staticmethod
    def distance(a: list[Tensor], b: list[Tensor]) -> Tensor:
        """Distance [B] between two results of `features`, in the manner of LPIPS."""
        levels = [(fa - fb).square().sum(dim=1).mean(dim=(1, 2)) for fa, fb in zip(a, b, strict=True)]
        return torch.stack(levels).sum(dim=0)

    def before_pixels(self, vae_latents: Tensor) -> Tensor:
        """See `Autoencoder`."""
        return self.decoder[:6](vae_latents)

    def to_pixels(self, features: Tensor, finish: Finish = as_made) -> Tensor:
        """See `Autoencoder`; in tiles."""
        side, halo = self.tiles_out
        return in_tiles(
            lambda part: finish(self.picture(part)), features, side=side, halo=halo, px_in=8, px_out=1
        )

    def picture(self, features: Tensor) -> Tensor:
        """`to_pixels` of one tile."""
        return self.decoder[6:](features) * 2 - 1
