"""Convolutions on pictures of any size in bounded memory: bands of rows with a halo, cut exactly.

Unlike `tiling`, nothing is blended: each value is what the whole picture gives. Knows no networks.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

WHOLE_PX = 2**20
"""Pictures of at most so many pixels are one band."""
HALOS = 6
"""Rows of a band in halos, at least: what is computed twice is at most a third."""


def in_bands(net: Callable[[Tensor], Tensor], x: Tensor, *, halo: int, px_in: int, px_out: int) -> Tensor:
    """`net(x)`, band by band where the picture is large; no gradient should be needed there.

    Args:
        net: convolutions and pixel shuffles from a map of one resolution to one of another.
        x: [B,C,h,w].
        halo: rows of the coarser of the two maps that `net` sees beyond each row.
        px_in, px_out: pixels a side of a position of `x` and of the result; one is a multiple of the other.
    """
    step = max(px_in, px_out)
    height, width = x.shape[-2] * px_in // step, x.shape[-1] * px_in // step
    if height * width * step**2 <= WHOLE_PX or torch.is_grad_enabled():
        return net(x)
    rows = max(HALOS * halo, WHOLE_PX // (width * step**2))
    bands = []
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        first, last = max(top - halo, 0), min(bottom + halo, height)
        band = net(x[..., first * step // px_in : last * step // px_in, :])
        bands.append(band[..., (top - first) * step // px_out : (bottom - first) * step // px_out, :])
    return torch.cat(bands, dim=-2)
