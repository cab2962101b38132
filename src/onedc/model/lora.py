"""Low-rank adapters for the generator's UNet: its layers stay, and a small difference to each is learned.

A checkpoint holds them beside the layers; `onedc.weights.lora` merges them.
Source: Hu et al. 2021 (LoRA); ranks and layers: Xue et al. 2025 (OneDC).
"""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor, nn

ALPHA = 8
"""Adapters count ALPHA / rank times: 0.125 at the paper's rank, 64."""

WHOLE = ("conv_in", "conv_out", "time_embedding")
"""Children of a UNet without adapters."""
DOWN, UP = ".adapter_down.weight", ".adapter_up.weight"


class _Adapted(nn.Module):
    """A layer plus `scale` times its adapter, which starts at zero."""

    def take(self, layer: nn.Linear | nn.Conv2d, down: nn.Module, up: nn.Module, rank: int) -> None:
        """Share a layer's parameters; the adapter is of their type, on their device."""
        for name, parameter in layer.named_parameters(recurse=False):
            self.register_parameter(name, parameter)
        self.scale = ALPHA / rank
        nn.init.kaiming_uniform_(down.weight, a=math.sqrt(5))  # type: ignore[arg-type]
        nn.init.zeros_(up.weight)  # type: ignore[arg-type]
        self.adapter_down, self.adapter_up = down.to(layer.weight), up.to(layer.weight)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + self.scale * self.adapter_up(self.adapter_down(x))


class AdaptedLinear(_Adapted, nn.Linear):
    """A linear layer with an adapter of a rank."""

    def __init__(self, layer: nn.Linear, rank: int) -> None:
        super().__init__(layer.in_features, layer.out_features, bias=layer.bias is not None, device="meta")
        down = nn.Linear(layer.in_features, rank, bias=False)
        self.take(layer, down, nn.Linear(rank, layer.out_features, bias=False), rank)


class AdaptedConv2d(_Adapted, nn.Conv2d):
    """A convolution with an adapter of a rank."""

    def __init__(self, layer: nn.Conv2d, rank: int) -> None:
        kernel: Any = layer.kernel_size
        step: Any = layer.stride
        around: Any = layer.padding
        bias = layer.bias is not None
        super().__init__(
            layer.in_channels, layer.out_channels, kernel, step, around, bias=bias, device="meta"
        )
        down = nn.Conv2d(layer.in_channels, rank, kernel, step, around, bias=False)
        self.take(layer, down, nn.Conv2d(rank, layer.out_channels, 1, bias=False), rank)


def adapt(unet: nn.Module, rank: int) -> None:
    """Put an adapted layer in the place of every layer but the WHOLE; of the rest only conv_in may move."""
    unet.requires_grad_(False)
    for name, layer in list(unet.named_modules()):
        if name.startswith(WHOLE):
            continue
        if isinstance(layer, nn.Linear):
            unet.set_submodule(name, AdaptedLinear(layer, rank))
        elif isinstance(layer, nn.Conv2d):
            unet.set_submodule(name, AdaptedConv2d(layer, rank))
    unet.get_submodule("conv_in").requires_grad_(True)
