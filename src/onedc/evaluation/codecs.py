"""What an evaluation asks of a codec: a ladder of settings, and an original coded and decoded at one of them.

Knows no codec of its own: those that can be run are in `baselines` and `ours`, others in `recon`.
"""

from __future__ import annotations

import hashlib
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from onedc.errors import ConfigError, OneDCError
from onedc.files import write_whole
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
    """One codec under test, with everything but the rate fixed.

    Attributes:
        name: what tables and curves call it.
        identity: name, versions and options; the same along a curve.
        setting_name: what its setting is called: "q", "qp" or "folder".
        ladder: its settings from the smallest file to the largest.
    """

    name: str
    identity: str
    setting_name: str = "q"
    ladder: Sequence[float]

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

    Attributes:
        suffix: of its files, with the dot.
    """

    suffix: str

    @abstractmethod
    def encode(self, picture: RGBArray, setting: float) -> bytes:
        """[H,W,3] -> the bytes of a file."""

    @abstractmethod
    def decode(self, data: bytes, height: int, width: int) -> RGBArray:
        """The bytes of a file -> [height,width,3]; the size is that of the original."""

    def coded(self, original: Original, setting: float, folder: Path) -> Coded:
        """Encode to a file, which stays in the folder, read it back, decode."""
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
        """Bytes of the original's file at a setting."""
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
