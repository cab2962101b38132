"""The bits mean the same everywhere: integers decoded under many circumstances never differ."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch
from tests.conformance.fixture_model import FIXTURE
from tests.conformance.pictures import picture
from tests.e2e.exactness import CIRCUMSTANCES, compare, compiled, float_mismatches, integers, mismatches

from onedc.codec import Codec
from onedc.engine import torch_engine
from onedc.engine.models import ModelSource
from onedc.loading import load
from onedc.weights.file import load_weights

PICTURES = [picture(150, 100, seed) for seed in range(2)]


@pytest.fixture(scope="module")
def codec() -> Codec:
    return load(FIXTURE, precision="fp32")


def test_no_integer_differs(codec: Codec) -> None:
    files = [codec.encode(each, quality=quality) for quality in (5, 50, 100) for each in PICTURES]
    eager = {name: each for name, each in CIRCUMSTANCES.items() if name != "torch.compile"}
    counts = compare(codec, FIXTURE, files, eager)
    assert len(counts) == 8
    assert not any(counts.values()), counts


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
@pytest.mark.filterwarnings("ignore")  # of torch.compile's own imports
def test_no_integer_differs_when_compiled(codec: Codec) -> None:
    data = codec.encode(PICTURES[0], quality=50)
    expected = integers(codec, [data])[0]
    # Each kind of layer once: compiling takes seconds a layer where nothing is cached.
    with compiled(codec, ("_reduction", "_trunk")):
        assert mismatches(expected, integers(codec, [data])[0]) == 0


@pytest.mark.parametrize("quality", [5, 100])
def test_the_test_can_fail(codec: Codec, quality: float) -> None:
    wrong, total = float_mismatches(codec, PICTURES, quality)
    assert wrong > total / 100


def test_seam_falls_back_to_the_cpu_where_the_device_has_no_float64(codec: Codec) -> None:
    """A device without float64 is feigned: networks go to "meta", which cannot compute, the seam must not."""
    model = torch_engine.ready_model(load_weights(FIXTURE), device="meta")
    elsewhere = Codec(ModelSource.of_one(model))
    assert isinstance(torch_engine.torch_engine_of(model).seam._thresholds, np.ndarray)
    data = codec.encode(PICTURES[0], quality=80)
    assert mismatches(integers(codec, [data])[0], integers(elsewhere, [data])[0]) == 0


def test_batch_and_order_do_not_change_bytes(codec: Codec) -> None:
    alone = [codec.encode(each, quality=60) for each in PICTURES]
    assert codec.encode_batch(PICTURES, quality=60) == alone
    assert codec.encode_batch(PICTURES[::-1], quality=60) == alone[::-1]


def test_default_dtype_does_not_matter(codec: Codec) -> None:
    data = codec.encode(PICTURES[0], quality=60)
    expected = integers(codec, [data])[0]
    torch.set_default_dtype(torch.float64)
    try:
        assert mismatches(expected, integers(codec, [data])[0]) == 0
    finally:
        torch.set_default_dtype(torch.float32)
