"""Arrays and Pillow images to picture files."""

from __future__ import annotations

import io
import os
from pathlib import Path

from PIL import Image, PngImagePlugin

from onedc.container.packing import GENERATED
from onedc.container.side_data import DESCRIPTION
from onedc.errors import ImageError, one_line
from onedc.files import refuse_existing, write_whole
from onedc.image.samples import RGBArray

_WRITE_OPTIONS: dict[str, tuple[str, dict[str, object]]] = {
    ".png": ("PNG", {"compress_level": 3}),  # half of the time of 6, files of 5 % more
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
    except Exception as error:  # Pillow's writers raise nearly anything for what a format cannot hold
        raise ImageError(f"{name}: cannot be written as {suffix}: {one_line(error)}") from error
    return buffer.getvalue()


def _beside(image: Image.Image, file_format: str) -> dict[str, object]:
    """Options that write what stands beside the pixels."""
    found: dict[str, object] = {key: image.info[key] for key in ("icc_profile", "exif") if key in image.info}
    text = image.info.get(DESCRIPTION)
    if text and file_format == "PNG":
        chunks = PngImagePlugin.PngInfo()
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
