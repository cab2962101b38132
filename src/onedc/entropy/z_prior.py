"""How the codebook indices of z become digits of the payload.

A prior is chosen by the model id. Today's is uniform; a learned context model would implement the same
interface. Must not know the networks that make z.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

from onedc.config import FSQ_DIMS, FSQ_LEVELS
from onedc.entropy.coder import SymbolDecoder, SymbolEncoder

CODEBOOK_SIZE = FSQ_LEVELS**FSQ_DIMS
_SHIFTS = 2 * np.arange(FSQ_DIMS)


class ZPrior(Protocol):
    """Codes z_idx [H/64, W/64], row by row, using nothing but what was coded before."""

    least_position_bits: float
    """No position costs less than this; the container refuses sizes that the payload cannot hold."""

    def encode(self, encoder: SymbolEncoder, z_idx: npt.NDArray[np.integer]) -> None:
        """Append z_idx [H/64, W/64], integers from 0 to 16383."""

    def decode(self, decoder: SymbolDecoder, height: int, width: int) -> npt.NDArray[np.int64]:
        """The next z_idx [height, width]; sizes in positions of 64x64 pixels.

        Raises:
            FormatError: damaged or short data.
        """


class UniformZPrior:
    """14 bits a position: seven digits of base 4, the least significant first."""

    least_position_bits = 14.0

    def encode(self, encoder: SymbolEncoder, z_idx: npt.NDArray[np.integer]) -> None:
        """See `ZPrior.encode`.

        Raises:
            ValueError: an index outside the codebook.
        """
        if z_idx.size and not 0 <= int(z_idx.min()) <= int(z_idx.max()) < CODEBOOK_SIZE:
            raise ValueError(f"z_idx from {z_idx.min()} to {z_idx.max()} is outside 0..{CODEBOOK_SIZE - 1}")
        digits = z_idx.astype(np.int64)[..., None] >> _SHIFTS & (FSQ_LEVELS - 1)
        encoder.encode_uniform(digits.reshape(-1), FSQ_LEVELS)

    def decode(self, decoder: SymbolDecoder, height: int, width: int) -> npt.NDArray[np.int64]:
        """See `ZPrior.decode`."""
        digits = decoder.decode_uniform(height * width * FSQ_DIMS, FSQ_LEVELS)
        z_idx: npt.NDArray[np.int64] = (
            digits.reshape(height, width, FSQ_DIMS).astype(np.int64) << _SHIFTS
        ).sum(axis=-1)
        return z_idx
