"""TAEF2, the tiny autoencoder that `small` is built round: f8, 32 channels, 1.34 M parameters each way.

Everything at 1/8 sees the whole image (its GroupNorm does); the purely convolutional part at higher
resolution runs in tiles with a halo of its receptive field, so tiling is exact but for rounding.
Source: github.com/madebyollin/taesd (MIT); layers by index, as in its weight files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from onedc.model.blocks import Link

POOLED = 4  # the pooled features are this many times as wide, in as many groups
TILE = 64  # side of a tile at 1/8: 512 px
HALO = 10  # at 1/8; the receptive field of either pixel part reaches 72 px to each side
TAPS = (2, 6, 10)  # the encoder's layers behind its last block at 1, 1/2 and 1/4
WHOLE_LIMIT = 12288  # positions at 1/8 (1024x768 px) up to which the image is one tile


class Block(Link):
    """Three 3x3 convolutions round a skip; `pool` adds global context by GroupNorm first."""

    def __init__(self, width: int, pool: bool = False) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 3, padding=1),
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


def _blocks(count: int, width: int, pool: bool = False) -> list[nn.Module]:
    return [Block(width, pool) for _ in range(count)]


class TAEF2(nn.Module):
    """Encoder and decoder. `encode` and `decode` are for pictures of any size that is a multiple of 8."""

    def __init__(self, channels: int = 32, width: int = 64) -> None:
        super().__init__()
        w = width
        self.width = width
        self.encoder = nn.Sequential(
            nn.Conv2d(3, w, 3, padding=1), *_blocks(1, w), _down(w), *_blocks(3, w), _down(w), *_blocks(3, w),
            _down(w), *_blocks(3, w, pool=True), nn.Conv2d(w, channels, 3, padding=1),
        )  # fmt: skip
        self.decoder = nn.Sequential(
            SoftClamp(), nn.Conv2d(channels, w, 3, padding=1), nn.ReLU(inplace=True),
            *_blocks(3, w, pool=True), *_up(w), *_blocks(3, w), *_up(w), *_blocks(3, w), *_up(w),
            *_blocks(1, w), nn.Conv2d(w, 3, 3, padding=1),
        )  # fmt: skip

    def encode(self, x: Tensor) -> Tensor:
        """Image [B,3,H,W] in [-1,1] -> vae_latents [B,32,H/8,W/8], standard deviation about 0.86."""
        x = (x + 1) / 2
        pixels, whole = self.encoder[:11], self.encoder[11:]
        height, width = x.shape[-2] // 8, x.shape[-1] // 8
        features = x.new_empty((x.shape[0], self.width, height, width))
        for tile in tiles(height, width):
            features[..., tile.rows, tile.cols] = tile.run(pixels, x, scale_in=8, scale_out=1)
        return whole(features)

    def features(self, x: Tensor) -> list[Tensor]:
        """Unit-length features of the encoder, float32, at 1, 1/2 and 1/4 of x [B,3,H,W] in [-1,1].

        Where gradients are taken, the maps between them are made again for them.
        """
        h, first, taps = (x + 1) / 2, 0, []
        for last in TAPS:
            layers: Callable[[Tensor], Tensor] = self.encoder[first:last]
            h, first = _in_little_memory(layers, h), last
            found = h.float()
            taps.append(found * torch.rsqrt(found.square().sum(dim=1, keepdim=True) + 1e-4))
        return taps

    @staticmethod
    def distance(a: list[Tensor], b: list[Tensor]) -> Tensor:
        """Distance [B] between two results of `features`, in the manner of LPIPS."""
        levels = [(fa - fb).square().sum(dim=1).mean(dim=(1, 2)) for fa, fb in zip(a, b, strict=True)]
        return torch.stack(levels).sum(dim=0)

    def decode(self, vae_latents: Tensor) -> Tensor:
        """vae_latents [B,32,H/8,W/8] -> image [B,3,H,W], in [-1,1] but for overshoot (not clamped)."""
        whole, pixels = self.decoder[:6], self.decoder[6:]
        features = whole(vae_latents)
        batch, _, height, width = features.shape
        if height * width <= WHOLE_LIMIT:
            return pixels(features) * 2 - 1
        x = features.new_empty((batch, 3, 8 * height, 8 * width))
        for tile in tiles(height, width):
            rows, cols = scaled(tile.rows, 8), scaled(tile.cols, 8)
            run = partial(tile.run, pixels, scale_in=1, scale_out=8)
            x[..., rows, cols] = _in_little_memory(run, features)
        return x.mul_(2).sub_(1)


def _in_little_memory(run: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """`run(x)`; where gradients are taken, the maps inside are made again for them."""
    if not x.requires_grad:
        return run(x)
    return checkpoint(run, x, use_reentrant=False, preserve_rng_state=False)


class Tile:
    """One rectangle of the 1/8 grid and the rectangle with its halo, clipped to the picture."""

    def __init__(self, top: int, left: int, side: int, height: int, width: int) -> None:
        bottom, right = min(top + side, height), min(left + side, width)
        self.rows, self.cols = slice(top, bottom), slice(left, right)
        self.outer_rows = slice(max(top - HALO, 0), min(bottom + HALO, height))
        self.outer_cols = slice(max(left - HALO, 0), min(right + HALO, width))

    def run(self, net: Callable[[Tensor], Tensor], x: Tensor, *, scale_in: int, scale_out: int) -> Tensor:
        """`net` on the outer rectangle of `x`, cut back to the inner one."""
        y = net(x[..., scaled(self.outer_rows, scale_in), scaled(self.outer_cols, scale_in)])
        top = (self.rows.start - self.outer_rows.start) * scale_out
        left = (self.cols.start - self.outer_cols.start) * scale_out
        height = (self.rows.stop - self.rows.start) * scale_out
        width = (self.cols.stop - self.cols.start) * scale_out
        return y[..., top : top + height, left : left + width]


def tiles(height: int, width: int) -> Iterator[Tile]:
    """The layout of tiles: a function of the size of the 1/8 grid alone."""
    side = max(height, width) if height * width <= WHOLE_LIMIT else TILE
    for top in range(0, height, side):
        for left in range(0, width, side):
            yield Tile(top, left, side, height, width)


def scaled(span: slice, factor: int) -> slice:
    """The same span on a grid `factor` times as fine."""
    return slice(span.start * factor, span.stop * factor)
