"""The seam in floats, which onedc does not have: it shows that the exactness test can fail."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from onedc.codec import Codec
from onedc.engine.torch_engine import torch_engine_of
from onedc.entropy.tables import load_tables
from onedc.model.onedc import OneDC
from onedc.seam.fixed_point import FixedConv2d, FixedQualityBias, FixedQualityGain
from onedc.seam.units import FRACTION_BITS, GAIN_BITS


class TableGain(nn.Module):
    """QualityGain from the integer tables, in floats."""

    def __init__(self, fixed: FixedQualityGain, dtype: torch.dtype) -> None:
        super().__init__()
        self.gain, self.inverse_gain = (
            (t / 2**GAIN_BITS).to(dtype) for t in (fixed.gain, fixed.inverse_gain)
        )

    def forward(self, x: Tensor, quality: Tensor) -> Tensor:
        return x * self.gain[quality][:, :, None, None]

    def inverse(self, x: Tensor, quality: Tensor) -> Tensor:
        return x * self.inverse_gain[quality][:, :, None, None]


class TableBias(nn.Module):
    """QualityBias from the integer table, in floats."""

    def __init__(self, fixed: FixedQualityBias, dtype: torch.dtype) -> None:
        super().__init__()
        self.bias = (fixed.bias / 2**FRACTION_BITS).to(dtype)

    def forward(self, x: Tensor, quality: Tensor) -> Tensor:
        return x + self.bias[quality][:, :, None, None]


class FloatSeam:
    """Stands in for the module of a `TorchSeam`, with floats made from its integers."""

    def __init__(self, codec: Codec, dtype: torch.dtype = torch.bfloat16) -> None:
        with torch.device("meta"):
            nets = OneDC(codec.config)
        self.dtype, seam = dtype, torch_engine_of(codec.model).seam.module
        self.thresholds = seam.thresholds
        self.h_s, self.prior = _floats(nets.h_s, seam.h_s, dtype), _floats(nets.prior, seam.prior, dtype)
        self.scales = torch.tensor(load_tables().scale.tolist(), dtype=torch.float64)

    def hyper(self, z_hat: Tensor) -> tuple[Tensor, Tensor]:
        hyper, z_semantic = self.h_s(z_hat.to(self.dtype))
        return hyper.double(), z_semantic.float()

    def gained(self, y: Tensor, quality: Tensor) -> Tensor:
        return self.prior.gained(y.to(self.dtype), quality).double()

    def scan(self, hyper: Tensor, quality: Tensor, code: Any) -> Tensor:
        def visit(part: int, scale: Tensor, mean: Tensor) -> Tensor:
            table_idx = torch.bucketize(scale.double(), self.scales[1:], right=True).to(torch.uint8)
            return code(part, table_idx, mean.double()).to(self.dtype) + mean

        return self.prior.scan(hyper.to(self.dtype), quality, visit).float()


def _floats(module: nn.Module, fixed: nn.Module, dtype: torch.dtype) -> Any:
    """`module` with the values of its fixed-point twin."""
    twins: Mapping[str, nn.Module] = dict(fixed.named_modules())
    for name, leaf in list(module.named_modules()):
        twin = twins.get(name) or twins.get(name.replace("ffn.", "ffn.module."))
        if isinstance(twin, FixedConv2d) and isinstance(leaf, nn.Conv2d):
            half = 0.5 / twin.step
            bias = (twin.offset.flatten() - half) * twin.step / 2**FRACTION_BITS
            leaf.weight = nn.Parameter((twin.weight * twin.step).to(dtype))
            leaf.bias = nn.Parameter(bias.to(dtype))
        elif isinstance(twin, FixedQualityGain):
            module.set_submodule(name, TableGain(twin, dtype))
        elif isinstance(twin, FixedQualityBias):
            module.set_submodule(name, TableBias(twin, dtype))
    return module.requires_grad_(False)
