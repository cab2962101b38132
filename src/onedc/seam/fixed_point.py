"""Layers in fixed point, each the twin of a float layer that the integer seam may hold.

Activations are integers in units of 2**-FRACTION_BITS, held in float64, and every sum stays below 2**53: the
same bits on any device, at any thread count, in any order of summation. What a layer takes and what it gives
is clamped to +-LIMIT, so that a port may store activations, skips added, as int32. Knows single layers only.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from onedc.constants import QUALITY_MAX
from onedc.errors import WeightsError
from onedc.model.blocks import QualityBias, QualityGain, QualityTable
from onedc.seam.units import EXACT, FRACTION_BITS, GAIN_BITS, LIMIT, SLOPE_BITS, UNITS

WEIGHT_LIMIT = 2**15 - 1
SLICE_ELEMENTS = 2**22
"""Intermediate values of one slice of rows: larger images run in slices, so memory stays bounded."""


Shapes = dict[str, tuple[int, ...]]
"""Name -> shape of the integers of one layer."""


class FixedConv2d(nn.Module):
    """A convolution of stride 1 with "same" padding on integers: 1x1, 3x3, or depthwise 3x3.

    out = clamp(floor((conv(x, weight) + bias + 2**(shift - 1)) / 2**shift)), bias in the accumulator's unit.

    Args:
        weight: [out, in, k, k] (depthwise: [channels, 1, 3, 3]) integers.
        bias: [out] integers.
        shift: scalar integer, at least 1.
    Raises:
        WeightsError: a shape that is none of the three, or a sum that could leave the exact range.
    """

    weight: Tensor
    offset: Tensor

    def __init__(self, weight: Tensor, bias: Tensor, shift: Tensor) -> None:
        super().__init__()
        bits = int(shift)
        if not 1 <= bits <= 40 or weight.dim() != 4 or weight.shape[2:] not in ((1, 1), (3, 3)):
            raise WeightsError(f"integer convolution with shift {bits} and weight {tuple(weight.shape)}")
        offset = bias.double() + 2.0 ** (bits - 1)
        worst = LIMIT * weight.double().abs().sum((1, 2, 3)) + offset.abs()
        if not bool((worst < EXACT).all()):
            raise WeightsError(f"integer convolution can reach {float(worst.max()):.3g}, beyond 2**53")
        self.size = weight.shape[2]
        self.depthwise = weight.shape[1] == 1 and self.size == 3
        self.step = 2.0**-bits
        self.register_buffer("weight", weight.double(), persistent=False)
        self.register_buffer("offset", offset.view(-1, 1, 1), persistent=False)

    @classmethod
    def from_float(cls, conv: nn.Conv2d) -> dict[str, Tensor]:
        """The integers (weight, bias, shift) of a trained convolution.

        Raises:
            WeightsError: strides, dilation, groups or padding that have no fixed-point form, or not finite.
        """
        size = conv.kernel_size[0]
        same = conv.padding == (size // 2, size // 2) and conv.padding_mode == "zeros"
        plain = conv.stride == conv.dilation == (1, 1) and conv.groups in (1, conv.in_channels)
        if not (same and plain):
            raise WeightsError(f"{conv} cannot run in fixed point")
        weight = conv.weight.detach().double()
        bias = torch.zeros(len(weight)) if conv.bias is None else conv.bias.detach()
        peak = float(weight.abs().max())
        if not math.isfinite(peak) or not bool(bias.isfinite().all()):
            raise WeightsError(f"{conv} has weights that are not finite")
        shift = min(24, math.floor(math.log2(WEIGHT_LIMIT / max(peak, 1e-9))))
        return {
            "weight": (weight * 2.0**shift).round().to(torch.int16),
            "bias": (bias.double() * 2.0 ** (shift + FRACTION_BITS)).round().long(),
            "shift": torch.tensor(shift, dtype=torch.int32),
        }

    @staticmethod
    def to_float(integers: Mapping[str, Tensor], _knots: int) -> dict[str, Tensor]:
        """The parameters that `from_float` would give these integers for."""
        unit = 2.0 ** -int(integers["shift"])
        weight, bias = integers["weight"].double() * unit, integers["bias"].double() * (unit / UNITS)
        return {"weight": weight.float(), "bias": bias.float()}

    @staticmethod
    def shapes(conv: nn.Conv2d) -> Shapes:
        """What `from_float` gives for a convolution, without looking at its values."""
        return {"weight": tuple(conv.weight.shape), "bias": (conv.out_channels,), "shift": ()}

    def forward(self, x: Tensor) -> Tensor:
        """[B,in,h,w] -> [B,out,h,w], integers in float64."""
        columns = 1 if self.depthwise else self.size**2
        slices = list(row_slices(x.shape[2], columns * x.shape[0] * x.shape[1] * x.shape[3]))
        sums = (self._sums(_rows_with_halo(x, top, bottom, self.size // 2)) for top, bottom in slices)
        acc = next(sums) if len(slices) == 1 else torch.cat(list(sums), dim=2)
        # Round first: a backend whose convolution is a little off still lands on the exact sum.
        return _clamped(acc.round_().add_(self.offset).mul_(self.step).floor_())

    def _sums(self, x: Tensor) -> Tensor:
        """Convolution of rows that carry their halo above and below; zero padding left and right."""
        if self.size == 1:
            return pointwise(self.weight.flatten(1), x)
        x = F.pad(x, (1, 1, 0, 0))
        if self.depthwise:
            return shifted_sum(self.weight, x)
        columns = F.unfold(x, self.size)
        return (self.weight.flatten(1) @ columns).unflatten(2, (x.shape[2] - 2, x.shape[3] - 2))


class FixedLeakyReLU(nn.Module):
    """max(x, floor((x * slope + 2**15) / 2**16)) on integers; `slope` in units of 2**-16, at most 2**15."""

    def __init__(self, slope: Tensor) -> None:
        super().__init__()
        self.slope = int(slope)
        if not 0 <= self.slope <= 2 ** (SLOPE_BITS - 1):
            raise WeightsError(f"integer LeakyReLU with slope {self.slope}/65536")

    @classmethod
    def from_float(cls, leaf: nn.LeakyReLU) -> dict[str, Tensor]:
        """The slope as an integer."""
        return {"slope": torch.tensor(round(leaf.negative_slope * 2**SLOPE_BITS), dtype=torch.int32)}

    @staticmethod
    def to_float(_integers: Mapping[str, Tensor], _knots: int) -> dict[str, Tensor]:
        """No parameters."""
        return {}

    @staticmethod
    def shapes(leaf: nn.LeakyReLU) -> Shapes:
        """One number."""
        return {"slope": ()}

    def forward(self, x: Tensor) -> Tensor:
        """Integers to integers, any shape."""
        x = x.clamp(-LIMIT, LIMIT)
        negative = (x * self.slope).add_(2 ** (SLOPE_BITS - 1)).mul_(2.0**-SLOPE_BITS).floor_()
        return torch.maximum(x, negative, out=negative)


class FixedQualityGain(nn.Module):
    """QualityGain on integers: tables [256,C] by quality byte, in units of 2**-16.

    Raises:
        WeightsError: a gain of 1000 or more, in either direction.
    """

    gain: Tensor
    inverse_gain: Tensor

    def __init__(self, gain: Tensor, inverse: Tensor) -> None:
        super().__init__()
        if not max(int(gain.abs().max()), int(inverse.abs().max())) < EXACT / LIMIT - 1:
            raise WeightsError("integer quality gains beyond the exact range")
        self.register_buffer("gain", gain.double(), persistent=False)
        self.register_buffer("inverse_gain", inverse.double(), persistent=False)

    @classmethod
    def from_float(cls, leaf: QualityGain) -> dict[str, Tensor]:
        """Both tables as integers."""
        vectors = leaf.vectors(torch.arange(QUALITY_MAX + 1)).detach().double()
        return {"gain": _units(vectors.exp(), GAIN_BITS), "inverse": _units((-vectors).exp(), GAIN_BITS)}

    @staticmethod
    def to_float(integers: Mapping[str, Tensor], knots: int) -> dict[str, Tensor]:
        """Logarithms of the gains at the knots."""
        return QualityTable.fitted((integers["gain"].double() * 2.0**-GAIN_BITS).log(), knots)

    @staticmethod
    def shapes(leaf: QualityGain) -> Shapes:
        """Two tables."""
        return {"gain": _table_shape(leaf), "inverse": _table_shape(leaf)}

    def forward(self, x: Tensor, quality: Tensor) -> Tensor:
        """Integers [B,C,h,w] and bytes [B] -> integers."""
        return self._scaled(x, self.gain[quality])

    def inverse(self, x: Tensor, quality: Tensor) -> Tensor:
        """The opposite of forward, but for rounding."""
        return self._scaled(x, self.inverse_gain[quality])

    def _scaled(self, x: Tensor, gain: Tensor) -> Tensor:
        scaled = x.clamp(-LIMIT, LIMIT) * gain[:, :, None, None]
        return _clamped(scaled.add_(2 ** (GAIN_BITS - 1)).mul_(2.0**-GAIN_BITS).floor_())


class FixedQualityBias(nn.Module):
    """QualityBias on integers: a table [256,C] by quality byte, in activation units."""

    bias: Tensor

    def __init__(self, bias: Tensor) -> None:
        super().__init__()
        self.register_buffer("bias", bias.double(), persistent=False)

    @classmethod
    def from_float(cls, leaf: QualityBias) -> dict[str, Tensor]:
        """The table as integers."""
        return {"bias": _units(leaf.vectors(torch.arange(QUALITY_MAX + 1)).detach().double(), FRACTION_BITS)}

    @staticmethod
    def to_float(integers: Mapping[str, Tensor], knots: int) -> dict[str, Tensor]:
        """Vectors at the knots."""
        return QualityTable.fitted(integers["bias"].double() / UNITS, knots)

    @staticmethod
    def shapes(leaf: QualityBias) -> Shapes:
        """One table."""
        return {"bias": _table_shape(leaf)}

    def forward(self, x: Tensor, quality: Tensor) -> Tensor:
        """Integers [B,C,h,w] and bytes [B] -> integers."""
        return _clamped(x + self.bias[quality][:, :, None, None])


class SlicedRows(nn.Module):
    """Runs a pointwise module in slices of rows, so that its wide inner maps stay small."""

    def __init__(self, module: nn.Module, width: int) -> None:
        super().__init__()
        self.module, self.width = module, width

    def forward(self, x: Tensor) -> Tensor:
        """As the module's own."""
        slices = row_slices(x.shape[2], self.width * x.shape[0] * x.shape[3])
        return torch.cat([self.module(x[:, :, top:bottom]) for top, bottom in slices], dim=2)


