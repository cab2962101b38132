"""Picture files and Pillow images to RGB arrays: orientation, depth, colours, alpha, damage."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, BinaryIO, Literal, NamedTuple, TypeAlias

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from onedc.container.packing import DEFAULT_MAX_PIXELS
from onedc.container.side_data import SideData
from onedc.errors import ImageError, OneDCError, one_line
from onedc.image.colour import has_cicp, head_of, said_by, to_srgb
from onedc.image.damage import is_cut, lacks_scans, mended, seems_cut
from onedc.image.formats import Remarks, as_file, choose_page, open_picture
from onedc.image.samples import (
    Color,
    RGBArray,
    Scale,
    flatten,
    parse_color,
    scale_of,
    split_alpha,
    to_8_bit,
    with_hidden_places_filled,
)

PictureFile: TypeAlias = "str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO"
"""A picture file: a path, its bytes, or a binary file object."""

Keepable: TypeAlias = Literal["alpha", "icc", "exif"]
"""What a .1dc file can keep of a picture file beside the picture."""

KEEPABLE: frozenset[Keepable] = frozenset(("alpha", "icc", "exif"))

MAX_SIDE_PX = 16383
"""Longest side of a picture that is read."""

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What makes a picture upright, by EXIF's orientation."""


class Loaded(NamedTuple):
    """A picture, and what is to be kept beside it."""

    rgb: RGBArray
    side_data: SideData
    original: tuple[int, int] | None = None  # width and height before it was shrunk, if it was


@dataclass(frozen=True, kw_only=True)
class _Wanted:
    """What a caller decides of a picture."""

    background: Color | None
    keep: Collection[Keepable]
    max_pixels: int | None
    page: int | None = None
    draft: Callable[[int, int], int] | None = None


def read_image(
    source: PictureFile,
    *,
    background: Color | None = None,
    max_pixels: int | None = DEFAULT_MAX_PIXELS,
    page: int | None = None,
    strict: bool = False,
) -> RGBArray:
    """Read a picture file as sRGB.

    EXIF orientation is applied; 16-bit samples are scaled to 8; palette, grey, CMYK and 1-bit pictures and
    those that say their colours, by a profile or otherwise, are converted.

    Args:
        source: a path, the bytes of a file, or a binary file object.
        background: colour to lay under transparent places. None: a picture with any is refused.
        max_pixels: refuse larger pictures before decoding them. None: those that Pillow refuses.
        page: of a file of several pages or frames, from 1. None: a file of several is refused.
        strict: refuse what is else read with a PictureWarning: a profile that does not fit, damage beside the
            picture, colours that are not known.

    Returns:
        [H,W,3] uint8 with 1 <= H,W <= 16383.

    Raises:
        ImageError: not a readable picture, too large, of several pages, or transparent without a background.
    """
    return read_picture(source, background=background, max_pixels=max_pixels, page=page, strict=strict).rgb


def read_picture(
    source: PictureFile,
    *,
    background: Color | None = None,
    keep: Collection[Keepable] = (),
    max_pixels: int | None = DEFAULT_MAX_PIXELS,
    page: int | None = None,
    strict: bool = False,
    draft: Callable[[int, int], int] | None = None,
) -> Loaded:
    """As `read_image`, with what `keep` names: an alpha plane, the RGB profile or EXIF, where there is one.

    With "alpha" in `keep` no background is laid under. `draft` gives, for a width and height, the longer side
    that is needed: a JPEG is then decoded at no more than it takes to shrink it to that.

    Raises:
        ImageError: as `read_image`.
    """
    remarks = Remarks(_name(source), strict=strict)
    wanted = _Wanted(background=background, keep=keep, max_pixels=max_pixels, page=page, draft=draft)
    with _told(remarks.name), as_file(source) as file:
        try:
            found = _read(file, wanted, remarks)
        except OneDCError:
            raise
        except Exception:
            file.seek(0)
            with remarks.of_pillow():
                whole = mended(file.read(), remarks)
            if whole is None:
                raise
            found = _read(io.BytesIO(whole), wanted, remarks)
    remarks.tell()
    return found


