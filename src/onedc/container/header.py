"""The header of a .1dc file in its two forms, full and compact, from one list of fields.

`docs/format.md` is normative. Plain Python. Knows nothing of sections and payload, and of the
checksum where it stands.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from onedc.constants import DOWNSAMPLING_PX, QUALITY_MAX
from onedc.errors import FormatError

MAGIC = 0x1D
"""First byte of every file."""
VERSION = 1
FORMAT_MAX_SIDE_PX = 65535
"""Largest width or height that the format can state."""
COMPACT_MAX_SIDE_PX = 4096
"""Largest side of a picture whose header is compact."""
COMMON_MODEL_ID = 1
"""The model that a compact header need not name."""

RATIOS = (
    *((1, 1), (3, 2), (2, 3), (4, 3), (3, 4), (16, 9), (9, 16), (5, 4), (4, 5)),
    *((2, 1), (1, 2), (8, 5), (5, 8), (20, 9), (9, 20)),
)
"""Width to height of the pictures whose compact header states one side alone."""

FLAG_SECTIONS, FLAG_ORIGINAL = 0x1, 0x8
"""Flags of a full header: sections follow; the picture was shrunk."""
_COMPACT_FLAGS = {"original": 0x8, "ratio": 0x4, "model": 0x2, "quality": 0x1}
_VARINT_MOST_BYTES = 5


class Form(Enum):
    """How a file states its header and how far it can be checked, by the four bits that say so.

    Two flipped bits never make one form another that is checked less, but for FULL and UNCHECKED.
    """

    FULL = 0xC  # any picture; a checksum of 24 bits
    COMPACT = 0xB  # pictures of up to 4096 a side without sections; a checksum of 8 bits
    UNCHECKED = 0x6  # the compact form without a checksum

    @property
    def check_bytes(self) -> int:
        """Bytes of the checksum."""
        return {Form.FULL: 3, Form.COMPACT: 1, Form.UNCHECKED: 0}[self]


class _Field(NamedTuple):
    """One number of the header. `where` names what a header must and ("!") must not have for it to stand."""

    name: str
    bits: int  # 0: a number of variable length
    low: int
    high: int
    where: str = ""
    less: int = 0  # what is taken off the number before it is written

    def write(self, value: int) -> str:
        """The field's bits as text."""
        if self.bits:
            return f"{value - self.less:0{self.bits}b}"
        return "".join(f"{byte:08b}" for byte in varint(value))

    def read(self, data: bytes, at: int) -> tuple[int, int]:
        """The value, and the bit at which the next field begins."""
        if not self.bits:
            value, stop = read_varint(data, at // 8)
            return value, 8 * stop
        stop = at + self.bits
        around = data[at // 8 : -(-stop // 8)]
        if 8 * (at // 8 + len(around)) < stop:
            raise FormatError("the file is cut short: its header is not complete")
        value = int.from_bytes(around, "big") >> -stop % 8 & (1 << self.bits) - 1
        return value + self.less, stop

    def stands(self, traits: frozenset[str]) -> bool:
        words = self.where.split()
        return all((word[1:] not in traits) if word[0] == "!" else word in traits for word in words)

    def check(self, value: int) -> None:
        if self.name == "version" and value != VERSION:
            raise FormatError(f"format version {value} is not {VERSION}: get another version of onedc")
        if self.name == "flags" and value & ~self.high:
            undefined = value & ~self.high
            raise FormatError(f"header: flags {undefined:#x} are not defined in format version {VERSION}")
        if not self.low <= value <= self.high:
            raise FormatError(f"header: {self.name} {value} is not between {self.low} and {self.high}")


FIELDS = (
    _Field("magic", 8, MAGIC, MAGIC),
    _Field("form", 4, 0, 15),
    _Field("reserved", 4, 0, 0, "full"),
    _Field("version", 4, VERSION, VERSION, "full"),
    _Field("flags", 4, 0, FLAG_SECTIONS | FLAG_ORIGINAL, "full"),
    _Field("flags", 4, 0, sum(_COMPACT_FLAGS.values()), "compact"),
    _Field("checksum", 8, 0, 0xFF, "compact checked"),
    _Field("model_id", 8, 0, 255, "full"),
    _Field("model_id", 8, 0, 255, "compact model"),
    _Field("quality", 8, 0, QUALITY_MAX, "full"),
    _Field("quality", 8, 1, QUALITY_MAX, "compact quality"),
    _Field("checksum", 24, 0, 0xFFFFFF, "full"),
    _Field("width", 0, 1, FORMAT_MAX_SIDE_PX, "full"),
    _Field("height", 0, 1, FORMAT_MAX_SIDE_PX, "full"),
    _Field("working", 0, 1, FORMAT_MAX_SIDE_PX - 1, "full original"),
    _Field("ratio", 4, 0, len(RATIOS) - 1, "compact ratio"),
    _Field("longer", 12, 1, COMPACT_MAX_SIDE_PX, "compact ratio !original", 1),
    _Field("longer", 16, 1, FORMAT_MAX_SIDE_PX, "compact ratio original", 1),
    _Field("width", 12, 1, COMPACT_MAX_SIDE_PX, "compact !ratio !original", 1),
    _Field("height", 12, 1, COMPACT_MAX_SIDE_PX, "compact !ratio !original", 1),
    _Field("width", 14, 1, 4 * COMPACT_MAX_SIDE_PX, "compact !ratio original", 1),
    _Field("height", 14, 1, 4 * COMPACT_MAX_SIDE_PX, "compact !ratio original", 1),
    _Field("working", 12, 1, COMPACT_MAX_SIDE_PX, "compact original", 1),
)
"""Both headers in file order; writing, reading and the documentation's tables follow it."""


@dataclass(frozen=True, kw_only=True)
class Header:
    """What a file says about itself.

    Raises:
        FormatError: a value that the format cannot state.
    """

    model_id: int  # which weights made the file, 0..255
    quality: int  # quality byte, 0..255; 0: no y section
    width: int  # of the picture as coded, in pixels
    height: int  # of the picture as coded, in pixels
    original: tuple[int, int] | None = None  # width and height before it was shrunk, if it was

    def __post_init__(self) -> None:
        for field in _standing({"form": Form.FULL.value}):
            if field.name in ("model_id", "quality", "width", "height"):
                field.check(getattr(self, field.name))
        if self.original is None:
            return
        longer = max(self.width, self.height)
        if longer >= max(self.original) or working_size(*self.original, longer) != (self.width, self.height):
            raise FormatError(
                f"header: {self.width}x{self.height} is not {self.original[0]}x{self.original[1]} shrunk"
            )

    @property
    def positions(self) -> int:
        """Number of positions of z: squares of 64x64 pixels that cover the picture."""
        down, across = positions_of(self.width, self.height)
        return down * across


class Read(NamedTuple):
    """A header as it stands in a file."""

    header: Header
    form: Form
    has_sections: bool
    stop: int  # where the header ends


def positions_of(width: int, height: int) -> tuple[int, int]:
    """Positions of z, down and across, of a picture of `width` x `height` pixels."""
    return -(-height // DOWNSAMPLING_PX), -(-width // DOWNSAMPLING_PX)


def working_size(width: int, height: int, longer: int) -> tuple[int, int]:
    """Width and height of a picture of `width` x `height` pixels, shrunk to a longer side of `longer`."""
    if width >= height:
        return longer, _shorter(longer, width, height)
    return _shorter(longer, height, width), longer


def begins_file(data: bytes) -> bool:
    """Whether a .1dc file can begin with these bytes."""
    if len(data) < 2 or data[0] != MAGIC:
        return False
    return data[1] == Form.FULL.value << 4 or data[1] >> 4 in (Form.COMPACT.value, Form.UNCHECKED.value)


def fits_compact(header: Header) -> bool:
    """Whether the compact form can state this header."""
    values = _values(header, Form.COMPACT)
    return all(field.low <= values[field.name] <= field.high for field in _standing(values))


def write_header(header: Header, form: Form, *, has_sections: bool = False) -> bytes:
    """The header's bytes, with zeros where the checksum stands.

    Raises:
        FormatError: a value that this form cannot state.
    """
    values = _values(header, form, has_sections=has_sections)
    bits = ""
    for field in _standing(values):
        field.check(values[field.name])
        bits += field.write(values[field.name])
    return int(bits, 2).to_bytes(len(bits) // 8, "big")


def parse_header(data: bytes) -> Read:
    """Take the header at the start of a file apart.

    Raises:
        FormatError: not a .1dc file, of another version, cut short, or values that no writer states.
    """
    if not begins_file(data):
        raise FormatError("not a .1dc file: it does not begin with the bytes 1D C0, 1D Bx or 1D 6x")
    values: dict[str, int] = {}
    at = 0
    for field in FIELDS:
        if field.stands(_traits(values)):
            values[field.name], at = field.read(data, at)
            field.check(values[field.name])
    header, form = _header(values), Form(values["form"])
    has_sections = form is Form.FULL and bool(values["flags"] & FLAG_SECTIONS)
    values["checksum"] = 0
    if values.items() - _values(header, form, has_sections=has_sections).items():
        raise FormatError("header: it is not in its shortest form")
    return Read(header, form, has_sections, at // 8)


def checksum_place(data: bytes) -> slice:
    """Where the checksum stands in a file, empty if it has none; bytes that are no file count as full."""
    values = {"form": Form.FULL.value}
    if begins_file(data):
        values = {"form": data[1] >> 4, "flags": data[1] & 0xF}
    at = 0
    for field in _standing(values):
        if field.name == "checksum":
            return slice(at // 8, (at + field.bits) // 8)
        at += field.bits
    return slice(0, 0)


def varint(value: int) -> bytes:
    """Seven bits a byte, the lowest first; the top bit says that more follow."""
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    """A number of variable length at byte `at`, and where the next begins. Raises FormatError."""
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


def _shorter(longer: int, of_width: int, of_height: int) -> int:
    """longer * of_height / of_width, rounded half up, at least 1."""
    return max(1, (2 * longer * of_height + of_width) // (2 * of_width))


def _traits(values: Mapping[str, int]) -> frozenset[str]:
    """What decides which fields stand, as far as it is known."""
    flags = values.get("flags", 0)
    if "form" not in values:
        return frozenset()
    form = Form(values["form"])
    if form is Form.FULL:
        return frozenset({"full", "original"} if flags & FLAG_ORIGINAL else {"full"})
    named = {name for name, flag in _COMPACT_FLAGS.items() if flags & flag}
    return frozenset({"compact", *named} | ({"checked"} if form is Form.COMPACT else set()))


def _standing(values: Mapping[str, int]) -> Iterator[_Field]:
    traits = _traits(values)
    return (field for field in FIELDS if field.stands(traits))


def _values(header: Header, form: Form, *, has_sections: bool = False) -> dict[str, int]:
    """Every number that either form could state of a header, by field."""
    width, height = header.original or (header.width, header.height)
    longer = max(width, height)
    ratio = _ratio(width, height)
    has = {
        "original": header.original is not None,
        "ratio": ratio is not None,
        "model": header.model_id != COMMON_MODEL_ID,
        "quality": header.quality > 0,
    }
    full = FLAG_SECTIONS * has_sections | FLAG_ORIGINAL * has["original"]
    compact = sum(flag for name, flag in _COMPACT_FLAGS.items() if has[name])
    return {
        "magic": MAGIC,
        "form": form.value,
        "reserved": 0,
        "version": VERSION,
        "flags": full if form is Form.FULL else compact,
        "model_id": header.model_id,
        "quality": header.quality,
        "checksum": 0,
        "width": width,
        "height": height,
        "ratio": 0 if ratio is None else ratio,
        "longer": longer,
        "working": max(header.width, header.height),
    }


def _ratio(width: int, height: int) -> int | None:
    """The first of RATIOS that gives this size."""
    longer = max(width, height)
    sizes = (working_size(*ratio, longer) for ratio in RATIOS)
    return next((index for index, size in enumerate(sizes) if size == (width, height)), None)


def _header(values: Mapping[str, int]) -> Header:
    """The header that these values state."""
    if "ratio" in values:
        width, height = working_size(*RATIOS[values["ratio"]], values["longer"])
    else:
        width, height = values["width"], values["height"]
    original = None
    if "working" in values:
        original = width, height
        width, height = working_size(width, height, values["working"])
    return Header(
        model_id=values.get("model_id", COMMON_MODEL_ID),
        quality=values.get("quality", 0),
        width=width,
        height=height,
        original=original,
    )
