"""Other ways to run the same networks, to compare with: the reference implementation's, and a sampler's.

Equal results are not the point, equal work is: adapters add nothing here, and a sampler's picture is noise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from onedc.codec import Codec
from onedc.engine.torch_engine import torch_engine_of
from onedc.model.lora import adapt
from onedc.model.vae_kl import Upsample, WindowAttention

RANK = 64  # of the published adapters


def as_reference(codec: Codec) -> None:
    """Turn a codec in fp32 into one that works as the reference implementation does.

    No channels_last; on CUDA bf16 autocast round all but the autoencoder. Of the paper's model also: an
    adapter beside every layer of the UNet, one window of the autoencoder after the other, and its decoder's
    3x3 convolutions on repeated pixels.
    """
    engine = torch_engine_of(codec.model)
    nets = engine.nets
    nets.to(memory_format=torch.contiguous_format)
    if codec.config.vae == "sd":
        adapt(nets.generator.unet, RANK)
        nets.requires_grad_(False)
        swap_layers(nets.vae, {WindowAttention: OneByOne, Upsample: OnRepeated})
    if engine.device.type == "cuda":
        for name in ("analyse", "synthesise"):
            setattr(nets, name, torch.autocast("cuda", torch.bfloat16)(getattr(nets, name)))


def swap_layers(root: nn.Module, others: Mapping[type[nn.Module], Callable[[Any], nn.Module]]) -> None:
    """Put another layer in the place of each of these types, made of the one that is there."""
    for parent in list(root.modules()):
        for name, layer in list(parent.named_children()):
            if type(layer) in others:
                setattr(parent, name, others[type(layer)](layer))


class OneByOne(nn.Module):
    """What a WindowAttention does with [B,C,h,w], in a loop over its windows."""

    def __init__(self, attention: WindowAttention) -> None:
        super().__init__()
        self.attention = attention

    def forward(self, x: Tensor, tokens: None = None) -> Tensor:
        side, out = self.attention.window, torch.empty_like(x)
        for top in range(0, x.shape[-2], side):
            for left in range(0, x.shape[-1], side):
                place = (..., slice(top, top + side), slice(left, left + side))
                out[place] = self.attention._attend(x[place])
        return out


class OnRepeated(nn.Module):
    """What an Upsample does with [B,C,h,w], by a 3x3 convolution on repeated pixels."""

    def __init__(self, upsample: Upsample) -> None:
        super().__init__()
        self.conv = upsample.conv

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))


def guided_step(codec: Codec, height_px: int, width_px: int, guidance: float = 7.5) -> Callable[[], Tensor]:
    """One step of a deterministic sampler with guidance on the codec's UNet: latents to latents.

    The UNet sees the latents with and without tokens, as a batch of two, through a first layer of random
    weights in place of the one that g_s feeds.
    """
    engine = torch_engine_of(codec.model)
    nets = engine.nets
    config, unet = codec.config, nets.generator.unet
    first = nn.Conv2d(config.vae_channels, config.generator_unet.widths[0], 3, padding=1)
    first.to(engine.device, engine.dtype).requires_grad_(False)
    latents = torch.randn(1, config.vae_channels, height_px // 8, width_px // 8)
    tokens = torch.randn(2, config.token_channels, height_px // 64, width_px // 64)
    latents, tokens = (t.to(engine.device, engine.dtype) for t in (latents, tokens))
    quality = torch.full((2,), 255, device=engine.device)

    def step() -> Tensor:
        time = nets.generator.time_vector(quality)
        pair = latents.repeat(2, 1, 1, 1).contiguous(memory_format=torch.channels_last)
        without, with_tokens = unet.trunk(first(pair), time, tokens)[0].chunk(2)
        noise = without + guidance * (with_tokens - without)
        return 0.99 * latents - 0.01 * noise

    return step
