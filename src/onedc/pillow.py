"""The Pillow format "1DC": `Image.open` and `image.save` for .1dc files. Registered by `import onedc`.

Opening reads the header alone; torch and the weights are loaded with the first pixels. Knows no networks.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any

from PIL import Image, ImageFile

from onedc.container.header import begins_file
from onedc.container.packing import SECTION_ALPHA, File, note, read_file, unpack
from onedc.container.side_data import DESCRIPTION, from_sections, info_of
from onedc.errors import ConfigError, FormatError, ImageError, OneDCError

if TYPE_CHECKING:
    from onedc.codec import Codec

FORMAT = "1DC"
_BESIDE = ("background", "effort", "max_side", "check")
_SAVE_OPTIONS = frozenset((*_BESIDE, "quality", "target_bytes", "shrink", "keep", "exif", "icc_profile"))
_chosen: Codec | None = None


def use(codec: Codec | None) -> None:
    """Have Pillow decode and encode with this codec from now on; None: with the bundled model."""
    global _chosen
    _chosen = codec


def open(source: File, *, codec: Codec | None = None) -> OneDCImageFile:
    """A .1dc file as a Pillow image: its size is known at once, its pixels are decoded when asked for.

    Args:
        source: a path, the bytes of a file, or a binary file object.
        codec: what decodes it; None: what `use` has chosen, or the bundled model on the CPU.

    Raises:
        FormatError: not a .1dc file, or a damaged header. Other damage is met with the first pixels.
    """
    data = read_file(source)
    name = os.fspath(source) if isinstance(source, (str, os.PathLike)) else ""
    if not begins_file(data):
        with _named(name, FormatError):
            unpack(data, fingerprint=None)
    image = OneDCImageFile(io.BytesIO(data), name)
    image.codec = codec
    return image


class DamagedFileError(FormatError, OSError):
    """A damaged .1dc file, in the kind of error by which Pillow and its users know damaged pictures."""


class OneDCImageFile(ImageFile.ImageFile):
    """A .1dc file whose size is known and whose pixels, RGB or RGBA, are decoded when they are asked for.

    Opening raises DamagedFileError, a FormatError and OSError, for a damaged header, profile or EXIF, `load`
    for any other damage and for a file of another model. Pillow's own limit, `Image.MAX_IMAGE_PIXELS`,
    holds here too.
    """

    format = FORMAT
    format_description = "One-step diffusion codec"
    codec: Codec | None = None
    """What decodes this file; None: what `use` has chosen."""
    _data = b""

    def _open(self) -> None:
        assert self.fp is not None
        self._data = self.fp.read()
        with _named(self.filename, DamagedFileError):
            header, _, sections, _ = unpack(self._data, fingerprint=None, max_pixels=None)
            beside = {key: body for key, body in sections.items() if key != SECTION_ALPHA}
            side_data = from_sections(beside, header.width, header.height)
        self._mode = "RGBA" if SECTION_ALPHA in sections else "RGB"
        self._size = header.width, header.height
        self.info[DESCRIPTION] = note(header.model_id, header.quality)
        self.info.update(info_of(side_data))

    def load(self) -> Any:
        """Decode, once."""
        if self._im is None and self._data:
            with _named(self.filename, DamagedFileError):
                decoded = (self.codec or _codec()).decode(self._data, max_pixels=Image.MAX_IMAGE_PIXELS)
            self.im = decoded.im
            self.info.update(decoded.info)
            self._data = b""
            if self._exclusive_fp and self.fp:
                self.fp.close()
            self.fp = None
        return super().load()

    def verify(self) -> None:
        """Check the checksum, which takes the weights but no decoding."""
        with _named(self.filename, DamagedFileError):
            (self.codec or _codec()).verify(self._data, max_pixels=Image.MAX_IMAGE_PIXELS)
        super().verify()


def _save(image: Image.Image, fp: IO[bytes], filename: str | bytes) -> None:
    """`image.save`: `quality` or `target_bytes`, and what else `Codec.encode` takes, of `_SAVE_OPTIONS`.

    `exif` and `icc_profile`, as other formats have them, are kept.
    """
    from onedc.target_size import DEFAULT_QUALITY

    options: dict[str, Any] = image.encoderinfo
    name = os.fsdecode(filename) or "image"
    if "quality" in options and "target_bytes" in options:
        raise ConfigError(f"{name}: give quality or target_bytes, not both")
    unknown = sorted(options.keys() - _SAVE_OPTIONS)
    if unknown:
        known = ", ".join(sorted(_SAVE_OPTIONS))
        raise ConfigError(f"{name}: save has no option {', '.join(unknown)}; it takes {known}")
    image, keep = _with_given(image, options)
    beside: dict[str, Any] = {key: options[key] for key in _BESIDE if key in options} | {"keep": keep}
    with _named(filename, ImageError):
        if "target_bytes" in options:
            shrink = options.get("shrink", True)
            data = _codec().encode_to_size(image, options["target_bytes"], shrink=shrink, **beside)
        else:
            data = _codec().encode(image, quality=options.get("quality", DEFAULT_QUALITY), **beside)
    fp.write(data)


def _with_given(image: Image.Image, options: dict[str, Any]) -> tuple[Image.Image, set[str]]:
    """The image with EXIF and profile that are given to `save`, and what to keep."""
    keep = options.get("keep", ())
    kept = {keep} if isinstance(keep, str) else set(keep)
    given = {"exif": options.get("exif"), "icc_profile": options.get("icc_profile")}
    if any(given.values()):
        image = image.copy()
    for key, value in given.items():
        if value:
            image.info[key] = value.tobytes() if isinstance(value, Image.Exif) else value
            kept.add(key.removesuffix("_profile"))
    return image, kept


def _codec() -> Codec:
    from onedc.loading import bundled_codec

    return _chosen or bundled_codec()


@contextmanager
def _named(filename: str | bytes, kind: type[OneDCError]) -> Iterator[None]:
    """Begin the message of an error of a file or a picture with the file's name, where it has one."""
    try:
        yield
    except (FormatError, ImageError) as error:
        name = os.fsdecode(filename)
        raise kind(f"{name}: {error}" if name else str(error)) from error


Image.register_open(FORMAT, OneDCImageFile, begins_file)
Image.register_save(FORMAT, _save)
Image.register_extension(FORMAT, ".1dc")
Image.register_mime(FORMAT, "image/x-1dc")
