"""The reject corpus: files that every reader must refuse, each with the words of its refusal.

`python -m tests.conformance.reject` prints what would change in `reject/`; with `--write` it changes it.
The files are for the model of the example in docs/format.md: private id 255, its fingerprint, its tables.
"""

from __future__ import annotations

import json
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from onedc.container.header import Form, Header
from onedc.container.packing import SECTION_ALPHA, SECTION_EXIF, SECTION_ICC, pack, seal, unpack
from onedc.container.side_data import MAX_BYTES, from_sections
from onedc.entropy.coder import SymbolDecoder, SymbolEncoder
from onedc.entropy.tables import load_tables
from onedc.entropy.z_prior import UniformZPrior

FOLDER = Path(__file__).parent / "reject"
FINGERPRINT = bytes(range(32))
MODEL_ID = 255
TABLE_IDX = np.array([0, 0, 10, 0, 30, 60, 90, 120, 120, 90, 60, 30, 200, 200, 255, 255], np.uint8)


def read(data: bytes) -> None:
    """Read a file of the example's model: z, four parts of each 64x64 square with the same tables, side data.

    Raises:
        FormatError: what this corpus is about.
    """
    bits = UniformZPrior.least_position_millibits
    contents = unpack(data, fingerprint=FINGERPRINT, model_id=MODEL_ID, least_position_millibits=bits)
    header, decoder = contents.header, SymbolDecoder(contents.payload)
    UniformZPrior().decode(decoder, -(-header.height // 64), -(-header.width // 64))
    for _ in range(4 if header.quality else 0):
        decoder.decode(np.tile(TABLE_IDX, header.positions))
    decoder.finish()
    from_sections(contents.sections, header.width, header.height)


def corpus() -> dict[str, tuple[bytes, str]]:
    """name -> (bytes, words that the refusal contains)."""
    return {**_headers(), **_compact(), **_sections(), **_payloads()}


def _payload(quality: int) -> bytes:
    encoder = SymbolEncoder()
    UniformZPrior().encode(encoder, np.array([[9876]]))
    for part in range(4 if quality else 0):
        encoder.encode(np.array([0, 1, -1, 0] * 3 + [part, 70, -700, 7000], np.int32), TABLE_IDX)
    return encoder.finish()


def _file(
    quality: int = 100,
    payload: bytes | None = None,
    width: int = 64,
    height: int = 64,
    form: Form = Form.FULL,
) -> bytes:
    header = Header(model_id=MODEL_ID, quality=quality, width=width, height=height)
    return pack(header, _payload(quality) if payload is None else payload, FINGERPRINT, form=form)


def _with(at: int, values: bytes) -> bytes:
    """The example with other bytes at one place, sealed again."""
    data = _file()
    return seal(data[:at] + values + data[at + len(values) :], FINGERPRINT)


def _sized(sides: bytes) -> bytes:
    data = _file()
    return seal(data[:8] + sides + data[10:], FINGERPRINT)


def _headers() -> dict[str, tuple[bytes, str]]:
    data = _file()
    bomb = b"\xff\x7f\xff\x7f"
    return {
        "empty": (b"", "not a .1dc file"),
        "one-byte": (data[:1], "not a .1dc file"),
        "png": (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "not a .1dc file"),
        "header-cut-in-checksum": (data[:6], "header is not complete"),
        "header-cut-in-sides": (data[:9], "header is not complete"),
        "version-0": (_with(2, b"\x00"), "format version 0"),
        "version-2": (_with(2, b"\x20"), "format version 2"),
        "unknown-flag": (_with(2, b"\x12"), "flags 0x2"),
        "foreign-model": (_with(3, b"\x07"), "needs model 7"),
        "width-0": (_sized(b"\x00\x40"), "width 0"),
        "height-0": (_sized(b"\x40\x00"), "height 0"),
        "width-too-large": (_sized(b"\x80\x80\x04\x40"), "width 65536"),
        "width-not-shortest": (_sized(b"\xc0\x00\x40"), "shortest form"),
        "width-endless": (_sized(b"\xff" * 12), "shortest form"),
        "bomb-above-the-limit": (_sized(bomb), "more than the limit"),
        "bomb-below-the-limit": (_sized(b"\x80\x40\x80\x40"), "take at least"),
        "checksum-damaged": (data[:5] + b"\0" + data[6:], "checksum mismatch"),
        "other-weights": (seal(data, FINGERPRINT[::-1]), "other weights"),
        "text-conversion": (data.replace(b"\x1d", b"\x1d\r"), "not a .1dc file"),
    }


def _compact() -> dict[str, tuple[bytes, str]]:
    """Headers of the example in the compact form: 1D B7, checksum, FF, 64, 00 3F."""
    data, payload = _file(form=Form.COMPACT), _payload(100)

    def sealed(start: str, fields: str) -> bytes:
        return seal(bytes.fromhex(start + "00" + fields) + payload, FINGERPRINT)

    return {
        "compact-cut": (data[:5], "header is not complete"),
        "compact-other-form": (b"\x1d\xa7" + data[2:], "not a .1dc file"),
        "compact-checksum-damaged": (data[:2] + b"\0" + data[3:], "checksum mismatch"),
        "compact-other-weights": (seal(data, FINGERPRINT[::-1]), "other weights"),
        "compact-model-named": (sealed("1DB7", "01 64 003F"), "shortest form"),
        "compact-sides-named": (sealed("1DB3", "FF 64 03F03F"), "shortest form"),
        "compact-second-ratio": (sealed("1DB6", "FF 1000"), "shortest form"),
        "compact-ratio-15": (sealed("1DB7", "FF 64 F03F"), "ratio 15"),
        "compact-quality-0": (sealed("1DB7", "FF 00 003F"), "quality 0"),
        "compact-not-shrunk": (sealed("1DBF", "FF 64 0003F03F"), "is not 64x64 shrunk"),
        "compact-foreign-model": (sealed("1DB5", "64 003F"), "needs model 1"),
        "compact-too-large": (_file(payload=payload + bytes(1024), form=Form.COMPACT), "which holds 1024"),
        "compact-bomb": (sealed("1DB7", "FF 64 0FFF"), "take at least"),
        "compact-shrunk-cut": (bytes.fromhex("1DBF 00 FF 64 03E7"), "header is not complete"),
        "compact-shrunk-bomb": (sealed("1DBF", "FF 64 0FFFEFFF"), "take at least"),
        "compact-shrunk-side": (sealed("1DBF", "FF 64 0FFFF03F"), "longer 65536 is not between"),
        "unchecked-bomb": (bytes.fromhex("1D67 FF 64 0FFF") + payload, "take at least"),
        "unchecked-not-shrunk": (bytes.fromhex("1D6F FF 64 0003F03F") + payload, "is not 64x64 shrunk"),
        "unchecked-model-named": (bytes.fromhex("1D67 01 64 003F") + payload, "shortest form"),
        "unchecked-cut": (b"\x1d\x67\xff\x64\0", "header is not complete"),
        "unchecked-left-over": (
            _file(payload=payload + b"\0", form=Form.UNCHECKED),
            "1 bytes are left over",
        ),
    }


def _sections() -> dict[str, tuple[bytes, str]]:
    data = _file()

    def sections(packed: bytes) -> bytes:
        return seal(data[:2] + b"\x11" + data[3:10] + packed, FINGERPRINT)

    return {
        "section-unknown": (sections(b"\x05\x01A\x00" + data[10:]), "section 5 is unknown"),
        "section-none": (sections(b"\x00" + data[10:]), "or there is none"),
        "section-twice": (sections(b"\x81\x00\x81\x00\x00" + data[10:]), "out of order"),
        "section-order": (sections(b"\x82\x00\x81\x00\x00" + data[10:]), "out of order"),
        "section-too-long": (sections(b"\x81\xff\xff\xff\x7fABC"), "section 129 is not complete"),
        "section-no-end": (sections(b"\x81\x01A"), "sections are not complete"),
    }


def side_data() -> dict[str, tuple[bytes, str]]:
    """Files whose integers are whole and whose alpha plane, profile or EXIF is nonsense, as in `corpus`."""
    header = Header(model_id=MODEL_ID, quality=100, width=64, height=64)
    whole, plane = _deflated(b"II*\0" + bytes(99)), bytes(64 * 65)
    bodies = {
        "profile-not-deflated": ({SECTION_ICC: b"\xff" * 40}, "ICC profile section is damaged"),
        "profile-empty": ({SECTION_ICC: b""}, "ICC profile section is damaged"),
        "exif-cut": ({SECTION_EXIF: whole[:-2]}, "EXIF section is damaged"),
        "exif-left-over": ({SECTION_EXIF: whole + b"\0"}, "EXIF section is damaged"),
        "exif-bomb": ({SECTION_EXIF: _deflated(bytes(MAX_BYTES + 1))}, "holds more than 4194304 bytes"),
        "alpha-empty": ({SECTION_ALPHA: b""}, "bit depth is neither 1 nor 8"),
        "alpha-bit-depth": ({SECTION_ALPHA: b"\4" + _deflated(plane)}, "bit depth is neither 1 nor 8"),
        "alpha-not-deflated": ({SECTION_ALPHA: b"\x08" + b"\xff" * 40}, "alpha section is damaged"),
        "alpha-short": ({SECTION_ALPHA: b"\x08" + _deflated(plane[1:])}, "alpha section is damaged"),
        "alpha-long": ({SECTION_ALPHA: b"\x08" + _deflated(plane + b"\0")}, "holds more than 4160 bytes"),
        "alpha-unknown-filter": ({SECTION_ALPHA: b"\x08" + _deflated(b"\5" + plane[1:])}, "alpha section is"),
    }
    return {
        name: (pack(header, _payload(100), FINGERPRINT, sections), words)
        for name, (sections, words) in bodies.items()
    }


def _deflated(content: bytes) -> bytes:
    packer = zlib.compressobj(9, wbits=-15)
    return packer.compress(content) + packer.flush()


def _payloads() -> dict[str, tuple[bytes, str]]:
    y, z = _payload(100), _payload(0)
    return {
        "payload-missing": (_file(payload=b""), "take at least 1 bytes"),
        "payload-cut": (_file(payload=y[:-2]), "the coded data"),
        "payload-only-z": (_file(payload=z), "the coded data"),
        "payload-zero-left-over": (_file(payload=y + b"\0"), "1 bytes are left over"),
        "payload-left-over": (_file(payload=y + b"tail"), "4 bytes are left over"),
        "payload-not-canonical": (_file(payload=y[:-1] + bytes([y[-1] + 1])), "not what an encoder writes"),
        "payload-all-ones": (_file(payload=b"\xff" * 40), "points outside every symbol"),
        "payload-all-zeros": (_file(payload=bytes(40)), "the coded data"),
        "z-only-with-y": (_file(quality=0, payload=y), "are left over"),
        "sides-swapped-in": (_file(payload=y, width=65), "the coded data"),
        "escape-too-long": (_file(payload=_endless_escape()), "an escape is too long"),
        "escape-too-large": (_file(payload=_huge_escape(30001)), "beyond 30000"),
    }


def _endless_escape() -> bytes:
    """The first symbol of part 0 is an escape whose digit count is 3 + 3 + 3."""
    encoder = SymbolEncoder()
    UniformZPrior().encode(encoder, np.array([[9876]]))
    _encode_escape(encoder)
    encoder.encode_uniform(np.array([3, 3, 3]), 4)
    return encoder.finish()


def _huge_escape(value: int) -> bytes:
    """The first symbol of part 0 is beyond what encoders may write."""
    encoder = SymbolEncoder()
    UniformZPrior().encode(encoder, np.array([[9876]]))
    _encode_escape(encoder)
    r = 2 * (value - 3)
    encoder.encode_uniform(np.array([3, 3, 2, *(r >> 2 * k & 3 for k in range(8))]), 4)
    return encoder.finish()


def _encode_escape(encoder: SymbolEncoder) -> None:
    """Part 0 up to its escapes' digits: the escape of the first table, then the value 0 fifteen times."""
    tables = load_tables()
    for at, table in enumerate(np.sort(TABLE_IDX, kind="stable").tolist()):
        symbol = -int(tables.offset[table]) if at else int(tables.length[table]) - 2
        encoder._encode_bins(np.array([symbol]), encoder._coder.categorical(tables.freq[table]))


CORPORA: dict[Path, Callable[[], dict[str, tuple[bytes, str]]]] = {
    FOLDER: corpus,
    FOLDER / "side-data": side_data,
}


def main(write: bool) -> None:
    """Print how the corpus in `reject/` differs from what this module makes; write it if asked."""
    for folder, made in CORPORA.items():
        update(folder, made(), write=write)


def update(folder: Path, made: dict[str, tuple[bytes, str]], *, write: bool) -> None:
    folder.mkdir(exist_ok=True)
    for name in sorted(made.keys() | {path.stem for path in folder.glob("*.1dc")}):
        path = folder / f"{name}.1dc"
        old, new = path.read_bytes() if path.exists() else None, made[name][0] if name in made else None
        if old == new:
            continue
        print(f"{name}: {old.hex() if old else old} -> {new.hex() if new else new}")
        if write and new is None:
            path.unlink()
        elif write and new is not None:
            path.write_bytes(new)
    if write:
        messages = {name: message for name, (_, message) in made.items()}
        (folder / "cases.json").write_text(json.dumps(messages, indent=1) + "\n")


if __name__ == "__main__":
    main(write="--write" in sys.argv[1:])
