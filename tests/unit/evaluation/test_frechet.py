"""Patches as the paper cuts them, and Frechet distances against closed forms."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.unit.evaluation.conftest import picture
from tests.unit.evaluation.test_summary import record

from onedc.errors import ConfigError
from onedc.evaluation.frechet import (
    SET_METRICS,
    FeatureStore,
    PatchGrid,
    frechet_distance,
    load_sources,
    module_source,
)


@pytest.mark.parametrize(
    ("height", "width", "count"),
    [(512, 768, 6 + 2), (383, 1000, 3), (384, 384, 1 + 1), (255, 4000, 0), (640, 640, 4 + 4)],
)
def test_patches_of_the_paper(height: int, width: int, count: int) -> None:
    corners = PatchGrid().corners(height, width)
    assert len(corners) == count
    assert len({PatchGrid().cut(np.zeros((height, width, 3), np.uint8))[0].shape} if count else {1}) == 1
    assert all(top + 256 <= height and left + 256 <= width for top, left in corners)


def test_other_grids() -> None:
    assert PatchGrid(size=64, count=4).corners(112, 112) == [(0, 0), (16, 16), (32, 32), (48, 48)]
    with pytest.raises(ConfigError, match="count"):
        PatchGrid(count=0)
    with pytest.raises(ConfigError, match="size"):
        PatchGrid(size=8)


def exact_samples(mean: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """Samples whose mean and covariance are these, exactly: an orthogonal design times a root."""
    width = len(mean)
    design = np.concatenate([np.eye(width), -np.eye(width)]) * np.sqrt((2 * width - 1) / 2)
    return design @ np.linalg.cholesky(covariance).T + mean


def test_frechet_distance_of_commuting_gaussians() -> None:
    random = np.random.default_rng(0)
    basis, _ = np.linalg.qr(random.normal(size=(6, 6)))
    s, t = random.uniform(0.1, 3, 6), random.uniform(0.1, 3, 6)
    m, n = random.normal(size=6), random.normal(size=6)
    a = exact_samples(m, basis @ np.diag(s**2) @ basis.T)
    b = exact_samples(n, basis @ np.diag(t**2) @ basis.T)
    expected = np.square(m - n).sum() + np.square(s - t).sum()
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-9)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-9)


def test_frechet_distance_of_gaussians_in_two_dimensions() -> None:
    """Trace of the root of a 2x2 product: sqrt(trace + 2 sqrt(det))."""
    c = np.array([[2.0, 0.7], [0.7, 1.0]])
    d = np.array([[1.0, -0.4], [-0.4, 3.0]])
    product = c @ d
    root = np.sqrt(np.trace(product) + 2 * np.sqrt(np.linalg.det(product)))
    expected = np.trace(c) + np.trace(d) - 2 * root + 9 + 16
    distance = frechet_distance(exact_samples(np.zeros(2), c), exact_samples(np.array([3.0, 4.0]), d))
    assert distance == pytest.approx(expected, rel=1e-9)


def test_frechet_distance_agrees_with_torchmetrics_and_repeats() -> None:
    random = np.random.default_rng(1)
    a = random.normal(size=(40, 12)).astype(np.float32)
    b = (1.3 * random.normal(size=(50, 12)) + 0.5).astype(np.float32)
    fid = SET_METRICS["fid"].distance(a, b).number
    assert fid == pytest.approx(frechet_distance(a, b), rel=1e-4)
    for name in ("kid", "inception_score"):
        first = SET_METRICS[name].distance(a, b).number
        assert first is not None and np.isfinite(first)
        assert SET_METRICS[name].distance(a, b).number == first


def test_too_few_patches_give_a_reason(tmp_path: Path) -> None:
    one = np.zeros((1, 4), np.float32)
    store, made = FeatureStore([tmp_path]), replace(record("p", "a", 9, 20.0), features={"inception": "net"})
    for picture_hash in (made.image_hash, made.decoded_hash):
        store.save(picture_hash, "net", one)
    assert "fewer than two" in store.measure("fid", [made]).reason
    with pytest.raises(ConfigError, match="cannot compare"):
        frechet_distance(one, one)


def test_any_module_is_a_source() -> None:
    class Mean(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.mean(dim=(2, 3))

    source = module_source("mean", "mean 1", Mean(), 3)
    features = source.extract([picture(seed, 64, 64) for seed in range(10)])
    assert features.shape == (10, 3) and np.abs(features).max() <= 1
    assert source.extract([]).shape == (0, 3)


def test_sources_without_weights_are_named(tmp_path: Path) -> None:
    sources, missing = load_sources(["fd_mobilenet", "fid", "psnr"], tmp_path)
    assert not sources
    assert set(missing) == {"mobilenet", "inception"} and all("no such file" in m for m in missing.values())


def test_mobilenet_features(metric_weights: Path) -> None:
    (source,), missing = load_sources(["fd_mobilenet"], metric_weights)
    features = source.extract(PatchGrid(size=64, count=1).cut(picture(0, 64, 128)))
    assert features.shape == (2, 1280) and not missing and features.min() >= 0
