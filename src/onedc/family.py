"""The codec of a family file: the quality byte of a picture's file chooses which of its rates is at work.

Everything that codes is `codec.Codec`; one rate is in memory at a time.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from threading import RLock
from typing import Any

import torch

from onedc.codec import DEFAULT_QUALITY, Codec, Output, Picture, quality_byte
from onedc.config import QUALITY_MAX
from onedc.container import DEFAULT_MAX_PIXELS, read_header
from onedc.file_info import File, read_file
from onedc.image import Color, Keepable
from onedc.model.family import FamilyFile, load_member
from onedc.model.refine import Progress
from onedc.rate import highest_within


class FamilyCodec(Codec):
    """A codec of several rates, each a model of its own.

    Args:
        file: the family.
        device: where the networks run.
        dtype: precision of the float networks.
    """

    member: int | None = None
    """Which rate is in memory."""
    compiles = False

    def __init__(
        self, file: FamilyFile, *, device: str | torch.device = "cpu", dtype: torch.dtype = torch.float32
    ) -> None:
        self.file = file
        self._lock = RLock()
        self.device, self.dtype = torch.device(device), dtype
        self._select(file.member_of(quality_byte(DEFAULT_QUALITY)))

    def encode_batch(
        self,
        images: Sequence[Picture],
        *,
        quality: float = DEFAULT_QUALITY,
        background: Color | None = None,
        keep: Collection[Keepable] = (),
        effort: int = 0,
        progress: Progress | None = None,
    ) -> list[bytes]:
        """As `Codec.encode_batch`; the quality chooses the rate."""
        with self._lock:
            self._select(self.file.member_of(quality_byte(quality)))
            return super().encode_batch(
                images, quality=quality, background=background, keep=keep, effort=effort, progress=progress
            )

    def encode_to_size(
        self,
        image: Picture,
        target_bytes: int,
        *,
        background: Color | None = None,
        keep: Collection[Keepable] = (),
        effort: int = 0,
        progress: Progress | None = None,
    ) -> bytes:
        """As `Codec.encode_to_size`, rate by rate."""
        options: dict[str, Any] = {
            "background": background,
            "keep": keep,
            "effort": effort,
            "progress": progress,
        }
        return highest_within(
            lambda byte: self.encode(image, quality=byte * 100 / QUALITY_MAX, **options),
            self.quality_bytes,
            target_bytes,
        )

    @property
    def quality_bytes(self) -> Sequence[int]:
        """One quality byte for each rate, the highest that selects it."""
        return sorted({self.file.member_of(byte): byte for byte in range(QUALITY_MAX + 1)}.values())

    def decode_batch(
        self,
        files: Sequence[File],
        *,
        output: Output = "pil",
        max_pixels: int = DEFAULT_MAX_PIXELS,
        partial: bool = False,
        preview: bool = False,
    ) -> list[Any]:
        """As `Codec.decode_batch`; files of different rates are decoded rate by rate."""
        data = [read_file(file) for file in files]
        members = [self.file.member_of(read_header(one).quality) for one in data]
        decoded: dict[int, Any] = {}
        for member in sorted(set(members)):
            places = [place for place, other in enumerate(members) if other == member]
            with self._lock:
                self._select(member)
                pictures = super().decode_batch(
                    [data[place] for place in places],
                    output=output,
                    max_pixels=max_pixels,
                    partial=partial,
                    preview=preview,
                )
            decoded |= dict(zip(places, pictures, strict=True))
        return [decoded[place] for place in range(len(files))]

    def verify(self, file: File, *, max_pixels: int = DEFAULT_MAX_PIXELS) -> None:
        """As `Codec.verify`, by the rate that the file was made with."""
        data = read_file(file)
        with self._lock:
            self._select(self.file.member_of(read_header(data).quality))
            super().verify(data, max_pixels=max_pixels)

    def compile(self) -> None:
        """As `Codec.compile`, for each rate that comes into memory."""
        self.compiles = True
        super().compile()

    def _select(self, member: int) -> None:
        """Bring one rate into memory in place of the one that is there."""
        if self.member == member:
            return
        self.member = self.nets = None  # frees the memory first
        weights = load_member(self.file, member, dtype=self.dtype)
        super().__init__(weights, device=self.device, dtype=self.dtype)
        self.member = member
        if self.compiles:
            super().compile()
