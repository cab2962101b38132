"""Building blocks of the codec networks.

Blocks without normalisation (DepthConvBlock, ResidualBlockUpsample) are the only ones that the
integer seam may hold; all nonlinearities there are LeakyReLU.
Source: Xue et al. 2025 (OneDC).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from onedc.model.tile_layout import tiles
from onedc.model.tiling import Overlap, blended
from onedc.model.windows import Masks, windowed

GROUPS = 32

Norm = Callable[[int], nn.Module]
"""channels -> a normalisation of that many."""


class Link(nn.Module):
    """A link of a chain of layers; it draws no random numbers."""

    recompute = False
    """Whether the backward pass runs it again, so that only its inputs are kept."""

    def __call__(self, *inputs: Any) -> Any:
        """Its output, as of any module."""
        if self.recompute and torch.is_grad_enabled():
            return checkpoint(super().__call__, *inputs, use_reentrant=False, preserve_rng_state=False)
        return super().__call__(*inputs)


def group_norm(eps: float) -> Norm:
    """GroupNorm of GROUPS groups; it sees the whole map."""
    return lambda channels: nn.GroupNorm(GROUPS, channels, eps=eps)


GROUP_NORM = group_norm(1e-6)


class DepthConv(nn.Module):
    """1x1, LeakyReLU, depthwise 3x3, 1x1, plus a skip (1x1 where the width changes)."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels_in, 1)
        self.activation = nn.LeakyReLU(0.01)
        self.depth_conv = nn.Conv2d(channels_in, channels_in, 3, padding=1, groups=channels_in)
        self.conv2 = nn.Conv2d(channels_in, channels_out, 1)
        same = channels_in == channels_out
        self.adaptor = nn.Identity() if same else nn.Conv2d(channels_in, channels_out, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv2(self.depth_conv(self.activation(self.conv1(x)))) + self.adaptor(x)


class ConvFFN(nn.Module):
    """Pointwise feed-forward: two halves with different slopes are added, not multiplied."""

    def __init__(self, channels: int, expansion: int = 2) -> None:
        super().__init__()
        self.hidden = expansion * channels
        self.conv = nn.Conv2d(channels, 2 * self.hidden, 1)
        self.activation1 = nn.LeakyReLU(0.1)
        self.activation2 = nn.LeakyReLU(0.01)
        self.conv_out = nn.Conv2d(self.hidden, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        first, second = self.conv(x).split(self.hidden, dim=1)
        mixed = self.activation1(first)
        mixed += self.activation2(second)
        del first, second  # the largest maps of all that decoding makes
        return x + self.conv_out(mixed)


class DepthConvBlock(Link):
    """DepthConv, then ConvFFN."""

    def __init__(self, channels_in: int, channels_out: int | None = None, expansion: int = 2) -> None:
        super().__init__()
        channels_out = channels_out or channels_in
        self.depth = DepthConv(channels_in, channels_out)
        self.ffn = ConvFFN(channels_out, expansion)

    def forward(self, x: Tensor) -> Tensor:
        return self.ffn(self.depth(x))


class ResidualBlockUpsample(Link):
    """Twice the resolution by two pixel-shuffle paths; no normalisation."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.subpel_conv = nn.Conv2d(channels_in, 4 * channels_out, 1)
        self.shuffle = nn.PixelShuffle(2)
        self.activation1 = nn.LeakyReLU(0.01)
        self.conv = nn.Conv2d(channels_out, channels_out, 3, padding=1)
        self.activation2 = nn.LeakyReLU(0.1)
        self.upsample = nn.Conv2d(channels_in, 4 * channels_out, 1)

    def forward(self, x: Tensor) -> Tensor:
        main = self.activation1(self.shuffle(self.subpel_conv(x)))
        return self.activation2(self.conv(main)) + self.shuffle(self.upsample(x))


class ResnetBlock(Link):
    """Norm, SiLU, 3x3, twice. Where the width changes the input is not added: published weights
    were trained with that oddity (the shortcut convolution is applied to the branch's own output)."""

    def __init__(self, channels_in: int, channels_out: int | None = None) -> None:
        super().__init__()
        channels_out = channels_out or channels_in
        self.norm1 = GROUP_NORM(channels_in)
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=False)
        self.norm2 = GROUP_NORM(channels_out)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, padding=1, bias=False)
        if channels_in != channels_out:
            self.nin_shortcut = nn.Conv2d(channels_out, channels_out, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x)))
        h = self.conv2(F.silu(self.norm2(h)))
        return h + (self.nin_shortcut(h) if hasattr(self, "nin_shortcut") else x)


