"""The Stable Diffusion autoencoder (AutoencoderKL) with windowed attention, under diffusers' key names.

Image to `vae_latents` at 1/8 and back. The one attention of each half works in windows of 16x16 latents,
each with GroupNorm statistics of its own. It knows nothing of the codec, of files or of bytes.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from onedc.model.autoencoder import Autoencoder, Finish, as_made
from onedc.model.blocks import GROUP_NORM, Link, as_floats, in_blended_tiles, in_tiles
from onedc.model.tiling import STABLE_DIFFUSION
from onedc.model.unet import Level, MidBlock

SCALING = 0.18215
"""Factor between what the autoencoder works in and the `vae_latents` everybody else sees."""

WINDOW = 16
"""Side of an attention window in latents, 128 pixels; the windows at the right and bottom may be smaller."""

WIDTHS = (128, 256, 512, 512)
LATENT_CHANNELS = 4
LOGVAR_RANGE = (-30.0, 20.0)


class WindowAttention(Link):
    """Single-head self-attention within windows: [B,C,h,w] -> [B,C,h,w].

    Norm, attention and residual all belong to a window, so nothing passes a window's border.
    All windows of one size are one batch; there are at most four sizes.

    Source: OneDC, the 128x128 pixel patches of the autoencoder's middle attention.
    """

    def __init__(self, channels: int, window: int = WINDOW) -> None:
        super().__init__()
        self.window = window
        self.group_norm = GROUP_NORM(channels)
        self.to_q = nn.Linear(channels, channels)
        self.to_k = nn.Linear(channels, channels)
        self.to_v = nn.Linear(channels, channels)
        self.to_out = nn.ModuleList([nn.Linear(channels, channels)])

    def forward(self, x: Tensor, tokens: None = None) -> Tensor:
        rows, columns = (_strips(side, self.window) for side in x.shape[-2:])
        return torch.cat(
            [torch.cat([self._attend_windows(x[..., r, c]) for c in columns], dim=-1) for r in rows], dim=-2
        )

    def _attend_windows(self, x: Tensor) -> Tensor:
        """Attend within windows of one size, of which [B,C,h,w] is an exact tiling."""
        b, c, height, width = x.shape
        h, w = min(self.window, height), min(self.window, width)
        m, n = height // h, width // w
        windows = x.reshape(b, c, m, h, n, w).permute(0, 2, 4, 1, 3, 5).reshape(b * m * n, c, h, w)
        windows = self._attend(windows)
        return windows.reshape(b, m, n, c, h, w).permute(0, 3, 1, 4, 2, 5).reshape(x.shape)

    def _attend(self, x: Tensor) -> Tensor:
        """Self-attention over all positions of each [N,C,h,w], residual included."""
        tokens = self.group_norm(x).flatten(2).transpose(1, 2)
        q, k, v = (linear(tokens).unsqueeze(1) for linear in (self.to_q, self.to_k, self.to_v))
        mixed = F.scaled_dot_product_attention(q, k, v).squeeze(1)
        return x + self.to_out[0](mixed).transpose(1, 2).reshape(x.shape)


def _strips(side: int, window: int) -> list[slice]:
    """A side as the stretch that whole windows fill and the rest, either left out where empty."""
    whole = side // window * window
    return [s for s in (slice(0, whole), slice(whole, side)) if s.stop > s.start]


class Downsample(nn.Module):
    """Halve both sides with a strided convolution, padded by one row below and one column to the right."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.pad(x, (0, 1, 0, 1)))


