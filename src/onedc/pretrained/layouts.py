"""The weights that each pretrained network has under our keys, and their names where it is published."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from onedc.config import SD15
from onedc.model.features import MobileNetV2Features
from onedc.model.lpips import LPIPS
from onedc.model.maskgit import MaskGITTokenizer
from onedc.model.taef2 import TAEF2
from onedc.model.unet import Transformer2d, UNet
from onedc.model.vae_kl import AutoencoderKL
from onedc.pretrained.fitting import Rename, Shapes

_OLD_ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
UNBOUNDED = 1 << 30
"""Attention without windows."""


@dataclass(frozen=True)
class Layout:
    """What a network's file holds."""

    build: Callable[[], Shapes]  # our keys and shapes
    rename: Rename = str  # our key of a published one
    ignored: tuple[str, ...] = ()  # what published keys begin with that are of no use here


def newer_attention(published: str) -> str:
    """A key of Stable Diffusion's autoencoder, of either of its two attention namings, in the newer one."""
    for theirs, ours in _OLD_ATTENTION.items():
        published = published.replace(f".attentions.0.{theirs}.", f".attentions.0.{ours}.")
    return published


def shapes_of(module: nn.Module) -> dict[str, tuple[int, ...]]:
    """Keys and shapes of a module's weights."""
    return {key: tuple(tensor.shape) for key, tensor in module.state_dict().items()}


def _of(build: Callable[[], nn.Module]) -> Callable[[], dict[str, tuple[int, ...]]]:
    def shapes() -> dict[str, tuple[int, ...]]:
        with torch.device("meta"):
            return shapes_of(build())

    return shapes


def _sd15_unet() -> nn.Module:
    """The UNet of SD 1.5, which DMD2's is too."""
    unet = SD15.generator_unet
    module = UNet(
        unet,
        SD15.vae_channels,
        lambda c: Transformer2d(c, unet.heads, SD15.token_channels, UNBOUNDED, UNBOUNDED),
    )
    module.conv_in = nn.Conv2d(SD15.vae_channels, unet.widths[0], 3, padding=1)
    return module


def clip_text(width: int = 768, layers: int = 12, words: int = 49408, length: int = 77) -> Shapes:
    """The text encoder of CLIP ViT-L/14."""
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.token_embedding.weight": (words, width),
        "embeddings.position_embedding.weight": (length, width),
    }
    linear = {f"self_attn.{name}_proj": (width, width) for name in ("q", "k", "v", "out")}
    linear |= {"mlp.fc1": (4 * width, width), "mlp.fc2": (width, 4 * width)}
    norms = {"final_layer_norm"}
    for layer in (f"encoder.layers.{n}" for n in range(layers)):
        norms |= {f"{layer}.layer_norm1", f"{layer}.layer_norm2"}
        for name, shape in linear.items():
            shapes |= {f"{layer}.{name}.weight": shape, f"{layer}.{name}.bias": shape[:1]}
    for norm in norms:
        shapes |= {f"{norm}.weight": (width,), f"{norm}.bias": (width,)}
    return shapes


LAYOUTS: dict[str, Layout] = {
    "lpips-squeeze": Layout(_of(lambda: LPIPS("squeeze"))),
    "lpips-vgg": Layout(_of(lambda: LPIPS("vgg"))),
    "lpips-alex": Layout(_of(lambda: LPIPS("alex"))),
    "mobilenet-v2": Layout(_of(MobileNetV2Features)),
    "taef2-encoder": Layout(_of(lambda: TAEF2().encoder)),
    "taef2-decoder": Layout(_of(lambda: TAEF2().decoder)),
    "sd-vae": Layout(_of(AutoencoderKL), newer_attention),
    "dmd2-unet": Layout(_of(_sd15_unet)),
    "sd15-unet": Layout(_of(_sd15_unet)),
    "sd15-text": Layout(clip_text, ignored=("embeddings.position_ids",)),
    "maskgit-vqgan": Layout(_of(MaskGITTokenizer), ignored=("decoder.",)),
}
"""By the names of the table."""
