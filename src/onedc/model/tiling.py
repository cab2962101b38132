"""Pictures of any size in bounded memory: overlapping tiles, each a picture of its own, blended at borders.

Maps of several resolutions over one picture are cut and put together. Knows no networks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

SIDE_PX = 1024
"""Longest side of a tile; a picture of at most SIDE_PX squared pixels is one tile."""
OVERLAP_PX = 128
"""What neighbours share; over it one fades into the other."""
ALIGN_PX = 128
"""Tiles begin on multiples of this: the autoencoder's windows of attention lie as they do untiled."""


def tiled(
    net: Callable[..., Sequence[Tensor]], maps: Sequence[Tensor], height_px: int, width_px: int
) -> Sequence[Tensor]:
    """`net(*maps)`, tile by tile where the picture is large; the layout is a function of its size alone.

    Args:
        net: maps of a tile to maps of that tile.
        maps: [B,C,h,w] each, covering the picture at any whole fraction of its resolution down to 1/64.
        height_px, width_px: size of the picture.

    Returns:
        Maps of the whole picture.
    """
    tiles = list(_tiles(height_px, width_px))
    if len(tiles) == 1:
        return net(*maps)
    whole: list[Tensor] = []  # in float32, for the sums of weighted tiles
    parts: Sequence[Tensor] = []
    for rows, columns in tiles:
        parts = net(*(_cut(m, rows, columns, height_px, width_px) for m in maps))
        for index, part in enumerate(parts):
            if index == len(whole):
                size = height_px * part.shape[-2] // len(rows), width_px * part.shape[-1] // len(columns)
                whole.append(part.new_zeros(*part.shape[:2], *size, dtype=torch.float32))
            _add(whole[index], part, rows, columns, height_px, width_px)
    return [m.to(part.dtype) for m, part in zip(whole, parts, strict=True)]


def spans(length_px: int) -> list[range]:
    """One side of a picture as even stretches, each sharing OVERLAP_PX with the next."""
    count = max(1, -(-(length_px - OVERLAP_PX) // (SIDE_PX - OVERLAP_PX)))
    even = -(-(length_px + (count - 1) * OVERLAP_PX) // count)
    side = -(-even // ALIGN_PX) * ALIGN_PX
    if count == 1:
        return [range(length_px)]
    starts = range(0, length_px - OVERLAP_PX, side - OVERLAP_PX)
    return [range(start, min(start + side, length_px)) for start in starts]


def _tiles(height_px: int, width_px: int) -> Iterator[tuple[range, range]]:
    """Rows and columns of every tile, in pixels."""
    if height_px * width_px <= SIDE_PX**2:
        yield range(height_px), range(width_px)
        return
    for rows in spans(height_px):
        for columns in spans(width_px):
            yield rows, columns


def _cut(m: Tensor, rows: range, columns: range, height_px: int, width_px: int) -> Tensor:
    part = m[..., _scaled(rows, m.shape[-2], height_px), _scaled(columns, m.shape[-1], width_px)]
    last = m.is_contiguous(memory_format=torch.channels_last)
    return part.contiguous(memory_format=torch.channels_last) if last else part.contiguous()


def _add(whole: Tensor, part: Tensor, rows: range, columns: range, height_px: int, width_px: int) -> None:
    """Add a tile's map to the picture's with its weights, which sum to 1 over the tiles of each position."""
    down = _weights(rows, part.shape[-2], height_px).to(whole.device)
    across = _weights(columns, part.shape[-1], width_px).to(whole.device)
    place = _scaled(rows, whole.shape[-2], height_px), _scaled(columns, whole.shape[-1], width_px)
    whole[..., place[0], place[1]] += part.float().mul_(down[:, None]).mul_(across)


def _scaled(span: range, positions: int, length_px: int) -> slice:
    """A stretch of pixels on a map that covers the side with so many positions."""
    return slice(span.start * positions // length_px, span.stop * positions // length_px)


def _weights(span: range, positions: int, length_px: int) -> Tensor:
    """Weight of each of a tile's positions along one side: 1, but fading where a neighbour takes over."""
    centres = (torch.arange(positions) + 0.5) * (len(span) / positions)
    weights = torch.ones(positions)
    if span.start > 0:
        weights *= (centres / OVERLAP_PX).clamp(max=1)
    if span.stop < length_px:
        weights *= ((len(span) - centres) / OVERLAP_PX).clamp(max=1)
    return weights
