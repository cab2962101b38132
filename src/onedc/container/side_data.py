"""What a .1dc file may carry beside the picture: alpha, colour profile, EXIF; to sections and back.

Pillow and zlib only; the bodies of the sections are defined in docs/format.md. Knows no codec.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

from PIL import Image, ImageCms

from onedc.container.packing import SECTION_ALPHA, SECTION_EXIF, SECTION_ICC
from onedc.errors import FormatError

MAX_BYTES = 1 << 22
"""Largest profile or EXIF that is read: 4 MiB."""

DESCRIPTION = "Description"
"""Key of a Pillow image's info, and of a PNG's text chunk, that says what the picture is."""

_PNG_START = b"\x89PNG\r\n\x1a\n"
_ICC_HEADER, _ICC_ENTRY = 128, 12
_ICC_COLOUR_TAGS = frozenset(
    "desc wtpt chad rXYZ gXYZ bXYZ rTRC gTRC bTRC A2B0 A2B1 A2B2 B2A0 B2A1 B2A2 cicp".split()
)
_ICC_MADE = (slice(4, 8), slice(24, 36), slice(40, 44), slice(48, 64), slice(80, 100))
"""Parts of the header that say by whom, when and for what the profile was made, and its digest: zeroed."""


@dataclass(frozen=True, kw_only=True)
class SideData:
    """What stands beside the picture; None for what does not."""

    alpha: Image.Image | None = None  # mode L, of the picture's size
    icc: bytes | None = None  # an RGB profile
    exif: bytes | None = None  # begins with the byte order mark


def to_sections(side_data: SideData) -> dict[int, bytes]:
    """Bodies of the sections that hold this."""
    sections = {}
    if side_data.alpha is not None:
        sections[SECTION_ALPHA] = _alpha_body(side_data.alpha)
    if side_data.icc is not None:
        sections[SECTION_ICC] = _deflated(compact_profile(side_data.icc))
    if side_data.exif is not None:
        sections[SECTION_EXIF] = _deflated(side_data.exif)
    return sections


def from_sections(sections: Mapping[int, bytes], width: int, height: int) -> SideData:
    """What stands beside the picture of a file whose picture has this size.

    Raises:
        FormatError: a section that holds something else, or more than MAX_BYTES.
    """
    found = {}
    for key, name in ((SECTION_ICC, "ICC profile"), (SECTION_EXIF, "EXIF")):
        found[key] = _inflated(sections[key], name) if key in sections else None
    alpha = _alpha_plane(sections[SECTION_ALPHA], width, height) if SECTION_ALPHA in sections else None
    return SideData(alpha=alpha, icc=found[SECTION_ICC], exif=found[SECTION_EXIF])


def info_of(side_data: SideData) -> dict[str, bytes]:
    """Profile and EXIF as a Pillow image's info holds them."""
    found = {}
    if side_data.icc is not None:
        found["icc_profile"] = side_data.icc
    if side_data.exif is not None:
        found["exif"] = b"Exif\0\0" + side_data.exif
    return found


def apply_profile(image: Image.Image, profile: bytes) -> Image.Image:
    """An sRGB picture in the colours of an RGB profile, which it then holds in its info.

    Raises:
        FormatError: the profile cannot be used.
    """
    try:
        target = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        converted = ImageCms.profileToProfile(image, ImageCms.createProfile("sRGB"), target)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError) as error:
        raise FormatError(f"the file's ICC profile cannot be used: {error}") from error
    assert converted is not None
    converted.info["icc_profile"] = profile
    return converted


def compact_profile(profile: bytes) -> bytes:
    """A profile of the same colours without what does not bear on them; one that cannot be parsed stays."""
    try:
        return _stripped(profile)
    except (struct.error, ValueError, IndexError):
        return profile


def _stripped(profile: bytes) -> bytes:
    (count,) = struct.unpack_from(">I", profile, _ICC_HEADER)
    entries = [
        struct.unpack_from(">4sII", profile, _ICC_HEADER + 4 + _ICC_ENTRY * index) for index in range(count)
    ]
    kept = [entry for entry in entries if entry[0].decode("latin-1") in _ICC_COLOUR_TAGS]
    table, body = b"", b""
    start = _ICC_HEADER + 4 + _ICC_ENTRY * len(kept)
    places: dict[bytes, int] = {}
    for name, offset, size in kept:
        value = profile[offset : offset + size]
        if len(value) != size:
            raise ValueError("a tag beyond the end")
        if value not in places:
            places[value] = start + len(body)
            body += value + bytes(-size % 4)
        table += struct.pack(">4sII", name, places[value], size)
    head = bytearray(profile[:_ICC_HEADER])
    head[:4] = struct.pack(">I", start + len(body))
    for made in _ICC_MADE:
        head[made] = bytes(made.stop - made.start)
    return bytes(head) + struct.pack(">I", len(kept)) + table + body


def _deflated(data: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(data) + packer.flush()


def _inflated(body: bytes, name: str, most: int = MAX_BYTES) -> bytes:
    unpacker = zlib.decompressobj(-15)
    try:
        data = unpacker.decompress(body, most + 1)
    except zlib.error as error:
        raise FormatError(f"the file's {name} section is damaged") from error
    if not unpacker.eof or unpacker.unused_data or len(data) > most:
        raise FormatError(f"the file's {name} section is damaged, or holds more than {most} bytes")
    return data


def _alpha_body(alpha: Image.Image) -> bytes:
    """The bit depth, 1 where all is clear or opaque and else 8; then the rows of a grey PNG, deflated."""
    import numpy as np

    plane = np.asarray(alpha)
    hard = bool(((plane == 0) | (plane == 255)).all())
    rows = np.packbits(plane > 0, axis=1) if hard else plane
    left = np.pad(rows, ((0, 0), (1, 0)))[:, :-1]
    above = np.pad(rows, ((1, 0), (0, 0)))[:-1]
    filtered = {0: rows, 1: rows - left, 2: rows - above}
    bodies = (_deflated(np.insert(values, 0, kind, axis=1).tobytes()) for kind, values in filtered.items())
    return bytes([1 if hard else 8]) + min(bodies, key=len)


def _alpha_plane(body: bytes, width: int, height: int) -> Image.Image:
    """The plane [height x width], mode L, of an alpha section."""
    if not body or body[0] not in (1, 8):
        raise FormatError("the file's alpha section is damaged: its bit depth is neither 1 nor 8")
    row = 1 + -(-width * body[0] // 8)
    rows = _inflated(body[1:], "alpha", height * row)
    if len(rows) != height * row or max(rows[::row]) > 4:
        raise FormatError("the file's alpha section is damaged")
    size = struct.pack(">II5B", width, height, body[0], 0, 0, 0, 0)
    chunks = (_chunk(b"IHDR", size), _chunk(b"IDAT", zlib.compress(rows, 1)), _chunk(b"IEND", b""))
    with Image.open(io.BytesIO(_PNG_START + b"".join(chunks)), formats=("PNG",)) as image:
        return image.convert("L")


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
