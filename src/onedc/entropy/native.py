"""The range coder of constriction, compiled. What it offers is said in `pure`, which gives the same bits.

Adapts its words to the interval that `docs/format.md` speaks of. Must not know symbols or tables.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import constriction
import numpy as np
import numpy.typing as npt

from onedc.entropy.range_coder import STATE_BITS, WORD_BITS, IntArray, Interval
from onedc.errors import FormatError

Model: TypeAlias = tuple[Any, ...]
"""What constriction takes: a model; or a family of models, then the parameters of each symbol's."""

_FAMILY = constriction.stream.model.Categorical(perfect=False)


def categorical(freq: IntArray) -> Model:
    """See `pure.categorical`."""
    return (constriction.stream.model.Categorical(_probabilities(freq), perfect=False),)


def uniform(base: int) -> Model:
    """See `pure.uniform`."""
    return (constriction.stream.model.Uniform(base),)


def each(freq: npt.NDArray[np.integer]) -> Model:
    """See `pure.each`."""
    return _FAMILY, _probabilities(freq)


def _probabilities(freq: npt.NDArray[np.integer]) -> npt.NDArray[np.float64]:
    """Only float64 gives exact boundaries."""
    return freq.astype(np.float64) / 65536


class Encoder:
    """See `pure.Encoder`."""

    def __init__(self) -> None:
        self._coder = constriction.stream.queue.RangeEncoder()

    def encode(self, symbols: IntArray, model: Model) -> None:
        """See `pure.Encoder.encode`."""
        self._coder.encode(symbols, *model)

    def copy(self) -> Encoder:
        """See `pure.Encoder.copy`."""
        twin = Encoder()
        twin._coder = self._coder.clone()
        return twin

    def extent(self) -> tuple[int, int]:
        """See `pure.Encoder.extent`."""
        words, (_, size) = self._coder.pos()
        return size, words * WORD_BITS + STATE_BITS

    def interval(self) -> Interval:
        """See `pure.Encoder.interval`.

        constriction keeps the last 64 bits of `low` and may owe a carry to the words before them. The words
        of its sealed stream have the carry in, and exceed `low` by less than 2**32.
        """
        words, (lower, size) = self._coder.pos()
        bits = words * WORD_BITS + STATE_BITS
        sealed = self._coder.get_compressed().astype(">u4").tobytes()
        point = int.from_bytes(sealed.ljust(bits // 8, b"\0"), "big")
        excess = (point - lower) & ((1 << STATE_BITS) - 1)
        return Interval(point - excess, size, bits)


class Decoder:
    """See `pure.Decoder`."""

    def __init__(self, data: bytes) -> None:
        padded = data + bytes(-len(data) % (WORD_BITS // 8))
        self._coder = constriction.stream.queue.RangeDecoder(np.frombuffer(padded, ">u4").astype(np.uint32))

    def decode(self, model: Model, count: int) -> IntArray:
        """See `pure.Decoder.decode`."""
        first, *parameters = model
        try:
            symbols: IntArray = self._coder.decode(first, *(parameters or [count]))
        except AssertionError as error:  # how constriction reports a point outside every symbol
            raise FormatError("the coded data is damaged: it points outside every symbol") from error
        return symbols
