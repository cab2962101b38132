"""A model for tests: little, with every part that the bundled one has, and random weights."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn

from onedc.config import TINY, ModelConfig
from onedc.model.onedc import OneDC

LITTLE = replace(TINY, name="little", reduced=True, noise_channels=4, seam_expansion=1)


def random_model(config: ModelConfig) -> OneDC:
    """A model with random weights in the layers that begin as zeros, too."""
    torch.manual_seed(0)
    model = OneDC(config).eval()
    for parameter in model.parameters():
        if not bool(parameter.any()):
            nn.init.normal_(parameter, std=0.05)
    return model
