"""The Pillow format "1DC": `Image.open` and `image.save` for .1dc files. Registered by `import onedc`.

Opening reads the header alone; torch and the weights are loaded with the first pixels. Knows no networks.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any

from PIL import Image, ImageFile

from onedc.container import MAGIC, SIDE_MAX_PX, read_header, unpack
from onedc.errors import ConfigError, FormatError

if TYPE_CHECKING:
    from onedc.codec import Codec

FORMAT = "1DC"
_MAGIC_BYTES = MAGIC.to_bytes(2, "big")
_chosen: Codec | None = None


def use(codec: Codec | None) -> None:
    """Have Pillow decode and encode with this codec from now on; None: with the bundled model."""
    global _chosen
    _chosen = codec


class OneDCImageFile(ImageFile.ImageFile):
    """A .1dc file whose size is known and whose pixels, RGB, are decoded when they are asked for.

    Opening raises FormatError for a damaged header, `load` for any other damage and for a file of another
    model. Pillow's own limit, `Image.MAX_IMAGE_PIXELS`, holds here too.
    """

    format = FORMAT
    format_description = "One-step diffusion codec"
    _data = b""

    def _open(self) -> None:
        assert self.fp is not None
        self._data = self.fp.read()
        with _named(self.filename):
            header = read_header(self._data)
        self._mode, self._size = "RGB", (header.width, header.height)

    def load(self) -> Any:
        """Decode, once."""
        if self._im is None and self._data:
            limit = Image.MAX_IMAGE_PIXELS or SIDE_MAX_PX**2
            with _named(self.filename):
                self.im = _codec().decode(self._data, max_pixels=limit).im
            self._data = b""
            if self._exclusive_fp and self.fp:
                self.fp.close()
            self.fp = None
        return super().load()

    def verify(self) -> None:
        """Check the checksum, which takes the weights but no decoding."""
        codec = _codec()
        with _named(self.filename):
            unpack(self._data, fingerprint=codec.fingerprint, model_id=codec.model_id)
        super().verify()


def _accept(prefix: bytes) -> bool:
    return prefix.startswith(_MAGIC_BYTES)


def _save(image: Image.Image, fp: IO[bytes], filename: str | bytes) -> None:
    """`image.save`, with `quality` (0 to 100) or `target_bytes`, and `background` for transparent places."""
    from onedc.codec import DEFAULT_QUALITY
    from onedc.image import to_rgb

    options: dict[str, Any] = image.encoderinfo
    name = os.fsdecode(filename) or "image"
    if "quality" in options and "target_bytes" in options:
        raise ConfigError(f"{name}: give quality or target_bytes, not both")
    pixels = to_rgb(image, background=options.get("background"), name=name)
    if "target_bytes" in options:
        fp.write(_codec().encode_to_size(pixels, options["target_bytes"]))
    else:
        fp.write(_codec().encode(pixels, quality=options.get("quality", DEFAULT_QUALITY)))


def _codec() -> Codec:
    from onedc.codec import bundled_codec

    return _chosen or bundled_codec()


@contextmanager
def _named(filename: str | bytes) -> Iterator[None]:
    """Begin the message of a FormatError with the file's name, where it has one."""
    try:
        yield
    except FormatError as error:
        name = os.fsdecode(filename)
        raise FormatError(f"{name}: {error}" if name else str(error)) from error


Image.register_open(FORMAT, OneDCImageFile, _accept)
Image.register_save(FORMAT, _save)
Image.register_extension(FORMAT, ".1dc")
Image.register_mime(FORMAT, "image/x-1dc")
