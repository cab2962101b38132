"""The range coder in plain Python, and what a range coder offers; `native` is the same in constriction.

Written from `docs/format.md`, variable by variable. Must not know symbols or tables.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from itertools import islice, repeat
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from onedc.entropy.range_coder import PRECISION_BITS, STATE_BITS, WORD_BITS, IntArray, Interval
from onedc.errors import FormatError

_WORD_MASK = (1 << WORD_BITS) - 1
_STATE_MASK = (1 << STATE_BITS) - 1
_TOTAL = 1 << PRECISION_BITS

Model: TypeAlias = Iterable[list[int]]
"""The edges of each symbol's intervals: the left edges of the k symbols in units of 2**-24, then 2**24."""


def categorical(freq: IntArray) -> Model:
    """A model of k = len(freq) symbols from positive frequencies that add up to 65536."""
    return repeat(_edges(freq[None])[0])


def uniform(base: int) -> Model:
    """A model of `base` equally likely digits, 2 <= base <= 2**16; the last takes the remainder."""
    return repeat([i * (_TOTAL // base) for i in range(base)] + [_TOTAL])


def each(freq: npt.NDArray[np.integer]) -> Model:
    """A model of n symbols, each by its own row of frequencies [n, k], which are as in `categorical`."""
    return _edges(freq)


def _edges(freq: npt.NDArray[np.integer]) -> list[list[int]]:
    """The edges of tables given by their frequencies [n, k], a row for each."""
    edges = np.zeros((freq.shape[0], freq.shape[1] + 1), np.int64)
    np.cumsum(freq, axis=1, out=edges[:, 1:])
    count = freq.shape[1]
    edges = (edges * (_TOTAL - count) >> 16) + np.arange(count + 1)
    rows: list[list[int]] = edges.tolist()
    return rows


class Encoder:
    """Codes symbols into an ever smaller interval.

    It keeps the words that are settled but for a carry, then 64 bits of `low`.
    """

    def __init__(self) -> None:
        self._words: list[int] = []
        self._low = 0
        self._size = _STATE_MASK

    def encode(self, symbols: IntArray, model: Model) -> None:
        """Append `symbols` [n], drawn from `model`; n may not be 0."""
        low, size = self._low, self._size
        for symbol, edges in zip(symbols.tolist(), model, strict=False):
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

    def copy(self) -> Encoder:
        """Another one with the same interval."""
        twin = Encoder()
        twin._words, twin._low, twin._size = [*self._words], self._low, self._size
        return twin

    def extent(self) -> tuple[int, int]:
        """`size` and `bits` of the interval, at no cost."""
        return self._size, len(self._words) * WORD_BITS + STATE_BITS

    def interval(self) -> Interval:
        """The interval so far; linear in the bytes so far."""
        size, bits = self.extent()
        settled = int.from_bytes(np.array(self._words, ">u4").tobytes(), "big")
        return Interval(settled << STATE_BITS | self._low, size, bits)

    def _carry(self) -> None:
        last = len(self._words) - 1
        while self._words[last] == _WORD_MASK:
            self._words[last] = 0
            last -= 1
        self._words[last] += 1


class Decoder:
    """Reads symbols back; behind the end of its data stand zeros without end.

    It keeps how far the data lies above `low`, and the words that are still to come.
    """

    def __init__(self, data: bytes) -> None:
        padded = data + bytes(-len(data) % (WORD_BITS // 8))
        self._words = np.frombuffer(padded, ">u4").tolist()
        self._next = 2
        self._above = self._word(0) << WORD_BITS | self._word(1)
        self._size = _STATE_MASK

    def decode(self, model: Model, count: int) -> IntArray:
        """The next `count` > 0 symbols [count], drawn from `model`; one of `each` must have as many rows.

        Raises:
            FormatError: no symbol of the model lies where the data points.
        """
        above, size = self._above, self._size
        symbols = []
        for edges in islice(model, count):
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
