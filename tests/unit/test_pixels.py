"""Padding, and the crop that the codec undoes it with."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from onedc.engine.torch_engine import pad, to_bytes, to_tensor
from onedc.image import image_bytes, read_image


@given(st.integers(1, 130), st.integers(1, 130), st.sampled_from([1, 2, 64]))
def test_pad_and_crop_are_inverse(height: int, width: int, multiple: int) -> None:
    array = np.arange(height * width * 3, dtype=np.uint32).astype(np.uint8).reshape(height, width, 3)
    padded = pad(to_tensor(array), multiple)[0]
    assert padded.shape[1] % multiple == padded.shape[2] % multiple == 0
    assert padded.shape[1] - height < multiple and padded.shape[2] - width < multiple
    back = to_bytes(padded).permute(1, 2, 0).numpy()
    assert np.array_equal(back[:height, :width], array)
    assert np.array_equal(back[-1, -1], array[-1, -1])


def test_one_pixel_becomes_a_whole_square() -> None:
    data = image_bytes(np.array([[[1, 2, 3]]], dtype=np.uint8))
    assert pad(to_tensor(read_image(data))).shape == (1, 3, 64, 64)


def test_reflection_leaves_the_edge_out() -> None:
    x = torch.arange(3.0).reshape(1, 1, 1, 3).expand(1, 1, 3, 3)
    assert pad(x, 5, reflect=True)[0, 0, 0].tolist() == pytest.approx([0, 1, 2, 1, 0])


def test_a_tall_picture_becomes_bytes() -> None:
    random = np.random.default_rng(0)
    array = random.integers(0, 256, (1029, 3, 3), dtype=np.uint8)
    assert np.array_equal(to_bytes(to_tensor(array))[0].permute(1, 2, 0).numpy(), array)
