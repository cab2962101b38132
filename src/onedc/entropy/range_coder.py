"""The interval that a range coder ends with, and its bytes.

The two coders (`native`, in constriction, and `pure`) give the same bits; `docs/format.md` is their
common definition. Must not know symbols, tables or escapes.
"""

from __future__ import annotations

from typing import NamedTuple

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
