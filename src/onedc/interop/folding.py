"""Constant time embeddings, folded into the convolutions that they are added behind.

Both UNets run at one timestep, so what each residual block receives from its time embedding is one vector.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

from onedc.config import ModelConfig, UNetConfig
from onedc.model.analysis import TIMESTEP
from onedc.model.unet import TimeEmbedding
from onedc.pretrained.checkpoint import Checkpoint

_EMBEDDING, _PROJECTION = "time_embedding.", ".time_emb_proj."


def fold_time(config: ModelConfig, weights: Checkpoint) -> tuple[ModelConfig, Checkpoint]:
    """A model of a constant timestep as one without time embeddings.

    Args:
        config: of the weights; without a learned quality, which enters by the time embedding.
        weights: under our keys.
    Returns:
        The configuration without time embeddings, and its weights.
    """
    vectors: dict[str, Tensor] = {}
    for prefix, unet, timestep in _unets(config):
        vectors |= {prefix: _activated(prefix, unet, timestep, weights)} if unet.time_channels else {}

    def read(key: str) -> Tensor:
        tensor = weights.tensor(key)
        block, end = key.removesuffix(".conv1.bias"), ".conv1.bias"
        prefix = next((p for p in vectors if key.startswith(p)), None)
        if prefix is None or not key.endswith(end) or f"{block}{_PROJECTION}weight" not in weights.shapes:
            return tensor
        projection, bias = (
            weights.tensor(f"{block}{_PROJECTION}{part}").double() for part in ("weight", "bias")
        )
        return (tensor.double() + projection @ vectors[prefix] + bias).to(tensor.dtype)

    gone = tuple(prefix + _EMBEDDING for prefix in vectors)
    shapes = {k: s for k, s in weights.shapes.items() if not k.startswith(gone) and _PROJECTION not in k}
    assert config.analysis_unet is not None
    folded = replace(
        config,
        analysis_unet=replace(config.analysis_unet, time_channels=0),
        generator_unet=replace(config.generator_unet, time_channels=0),
    )
    return folded, Checkpoint(name=weights.name, shapes=shapes, read=read)


def _unets(config: ModelConfig) -> Iterator[tuple[str, UNetConfig, int]]:
    """Prefix, configuration and constant timestep of both UNets."""
    assert config.analysis_unet is not None
    yield "g_a.unet.", config.analysis_unet, TIMESTEP
    yield "generator.unet.", config.generator_unet, config.timestep


def _activated(prefix: str, unet: UNetConfig, timestep: int, weights: Checkpoint) -> Tensor:
    """What the projections of all residual blocks see, float64 [time channels]."""
    embedding = TimeEmbedding(unet.widths[0], unet.time_channels)
    embedding.load_state_dict({k: weights.tensor(prefix + _EMBEDDING + k) for k in embedding.state_dict()})
    with torch.inference_mode():
        return F.silu(embedding.double()(torch.tensor([timestep])))[0]
