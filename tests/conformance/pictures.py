"""Small pictures made of numbers alone, with smooth parts, edges and noise."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def picture(width: int, height: int, seed: int = 0) -> NDArray[np.uint8]:
    """[height,width,3] uint8 that depends on its arguments alone."""
    random = np.random.default_rng(seed)
    row, column = np.mgrid[0:height, 0:width].astype(np.float64)
    channels = []
    for _ in range(3):
        waves = random.normal(0, 0.1, (3, 2))
        smooth = sum(np.sin(a * row + b * column) for a, b in waves) * 25
        edge = 60 * ((row * random.normal() + column * random.normal()) % 40 > 20)
        channels.append(100 + smooth + edge + random.normal(0, 6, row.shape))
    return np.stack(channels, axis=-1).clip(0, 255).astype(np.uint8)
