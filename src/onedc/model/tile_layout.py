"""How a large picture is cut into tiles: a function of its size alone. Knows no torch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

WHOLE_PX = 3 * 2**18
"""Pictures of at most so many pixels are one tile."""


class Span(NamedTuple):
    """One side of a tile, in positions of the coarser map: what is wanted, and what is computed round it."""

    start: int
    stop: int
    first: int
    last: int

    def wanted(self, positions: int) -> slice:
        """On a map with so many positions for each of the coarser one."""
        return slice(self.start * positions, self.stop * positions)

    def computed(self, positions: int) -> slice:
        """Likewise."""
        return slice(self.first * positions, self.last * positions)

    def inside(self, positions: int) -> slice:
        """What is wanted, counted from the beginning of what is computed."""
        return slice((self.start - self.first) * positions, (self.stop - self.first) * positions)


class Tile(NamedTuple):
    """A rectangle of a map."""

    rows: Span
    columns: Span


def tiles(height: int, width: int, *, step_px: int, side: int, halo: int) -> Iterator[Tile]:
    """The tiles of a map of as many positions, each `step_px` pixels a side.

    Args:
        side: positions a side of a tile.
        halo: those that are computed round it.
    """
    whole = height * width * step_px**2 <= WHOLE_PX
    for rows in _spans(height, height if whole else side, halo):
        for columns in _spans(width, width if whole else side, halo):
            yield Tile(rows, columns)


def _spans(length: int, side: int, halo: int) -> Iterator[Span]:
    for start in range(0, length, side):
        stop = min(start + side, length)
        yield Span(start, stop, max(start - halo, 0), min(stop + halo, length))
