"""Layers in fixed point: near the float layer, exact in any order, and refused where they could not be."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from onedc.errors import WeightsError
from onedc.model.blocks import ConvFFN, QualityBias, QualityGain
from onedc.seam import fixed_point
from onedc.seam.fixed_point import (
    FixedConv2d,
    FixedLeakyReLU,
    FixedQualityBias,
    FixedQualityGain,
    SlicedRows,
    row_slices,
)
from onedc.seam.units import LIMIT, UNITS

CONVS = {
    "1x1": lambda: nn.Conv2d(12, 20, 1),
    "3x3": lambda: nn.Conv2d(12, 8, 3, padding=1),
    "depthwise": lambda: nn.Conv2d(12, 12, 3, padding=1, groups=12),
    "no bias": lambda: nn.Conv2d(12, 8, 1, bias=False),
}


def activations(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(*shape, generator=generator, dtype=torch.float64) * 3 * UNITS).round()


@pytest.fixture(params=CONVS)
def conv(request: pytest.FixtureRequest) -> nn.Conv2d:
    torch.manual_seed(0)
    return CONVS[request.param]()


def test_convolution_is_near_the_float_one_and_integer(conv: nn.Conv2d) -> None:
    x = activations(2, 12, 9, 7)
    fixed = FixedConv2d(**FixedConv2d.from_float(conv))(x)
    assert torch.equal(fixed, fixed.round())
    assert (fixed / UNITS - conv.double()(x / UNITS)).abs().max() < 1e-3


def test_convolution_is_the_stated_formula_in_python_integers() -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(2, 1, 3, padding=1)
    integers = FixedConv2d.from_float(conv)
    x = activations(1, 2, 3, 3)
    weight, shift = integers["weight"].tolist(), int(integers["shift"])
    total = int(integers["bias"][0]) + sum(
        weight[0][c][i][j] * int(x[0, c, i, j]) for c in range(2) for i in range(3) for j in range(3)
    )
    assert FixedConv2d(**integers)(x)[0, 0, 1, 1].item() == (total + 2 ** (shift - 1)) >> shift


def test_convolution_in_slices_is_the_same(conv: nn.Conv2d, monkeypatch: pytest.MonkeyPatch) -> None:
    fixed, x = FixedConv2d(**FixedConv2d.from_float(conv)), activations(2, 12, 9, 7)
    whole = fixed(x)
    monkeypatch.setattr(fixed_point, "SLICE_ELEMENTS", 400)
    assert torch.equal(fixed(x), whole)


def test_a_slightly_wrong_sum_lands_on_the_same_integer(
    conv: nn.Conv2d, monkeypatch: pytest.MonkeyPatch
) -> None:
    fixed, x = FixedConv2d(**FixedConv2d.from_float(conv)), activations(2, 12, 9, 7)
    exact, sums = fixed(x), FixedConv2d._sums
    monkeypatch.setattr(FixedConv2d, "_sums", lambda self, x: sums(self, x) + 0.4 * torch.rand(()) - 0.2)
    assert torch.equal(fixed(x), exact)


def test_autocast_and_default_dtype_change_nothing(conv: nn.Conv2d) -> None:
    fixed, x = FixedConv2d(**FixedConv2d.from_float(conv)), activations(2, 12, 9, 7)
    exact = fixed(x)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(fixed(x), exact)


def test_inputs_beyond_the_limit_are_clamped() -> None:
    fixed = FixedConv2d(**FixedConv2d.from_float(nn.Conv2d(3, 3, 1)))
    huge = torch.full((1, 3, 2, 2), 1e15, dtype=torch.float64)
    assert torch.equal(fixed(huge), fixed(huge.clamp(-LIMIT, LIMIT)))


def test_sums_that_could_leave_the_exact_range_are_refused() -> None:
    weight = torch.full((1, 4096, 1, 1), 32767, dtype=torch.int16)
    with pytest.raises(WeightsError, match=r"beyond 2\*\*53"):
        FixedConv2d(weight, torch.zeros(1, dtype=torch.int64), torch.tensor(15))


@pytest.mark.parametrize(
    "conv", [nn.Conv2d(4, 4, 3, stride=2, padding=1), nn.Conv2d(4, 4, 3), nn.Conv2d(4, 4, 1, groups=2)]
)
def test_convolutions_without_fixed_point_form_are_refused(conv: nn.Conv2d) -> None:
    with pytest.raises(WeightsError, match="cannot run in fixed point"):
        FixedConv2d.from_float(conv)


def test_weights_that_are_not_finite_are_refused() -> None:
    conv = nn.Conv2d(4, 4, 1)
    conv.weight.data[0, 0] = float("nan")
    with pytest.raises(WeightsError, match="not finite"):
        FixedConv2d.from_float(conv)


@pytest.mark.parametrize("slope", [0.01, 0.1])
def test_leaky_relu(slope: float) -> None:
    x = activations(1, 3, 5, 5)
    fixed = FixedLeakyReLU(**FixedLeakyReLU.from_float(nn.LeakyReLU(slope)))(x)
    assert torch.equal(fixed, fixed.round())
    assert (fixed - F.leaky_relu(x, slope)).abs().max() <= 1 + 6 * UNITS / 2**17
    assert torch.equal(fixed[x >= 0], x[x >= 0])


def test_quality_layers_follow_their_tables() -> None:
    torch.manual_seed(0)
    gain, bias = QualityGain(3, 5), QualityBias(3, 5)
    for leaf in (gain, bias):
        nn.init.normal_(leaf.knots)
        nn.init.normal_(leaf.zero)
    x, quality = activations(4, 5, 3, 3), torch.tensor([0, 1, 100, 255])
    fixed = FixedQualityGain(**FixedQualityGain.from_float(gain))
    assert (fixed(x, quality) / UNITS - gain(x / UNITS, quality)).abs().max() < 1e-3
    assert (fixed.inverse(fixed(x, quality), quality) - x).abs().max() < 20
    shifted = FixedQualityBias(**FixedQualityBias.from_float(bias))(x, quality)
    assert (shifted / UNITS - bias(x / UNITS, quality)).abs().max() < 1e-3


def test_sliced_rows_are_the_module_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    block, x = ConvFFN(4).double(), torch.randn(2, 4, 9, 5, dtype=torch.float64)
    monkeypatch.setattr(fixed_point, "SLICE_ELEMENTS", 300)
    torch.testing.assert_close(SlicedRows(block, 16)(x), block(x))


def test_row_slices_tile_the_height() -> None:
    rows = [row for top, bottom in row_slices(1000, 2**16) for row in range(top, bottom)]
    assert rows == list(range(1000))
    assert list(row_slices(3, 2**40)) == [(0, 1), (1, 2), (2, 3)]
