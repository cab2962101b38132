"""The rate's weight (lambda): what a bit costs in the loss, by quality byte and step."""

from __future__ import annotations

import torch
from torch import Tensor

from onedc.constants import QUALITY_MAX

RAMP_START = 1e-4  # weight of the bits at the first step of a ramp


def rate_weight(quality: Tensor, low: float, high: float, ramp: float = 1.0) -> Tensor:
    """Weight of a bit per pixel for each quality byte [B], log-linear over the bytes; 0 at byte 0.

    Args:
        low: at quality byte 1.
        high: at quality byte 255.
        ramp: how much of the way from RAMP_START there, 0 .. 1.
    """
    position = (quality.clamp(min=1) - 1).float() / (QUALITY_MAX - 1)
    weight = RAMP_START + (low * (high / low) ** position - RAMP_START) * ramp
    return torch.where(quality > 0, weight, torch.zeros_like(weight))
