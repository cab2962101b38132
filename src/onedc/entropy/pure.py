"""The range coder in plain Python: the same bits where constriction cannot be imported.

Written from `docs/format.md`, variable by variable. Must not know symbols or tables.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from itertools import repeat

import numpy as np
import numpy.typing as npt

from onedc.entropy.range_coder import PRECISION_BITS, STATE_BITS, WORD_BITS, IntArray, Interval
from onedc.errors import FormatError

_WORD_MASK = (1 << WORD_BITS) - 1
_STATE_MASK = (1 << STATE_BITS) - 1
_TOTAL = 1 << PRECISION_BITS

Edges = list[int]
"""A model: the left edges of its n symbols in units of 2**-24, then 2**24."""


class PureEncoder:
    """A `RangeEncoder`: the words that are settled but for a carry, then 64 bits of `low`."""

    def __init__(self) -> None:
        self._words: list[int] = []
        self._low = 0
        self._size = _STATE_MASK

    def encode(self, symbols: IntArray, model: Edges) -> None:
        """See `RangeEncoder.encode`."""
        self._encode(symbols, repeat(model))

    def encode_each(self, symbols: IntArray, freq: npt.NDArray[np.int64]) -> None:
        """See `RangeEncoder.encode_each`."""
        self._encode(symbols, _table_edges(freq))

    def _encode(self, symbols: IntArray, models: Iterable[Edges]) -> None:
        low, size = self._low, self._size
        for symbol, edges in zip(symbols.tolist(), models, strict=False):
            left = edges[symbol]
            scale = size >> PRECISION_BITS
            low += scale * left
            size = scale * (edges[symbol + 1] - left)
            if low > _STATE_MASK:
                low &= _STATE_MASK
                self._carry()
            if size <= _WORD_MASK:
                self._words.append(low >> WORD_BITS)
                low = (low & _WORD_MASK) << WORD_BITS
                size <<= WORD_BITS
        self._low, self._size = low, size

    def copy(self) -> PureEncoder:
        """See `RangeEncoder.copy`."""
        twin = PureEncoder()
        twin._words, twin._low, twin._size = [*self._words], self._low, self._size
        return twin

    def extent(self) -> tuple[int, int]:
        """See `RangeEncoder.extent`."""
        return self._size, len(self._words) * WORD_BITS + STATE_BITS

    def interval(self) -> Interval:
        """See `RangeEncoder.interval`."""
        size, bits = self.extent()
        settled = int.from_bytes(np.array(self._words, ">u4").tobytes(), "big")
        return Interval(settled << STATE_BITS | self._low, size, bits)

    def _carry(self) -> None:
        last = len(self._words) - 1
        while self._words[last] == _WORD_MASK:
            self._words[last] = 0
            last -= 1
        self._words[last] += 1


class PureDecoder:
    """A `RangeDecoder`: how far the data lies above `low`, and the words that are still to come."""

    def __init__(self, data: bytes) -> None:
        padded = data + bytes(-len(data) % (WORD_BITS // 8))
        self._words = np.frombuffer(padded, ">u4").tolist()
        self._next = 2
        self._above = self._word(0) << WORD_BITS | self._word(1)
        self._size = _STATE_MASK

    def decode(self, model: Edges, count: int) -> IntArray:
        """See `RangeDecoder.decode`."""
        return self._decode(repeat(model, count))

    def decode_each(self, freq: npt.NDArray[np.int64]) -> IntArray:
        """See `RangeDecoder.decode_each`."""
        return self._decode(_table_edges(freq))

    def _decode(self, models: Iterable[Edges]) -> IntArray:
        above, size = self._above, self._size
        symbols = []
        for edges in models:
            scale = size >> PRECISION_BITS
            quantile = above // scale
            if quantile >= _TOTAL:
                raise FormatError("the coded data is damaged: it points outside every symbol")
            symbol = bisect_right(edges, quantile) - 1
            left = edges[symbol]
            above -= scale * left
            size = scale * (edges[symbol + 1] - left)
            if size <= _WORD_MASK:
                above = above << WORD_BITS | self._word(self._next)
                size <<= WORD_BITS
                self._next += 1
            symbols.append(symbol)
        self._above, self._size = above, size
        return np.array(symbols, np.int32)

    def _word(self, index: int) -> int:
        return self._words[index] if index < len(self._words) else 0


class PureCoder:
    """A `RangeCoder` in plain Python."""

    name = "python"

    def encoder(self) -> PureEncoder:
        """See `RangeCoder.encoder`."""
        return PureEncoder()

    def decoder(self, data: bytes) -> PureDecoder:
        """See `RangeCoder.decoder`."""
        return PureDecoder(data)

    def categorical(self, freq: IntArray) -> Edges:
        """See `RangeCoder.categorical`."""
        return _table_edges(freq[None])[0]

    def uniform(self, base: int) -> Edges:
        """See `RangeCoder.uniform`: equal widths, and the last digit takes the remainder."""
        return [i * (_TOTAL // base) for i in range(base)] + [_TOTAL]


def _table_edges(freq: npt.NDArray[np.integer]) -> list[Edges]:
    """The edges of tables given by their frequencies [n, k], a row for each."""
    edges = np.zeros((freq.shape[0], freq.shape[1] + 1), np.int64)
    np.cumsum(freq, axis=1, out=edges[:, 1:])
    count = freq.shape[1]
    edges = (edges * (_TOTAL - count) >> 16) + np.arange(count + 1)
    rows: list[Edges] = edges.tolist()
    return rows
