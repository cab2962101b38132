"""Colours to sRGB: by an embedded profile, or by what a file says of its colours otherwise.

What a file says otherwise (PNG's gAMA, cHRM and cICP, nclx of AVIF and HEIF, EXIF) becomes a profile too.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence
from typing import Any, BinaryIO, NamedTuple, cast

import numpy as np
from PIL import Image, ImageCms

from onedc.errors import ImageError, one_line
from onedc.image.formats import Remarks, beginning

_SPACES = {"L": "GRAY", "RGB": "RGB", "CMYK": "CMYK", "LAB": "LAB"}
"""Colour space that a profile must be of to fit a mode."""

Primaries = tuple[float, float, float, float, float, float, float, float]
"""x and y of white, red, green, blue."""

_D65, _DCI_WHITE = (0.3127, 0.3290), (0.314, 0.351)
_SRGB: Primaries = (*_D65, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06)
_ADOBE: Primaries = (*_D65, 0.64, 0.33, 0.21, 0.71, 0.15, 0.06)
_OF_CICP: dict[int, Primaries] = {  # ITU-T H.273, table 2
    1: _SRGB,
    2: _SRGB,  # not said
    5: (*_D65, 0.64, 0.33, 0.29, 0.60, 0.15, 0.06),
    6: (*_D65, 0.630, 0.340, 0.310, 0.595, 0.155, 0.070),
    9: (*_D65, 0.708, 0.292, 0.170, 0.797, 0.131, 0.046),
    11: (*_DCI_WHITE, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),
    12: (*_D65, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),
}
_SRGB_CURVE = 0.0
"""Stands for the curve of sRGB where else the exponent of a gamma stands."""
_GAMMA_OF_CICP = {4: 2.2, 5: 2.8, 8: 1.0} | dict.fromkeys((1, 2, 6, 13, 14, 15), _SRGB_CURVE)
"""Transfer characteristics of table 3; television's are shown by sRGB's curve, as browsers do."""
_HDR_OF_CICP = {16: "PQ", 18: "HLG"}
_ADOBE_GAMMA = 563 / 256
_NEAR = 0.004
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
_D50 = np.array([0.9642, 1.0, 0.8249])
_EXIF_IFD, _INTEROP_IFD, _COLOR_SPACE, _INTEROP_INDEX = 0x8769, 0xA005, 0xA001, 1
_WHITE_POINT, _PRIMARIES, _TRANSFER = 318, 319, 301
_NOT_SAID, _ADOBE_RGB = 65535, 2


class Said(NamedTuple):
    """What a file says of its colours without a profile."""

    primaries: Primaries
    gamma: float

    @property
    def is_srgb(self) -> bool:
        return self.gamma == _SRGB_CURVE and _near(self.primaries, _SRGB)


def said_by(image: Image.Image, exif: Image.Exif | None, head: bytes, remarks: Remarks) -> Said | None:
    """What a picture without a profile says of its colours; None: nothing, or nothing that can be used.

    Args:
        head: see `head_of`.

    Raises:
        ImageError: colours for HDR.
    """
    code = _cicp(image, head)
    if code is not None:
        return _said_by_cicp(*code, remarks)
    if "srgb" in image.info:
        return None
    if image.format == "PNG" and ("gamma" in image.info or "chromaticity" in image.info):
        return _said_by_png(image, remarks)
    return _said_by_exif(exif, remarks) if exif else None


def head_of(image: Image.Image, file: BinaryIO | None) -> bytes:
    """What the file of a picture begins with, in formats that say their colours there; empty without it.

    To be read before the pixels: Pillow closes with them a file that it has opened.
    """
    if file is None or getattr(file, "closed", False) or image.format not in ("PNG", "AVIF"):
        return b""
    return beginning(file, 1 << 16)


def has_cicp(image: Image.Image, head: bytes) -> bool:
    """Does a PNG say its colours in the chunk that comes before a profile?"""
    return image.format == "PNG" and _cicp(image, head) is not None


def _cicp(image: Image.Image, head: bytes) -> tuple[int, int] | None:
    """Primaries and transfer characteristics as numbers of ITU-T H.273."""
    nclx = image.info.get("nclx_profile")
    if isinstance(nclx, dict):
        return int(nclx["color_primaries"]), int(nclx["transfer_characteristics"])
    if image.format == "PNG":
        found = head.find(b"\x00\x00\x00\x04cICP")
        return (head[found + 8], head[found + 9]) if 0 < found < len(head) - 12 else None
    found = head.find(b"colrnclx")
    return cast("tuple[int, int]", struct.unpack_from(">HH", head, found + 8)) if found > 0 else None


def _said_by_cicp(primaries: int, transfer: int, remarks: Remarks) -> Said | None:
    if transfer in _HDR_OF_CICP:
        raise ImageError(
            f"{remarks.name}: its colours are for HDR ({_HDR_OF_CICP[transfer]}); convert it to sRGB first"
        )
    if primaries not in _OF_CICP or transfer not in _GAMMA_OF_CICP:
        remarks.add(f"colours by code {primaries}, {transfer} are not known; taken as sRGB")
        return None
    return Said(_OF_CICP[primaries], _GAMMA_OF_CICP[transfer])


def _said_by_png(image: Image.Image, remarks: Remarks) -> Said | None:
    exponent = image.info.get("gamma", 1 / 2.2)
    gamma = 1 / exponent if 0.1 <= exponent <= 10 else 0.0
    primaries = image.info.get("chromaticity", _SRGB)
    if not gamma or not _usable(primaries):
        remarks.add("its gAMA or cHRM chunk makes no sense and is ignored; taken as sRGB")
        return None
    return Said(tuple(primaries), _SRGB_CURVE if abs(exponent - 1 / 2.2) < _NEAR else gamma)


def _said_by_exif(exif: Image.Exif, remarks: Remarks) -> Said | None:
    space = _directory(exif, _EXIF_IFD).get(_COLOR_SPACE)
    index = str(_directory(exif, _INTEROP_IFD).get(_INTEROP_INDEX, "")).strip("\0 ")
    if space == _ADOBE_RGB or (space == _NOT_SAID and index == "R03"):
        return Said(_ADOBE, _ADOBE_GAMMA)
    if space == 1:
        return None
    found = [*(_numbers(exif.get(_WHITE_POINT)) or _D65), *_numbers(exif.get(_PRIMARIES))]
    if len(found) == 8 and _usable(found):
        if exif.get(_TRANSFER) is not None:
            remarks.add("its TransferFunction is not applied; the curve of sRGB is")
        return Said(cast(Primaries, tuple(found)), _SRGB_CURVE)
    if space == _NOT_SAID:
        remarks.add("its EXIF says that its colours are not sRGB, and not what they are; taken as sRGB")
    return None


def _directory(exif: Image.Exif, tag: int) -> dict[int, Any]:
    """A directory within EXIF; empty where there is none that can be read."""
    try:
        return exif.get_ifd(tag) if _EXIF_IFD in exif else {}  # else Pillow would write an empty one
    except Exception:  # Pillow's parser raises nearly anything on junk
        return {}


def _numbers(value: Any) -> list[float]:
    try:
        return [float(number) for number in value or ()]
    except (TypeError, ValueError, ZeroDivisionError):
        return []


def _usable(primaries: Sequence[float]) -> bool:
    """Can three primaries and a white, x and y each, span colours?"""
    if len(primaries) != 8 or not all(0 <= number <= 1 for number in primaries):
        return False
    (wx, wy), *corners = np.reshape(primaries, (4, 2))
    (ax, ay), (bx, by), (cx, cy) = corners
    area = abs((bx - ax) * (cy - ay) - (cx - ax) * (by - ay))
    return bool(area > 0.01 and 0.2 < wx < 0.5 and 0.2 < wy < 0.5)


def _near(one: Sequence[float], other: Sequence[float]) -> bool:
    return bool(np.abs(np.subtract(one, other)).max() < _NEAR)


def to_srgb(
    image: Image.Image, profile: bytes | None, said: Said | None, remarks: Remarks
) -> tuple[Image.Image, bytes | None]:
    """Colours to sRGB, and the profile if it was one of RGB that was used.

    A profile that cannot be used is ignored with a remark. Without one `said` counts, else Pillow's rule for
    the mode.
    """
    if profile:
        colour = image if image.mode in _SPACES else image.convert("RGB")
        converted = _converted(colour, profile, remarks)
        if converted is not None:
            return converted, profile if profile[16:20] == b"RGB " else None
    image = image.convert("RGB")
    if said is None or said.is_srgb:
        return image, None
    made = profile_of(said)
    converted = ImageCms.profileToProfile(image, _parsed(made), ImageCms.createProfile("sRGB"))
    return cast(Image.Image, converted), made


def _converted(image: Image.Image, profile: bytes, remarks: Remarks) -> Image.Image | None:
    try:
        source = _parsed(profile)
        space = source.profile.xcolor_space.strip().upper()
        if space != _SPACES[image.mode]:
            remarks.add(f"its colour profile is for {space}, not for {_SPACES[image.mode]}, and is ignored")
            return None
        target = ImageCms.createProfile("sRGB")
        return ImageCms.profileToProfile(image, source, target, outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError) as error:
        if isinstance(error, ImageError):
            raise
        remarks.add(f"its colour profile cannot be used and is ignored ({one_line(error)})")
        return None


def _parsed(profile: bytes) -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(io.BytesIO(profile))


def profile_of(said: Said) -> bytes:
    """An ICC profile, version 4, of an RGB space by its primaries and gamma."""
    xyz = [np.array([x / y, 1.0, (1 - x - y) / y]) for x, y in np.reshape(said.primaries, (4, 2)).clip(1e-4)]
    white, corners = xyz[0], np.stack(xyz[1:], axis=1)
    to_d50 = np.linalg.inv(_BRADFORD) @ np.diag(_BRADFORD @ _D50 / (_BRADFORD @ white)) @ _BRADFORD
    columns = to_d50 @ (corners * np.linalg.solve(corners, white))
    if said.gamma == _SRGB_CURVE:
        curve = _parametric(3, 2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
    else:
        curve = _parametric(0, said.gamma)
    tags = {
        b"desc": _text("made by onedc"),
        b"cprt": _text("none"),
        b"wtpt": _xyz(_D50),
        b"chad": _matrix(to_d50),
    }
    for place, name in enumerate((b"r", b"g", b"b")):
        tags |= {name + b"XYZ": _xyz(columns[:, place]), name + b"TRC": curve}
    return _profile(tags)


def _profile(tags: dict[bytes, bytes]) -> bytes:
    table, body, start = b"", b"", 132 + 12 * len(tags)
    for name, value in tags.items():
        table += struct.pack(">4sII", name, start + len(body), len(value))
        body += value + bytes(-len(value) % 4)
    head = struct.pack(">I4xI4s4s4s", start + len(body), 0x04200000, b"mntr", b"RGB ", b"XYZ ")
    head += bytes(12) + b"acsp" + bytes(28) + _fixed(*_D50)
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body


def _fixed(*numbers: float) -> bytes:
    return struct.pack(f">{len(numbers)}i", *(round(number * 65536) for number in numbers))


def _xyz(color: np.ndarray[Any, Any]) -> bytes:
    return b"XYZ \0\0\0\0" + _fixed(*color)


def _matrix(values: np.ndarray[Any, Any]) -> bytes:
    return b"sf32\0\0\0\0" + _fixed(*values.ravel())


def _parametric(kind: int, *numbers: float) -> bytes:
    return b"para\0\0\0\0" + struct.pack(">HH", kind, 0) + _fixed(*numbers)


def _text(text: str) -> bytes:
    data = text.encode("utf-16-be")
    return b"mluc\0\0\0\0" + struct.pack(">II2s2sII", 1, 12, b"en", b"US", len(data), 28) + data
