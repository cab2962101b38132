"""Float weights stored as 8-bit integers with a scale for each output row: half the bytes of fp16.

For files only: networks compute with the floats that come back. Vectors (biases, norms) are not packed.
"""

from __future__ import annotations

import torch
from torch import Tensor

from onedc.errors import WeightsError
from onedc.weights.layout import SCALE

PEAK = 127


def pack(name: str, value: Tensor) -> dict[str, Tensor]:
    """A float tensor [rows, ...] as integers of -127..127 under its name, and float32 scales [rows].

    Raises:
        WeightsError: values that are not finite.
    """
    rows = value.detach().cpu().float().flatten(1)
    if not bool(rows.isfinite().all()):
        raise WeightsError(f"tensor {name!r} has values that are not finite")
    scale = rows.abs().amax(dim=1).clamp(min=1e-12) / PEAK
    integers = (rows / scale[:, None]).round().to(torch.int8)
    return {name: integers.reshape(value.shape).contiguous(), name + SCALE: scale}


def unpack(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """All tensors of a file with the packed ones as float32; the others as they are.

    Raises:
        WeightsError: scales that belong to no packed tensor of as many rows.
    """
    scales = {name.removesuffix(SCALE): t for name, t in tensors.items() if name.endswith(SCALE)}
    plain = {name: t for name, t in tensors.items() if not name.endswith(SCALE)}
    for name, scale in scales.items():
        packed = plain.get(name)
        if packed is None or packed.dtype != torch.int8 or packed.shape[:1] != scale.shape:
            raise WeightsError(f"tensor {name + SCALE!r} fits no tensor of 8-bit integers")
        plain[name] = packed.float() * scale.view(-1, *(1,) * (packed.dim() - 1))
    return plain
