"""Random symbol streams for the coder's tests: any table, any symbol, from still to wild."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType

import numpy as np
import numpy.typing as npt

from onedc.entropy.coder import RANGE_CODER, SYMBOL_MAX, SymbolDecoder, SymbolEncoder
from onedc.entropy.tables import load_tables


@dataclass(frozen=True)
class Stream:
    """Uniform digits, then parts of (symbols, tables)."""

    digits: npt.NDArray[np.int32]
    base: int
    parts: list[tuple[npt.NDArray[np.int32], npt.NDArray[np.uint8]]]

    def encode(self, coder: ModuleType = RANGE_CODER) -> bytes:
        encoder = SymbolEncoder(coder)
        encoder.encode_uniform(self.digits, self.base)
        for symbols, table_idx in self.parts:
            encoder.encode(symbols, table_idx)
        return encoder.finish()

    def decode_like(self, data: bytes, coder: ModuleType = RANGE_CODER) -> Stream:
        """Decode `data` with this stream's lengths and tables."""
        decoder = SymbolDecoder(data, coder)
        digits = decoder.decode_uniform(self.digits.size, self.base)
        parts = [(decoder.decode(table_idx), table_idx) for _, table_idx in self.parts]
        decoder.finish()
        return Stream(digits, self.base, parts)

    def equals(self, other: Stream) -> bool:
        return np.array_equal(self.digits, other.digits) and all(
            np.array_equal(a[0], b[0]) for a, b in zip(self.parts, other.parts, strict=True)
        )


def random_stream(seed: int, most_symbols: int = 300) -> Stream:
    """A stream that depends on the seed alone."""
    rng = np.random.default_rng(seed)
    base = int(rng.choice([2, 3, 4, 10, 257, 16384, 65536]))
    digits = rng.integers(0, base, int(rng.integers(0, 40))).astype(np.int32)
    parts = [_random_part(rng, int(rng.integers(0, most_symbols))) for _ in range(int(rng.integers(0, 5)))]
    return Stream(digits, base, parts)


def _random_part(rng: np.random.Generator, count: int) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.uint8]]:
    low, high = sorted(rng.integers(0, 256, 2).tolist())
    table_idx = rng.integers(low, high + 1, count).astype(np.uint8)
    wildness = rng.choice([0.0, 0.3, 1.0, 1.0, 3.0])
    symbols = np.round(rng.normal(size=count) * load_tables().scale[table_idx] * wildness).astype(np.int32)
    far = rng.random(count) < rng.choice([0.0, 0.0, 0.02, 0.3])
    symbols[far] = rng.integers(-SYMBOL_MAX, SYMBOL_MAX + 1, int(far.sum()))
    return symbols, table_idx
