"""Layers in fixed point: near the float layer, exact in any order, and refused where they could not be."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from tests.unit.test_seam_libraries import LIBRARIES
from torch import Tensor, nn
from torch.nn import functional as F

from onedc.errors import WeightsError
from onedc.model.blocks import QualityBias, QualityGain
from onedc.seam.conversion import FORMS, ConvolutionForm, arrays_of
from onedc.seam.fixed_point import Convolution, Integers, LeakyReLU, scaled, shifted
from onedc.seam.slices import LEAST_ROWS, Library, in_slices
from onedc.seam.units import LIMIT, UNITS

CONVS = {
    "1x1": lambda: nn.Conv2d(12, 20, 1),
    "3x3": lambda: nn.Conv2d(12, 8, 3, padding=1),
    "depthwise": lambda: nn.Conv2d(12, 12, 3, padding=1, groups=12),
    "no bias": lambda: nn.Conv2d(12, 8, 1, bias=False),
}


class Tensors:
    """A layer in one of the libraries, from tensors to tensors."""

    def __init__(
        self, kind: type[Convolution] | type[LeakyReLU], integers: Mapping[str, Tensor], library: Library
    ) -> None:
        own = {f"layer.{name}": array for name, array in arrays_of(integers).items()}
        self.layer, self.library = kind(Integers(own, library), "layer"), library

    def __call__(self, x: Tensor) -> Tensor:
        return torch.from_numpy(self.library.get(self.layer(self.library.put(x.numpy()))))


def activations(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(*shape, generator=generator, dtype=torch.float64) * 3 * UNITS).round()


@pytest.fixture(params=LIBRARIES)
def library(request: pytest.FixtureRequest) -> Library:
    return LIBRARIES[request.param]


@pytest.fixture(params=CONVS)
def conv(request: pytest.FixtureRequest) -> nn.Conv2d:
    torch.manual_seed(0)
    return CONVS[request.param]().requires_grad_(False)


@pytest.fixture
def fixed(conv: nn.Conv2d, library: Library) -> Tensors:
    return Tensors(Convolution, ConvolutionForm.from_float(conv), library)


def test_convolution_is_near_the_float_one_and_integer(conv: nn.Conv2d, fixed: Tensors) -> None:
    x = activations(2, 12, 9, 7)
    found = fixed(x)
    assert torch.equal(found, found.round())
    assert (found / UNITS - conv.double()(x / UNITS)).abs().max() < 1e-3


def test_convolution_is_the_stated_formula_in_python_integers(library: Library) -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(2, 1, 3, padding=1)
    integers = ConvolutionForm.from_float(conv)
    x = activations(1, 2, 3, 3)
    weight, shift = integers["weight"].tolist(), int(integers["shift"])
    total = int(integers["bias"][0]) + sum(
        weight[0][c][i][j] * int(x[0, c, i, j]) for c in range(2) for i in range(3) for j in range(3)
    )
    found = Tensors(Convolution, integers, library)(x)
    assert found[0, 0, 1, 1].item() == (total + 2 ** (shift - 1)) >> shift


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("positions", [1, 7, 14, 20, 62, 63, 125, 126])
def test_convolution_in_slices_is_the_same(
    conv: nn.Conv2d, fixed: Tensors, positions: int, threads: int
) -> None:
    x, sizes = activations(2, 12, 9, 7), set()
    library = fixed.library._replace(slice_elements=20 * positions * threads, threads=threads)

    def layer(rows: Tensor) -> Tensor:
        sizes.add((rows.shape[0], rows.shape[2]))
        return fixed.layer(rows)

    found = in_slices(layer, library.put(x.numpy()), library=library, widest=20, channels=conv.out_channels)
    assert torch.equal(torch.from_numpy(library.get(found)), fixed(x))
    if positions >= 126 and threads == 1:
        assert sizes == {(2, 9)}
    else:
        assert {batch for batch, _ in sizes} == {1}
        assert max(rows for _, rows in sizes) <= max(positions // 7, 1) + 2
    if threads == 5:
        assert max(rows for _, rows in sizes) <= LEAST_ROWS + 2


def test_a_slightly_wrong_sum_lands_on_the_same_integer(
    fixed: Tensors, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = activations(2, 12, 9, 7)
    exact, sums = fixed(x), Convolution.sums
    monkeypatch.setattr(
        Convolution, "sums", lambda self, x: sums(self, x) + 0.4 * float(torch.rand(())) - 0.2
    )
    assert torch.equal(fixed(x), exact)


def test_autocast_and_default_dtype_change_nothing(fixed: Tensors) -> None:
    x = activations(2, 12, 9, 7)
    exact = fixed(x)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(fixed(x), exact)


def test_inputs_beyond_the_limit_are_clamped(library: Library) -> None:
    fixed = Tensors(Convolution, ConvolutionForm.from_float(nn.Conv2d(3, 3, 1)), library)
    huge = torch.full((1, 3, 2, 2), 1e15, dtype=torch.float64)
    assert torch.equal(fixed(huge), fixed(huge.clamp(-LIMIT, LIMIT)))


def test_sums_that_could_leave_the_exact_range_are_refused(library: Library) -> None:
    weight = torch.full((1, 4096, 1, 1), 32767, dtype=torch.int16)
    integers = {"weight": weight, "bias": torch.zeros(1, dtype=torch.int64), "shift": torch.tensor(15)}
    with pytest.raises(WeightsError, match="sums can leave the exact range"):
        Tensors(Convolution, integers, library)


@pytest.mark.parametrize(
    "conv", [nn.Conv2d(4, 4, 3, stride=2, padding=1), nn.Conv2d(4, 4, 3), nn.Conv2d(4, 4, 1, groups=2)]
)
def test_convolutions_without_fixed_point_form_are_refused(conv: nn.Conv2d) -> None:
    with pytest.raises(WeightsError, match="cannot run in fixed point"):
        ConvolutionForm.from_float(conv)


def test_weights_that_are_not_finite_are_refused() -> None:
    conv = nn.Conv2d(4, 4, 1)
    conv.weight.data[0, 0] = float("nan")
    with pytest.raises(WeightsError, match="not finite"):
        ConvolutionForm.from_float(conv)


@pytest.mark.parametrize("slope", [0.01, 0.1])
def test_leaky_relu(slope: float, library: Library) -> None:
    x = activations(1, 3, 5, 5)
    fixed = Tensors(LeakyReLU, FORMS[nn.LeakyReLU].from_float(nn.LeakyReLU(slope)), library)(x)
    assert torch.equal(fixed, fixed.round())
    assert (fixed - F.leaky_relu(x, slope)).abs().max() <= 1 + 6 * UNITS / 2**17
    assert torch.equal(fixed[x >= 0], x[x >= 0])


def test_quality_layers_follow_their_tables(library: Library) -> None:
    torch.manual_seed(0)
    gain, bias = QualityGain(3, 5).requires_grad_(False), QualityBias(3, 5).requires_grad_(False)
    for leaf in (gain, bias):
        nn.init.normal_(leaf.knots)
        nn.init.normal_(leaf.zero)
    x, quality = activations(4, 5, 3, 3), torch.tensor([0, 1, 100, 255])
    tables = FORMS[QualityGain].from_float(gain) | FORMS[QualityBias].from_float(bias)

    def with_table(layer: object, x: Tensor, name: str) -> Tensor:
        put = library.put
        found = layer(put(x.numpy()), put(tables[name].double().numpy()), put(quality.numpy()))
        return torch.from_numpy(library.get(found))

    up = with_table(scaled, x, "gain")
    assert (up / UNITS - gain(x / UNITS, quality)).abs().max() < 1e-3
    assert (with_table(scaled, up, "inverse") - x).abs().max() < 20
    assert (with_table(shifted, x, "bias") / UNITS - bias(x / UNITS, quality)).abs().max() < 1e-3
