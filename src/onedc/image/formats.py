"""Opening picture files: which formats are read, by what; which page; raw files, which are refused; remarks.

A file's content decides, not its name. Pillow is told what it may try: some formats start programs.
"""

from __future__ import annotations

import io
import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from typing import Any, BinaryIO, NamedTuple

from PIL import Image, TiffImagePlugin

from onedc.errors import ImageError, PictureWarning, one_line


class _Plugin(NamedTuple):
    """A package that teaches Pillow a format."""

    module: str
    package: str
    suffixes: tuple[str, ...]

    @property
    def there(self) -> bool:
        return find_spec(self.module) is not None


_PLUGINS = {
    "HEIF": _Plugin("pillow_heif", "pillow-heif", (".heic", ".heif", ".hif")),
    "JXL": _Plugin("pillow_jxl", "pillow-jxl-plugin", (".jxl",)),
}

FORMATS = tuple("PNG JPEG WEBP AVIF TIFF GIF BMP DIB JPEG2000 PPM QOI ICO PSD 1DC TGA".split())
"""What Pillow may try, in this order (MPO is a JPEG to it); TGA's files do not say what they are."""

READABLE_SUFFIXES = frozenset(
    ".apng .avif .bmp .dib .gif .ico .j2c .j2k .jfif .jp2 .jpc .jpe .jpeg .jpf .jpg .jpx .mpo .pbm .pgm .png "
    ".pnm .ppm .psd .qoi .tga .tif .tiff .webp".split()
) | {suffix for plugin in _PLUGINS.values() if plugin.there for suffix in plugin.suffixes}
"""What counts as a picture when a whole folder is read."""

MISSING_PLUGINS = {
    suffix: f"pip install {plugin.package}"
    for plugin in _PLUGINS.values()
    if not plugin.there
    for suffix in plugin.suffixes
}
"""What would make files of other suffixes readable."""

_HEIF_BRANDS = frozenset(
    (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"hevm", b"hevs", b"mif1", b"msf1")
)
_JXL_STARTS = (b"\xff\x0a", b"\x00\x00\x00\x0cJXL \r\n\x87\n")

_STILL_WITH_FRAMES = frozenset({"MPO", "PSD", "HEIF"})
"""Formats whose first or primary frame is the picture, and the others previews, layers or takes of it."""

_SUBFILE, _OLD_SUBFILE, _PHOTOMETRIC, _SUB_IFDS, _DNG_VERSION = 254, 255, 262, 330, 50706
_RAW_PHOTOMETRICS = (32803, 34892)  # colour filter array, linear raw


@contextmanager
def as_file(source: str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO) -> Iterator[BinaryIO]:
    """A file that can be read again and again. Raises OSError."""
    if isinstance(source, (str, os.PathLike)):
        with open(source, "rb") as file:
            yield file
    elif isinstance(source, (bytes, bytearray, memoryview)):
        yield io.BytesIO(source)
    elif getattr(source, "seekable", lambda: hasattr(source, "seek"))():
        yield source
    else:
        yield io.BytesIO(source.read())


def open_picture(file: BinaryIO, name: str) -> Image.Image:
    """Open a picture lazily, by one of the formats that are read.

    Raises:
        ImageError: it needs a package that is not installed. Pillow's own errors: anything else.
    """
    file.seek(0)
    head = file.read(64)
    file.seek(0)
    wanted = _format_of_plugin(head)
    if wanted is None:
        return Image.open(file, formats=FORMATS)
    plugin = _PLUGINS[wanted]
    if not plugin.there:
        raise ImageError(f"{name}: {wanted} files need one more package: pip install {plugin.package}")
    module = import_module(plugin.module)
    if wanted == "HEIF" and "HEIF" not in Image.OPEN:
        module.register_heif_opener()
    return Image.open(file, formats=(wanted,))


def _format_of_plugin(head: bytes) -> str | None:
    if head.startswith(_JXL_STARTS):
        return "JXL"
    if head[4:8] != b"ftyp":
        return None
    brands = {head[place : place + 4] for place in range(8, min(len(head), int.from_bytes(head[:4])), 4)}
    return "HEIF" if brands & _HEIF_BRANDS and not brands & {b"avif", b"avis"} else None


