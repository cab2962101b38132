"""Picture files to RGB arrays and back: orientation, bit depth, colour profile, alpha, padding.

Pillow and numpy only. Knows nothing of the codec, its tensors or its files.
"""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, Literal, NamedTuple, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageCms, ImageColor, ImageOps, UnidentifiedImageError
from PIL.PngImagePlugin import PngInfo

from onedc.container import GENERATED
from onedc.errors import ImageError, OneDCError
from onedc.extras import DESCRIPTION, Extras
from onedc.files import refuse_existing, write_whole

RGBArray: TypeAlias = NDArray[np.uint8]
"""[H,W,3] uint8, sRGB."""

Color: TypeAlias = "str | tuple[int, int, int]"
"""A background: a CSS colour name, "#rrggbb", or three values in 0..255."""

Keepable: TypeAlias = Literal["alpha", "icc", "exif"]
"""What a .1dc file can keep of a picture file beside the picture."""

KEEPABLE: frozenset[Keepable] = frozenset(("alpha", "icc", "exif"))

MAX_SIDE_PX = 16383
MAX_PIXELS = 1 << 26
"""Default limit of pixels in a picture to read (67 million); checked before anything is decoded."""

READABLE_SUFFIXES = frozenset(
    ".apng .avif .bmp .dib .gif .ico .j2c .j2k .jfif .jp2 .jpc .jpe .jpeg .jpf .jpg .jpx .mpo .pbm .pgm .png "
    ".pnm .ppm .psd .qoi .tga .tif .tiff .webp".split()
)
"""What counts as a picture when a whole folder is read."""

_WRITE_OPTIONS: dict[str, tuple[str, dict[str, object]]] = {
    ".png": ("PNG", {}),
    ".webp": ("WEBP", {"lossless": True}),
    ".tif": ("TIFF", {"compression": "tiff_lzw"}),
    ".tiff": ("TIFF", {"compression": "tiff_lzw"}),
    ".bmp": ("BMP", {}),
    ".ppm": ("PPM", {}),
    ".jpg": ("JPEG", {"quality": 95, "subsampling": 0}),
    ".jpeg": ("JPEG", {"quality": 95, "subsampling": 0}),
}
WRITABLE_SUFFIXES = frozenset(_WRITE_OPTIONS)
_WITH_ALPHA = frozenset({"PNG", "WEBP", "TIFF"})

_DESCRIPTION_OPTIONS = {"TIFF": "description", "JPEG": "comment"}

_STILL_WITH_FRAMES = frozenset({"MPO", "PSD"})
"""Formats whose further frames are previews or layers of the same picture."""


class Loaded(NamedTuple):
    """A picture, and what is to be kept beside it."""

    rgb: RGBArray
    extras: Extras
    original: tuple[int, int] | None = None  # width and height before it was shrunk, if it was


def read_image(
    source: str | os.PathLike[str] | bytes | BinaryIO,
    *,
    background: Color | None = None,
    max_pixels: int = MAX_PIXELS,
) -> RGBArray:
    """Read a picture file as sRGB.

    EXIF orientation is applied; 16-bit samples are scaled to 8; palette, grey, CMYK and 1-bit pictures and
    those with an embedded colour profile are converted.

    Args:
        source: a path, the bytes of a file, or a binary file object.
        background: colour to lay under transparent places. None: a picture with any is refused.
        max_pixels: refuse larger pictures before decoding them.

    Returns:
        [H,W,3] uint8 with 1 <= H,W <= 16383.

    Raises:
        ImageError: not a readable picture, too large, animated, or transparent without a background.
    """
    return read_picture(source, background=background, max_pixels=max_pixels).rgb


def read_picture(
    source: str | os.PathLike[str] | bytes | BinaryIO,
    *,
    background: Color | None = None,
    keep: Collection[Keepable] = (),
    max_pixels: int = MAX_PIXELS,
    draft: Callable[[int, int], int] | None = None,
) -> Loaded:
    """As `read_image`, with what `keep` names: an alpha plane, the RGB profile or EXIF, where there is one.

    With "alpha" in `keep` no background is laid under. `draft` gives, for a width and height, the longer side
    that is needed: a JPEG is then decoded at no more than it takes to shrink it to that.

    Raises:
        ImageError: as `read_image`.
    """
    name = _name(source)
    with _told(name), _open(source) as image:
        _check_size(image, max_pixels, name)
        _check_frames(image, name)
        if image.format == "1DC":
            raise ImageError(f"{name}: is a .1dc file already; decode it first")
        size = image.size
        if draft:
            enough = 2 * draft(*size) / max(size)
            image.draft(None, (int(enough * size[0]) + 1, int(enough * size[1]) + 1))
        image.load()
        found = to_picture(image, background=background, keep=keep, name=name)
        turned = image.getexif().get(ExifTags.Base.Orientation, 1) > 4
        return found if image.size == size else found._replace(original=size[::-1] if turned else size)


