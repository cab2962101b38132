"""Large pictures through networks that see all of it: overlapping tiles, each a picture of its own, blended.

The layout is a function of the picture's size alone. Arrays are numpy's or of a library that is like it.
Knows no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Overlap(NamedTuple):
    """How pictures are cut into tiles. One of at most `side_px` squared pixels is a single tile."""

    side_px: int
    """Longest side of a tile."""
    shared_px: int
    """What neighbours share; over it one fades into the other. Tiles begin and end on multiples of it."""

    def spans(self, length_px: int) -> list[range]:
        """One side of a picture in the fewest stretches, as even as can be."""
        shared = self.shared_px
        count = max(1, -(-(length_px - shared) // (self.side_px - shared)))
        if count == 1:
            return [range(length_px)]
        even = -(-(length_px + (count - 1) * shared) // count)
        side = -(-even // shared) * shared
        starts = range(0, length_px - shared, side - shared)
        return [range(start, min(start + side, length_px)) for start in starts]

    def tiles(self, height_px: int, width_px: int) -> list[tuple[range, range]]:
        """Rows and columns of every tile, in pixels."""
        if height_px * width_px <= self.side_px**2:
            return [(range(height_px), range(width_px))]
        return list(product(self.spans(height_px), self.spans(width_px)))

    def weights(self, span: range, positions: int, length_px: int) -> NDArray[np.float32]:
        """Of a tile's positions along one side: 1, but fading where a neighbour takes over."""
        centres = (np.arange(positions) + 0.5) * (len(span) / positions)
        weights = np.ones(positions)
        if span.start > 0:
            weights *= np.minimum(centres / self.shared_px, 1)
        if span.stop < length_px:
            weights *= np.minimum((len(span) - centres) / self.shared_px, 1)
        return weights.astype(np.float32)


STABLE_DIFFUSION = Overlap(1024, 128)
"""Starts of tiles are multiples of its autoencoder's windows of attention: these lie as they do untiled."""
TINY_AUTOENCODER = Overlap(1536, 256)
"""Its networks' windows of attention are 256 px wide. Sharing 128 px costs .2 dB at 3072x2048 px."""


def blended(
    net: Callable[..., Sequence[Any]],
    maps: Sequence[Any],
    height_px: int,
    width_px: int,
    *,
    overlap: Overlap,
    put: Callable[[NDArray[np.float32]], Any],
) -> Sequence[Any]:
    """`net(*maps)`, tile by tile where the picture is large.

    Args:
        net: maps of a tile to maps of that tile.
        maps: [B,C,h,w] each, covering the picture at any whole fraction of its resolution down to 1/64.
        height_px, width_px: size of the picture.
        put: an array of numpy to one of the maps' library.

    Returns:
        Maps of the whole picture; of several tiles in float32.
    """
    tiles = overlap.tiles(height_px, width_px)
    if len(tiles) == 1:
        return net(*maps)
    whole: list[Any] = []
    for rows, columns in tiles:
        parts = net(*(m[_place(m, rows, columns, height_px, width_px)] for m in maps))
        for index, part in enumerate(parts):
            down, across = part.shape[-2:]
            if index == len(whole):
                size = height_px * down // len(rows), width_px * across // len(columns)
                whole.append(put(np.zeros((*part.shape[:2], *size), np.float32)))
            place = _place(whole[index], rows, columns, height_px, width_px)
            by_row = put(overlap.weights(rows, down, height_px)[:, None])
            by_column = put(overlap.weights(columns, across, width_px))
            whole[index][place] += part * by_row * by_column
    return whole


def _place(m: Any, rows: range, columns: range, height_px: int, width_px: int) -> tuple[Any, ...]:
    """A tile on a map that covers the picture."""
    sides = (rows, m.shape[-2], height_px), (columns, m.shape[-1], width_px)
    return (
        ...,
        *(slice(s.start * positions // px, s.stop * positions // px) for s, positions, px in sides),
    )
