"""A light model for tests: little, with random weights."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn

from onedc.config import LIGHT, LightConfig, ModelConfig, UNetConfig
from onedc.model.onedc import OneDC

LITTLE = replace(
    LIGHT,
    quality_knots=2,
    noise_channels=4,
    light=LightConfig(
        analysis_widths=(8, 16, 32),
        analysis_blocks=(1, 1, 1),
        semantic_width=32,
        decoder_widths=(16, 8),
        decoder_blocks=(1, 1),
    ),
    y_channels=16,
    hyper_analysis_widths=(32, 32),
    hyper_channels=32,
    token_channels=32,
    synthesis_widths=(32, 0),
    synthesis_blocks=(1, 0),
    semantic_up_widths=(32, 32),
    generator_channels=32,
    generator_unet=UNetConfig(widths=(32, 32), layers=1, attention=(True, True), heads=2, time_channels=32),
)
"""The light model with widths that a test can afford."""


def random_model(config: ModelConfig) -> OneDC:
    """A model with random weights in the layers that begin as zeros, too."""
    torch.manual_seed(0)
    model = OneDC(config).eval()
    for parameter in model.parameters():
        if not bool(parameter.any()):
            nn.init.normal_(parameter, std=0.05)
    return model
