"""The seam of the converted paper's model decodes to the same integers under all circumstances."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from tests.conformance.published import RECORDED, needs_recordings, network
from tests.e2e.exactness import CIRCUMSTANCES, integers, mismatches

from onedc.codec import Codec
from onedc.config import SD15
from onedc.engine.models import ModelSource
from onedc.engine.torch_engine import ready_model
from onedc.entropy.tables import load_tables
from onedc.model.hyperprior import FSQ
from onedc.seam.conversion import seam_integers
from onedc.weights.file import Weights, seam_sha256

pytestmark = [needs_recordings, pytest.mark.large]


@pytest.fixture(scope="module")
def codec() -> Codec:
    """The published seam in integers; no float network is needed to read integers."""
    h_s, prior = network("h_s"), network("prior")
    numbers = seam_integers(h_s, prior, load_tables().scale.tolist())  # type: ignore[arg-type]
    nets: Any = SimpleNamespace(to_precision=lambda dtype: SimpleNamespace(to=lambda *a, **k: None))
    weights = Weights(
        config=SD15, model_id=192, seam_sha256=seam_sha256(numbers), nets=nets, seam_integers=numbers
    )
    return Codec(ModelSource.of_one(ready_model(weights)))


@pytest.fixture(scope="module")
def file(codec: Codec) -> bytes:
    """A file of the recorded latents of 256x256."""
    with np.load(RECORDED / "256" / "tensors.npz") as arrays:
        y, z_idx = arrays["y"][0], FSQ.to_indices(torch.from_numpy(arrays["z_hat"]))[0].numpy()
    with mock.patch.object(codec.model.engine, "analyse", lambda pixels: (y, z_idx)):
        return codec.encode(np.zeros((256, 256, 3), np.uint8), quality=100)


@pytest.mark.filterwarnings("ignore")  # of torch.compile's own imports
@pytest.mark.parametrize("circumstance", CIRCUMSTANCES)
def test_no_symbol_is_wrong(codec: Codec, file: bytes, circumstance: str) -> None:
    [expected] = integers(codec, [file])
    assert expected.size == 2 * 128 * 16 * 16 + 16
    with CIRCUMSTANCES[circumstance](codec):
        [found] = integers(codec, [file])
    assert mismatches(expected, found) == 0


def test_a_batch_has_no_wrong_symbol(codec: Codec, file: bytes) -> None:
    [expected] = integers(codec, [file])
    assert [mismatches(expected, found) for found in integers(codec, [file, file, file])] == [0, 0, 0]
