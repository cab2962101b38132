"""Every kind of picture file comes out as the same upright sRGB array, or is refused by one clear line."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms

from onedc.errors import ImageError, OutputError, PictureWarning
from onedc.image import image_bytes, parse_color, read_image, read_picture, to_picture, write_image
from onedc.image.colour import Said, profile_of


def gradient(height: int = 5, width: int = 7) -> np.ndarray:
    """[H,W,3] uint8 in which every pixel differs."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows * 40, columns * 30, rows * 7 + columns * 11], axis=-1).astype(np.uint8)


def saved(image: Image.Image, file_format: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def test_an_opened_png_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.new("RGB", (9, 5), (10, 20, 30)).save(path)
    with Image.open(path) as image:  # Pillow closes the file once the pixels are read
        assert (to_picture(image).rgb == (10, 20, 30)).all()


def test_path_bytes_and_file_object_agree(tmp_path: Path) -> None:
    data = saved(Image.fromarray(gradient()))
    path = tmp_path / "a.png"
    path.write_bytes(data)
    for source in (path, str(path), data, io.BytesIO(data)):
        assert np.array_equal(read_image(source), gradient())


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied(orientation: int) -> None:
    upright = gradient()
    undo = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright),
        7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }
    exif = Image.Exif()
    exif[274] = orientation
    data = saved(Image.fromarray(np.ascontiguousarray(undo[orientation])), exif=exif)
    assert np.array_equal(read_image(data), upright)


def test_16_bit_grey_is_scaled_not_clipped() -> None:
    samples = np.array([[0, 257, 32768, 65535]], dtype=np.uint16)
    grey = read_image(saved(Image.fromarray(samples)))
    assert grey[0, :, 0].tolist() == [0, 1, 128, 255]
    assert np.array_equal(grey[..., 0], grey[..., 2])


def test_16_bit_pgm_is_scaled() -> None:
    data = b"P5 2 1 65535\n" + np.array([256, 65535], dtype=">u2").tobytes()
    assert read_image(data)[0, :, 0].tolist() == [1, 255]


def test_16_bit_transparent_key_is_alpha() -> None:
    samples = np.array([[1000, 65535]], dtype=np.uint16)
    data = saved(Image.fromarray(samples), transparency=1000)
    with pytest.raises(ImageError, match="background"):
        read_image(data)
    assert read_image(data, background="red")[0].tolist() == [[255, 0, 0], [255, 255, 255]]


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "CMYK", "YCbCr"])
def test_modes_without_alpha(mode: str) -> None:
    original = Image.fromarray(gradient())
    converted = original.convert(mode)
    if mode in ("CMYK", "YCbCr"):  # compressed: Pillow 12 cannot read its own raw YCbCr
        data = saved(converted, "TIFF", compression="tiff_lzw")
    else:
        data = saved(converted, "PNG")
    difference = read_image(data).astype(int) - np.asarray(converted.convert("RGB"))
    assert np.abs(difference).max() <= (mode == "YCbCr")  # which libtiff converts with roundings of its own


@pytest.mark.parametrize("mode", ["LA", "RGBA", "PA", "La", "RGBa"])
def test_alpha_is_refused_or_flattened(mode: str) -> None:
    image = Image.new("RGBA", (2, 1), (255, 255, 255, 255))
    image.putpixel((1, 0), (255, 255, 255, 0))
    if mode == "PA":
        image = image.convert("P").convert("PA")
        image.putalpha(Image.frombytes("L", (2, 1), b"\xff\x00"))
    else:
        image = image.convert("RGBA" if mode == "RGBa" else "LA" if mode == "La" else mode).convert(mode)
    with pytest.raises(ImageError, match="--background"):
        to_picture(image, name="x.png")
    assert to_picture(image, background=(0, 0, 255)).rgb[0].tolist() == [[255, 255, 255], [0, 0, 255]]


def test_palette_transparency_is_alpha() -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putpixel((1, 0), 1)
    data = saved(image, transparency=1)
    with pytest.raises(ImageError):
        read_image(data)
    assert read_image(data, background="#000000")[0].tolist() == [[10, 20, 30], [0, 0, 0]]


