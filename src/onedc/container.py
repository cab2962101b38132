"""The .1dc file round its coded payload: header, optional sections, checksum, limits.

One field list serves writing and reading; `docs/format.md` is normative. Plain Python, so that `onedc info`
starts fast. Must not know tensors, weights or the entropy coder.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import NamedTuple

from onedc.config import DOWNSAMPLING_PX, QUALITY_MAX
from onedc.errors import FormatError

MAGIC = 0x1DC0
MAGIC_BYTES = MAGIC.to_bytes(2, "big")
"""What every file begins with."""
VERSION = 1
SIDE_MAX_PX = 65535
"""Largest width or height that the format can state."""
DEFAULT_MAX_PIXELS = 1 << 26
"""Largest width * height that is decoded unless the caller allows more: 67 megapixels."""

EXPERIMENTAL_MODEL_ID = 0
PUBLISHED_MODELS = {1: "small"}
"""Models whose weights never change, by id."""
PRIVATE_MODEL_IDS = range(192, 256)

SKIPPABLE = 0x80
"""Bit of a section id: readers that do not know the section may ignore it."""
SECTION_ALPHA = 0x03
SECTION_ICC = 0x81
SECTION_EXIF = 0x82
SECTIONS = {SECTION_ALPHA: "alpha", SECTION_ICC: "ICC profile", SECTION_EXIF: "EXIF"}
"""Section ids of this version, with their names."""

_FLAG_SECTIONS = 0x1
_SECTION_END = 0x00
_VARINT_MOST_BYTES = 5


class _Field(NamedTuple):
    """One number of the header. `size` is in bytes, 0 for a number of variable length."""

    name: str
    size: int
    low: int
    high: int

    def write(self, value: int) -> bytes:
        return value.to_bytes(self.size, "big") if self.size else _varint(value)

    def read(self, data: bytes, at: int) -> tuple[int, int]:
        """The value and where the next field begins."""
        if not self.size:
            return _read_varint(data, at)
        if len(data) < at + self.size:
            raise FormatError("the file is cut short: its header is not complete")
        return int.from_bytes(data[at : at + self.size], "big"), at + self.size

    def check(self, value: int) -> None:
        if not self.low <= value <= self.high:
            raise FormatError(f"header: {self.name} {value} is not between {self.low} and {self.high}")


_FIELDS = (
    _Field("magic", 2, MAGIC, MAGIC),
    _Field("form", 1, VERSION << 4, VERSION << 4 | _FLAG_SECTIONS),  # four bits of version, four of flags
    _Field("model_id", 1, 0, 255),
    _Field("quality", 1, 0, QUALITY_MAX),
    _Field("checksum", 3, 0, 0xFFFFFF),
    _Field("width", 0, 1, SIDE_MAX_PX),
    _Field("height", 0, 1, SIDE_MAX_PX),
)
"""The header in file order; writing, reading and the documentation's table follow it."""

_CHECKSUM = slice(5, 8)
"""Where the checksum stands; every field up to it has a fixed size."""


@dataclass(frozen=True, kw_only=True)
class Header:
    """What a file says about itself."""

    model_id: int  # which weights made the file, 0..255
    quality: int  # quality byte, 0..255; 0: no y section
    width: int  # of the picture, in pixels
    height: int  # of the picture, in pixels

    def __post_init__(self) -> None:
        values = asdict(self)
        for field in _FIELDS:
            if field.name in values:
                field.check(values[field.name])

    @property
    def positions(self) -> int:
        """Number of positions of z: squares of 64x64 pixels that cover the picture."""
        down, across = positions_of(self.width, self.height)
        return down * across


