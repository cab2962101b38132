"""Convolutions on pictures of any size in bounded memory: bands of rows with a halo, cut exactly.

Unlike `tiling`, nothing is blended: each value is what the whole picture gives. Knows no networks.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from onedc.model.band_layout import bands


def in_bands(net: Callable[[Tensor], Tensor], x: Tensor, *, halo: int, px_in: int, px_out: int) -> Tensor:
    """`net(x)`, band by band where the picture is large; no gradient should be needed there.

    Args:
        net: convolutions and pixel shuffles from a map of one resolution to one of another.
        x: [B,C,h,w].
        halo: rows of the coarser of the two maps that `net` sees beyond each row.
        px_in, px_out: pixels a side of a position of `x` and of the result; one is a multiple of the other.
    """
    if torch.is_grad_enabled():
        return net(x)
    step = max(px_in, px_out)
    height, width = x.shape[-2] * px_in // step, x.shape[-1] * px_in // step
    parts = []
    for top, bottom, first, last in bands(height, width, step_px=step, halo=halo):
        part = net(x[..., first * step // px_in : last * step // px_in, :])
        parts.append(part[..., (top - first) * step // px_out : (bottom - first) * step // px_out, :])
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=-2)
