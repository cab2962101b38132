"""Files of one device decode on the other to the same symbols: `pytest -m gpu`, where a GPU is.

ONEDC_OTHER_DEVICE names another device than cuda; with cpu the test runs everywhere, and shows little.
ONEDC_PICTURES names a folder of pictures in place of a few made ones.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from tests.e2e.exactness import integers, mismatches

from onedc.codec import Codec
from onedc.config import SD15
from onedc.engine.models import ModelSource
from onedc.engine.torch_engine import ready_model
from onedc.evaluation.bench import random_weights, sample_picture
from onedc.image import RGBArray, read_image
from onedc.loading import load

pytestmark = pytest.mark.gpu

OTHER = os.environ.get("ONEDC_OTHER_DEVICE", "cuda")
PICTURES = os.environ.get("ONEDC_PICTURES") or None


def pictures() -> list[RGBArray]:
    """Whole files of the folder that is named, or four small pictures."""
    if PICTURES is None:
        return [sample_picture((192, 128), seed) for seed in range(4)]
    return [read_image(path) for path in sorted(Path(PICTURES).glob("*.png"))]


def codecs(model: str, dtype: torch.dtype) -> Iterator[Codec]:
    """The same model here and there; that of the paper with random weights."""
    for device in ("cpu", OTHER):
        if model == "small":
            yield load(device=device, precision="bf16" if dtype == torch.bfloat16 else "fp32")
        else:
            yield Codec(
                ModelSource.of_one(ready_model(random_weights(SD15, dtype), device=device, dtype=dtype))
            )


@pytest.mark.skipif(OTHER == "cuda" and not torch.cuda.is_available(), reason="no GPU here")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("model", ["small", "sd15"])
def test_no_symbol_changes_between_devices(model: str, dtype: torch.dtype) -> None:
    here, there = codecs(model, dtype)
    wrong = 0
    for picture in pictures():
        for encoder in (here, there):
            file = encoder.encode(picture)
            wrong += mismatches(integers(here, [file])[0], integers(there, [file])[0])
    assert wrong == 0
