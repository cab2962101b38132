"""What a .1dc file says about itself, read without torch and without weights.

Knows the container, not the payload.
"""

from __future__ import annotations

from dataclasses import dataclass

from onedc.container.header import FORMAT_MAX_SIDE_PX, VERSION, Form
from onedc.container.packing import (
    SECTIONS,
    File,
    describe_model,
    name_of,
    note,
    quality_of,
    read_file,
    unpack,
)
from onedc.errors import FormatError


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
        header, _, sections, form = unpack(data, fingerprint=None, max_pixels=FORMAT_MAX_SIDE_PX**2)
    except FormatError as error:
        raise FormatError(f"{name_of(source)}: {error}") from error
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
        quality=quality_of(header.quality),
        quality_byte=header.quality,
        model_id=header.model_id,
        model=describe_model(header.model_id),
        sections=tuple(SECTIONS.get(key, f"unknown {key}") for key in sections),
        note=note(header.model_id, header.quality),
    )
