"""The fixture model: preset `tiny` with fixed random weights, as good as noise but exact everywhere.

`fixture.safetensors` was made by `python -m tests.conformance.fixture_model` and is committed; the goldens
belong to that file, not to this script. Its scales and gains are such that symbols use many tables.
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from onedc.config import TINY
from onedc.model.blocks import DepthConvBlock, QualityGain
from onedc.model.onedc import OneDC
from onedc.weights.file import save_weights

CONFIG = replace(TINY, hyper_analysis_norm=False)  # TINY as it was when the fixture was made
FIXTURE = Path(__file__).parent / "fixture.safetensors"
MODEL_ID = 255


def build() -> OneDC:
    """The float model: weights normal with variance 1 / fan-in, from numpy's generator, in order of names."""
    random = np.random.default_rng(1)
    model = OneDC(CONFIG).eval().requires_grad_(False)
    for name, value in sorted(model.named_parameters()):
        normal = torch.from_numpy(random.standard_normal(tuple(value.shape)).astype(np.float32))
        if value.dim() > 1:
            value.copy_(normal / math.sqrt(value[0].numel()))
        elif not name.endswith("weight"):  # weights of one dimension are those of norms: they stay 1
            value.copy_(0.1 * normal)
    for module in model.modules():
        if isinstance(module, QualityGain):
            module.knots.copy_(torch.linspace(-1.0, 1.5, len(module.knots))[:, None] + 0.1 * module.knots)
    _spread(model)
    return model


def _spread(model: OneDC) -> None:
    """Give y, z and the scales ranges that reach many symbols and tables."""
    n = CONFIG.y_channels
    generator, picture = model.generator, model.vae.decoder[-1]
    scaled = {
        0.06: [model.g_a.trans_coding[-1].depth.conv2, model.g_a.trans_coding[-1].depth.adaptor],
        0.15: [model.h_a.fusion[-1], picture],
        0.03: [generator.vae_reduction.conv2, generator.vae_reduction.skip],
    }
    for factor, layers in scaled.items():
        for layer in layers:
            layer.weight.mul_(factor)
    picture.bias.add_(0.5)
    for root in (model.h_s, model.prior):
        for block in root.modules():
            if isinstance(block, DepthConvBlock):
                block.ffn.conv_out.weight.mul_(0.3)
                block.depth.conv2.weight.mul_(0.3)
    for trunk in (model.prior.fusion, model.prior.trunk):
        trunk[-1].ffn.conv_out.bias[:n].copy_(torch.linspace(-0.5, 2.0, n))


if __name__ == "__main__":
    save_weights(
        FIXTURE, build(), model_id=MODEL_ID, dtype=torch.float8_e4m3fn
    )  # one byte each: the file stays small