def to_picture(
    image: Image.Image,
    *,
    background: Color | None = None,
    keep: Collection[Keepable] = (),
    name: str = "image",
) -> Loaded:
    """Convert an open Pillow picture as `read_picture` does, but without its limit of pixels.

    Raises:
        ImageError: damaged, transparent without a background, an unusable colour profile or sample type, or a
            side outside 1..16383 px. `name` begins its message.
    """
    with _told(name):
        _check_size(image, image.width * image.height, name)
        profile = image.info.get("icc_profile")
        upright = ImageOps.exif_transpose(image)
        colour, alpha = _split_alpha(_to_8_bit(upright, name))
        rgb = np.ascontiguousarray(np.asarray(_to_srgb(colour, profile, name), dtype=np.uint8))
        icc = profile if "icc" in keep and profile and profile[16:20] == b"RGB " else None
        extras = Extras(icc=icc, exif=_exif(upright) if "exif" in keep else None)
        if alpha is None or alpha.min() == 255:
            return Loaded(rgb, extras)
        if "alpha" in keep:
            return Loaded(
                with_hidden_places_filled(rgb, alpha), replace(extras, alpha=Image.fromarray(alpha))
            )
        if background is None:
            raise ImageError(
                f"{name}: has transparent places; choose a colour to lay under them, for example "
                "--background white (in Python background='white'), or store them with --keep-alpha "
                "(keep=['alpha'])"
            )
        return Loaded(_flatten(rgb, alpha, parse_color(background)), extras)


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
        raise ImageError(f"{name}: cannot be read: {_one_line(error.strerror or error)}") from error
    except Exception as error:  # Pillow's parsers raise nearly anything on damaged files
        raise ImageError(f"{name}: damaged or unsupported: {_one_line(error)}") from error


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


def write_image(path: str | os.PathLike[str], array: RGBArray, *, force: bool = False) -> None:
    """Write [H,W,3] uint8 in the format of the path's suffix (.png, .webp, .tif, .bmp, .ppm lossless; .jpg).

    Raises:
        ImageError: a suffix that is none of these.
        OutputError: the file exists and `force` is false, or it cannot be written. It is never half written.
    """
    refuse_existing(path, force=force)
    write_whole(path, image_bytes(array, Path(path).suffix, name=os.fspath(path)), force=force)


def image_bytes(picture: RGBArray | Image.Image, suffix: str = ".png", *, name: str = "image") -> bytes:
    """The bytes of a picture file in the format of `suffix`.

    Args:
        picture: [H,W,3] uint8, or a Pillow image, whose profile, EXIF and description are written too where
            the format has a place for them.

    Raises:
        ImageError: an unknown suffix, transparent places in a format without them, or a size or something
            beside the pixels that the format cannot hold.
    """
    try:
        file_format, options = _WRITE_OPTIONS[suffix.lower()]
    except KeyError:
        known = ", ".join(_WRITE_OPTIONS)
        raise ImageError(f"{name}: cannot write {suffix!r} pictures; use one of {known}") from None
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    if image.mode == "RGBA" and file_format not in _WITH_ALPHA:
        raise ImageError(f"{name}: {suffix} pictures cannot be transparent; use .png, .webp or .tif")
    buffer = io.BytesIO()
    try:
        image.save(buffer, file_format, **options, **_beside(image, file_format))
    except (OSError, ValueError) as error:  # too large for the format, or too much beside the pixels
        raise ImageError(f"{name}: cannot be written as {suffix}: {_one_line(error)}") from error
    return buffer.getvalue()


def _beside(image: Image.Image, file_format: str) -> dict[str, object]:
    """Options that write what stands beside the pixels."""
    found: dict[str, object] = {key: image.info[key] for key in ("icc_profile", "exif") if key in image.info}
    text = image.info.get(DESCRIPTION)
    if text and file_format == "PNG":
        chunks = PngInfo()
        chunks.add_text(DESCRIPTION, text)
        found["pnginfo"] = chunks
    elif text and file_format in _DESCRIPTION_OPTIONS:
        found[_DESCRIPTION_OPTIONS[file_format]] = text
    return found


