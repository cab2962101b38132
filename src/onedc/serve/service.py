"""One codec for many users at once: limits on what they send, and a queue in which they take turns.

Knows bytes and pictures, neither HTTP nor pages.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from PIL import Image

from onedc.codec import Codec
from onedc.effort.level import check_effort
from onedc.errors import ConfigError, OneDCError
from onedc.image import RGBArray, read_image
from onedc.target_size import DEFAULT_QUALITY


class TooLargeError(OneDCError):
    """More bytes than the server takes."""


class BusyError(OneDCError):
    """The queue is full."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What the server takes from its users."""

    upload_bytes: int = 32_000_000  # of one uploaded file
    pixels: int = 16_000_000  # of one picture, sent or declared by a .1dc file
    queue: int = 16  # jobs that wait or run at a time
    effort: int = 3  # highest that is taken: everybody waits for it

    def __post_init__(self) -> None:
        check_effort(self.effort)
        for name, value in vars(self).items():
            if value < 1 and name != "effort":
                raise ConfigError(f"{name} {value} must be at least 1")


class Service:
    """The codec as all users share it: one job at a time, so that memory and threads stay those of one."""

    def __init__(self, codec: Codec, limits: Limits) -> None:
        self.limits = limits
        self._codec = codec
        self._jobs = 0
        self._counting = threading.Lock()
        self._codec_free = threading.Lock()

    @property
    def jobs(self) -> int:
        """How many wait or run."""
        return self._jobs

    def encode(
        self,
        picture: bytes,
        *,
        quality: float = DEFAULT_QUALITY,
        target_bytes: int | None = None,
        background: str | None = None,
        effort: int = 0,
    ) -> tuple[bytes, float]:
        """A picture file to a .1dc file, at a quality of 0 to 100 or within `target_bytes`.

        Beside the file stand the seconds of the codec alone.

        Raises:
            TooLargeError: the file has too many bytes.
            ImageError: not a picture, too many pixels, or transparent without a background.
            ConfigError: a quality outside 0..100, a target that no file meets, or more effort than is taken.
            BusyError: the queue is full.
        """
        if effort > self.limits.effort:
            raise ConfigError(f"effort {effort}: this server takes 0 to {self.limits.effort}")
        with self._turn(picture):
            original = self._read(picture, background)
            started_s = time.perf_counter()
            if target_bytes is None:
                data = self._codec.encode(original, quality=quality, effort=effort)
            else:
                data = self._codec.encode_to_size(original, target_bytes, effort=effort)
            return data, time.perf_counter() - started_s

    def read(self, picture: bytes, *, background: str | None = None) -> RGBArray:
        """A picture file as `encode` sees it: [H,W,3], sRGB, upright.

        Raises:
            TooLargeError, ImageError, ConfigError, BusyError: as `encode` does.
        """
        with self._turn(picture):
            return self._read(picture, background)

    def _read(self, picture: bytes, background: str | None) -> RGBArray:
        return read_image(picture, background=background, max_pixels=self.limits.pixels)

    @property
    def qualities(self) -> int:
        """How many qualities lead to different files."""
        return len(self._codec.quality_bytes)

    def decode(
        self, data: bytes, *, preview: bool = False, partial: bool = False, full_size: bool = False
    ) -> tuple[Image.Image, float]:
        """A .1dc file to a picture, with what the file keeps beside it and the note on generated details.

        Options are those of `Codec.decode_batch`. Beside the picture stand the seconds of the codec alone.

        Raises:
            TooLargeError: the file has too many bytes.
            FormatError: damaged, of another model, or with too many pixels.
            BusyError: the queue is full.
        """
        with self._turn(data):
            started_s = time.perf_counter()
            most = self.limits.pixels
            picture = self._codec.decode(
                data, max_pixels=most, preview=preview, partial=partial, full_size=full_size
            )
            return picture, time.perf_counter() - started_s

    @contextmanager
    def _turn(self, upload: bytes) -> Iterator[None]:
        """Wait for the codec with an upload that is small enough."""
        self.check_size(len(upload))
        with self._counting:
            if self._jobs == self.limits.queue:
                raise BusyError(f"the server is busy with {self.limits.queue} jobs; try again in a moment")
            self._jobs += 1
        try:
            with self._codec_free:
                yield
        finally:
            with self._counting:
                self._jobs -= 1

    def check_size(self, size_bytes: int) -> None:
        """Raise TooLargeError for more bytes than the limit."""
        if size_bytes > self.limits.upload_bytes:
            raise TooLargeError(f"the file has more than the {self.limits.upload_bytes:,} bytes allowed here")