def _read(file: BinaryIO, wanted: _Wanted, remarks: Remarks) -> Loaded:
    with remarks.of_pillow():
        image = open_picture(file, remarks.name)
        _check_size(image, wanted.max_pixels, remarks.name)
        if image.format == "1DC":
            raise ImageError(f"{remarks.name}: is a .1dc file already; decode it first")
        choose_page(image, wanted.page, remarks.name)
        _check_size(image, wanted.max_pixels, remarks.name)
        scale = scale_of(image, remarks.name)
    size, head = image.size, head_of(image, file)
    if wanted.draft:
        enough = 2 * wanted.draft(*size) / max(size)
        image.draft(None, (int(enough * size[0]) + 1, int(enough * size[1]) + 1))
    image.load()
    if image.format in ("JPEG", "MPO") and seems_cut(image):
        file.seek(0)
        with remarks.of_pillow():
            cut = is_cut(file.read())
        if cut:
            raise ImageError(f"{remarks.name}: its picture ends too early; the file is cut or damaged")
    if image.info.get("progressive"):
        file.seek(0)
        if lacks_scans(file.read()):
            remarks.add("its last scans are missing, so that it is blurred")
    found, turned = _convert(image, wanted, scale, head, remarks)
    return found if image.size == size else found._replace(original=size[::-1] if turned else size)


def to_picture(
    image: Image.Image,
    *,
    background: Color | None = None,
    keep: Collection[Keepable] = (),
    name: str = "image",
    strict: bool = False,
) -> Loaded:
    """Convert an open Pillow picture as `read_picture` does, but without its limit of pixels.

    Raises:
        ImageError: damaged, closed, transparent without a background, an unusable sample type, or a side
            outside 1..16383 px. `name` begins its message.
    """
    remarks = Remarks(name, strict=strict)
    wanted = _Wanted(background=background, keep=keep, max_pixels=None)
    with _told(name):
        _check_size(image, None, name)
        head = head_of(image, getattr(image, "fp", None))
        scale = scale_of(image, name)
        _load(image, name)
        found, _ = _convert(image, wanted, scale, head, remarks)
    remarks.tell()
    return found


def _load(image: Image.Image, name: str) -> None:
    """Have Pillow read the pixels. Raises ImageError where the file was closed before."""
    try:
        image.load()
    except (AssertionError, ValueError) as error:
        closed = isinstance(error, AssertionError) or "closed" in str(error)
        if not closed:
            raise
        raise ImageError(
            f"{name}: was closed before its pixels were read; load() it first, or give its path"
        ) from error


def _convert(
    image: Image.Image, wanted: _Wanted, scale: Scale, head: bytes, remarks: Remarks
) -> tuple[Loaded, bool]:
    """An open picture as wanted, and whether its sides have changed places."""
    profile, name = image.info.get("icc_profile"), remarks.name
    with remarks.of_pillow():
        exif = _exif(image, remarks)
        orientation = _orientation(exif, remarks)
        coded = has_cicp(image, head)
        said = said_by(image, exif, head, remarks) if coded or not profile else None
    samples = to_8_bit(image, scale, name)
    if orientation in _TURNS:
        samples = samples.transpose(_TURNS[orientation])
    colour, alpha = split_alpha(samples)
    upright, used = to_srgb(colour, None if coded else profile, said, remarks)
    rgb = np.ascontiguousarray(np.asarray(upright, dtype=np.uint8))
    with remarks.of_pillow():
        kept = _exif_bytes(exif, remarks) if "exif" in wanted.keep else None
    side_data = SideData(icc=used if "icc" in wanted.keep else None, exif=kept)
    return _over(rgb, alpha, side_data, wanted, name), orientation > 4


