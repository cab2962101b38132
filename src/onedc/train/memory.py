"""What makes a big stage fit: activations computed twice instead of kept, weights kept in half the bits."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from onedc.model import blocks, taef2, unet, vae_kl
from onedc.train.networks.swin import SwinBlock

BLOCKS = (
    blocks.DepthConvBlock,
    blocks.ResidualBlockUpsample,
    blocks.ResnetBlock,
    blocks.AttentionBlock,
    blocks.Upsample2,
    unet.TimeResnet,
    unet.SelfAttention2d,
    unet.Transformer2d,
    vae_kl.WindowAttention,
    taef2.Block,
    SwinBlock,
)
"""The networks are chains of these; none of them draws random numbers."""


def recompute(module: nn.Module) -> None:
    """From now on only the inputs of its blocks are kept; the backward pass runs each block again."""
    for block in module.modules():
        if isinstance(block, BLOCKS):
            block.forward = partial(_twice, block.forward)  # type: ignore[method-assign]


def _twice(forward: Any, *inputs: Any) -> Any:
    if not torch.is_grad_enabled():
        return forward(*inputs)
    return checkpoint(forward, *inputs, use_reentrant=False, preserve_rng_state=False)


def halve(parameters: Iterable[nn.Parameter]) -> None:
    """Keep matrices and kernels in bf16, for use under autocast; vectors (norms, biases) stay fp32."""
    for parameter in parameters:
        if parameter.ndim > 1:
            parameter.data = parameter.data.to(torch.bfloat16)
