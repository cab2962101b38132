"""onedc as a codec under test, through its public interface."""

from __future__ import annotations

from pathlib import Path

import onedc
from onedc.constants import QUALITY_MAX
from onedc.engine.protocol import Precision
from onedc.errors import ConfigError
from onedc.evaluation.codecs import FileCodec, Original
from onedc.evaluation.metrics import file_hash
from onedc.image import RGBArray
from onedc.loading import load
from onedc.weights import BUNDLED


class OneDCCodec(FileCodec):
    """A model of onedc; its settings are those of -q, one for each quality byte."""

    suffix = ".1dc"

    def __init__(
        self,
        name: str,
        weights: Path | None = None,
        *,
        device: str = "cpu",
        precision: Precision = "auto",
        threads: int | None = None,
    ) -> None:
        self.name = name
        self.codec = load(weights, device=device, precision=precision, threads=threads)
        digest = file_hash(weights or BUNDLED)
        self.ladder = [_quality(byte) for byte in self.codec.quality_bytes]
        engine = self.codec.model.engine
        self.identity = (
            f"onedc {onedc.__version__} weights {digest} {engine.name} {device} {engine.precision}"
        )
        if engine.on_cpu:  # in bf16 the floats that y comes from depend on it
            self.identity += f" threads {engine.threads}"

    def encode(self, picture: RGBArray, setting: float) -> bytes:
        """[H,W,3] -> the bytes of a .1dc file."""
        return self.codec.encode(picture, quality=setting)

    def decode(self, data: bytes, height: int, width: int) -> RGBArray:
        """The bytes of a .1dc file -> [height,width,3]."""
        return self.codec.decode(data, output="numpy")

    def setting_within(self, original: Original, target_bytes: int) -> float:
        """The quality that the codec's own search chooses; its lowest where every file is too large."""
        try:
            data = self.codec.encode_to_size(original.pixels, target_bytes, shrink=False)
        except ConfigError:
            return self.ladder[0]
        return _quality(onedc.info(data).quality_byte)


def _quality(byte: int) -> float:
    """The quality 0..100 of a quality byte, as short as tells all bytes apart."""
    return round(byte * 100 / QUALITY_MAX, 2)
