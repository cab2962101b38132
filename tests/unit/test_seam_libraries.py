"""The seam in numpy and in torch gives what the networks give in 64-bit integers, and golden files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tests.conformance.fixture_model import FIXTURE
from tests.conformance.recording import recorded
from tests.unit.integer_networks import IntegerNetworks
from threadpoolctl import threadpool_info, threadpool_limits

from onedc.config import TINY, ModelConfig
from onedc.engine.torch_engine import torch_library
from onedc.entropy.tables import load_tables
from onedc.errors import WeightsError
from onedc.loading import load
from onedc.model.onedc import OneDC
from onedc.model.parts import collapse
from onedc.seam.conversion import arrays_of, seam_integers
from onedc.seam.fixed_point import Seam
from onedc.seam.slices import NUMPY
from onedc.weights import BUNDLED
from onedc.weights.file import load_weights

CASES = Path(__file__).parents[1] / "conformance"
CONFIGS = {
    "tiny": TINY,
    "one rate": replace(TINY, quality_knots=0, prior_blocks=2),
    "narrow": replace(TINY, seam_expansion=1),
}
LIBRARIES = {
    "numpy": NUMPY,
    "numpy, three threads": NUMPY._replace(threads=3),
    "torch": torch_library(torch.device("cpu")),
}


def trained(config: ModelConfig) -> tuple[OneDC, dict[str, torch.Tensor]]:
    """Networks with random weights, no layer zero, and their integers."""
    torch.manual_seed(0)
    model = OneDC(config).eval().requires_grad_(False)
    for module in (model.h_s, model.prior):
        for parameter in module.parameters():
            torch.nn.init.normal_(parameter, std=0.2)
    return model, seam_integers(model.h_s, model.prior, load_tables().scale.tolist())


def everything(
    seam: Seam | IntegerNetworks, z_idx: NDArray[np.int64], channels: int
) -> dict[str, NDArray[Any]]:
    """All that a seam says of two pictures of two qualities."""
    batch, height, width = z_idx.shape
    y = np.random.default_rng(1).normal(0, 4, (batch, channels, 4 * height, 4 * width)).astype(np.float32)
    hyper, gained = seam.hyper(z_idx), seam.gained(y, 200)
    found: dict[str, NDArray[Any]] = {"features": hyper.features, "z": hyper.z_semantic, "gained": gained}

    def code(part: int, table_idx: NDArray[np.uint8], mean: NDArray[np.float64]) -> NDArray[np.int32]:
        found[f"table_idx_{part}"], found[f"mean_{part}"] = table_idx.copy(), mean.copy()
        return np.rint(collapse(gained, part) - mean).astype(np.int32)

    found["y_hat"] = seam.scan(hyper.features, np.arange(batch) * 100, code)
    return found


def assert_same(found: dict[str, NDArray[Any]], wanted: dict[str, NDArray[Any]]) -> None:
    assert wanted.keys() == found.keys()
    for key, value in wanted.items():
        assert value.dtype == found[key].dtype, key
        np.testing.assert_array_equal(found[key], value, err_msg=key)


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("slices", [1, 2**13, 2**20])
@pytest.mark.parametrize("name", CONFIGS)
def test_the_integers_of_the_networks(name: str, slices: int, library: str) -> None:
    model, integers = trained(CONFIGS[name])
    z_idx = np.random.default_rng(0).integers(0, 4**7, (2, 3, 2))
    seam = Seam(arrays_of(integers), LIBRARIES[library]._replace(slice_elements=slices))
    found, wanted = (
        everything(each, z_idx, CONFIGS[name].y_channels) for each in (seam, IntegerNetworks(model, integers))
    )
    assert_same(found, wanted)


@pytest.mark.parametrize("library", LIBRARIES)
def test_activations_beyond_the_limit_are_clamped_alike(library: str) -> None:
    model, integers = trained(TINY)
    integers = {
        name: value * 200 if name.endswith("conv2.bias") else value for name, value in integers.items()
    }
    z_idx = np.random.default_rng(0).integers(0, 4**7, (1, 2, 2))
    seam = Seam(arrays_of(integers), LIBRARIES[library])
    found, wanted = (everything(each, z_idx, 16) for each in (seam, IntegerNetworks(model, integers)))
    assert abs(wanted["features"]).max() >= 2**27
    assert_same(found, wanted)


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize(("suite", "weights"), [("bundled", BUNDLED), ("cases", FIXTURE)])
def test_golden_files(suite: str, weights: Path, library: str) -> None:
    codec = load(weights, precision="fp32")
    seam = Seam(arrays_of(load_weights(weights).seam_integers), LIBRARIES[library])
    with mock.patch.object(codec.model.engine, "seam", seam):
        for folder in sorted((CASES / suite).iterdir()):
            with recorded(codec) as recording:
                codec.decode((folder / "file.1dc").read_bytes())
            found = recording.arrays()
            with np.load(folder / "symbols.npz") as golden:
                for key in golden:
                    np.testing.assert_array_equal(found[key], golden[key], err_msg=f"{folder.name} {key}")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"prior.reduction.bias": None}, "'prior.reduction.bias' is missing"),
        ({"prior.more": np.zeros(1, np.int64)}, "unexpected tensor 'prior.more'"),
        ({"thresholds": np.zeros(255)}, "is float64, expected integers"),
        ({"thresholds": np.zeros(3, np.int64)}, "3 thresholds, expected 255"),
        ({"prior.reduction.shift": np.int32(0)}, r"prior\.reduction: a convolution with shift 0"),
        ({"prior.reduction.bias": np.full(16, 2**53)}, "can leave the exact range"),
        ({"h_s.feat_in.1.slope": np.int32(2**15 + 1)}, "LeakyReLU with slope 32769/65536"),
        ({"prior.gain.gain": np.full((256, 16), 2**27)}, "beyond the exact range"),
    ],
)
def test_integers_that_are_no_seam_are_refused(change: dict[str, Any], message: str) -> None:
    changed = {**arrays_of(trained(TINY)[1]), **change}
    with pytest.raises(WeightsError, match=message):
        Seam({name: value for name, value in changed.items() if value is not None})


def test_products_take_one_thread_while_any_thread_is_in_a_seam() -> None:
    def threads() -> set[int]:
        return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}

    inside: list[set[int]] = []
    _, integers = trained(TINY)
    seam = Seam(arrays_of(integers))
    with threadpool_limits(3, "blas"):
        before = threads()

        def code(part: int, table_idx: NDArray[np.uint8], mean: NDArray[np.float64]) -> NDArray[np.int32]:
            seam.hyper(np.zeros((1, 1, 1), np.int64))  # whose end is not the walk's
            inside.append(threads())
            return np.zeros(table_idx.shape, np.int32)

        seam.scan(seam.hyper(np.zeros((1, 1, 1), np.int64)).features, np.zeros(1, np.int64), code)
        assert inside == [{1}] * 4
        with pytest.raises(ZeroDivisionError):
            seam.scan(seam.hyper(np.zeros((1, 1, 1), np.int64)).features, np.zeros(1, np.int64), _fails)
        assert threads() == before != {1}


def _fails(part: int, table_idx: NDArray[np.uint8], mean: NDArray[np.float64]) -> NDArray[np.int32]:
    raise ZeroDivisionError
