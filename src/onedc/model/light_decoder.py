"""The decoder of a light model: from TAEF2's latents to pixels, dense convolutions and pixel shuffles alone.

Its work lies at 1/8 and 1/4; each position at 1/4 ends as 4x4 pixels.
"""

from __future__ import annotations

from torch import Tensor, nn

from onedc.config import LightConfig
from onedc.model.bands import in_bands
from onedc.model.blocks import ResidualBlock


class LightDecoder(nn.Module):
    """Takes an autoencoder's place; there is no encoder, since g_a sees the pixels themselves."""

    def __init__(self, config: LightConfig, channels: int) -> None:
        super().__init__()
        (eighth, quarter), blocks = config.decoder_widths, config.decoder_blocks
        self.decoder = nn.Sequential(
            nn.Conv2d(channels, eighth, 3, padding=1), *(ResidualBlock(eighth) for _ in range(blocks[0])),
            nn.Conv2d(eighth, 4 * quarter, 1), nn.PixelShuffle(2),
            *(ResidualBlock(quarter) for _ in range(blocks[1])),
            nn.ReLU(), nn.Conv2d(quarter, 48, 3, padding=1), nn.PixelShuffle(4),
        )  # fmt: skip
        # Positions at 1/8 that a pixel depends on to each side.
        self.halo = 1 + 2 * blocks[0] + -(-(2 * blocks[1] + 1) // 2)

    def decode(self, vae_latents: Tensor) -> Tensor:
        """vae_latents [B,C,H/8,W/8] -> picture [B,3,H,W], in [-1,1] but for overshoot (not clamped).

        Large pictures in bands of rows: the same values, in bounded memory.
        """
        return in_bands(self.decoder, vae_latents, halo=self.halo, px_in=8, px_out=1)
