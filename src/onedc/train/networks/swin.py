"""The paper's head of semantic distillation: shifted-window attention at 1/32 on the semantic tokens.

Lives in training only. Source: Xue et al. 2025 (OneDC); Liu et al. 2021 (Swin) for the shifted windows.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from onedc.errors import ConfigError
from onedc.model.blocks import DepthConvBlock, Link

HEAD_WIDTH = 64
NORM_GROUPS = 16


class WindowAttention(nn.Module):
    """Attention within windows of a map [B,h,w,C]; `shift` rolls the map by half a window first."""

    def __init__(self, channels: int, window: int, *, shift: bool, positions: bool) -> None:
        super().__init__()
        self.heads = max(channels // HEAD_WIDTH, 1)
        self.window, self.shift = window, window // 2 if shift else 0
        self.to_qkv = nn.Linear(channels, 3 * channels, bias=False)
        self.to_out = nn.Linear(channels, channels)
        area = window * window
        self.pos_embedding = nn.Parameter(torch.randn(area, area)) if positions else None

    def forward(self, x: Tensor) -> Tensor:
        side, shift = self.window, self.shift
        if shift:
            x = x.roll((-shift, -shift), dims=(1, 2))
        b, h, w, c = x.shape
        rows, cols = h // side, w // side
        cells = x.reshape(b, rows, side, cols, side, c).transpose(2, 3).reshape(b, rows * cols, -1, c)
        q, k, v = self.to_qkv(cells).unflatten(-1, (3, self.heads, -1)).permute(3, 0, 1, 4, 2, 5)
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=self._bias(rows, cols, q))
        cells = self.to_out(out.transpose(2, 3).flatten(-2))
        x = cells.view(b, rows, cols, side, side, c).transpose(2, 3).reshape(b, h, w, c)
        return x.roll((shift, shift), dims=(1, 2)) if shift else x

    def _bias(self, rows: int, cols: int, like: Tensor) -> Tensor | None:
        """What is added to the logits: the learned table, or -inf between places that only rolling joined."""
        if self.pos_embedding is not None:
            return self.pos_embedding.to(like.dtype)
        if not self.shift:
            return None
        side = self.window
        kept = side - self.shift
        strip = (torch.arange(side, device=like.device) >= kept).long()
        row = torch.zeros(rows, side, dtype=torch.long, device=like.device)
        col = torch.zeros(cols, side, dtype=torch.long, device=like.device)
        row[-1], col[-1] = strip, strip
        part = (2 * row[:, None, :, None] + col[None, :, None, :]).reshape(rows * cols, 1, side * side)
        apart = part[..., :, None] != part[..., None, :]
        return torch.zeros_like(apart, dtype=like.dtype).masked_fill(apart, -torch.inf)


class SwinBlock(Link):
    """Window attention and feed-forward, each behind a LayerNorm, with a skip. Maps are [B,h,w,C]."""

    def __init__(self, channels: int, window: int, *, shift: bool, positions: bool) -> None:
        super().__init__()
        self.norm_attn = nn.LayerNorm(channels)
        self.attention = WindowAttention(channels, window, shift=shift, positions=positions)
        self.norm_mlp = nn.LayerNorm(channels)
        self.mlp = nn.Sequential(
            nn.Linear(channels, 4 * channels), nn.GELU(), nn.Linear(4 * channels, channels)
        )

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm_attn(x))
        return x + self.mlp(self.norm_mlp(x))


class SwinHead(nn.Module):
    """Tokens [B,D,H/64,W/64] -> logits [B,K,H/32,W/32] of the teacher's codes."""

    def __init__(self, channels: int, codes: int, window: int, blocks: int = 3) -> None:
        super().__init__()
        self.window = window
        self.up_sample = nn.Sequential(
            DepthConvBlock(channels), nn.Conv2d(channels, 4 * channels, 1), nn.PixelShuffle(2),
            DepthConvBlock(channels),
        )  # fmt: skip
        self.blocks = nn.Sequential(
            *(
                SwinBlock(channels, window, shift=shift, positions=number == 0 and not shift)
                for number in range(blocks)
                for shift in (False, True)
            )
        )
        self.mlp_head = nn.Sequential(
            nn.Conv2d(channels, 4 * channels, 1), nn.GroupNorm(NORM_GROUPS, 4 * channels), nn.GELU(),
            nn.Conv2d(4 * channels, channels, 1), nn.GroupNorm(NORM_GROUPS, channels), nn.GELU(),
            nn.Conv2d(channels, codes, 1),
        )  # fmt: skip

    def forward(self, tokens: Tensor) -> Tensor:
        h = self.up_sample(tokens)
        if h.shape[-2] % self.window or h.shape[-1] % self.window:
            sides = f"{32 * h.shape[-1]}x{32 * h.shape[-2]}"
            raise ConfigError(
                f"objective.distill.window: {self.window} positions of 32 px do not tile crops of {sides}"
            )
        h = self.blocks(h.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        logits: Tensor = self.mlp_head(h)
        return logits