def pointwise(weight: Tensor, x: Tensor) -> Tensor:
    """[out,in] times [B,in,h,w] -> [B,out,h,w]."""
    return (weight @ x.flatten(2)).unflatten(2, x.shape[2:])


def shifted_sum(weight: Tensor, x: Tensor) -> Tensor:
    """Depthwise 3x3 without padding as nine multiply-adds; float64 grouped convolution is slow on CPUs."""
    height, width = x.shape[2] - 2, x.shape[3] - 2
    total = x.new_zeros(*x.shape[:2], height, width)
    for tap in range(9):
        row, column = divmod(tap, 3)
        window = x[:, :, row : row + height, column : column + width]
        total.addcmul_(window, weight[:, 0, row, column].view(-1, 1, 1))
    return total


def row_slices(height: int, elements_per_row: int) -> Iterator[tuple[int, int]]:
    """Ranges of rows of at most SLICE_ELEMENTS values (but at least one row) that tile `height`."""
    rows = max(1, SLICE_ELEMENTS // max(1, elements_per_row))
    for top in range(0, height, rows):
        yield top, min(top + rows, height)


def _rows_with_halo(x: Tensor, top: int, bottom: int, halo: int) -> Tensor:
    """Rows top - halo to bottom + halo, clamped to the exact range, zeros outside the picture."""
    first, last = max(0, top - halo), min(x.shape[2], bottom + halo)
    rows = x[:, :, first:last].clamp(-LIMIT, LIMIT)
    return F.pad(rows, (0, 0, halo - (top - first), halo - (last - bottom)))


def _clamped(x: Tensor) -> Tensor:
    """x, changed in place, within +-LIMIT."""
    return x.clamp_(-LIMIT, LIMIT)


def _units(values: Tensor, bits: int) -> Tensor:
    """Rounded to int32 in units of 2**-bits."""
    return (values * 2.0**bits).round().clamp(-(2.0**31), 2.0**31 - 1).to(torch.int32)


def _table_shape(leaf: QualityTable) -> tuple[int, int]:
    return (QUALITY_MAX + 1, leaf.knots.shape[1])


FIXED: dict[type[nn.Module], Any] = {
    nn.Conv2d: FixedConv2d,
    nn.LeakyReLU: FixedLeakyReLU,
    QualityGain: FixedQualityGain,
    QualityBias: FixedQualityBias,
}
"""The fixed-point twin of every kind of leaf that the seam may hold."""
