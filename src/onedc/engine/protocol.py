"""How the codec speaks to the networks of a model: in numpy arrays, whatever library is behind them.

B is the batch, h and w the sides of the padded picture in pixels. Knows no library of networks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from onedc.effort.level import Effort
from onedc.pictures import Pixels

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


class Engine(Protocol):
    """The networks of one model on one device."""

    @property
    def seam(self) -> Seam:
        """h_s and the prior."""

    @property
    def on_cpu(self) -> bool:
        """Whether the float networks run on the processor."""

    @property
    def precision(self) -> str:
        """Of the float networks, as torch calls it: "float32", "bfloat16"."""

    def analyse(self, pixels: Pixels) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """A padded picture to y [N,h/16,w/16] and codebook indices of z [h/64,w/64]."""

    def refine(
        self, pixels: Pixels, y: NDArray[np.float32], hyper: Hyper, quality: int, effort: Effort
    ) -> NDArray[np.float64]:
        """Look for a better choice of one picture's y.

        Args:
            pixels: the picture, not padded.
            y: [1,N,h/16,w/16], and `hyper` likewise, as one pass made them.
            quality: the quality byte, above 0.

        Returns:
            y times the gain, [1,N,h/16,w/16].
        """

    def synthesise(
        self,
        y_hat: NDArray[np.float32],
        z_semantic: NDArray[np.float32],
        qualities: NDArray[np.int64],
        *,
        as_floats: bool,
    ) -> Pixels:
        """Decoded latents to padded pictures: [B,h,w,3] uint8, or with `as_floats` [B,3,h,w] in [-1,1]."""

    def compile(self) -> None:
        """Prepare kernels of the float networks, where the engine can.

        Raises:
            ConfigError: it cannot.
        """
