"""How far decoded pictures are from their originals: LPIPS, L1, L1 of coarse means, MS-SSIM; and windows.

Nothing of rates, stages or schedules.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from onedc.model.lpips import LPIPS

COARSE_PX = 16
REPEATED_PX = (8, 16)  # sides of a position of vae_latents and of y: what decoders repeat their strokes by
SQUARE_PX = 128  # side of the squares in which repetition is measured
NATURAL = 3.0  # how far an original may have more of it than noise before that counts no further
SSIM_SHARES = (0.0517, 0.3295, 0.3462, 0.2726)  # of the scales, finest first: Wang's first four of five
SSIM_PX = 8  # side of its windows
SSIM_C1, SSIM_C2 = 0.02**2, 0.06**2  # for values that span 2
INSET_PX = 8  # border on each side that pixel terms leave out, on average
EDGE_SHARE = 0.3  # of windows, at each of two opposite edges: a tenth left borders behind the rest
GRID_PX = SQUARE_PX + 2 * INSET_PX  # least side of what is compared for the term of the grid


class PixelTerms(NamedTuple):
    """How far pictures in [-1,1] are from their originals, each [B]; features of LPIPS's network."""

    lpips: Tensor
    l1: Tensor  # mean absolute error
    coarse: Tensor  # mean absolute error of means of COARSE_PX squares
    features: list[Tensor]  # of the pictures
    target_features: list[Tensor]  # of the originals
    picture: Tensor  # the parts that were compared, [B,3,h,w]
    target: Tensor

    @property
    def structure(self) -> Tensor:
        """1 - MS-SSIM [B]; computed only where it is asked for."""
        return 1 - ms_ssim(self.picture, self.target)

    @property
    def grid(self) -> Tensor:
        """How much more the pictures repeat themselves than the originals [B]; only where it is asked for."""
        lacks = [
            (repetition(self.picture, px) - repetition(self.target, px).detach().clamp(max=NATURAL)).clamp(
                min=0
            )
            for px in REPEATED_PX
        ]
        return torch.stack(lacks).mean(dim=(0, 2)) / 10


def pixel_terms(
    decode: Callable[[Tensor], Tensor], lpips: LPIPS, x: Tensor, decoded: Tensor, inset: Tensor | None
) -> PixelTerms:
    """The terms of decoded vae_latents against square pictures.

    Args:
        decode: vae_latents to pictures.
        inset: top left [B,2] of the part that is compared, in pixels from 0 to 16; the part is 16 px smaller
            than the picture, the rest being context. Insets that vary keep patterns that LPIPS does not see
            at one alignment from settling in the grid of the latents. None: all of the picture is compared.
    """
    picture, target = decode(decoded), x
    if inset is not None:
        picture, target = (windows(t, inset, x.shape[-1] - 2 * INSET_PX) for t in (picture, target))
    with torch.no_grad():
        target_features = lpips.features(target)
    error, features = picture - target, lpips.features(picture)
    return PixelTerms(
        lpips=lpips.distance(features, target_features),
        l1=error.abs().mean(dim=(1, 2, 3)),
        coarse=F.avg_pool2d(error.float(), COARSE_PX).abs().mean(dim=(1, 2, 3)),
        features=features,
        target_features=target_features,
        picture=picture,
        target=target,
    )


def ms_ssim(a: Tensor, b: Tensor) -> Tensor:
    """MS-SSIM [B] of pictures [B,3,H,W] in [-1,1], in windows of 8x8 at every fourth pixel.

    Over four scales, or fewer where pictures have less than 64 pixels a side.
    Source: Wang et al. 2003, whose Gaussian window is a box here.
    """
    shares = [share for scale, share in enumerate(SSIM_SHARES) if min(a.shape[-2:]) >> scale >= SSIM_PX]
    total = torch.ones(len(a), device=a.device)
    for scale, share in enumerate(shares):
        if scale:
            a, b = F.avg_pool2d(a, 2), F.avg_pool2d(b, 2)
        products = torch.cat([a, b, a * a, b * b, a * b], dim=1).float()
        mean_a, mean_b, aa, bb, ab = F.avg_pool2d(products, SSIM_PX, SSIM_PX // 2).chunk(5, dim=1)
        covariance, variances = ab - mean_a * mean_b, aa + bb - mean_a.square() - mean_b.square()
        alike = (2 * covariance + SSIM_C2) / (variances + SSIM_C2)
        if scale == len(shares) - 1:
            alike = alike * (2 * mean_a * mean_b + SSIM_C1) / (mean_a.square() + mean_b.square() + SSIM_C1)
        total = total * alike.mean(dim=(1, 2, 3)).clamp(min=1e-3) ** (share / sum(shares))
    return total


def repetition(picture: Tensor, period_px: int) -> Tensor:
    """How much of the detail of pictures [B,3,H,W] in [-1,1] comes again every so many pixels: [B,squares].

    In squares of SQUARE_PX, from the top left: the energy of the mean of all tiles of one period, times their
    number, over that of all detail, which is grey less its mean over 17x17 px. Noise has 1, photos 1 to 2.
    Gradients see the first of the two alone, so that more detail is no way out.
    """
    grey = picture.float().mean(dim=1, keepdim=True)
    detail = grey - F.avg_pool2d(grey, 17, stride=1, padding=8, count_include_pad=False)
    height, width = (side // SQUARE_PX * SQUARE_PX for side in detail.shape[-2:])
    squares = F.unfold(detail[..., :height, :width], SQUARE_PX, stride=SQUARE_PX).transpose(1, 2)
    across = SQUARE_PX // period_px
    tiles = squares.reshape(*squares.shape[:2], across, period_px, across, period_px)
    repeated = across**2 * tiles.mean(dim=(2, 4)).square().mean(dim=(2, 3))
    return repeated / squares.square().mean(dim=2).detach().clamp(min=1e-4)


def windows(t: Tensor, corners: Tensor, size: int) -> Tensor:
    """A square of `t` [B,C,H,W] for each picture: corners [B,2] (top, left) -> [B,C,size,size]."""
    steps = torch.arange(size, device=t.device)
    rows, cols = ((corner.to(t.device)[:, None] + steps) for corner in corners.unbind(dim=1))
    strip = t.gather(2, rows[:, None, :, None].expand(-1, t.shape[1], -1, t.shape[3]))
    return strip.gather(3, cols[:, None, None, :].expand(-1, t.shape[1], size, -1))


def window_corners(drawn: Tensor, room: int) -> Tensor:
    """Where windows begin, 0 to `room`, of numbers drawn evenly from 0 to 1, of any shape."""
    place = (drawn - EDGE_SHARE) / (1 - 2 * EDGE_SHARE)
    return torch.where(place < 0, 0, (1 + (place * (room - 1)).long()).clamp(max=room))


@cache
def window_coverage(side: int, size: int, device: torch.device) -> Tensor:
    """How often windows of `size` show each position of y of a square of `side`, in the mean of all 1.

    Sides in positions of vae_latents, 8 px; of [side/2,side/2] positions of y.
    """
    room = side - size
    chance = torch.zeros(room + 1)
    chance[1 : max(room, 2)] = (1 - 2 * EDGE_SHARE) / max(room - 1, 1)
    chance[[0, room]] += EDGE_SHARE
    after = torch.arange(side) - torch.arange(room + 1)[:, None]  # the window's beginning
    covered = (chance[:, None] * ((after >= 0) & (after < size))).sum(dim=0).reshape(-1, 2).mean(dim=1)
    return (torch.outer(covered, covered) / covered.mean() ** 2).to(device)
