"""The range coder of constriction, compiled.

Adapts its words to the interval that `docs/format.md` speaks of. Must not know symbols or tables.
"""

from __future__ import annotations

from typing import Any

import constriction
import numpy as np
import numpy.typing as npt

from onedc.entropy.range_coder import STATE_BITS, WORD_BITS, IntArray, Interval
from onedc.errors import FormatError

_EACH = constriction.stream.model.Categorical(perfect=False)
"""Tables whose probabilities come with the symbols, a row for each."""


class NativeEncoder:
    """A `RangeEncoder` that runs in constriction."""

    def __init__(self) -> None:
        self._coder = constriction.stream.queue.RangeEncoder()

    def encode(self, symbols: IntArray, model: Any) -> None:
        """See `RangeEncoder.encode`."""
        self._coder.encode(symbols, model)

    def encode_each(self, symbols: IntArray, freq: npt.NDArray[np.int64]) -> None:
        """See `RangeEncoder.encode_each`."""
        self._coder.encode(symbols, _EACH, _probabilities(freq))

    def copy(self) -> NativeEncoder:
        """See `RangeEncoder.copy`."""
        twin = NativeEncoder()
        twin._coder = self._coder.clone()
        return twin

    def extent(self) -> tuple[int, int]:
        """See `RangeEncoder.extent`."""
        words, (_, size) = self._coder.pos()
        return size, words * WORD_BITS + STATE_BITS

    def interval(self) -> Interval:
        """See `RangeEncoder.interval`.

        constriction keeps the last 64 bits of `low` and may owe a carry to the words before them. The words
        of its sealed stream have the carry in, and exceed `low` by less than 2**32.
        """
        words, (lower, size) = self._coder.pos()
        bits = words * WORD_BITS + STATE_BITS
        sealed = self._coder.get_compressed().astype(">u4").tobytes()
        point = int.from_bytes(sealed.ljust(bits // 8, b"\0"), "big")
        excess = (point - lower) & ((1 << STATE_BITS) - 1)
        return Interval(point - excess, size, bits)


class NativeDecoder:
    """A `RangeDecoder` that runs in constriction."""

    def __init__(self, data: bytes) -> None:
        padded = data + bytes(-len(data) % (WORD_BITS // 8))
        self._coder = constriction.stream.queue.RangeDecoder(np.frombuffer(padded, ">u4").astype(np.uint32))

    def decode(self, model: Any, count: int) -> IntArray:
        """See `RangeDecoder.decode`."""
        return self._decode(model, count)

    def decode_each(self, freq: npt.NDArray[np.int64]) -> IntArray:
        """See `RangeDecoder.decode_each`."""
        return self._decode(_EACH, _probabilities(freq))

    def _decode(self, *model: Any) -> IntArray:
        try:
            symbols: IntArray = self._coder.decode(*model)
        except AssertionError as error:  # how constriction reports a point outside every symbol
            raise FormatError("the coded data is damaged: it points outside every symbol") from error
        return symbols


class NativeCoder:
    """A `RangeCoder` that runs in constriction."""

    name = "constriction"

    def encoder(self) -> NativeEncoder:
        """See `RangeCoder.encoder`."""
        return NativeEncoder()

    def decoder(self, data: bytes) -> NativeDecoder:
        """See `RangeCoder.decoder`."""
        return NativeDecoder(data)

    def categorical(self, freq: IntArray) -> Any:
        """See `RangeCoder.categorical`."""
        return constriction.stream.model.Categorical(_probabilities(freq), perfect=False)

    def uniform(self, base: int) -> Any:
        """See `RangeCoder.uniform`."""
        return constriction.stream.model.Uniform(base)


def _probabilities(freq: npt.NDArray[np.integer]) -> npt.NDArray[np.float64]:
    """Only float64 gives exact boundaries."""
    return freq.astype(np.float64) / 65536
