"""Shrinking: the rule's shape, resampling with alpha, JPEGs decoded no further than needed."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image
from tests.conformance.fixture_model import FIXTURE
from tests.conformance.pictures import picture

from onedc.codec import Codec
from onedc.container.header import working_size
from onedc.container.info import info
from onedc.errors import ConfigError, ImageError
from onedc.image import Loaded, read_picture, to_picture
from onedc.image.shrink import LARGEST_PX, LEAST_SIDE_PX, Size, longer_side, shrunk
from onedc.loading import load


def test_the_rule_grows_with_the_bytes_up_to_the_picture() -> None:
    sides = [longer_side(4000, 3000, target) for target in (20, 157, 340, 1000, 4000, 10**7)]
    assert sides == sorted(sides)
    assert sides[0] >= LEAST_SIDE_PX and sides[-1] == 4000
    assert longer_side(3000, 4000, 157) == longer_side(4000, 3000, 157)
    assert longer_side(40, 30, 157) == 40
    assert longer_side(20, 10, 1) == 20


@pytest.mark.parametrize(("width", "height"), [(3000, 2000), (4000, 3000), (3000, 3000), (1080, 1920)])
@pytest.mark.parametrize("target", [100, 157, 200, 233, 340, 512, 1000, 4000])
def test_a_side_fills_its_squares_within_the_pixels_allowed(width: int, height: int, target: int) -> None:
    sides = working_size(width, height, longer_side(width, height, target))
    assert not all(side % 64 for side in sides)
    most = LARGEST_PX.get(target)
    assert most is None or 0.4 * most < sides[0] * sides[1] <= most


def test_a_picture_none_of_whose_y_fits_is_shrunk_further(codec: Codec) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    kept = info(codec.encode_to_size(noise, 300, max_side=160, shrink=False))
    further = info(codec.encode_to_size(noise, 300, max_side=160))
    assert kept.quality == 0 and kept.width == 160
    assert further.quality > 0 and further.width < 160 and further.original_width == 400


def test_nearly_the_same_size_is_no_reason_to_shrink() -> None:
    longer = longer_side(4000, 3000, 157)
    assert longer_side(longer + 8, round((longer + 8) * 0.75), 157) == longer + 8


def test_a_picture_and_its_alpha_are_shrunk_together() -> None:
    image = Image.fromarray(picture(90, 60))
    plane = Image.new("L", image.size)
    plane.paste(255, (0, 0, 45, 60))
    image.putalpha(plane)
    found = shrunk(to_picture(image, keep=["alpha"]), 30)
    assert found.rgb.shape == (20, 30, 3) and found.original == (90, 60)
    alpha = found.side_data.alpha
    assert alpha is not None and alpha.size == (30, 20)
    assert np.asarray(alpha)[:, :10].min() >= 254 and np.asarray(alpha)[:, 20:].max() <= 1
    plain = shrunk(to_picture(Image.fromarray(picture(90, 60))), 30)
    assert np.abs(found.rgb[:, :10].astype(int) - plain.rgb[:, :10]).max() <= 3


def test_a_picture_that_is_small_enough_stays() -> None:
    small = to_picture(Image.fromarray(picture(90, 60)))
    assert shrunk(small, 90) is small
    assert shrunk(shrunk(small, 45), 30).original == (90, 60)


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_jpeg_is_decoded_no_further_than_needed(orientation: int) -> None:
    image, buffer, exif = Image.fromarray(picture(640, 480)), io.BytesIO(), Image.Exif()
    exif[0x0112] = orientation
    image.save(buffer, "JPEG", quality=95, exif=exif)
    size = (640, 480) if orientation == 1 else (480, 640)
    drafted = read_picture(buffer.getvalue(), draft=lambda width, height: 64)
    assert drafted.original == size
    assert max(drafted.rgb.shape) == 160
    whole = read_picture(buffer.getvalue())
    assert whole.original is None and whole.rgb.shape == (*size[::-1], 3)
    a, b = shrunk(drafted, 64), shrunk(whole, 64)
    assert a.original == b.original == size
    assert np.abs(a.rgb.astype(int) - b.rgb).mean() < 2


@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_a_jpeg_that_was_cut_and_ended_is_refused_when_drafted(share: float) -> None:
    buffer = io.BytesIO()
    Image.fromarray(picture(640, 480)).save(buffer, "JPEG", quality=95)
    data = buffer.getvalue()
    with pytest.raises(ImageError, match="ends too early"):
        read_picture(data[: int(share * len(data))] + b"\xff\xd9", draft=lambda width, height: 64)


def test_what_is_no_jpeg_is_read_whole() -> None:
    buffer = io.BytesIO()
    Image.fromarray(picture(640, 480)).save(buffer, "PNG")
    found = read_picture(buffer.getvalue(), draft=lambda width, height: 64)
    assert isinstance(found, Loaded) and found.original is None and found.rgb.shape == (480, 640, 3)


@pytest.fixture(scope="module")
def codec() -> Codec:
    return load(FIXTURE, precision="fp32")


@pytest.mark.parametrize("target", [15, 40, 157, 1000])
def test_a_picture_is_shrunk_to_its_bytes(codec: Codec, target: int) -> None:
    image = Image.fromarray(picture(300, 200))
    data = codec.encode_to_size(image, target)
    found, longer = info(data), longer_side(300, 200, target)
    assert len(data) <= target
    assert found.width == longer if found.quality == 0 else 32 <= found.width <= longer
    assert (found.original_width is None) == (found.width == 300)
    assert (found.quality > 0) == (target >= 157)
    with_alpha = image.copy()
    with_alpha.putalpha(Image.linear_gradient("L").resize(image.size))
    if target == 1000:
        kept = codec.encode_to_size(with_alpha, target, keep=["alpha"])
        assert len(kept) <= target and info(kept).sections == ("alpha",)


def test_what_is_kept_counts_towards_the_target(codec: Codec) -> None:
    image = Image.fromarray(picture(300, 200))
    image.getexif()[0x010E] = "a description of some length " * 4
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", exif=image.getexif())
    data = codec.encode_to_size(buffer.getvalue(), 200, keep=["exif"])
    assert len(data) <= 200 and info(data).width < info(codec.encode_to_size(buffer.getvalue(), 200)).width
    with pytest.raises(ConfigError, match=r"beside the picture .* takes \d+ bytes of 50"):
        codec.encode_to_size(buffer.getvalue(), 50, keep=["exif"])


def test_a_size_is_checked() -> None:
    for wrong in ({"max_side": 0}, {"target_bytes": -1}, {"target_bytes": 2.5}):
        with pytest.raises(ConfigError, match="whole number above 0"):
            Size(**wrong)  # type: ignore[arg-type]
