"""Keys of the published networks and what each is called here.

Only names, those of adapters too; files are opened elsewhere.
"""

from __future__ import annotations

import re

from torch import Tensor

from onedc.model.lora import DOWN, UP
from onedc.pretrained.checkpoint import Checkpoint
from onedc.pretrained.loading import newer_attention
from onedc.weights.lora import merged_shapes, read_merged

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


def merge_lora(checkpoint: Checkpoint) -> Checkpoint:
    """The same network in fp32, its adapters, published or ours, merged into their layers.

    Raises:
        WeightsError: half an adapter, an adapter of the wrong shape, or one without a layer.
    """
    own = checkpoint.renamed(own_adapters)

    def read(key: str) -> Tensor:
        return read_merged(key, own.shapes, lambda stored: own.tensor(stored).float())

    return Checkpoint(name=own.name, shapes=merged_shapes(own.shapes, own.name), read=read)
