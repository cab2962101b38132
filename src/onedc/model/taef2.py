"""TAEF2, the tiny autoencoder that `small` is built round: f8, 32 channels, 1.34 M parameters each way.

Everything at 1/8 sees the whole image (its GroupNorm does); the purely convolutional part at higher
resolution runs in tiles with a halo of its receptive field, so tiling is exact but for rounding.
Source: github.com/madebyollin/taesd (MIT); layers by index, as in its weight files. The decoder has a form of
ours without layers at full resolution, where half of its work lies: its last convolution makes 2x2 pixels.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from onedc.model.blocks import Link, in_little_memory, in_tiles

POOLED = 4  # the pooled features are this many times as wide, in as many groups
TILE = 64  # side of a tile at 1/8: 512 px
HALO = 10  # at 1/8; the receptive field of either pixel part reaches 72 px to each side
HALF_TILE, HALF_HALO = 96, 8  # those of a decoder that ends at 1/2, which reaches 62 px
TAPS = (2, 6, 10)  # the encoder's layers behind its last block at 1, 1/2 and 1/4


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
    """Encoder and decoder, for pictures of any size that is a multiple of 8.

    Args:
        half_decoder: it has no layers at full resolution.
    """

    def __init__(self, channels: int = 32, width: int = 64, half_decoder: bool = False) -> None:
        super().__init__()
        w = width
        self.width = width
        self.out_halo, self.out_tile = (HALF_HALO, HALF_TILE) if half_decoder else (HALO, TILE)
        last: list[nn.Module] = [*_up(w), *_blocks(1, w), nn.Conv2d(w, 3, 3, padding=1)]
        if half_decoder:
            last = [nn.Conv2d(w, 12, 3, padding=1), nn.PixelShuffle(2)]
        self.encoder = nn.Sequential(
            nn.Conv2d(3, w, 3, padding=1), *_blocks(1, w), _down(w), *_blocks(3, w), _down(w), *_blocks(3, w),
            _down(w), *_blocks(3, w, pool=True), nn.Conv2d(w, channels, 3, padding=1),
        )  # fmt: skip
        self.decoder = nn.Sequential(
            SoftClamp(), nn.Conv2d(channels, w, 3, padding=1), nn.ReLU(inplace=True),
            *_blocks(3, w, pool=True), *_up(w), *_blocks(3, w), *_up(w), *_blocks(3, w), *last,
        )  # fmt: skip

    def encode(self, x: Tensor) -> Tensor:
        """Image [B,3,H,W] in [-1,1] -> vae_latents [B,32,H/8,W/8], standard deviation about 0.86."""
        return self.behind_pixels(in_tiles(self.from_pixels, x, halo=HALO, px_in=1, px_out=8, side=TILE))

    def from_pixels(self, x: Tensor) -> Tensor:
        """The part of the encoder that sees no more than its neighbourhood: x -> [B,C,H/8,W/8]."""
        return self.encoder[:11]((x + 1) / 2)

    def behind_pixels(self, features: Tensor) -> Tensor:
        """What `from_pixels` gives -> vae_latents."""
        return self.encoder[11:](features)

    def features(self, x: Tensor) -> list[Tensor]:
        """Unit-length features of the encoder, float32, at 1, 1/2 and 1/4 of x [B,3,H,W] in [-1,1].

        Where gradients are taken, the maps between them are made again for them.
        """
        h, first, taps = (x + 1) / 2, 0, []
        for last in TAPS:
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

    def decode(self, vae_latents: Tensor) -> Tensor:
        """vae_latents [B,32,H/8,W/8] -> image [B,3,H,W], in [-1,1] but for overshoot (not clamped)."""
        features = self.before_pixels(vae_latents)
        return in_tiles(self.to_pixels, features, halo=self.out_halo, px_in=8, px_out=1, side=self.out_tile)

    def before_pixels(self, vae_latents: Tensor) -> Tensor:
        """The part of the decoder that sees the whole image: vae_latents -> [B,C,H/8,W/8]."""
        return self.decoder[:6](vae_latents)

    def to_pixels(self, features: Tensor) -> Tensor:
        """What `before_pixels` gives -> image."""
        return self.decoder[6:](features) * 2 - 1
