"""The integer seam as a whole: near the float networks, and the same bits under any circumstances."""

from __future__ import annotations

import math

import pytest
import torch
from tests.conformance.fixture_model import build
from torch import Tensor, nn

from onedc.config import TINY
from onedc.entropy.tables import load_tables
from onedc.errors import WeightsError
from onedc.model.hyperprior import collapse
from onedc.model.onedc import OneDC
from onedc.seam.torch_seam import FixedSeam, scale_thresholds, seam_integers
from onedc.seam.units import UNITS

SCALES = load_tables().scale.tolist()


@pytest.fixture(scope="module")
def model() -> OneDC:
    return build()


@pytest.fixture(scope="module")
def integers(model: OneDC) -> dict[str, Tensor]:
    return seam_integers(model.h_s, model.prior, SCALES)


@pytest.fixture(scope="module")
def seam(model: OneDC, integers: dict[str, Tensor]) -> FixedSeam:
    return FixedSeam(model.h_s, model.prior, integers)


def z_hat() -> Tensor:
    return torch.randint(-2, 2, (2, 7, 2, 3), generator=torch.Generator().manual_seed(0)) / 2


def test_hyper_features_are_near_the_float_ones(model: OneDC, seam: FixedSeam) -> None:
    hyper, z_semantic = seam.hyper(z_hat())
    float_hyper, float_semantic = model.h_s(z_hat())
    assert hyper.dtype == torch.float64
    assert torch.equal(hyper, hyper.round())
    assert (hyper / UNITS - float_hyper).abs().max() < 0.01
    assert (z_semantic - float_semantic).abs().max() < 0.001


def test_means_of_the_scan_are_near_the_float_ones(model: OneDC, seam: FixedSeam) -> None:
    quality = torch.tensor([0, 200])
    y_hat = seam.scan(seam.hyper(z_hat())[0], quality, lambda _, table_idx, mean: torch.zeros_like(mean))
    float_y_hat = model.prior.scan(model.h_s(z_hat())[0], quality, lambda _, scale, mean: mean)
    assert (y_hat - float_y_hat).abs().max() < 0.02


def test_symbols_come_back_as_y(seam: FixedSeam) -> None:
    quality = torch.tensor([120, 250])
    hyper = seam.hyper(z_hat())[0]
    y = torch.randn(2, TINY.y_channels, 8, 12, generator=torch.Generator().manual_seed(1))
    gained = seam.gained(y, quality)

    y_hat = seam.scan(hyper, quality, lambda part, _, mean: (collapse(gained, part) - mean).round())
    step = (seam.gained(torch.ones_like(y), quality) ** -1).float()
    assert ((y_hat - y).abs() <= 0.5 * step + 1e-3).all()


def test_the_index_follows_the_formula_of_the_scale_table() -> None:
    thresholds = scale_thresholds(SCALES).double()
    scales = torch.tensor([-5.0, 0.0, 0.11, 0.2, 1.0, 63.9, 64.1, 500.0], dtype=torch.float64)
    step = (math.log(SCALES[-1]) - math.log(SCALES[0])) / 255
    expected = ((scales.clamp(min=1e-5).log() - math.log(SCALES[0])) / step).trunc().clamp(0, 255)
    found = torch.bucketize((scales * UNITS).round(), thresholds, right=True)
    assert found.tolist() == expected.long().tolist()


def test_missing_and_unexpected_and_misshapen_integers_are_named(
    model: OneDC, integers: dict[str, Tensor]
) -> None:
    name = "prior.fusion.0.depth.conv1.weight"
    without = {key: value for key, value in integers.items() if key != name}
    with pytest.raises(WeightsError, match=f"{name}' is missing"):
        FixedSeam(model.h_s, model.prior, without)
    with pytest.raises(WeightsError, match="unexpected tensor 'extra'"):
        FixedSeam(model.h_s, model.prior, {**integers, "extra": torch.zeros(1)})
    with pytest.raises(WeightsError, match="expected integers"):
        FixedSeam(model.h_s, model.prior, {**integers, name: integers[name].float()})


def test_a_seam_with_another_kind_of_layer_is_refused(model: OneDC) -> None:
    strange = build()
    strange.prior.trunk.append(nn.GroupNorm(4, 2 * TINY.y_channels))
    with pytest.raises(WeightsError, match=r"prior\.trunk\.1 \(GroupNorm\) has no fixed-point form"):
        seam_integers(strange.h_s, strange.prior, SCALES)


def test_activations_fit_int32_whatever_the_weights(model: OneDC, integers: dict[str, Tensor]) -> None:
    # Weights as large as they may be: sums run into the clamp everywhere, and skips add up behind it.
    wild = {
        name: torch.full_like(value, 2**14) if name.endswith(".weight") else value
        for name, value in integers.items()
    } | {name: torch.full_like(value, 1) for name, value in integers.items() if name.endswith(".shift")}
    seam, largest = FixedSeam(model.h_s, model.prior, wild), [0.0]

    def watch(_module: nn.Module, _inputs: object, out: object) -> None:
        for tensor in out if isinstance(out, tuple) else (out,):
            largest[0] = max(largest[0], float(tensor.abs().max()))

    for part in seam.modules():
        part.register_forward_hook(watch)
    hyper, _ = seam.hyper(z_hat())
    seam.scan(hyper, torch.tensor([0, 200]), lambda _, table_idx, mean: torch.full_like(mean, 30000))
    assert 2**27 < largest[0] < 2**31
