"""The bundled model on pictures that are no photos: sizes come back, and flat colours stay as they are."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from runs.degenerate import degenerate_pictures
from tests.e2e.exactness import analysed_once

from onedc.codec import Codec
from onedc.loading import bundled_codec

PICTURES = degenerate_pictures(100, 70, long=1200)  # of more positions than attention sees at once
FLAT = ("black", "white")  # of which z says all
QUALITIES = (10.0, 50.0)


@pytest.fixture(scope="module")
def codec() -> Iterator[Codec]:
    codec = bundled_codec()
    with analysed_once(codec):
        yield codec


def test_pictures_are_what_they_are_called() -> None:
    assert {pixels.dtype for pixels in PICTURES.values()} == {np.dtype(np.uint8)}
    sizes = {name: pixels.shape[1::-1] for name, pixels in PICTURES.items()}
    assert (sizes.pop("1x1"), sizes.pop("1x1200"), sizes.pop("1200x1")) == ((1, 1), (1, 1200), (1200, 1))
    assert set(sizes.values()) == {(100, 70)}


@pytest.mark.parametrize("name", PICTURES)
def test_degenerate_pictures_survive(codec: Codec, name: str) -> None:
    pixels = PICTURES[name]
    small, large = (codec.encode(pixels, quality=quality) for quality in QUALITIES)
    assert len(small) < len(large) or (name in FLAT and len(small) == len(large))
    assert codec.decode(large, output="numpy").shape == pixels.shape


@pytest.mark.parametrize("name", ["black", "white", "gradient"])
def test_smooth_pictures_keep_their_colours(codec: Codec, name: str) -> None:
    pixels = PICTURES[name]
    decoded = codec.decode(codec.encode(pixels, quality=50), output="numpy")
    error = np.abs(decoded.astype(float).mean((0, 1)) - pixels.mean((0, 1)))
    assert error.max() < 16
