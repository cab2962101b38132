"""Low-rank adapters merged into the layers they belong to: weight + ALPHA / rank * up @ down.

Source: Hu et al. 2021 (LoRA).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from torch import Tensor

from onedc.errors import WeightsError
from onedc.model.lora import ALPHA, DOWN, UP

Shapes = Mapping[str, tuple[int, ...]]


def merged_shapes(shapes: Shapes, origin: str) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a network's weights once its adapters are merged.

    Raises:
        WeightsError: half an adapter, one of the wrong shape, or one without a layer.
    """
    for layer in {name.removesuffix(end) for end in (DOWN, UP) for name in shapes if name.endswith(end)}:
        weight, down, up = (shapes.get(layer + end) for end in (".weight", DOWN, UP))
        if weight is None or down is None or up is None:
            raise WeightsError(f"{origin}: the adapter of {layer!r} is not complete")
        alike = len(weight) == len(down) == len(up) > 1
        if not alike or (up[0], *down[1:]) != weight or up[1] != down[0] or math.prod(up[2:]) != 1:
            raise WeightsError(f"{origin}: the adapter of {layer!r} does not fit: {weight}, {down}, {up}")
    return {name: shape for name, shape in shapes.items() if not name.endswith((DOWN, UP))}


def read_merged(name: str, shapes: Shapes, read: Callable[[str], Tensor]) -> Tensor:
    """One weight of `merged_shapes`, of the type it is read in; the sum is formed in float64."""
    layer = name.removesuffix(".weight")
    if layer == name or layer + DOWN not in shapes:
        return read(name)
    weight, down, up = (read(layer + end) for end in (".weight", DOWN, UP))
    product = up.double().flatten(1) @ down.double().flatten(1)
    return (weight.double() + ALPHA / len(down) * product.view_as(weight)).to(weight.dtype)


def merged(tensors: Mapping[str, Tensor], origin: str) -> dict[str, Tensor]:
    """The weights of a network with its adapters merged. Raises WeightsError: see `merged_shapes`."""
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    return {name: read_merged(name, shapes, tensors.__getitem__) for name in merged_shapes(shapes, origin)}


def rank_of(tensors: Mapping[str, Tensor]) -> int:
    """The rank of the adapters among these weights; 0 where there are none."""
    return next((len(tensor) for name, tensor in tensors.items() if name.endswith(DOWN)), 0)