def test_opaque_alpha_passes() -> None:
    assert np.array_equal(read_image(saved(Image.fromarray(gradient()).convert("RGBA"))), gradient())


def test_half_transparent_blends() -> None:
    image = Image.new("RGBA", (1, 1), (200, 100, 0, 128))
    assert to_picture(image, background="white").rgb[0, 0].tolist() == [227, 177, 127]


def test_embedded_srgb_changes_nothing_visible() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    array = read_image(saved(Image.fromarray(gradient()), icc_profile=profile))
    assert np.abs(array.astype(int) - gradient()).max() <= 1


def test_colour_profile_is_converted() -> None:
    """In Lab a neutral mid grey is L* = 53.4; as an sRGB pixel that is 128, not the byte 136."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    image = Image.new("LAB", (1, 1), (136, 128, 128))
    image.info["icc_profile"] = profile
    assert np.abs(to_picture(image).rgb[0, 0].astype(int) - 128).max() <= 2


def read_with_remark(data: bytes, remark: str, **options: Any) -> np.ndarray:
    """A picture that is read with one warning, and refused with the same words by `strict`."""
    with pytest.warns(PictureWarning, match=remark) as told:
        array = read_image(data, **options)
    assert len(told) == 1
    with pytest.raises(ImageError, match=remark):
        read_image(data, strict=True, **options)
    return array


SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
GREY_PROFILE = bytearray(profile_of(Said((0.3127, 0.329, 0.64, 0.33, 0.3, 0.6, 0.15, 0.06), 1.0)))
GREY_PROFILE[16:20] = b"GRAY"


@pytest.mark.parametrize(
    ("image", "profile", "remark"),
    [
        (Image.fromarray(gradient()), b"not a profile" * 20, "cannot be used"),
        (Image.fromarray(gradient()), SRGB[:200], "cannot be used"),
        (Image.fromarray(gradient()), bytes(GREY_PROFILE), "for GRAY, not for RGB"),
        (Image.fromarray(gradient()).convert("P"), bytes(GREY_PROFILE), "for GRAY, not for RGB"),
        (Image.fromarray(gradient()).convert("L"), SRGB, "for RGB, not for GRAY"),
        (Image.fromarray(gradient()).convert("LA"), SRGB, "for RGB, not for GRAY"),
        (Image.fromarray(gradient()[..., 0].astype(np.uint16) * 257), SRGB, "for RGB, not for GRAY"),
        (Image.fromarray(gradient()).convert("CMYK"), SRGB, "for RGB, not for CMYK"),
    ],
)
def test_a_profile_that_does_not_fit_is_ignored(image: Image.Image, profile: bytes, remark: str) -> None:
    file_format = "TIFF" if image.mode == "CMYK" else "PNG"
    array = read_with_remark(saved(image, file_format, icc_profile=profile), remark)
    assert np.array_equal(array, read_image(saved(image, file_format)))


def test_a_profile_that_is_not_used_is_not_kept() -> None:
    for image, profile in ((Image.new("L", (2, 2)), SRGB), (Image.new("RGB", (2, 2)), b"nothing" * 30)):
        with pytest.warns(PictureWarning):
            assert read_picture(saved(image, icc_profile=profile), keep=["icc"]).side_data.icc is None


def test_warnings_name_the_file(tmp_path: Path) -> None:
    (tmp_path / "grey.png").write_bytes(saved(Image.new("L", (2, 2)), icc_profile=SRGB))
    with pytest.warns(PictureWarning, match=r"grey\.png: its colour profile"):
        read_image(tmp_path / "grey.png")


def test_animation_is_refused() -> None:
    frames = [Image.new("L", (4, 4), value) for value in (0, 100, 200)]
    data = saved(frames[0], "GIF", save_all=True, append_images=frames[1:])
    with pytest.raises(ImageError, match="3 frames"):
        read_image(data)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (Image.new("F", (2, 2)), "floating point"),
        (Image.fromarray(np.array([[70000]], dtype=np.int32)), "beyond 16 bit"),
        (Image.new("L", (16384, 1)), "16383"),
    ],
)
def test_refused(image: Image.Image, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        to_picture(image)


def test_too_many_pixels_is_refused_before_decoding() -> None:
    data = saved(Image.new("L", (100, 100)))
    with pytest.raises(ImageError, match="limit of 9999 pixels"):
        read_image(data[:60], max_pixels=9999)


def test_pillow_bomb_error_is_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    data = saved(Image.new("L", (100, 100)))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(ImageError, match="too many pixels"):
        read_image(data)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 9000)
    assert read_image(data).shape == (100, 100, 3)


def test_missing_file_is_named() -> None:
    with pytest.raises(ImageError, match=r"nowhere\.png: no such file"):
        read_image("nowhere.png")


def test_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError):
        read_image(tmp_path)


@given(
    st.integers(0, 400), st.integers(0, 255), st.sampled_from(["PNG", "JPEG", "GIF", "TIFF", "BMP", "WEBP"])
)
def test_damaged_files_raise_only_image_error(position: int, value: int, file_format: str) -> None:
    data = bytearray(saved(Image.fromarray(gradient(30, 30)), file_format))
    data[position % len(data)] = value
    for damaged in (bytes(data), bytes(data[: position % len(data)])):
        try:
            array = read_image(damaged, background="white", max_pixels=10**6)
        except ImageError as error:
            assert "\n" not in str(error)
        else:
            assert array.dtype == np.uint8 and array.ndim == 3


@pytest.mark.parametrize("suffix", [".png", ".PNG", ".webp", ".tif", ".bmp", ".ppm"])
def test_written_lossless(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"out{suffix}"
    write_image(path, gradient())
    assert np.array_equal(read_image(path), gradient())
    assert os.listdir(tmp_path) == [path.name]


def test_unknown_suffix_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"'\.xyz'"):
        write_image(tmp_path / "a.xyz", gradient())
    assert os.listdir(tmp_path) == []


def test_existing_output_needs_force(tmp_path: Path) -> None:
    path = tmp_path / "out.png"
    path.write_bytes(b"precious")
    with pytest.raises(OutputError, match="exists already"):
        write_image(path, gradient())
    assert path.read_bytes() == b"precious"
    write_image(path, gradient(), force=True)
    assert np.array_equal(read_image(path), gradient())


def test_unwritable_folder_is_output_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot be written"):
        write_image(tmp_path / "absent" / "a.png", gradient())


@pytest.mark.parametrize(("suffix", "side"), [(".webp", 16384), (".jpg", 65501)])
def test_sizes_that_a_format_cannot_hold_are_image_errors(suffix: str, side: int) -> None:
    with pytest.raises(ImageError, match=rf"cannot be written as \{suffix}"):
        image_bytes(np.zeros((1, side, 3), np.uint8), suffix)


def test_an_open_picture_that_is_cut_short_is_an_image_error() -> None:
    data = image_bytes(gradient())
    with Image.open(io.BytesIO(data[:-40])) as image, pytest.raises(ImageError, match="image: "):
        to_picture(image)


def test_colours() -> None:
    assert parse_color("white") == (255, 255, 255)
    assert parse_color("#0a0b0c") == (10, 11, 12)
    for bad in ("nocolour", (1, 2), (0, 0, 256)):
        with pytest.raises(ImageError):
            parse_color(bad)  # type: ignore[arg-type]


def test_one_pixel() -> None:
    data = image_bytes(np.array([[[1, 2, 3]]], dtype=np.uint8))
    assert read_image(data).tolist() == [[[1, 2, 3]]]


def test_exif_that_a_format_cannot_hold_is_an_image_error() -> None:
    image = Image.new("RGB", (8, 8))
    for exif in (b"junk", b"II*\0\x08\0\0\0\x01\0\x0f\x01\x03\0\x01\0\0\0\x05\0\0\0\0\0\0\0"):
        image.info["exif"] = b"Exif\0\0" + exif
        with pytest.raises(ImageError, match=r"cannot be written as \.tif"):
            image_bytes(image, ".tif")
