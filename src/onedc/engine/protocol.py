"""How the codec speaks to the networks of a model: in numpy arrays, whatever library is behind them.

B is the batch, h and w the sides of the padded picture in pixels. Knows no library of networks.
"""

from __future__ import annotations

from typing import Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from onedc.effort.level import Effort
from onedc.image.forms import Pixels
from onedc.seam.fixed_point import Hyper, Seam

EngineName: TypeAlias = Literal["auto", "onnx", "torch"]
Precision: TypeAlias = Literal["auto", "fp32", "bf16"]


class Engine(Protocol):
    """The networks of one model on one device."""

    @property
    def seam(self) -> Seam:
        """h_s and the prior."""

    @property
    def name(self) -> str:
        """As `loading.load` takes it."""

    @property
    def on_cpu(self) -> bool:
        """Whether the float networks run on the processor."""

    @property
    def precision(self) -> str:
        """Of the float networks, as torch calls it: "float32", "bfloat16"."""

    @property
    def threads(self) -> int:
        """Of the processor that the float networks run on, if they run there."""

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