class AttentionBlock(Link):
    """Single-head self-attention over all positions, or in windows on large maps (see `windowed`)."""

    def __init__(self, channels: int, limit: int = 4096, window: int = 32) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(GROUPS, channels, eps=1e-6)
        self.q = nn.Conv2d(channels, channels, 1)
        self.k = nn.Conv2d(channels, channels, 1)
        self.v = nn.Conv2d(channels, channels, 1)
        self.proj_out = nn.Conv2d(channels, channels, 1)
        self.limit, self.window = limit, window

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(x)
        qkv = torch.cat([self.q(h), self.k(h), self.v(h)], dim=1)
        return x + self.proj_out(windowed(_attend_map, qkv, None, self.limit, self.window))


def _attend_map(qkv: Tensor, tokens: None, masks: Masks) -> Tensor:
    """[B,3C,H,W] -> [B,C,H,W], one head."""
    channels = int(qkv.shape[1]) // 3
    q, k, v = (t.unsqueeze(1) for t in qkv.flatten(2).transpose(1, 2).split(channels, dim=-1))
    out = F.scaled_dot_product_attention(q, k, v, attn_mask=masks.positions, scale=channels**-0.5)
    return out.squeeze(1).transpose(1, 2).reshape(-1, channels, *qkv.shape[-2:])


class Upsample2(Link):
    """Twice the resolution: 1x1, pixel shuffle, 3x3. Linear."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.expand = nn.Conv2d(channels_in, 4 * channels_in, 1)
        self.shuffle = nn.PixelShuffle(2)
        self.conv = nn.Conv2d(channels_in, channels_out, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(self.shuffle(self.expand(x)))


def doubling(channels_in: int, channels_out: int) -> nn.ConvTranspose2d:
    """Twice the resolution by one convolution, of 2x2 inputs for each output. Linear.

    With 16 of 36 multiplications it can do all that nearest-neighbour repetition and a 3x3 can.
    """
    return nn.ConvTranspose2d(channels_in, channels_out, 4, stride=2, padding=1)


class QualityTable(nn.Module):
    """A learned vector for each quality byte: `zero` for byte 0, else linear between the knots."""

    def __init__(self, knots: int, channels: int) -> None:
        super().__init__()
        self.zero = nn.Parameter(torch.zeros(channels))
        self.knots = nn.Parameter(torch.zeros(knots, channels))

    def vectors(self, quality: Tensor) -> Tensor:
        """Quality bytes [B] -> [B,C]."""
        position = (quality.clamp(min=1) - 1).to(self.knots.dtype) * ((len(self.knots) - 1) / 254)
        low = position.floor().long().clamp(max=len(self.knots) - 2)
        part = (position - low)[:, None]
        mixed = self.knots[low] * (1 - part) + self.knots[low + 1] * part
        return torch.where((quality == 0)[:, None], self.zero, mixed)

    @staticmethod
    def fitted(table: Tensor, knots: int) -> dict[str, Tensor]:
        """The parameters whose `vectors` for all 256 bytes come nearest to a table [256,C] float64."""
        basis = QualityTable(knots, knots).double()
        basis.knots.data.copy_(torch.eye(knots))
        weights = basis.vectors(torch.arange(1, len(table))).detach()
        solved = torch.linalg.lstsq(weights, table[1:]).solution
        return {"zero": table[0].float(), "knots": solved.float()}


def with_lower_knots(tables: Mapping[str, Tensor], knots: int) -> dict[str, Tensor]:
    """Parameters of a codec, each table of quality lengthened at its low end to so many knots.

    Gains go on falling as they do between the two lowest knots, in the mean over channels; other vectors
    come in even steps from that of byte 0.

    Args:
        tables: by name; what is no table of quality, or is long enough, stays as it is.
    """
    longer = dict(tables)
    for name in (name for name in tables if name.endswith(".knots")):
        lowest, zero = tables[name], tables[name.removesuffix("knots") + "zero"]
        more = torch.arange(max(knots - len(lowest), 0))[:, None]
        if name.endswith("gain.knots"):
            added = lowest[0] - (len(more) - more) * (lowest[1] - lowest[0]).mean()
        else:
            added = zero + more / max(len(more), 1) * (lowest[0] - zero)
        longer[name] = torch.cat([added, lowest])
    return longer


class QualityBias(QualityTable):
    """Adds the vector of each picture's quality byte to its feature map."""

    def forward(self, x: Tensor, quality: Tensor) -> Tensor:
        return x + self.vectors(quality).to(x.dtype)[:, :, None, None]