def choose_page(image: Image.Image, page: int | None, name: str) -> None:
    """Go to a page or frame, counted from 1; None: the only one there is, or the primary one.

    Pages of a TIFF that say that they are reduced pictures of another one do not count.

    Raises:
        ImageError: there is no such page, there are several to choose from, or a raw file.
    """
    frames = list(range(getattr(image, "n_frames", 1)))
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        _refuse_raw(image, name)
        frames = [frame for frame in frames if not _is_reduced(image, frame)] or [0]
    if page is None:
        if len(frames) > 1 and image.format not in _STILL_WITH_FRAMES:
            raise ImageError(
                f"{name}: holds {len(frames)} frames or pages, .1dc holds one; choose one, for example "
                "--page 1 (in Python page=1)"
            )
        if image.format not in _STILL_WITH_FRAMES:
            image.seek(frames[0])
    elif 1 <= page <= len(frames):
        image.seek(frames[page - 1])
    else:
        raise ImageError(f"{name}: has no page {page}; its pages are 1 to {len(frames)}")


def _is_reduced(image: TiffImagePlugin.TiffImageFile, frame: int) -> bool:
    image.seek(frame)
    return bool(image.tag_v2.get(_SUBFILE, 0) & 1) or image.tag_v2.get(_OLD_SUBFILE) == 2


def _refuse_raw(image: TiffImagePlugin.TiffImageFile, name: str) -> None:
    """Raise ImageError where the picture to be seen is the preview of another one in the same directory."""
    tags = image.tag_v2
    raw = (
        _DNG_VERSION in tags
        or tags.get(_PHOTOMETRIC) in _RAW_PHOTOMETRICS
        or beginning(image.fp, 10)[8:] == b"CR"
    )
    alone = getattr(image, "n_frames", 1) == 1 and _is_reduced(image, 0)
    if raw or alone or any(width > image.width for width in _sub_widths(image)):
        raise ImageError(
            f"{name}: is a raw file, or holds a larger picture than the {image.width}x{image.height} preview "
            "that can be read; convert it to TIFF, PNG or JPEG first"
        )


def beginning(file: Any, count: int) -> bytes:
    """The first bytes of an open file, which stays where it is."""
    place = file.tell()
    file.seek(0)
    head: bytes = file.read(count)
    file.seek(place)
    return head


def _sub_widths(image: TiffImagePlugin.TiffImageFile) -> Iterator[int]:
    """Widths of the pictures in the subdirectories of the first page."""
    file: Any = image.fp
    offsets = image.tag_v2.get(_SUB_IFDS, ())
    for offset in offsets if isinstance(offsets, tuple) else (offsets,):
        directory = TiffImagePlugin.ImageFileDirectory_v2(beginning(image.fp, 8))
        place = file.tell()
        file.seek(offset)
        directory.load(file)
        file.seek(place)
        yield int(directory.get(256, 0))


_LOCK = threading.RLock()
"""Python keeps one list of warning filters for all threads."""


class Remarks:
    """Collects remarks on one picture.

    Args:
        name: of the picture, which begins each remark.
        strict: refuse with the first remark.
    """

    def __init__(self, name: str, *, strict: bool = False) -> None:
        self.name, self._strict = name, strict
        self._texts: dict[str, None] = {}

    def add(self, text: str) -> None:
        """Remember a remark, once. Raises ImageError if strict."""
        if self._strict:
            raise ImageError(f"{self.name}: {text}")
        self._texts[text] = None

    def tell(self) -> None:
        """Warn of all that was remembered."""
        for text in self._texts:
            with _LOCK:
                warnings.warn(PictureWarning(f"{self.name}: {text}"), stacklevel=4)

    @contextmanager
    def of_pillow(self) -> Iterator[None]:
        """Turn what Pillow warns of into remarks; our own limit of pixels stands in for Pillow's warning."""
        with _LOCK, warnings.catch_warnings(record=True) as heard:
            warnings.simplefilter("always")
            yield
        for warning in heard:
            ours = issubclass(warning.category, UserWarning) and not issubclass(
                warning.category, PictureWarning
            )
            if ours and not issubclass(warning.category, Image.DecompressionBombWarning):
                self.add(one_line(warning.message).rstrip(". "))
