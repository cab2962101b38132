"""Images of a source as pixels, read as the encoder reads them."""

from __future__ import annotations

from onedc.datasets.shards import named
from onedc.datasets.sources import Source
from onedc.errors import ImageError, OneDCError
from onedc.image import RGBArray, read_image


class Photos:
    """Decoded images of a source by number, kept in memory as far as the budget reaches."""

    def __init__(self, source: Source, memory_mib: int) -> None:
        self.source = source
        self._budget = memory_mib << 20
        self._kept: dict[int, RGBArray] = {}

    def __getitem__(self, index: int) -> RGBArray:
        """Pixels [H,W,3] of an image, with white under transparent places.

        Raises:
            ImageError: it cannot be read, or is damaged; whoever loads photos goes on without it.
            OneDCError: the source cannot be had, or the disk is full.
        """
        pixels = self._kept.get(index)
        if pixels is None:
            pixels = self._read(index)
            if pixels.nbytes <= self._budget:
                self._budget -= pixels.nbytes
                self._kept[index] = pixels
        return pixels

    def _read(self, index: int) -> RGBArray:
        name = self.source.names[index]
        try:
            return read_image(named(self.source.read(index), name), background="white").copy()
        except OneDCError as error:
            if isinstance(error.__cause__, MemoryError):
                raise error.__cause__ from None
            raise
        except (OSError, ValueError) as error:
            raise ImageError(f"{name}: cannot be read: {error}") from error
