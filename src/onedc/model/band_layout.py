"""How a large picture is cut into bands of rows: a function of its size alone. Knows no torch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

WHOLE_PX = 2**20
"""Pictures of at most so many pixels are one band."""
HALOS = 6
"""Rows of a band in halos, at least: what is computed twice is at most a third."""


class Band(NamedTuple):
    """Rows of a map: those that are wanted, and those that are computed with a halo round them."""

    top: int
    bottom: int
    first: int
    last: int


def bands(height: int, width: int, *, step_px: int, halo: int) -> Iterator[Band]:
    """The bands of a map of as many positions, each `step_px` pixels a side."""
    whole = height * width * step_px**2 <= WHOLE_PX
    rows = height if whole else max(HALOS * halo, WHOLE_PX // (width * step_px**2))
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        yield Band(top, bottom, max(top - halo, 0), min(bottom + halo, height))