def _over(rgb: RGBArray, alpha: RGBArray | None, side_data: SideData, wanted: _Wanted, name: str) -> Loaded:
    """A picture with its alpha kept, or laid over the background."""
    if alpha is None or alpha.min() == 255:
        return Loaded(rgb, side_data)
    if "alpha" in wanted.keep:
        return Loaded(with_hidden_places_filled(rgb, alpha), replace(side_data, alpha=Image.fromarray(alpha)))
    if wanted.background is None:
        raise ImageError(
            f"{name}: has transparent places; choose a colour to lay under them, for example "
            "--background white (in Python background='white'), or store them with --keep-alpha "
            "(keep=['alpha'])"
        )
    return Loaded(flatten(rgb, alpha, parse_color(wanted.background)), side_data)


@contextmanager
def _told(name: str) -> Iterator[None]:
    """What Pillow raises becomes an ImageError that begins with `name`."""
    try:
        yield
    except OneDCError:
        raise
    except FileNotFoundError as error:
        raise ImageError(f"{name}: no such file") from error
    except UnidentifiedImageError as error:
        raise ImageError(f"{name}: not a picture that Pillow can read") from error
    except Image.DecompressionBombError as error:
        raise ImageError(f"{name}: too many pixels; scale it down first") from error
    except OSError as error:
        raise ImageError(f"{name}: cannot be read: {one_line(error.strerror or error)}") from error
    except Exception as error:  # Pillow's parsers raise nearly anything on damaged files
        raise ImageError(f"{name}: damaged or unsupported: {one_line(error)}") from error


def _check_size(image: Image.Image, max_pixels: int | None, name: str) -> None:
    width, height = image.size
    if not (1 <= width <= MAX_SIDE_PX and 1 <= height <= MAX_SIDE_PX):
        raise ImageError(f"{name}: {width}x{height} pixels; each side must be in 1..{MAX_SIDE_PX}")
    if max_pixels is not None and width * height > max_pixels:
        raise ImageError(
            f"{name}: {width}x{height} is above the limit of {max_pixels} pixels; scale it down first, "
            "or raise --max-pixels (max_pixels=)"
        )


def _exif(image: Image.Image, remarks: Remarks) -> Image.Exif | None:
    """EXIF as far as it can be read."""
    try:
        exif = image.getexif()
        if not len(exif) and isinstance(image.info.get("exif"), bytes):
            Image.Exif().load(image.info["exif"])  # says why there is nothing
        return exif
    except Exception as error:  # Pillow's parser raises nearly anything on junk
        remarks.add(f"its EXIF is damaged and is ignored ({one_line(error)})")
        return None


def _orientation(exif: Image.Exif | None, remarks: Remarks) -> int:
    """1 to 8."""
    value: Any = 1 if exif is None else exif.get(ExifTags.Base.Orientation, 1)
    value = value[0] if isinstance(value, tuple) and value else value
    if value in range(1, 9):
        return int(value)
    remarks.add(f"its orientation {value!r} is none of 1 to 8 and is ignored")
    return 1


def _exif_bytes(exif: Image.Exif | None, remarks: Remarks) -> bytes | None:
    """EXIF of a picture whose orientation has been applied, from the byte order mark on."""
    if exif is None or not len(exif):
        return None
    kept = Image.Exif()
    try:
        kept.load(exif.tobytes())
        kept.pop(ExifTags.Base.Orientation, None)
        return kept.tobytes().removeprefix(b"Exif\0\0") if len(kept) else None
    except Exception as error:  # Pillow's writer raises nearly anything on odd values
        remarks.add(f"its EXIF is damaged and cannot be kept ({one_line(error)})")
        return None


def _name(source: object) -> str:
    """What to call the picture in messages."""
    if isinstance(source, (str, os.PathLike)):
        return os.fspath(source)
    name = getattr(source, "name", None)
    return name if isinstance(name, str) else "picture"
