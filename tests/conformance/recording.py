"""What a decoder reads on its way: the integers that goldens and exactness tests compare."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from onedc.codec import Codec
from onedc.model.fsq import FSQ


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
    hyper, scan = codec.seam.hyper, codec.seam.scan

    def record_z(z_hat: Tensor) -> tuple[Tensor, Tensor]:
        recording.z_idx = FSQ.to_indices(z_hat).cpu().numpy()
        return hyper(z_hat)

    def record_y(features: Tensor, quality: Tensor, code: Callable[[int, Tensor, Tensor], Tensor]) -> Tensor:
        def spy(part: int, table_idx: Tensor, mean: Tensor) -> Tensor:
            symbols = code(part, table_idx, mean)
            recording.table_idx.append(table_idx.cpu().numpy())
            recording.symbols.append(symbols.cpu().numpy().astype(np.int32))
            return symbols

        return scan(features, quality, spy)

    with mock.patch.object(codec.seam, "hyper", record_z), mock.patch.object(codec.seam, "scan", record_y):
        yield recording


@contextmanager
def integers_only(codec: Codec) -> Iterator[None]:
    """Skip the float networks of the decoder inside the block; pictures come out grey."""

    def grey(y_hat: Tensor, z_semantic: Tensor, qualities: Tensor) -> Tensor:
        height, width = (64 * side for side in z_semantic.shape[-2:])
        return torch.zeros(len(y_hat), 3, height, width)

    with mock.patch.object(codec, "_synthesise", grey):
        yield
