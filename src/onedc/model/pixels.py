"""Pictures as tensors: 8-bit arrays to x in [-1, 1], padding, and back.

Knows shapes and ranges; nothing of files, colour or networks.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from onedc.config import DOWNSAMPLING_PX

STRIP_ROWS = 512  # rows of a decoded picture that become bytes at a time


def to_tensor(picture: NDArray[Any]) -> Tensor:
    """[H,W,3] uint8, or [3,H,W] float32 in [-1,1] -> [1,3,H,W] float32 on the CPU, a copy."""
    if picture.dtype != np.uint8:
        return torch.tensor(picture)[None]
    x = torch.tensor(picture).permute(2, 0, 1)[None].to(torch.float32, memory_format=torch.contiguous_format)
    return x.mul_(2 / 255).sub_(1)


def pad(x: Tensor, multiple: int = DOWNSAMPLING_PX, *, reflect: bool = False) -> Tensor:
    """[B,C,H,W] extended right and bottom to multiples of `multiple`, by repeating the border.

    With `reflect` mirrored at the border, as the reference's z-only model has it: for comparisons with that,
    and only for sides that are longer than what is added.
    """
    height, width = x.shape[-2:]
    mode = "reflect" if reflect else "replicate"
    return F.pad(x, (0, -width % multiple, 0, -height % multiple), mode=mode)


def to_bytes(x: Tensor) -> NDArray[np.uint8]:
    """[3,H,W] floats -> [H,W,3] uint8; [-1,1] becomes 0..255, halves up, values beyond are clamped."""
    parts = []
    for rows in x.split(STRIP_ROWS, dim=1):  # the floats of a large picture would take more than the networks
        steps = rows.float().clamp(-1, 1).add_(1).mul_(127.5).add_(0.5)
        parts.append(steps.to(torch.uint8).permute(1, 2, 0).cpu().numpy())
    return np.concatenate(parts)
