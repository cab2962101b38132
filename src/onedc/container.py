"""The .1dc file round its coded payload: header, optional sections, checksum, limits.

`docs/format.md` is normative. Plain Python, so that `onedc info` starts fast. Must not know tensors, weights
or the entropy coder.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from functools import cache
from typing import NamedTuple

from onedc.errors import FormatError
from onedc.header import (
    VERSION,
    Form,
    Header,
    checksum_place,
    fits_compact,
    parse_header,
    read_varint,
    varint,
    write_header,
)

DEFAULT_MAX_PIXELS = 1 << 26
"""Largest width * height that is decoded unless the caller allows more: 67 megapixels."""

COMPACT_MOST_BYTES = 1024
"""Largest file of the compact form with a check: more bytes deserve a better one."""

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

_SECTION_END = 0x00


class Contents(NamedTuple):
    """A file taken apart."""

    header: Header
    payload: bytes  # z, then y
    sections: dict[int, bytes]  # section id -> body, in file order; skippable unknown ones included
    form: Form


def pack(
    header: Header,
    payload: bytes,
    fingerprint: bytes,
    sections: Mapping[int, bytes] | None = None,
    *,
    form: Form | None = None,
) -> bytes:
    """The bytes of a file.

    `fingerprint` names the integer tables and the seam's weights; the checksum covers it, the file does not
    hold it. `form` None takes the compact one where it can be had, for files of up to `COMPACT_MOST_BYTES`.

    Raises:
        FormatError: an unknown section id, or a compact form that cannot hold this.
    """
    sections = sections or {}
    unknown = sorted(set(sections) - set(SECTIONS))
    if unknown:
        raise FormatError(f"section id {unknown[0]} is not defined in format version {VERSION}")
    form = form or _form_for(header, payload, sections)
    if form is not Form.FULL and sections:
        raise FormatError("only the full form, which has a checksum, holds alpha planes, profiles and EXIF")
    head = write_header(header, form, has_sections=bool(sections))
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
    return parse_header(data).header


def seal(data: bytes, fingerprint: bytes) -> bytes:
    """The same file with the checksum that belongs to its bytes and the fingerprint."""
    place = checksum_place(data)
    return data[: place.start] + _checksum(data, place, fingerprint) + data[place.stop :]


def verify(data: bytes, fingerprint: bytes) -> None:
    """Check the checksum, if the file has one.

    Raises:
        FormatError: it does not fit the bytes and the fingerprint.
    """
    place = checksum_place(data)
    if data[place] != _checksum(data, place, fingerprint):
        raise FormatError("checksum mismatch: the file is damaged, or was made with other weights")


def _form_for(header: Header, payload: bytes, sections: Mapping[int, bytes]) -> Form:
    """The form that a writer takes."""
    if sections or not fits_compact(header):
        return Form.FULL
    size = len(write_header(header, Form.COMPACT)) + len(payload)
    return Form.COMPACT if size <= COMPACT_MOST_BYTES else Form.FULL


def _checksum(data: bytes, place: slice, fingerprint: bytes) -> bytes:
    """What belongs in the bytes of `place`: a CRC of the fingerprint and all bytes of the file but those."""
    covered = fingerprint, data[: place.start], data[place.stop :]
    size: int = place.stop - place.start
    if size == Form.COMPACT.check_bytes:
        return bytes([_crc8(b"".join(covered))])
    crc = 0
    for piece in covered:
        crc = zlib.crc32(piece, crc)
    return (crc & (1 << 8 * size) - 1).to_bytes(size, "big")


def _crc8(data: bytes) -> int:
    """CRC-8/SAE-J1850: polynomial 0x1D, highest bit first, initial value and final inversion all ones."""
    table, crc = _crc8_table(), 0xFF
    for byte in data:
        crc = table[crc ^ byte]
    return crc ^ 0xFF


@cache
def _crc8_table() -> bytes:
    def shifted(crc: int) -> int:
        for _ in range(8):
            crc = crc << 1 ^ (0x11D if crc & 0x80 else 0)
        return crc

    return bytes(map(shifted, range(256)))


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
    header, form, has_sections, at = parse_header(data)
    if form is Form.COMPACT and len(data) > COMPACT_MOST_BYTES:
        raise FormatError(
            f"{len(data)} bytes in the compact form, which holds {COMPACT_MOST_BYTES}: the file is damaged"
        )
    sections: dict[int, bytes] = {}
    if has_sections:
        sections, at = _read_sections(data, at)
    return Contents(header, data[at:], sections, form)


def _pack_sections(sections: Mapping[int, bytes]) -> bytes:
    if not sections:
        return b""
    packed = (bytes([key]) + varint(len(body)) + body for key, body in sorted(sections.items()))
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
        length, at = read_varint(data, at + 1)
        if length > len(data) - at:
            raise FormatError(f"the file is cut short: section {key} is not complete")
        sections[key] = data[at : at + length]
        at += length
        last = key