def is_generated(path: str | os.PathLike[str]) -> bool:
    """Does this picture file say that a decoder of ours has made it? PNG, TIFF and JPEG files do."""
    try:
        with Image.open(path, formats=("PNG", "TIFF", "JPEG", "MPO")) as image:
            found = image.info.get(DESCRIPTION) or image.info.get("comment") or image.getexif().get(270, "")
    except Exception:  # no picture, or damaged
        return False
    return (found.decode("latin-1") if isinstance(found, bytes) else str(found)).startswith(GENERATED)


def _open(source: str | os.PathLike[str] | bytes | BinaryIO) -> Image.Image:
    """Open lazily. Pillow's warning about large pictures is replaced by our own limit."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        return Image.open(io.BytesIO(source) if isinstance(source, bytes) else source)


def _check_size(image: Image.Image, max_pixels: int, name: str) -> None:
    width, height = image.size
    if not (1 <= width <= MAX_SIDE_PX and 1 <= height <= MAX_SIDE_PX):
        raise ImageError(f"{name}: {width}x{height} pixels; each side must be in 1..{MAX_SIDE_PX}")
    if width * height > max_pixels:
        raise ImageError(
            f"{name}: {width}x{height} is above the limit of {max_pixels} pixels; scale it down first"
        )


def _check_frames(image: Image.Image, name: str) -> None:
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format not in _STILL_WITH_FRAMES:
        raise ImageError(f"{name}: holds {frames} frames or pages, .1dc holds one; export the one you want")


def _to_8_bit(image: Image.Image, name: str) -> Image.Image:
    """Scale grey samples of more than 8 bits to 8; other pictures pass. A transparent grey becomes alpha."""
    if image.mode == "F":
        raise ImageError(
            f"{name}: floating point samples have no fixed range; convert it to 8 or 16 bit first"
        )
    if image.mode != "I" and not image.mode.startswith("I;16"):
        return image
    samples = np.asarray(image).astype(np.int64)
    if samples.min() < 0 or samples.max() > 65535:
        raise ImageError(f"{name}: samples beyond 16 bit; convert it to 8 or 16 bit first")
    grey = Image.fromarray(((samples * 255 + 32767) // 65535).astype(np.uint8))
    transparent = image.info.get("transparency")
    if transparent is not None:
        grey.putalpha(Image.fromarray(np.where(samples == transparent, 0, 255).astype(np.uint8)))
    return grey


def _split_alpha(image: Image.Image) -> tuple[Image.Image, RGBArray | None]:
    """Part colour (as L, RGB, CMYK, ...) from alpha [H,W] uint8."""
    if not image.has_transparency_data:
        return (image.convert("RGB") if image.mode in ("P", "1") else image), None
    grey = image.mode in ("1", "L", "LA", "La")
    image = image.convert("RGBA") if image.mode != "La" else image.convert("LA").convert("RGBA")
    alpha = np.asarray(image.getchannel("A"))
    return (image.getchannel("R") if grey else image.convert("RGB")), alpha


def _to_srgb(image: Image.Image, profile: bytes | None, name: str) -> Image.Image:
    """Convert colour to sRGB by the embedded profile, or by Pillow's rule for the mode without one."""
    if not profile:
        return image.convert("RGB")
    if image.mode not in ("L", "RGB", "CMYK", "LAB"):
        image = image.convert("RGB")
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError) as error:
        raise ImageError(
            f"{name}: its colour profile cannot be used ({_one_line(error)}); convert it to sRGB first"
        ) from error
    return cast(Image.Image, converted)


def _flatten(rgb: RGBArray, alpha: RGBArray, background: tuple[int, int, int]) -> RGBArray:
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


def _exif(upright: Image.Image) -> bytes | None:
    """EXIF of a picture whose orientation has been applied, from the byte order mark on."""
    exif = upright.getexif()
    exif.pop(ExifTags.Base.Orientation, None)
    return exif.tobytes().removeprefix(b"Exif\0\0") if len(exif) else None


def _name(source: object) -> str:
    """What to call the picture in messages."""
    if isinstance(source, (str, os.PathLike)):
        return os.fspath(source)
    name = getattr(source, "name", None)
    return name if isinstance(name, str) else "picture"


def _one_line(error: object) -> str:
    return " ".join(str(error).split()) or type(error).__name__
