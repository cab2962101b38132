"""How long an encoder looks for a better choice of y: a level from 0 to 9, and who is told how far it is.

Knows neither networks nor torch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from operator import index
from typing import SupportsIndex, TypeAlias

from onedc.errors import ConfigError, ImageError

STEPS = (0, 2, 4, 6, 9, 14, 20, 30, 42, 60)
"""Gradient steps of each level."""
MOST_PIXELS = 1 << 20
"""Pictures above it are refused: their gradients take about 3 kB of memory a pixel."""

Progress: TypeAlias = Callable[[int, int], object]
"""Told after each step: steps done, of how many."""


@dataclass(frozen=True)
class Effort:
    """What is spent on one picture.

    Attributes:
        level: 0, a single pass, to 9.
        progress: told of each step.

    Raises:
        ConfigError: no level from 0 to 9.
    """

    level: int = 0
    progress: Progress | None = None

    def __post_init__(self) -> None:
        check_effort(self.level)

    @property
    def steps(self) -> int:
        """Gradient steps."""
        return STEPS[self.level]

    def check_size(self, width: int, height: int) -> None:
        """Raise ImageError for a picture that is too large for gradients, where there are any."""
        if self.level and height * width > MOST_PIXELS:
            limit = f"{MOST_PIXELS / 1e6:.1f} megapixels"
            raise ImageError(
                f"picture: {width}x{height} px; effort above 0 takes up to {limit}, so use effort 0"
            )


def check_effort(level: int) -> int:
    """The level itself.

    Raises:
        ConfigError: not a whole number from 0 to 9.
    """
    if isinstance(level, bool) or not isinstance(level, SupportsIndex) or not 0 <= index(level) < len(STEPS):
        raise ConfigError(f"effort {level!r} is not a whole number from 0 to {len(STEPS) - 1}")
    return index(level)
