"""The integer seam as a whole: near the float networks, and the same bits under any circumstances."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tests.conformance.fixture_model import build
from torch import Tensor, nn

from onedc.config import TINY
from onedc.entropy.tables import load_tables
from onedc.entropy.z_prior import levels_of
from onedc.errors import WeightsError
from onedc.model.onedc import OneDC
from onedc.model.parts import collapse
from onedc.seam.conversion import arrays_of, scale_thresholds, seam_integers, seam_shapes
from onedc.seam.fixed_point import Convolution, LeakyReLU, Map, Seam
from onedc.seam.units import UNITS

SCALES = load_tables().scale.tolist()


@pytest.fixture(scope="module")
def model() -> OneDC:
    return build()


@pytest.fixture(scope="module")
def integers(model: OneDC) -> dict[str, Tensor]:
    return seam_integers(model.h_s, model.prior, SCALES)


@pytest.fixture(scope="module")
def seam(integers: dict[str, Tensor]) -> Seam:
    return Seam(arrays_of(integers))


def z_idx() -> NDArray[np.int64]:
    return np.random.default_rng(0).integers(0, 4**7, (2, 2, 3))


def z_hat() -> Tensor:
    return torch.from_numpy(levels_of(z_idx())).movedim(-1, 1) / 2 - 1


def test_hyper_features_are_near_the_float_ones(model: OneDC, seam: Seam) -> None:
    hyper, z_semantic = map(torch.from_numpy, seam.hyper(z_idx()))
    float_hyper, float_semantic = model.h_s(z_hat())
    assert hyper.dtype == torch.float64
    assert torch.equal(hyper, hyper.round())
    assert (hyper / UNITS - float_hyper).abs().max() < 0.01
    assert (z_semantic - float_semantic).abs().max() < 0.001


def test_means_of_the_scan_are_near_the_float_ones(model: OneDC, seam: Seam) -> None:
    quality = np.array([0, 200])
    features = seam.hyper(z_idx()).features
    y_hat = seam.scan(features, quality, lambda _, table_idx, mean: np.zeros(mean.shape, np.int32))
    float_y_hat = model.prior.scan(
        model.h_s(z_hat())[0], torch.from_numpy(quality), lambda _, scale, mean: mean
    )
    assert (torch.from_numpy(y_hat) - float_y_hat).abs().max() < 0.02


def test_symbols_come_back_as_y(seam: Seam) -> None:
    y = np.random.default_rng(1).standard_normal((2, TINY.y_channels, 8, 12), np.float32)
    gained, step = (
        np.concatenate([seam.gained(of, 120)[:1], seam.gained(of, 250)[1:]]) for of in (y, np.ones_like(y))
    )

    def code(part: int, _: NDArray[np.uint8], mean: NDArray[np.float64]) -> NDArray[np.int32]:
        return np.rint(collapse(gained, part) - mean).astype(np.int32)

    y_hat = seam.scan(seam.hyper(z_idx()).features, np.array([120, 250]), code)
    assert (np.abs(y_hat - y) <= 0.5 / step + 1e-3).all()


def test_the_index_follows_the_formula_of_the_scale_table() -> None:
    thresholds = scale_thresholds(SCALES).double()
    scales = torch.tensor([-5.0, 0.0, 0.11, 0.2, 1.0, 63.9, 64.1, 500.0], dtype=torch.float64)
    step = (math.log(SCALES[-1]) - math.log(SCALES[0])) / 255
    expected = ((scales.clamp(min=1e-5).log() - math.log(SCALES[0])) / step).trunc().clamp(0, 255)
    found = torch.bucketize((scales * UNITS).round(), thresholds, right=True)
    assert found.tolist() == expected.long().tolist()


def test_names_and_shapes_are_known_without_values(model: OneDC, integers: dict[str, Tensor]) -> None:
    with torch.device("meta"):
        nets = OneDC(model.config)
    shapes = seam_shapes(nets.h_s, nets.prior)
    assert shapes == {name: tuple(value.shape) for name, value in integers.items()}


def test_a_seam_with_another_kind_of_layer_is_refused(model: OneDC) -> None:
    strange = build()
    strange.prior.trunk.append(nn.GroupNorm(4, 2 * TINY.y_channels))
    with pytest.raises(WeightsError, match=r"prior\.trunk\.1 \(GroupNorm\) has no fixed-point form"):
        seam_integers(strange.h_s, strange.prior, SCALES)


def test_sums_that_could_leave_the_exact_range_are_not_exported() -> None:
    wide = build()
    wide.prior.reduction.bias.fill_(2.0**30)
    with pytest.raises(WeightsError, match=r"prior\.reduction: a convolution whose sums can leave"):
        seam_integers(wide.h_s, wide.prior, SCALES)


def test_activations_fit_int32_whatever_the_weights(
    integers: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Weights as large as they may be: sums run into the clamp everywhere, and skips add up behind it.
    wild = {
        name: torch.full_like(value, 2**14) if name.endswith(".weight") else value
        for name, value in integers.items()
    } | {name: torch.full_like(value, 1) for name, value in integers.items() if name.endswith(".shift")}
    seam, largest = Seam(arrays_of(wild)), [0.0]
    for kind in (Convolution, LeakyReLU):

        def watched(self: Convolution | LeakyReLU, x: Map, run: object = kind.__call__) -> Map:
            out = run(self, x)
            largest[0] = max(largest[0], float(np.abs(x).max()), float(np.abs(out).max()))
            return out

        monkeypatch.setattr(kind, "__call__", watched)
    features = seam.hyper(z_idx()).features
    y_hat = seam.scan(features, np.array([0, 200]), lambda _, table_idx, mean: np.full(mean.shape, 30000))
    assert 2**27 < max(largest[0], np.abs(features).max(), np.abs(y_hat).max() * UNITS) < 2**31
