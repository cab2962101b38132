"""Captions for score networks: a frozen CLIP text encoder. transformers is imported only when one is made."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from onedc.errors import MissingExtraError, WeightsError


class TextEncoder(nn.Module):
    """Captions -> word features as a map of one row [B,D,1,L], L being the encoder's longest text."""

    def __init__(self, folder: Path) -> None:
        """Read `tokenizer/` and `text_encoder/` of a Stable Diffusion folder, or both from one folder.

        Raises:
            MissingExtraError: transformers is not installed.
            WeightsError: not a text encoder.
        """
        super().__init__()
        try:
            from transformers import CLIPTextModel, CLIPTokenizer
        except ImportError as error:
            raise MissingExtraError("guidance by text needs `pip install 'onedc[train]'`") from error
        parts = [
            folder / name if (folder / name).is_dir() else folder for name in ("tokenizer", "text_encoder")
        ]
        try:
            self.tokenizer: Any = CLIPTokenizer.from_pretrained(str(parts[0]))
            self.encoder: Any = CLIPTextModel.from_pretrained(str(parts[1])).requires_grad_(False).eval()
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
