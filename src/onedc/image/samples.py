"""Samples to 8 bits, transparency to a plane of its own, and laying colours under it."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor, TiffImagePlugin

from onedc.errors import ImageError

RGBArray: TypeAlias = NDArray[np.uint8]
"""[H,W,3] uint8, sRGB."""

Color: TypeAlias = "str | tuple[int, int, int]"
"""A background: a CSS colour name, "#rrggbb", or three values in 0..255."""

_SCALED_BY_PILLOW = frozenset({"PPM", "JPEG2000"})
"""Formats that declare their white, which Pillow scales to 65535."""
_DARK = 4095
"""White of 12 bits: where no 16-bit sample is above it, who knows which of the two was meant?"""
_BITS, _MOST, _SAMPLE_FORMAT, _PHOTOMETRIC = 258, 281, 339, 262
_UNSIGNED, _WHITE_IS_ZERO = 1, 0


class Scale(NamedTuple):
    """What a file says of its samples of more than 8 bits."""

    deep: bool  # are there more than 8 bits?
    white: int | None  # the sample that is white; None: not said, and perhaps 65535
    inverted: bool = False  # is that sample black?


def scale_of(image: Image.Image, name: str) -> Scale:
    """The scale of an open picture, to be asked before its samples are loaded.

    Raises:
        ImageError: samples without a range.
    """
    if image.format in _SCALED_BY_PILLOW:
        return Scale(False, 65535)
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return Scale(any("16" in str(tile.args) for tile in getattr(image, "tile", ())), None)
    bits, kind = _first(image, _BITS, 1), _first(image, _SAMPLE_FORMAT, _UNSIGNED)
    if bits > 8 and (kind != _UNSIGNED or bits > 16):
        raise ImageError(
            f"{name}: samples of {bits} bits, signed or floating point, have no fixed range; "
            "convert it to 8 or 16 bit first"
        )
    white = _first(image, _MOST, 0) or (2**bits - 1 if 8 < bits < 16 else None)
    inverted = bits > 8 and _first(image, _PHOTOMETRIC, 1) == _WHITE_IS_ZERO
    return Scale(bits > 8, white if bits > 8 else None, inverted)


def _first(image: TiffImagePlugin.TiffImageFile, tag: int, default: int) -> int:
    value: Any = image.tag_v2.get(tag, default)
    return int(value[0] if isinstance(value, tuple) else value)


def to_8_bit(image: Image.Image, scale: Scale, name: str) -> Image.Image:
    """Scale grey samples of more than 8 bits to 8; other pictures pass. A transparent grey becomes alpha.

    Raises:
        ImageError: samples whose scale is not known.
    """
    if image.mode == "F":
        raise ImageError(
            f"{name}: floating point samples have no fixed range; convert it to 8 or 16 bit first"
        )
    if image.mode != "I" and not image.mode.startswith("I;16"):
        if scale.deep and scale.white is None:  # Pillow has kept the upper 8 of 16 bits
            _refuse_dark(max(high for _, high in _colour_extrema(image)) << 8 | 255, name)
        return image
    samples = np.asarray(image).astype(np.int64)
    if samples.min() < 0 or samples.max() > 65535:
        raise ImageError(f"{name}: samples beyond 16 bit; convert it to 8 or 16 bit first")
    white = scale.white
    if white is None:
        _refuse_dark(int(samples.max()), name)
        white = 65535
    values = np.minimum((samples * 255 + white // 2) // white, 255)
    grey = Image.fromarray((255 - values if scale.inverted else values).astype(np.uint8))
    transparent = image.info.get("transparency")
    if transparent is not None:
        grey.putalpha(Image.fromarray(np.where(samples == transparent, 0, 255).astype(np.uint8)))
    return grey


def _colour_extrema(image: Image.Image) -> list[tuple[int, int]]:
    bands = [image.getchannel(band) for band in image.getbands() if band != "A"]
    return [band.getextrema() for band in bands]  # type: ignore[misc]


def _refuse_dark(highest: int, name: str) -> None:
    """Raise ImageError where 16 bits hold no more than 12, and something."""
    if 0 < highest <= _DARK:
        raise ImageError(
            f"{name}: no sample of 16 bits is above {_DARK}, so it is not clear what is white (fewer "
            "bits, or a dark picture?); scale it to 8 bits first"
        )


def split_alpha(image: Image.Image) -> tuple[Image.Image, RGBArray | None]:
    """Part colour (as L, RGB, CMYK, ...) from alpha [H,W] uint8."""
    if not image.has_transparency_data:
        return (image.convert("RGB") if image.mode in ("P", "1") else image), None
    grey = image.mode in ("1", "L", "LA", "La")
    image = image.convert("RGBA") if image.mode != "La" else image.convert("LA").convert("RGBA")
    alpha = np.asarray(image.getchannel("A"))
    return (image.getchannel("R") if grey else image.convert("RGB")), alpha


def flatten(rgb: RGBArray, alpha: RGBArray, background: tuple[int, int, int]) -> RGBArray:
    """Lay [H,W,3] with alpha [H,W] over one colour, in 8-bit sRGB."""
    opaque = alpha[..., None].astype(np.uint32)
    under = np.array(background, dtype=np.uint32)
    return ((rgb * opaque + under * (255 - opaque) + 127) // 255).astype(np.uint8)


def with_hidden_places_filled(rgb: RGBArray, alpha: RGBArray) -> RGBArray:
    """[H,W,3] with the mean visible colour where alpha [H,W] is 0 and nothing can be seen: cheap to code."""
    seen = alpha > 0
    if not seen.any():
        return np.zeros_like(rgb)
    return np.where(seen[..., None], rgb, rgb[seen].mean(axis=0).round().astype(np.uint8))


def parse_color(color: Color) -> tuple[int, int, int]:
    """Read a colour as three values in 0..255. Raises ImageError for an unknown one."""
    if isinstance(color, str):
        try:
            return ImageColor.getrgb(color)[:3]
        except ValueError as error:
            raise ImageError(f"background {color!r}: not a colour; use a name or #rrggbb") from error
    if len(color) != 3 or not all(0 <= value <= 255 for value in color):
        raise ImageError(f"background {color!r}: not three values in 0..255")
    return color


def to_floats(pixels: NDArray[Any]) -> NDArray[np.float32]:
    """A picture as [3,H,W] in [-1,1]."""
    if pixels.dtype != np.uint8:
        return pixels
    floats = pixels.transpose(2, 0, 1).astype(np.float32, order="C")
    floats *= np.float32(2 / 255)
    floats -= 1
    return floats


def to_bytes(floats: NDArray[np.float32]) -> NDArray[np.uint8]:
    """[3,H,W] -> [H,W,3] uint8; [-1,1] becomes 0..255, halves up, values beyond are clamped."""
    steps = np.clip(floats, -1, 1)
    steps += 1
    steps *= 127.5
    steps += 0.5
    return np.ascontiguousarray(steps.astype(np.uint8).transpose(1, 2, 0))
