"""Sections 1 and 2 of the page: the header and the sections behind it."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

from tests.conformance.from_the_page.refusal import RefusedError, require

RATIOS = (1, 1), (3, 2), (2, 3), (4, 3), (3, 4), (16, 9), (9, 16), (5, 4)
RATIOS += (4, 5), (2, 1), (1, 2), (8, 5), (5, 8), (20, 9), (9, 20)
ALPHA, PROFILE, EXIF = 0x03, 0x81, 0x82
MOST_SECTION_BYTES = 4194304
FULL, COMPACT, UNCHECKED = 12, 11, 6


@dataclass(frozen=True)
class Header:
    """Section 1. The sides are those of the picture that the payload holds."""

    form: int
    model_id: int
    quality: int
    width: int
    height: int
    original: tuple[int, int] | None
    has_sections: bool
    checksum: slice
    length: int


class Fields:
    """Fields of a header, the highest bit first."""

    def __init__(self, data: bytes) -> None:
        self._data, self.bit = data, 0

    def take(self, bits: int) -> int:
        value = 0
        for at in range(self.bit, self.bit + bits):
            require(at // 8 < len(self._data), "the header is not complete")
            value = value << 1 | self._data[at // 8] >> 7 - at % 8 & 1
        self.bit += bits
        return value

    def variable(self, most_bytes: int) -> int:
        """A number of variable length, in its shortest form."""
        value = 0
        for at in range(most_bytes):
            byte = self.take(8)
            value |= (byte & 127) << 7 * at
            if byte < 128:
                require(at == 0 or byte > 0, "a number is not in its shortest form")
                return value
        raise RefusedError("a number is too long")


def parse_header(data: bytes) -> Header:
    """The header of a file, whatever the model.

    Raises:
        RefusedError: the page says so.
    """
    fields = Fields(data)
    require(fields.take(8) == 0x1D, "magic")
    form = fields.take(4)
    if form == FULL:
        return _full(fields)
    require(form in (COMPACT, UNCHECKED), "form")
    require(form == UNCHECKED or len(data) <= 1024, "a compact file is too large")
    return _compact(fields, form)


def _full(fields: Fields) -> Header:
    require(fields.take(4) == 0, "reserved")
    require(fields.take(4) == 1, "version")
    flags = fields.take(4)
    require(flags & 6 == 0, "flags")
    model_id, quality = fields.take(8), fields.take(8)
    fields.take(24)
    sides = fields.variable(3), fields.variable(3)
    working = fields.variable(3) if flags & 8 else None
    return _header(fields, FULL, model_id, quality, sides, working, bool(flags & 1), slice(5, 8))


def _compact(fields: Fields, form: int) -> Header:
    flags = fields.take(4)
    shrunk, by_ratio = bool(flags & 8), bool(flags & 4)
    checksum = slice(2, 3) if form == COMPACT else slice(0, 0)
    fields.take(8 if form == COMPACT else 0)
    model_id = fields.take(8) if flags & 2 else 1
    require(not (flags & 2 and model_id == 1), "model 1 is named")
    quality = fields.take(8) if flags & 1 else 0
    require(not (flags & 1 and quality == 0), "quality 0 is named")
    if by_ratio:
        ratio = fields.take(4)
        require(ratio < 15, "ratio 15")
        sides = _sides(fields.take(16 if shrunk else 12) + 1, *RATIOS[ratio])
    else:
        bits = 14 if shrunk else 12
        sides = fields.take(bits) + 1, fields.take(bits) + 1
    same = [i for i, (a, b) in enumerate(RATIOS) if _sides(max(sides), a, b) == sides]
    require(same[0] == ratio if by_ratio else not same, "the sides are not in their shortest form")
    working = fields.take(12) + 1 if shrunk else None
    return _header(fields, form, model_id, quality, sides, working, False, checksum)


def _header(
    fields: Fields,
    form: int,
    model_id: int,
    quality: int,
    sides: tuple[int, int],
    working: int | None,
    has_sections: bool,
    checksum: slice,
) -> Header:
    require(all(1 <= side <= 65535 for side in sides), "sides")
    original = None
    if working is not None:
        require(1 <= working < max(sides), "the picture is not shrunk")
        original, sides = sides, _sides(working, *sides)
    return Header(form, model_id, quality, *sides, original, has_sections, checksum, fields.bit // 8)


def _sides(longer: int, a: int, b: int) -> tuple[int, int]:
    """Width and height of a picture of a:b with that longer side."""
    shorter = max(1, (2 * longer * min(a, b) + max(a, b)) // (2 * max(a, b)))
    return (longer, shorter) if a >= b else (shorter, longer)


def checksum(data: bytes, header: Header, fingerprint: bytes) -> bytes:
    covered = fingerprint + data[: header.checksum.start] + data[header.checksum.stop :]
    if header.form == FULL:
        return (zlib.crc32(covered) & 0xFFFFFF).to_bytes(3, "big")
    crc = 0xFF
    for byte in covered:
        crc ^= byte
        for _ in range(8):
            crc = crc << 1 & 0xFF ^ (0x1D if crc & 0x80 else 0)
    return bytes([crc ^ 0xFF])


def split_sections(data: bytes, start: int) -> tuple[dict[int, bytes], int]:
    """Bodies by id, and where the payload begins."""
    bodies: dict[int, bytes] = {}
    fields = Fields(data)
    fields.bit = 8 * start
    last = 0
    while (key := fields.take(8)) != 0:
        require(key > last, "sections are out of order")
        require(key >= 128 or key == ALPHA, "a section is unknown")
        length = fields.variable(5)
        at = fields.bit // 8
        require(at + length <= len(data), "a section is not complete")
        bodies[key], last = data[at : at + length], key
        fields.bit += 8 * length
    require(bool(bodies), "there is no section")
    return bodies, fields.bit // 8


def section(key: int, body: bytes, header: Header) -> bytes:
    """What a section holds; that of an unknown id as it stands."""
    if key in (PROFILE, EXIF):
        return _inflate(body, MOST_SECTION_BYTES)
    if key != ALPHA:
        return body
    require(body[:1] in (b"\1", b"\x08"), "bits of an alpha sample")
    row = 1 + -(-header.width * body[0] // 8)
    rows = _inflate(body[1:], header.height * row)
    require(len(rows) == header.height * row and max(rows[::row]) <= 4, "alpha plane")
    return rows


def _inflate(body: bytes, most: int) -> bytes:
    unpacker = zlib.decompressobj(-15)
    try:
        content = unpacker.decompress(body, most + 1)
    except zlib.error as error:
        raise RefusedError("a section is damaged") from error
    require(unpacker.eof and not unpacker.unused_data and len(content) <= most, "a section is damaged")
    return content