class QualityGain(QualityTable):
    """Multiplies a feature map by the gain exp(vector) of each picture's quality byte."""

    def forward(self, x: Tensor, quality: Tensor) -> Tensor:
        return x * self.vectors(quality).exp().to(x.dtype)[:, :, None, None]

    def inverse(self, x: Tensor, quality: Tensor) -> Tensor:
        """Divides by the gain."""
        return x * (-self.vectors(quality)).exp().to(x.dtype)[:, :, None, None]


def as_floats(x: Tensor, dtype: torch.dtype) -> Tensor:
    """Pixels as networks take them: bytes become [-1,1], floats are so already."""
    return x.float().mul_(2 / 255).sub_(1).to(dtype) if x.dtype == torch.uint8 else x


def in_tiles(
    net: Callable[[Tensor], Tensor], x: Tensor, *, side: int, halo: int, px_in: int, px_out: int
) -> Tensor:
    """`net(x)`, tile by tile where the picture is large; gradients make the maps inside a tile again.

    Args:
        net: convolutions and pixel shuffles from a map of one resolution to one of another.
        x: [B,C,h,w].
        side: of a tile, in positions of the coarser of the two maps.
        halo: those that `net` sees to each side.
        px_in, px_out: pixels a side of a position of `x` and of the result; one is a multiple of the other.
    """
    step = max(px_in, px_out)
    height, width = x.shape[-2] * px_in // step, x.shape[-1] * px_in // step
    layout = list(tiles(height, width, step_px=step, side=side, halo=halo))
    if len(layout) == 1:
        return net(x)
    per_in, per_out = step // px_in, step // px_out
    whole: Tensor | None = None
    for rows, columns in layout:
        part = in_little_memory(net, x[..., rows.computed(per_in), columns.computed(per_in)])
        if whole is None:
            size = *part.shape[:2], height * per_out, width * per_out
            last = part.is_contiguous(memory_format=torch.channels_last)
            whole = torch.empty(
                size,
                dtype=part.dtype,
                device=part.device,
                memory_format=torch.channels_last if last else torch.contiguous_format,
            )
        wanted = part[..., rows.inside(per_out), columns.inside(per_out)]
        whole[..., rows.wanted(per_out), columns.wanted(per_out)] = wanted
    assert whole is not None
    return whole


def in_blended_tiles(
    net: Callable[..., Sequence[Tensor]],
    maps: Sequence[Tensor],
    height_px: int,
    width_px: int,
    overlap: Overlap,
) -> Sequence[Tensor]:
    """`tiling.blended` for tensors, which keep their type."""
    device, last = maps[0].device, maps[0].is_contiguous(memory_format=torch.channels_last)
    form = torch.channels_last if last else torch.contiguous_format
    types: list[torch.dtype] = []

    def run(*parts: Tensor) -> Sequence[Tensor]:
        made = net(*(part.contiguous(memory_format=form) for part in parts))
        types[:] = [m.dtype for m in made]
        return made

    def put(array: NDArray[np.float32]) -> Tensor:
        return torch.from_numpy(array).to(device)

    whole = blended(run, maps, height_px, width_px, overlap=overlap, put=put)
    return [m.to(dtype) for m, dtype in zip(whole, types, strict=True)]


def in_little_memory(run: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """`run(x)`; where gradients are taken, the maps inside are made again for them."""
    if not x.requires_grad:
        return run(x)
    made: Tensor = checkpoint(run, x, use_reentrant=False, preserve_rng_state=False)
    return made
