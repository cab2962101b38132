"""Every form of picture that Python holds becomes the same file, or is refused in one line."""

from __future__ import annotations

import io
import multiprocessing
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tests.conformance.fixture_model import FIXTURE
from tests.conformance.pictures import picture

from onedc.codec import Codec
from onedc.errors import ImageError, PictureWarning
from onedc.loading import load

RGB = np.ascontiguousarray(picture(90, 70))


@pytest.fixture(scope="module")
def codec() -> Codec:
    return load(FIXTURE, precision="fp32", threads=1)


def test_arrays_of_any_strides(codec: Codec) -> None:
    expected = codec.encode(RGB)
    reversed_bands = RGB[..., ::-1].copy()
    for array in (reversed_bands[..., ::-1], RGB[::-1].copy()[::-1], np.asfortranarray(RGB)):
        assert codec.encode(array) == expected
    frozen = RGB.copy()
    frozen.flags.writeable = False
    assert codec.encode(frozen) == expected


def test_bytes_of_any_kind(codec: Codec, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.fromarray(RGB).save(buffer, "PNG")
    data = buffer.getvalue()
    expected = codec.encode(data)
    for source in (bytearray(data), memoryview(data), io.BytesIO(data)):
        assert codec.encode(source) == expected
    for coded in (bytearray(expected), memoryview(expected)):
        assert np.array_equal(codec.decode(coded, output="numpy"), codec.decode(expected, output="numpy"))


def test_numbers_of_numpy(codec: Codec) -> None:
    for number in (np.int64(30), np.float32(30), np.uint8(30), np.array(30.0)):
        assert codec.encode(RGB, quality=number) == codec.encode(RGB, quality=30)
    assert codec.encode(RGB, effort=np.int64(0)) == codec.encode(RGB)
    size = len(codec.encode(RGB, quality=30))
    assert codec.encode_to_size(RGB, np.int64(size)) == codec.encode_to_size(RGB, size)


def test_what_decode_gives_with_alpha_is_taken(codec: Codec) -> None:
    alpha = np.where(np.arange(90) < 40, 255, 0).astype(np.uint8)
    image = Image.fromarray(RGB)
    image.putalpha(Image.fromarray(np.tile(alpha, (RGB.shape[0], 1))[:, : RGB.shape[1]]))
    coded = codec.encode(image, keep="alpha")
    assert coded == codec.encode(image, keep=["alpha"])
    back = codec.decode(coded, output="numpy")
    again = codec.encode(back, keep=["alpha"])
    assert np.array_equal(codec.decode(again, output="numpy")[..., 3], back[..., 3])
    tensor = codec.decode(coded, output="torch")
    assert codec.encode(tensor, keep=["alpha"]) == again
    with pytest.raises(ImageError, match="background"):
        codec.encode(back)


def test_tensors_from_0_to_1_are_noticed(codec: Codec) -> None:
    floats = torch.from_numpy(RGB).permute(2, 0, 1) / 255
    with pytest.warns(PictureWarning, match=r"no tensor value is below 0"):
        codec.encode(floats)
    for fine in (floats * 2 - 1, torch.ones(3, 8, 8)):
        codec.encode(fine)


def test_no_limit_of_pixels(codec: Codec) -> None:
    coded = codec.encode(RGB)
    assert codec.decode(coded, max_pixels=None).size == (RGB.shape[1], RGB.shape[0])


FORKS = """
import multiprocessing, sys
import numpy as np
import onedc

codec = onedc.load(sys.argv[1], engine=sys.argv[2], precision="fp32", threads=2)
data = codec.encode(np.zeros((70, 90, 3), np.uint8))
expected = codec.decode(data).tobytes()

def decode(data):
    return codec.decode(data).tobytes()

with multiprocessing.get_context("fork").Pool(2) as pool:
    assert pool.map_async(decode, [data] * 4).get(250) == [expected] * 4
"""


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="needs fork")
@pytest.mark.parametrize("engine", ["torch", "onnx"])
def test_a_fork_after_use_works(engine: str, with_graphs: Path) -> None:
    """The engine's threads do not come along, and a child that waited for them would wait for ever."""
    subprocess.run([sys.executable, "-c", FORKS, str(with_graphs), engine], timeout=300, check=True)
