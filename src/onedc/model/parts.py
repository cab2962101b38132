"""The four parts that y is coded in: which of its values belong to which.

The same code takes arrays of numpy and of torch, and needs no torch.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from onedc.config import PARTS, TURN

if TYPE_CHECKING:
    from torch import Tensor

Array = TypeVar("Array", "NDArray[Any]", "Tensor")


def array_namespace(array: Any) -> Any:
    """The library of an array, numpy or torch: a module whose functions take it."""
    return np if isinstance(array, np.ndarray) else sys.modules["torch"]


def zeros(like: Array, *shape: int) -> Array:
    """Zeros of a shape, in the library, of the type and on the device of another array."""
    made: Array = array_namespace(like).zeros(shape, dtype=like.dtype, device=like.device)
    return made


def collapse(values: Array, part: int) -> Array:
    """[B,N,h,w] -> [B,N/4,h,w]: at each position the one group of channels that belongs to the part."""
    batch, channels, height, width = values.shape
    groups = values.reshape(batch, PARTS, channels // PARTS, height, width)
    out = zeros(values, batch, channels // PARTS, height, width)
    for group in range(PARTS):
        row, column = divmod(group ^ TURN[part], 2)
        out[..., row::2, column::2] = groups[:, group, :, row::2, column::2]
    return out


def expand(values: Array, part: int) -> Array:
    """The inverse of `collapse`: [B,N/4,h,w] -> [B,N,h,w], zero where the part has nothing."""
    batch, channels, height, width = values.shape
    groups = zeros(values, batch, PARTS, channels, height, width)
    for group in range(PARTS):
        row, column = divmod(group ^ TURN[part], 2)
        groups[:, group, :, row::2, column::2] = values[..., row::2, column::2]
    return groups.reshape(batch, PARTS * channels, height, width)
