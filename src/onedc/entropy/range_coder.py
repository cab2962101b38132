"""What a range coder has to offer, and the arithmetic of its end.

The two coders (`native`, round constriction, and `pure`) give the same bits; `docs/format.md` is their
common definition. Must not know symbols, tables or escapes.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

PRECISION_BITS = 24
"""Probabilities inside the coder are integers in units of 2**-24."""
WORD_BITS = 32
STATE_BITS = 64

IntArray = npt.NDArray[np.int32]


class Interval(NamedTuple):
    """The half-open interval of numbers that decode to the symbols coded so far.

    It is [low, low + size) in units of 2**-bits, inside [0, 1); `bits` is a multiple of 32.
    """

    low: int
    size: int
    bits: int

    def most_bytes(self) -> int:
        """Smallest k for which some k bytes surely name a number in the interval."""
        return -((self.size.bit_length() - 1 - self.bits) // 8)

    def payload(self) -> bytes:
        """The canonical bytes of these symbols: one byte fewer than `most_bytes` if that hits, else as many.

        Of several strings of that length, the smallest.
        """
        count = self.most_bytes()
        if count and self._contains(self._first(count - 1)):
            count -= 1
        low, unit_bits = self._first(count)
        return (low >> unit_bits).to_bytes(count, "big")

    def fixed_bytes(self, data: bytes) -> int:
        """Smallest m so that every stream that begins with the first m bytes of `data` lies in the interval.

        `data` is continued with zero bytes where it is shorter; it must itself lie in the interval.
        """
        low, high = self.low, self.low + self.size
        value = int.from_bytes(data[: self.bits // 8].ljust(self.bits // 8, b"\0"), "big")
        count = max(0, self.most_bytes() - 1)
        while True:
            unit_bits = self.bits - 8 * count
            start = value >> unit_bits << unit_bits
            if unit_bits == 0 or (low <= start and start + (1 << unit_bits) <= high):
                return count
            count += 1

    def _first(self, count: int) -> tuple[int, int]:
        """Smallest multiple of 256**-count that is not below `low`, and the bits that are zero in it."""
        unit_bits = self.bits - 8 * count
        return -(-self.low >> unit_bits) << unit_bits, unit_bits

    def _contains(self, candidate: tuple[int, int]) -> bool:
        return candidate[0] < self.low + self.size


class RangeEncoder(Protocol):
    """Codes symbols into an ever smaller interval."""

    def encode(self, symbols: IntArray, model: Any) -> None:
        """Append `symbols` [n], each drawn from `model`; n may not be 0."""

    def encode_each(self, symbols: IntArray, freq: npt.NDArray[np.int64]) -> None:
        """Append `symbols` [n], n > 0, each by the table of its own row of frequencies [n, k]."""

    def copy(self) -> RangeEncoder:
        """Another one with the same interval."""

    def extent(self) -> tuple[int, int]:
        """`size` and `bits` of the interval, at no cost."""

    def interval(self) -> Interval:
        """The interval so far; linear in the bytes so far."""


class RangeDecoder(Protocol):
    """Reads symbols back; behind the end of its data stand zeros without end."""

    def decode(self, model: Any, count: int) -> IntArray:
        """The next `count` > 0 symbols [count], drawn from `model`.

        Raises:
            FormatError: no symbol of the model lies where the data points.
        """

    def decode_each(self, freq: npt.NDArray[np.int64]) -> IntArray:
        """The next n > 0 symbols [n], each by the table of its own row of frequencies [n, k].

        Raises:
            FormatError: no symbol of its table lies where the data points.
        """


class RangeCoder(Protocol):
    """A matching family of encoder, decoder and probability models."""

    name: str

    def __hash__(self) -> int:
        """Models are cached by coder."""

    def encoder(self) -> RangeEncoder:
        """An encoder that holds nothing yet."""

    def decoder(self, data: bytes) -> RangeDecoder:
        """A decoder at the start of `data`."""

    def categorical(self, freq: npt.NDArray[np.int32]) -> Any:
        """A model of n = len(freq) symbols from positive frequencies that add up to 65536."""

    def uniform(self, base: int) -> Any:
        """A model of `base` equally likely digits; 2 <= base <= 2**16."""
