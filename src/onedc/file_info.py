"""What a .1dc file says about itself, read without torch and without weights.

Knows the container, not the payload.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import BinaryIO, TypeAlias

from onedc.config import QUALITY_MAX
from onedc.container import GENERATED, SECTIONS, describe_model, unpack
from onedc.errors import FormatError
from onedc.header import SIDE_MAX_PX, VERSION, Form

File: TypeAlias = "str | os.PathLike[str] | bytes | BinaryIO"
"""A .1dc file: a path, its bytes, or a binary file object (also of zipfile, fsspec and the like)."""


@dataclass(frozen=True, kw_only=True)
class Info:
    """A .1dc file in figures. The checksum is not verified; decoding does that."""

    format_version: int
    form: str  # of the header: "full" or "compact"
    check_bits: int  # of the checksum; 0: the file has none, so that decoding it verifies nothing
    width: int  # pixels of the picture as coded
    height: int  # pixels of the picture as coded
    original_width: int | None  # pixels of the picture before it was shrunk; None: it was not
    original_height: int | None  # likewise
    size_bytes: int  # of the whole file
    bpp: float  # bits of the whole file for each pixel
    quality: float  # 0..100, as given to encode; 0: the semantic layer alone
    quality_byte: int  # 0..255, as stored
    model_id: int  # which weights decode it
    model: str  # the model id in words
    sections: tuple[str, ...]  # optional contents: "alpha", "ICC profile", "EXIF", or "unknown <id>"
    note: str  # what everyone who looks at the decoded picture should know


def info(source: File) -> Info:
    """Read what a .1dc file (a path, its bytes or a binary file object) says about itself.

    Raises:
        FormatError: not a .1dc file, a damaged header, or no such file.
    """
    data = read_file(source)
    try:
        header, _, sections, form = unpack(data, fingerprint=None, max_pixels=SIDE_MAX_PX**2)
    except FormatError as error:
        raise FormatError(f"{_name(source)}: {error}") from error
    original_width, original_height = header.original or (None, None)
    return Info(
        format_version=VERSION,
        form="full" if form is Form.FULL else "compact",
        check_bits=8 * form.check_bytes,
        width=header.width,
        height=header.height,
        original_width=original_width,
        original_height=original_height,
        size_bytes=len(data),
        bpp=8 * len(data) / (header.width * header.height),
        quality=_quality(header.quality),
        quality_byte=header.quality,
        model_id=header.model_id,
        model=describe_model(header.model_id),
        sections=tuple(SECTIONS.get(key, f"unknown {key}") for key in sections),
        note=note(header.model_id, header.quality),
    )


def note(model_id: int, quality_byte: int, *, parts: int = 4, verified: bool = True) -> str:
    """Who made up the details of a decoded picture, at which quality, from how many of the 4 parts of y."""
    layer = "" if parts == 4 else f" (from {parts} of 4 parts)"
    return (
        f"{GENERATED} model {model_id} at quality {_quality(quality_byte):g}"
        f"{layer if quality_byte else ' (the semantic layer alone)'}: plausible, not evidence"
        f"{'' if verified else '; the file was not verified'}"
    )


def read_file(source: File) -> bytes:
    """The bytes of a .1dc file.

    Raises:
        FormatError: nothing to read there, or not bytes.
    """
    if isinstance(source, (bytes, bytearray, memoryview)):
        return bytes(source)
    try:
        if isinstance(source, (str, os.PathLike)):
            with open(source, "rb") as file:
                return file.read()
        if not hasattr(source, "read"):
            raise FormatError(f"a .1dc file must be a path, bytes or a file, not {type(source).__name__}")
        data = source.read()
    except OSError as error:
        raise FormatError(f"{_name(source)}: cannot be read: {error.strerror or error}") from error
    if not isinstance(data, bytes):
        raise FormatError(f"{_name(source)}: is open as text; open it as binary")
    return data


def _name(source: File) -> str:
    return os.fspath(source) if isinstance(source, (str, os.PathLike)) else "data"


def _quality(quality_byte: int) -> float:
    return round(quality_byte * 100 / QUALITY_MAX, 1)
