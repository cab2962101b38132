"""The UNet trunk that g_a and the generator share, with diffusers' key names.

Levels, residual blocks, skips and samplers live here; what attention does is given by a factory.
Source: UNet2DModel and UNet2DConditionModel of diffusers, as Xue et al. 2025 (OneDC) set them up.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from onedc.config import UNetConfig
from onedc.model.blocks import GROUPS, Link, Norm, group_norm
from onedc.model.windows import Masks, windowed

GROUP_NORM_UNET = group_norm(1e-5)
AttentionFactory = Callable[[int], nn.Module]
"""channels -> module called as module(x, tokens) that keeps the shape of x."""


class TimeResnet(Link):
    """Residual block with an optional per-channel shift from the time embedding."""

    def __init__(self, channels_in: int, channels_out: int, time_channels: int, norm: Norm) -> None:
        super().__init__()
        self.norm1 = norm(channels_in)
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, padding=1)
        self.time_emb_proj = nn.Linear(time_channels, channels_out) if time_channels else None
        self.norm2 = norm(channels_out)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, padding=1)
        same = channels_in == channels_out
        self.conv_shortcut = nn.Identity() if same else nn.Conv2d(channels_in, channels_out, 1)

    def forward(self, x: Tensor, time: Tensor | None = None) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x)))
        if self.time_emb_proj is not None and time is not None:
            h = h + self.time_emb_proj(F.silu(time))[:, :, None, None]
        h = self.conv2(F.silu(self.norm2(h)))
        return h + self.conv_shortcut(x)


class Sampler(nn.Module):
    """A 3x3 convolution that halves the resolution, or doubles it after nearest-neighbour repetition."""

    def __init__(self, channels: int, *, up: bool) -> None:
        super().__init__()
        self.up = up
        self.conv = nn.Conv2d(channels, channels, 3, stride=1 if up else 2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest") if self.up else x)


class Level(nn.Module):
    """The residual blocks of one resolution on one side of the UNet, with attention after each if any."""

    downsamplers: nn.ModuleList  # only on levels that have one
    upsamplers: nn.ModuleList

    def __init__(
        self,
        channels_in: list[int],
        channels: int,
        time_channels: int,
        attention: AttentionFactory | None,
        norm: Norm,
    ) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(TimeResnet(c, channels, time_channels, norm) for c in channels_in)
        if attention is not None:
            self.attentions = nn.ModuleList(attention(channels) for _ in channels_in)

    def step(self, index: int, h: Tensor, time: Tensor | None, tokens: Tensor | None) -> Tensor:
        """Residual block `index` and the attention behind it."""
        h = self.resnets[index](h, time)
        return self.attentions[index](h, tokens) if hasattr(self, "attentions") else h


class MidBlock(nn.Module):
    """Residual block, attention, residual block at the lowest resolution."""

    def __init__(self, channels: int, time_channels: int, attention: AttentionFactory, norm: Norm) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(TimeResnet(channels, channels, time_channels, norm) for _ in range(2))
        self.attentions = nn.ModuleList([attention(channels)])

    def forward(self, h: Tensor, time: Tensor | None, tokens: Tensor | None) -> Tensor:
        h = self.attentions[0](self.resnets[0](h, time), tokens)
        return self.resnets[1](h, time)


class TimeEmbedding(nn.Module):
    """Sinusoid of a timestep, then two linear layers."""

    def __init__(self, width: int, channels: int) -> None:
        super().__init__()
        self.width = width
        self.linear_1 = nn.Linear(width, channels)
        self.linear_2 = nn.Linear(channels, channels)

    def forward(self, timestep: Tensor) -> Tensor:
        """Timesteps [B] -> [B,C]."""
        half = self.width // 2
        rates = torch.exp(-math.log(10000) * torch.arange(half, device=timestep.device) / half)
        angles = timestep.float()[:, None] * rates
        wave = torch.cat([angles.cos(), angles.sin()], dim=1).to(self.linear_1.weight.dtype)
        return self.linear_2(F.silu(self.linear_1(wave)))


class UNet(nn.Module):
    """Down, middle, up. `conv_in` is left to the owner; `trunk` starts behind it."""

    conv_in: nn.Module

    def __init__(self, config: UNetConfig, channels_out: int, attention: AttentionFactory) -> None:
        super().__init__()
        widths, time, norm = config.widths, config.time_channels, GROUP_NORM_UNET
        if time:
            self.time_embedding = TimeEmbedding(widths[0], time)
        factories = [attention if flag else None for flag in config.attention]
        self.down_blocks = nn.ModuleList()
        skips, channels, last = [widths[0]], widths[0], len(widths) - 1
        for i, width in enumerate(widths):
            ins = [channels] + [width] * (config.layers - 1)
            level = Level(ins, width, time, factories[i], norm)
            skips += [width] * config.layers
            if i < last:
                level.downsamplers = nn.ModuleList([Sampler(width, up=False)])
                skips.append(width)
            self.down_blocks.append(level)
            channels = width
        self.mid_block = MidBlock(channels, time, attention, norm)
        self.up_blocks = nn.ModuleList()
        for i, width in reversed(list(enumerate(widths))):
            ins = [(channels if k == 0 else width) + skips.pop() for k in range(config.layers + 1)]
            attends = (config.up_attention or config.attention)[i]
            level = Level(ins, width, time, attention if attends else None, norm)
            if i > 0:
                level.upsamplers = nn.ModuleList([Sampler(width, up=True)])
            self.up_blocks.append(level)
            channels = width
        self.conv_norm_out = norm(widths[0])
        self.conv_out = nn.Conv2d(widths[0], channels_out, 3, padding=1)

    def trunk(self, h: Tensor, time: Tensor | None, tokens: Tensor | None) -> tuple[Tensor, Tensor]:
        """Features behind conv_in -> (output, output of the middle block)."""
        h, skips = self.down(h, time, tokens)
        mid = h = self.mid_block(h, time, tokens)
        for level in self.up_blocks:
            assert isinstance(level, Level)
            for k in range(len(level.resnets)):
                h = level.step(k, torch.cat([h, skips.pop()], dim=1), time, tokens)
            if hasattr(level, "upsamplers"):
                h = level.upsamplers[0](h)
        return self.conv_out(F.silu(self.conv_norm_out(h)).to(self.conv_out.weight.dtype)), mid

    def down(self, h: Tensor, time: Tensor | None, tokens: Tensor | None) -> tuple[Tensor, list[Tensor]]:
        """The way down: (features before the middle block, skips)."""
        skips = [h]
        for level in self.down_blocks:
            assert isinstance(level, Level)
            for k in range(len(level.resnets)):
                h = level.step(k, h, time, tokens)
                skips.append(h)
            if hasattr(level, "downsamplers"):
                h = level.downsamplers[0](h)
                skips.append(h)
        return h, skips


class Heads(nn.Module):
    """Multi-head attention with linear projections, on sequences [B,L,C]."""

    def __init__(self, channels: int, heads: int, context: int | None = None, bias: bool = False) -> None:
        super().__init__()
        context = context or channels
        self.heads = heads
        self.to_q = nn.Linear(channels, channels, bias=bias)
        self.to_k = nn.Linear(context, channels, bias=bias)
        self.to_v = nn.Linear(context, channels, bias=bias)
        self.to_out = nn.ModuleList([nn.Linear(channels, channels)])

    def forward(self, x: Tensor, context: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """What x gathers from `context`; `mask` [B,1,1,L]: from which of its positions."""
        context = x if context is None else context
        made = (self.to_q(x), x), (self.to_k(context), context), (self.to_v(context), context)
        q, k, v = (t.reshape(*seen.shape[:2], self.heads, -1).transpose(1, 2) for t, seen in made)
        width = self.to_q.out_features // self.heads
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=width**-0.5)
        return self.to_out[0](out.transpose(1, 2).reshape(*x.shape[:2], -1))


class SelfAttention2d(Heads, Link):
    """Self-attention on a map with its own GroupNorm and a skip, as diffusers' UNet2DModel has it."""

    def __init__(self, channels: int, head_width: int, limit: int, window: int) -> None:
        super().__init__(channels, channels // head_width, bias=True)
        self.group_norm = nn.GroupNorm(GROUPS, channels, eps=1e-5)
        self.limit, self.window = limit, window

    def forward(  # type: ignore[override]
        self, x: Tensor, tokens: Tensor | None = None
    ) -> Tensor:
        return x + windowed(self._attend, self.group_norm(x), None, self.limit, self.window)

    def _attend(self, h: Tensor, tokens: None, masks: Masks) -> Tensor:
        out = super().forward(h.flatten(2).transpose(1, 2), mask=masks.positions)
        return out.transpose(1, 2).reshape_as(h)


class FeedForward(nn.Module):
    """Gated GELU feed-forward; keys net.0.proj and net.2."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        gate = nn.Module()
        gate.proj = nn.Linear(channels, 8 * channels)
        self.net = nn.ModuleList([gate, nn.Identity(), nn.Linear(4 * channels, channels)])

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.net[2].in_features
        value, gate = self.net[0].proj(x).split(hidden, dim=-1)  # type: ignore[operator]
        return self.net[2](value * F.gelu(gate))


class TransformerBlock(nn.Module):
    """Self-attention, cross-attention to the tokens, feed-forward; each behind a LayerNorm, with a skip."""

    def __init__(self, channels: int, heads: int, token_channels: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(channels)
        self.attn1 = Heads(channels, heads)
        self.norm2 = nn.LayerNorm(channels)
        self.attn2 = Heads(channels, heads, token_channels)
        self.norm3 = nn.LayerNorm(channels)
        self.ff = FeedForward(channels)

    def forward(self, x: Tensor, tokens: Tensor, masks: Masks) -> Tensor:
        x = x + self.attn1(self.norm1(x), mask=masks.positions)
        x = x + self.attn2(self.norm2(x), tokens, mask=masks.tokens)
        return x + self.ff(self.norm3(x))


class Transformer2d(Link):
    """One transformer block on a feature map. GroupNorm sees the whole map; attention may be windowed."""

    def __init__(self, channels: int, heads: int, token_channels: int, limit: int, window: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(GROUPS, channels, eps=1e-6)
        self.proj_in = nn.Conv2d(channels, channels, 1)
        self.transformer_blocks = nn.ModuleList([TransformerBlock(channels, heads, token_channels)])
        self.proj_out = nn.Conv2d(channels, channels, 1)
        self.limit, self.window = limit, window

    def forward(self, x: Tensor, tokens: Tensor) -> Tensor:
        h = self.proj_in(self.norm(x))
        return x + self.proj_out(windowed(self._attend, h, tokens, self.limit, self.window))

    def _attend(self, h: Tensor, tokens: Tensor, masks: Masks) -> Tensor:
        sequence, context = h.flatten(2).transpose(1, 2), tokens.flatten(2).transpose(1, 2)
        out = self.transformer_blocks[0](sequence, context, masks)
        return out.transpose(1, 2).reshape_as(h)