def positions_of(width: int, height: int) -> tuple[int, int]:
    """Positions of z, down and across, of a picture of `width` x `height` pixels."""
    return -(-height // DOWNSAMPLING_PX), -(-width // DOWNSAMPLING_PX)


class Contents(NamedTuple):
    """A file taken apart."""

    header: Header
    payload: bytes  # z, then y
    sections: dict[int, bytes]  # section id -> body, in file order; skippable unknown ones included


def pack(
    header: Header, payload: bytes, fingerprint: bytes, sections: Mapping[int, bytes] | None = None
) -> bytes:
    """The bytes of a file.

    `fingerprint` names the integer tables and the seam's weights; the checksum covers it, the file does not
    hold it.

    Raises:
        FormatError: an unknown section id.
    """
    sections = sections or {}
    unknown = sorted(set(sections) - set(SECTIONS))
    if unknown:
        raise FormatError(f"section id {unknown[0]} is not defined in format version {VERSION}")
    form = VERSION << 4 | (_FLAG_SECTIONS if sections else 0)
    values = {"magic": MAGIC, "form": form, "checksum": 0, **asdict(header)}
    head = b"".join(field.write(values[field.name]) for field in _FIELDS)
    return seal(head + _pack_sections(sections) + payload, fingerprint)


def unpack(
    data: bytes,
    *,
    fingerprint: bytes | None,
    model_id: int | None = None,
    max_pixels: int = DEFAULT_MAX_PIXELS,
    least_position_bits: float = 0.0,
    partial: bool = False,
) -> Contents:
    """Take a file apart and check it.

    `fingerprint` None, or `partial`, leaves the checksum unverified. `model_id` is the one that the caller
    can decode. `least_position_bits` bounds the declared size by the payload: no position of z costs fewer.

    Raises:
        FormatError: not a .1dc file, damaged, of another version or model, or larger than allowed.
    """
    contents = _parse(data)
    header = contents.header
    if model_id is not None and header.model_id != model_id:
        raise FormatError(
            f"the file needs model {describe_model(header.model_id)}; loaded is {describe_model(model_id)}"
        )
    if header.width * header.height > max_pixels:
        raise FormatError(
            f"the file declares {header.width}x{header.height} pixels, more than the limit of {max_pixels}; "
            "raise max_pixels if you trust it"
        )
    least_bytes = least_payload_bytes(header, least_position_bits)
    if len(contents.payload) < least_bytes:
        raise FormatError(
            f"the file is cut short or damaged: {header.width}x{header.height} pixels take at least "
            f"{least_bytes} bytes, there are {len(contents.payload)}"
        )
    if fingerprint is not None and not partial:
        verify(data, fingerprint)
    return contents


def read_header(data: bytes) -> Header:
    """The header of a file, whose checksum stays unverified.

    Raises:
        FormatError: not a .1dc file, or a damaged one.
    """
    return _parse(data).header


def seal(data: bytes, fingerprint: bytes) -> bytes:
    """The same file with the checksum that belongs to its bytes and the fingerprint."""
    return data[: _CHECKSUM.start] + _checksum(data, fingerprint) + data[_CHECKSUM.stop :]


def verify(data: bytes, fingerprint: bytes) -> None:
    """Check the checksum.

    Raises:
        FormatError: it does not fit the bytes and the fingerprint.
    """
    if data[_CHECKSUM] != _checksum(data, fingerprint):
        raise FormatError("checksum mismatch: the file is damaged, or was made with other weights")


def _checksum(data: bytes, fingerprint: bytes) -> bytes:
    """Low 24 bits of the CRC-32 of the fingerprint and of all bytes of the file but the checksum itself."""
    crc = zlib.crc32(data[: _CHECKSUM.start], zlib.crc32(fingerprint))
    crc = zlib.crc32(memoryview(data)[_CHECKSUM.stop :], crc)
    return (crc & 0xFFFFFF).to_bytes(_CHECKSUM.stop - _CHECKSUM.start, "big")


def least_payload_bytes(header: Header, least_position_bits: float) -> int:
    """Bytes without which no payload can hold z, if each of its positions costs at least that many bits.

    One byte is taken off because the end rule of the payload may imply one zero byte.
    """
    bits = int(header.positions * least_position_bits)
    return max(0, -(-bits // 8) - 1)


def describe_model(model_id: int) -> str:
    """A model id in words."""
    if model_id == EXPERIMENTAL_MODEL_ID:
        return f"{model_id} (experimental: its weights may change with any version of onedc)"
    if model_id in PUBLISHED_MODELS:
        return f"{model_id} ({PUBLISHED_MODELS[model_id]})"
    if model_id in PRIVATE_MODEL_IDS:
        return f"{model_id} (private: weights converted by a user, who must be asked for them)"
    return f"{model_id} (unknown to this version of onedc; a newer one may have it)"


def _parse(data: bytes) -> Contents:
    """Everything that can be checked without a fingerprint, a model or a limit."""
    if data[:2] != MAGIC_BYTES:
        raise FormatError("not a .1dc file: it does not begin with the bytes 1D C0")
    values: dict[str, int] = {}
    at = 0
    for field in _FIELDS:
        values[field.name], at = field.read(data, at)
        if field.name == "form":
            _check_form(values["form"])
        field.check(values[field.name])
    header = Header(**{name: values[name] for name in ("model_id", "quality", "width", "height")})
    sections: dict[int, bytes] = {}
    if values["form"] & _FLAG_SECTIONS:
        sections, at = _read_sections(data, at)
    return Contents(header, data[at:], sections)


def _check_form(form: int) -> None:
    version, flags = form >> 4, form & 0xF
    if version != VERSION:
        raise FormatError(f"format version {version} is not {VERSION}: get another version of onedc")
    if flags & ~_FLAG_SECTIONS:
        raise FormatError(f"header: flags {flags:#x} are not defined in format version {VERSION}")


def _varint(value: int) -> bytes:
    """Seven bits a byte, the lowest first; the top bit says that more follow."""
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for index in range(_VARINT_MOST_BYTES):
        if at + index >= len(data):
            raise FormatError("the file is cut short: its header is not complete")
        byte = data[at + index]
        value |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            if byte == 0 and index:
                break
            return value, at + index + 1
    raise FormatError("header: a number is not in its shortest form")


def _pack_sections(sections: Mapping[int, bytes]) -> bytes:
    if not sections:
        return b""
    packed = (bytes([key]) + _varint(len(body)) + body for key, body in sorted(sections.items()))
    return b"".join(packed) + bytes([_SECTION_END])


def _read_sections(data: bytes, at: int) -> tuple[dict[int, bytes], int]:
    sections: dict[int, bytes] = {}
    last = _SECTION_END
    while True:
        if at >= len(data):
            raise FormatError("the file is cut short: its sections are not complete")
        key = data[at]
        if key == _SECTION_END and sections:
            return sections, at + 1
        if key <= last:
            raise FormatError(f"section {key} is out of order, or there is none")
        if key not in SECTIONS and not key & SKIPPABLE:
            raise FormatError(f"section {key} is unknown to this version of onedc and may not be skipped")
        length, at = _read_varint(data, at + 1)
        if length > len(data) - at:
            raise FormatError(f"the file is cut short: section {key} is not complete")
        sections[key] = data[at : at + length]
        at += length
        last = key
