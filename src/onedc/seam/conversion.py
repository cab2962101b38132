"""From the trained floats of h_s and the prior to the integers of the seam, and back; in torch.

Only here is it known which layers of the networks have a fixed-point form.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from onedc.constants import QUALITY_MAX
from onedc.errors import WeightsError
from onedc.model.blocks import QualityBias, QualityGain, QualityTable
from onedc.model.hyperprior import HyperSynthesis, SpatialPrior
from onedc.seam.fixed_point import Seam
from onedc.seam.units import FRACTION_BITS, GAIN_BITS, SLOPE_BITS, TABLES, UNITS

WEIGHT_LIMIT = 2**15 - 1
NEUTRAL = (nn.PixelShuffle, nn.Identity, nn.Sequential, nn.ModuleList)
"""Leaves that work on integers as they are, and empty containers."""

Shapes = dict[str, tuple[int, ...]]
"""Name -> shape of integers."""


def seam_integers(
    h_s: HyperSynthesis, prior: SpatialPrior, scale_table: Sequence[float]
) -> dict[str, Tensor]:
    """All integers of the seam of a trained model, by name; what a weights file stores.

    Raises:
        WeightsError: a layer that has no fixed-point form, or sums that could leave the exact range.
    """
    integers = {"thresholds": scale_thresholds(scale_table)}
    for name, leaf in _leaves(h_s, prior):
        for key, value in FORMS[type(leaf)].from_float(leaf).items():
            integers[f"{name}.{key}"] = value
    Seam(arrays_of(integers))
    return integers


def seam_floats(
    h_s: HyperSynthesis, prior: SpatialPrior, integers: Mapping[str, Tensor], knots: int
) -> dict[str, Tensor]:
    """Parameters of h_s and prior, by full name, from what `seam_integers` made of them; equal to rounding.

    Args:
        h_s, prior: only their structure counts, so they may be on the meta device.
        knots: trained points of the continuous quality.
    """
    floats: dict[str, Tensor] = {}
    for name, leaf in _leaves(h_s, prior):
        form = FORMS[type(leaf)]
        own = {key: integers[f"{name}.{key}"] for key in form.shapes(leaf)}
        floats |= {f"{name}.{key}": value for key, value in form.to_float(own, knots).items()}
    return floats


def seam_shapes(h_s: HyperSynthesis, prior: SpatialPrior) -> Shapes:
    """Names and shapes of what `seam_integers` gives, without looking at values."""
    shapes: Shapes = {"thresholds": (TABLES - 1,)}
    for name, leaf in _leaves(h_s, prior):
        shapes |= {f"{name}.{key}": shape for key, shape in FORMS[type(leaf)].shapes(leaf).items()}
    return shapes


def arrays_of(integers: Mapping[str, Tensor]) -> dict[str, NDArray[Any]]:
    """Tensors as arrays of numpy."""
    return {name: value.cpu().contiguous().numpy() for name, value in integers.items()}


def scale_thresholds(scale_table: Sequence[float]) -> Tensor:
    """int64 [255]: the smallest scale, in activation units, that reaches table index 1, 2, ... 255.

    The index of a scale s is trunc(ln(s / first) / step) with step = ln(last / first) / 255.
    """
    first, last = float(scale_table[0]), float(scale_table[-1])
    step = math.log(last / first) / (len(scale_table) - 1)
    exact = [first * math.exp(step * i) * UNITS for i in range(1, len(scale_table))]
    return torch.tensor([math.ceil(value) for value in exact], dtype=torch.int64)


def _leaves(h_s: HyperSynthesis, prior: SpatialPrior) -> Iterator[tuple[str, nn.Module]]:
    """Full name and module of every leaf that has a fixed-point form.

    Raises:
        WeightsError: a leaf that has none.
    """
    for root, module in (("h_s", h_s), ("prior", prior)):
        for name, leaf in module.named_modules(prefix=root):
            if type(leaf) in FORMS:
                yield name, leaf
            elif not isinstance(leaf, NEUTRAL) and not any(True for _ in leaf.children()):
                raise WeightsError(f"seam: {name} ({type(leaf).__name__}) has no fixed-point form")


class ConvolutionForm:
    """Weight [out,in,k,k] in units of 2**-shift, bias [out] in the unit of its products with activations."""

    @staticmethod
    def from_float(conv: nn.Conv2d) -> dict[str, Tensor]:
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
        """Of what `from_float` gives."""
        return {"weight": tuple(conv.weight.shape), "bias": (conv.out_channels,), "shift": ()}


class LeakyReLUForm:
    """The slope in units of 2**-SLOPE_BITS."""

    @staticmethod
    def from_float(leaf: nn.LeakyReLU) -> dict[str, Tensor]:
        """The slope as an integer."""
        return {"slope": torch.tensor(round(leaf.negative_slope * 2**SLOPE_BITS), dtype=torch.int32)}

    @staticmethod
    def to_float(_integers: Mapping[str, Tensor], _knots: int) -> dict[str, Tensor]:
        """No parameters."""
        return {}

    @staticmethod
    def shapes(leaf: nn.LeakyReLU) -> Shapes:
        """Of what `from_float` gives."""
        return {"slope": ()}


class QualityGainForm:
    """Gains [256,C] by quality byte and their inverses, in units of 2**-GAIN_BITS."""

    @staticmethod
    def from_float(leaf: QualityGain) -> dict[str, Tensor]:
        """Both tables as integers."""
        vectors = _vectors(leaf)
        return {"gain": _units(vectors.exp(), GAIN_BITS), "inverse": _units((-vectors).exp(), GAIN_BITS)}

    @staticmethod
    def to_float(integers: Mapping[str, Tensor], knots: int) -> dict[str, Tensor]:
        """Logarithms of the gains at the knots."""
        return QualityTable.fitted((integers["gain"].double() * 2.0**-GAIN_BITS).log(), knots)

    @staticmethod
    def shapes(leaf: QualityGain) -> Shapes:
        """Of what `from_float` gives."""
        return {"gain": _table_shape(leaf), "inverse": _table_shape(leaf)}


class QualityBiasForm:
    """Biases [256,C] by quality byte, in activation units."""

    @staticmethod
    def from_float(leaf: QualityBias) -> dict[str, Tensor]:
        """The table as integers."""
        return {"bias": _units(_vectors(leaf), FRACTION_BITS)}

    @staticmethod
    def to_float(integers: Mapping[str, Tensor], knots: int) -> dict[str, Tensor]:
        """Vectors at the knots."""
        return QualityTable.fitted(integers["bias"].double() / UNITS, knots)

    @staticmethod
    def shapes(leaf: QualityBias) -> Shapes:
        """Of what `from_float` gives."""
        return {"bias": _table_shape(leaf)}


def _vectors(leaf: QualityTable) -> Tensor:
    """The vectors [256,C] of all quality bytes, float64."""
    return leaf.vectors(torch.arange(QUALITY_MAX + 1)).detach().double()


def _units(values: Tensor, bits: int) -> Tensor:
    """Rounded to int32 in units of 2**-bits."""
    return (values * 2.0**bits).round().clamp(-(2.0**31), 2.0**31 - 1).to(torch.int32)


def _table_shape(leaf: QualityTable) -> tuple[int, int]:
    return (QUALITY_MAX + 1, leaf.knots.shape[1])


FORMS: dict[type[nn.Module], Any] = {
    nn.Conv2d: ConvolutionForm,
    nn.LeakyReLU: LeakyReLUForm,
    QualityGain: QualityGainForm,
    QualityBias: QualityBiasForm,
}
"""The fixed-point form of every kind of leaf that the seam may hold."""
