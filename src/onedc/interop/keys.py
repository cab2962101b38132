"""Keys of the published networks and what each is called here.

Only names and the arithmetic that merges an adapter into its layer; files are opened elsewhere.
"""

from __future__ import annotations

import math
import re

from torch import Tensor

from onedc.errors import WeightsError
from onedc.model.lora import DOWN, UP
from onedc.pretrained.checkpoint import Checkpoint
from onedc.pretrained.loading import newer_attention
from onedc.weights.lora import with_adapter

LORA_SCALE = 0.125
"""alpha / rank of the published adapters: 8 / 64."""

# In order; the first prefix that fits is replaced.
_CODEC_PREFIXES = {
    "enc.unet.conv_in.": "g_a.conv_in.",
    "enc.": "g_a.",
    "hyper_enc.": "h_a.",
    "hyper_dec.": "h_s.",
    "y_prior_fusion.": "prior.fusion.",
    "y_spatial_prior_reduction.": "prior.reduction.",
    "y_spatial_prior_adaptor_1.": "prior.adaptors.0.",
    "y_spatial_prior_adaptor_2.": "prior.adaptors.1.",
    "y_spatial_prior_adaptor_3.": "prior.adaptors.2.",
    "y_spatial_prior.": "prior.trunk.",
    "semantic_adaptor.": "semantic.",
    "dec.": "g_s.",
}
_CODEC_PARTS = (
    (r"\.block\.0\.conv1\.0\.", ".depth.conv1."),
    (r"\.block\.0\.", ".depth."),
    (r"\.block\.1\.", ".ffn."),
    (r"\.(subpel_conv|upsample)\.0\.", r".\1."),
    (r"^g_s\.blocks\.3\.", "g_s.blocks.3.expand."),
    (r"^g_s\.blocks\.5\.", "g_s.blocks.3.conv."),
    (r"^g_s\.blocks\.([678])\.", lambda match: f"g_s.blocks.{int(match[1]) - 2}."),
)
_REDUCTION = {
    "short_cut": "skip",
    "blocks.0": "norm1",
    "blocks.2": "conv1",
    "blocks.3": "norm2",
    "blocks.5": "conv2",
}


def codec_key(published: str) -> str:
    """Our name of a weight of the published codec (`model_1.safetensors`)."""
    key = published
    for theirs, ours in _CODEC_PREFIXES.items():
        if key.startswith(theirs):
            key = ours + key.removeprefix(theirs)
            break
    for pattern, replacement in _CODEC_PARTS:
        key = re.sub(pattern, replacement, key)
    return key


def unet_key(published: str) -> str:
    """Our name of a weight of the published UNet (`model.safetensors`), adapters merged."""
    prefix = "vae_reduction."
    if published.startswith(prefix):
        part, _, kind = published.removeprefix(prefix).rpartition(".")
        return f"generator.{prefix}{_REDUCTION.get(part, part)}.{kind}"
    return f"generator.unet.{published}"


def vae_key(published: str) -> str:
    """Our name of a weight of a Stable Diffusion autoencoder, of either of the two attention namings."""
    return f"vae.{newer_attention(published)}"


def own_adapters(published: str) -> str:
    """Our name of a weight of an adapted layer, or of its adapter."""
    layer = published.replace(".base_layer.", ".")
    return layer.replace(".lora_A.default.weight", DOWN).replace(".lora_B.default.weight", UP)


def merge_lora(checkpoint: Checkpoint, scale: float = LORA_SCALE) -> Checkpoint:
    """The same network with its adapters, published or ours, merged: weight = base + scale * up @ down.

    Raises:
        WeightsError: half an adapter, an adapter of the wrong shape, or one without a layer.
    """
    own = checkpoint.renamed(own_adapters)
    adapted = {key.removesuffix(end) for end in (DOWN, UP) for key in own.shapes if key.endswith(end)}
    for layer in adapted:
        _check_adapter(own, layer)

    def read(key: str) -> Tensor:
        layer = key.removesuffix(".weight")
        if layer not in adapted or layer == key:
            return own.tensor(key)
        base, down, up = (own.tensor(layer + end) for end in (".weight", DOWN, UP))
        return with_adapter(base.float(), down, up, scale)

    shapes = {key: shape for key, shape in own.shapes.items() if not key.endswith((DOWN, UP))}
    return Checkpoint(name=own.name, shapes=shapes, read=read)


def _check_adapter(own: Checkpoint, layer: str) -> None:
    """Both halves of an adapter and the layer it belongs to, with shapes that fit each other."""
    base, down, up = (own.shapes.get(layer + end) for end in (".weight", DOWN, UP))
    if base is None or down is None or up is None:
        raise WeightsError(f"{own.name}: the adapter of {layer!r} is not complete")
    if (up[0], *down[1:]) != base or up[1] != down[0] or math.prod(up[2:]) != 1:
        raise WeightsError(f"{own.name}: the adapter of {layer!r} does not fit: {base}, {down}, {up}")
