"""What the codec asks of a seam, in numpy arrays. B is the batch, h and w the padded sides in pixels."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

Code: TypeAlias = Callable[[int, NDArray[np.uint8], NDArray[np.float64]], NDArray[np.int32]]
"""(part, table_idx, mean) -> symbols; all [B,N/4,h/16,w/16]."""


class Hyper(NamedTuple):
    """What h_s makes of z."""

    features: NDArray[np.float64]  # integers, [B,C,h/16,w/16]
    z_semantic: NDArray[np.float32]  # [B,C,h/64,w/64]


class Seam(Protocol):
    """h_s and the prior in integers: the same result from every implementation, bit by bit."""

    def hyper(self, z_idx: NDArray[np.int64]) -> Hyper:
        """What h_s makes of codebook indices [B,h/64,w/64]."""

    def gained(self, y: NDArray[np.float32], quality: int) -> NDArray[np.float64]:
        """y [B,N,h/16,w/16] times the gain of a quality byte."""

    def scan(
        self, features: NDArray[np.float64], qualities: NDArray[np.int64], code: Code
    ) -> NDArray[np.float32]:
        """The four-step walk over y.

        Args:
            features: from `hyper`.
            qualities: quality bytes [B].
            code: called for parts 0 to 3 with table indices and means in the gained domain; writes or reads
                the symbols of the part and returns them.

        Returns:
            y_hat [B,N,h/16,w/16].
        """
