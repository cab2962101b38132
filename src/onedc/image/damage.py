"""Damage that does not touch the picture is mended, what does is found: PNG and JPEG.

Knows the files' structure, not their colours.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator

import numpy as np
from PIL import Image, PngImagePlugin

from onedc.image.formats import Remarks

_PNG_START = b"\x89PNG\r\n\x1a\n"
_ANCILLARY = 0x20
"""Bit of the first letter of chunks that a picture can do without."""
_TEXTS = (b"tEXt", b"zTXt", b"iTXt")
_JPEG_START, _JPEG_END = b"\xff\xd8", b"\xff\xd9"
_SCAN, _END, _RESTARTS, _PROGRESSIVE = 0xDA, 0xD9, range(0xD0, 0xD8), (0xC2, 0xCA)
_FILLERS = (b"", b"\x55" * 64, b"\xaa" * 64)
"""What could stand where the bits of a cut scan are missing."""


def mended(data: bytes, remarks: Remarks) -> bytes | None:
    """The file without what spoils it beside the picture; None: there is no such thing.

    Raises:
        ImageError: there is, and the remarks are strict.
    """
    if data.startswith(_PNG_START):
        return _mended_png(data, remarks)
    if data.startswith(_JPEG_START) and is_whole_but_for_end(data) and not lacks_scans(data):
        remarks.add("its end marker is missing")
        return data + _JPEG_END
    return None


def _mended_png(data: bytes, remarks: Remarks) -> bytes | None:
    kept, left_out, ended = [_PNG_START], set(), False
    for name, chunk in _chunks(data):
        spoiled = zlib.crc32(chunk[4:-4]) != int.from_bytes(chunk[-4:])
        if (name in _TEXTS and not _is_readable_text(name, chunk[8:-4])) or (
            spoiled and name[0] & _ANCILLARY
        ):
            left_out.add(name)
        else:
            kept.append(chunk)
        ended = ended or name == b"IEND"
    for name in sorted(left_out):
        remarks.add(f"its {name.decode('latin-1')} chunk is damaged or huge, and is left out")
    return b"".join(kept) if left_out else None


def _is_readable_text(name: bytes, body: bytes) -> bool:
    if len(body) > PngImagePlugin.MAX_TEXT_CHUNK:
        return False
    rest = body.partition(b"\0")[2]
    if name == b"zTXt":
        return _inflates(rest[1:])
    if name == b"iTXt" and rest[:1] == b"\1":  # compressed, behind a language and a translated keyword
        return _inflates(rest[2:].partition(b"\0")[2].partition(b"\0")[2])
    return True


def _inflates(body: bytes) -> bool:
    """Is this no compressed text, or one of a size that is read?"""
    unpacker = zlib.decompressobj()
    try:
        unpacker.decompress(body, PngImagePlugin.MAX_TEXT_CHUNK)
    except zlib.error:
        return True  # Pillow passes over it
    return not unpacker.unconsumed_tail


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Name and whole bytes of each chunk; the last one may be cut."""
    place = len(_PNG_START)
    while len(data) - place >= 12:
        (size,) = struct.unpack_from(">I", data, place)
        yield data[place + 4 : place + 8], data[place : place + 12 + size]
        place += 12 + size


def is_whole_but_for_end(data: bytes) -> bool:
    """Has a JPEG all the bits of its picture? Then it shows the same whatever follows them."""
    end = _scan_end(data)
    if end is None:
        return False
    shown = {_pixels(data[:end] + filler + _JPEG_END) for filler in _FILLERS}
    return len(shown) == 1 and None not in shown


def seems_cut(image: Image.Image) -> bool:
    """Is the last corner of a picture of one colour, as decoders leave what they miss?"""
    width, height = image.size
    corner = np.asarray(image.crop((max(0, width - 4), max(0, height - 4), width, height)))
    return bool((corner == corner[0, 0]).all())


def is_cut(data: bytes) -> bool:
    """Does a JPEG lack bits of its picture, though it has an end?"""
    return data.startswith(_JPEG_START) and _scan_end(data) is not None and not is_whole_but_for_end(data)


def _pixels(data: bytes) -> bytes | None:
    try:
        with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
            return image.tobytes()
    except OSError:
        return None


def lacks_scans(data: bytes) -> bool:
    """Has a progressive JPEG fewer scans than its finest bits take? It shows blurred then."""
    missing: dict[int, list[int]] = {}  # for each component, how many bits of each coefficient
    try:
        for marker, place in _markers(data):
            if marker in _PROGRESSIVE:
                components = data[place + 10 : place + 10 + 3 * data[place + 9] : 3]
                missing = {component: [1] * 64 for component in components}
            elif marker == _SCAN and missing:
                behind = place + 5 + 2 * data[place + 4]
                first, last, bits = data[behind : behind + 3]
                for component in data[place + 5 : behind : 2]:
                    missing[component][first : last + 1] = [bits & 15] * (last + 1 - first)
    except (IndexError, KeyError, ValueError):
        return True
    return any(any(bits) for bits in missing.values())


def _scan_end(data: bytes) -> int | None:
    """Where the last scan of the first picture ends: before its end marker, or with the file."""
    in_scan = False
    for marker, place in _markers(data):
        if marker == _END or place + 4 > len(data):
            return place if in_scan else None
        in_scan = in_scan or marker == _SCAN
    return len(data) - (data[-1:] == b"\xff") if in_scan else None


def _markers(data: bytes) -> Iterator[tuple[int, int]]:
    """Each marker of a JPEG's first picture and its place, up to its end; the last segment may be cut."""
    place = 2
    while (place := data.find(b"\xff", place)) >= 0 and place + 1 < len(data):
        marker = data[place + 1]
        if marker in (0x00, 0x01, 0xFF) or marker in _RESTARTS:
            place += 1 if marker == 0xFF else 2
            continue
        yield marker, place
        if marker == _END or place + 4 > len(data):
            return
        place += 2 + struct.unpack_from(">H", data, place + 2)[0]
