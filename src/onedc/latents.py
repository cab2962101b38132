"""What the encoder's networks make of pictures: z, and y for each quality. Knows no bytes of files."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from onedc.constants import Y_PX
from onedc.effort.level import Effort
from onedc.engine.models import ReadyModel
from onedc.entropy.coder import SymbolEncoder
from onedc.errors import ImageError
from onedc.image.forms import Source, padded
from onedc.seam.fixed_point import Hyper, Seam

BEYOND_FROM = 181
"""From this quality byte on what lies wholly beyond the picture is coded as well.

Below, its means are taken: for the same bytes LPIPS of small pictures falls by some 5 %. Above, flat pictures
lose more than the bits are worth.
"""


@dataclass(frozen=True)
class Latents:
    """Pictures of one padded size with what the encoder's networks made of them."""

    sources: list[Source]
    y: NDArray[np.float32]  # [B,N,h/16,w/16]
    z_idx: NDArray[np.int64]  # [B,h/64,w/64]
    z_streams: list[SymbolEncoder]  # that z was written to
    seam: Seam

    @cached_property
    def hyper(self) -> Hyper:
        """Needed for y alone."""
        return self.seam.hyper(self.z_idx)

    def seen(self, byte: int) -> list[tuple[int, int]] | None:
        """Rows and columns of y that are coded of each picture at a quality byte; None: all."""
        if byte >= BEYOND_FROM:
            return None
        return [(-(-source.height // Y_PX), -(-source.width // Y_PX)) for source in self.sources]


def analyse(model: ReadyModel, sources: list[Source]) -> Latents:
    """Pictures of one padded size, one by one: bytes are not to depend on the neighbours in a batch."""
    pairs = [model.engine.analyse(padded(source.pixels)) for source in sources]
    y, z_idx = (np.stack(arrays) for arrays in zip(*pairs, strict=True))
    if not np.isfinite(y).all():
        raise ImageError("the picture's latents are not finite; try precision='fp32'")
    streams = [SymbolEncoder() for _ in sources]
    for stream, one in zip(streams, z_idx, strict=True):
        model.z_prior.encode(stream, one)
    return Latents(sources, y, z_idx, streams, model.engine.seam)


def gained(model: ReadyModel, latents: Latents, byte: int, effort: Effort) -> NDArray[np.float64]:
    """y [B,N,h/16,w/16] times the gain of a quality byte, refined by an effort above 0."""
    if not effort.level:
        return model.engine.seam.gained(latents.y, byte)
    refined = []
    for row, source in enumerate(latents.sources):
        one = slice(row, row + 1)
        hyper = Hyper(latents.hyper.features[one], latents.hyper.z_semantic[one])
        refined.append(model.engine.refine(source.pixels, latents.y[one], hyper, byte, effort))
    return np.concatenate(refined)