class Upsample(nn.Module):
    """Double both sides: nearest neighbour, then a 3x3 convolution.

    Where every pixel stands twice in both directions, the 3x3 taps of an output pixel fall on 2x2 inputs. So
    each of the four output phases is a 2x2 convolution of the input: 16 products for 36, which saves a sixth
    of the decoder's, and the repeated map is never made.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        batch, _, height, width = x.shape
        padded = F.pad(x, (1, 1, 1, 1))
        out = x.new_empty(batch, len(self.conv.weight), 2 * height, 2 * width)
        if x.is_contiguous(memory_format=torch.channels_last):
            out = out.contiguous(memory_format=torch.channels_last)
        for row, kernels in enumerate(_phases(self.conv.weight, dim=2)):
            for column, kernel in enumerate(_phases(kernels, dim=3)):
                part = padded[:, :, row : row + height + 1, column : column + width + 1]
                out[:, :, row::2, column::2] = F.conv2d(part, kernel.to(x.dtype), self.conv.bias)
        return out


def _phases(weight: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """Kernels of three taps on a repeated axis as kernels of two taps, for the first and the second copy."""
    first, middle, last = weight.to(torch.promote_types(weight.dtype, torch.float32)).unbind(dim)
    return torch.stack([first, middle + last], dim), torch.stack([first + middle, last], dim)


def _level(channels_in: int, channels: int, blocks: int) -> Level:
    """Residual blocks of one resolution, without the way to the next."""
    return Level([channels_in, *(blocks - 1) * [channels]], channels, 0, None, GROUP_NORM)


def _through(levels: nn.ModuleList, h: Tensor) -> Tensor:
    """One level after the other: its residual blocks, then the way to the next."""
    for level in levels:
        for layers in level.children():
            for layer in layers.children():
                h = layer(h)
    return h


class Encoder(nn.Module):
    """x [B,3,H,W] -> features [B,8,H/8,W/8], before `quant_conv`."""

    def __init__(self) -> None:
        super().__init__()
        widths_in = (WIDTHS[0], *WIDTHS[:-1])
        self.conv_in = nn.Conv2d(3, WIDTHS[0], 3, padding=1)
        levels = [_level(ci, co, 2) for ci, co in zip(widths_in, WIDTHS, strict=True)]
        for level, width in zip(levels[:-1], WIDTHS, strict=False):
            level.downsamplers = nn.ModuleList([Downsample(width)])
        self.down_blocks = nn.ModuleList(levels)
        self.mid_block = MidBlock(WIDTHS[-1], 0, WindowAttention, GROUP_NORM)
        self.conv_norm_out = GROUP_NORM(WIDTHS[-1])
        self.conv_out = nn.Conv2d(WIDTHS[-1], 2 * LATENT_CHANNELS, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        h = _through(self.down_blocks, self.conv_in(x))
        return self.conv_out(F.silu(self.conv_norm_out(self.mid_block(h, None, None))))


class Decoder(nn.Module):
    """Features [B,4,H/8,W/8], after `post_quant_conv` -> x_hat [B,3,H,W]."""

    def __init__(self) -> None:
        super().__init__()
        widths = WIDTHS[::-1]
        widths_in = (widths[0], *widths[:-1])
        self.conv_in = nn.Conv2d(LATENT_CHANNELS, widths[0], 3, padding=1)
        levels = [_level(ci, co, 3) for ci, co in zip(widths_in, widths, strict=True)]
        for level, width in zip(levels[:-1], widths, strict=False):
            level.upsamplers = nn.ModuleList([Upsample(width)])
        self.up_blocks = nn.ModuleList(levels)
        self.mid_block = MidBlock(widths[0], 0, WindowAttention, GROUP_NORM)
        self.conv_norm_out = GROUP_NORM(widths[-1])
        self.conv_out = nn.Conv2d(widths[-1], 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        h = _through(self.up_blocks, self.mid_block(self.conv_in(x), None, None))
        return self.conv_out(F.silu(self.conv_norm_out(h)))


class AutoencoderKL(Autoencoder):
    """The Stable Diffusion autoencoder: x [B,3,H,W] in [-1,1] <-> vae_latents [B,4,H/8,W/8], scaled.

    H and W are multiples of 8; beyond 1024x1024 px in tiles, whose norms have statistics of their own.
    State-dict keys are diffusers'.

    Source: Rombach et al., High-Resolution Image Synthesis with Latent Diffusion Models (2022).
    """

    overlap = STABLE_DIFFUSION

    def __init__(self) -> None:
        super().__init__()
        self.encoder = Encoder()
        self.decoder = Decoder()
        self.quant_conv = nn.Conv2d(2 * LATENT_CHANNELS, 2 * LATENT_CHANNELS, 1)
        self.post_quant_conv = nn.Conv2d(LATENT_CHANNELS, LATENT_CHANNELS, 1)

    def encode_moments(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance of the posterior, [B,4,H/8,W/8] each, not scaled."""
        (moments,) = in_blended_tiles(self._encode_tile, [x], x.shape[-2], x.shape[-1], self.overlap)
        mean, logvar = moments.chunk(2, dim=1)
        return mean, logvar.clamp(*LOGVAR_RANGE)

    def _encode_tile(self, x: Tensor) -> list[Tensor]:
        return [self.quant_conv(self.encoder(as_floats(x, self.quant_conv.weight.dtype)))]

    def from_pixels(self, x: Tensor) -> Tensor:
        """See `Autoencoder`."""
        return self.encode(x)

    def encode(self, x: Tensor, noise: Tensor | None = None) -> Tensor:
        """x [B,3,H,W] in [-1,1] -> vae_latents [B,4,H/8,W/8].

        The posterior's mean, so equal images give equal latents; with `noise` (standard normal, of the
        latents' shape) the sample that it picks.
        """
        mean, logvar = self.encode_moments(x)
        if noise is not None:
            mean = mean + torch.exp(0.5 * logvar) * noise
        return mean * SCALING

    def to_pixels(self, features: Tensor, finish: Finish = as_made) -> Tensor:
        """See `Autoencoder`, of vae_latents."""
        height, width = (8 * side for side in features.shape[-2:])
        (picture,) = in_blended_tiles(self._decode_tile, [features], height, width, self.overlap)
        if finish is as_made:
            return picture
        return in_tiles(finish, picture, side=self.overlap.side_px, halo=0, px_in=1, px_out=1)

    def _decode_tile(self, vae_latents: Tensor) -> list[Tensor]:
        return [self.decoder(self.post_quant_conv(vae_latents / SCALING))]
