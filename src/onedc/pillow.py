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

from onedc.container import SECTION_ALPHA, unpack
from onedc.errors import ConfigError, FormatError, ImageError, OneDCError
from onedc.extras import DESCRIPTION
from onedc.file_info import File, note, read_file
from onedc.header import SIDE_MAX_PX, begins_file

if TYPE_CHECKING:
    from onedc.codec import Codec

FORMAT = "1DC"
_OPTIONS = ("background", "keep", "effort", "max_side", "check")
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
    if not _accept(data):
        with _named(name):
            unpack(data, fingerprint=None)
    image = OneDCImageFile(io.BytesIO(data), name)
    image.codec = codec
    return image


class OneDCImageFile(ImageFile.ImageFile):
    """A .1dc file whose size is known and whose pixels, RGB or RGBA, are decoded when they are asked for.

    Opening raises FormatError for a damaged header, `load` for any other damage and for a file of another
    model. Pillow's own limit, `Image.MAX_IMAGE_PIXELS`, holds here too.
    """

    format = FORMAT
    format_description = "One-step diffusion codec"
    codec: Codec | None = None
    """What decodes this file; None: what `use` has chosen."""
    _data = b""

    def _open(self) -> None:
        assert self.fp is not None
        self._data = self.fp.read()
        with _named(self.filename):
            header, _, sections, _ = unpack(self._data, fingerprint=None, max_pixels=SIDE_MAX_PX**2)
        self._mode = "RGBA" if SECTION_ALPHA in sections else "RGB"
        self._size = header.width, header.height
        self.info[DESCRIPTION] = note(header.model_id, header.quality)

    def load(self) -> Any:
        """Decode, once."""
        if self._im is None and self._data:
            with _named(self.filename):
                decoded = (self.codec or _codec()).decode(self._data, max_pixels=_max_pixels())
            self.im = decoded.im
            self.info.update(decoded.info)
            self._data = b""
            if self._exclusive_fp and self.fp:
                self.fp.close()
            self.fp = None
        return super().load()

    def verify(self) -> None:
        """Check the checksum, which takes the weights but no decoding."""
        with _named(self.filename):
            (self.codec or _codec()).verify(self._data, max_pixels=_max_pixels())
        super().verify()


def _max_pixels() -> int:
    """Pillow's own limit, which its users change where they need more."""
    return Image.MAX_IMAGE_PIXELS or SIDE_MAX_PX**2


def _accept(prefix: bytes) -> bool:
    return begins_file(prefix)


def _save(image: Image.Image, fp: IO[bytes], filename: str | bytes) -> None:
    """`image.save`: `quality` or `target_bytes`, and what else `Codec.encode` takes, of `_OPTIONS`."""
    from onedc.rate import DEFAULT_QUALITY

    options: dict[str, Any] = image.encoderinfo
    name = os.fsdecode(filename) or "image"
    if "quality" in options and "target_bytes" in options:
        raise ConfigError(f"{name}: give quality or target_bytes, not both")
    beside = {name: options[name] for name in _OPTIONS if name in options}
    with _named(filename, ImageError):
        if "target_bytes" in options:
            shrink = options.get("shrink", True)
            data = _codec().encode_to_size(image, options["target_bytes"], shrink=shrink, **beside)
        else:
            data = _codec().encode(image, quality=options.get("quality", DEFAULT_QUALITY), **beside)
    fp.write(data)


def _codec() -> Codec:
    from onedc.loading import bundled_codec

    return _chosen or bundled_codec()


@contextmanager
def _named(filename: str | bytes, kind: type[OneDCError] = FormatError) -> Iterator[None]:
    """Begin the message of an error of this kind with the file's name, where it has one."""
    try:
        yield
    except kind as error:
        name = os.fsdecode(filename)
        raise kind(f"{name}: {error}" if name else str(error)) from error


Image.register_open(FORMAT, OneDCImageFile, _accept)
Image.register_save(FORMAT, _save)
Image.register_extension(FORMAT, ".1dc")
Image.register_mime(FORMAT, "image/x-1dc")
