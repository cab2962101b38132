"""Low-rank adapters for the generator's UNet: its layers stay, and a small difference to each is learned.

A checkpoint holds them beside the layers; whoever takes weights from it gets layers with adapters merged.
Source: Hu et al. 2021 (LoRA); ranks and layers: Xue et al. 2025 (OneDC).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

from torch import Tensor, nn

ALPHA = 8
"""Adapters count ALPHA / rank times: 0.125 at the paper's rank, 64."""

WHOLE = ("conv_in", "conv_out", "time_embedding")
"""Children of a UNet without adapters."""
DOWN, UP = ".adapter_down.weight", ".adapter_up.weight"


def adapt(unet: nn.Module, rank: int) -> None:
    """Give every layer but the WHOLE an adapter that starts at zero; of the rest only conv_in may move.

    Adapters are of their layers' type, on their device.
    """
    unet.requires_grad_(False)
    for name, layer in list(unet.named_modules()):
        if not name.startswith(WHOLE) and isinstance(layer, nn.Linear | nn.Conv2d):
            _add(layer, rank)
    unet.get_submodule("conv_in").requires_grad_(True)


def _add(layer: nn.Linear | nn.Conv2d, rank: int) -> None:
    down: nn.Module
    if isinstance(layer, nn.Linear):
        down = nn.Linear(layer.in_features, rank, bias=False)
        up: nn.Module = nn.Linear(rank, layer.out_features, bias=False)
    else:
        kernel: Any = layer.kernel_size
        step: Any = layer.stride
        around: Any = layer.padding
        down = nn.Conv2d(layer.in_channels, rank, kernel, step, around, bias=False)
        up = nn.Conv2d(rank, layer.out_channels, 1, bias=False)
    nn.init.kaiming_uniform_(down.weight, a=math.sqrt(5))
    nn.init.zeros_(up.weight)  # type: ignore[arg-type]
    layer.adapter_down, layer.adapter_up = down.to(layer.weight), up.to(layer.weight)
    layer.forward = partial(_adapted, layer, layer.forward, ALPHA / rank)  # type: ignore[method-assign]


def _adapted(layer: Any, forward: Any, scale: float, x: Tensor) -> Tensor:
    result: Tensor = forward(x) + scale * layer.adapter_up(layer.adapter_down(x))
    return result


def rank_of(tensors: Mapping[str, Tensor]) -> int:
    """The rank of the adapters among these weights; 0 where there are none."""
    return next((len(tensor) for name, tensor in tensors.items() if name.endswith(DOWN)), 0)


def merged(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same weights with adapters merged into their layers: W + ALPHA / rank * up @ down."""
    plain = {name: tensor for name, tensor in tensors.items() if not name.endswith((DOWN, UP))}
    for name, down in tensors.items():
        if name.endswith(DOWN):
            layer = name.removesuffix(DOWN)
            weight, up = plain[f"{layer}.weight"], tensors[layer + UP]
            difference = up.double().flatten(1) @ down.double().flatten(1)
            moved = weight.double() + ALPHA / len(down) * difference.view_as(weight)
            plain[f"{layer}.weight"] = moved.to(weight.dtype)
    return plain
