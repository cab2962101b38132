"""What every autoencoder of a codec offers, by which pictures of any size go through it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from torch import Tensor, nn

from onedc.model.tiling import Overlap

Finish: TypeAlias = Callable[[Tensor], Tensor]
"""What is done to finished pixels [B,3,h,w], tile by tile, so that no more than is wanted is kept of each."""


def as_made(x: Tensor) -> Tensor:
    """The `Finish` that leaves them as they are."""
    return x


class Autoencoder(nn.Module):
    """Between pixels and vae_latents, each way in two parts, of which one may see the whole picture.

    The other takes pictures of any size, and does everything where the first is left out.
    """

    overlap: Overlap
    """Of the tiles in which networks that see the whole picture run."""

    def from_pixels(self, x: Tensor) -> Tensor:
        """Image [B,3,H,W], in [-1,1] or bytes -> what `behind_pixels` takes, [B,C,H/8,W/8]."""
        raise NotImplementedError

    def behind_pixels(self, features: Tensor) -> Tensor:
        """What `from_pixels` gives -> vae_latents; sees the whole picture."""
        return features

    def encode(self, x: Tensor) -> Tensor:
        """Image [B,3,H,W], in [-1,1] or bytes -> vae_latents [B,C,H/8,W/8]."""
        return self.behind_pixels(self.from_pixels(x))

    def before_pixels(self, vae_latents: Tensor) -> Tensor:
        """vae_latents -> what `to_pixels` takes, [B,C,H/8,W/8]; sees the whole picture."""
        return vae_latents

    def to_pixels(self, features: Tensor, finish: Finish = as_made) -> Tensor:
        """What `before_pixels` gives -> image [B,3,H,W], in [-1,1] but for overshoot (not clamped)."""
        raise NotImplementedError

    def decode(self, vae_latents: Tensor) -> Tensor:
        """vae_latents [B,C,H/8,W/8] -> image [B,3,H,W], in [-1,1] but for overshoot (not clamped)."""
        return self.to_pixels(self.before_pixels(vae_latents))
