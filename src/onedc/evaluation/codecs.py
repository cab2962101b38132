"""What an evaluation asks of a codec: a ladder of settings, and an original coded and decoded at one of them.

Knows no codec of its own: those that run here are in `baselines`, others in `recon`. Codecs are brought to
one rate by one rule per table, one bisection, and a cache of file sizes, so that no file is made twice.
"""

from __future__ import annotations

import hashlib
import json
import time
from abc import ABC, abstractmethod
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from onedc.errors import ConfigError, OneDCError, OutputError
from onedc.files import make_folder, user_cache, write_whole
from onedc.image import RGBArray, read_image


class BaselineError(OneDCError):
    """An encoder or decoder under test failed."""


@dataclass(frozen=True)
class Original:
    """An original [H,W,3] with its file's name and the hash of its pixels."""

    name: str
    pixels: RGBArray
    hash: str

    @classmethod
    def read(cls, path: Path) -> Original:
        """Read a picture file, with white under transparent places. Raises ImageError."""
        pixels = read_image(path, background="white")
        return cls(path.name, pixels, pixels_hash(pixels))

    @property
    def pixel_count(self) -> int:
        """Width times height."""
        return self.pixels.shape[0] * self.pixels.shape[1]

    @property
    def stem(self) -> str:
        """The file's name without its suffix."""
        return Path(self.name).stem


def pixels_hash(pixels: RGBArray) -> str:
    """SHA-256 of a picture's size and samples."""
    return hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).hexdigest()


@dataclass(frozen=True)
class Coded:
    """A coded and decoded picture; times are missing where it was not coded here."""

    size_bytes: int
    decoded: RGBArray
    encode_s: float | None = None
    decode_s: float | None = None


class EvaluatedCodec(ABC):
    """One codec under test, with everything but the rate fixed."""

    name: str  # what tables and curves call it
    identity: str  # name, versions and options; the same along a curve
    setting_name: str = "q"  # what its setting is called: "q", "qp" or "folder"
    ladder: Sequence[float]  # its settings from the smallest file to the largest

    @abstractmethod
    def coded(self, original: Original, setting: float, folder: Path) -> Coded:
        """The original coded and decoded; files may be left in `folder`. Raises OneDCError."""

    @abstractmethod
    def size_of(self, original: Original, setting: float) -> int:
        """Bytes of the original's file at a setting. Raises OneDCError."""

    def version(self, original: Original, setting: float) -> str:
        """What the result depends on beside the original, the identity and the setting; part of its key."""
        return ""

    def setting_within(self, original: Original, target_bytes: int) -> float | None:
        """The setting of the largest file of at most `target_bytes`, by a quicker way than trying the ladder.

        None: this codec has no quicker way.
        """
        return None

    def nearest_setting(self, quality: float) -> float:
        """The setting that --quality means for this codec: the nearest on its ladder.

        Raises:
            ConfigError: outside the ladder.
        """
        low, high = sorted((self.ladder[0], self.ladder[-1]))
        if not low <= quality <= high:
            raise ConfigError(f"{self.name}: {self.setting_name} {quality:g} is not in {low:g}..{high:g}")
        return min(self.ladder, key=lambda setting: abs(setting - quality))


class FileCodec(EvaluatedCodec):
    """A codec that runs here: `encode` makes the bytes of a file, `decode` a picture of them.

    The same identity and setting must give the same file.
    """

    suffix: str  # of its files, with the dot

    @abstractmethod
    def encode(self, picture: RGBArray, setting: float) -> bytes:
        """[H,W,3] -> the bytes of a file."""

    @abstractmethod
    def decode(self, data: bytes, height: int, width: int) -> RGBArray:
        """The bytes of a file -> [height,width,3]; the size is that of the original."""

    def coded(self, original: Original, setting: float, folder: Path) -> Coded:
        path = kept_file(folder, self.name, setting, original.name, self.suffix)
        path.parent.mkdir(parents=True, exist_ok=True)
        with naming(self):
            start_s = time.perf_counter()
            data = self.encode(original.pixels, setting)
            encode_s = time.perf_counter() - start_s
            write_whole(path, data, force=True)
            stored = path.read_bytes()
            start_s = time.perf_counter()
            decoded = self.decode(stored, *original.pixels.shape[:2])
            decode_s = time.perf_counter() - start_s
        return Coded(path.stat().st_size, decoded, encode_s, decode_s)

    def size_of(self, original: Original, setting: float) -> int:
        with naming(self):
            return len(self.encode(original.pixels, setting))


def kept_file(folder: Path, codec: str, setting: float, image: str, suffix: str) -> Path:
    """Where a run keeps a coded (folder "files") or decoded (folder "decoded", .png) picture."""
    return folder / codec / f"{setting:g}" / (Path(image).stem + suffix)


@contextmanager
def naming(codec: EvaluatedCodec) -> Iterator[None]:
    """Turn whatever an encoder or decoder raises into an error that names it."""
    try:
        yield
    except OneDCError:
        raise
    except Exception as error:  # encoders of others raise nearly anything
        raise BaselineError(f"{codec.name}: {type(error).__name__}: {error}") from error


class Rule(StrEnum):
    """From which side a file comes near its target."""

    AT_MOST = "at-most"
    """The largest file not above the target."""
    AT_LEAST = "at-least"
    """The smallest file not below the target."""


@dataclass(frozen=True)
class Match:
    """A setting on a codec's ladder; `reached` is false where the whole ladder misses the target."""

    setting: float
    reached: bool


def match_rate(
    codec: EvaluatedCodec, target_bytes: int, rule: Rule, size_of: Callable[[float], int]
) -> Match:
    """The setting whose file is nearest `target_bytes` on the rule's side, by bisection over the ladder.

    File sizes are taken to grow along the ladder. Where no file is on the rule's side, the codec's smallest
    (largest) file is named and `reached` is false.
    """
    ladder = codec.ladder
    if rule is Rule.AT_MOST:
        index = bisect_right(ladder, target_bytes, key=size_of) - 1
        return Match(ladder[max(index, 0)], index >= 0)
    index = bisect_left(ladder, target_bytes, key=size_of)
    return Match(ladder[min(index, len(ladder) - 1)], index < len(ladder))


class SizeCache:
    """File sizes of one codec on one picture, kept in a small JSON file between runs."""

    def __init__(self, folder: Path | None, codec: EvaluatedCodec, original: Original) -> None:
        self.codec, self.original = codec, original
        key = hashlib.sha256(f"{codec.identity}\0{original.hash}".encode()).hexdigest()[:24]
        self.path = folder / f"{codec.name}-{key}.json" if folder is not None else None
        self.sizes = self._read()

    def size_of(self, setting: float) -> int:
        """Bytes of the file that the codec makes at a setting."""
        key = f"{setting:g}"
        if key not in self.sizes:
            self.sizes[key] = self.codec.size_of(self.original, setting)
            self._write()
        return self.sizes[key]

    def _read(self) -> dict[str, int]:
        """What was stored; a file that cannot be read counts as none and is replaced."""
        try:
            values = json.loads(self.path.read_text()) if self.path is not None else {}
        except (OSError, ValueError):
            return {}
        return {str(key): int(value) for key, value in values.items()} if isinstance(values, dict) else {}

    def _write(self) -> None:
        """A folder that cannot be written costs time, never a codec."""
        if self.path is not None:
            try:
                make_folder(self.path.parent)
                write_whole(self.path, json.dumps(self.sizes).encode(), force=True)
            except OutputError:
                self.path = None


def default_cache() -> Path:
    """Folder of file sizes in the user's cache."""
    return user_cache() / "evaluation"
