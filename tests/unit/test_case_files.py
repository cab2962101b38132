"""Odd picture files from reports of users of other codecs: each is read right or refused in one line."""

from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from onedc.errors import ImageError
from onedc.image import read_image

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT.parent / "shared" / "cases" / "pictures.py"
MOST_DIFFERENCE = 20  # mean of absolute differences of 8x8 means, in 8-bit steps: another picture has more
SQUARE = 8


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not SCRIPT.exists():
        pytest.skip("needs ../shared/cases")
    made = tmp_path_factory.mktemp("cases")
    photo = ROOT / "examples" / "photo.webp"
    subprocess.run([sys.executable, SCRIPT, photo, made], check=True, capture_output=True)
    return made


def coarse(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Means of squares, at the size of the photo that all files are made of."""
    image = Image.fromarray(pixels).resize((192, 128), Image.Resampling.LANCZOS)
    squares = np.asarray(image, np.float64).reshape(128 // SQUARE, SQUARE, 192 // SQUARE, SQUARE, 3)
    return squares.mean(axis=(1, 3))


def test_every_file_is_read_right_or_refused_in_one_line(folder: Path) -> None:
    files = sorted(folder.iterdir())
    photo = coarse(read_image(folder / "b.bmp"))
    refused, wrong = [], []
    for file in files:
        try:
            with warnings.catch_warnings(action="ignore"):
                pixels = read_image(file, background="white")
        except ImageError as error:
            refused.append(file.name)
            if "\n" in str(error) or file.name not in str(error):
                wrong.append(f"{file.name}: {error}")
            continue
        if (difference := np.abs(coarse(pixels) - photo).mean()) > MOST_DIFFERENCE:
            wrong.append(f"{file.name}: differs by {difference:.0f}")
    assert wrong == []
    assert len(files) > 140
    assert len(refused) < 30
