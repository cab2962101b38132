"""Low-rank adapters merged into the layers they belong to. Source: Hu et al. 2021 (LoRA)."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from onedc.model.lora import ALPHA, DOWN, UP


def with_adapter(weight: Tensor, down: Tensor, up: Tensor, scale: float) -> Tensor:
    """weight + scale * up @ down, summed in float64; shape and type are those of `weight`."""
    product = up.double().flatten(1) @ down.double().flatten(1)
    return (weight.double() + scale * product.view_as(weight)).to(weight.dtype)


def merged(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of a checkpoint with its adapters (`onedc.model.lora`) merged into their layers."""
    plain = {name: tensor for name, tensor in tensors.items() if not name.endswith((DOWN, UP))}
    for name, down in tensors.items():
        if name.endswith(DOWN):
            layer = name.removesuffix(DOWN)
            weight, up = plain[f"{layer}.weight"], tensors[layer + UP]
            plain[f"{layer}.weight"] = with_adapter(weight, down, up, ALPHA / len(down))
    return plain


def rank_of(tensors: Mapping[str, Tensor]) -> int:
    """The rank of the adapters among these weights; 0 where there are none."""
    return next((len(tensor) for name, tensor in tensors.items() if name.endswith(DOWN)), 0)
