"""Score networks: noise predictions for latents at a timestep, conditioned on tokens or text or not.

Their UNet has diffusers' key names, so Stable Diffusion's weights load as they are. Captions go through a
frozen CLIP text encoder; transformers is imported only when one is made. No losses here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from onedc.config import ModelConfig, UNetConfig
from onedc.errors import ConfigError, WeightsError, optional
from onedc.model.unet import Transformer2d, UNet


@dataclass(frozen=True, kw_only=True)
class ScoreConfig:
    """A score network and its condition."""

    unet: UNetConfig = field(
        default_factory=lambda: UNetConfig(
            widths=(96, 160, 192), layers=1, attention=(False, True, True), heads=4, time_channels=384
        )
    )
    guidance: str = "none"  # "tokens" of the codec's hyperprior, "text" of the caption, or "none"

    def __post_init__(self) -> None:
        if self.guidance not in ("tokens", "text", "none"):
            raise ConfigError(f"score.guidance: {self.guidance!r} is none of 'tokens', 'text', 'none'")
        if not self.unet.time_channels:
            raise ConfigError("score.unet.time_channels: a score network must know the timestep")


NO_WINDOWS = 1 << 30
"""Attention is over the whole map: training crops are small, and the words of a caption have no places."""


class ScoreNetwork(nn.Module):
    """Noisy vae_latents [B,C,h,w], timesteps [B] and tokens [B,D,rows,cols] or None -> noise [B,C,h,w]."""

    def __init__(self, config: ScoreConfig, model: ModelConfig) -> None:
        super().__init__()
        unet, width = config.unet, model.token_channels
        self.unet = UNet(
            unet, model.vae_channels, lambda c: Transformer2d(c, unet.heads, width, NO_WINDOWS, NO_WINDOWS)
        )
        self.unet.conv_in = nn.Conv2d(model.vae_channels, unet.widths[0], 3, padding=1)
        self.null_token = nn.Parameter(torch.zeros(width))  # in place of tokens: unconditional

    def _condition(self, noisy: Tensor, tokens: Tensor | None) -> Tensor:
        if tokens is not None:
            return tokens
        rows, cols = (max(side // 8, 1) for side in noisy.shape[-2:])
        return self.null_token[:, None, None].expand(len(noisy), -1, rows, cols)

    def _time(self, timesteps: Tensor) -> Tensor:
        time: Tensor = self.unet.time_embedding(timesteps)
        return time

    def forward(self, noisy: Tensor, timesteps: Tensor, tokens: Tensor | None = None) -> Tensor:
        condition = self._condition(noisy, tokens)
        noise, _ = self.unet.trunk(self.unet.conv_in(noisy), self._time(timesteps), condition)
        return noise

    def middle(self, noisy: Tensor, timesteps: Tensor, tokens: Tensor | None = None) -> Tensor:
        """Output of the middle block alone [B,M,h',w']: the discriminator's features."""
        condition, time = self._condition(noisy, tokens), self._time(timesteps)
        h, _ = self.unet.down(self.unet.conv_in(noisy), time, condition)
        return self.unet.mid_block(h, time, condition)


class TextEncoder(nn.Module):
    """Captions -> word features as a map of one row [B,D,1,L], L being the encoder's longest text."""

    def __init__(self, folder: Path) -> None:
        """Read `tokenizer/` and `text_encoder/` of a Stable Diffusion folder, or both from one folder.

        Raises:
            MissingExtraError: transformers is not installed.
            WeightsError: not a text encoder.
        """
        super().__init__()
        transformers = optional("transformers", "train")
        parts = [
            folder / name if (folder / name).is_dir() else folder for name in ("tokenizer", "text_encoder")
        ]
        try:
            self.tokenizer: Any = transformers.CLIPTokenizer.from_pretrained(str(parts[0]))
            self.encoder: Any = transformers.CLIPTextModel.from_pretrained(str(parts[1]))
            self.encoder.requires_grad_(False).eval()
        except (OSError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise WeightsError(f"{folder}: not a CLIP text encoder with its tokenizer ({reason})") from error
        self.width = int(self.encoder.config.hidden_size)
        self.length = int(self.encoder.config.max_position_embeddings)

    @torch.no_grad()
    def forward(self, captions: Sequence[str]) -> Tensor:
        words = self.tokenizer(
            list(captions), padding="max_length", max_length=self.length, truncation=True, return_tensors="pt"
        )
        features: Tensor = self.encoder(words.input_ids.to(self.encoder.device)).last_hidden_state
        return features.transpose(1, 2).unsqueeze(2)
