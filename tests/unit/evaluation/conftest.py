"""Small pictures, and the metric networks where this machine has them."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from onedc.image import RGBArray

_SHARED = Path(__file__).parents[4] / "shared" / "nets"


def picture(seed: int, height: int = 64, width: int = 96) -> RGBArray:
    """[H,W,3]: smooth colour fields with a little noise, so that every codec has something to do."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    smooth = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))
    noise = random.integers(-8, 9, smooth.shape)
    return np.clip(smooth.astype(np.int64) + noise, 0, 255).astype(np.uint8)


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    """Three picture files."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for seed in range(3):
        Image.fromarray(picture(seed)).save(folder / f"p{seed}.png")
    return sorted(folder.iterdir())


@pytest.fixture
def metric_weights() -> Path:
    """Folder of the metrics' networks, which the project does not ship."""
    folder = Path(os.environ.get("ONEDC_METRIC_WEIGHTS", _SHARED))
    if not (folder / "lpips_squeeze.safetensors").is_file():
        pytest.skip("no metric networks here; name their folder in ONEDC_METRIC_WEIGHTS")
    return folder
