"""Section 3 of the page: the coder."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from tests.conformance.from_the_page.refusal import require


def uniform(base: int) -> list[int]:
    """left_0 to left_n of a digit of that base."""
    return [i * (2**24 // base) for i in range(base)] + [2**24]


def from_table(cum: Sequence[int]) -> list[int]:
    """left_0 to left_n of a table's cumulative frequencies cum_0 to cum_n."""
    n = len(cum) - 1
    return [(c * (2**24 - n) >> 16) + i for i, c in enumerate(cum)]


class Reader:
    """Reads symbols of a payload; `above`, `size` and `bits` are those of section 3.2.

    All numbers but the count of bits stay below 2^72.
    """

    def __init__(self, payload: bytes) -> None:
        self._payload = payload
        self.size, self.bits = 2**64 - 1, 64
        self.above = int.from_bytes(payload[:8].ljust(8, b"\0"), "big")

    def symbol(self, left: Sequence[int]) -> int:
        """The next symbol, by its model left_0 to left_n.

        Raises:
            RefusedError: the payload names no symbol here, or has long ended.
        """
        scale = self.size >> 24
        quantile = self.above // scale
        require(quantile < 2**24, "the payload points outside every symbol")
        i = bisect_right(left, quantile) - 1
        self.above -= scale * left[i]
        self.size = scale * (left[i + 1] - left[i])
        if self.size < 2**32:
            at = self.bits // 8
            word = self._payload[at : at + 4].ljust(4, b"\0")
            self.above = self.above << 32 | int.from_bytes(word, "big")
            self.size <<= 32
            self.bits += 32
        require(self.may_go_on(), "the payload ends too early")
        return i

    def may_go_on(self) -> bool:
        """Whether the payload has all bytes of the symbols read so far but one at most."""
        return self._fits(self._unused_bits() - 8)

    def is_whole(self) -> bool:
        """Whether the payload has the m bytes of section 3.4: all numbers that begin with it are in."""
        return self.above + (1 << max(self._unused_bits(), 0)) <= self.size

    def finish(self) -> None:
        """Check the end by the second rule of section 3.3.

        Raises:
            RefusedError: the payload is not what an encoder writes for the symbols that were read.
        """
        u = self._unused_bits()
        require(not self._fits(u + 8), "bytes are left over")
        if self._fits(u):
            low = self.above - (self._payload[-1] << u)
            require(self.above < 1 << u and low % (1 << u + 8) >= self.size, "not what an encoder writes")

    def _unused_bits(self) -> int:
        """u of section 3.3; below 0 if the payload is longer than what was read of it."""
        return self.bits - 8 * len(self._payload)

    def _fits(self, exponent: int) -> bool:
        """Whether 2^exponent <= size."""
        return exponent < self.size.bit_length()
