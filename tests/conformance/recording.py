"""What a decoder reads on its way: the integers that goldens and exactness tests compare."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

import numpy as np
from numpy.typing import NDArray

from onedc.codec import Codec
from onedc.seam.fixed_point import Code, Hyper


@dataclass
class Recording:
    """Integers of one call of `decode_batch`, the batch in front."""

    z_idx: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))  # [B,H/64,W/64]
    symbols: list[NDArray[np.int32]] = field(default_factory=list)  # four times [B,N/4,H/16,W/16]
    table_idx: list[NDArray[np.uint8]] = field(default_factory=list)  # likewise

    def arrays(self, row: int = 0) -> dict[str, NDArray[Any]]:
        """One picture's integers by name, as golden files hold them."""
        parts: dict[str, NDArray[Any]] = {"z_idx": self.z_idx[row].astype(np.int16)}
        for part, (symbols, table_idx) in enumerate(zip(self.symbols, self.table_idx, strict=True)):
            parts[f"symbols_{part}"] = symbols[row].astype(np.int16)
            parts[f"table_idx_{part}"] = table_idx[row]
        return parts


@contextmanager
def recorded(codec: Codec) -> Iterator[Recording]:
    """Record what `codec` decodes inside the block; one call."""
    recording = Recording()
    seam = codec.model.engine.seam
    hyper, scan = seam.hyper, seam.scan

    def record_z(z_idx: NDArray[np.int64]) -> Hyper:
        recording.z_idx = z_idx
        return hyper(z_idx)

    def record_y(features: NDArray[Any], qualities: NDArray[Any], code: Code) -> NDArray[np.float32]:
        def spy(part: int, table_idx: NDArray[Any], mean: NDArray[Any]) -> NDArray[np.int32]:
            symbols = code(part, table_idx, mean)
            recording.table_idx.append(table_idx.copy())
            recording.symbols.append(symbols.copy())
            return symbols

        return scan(features, qualities, spy)

    with mock.patch.object(seam, "hyper", record_z), mock.patch.object(seam, "scan", record_y):
        yield recording


@contextmanager
def integers_only(codec: Codec) -> Iterator[None]:
    """Skip the float networks of the decoder inside the block; pictures come out grey."""

    def grey(y_hat: NDArray[Any], z_semantic: NDArray[Any], *_: Any, **how: Any) -> NDArray[np.uint8]:
        height, width = (64 * side for side in z_semantic.shape[-2:])
        return np.full((len(y_hat), height, width, 3), 128, np.uint8)

    with mock.patch.object(codec.model.engine, "synthesise", grey):
        yield
