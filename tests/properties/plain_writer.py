"""A second writer of payloads, from docs/format.md alone, symbol by symbol; its reader is `from_the_page`.

Slow and plain on purpose. It imports nothing of onedc and reads the tables from the packaged file itself.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from tests.conformance.from_the_page.coder import from_table, uniform

TABLES = Path(__file__).parents[2] / "src" / "onedc" / "entropy" / "tables.npz"
TWO32, TWO64 = 1 << 32, 1 << 64

with np.load(TABLES) as _arrays:
    CDF = _arrays["cdf"].astype(np.int64)


def table_model(table: int) -> list[int]:
    """left_0 to left_n of a table."""
    return from_table([0, *(cum for cum in CDF[table].tolist() if cum)])


class Writer:
    """Section 3.2, with `low` as one big number."""

    def __init__(self) -> None:
        self.low, self.size, self.bits = 0, TWO64 - 1, 64

    def code(self, model: list[int], i: int) -> None:
        scale = self.size >> 24
        self.low += scale * model[i]
        self.size = scale * (model[i + 1] - model[i])
        if self.size < TWO32:
            self.low, self.size, self.bits = self.low * TWO32, self.size * TWO32, self.bits + 32

    def digits(self, base: int, values: list[int]) -> None:
        model = uniform(base)
        for value in values:
            self.code(model, value)

    def part(self, tables: list[int], values: list[int]) -> None:
        """Section 4.4."""
        escapes = []
        for at in sorted(range(len(tables)), key=lambda at: tables[at]):
            model = table_model(tables[at])
            n, value = len(model) - 1, values[at]
            c = (n - 2) // 2
            inside = -c <= value <= c
            self.code(model, value + c if inside else n - 1)
            if not inside:
                escapes.append(-2 * (value + c) - 1 if value < -c else 2 * (value - c - 1))
        self._escapes(escapes)

    def payload(self) -> bytes:
        """Section 3.3, by trial."""
        k = 0
        while self.bits - 8 * k >= 0 and 2 ** (self.bits - 8 * k) > self.size:
            k += 1
        for length in (k - 1, k):
            if length >= 0:
                unit = 2 ** (self.bits - 8 * length)
                digits = -(-self.low // unit)
                if digits * unit < self.low + self.size:
                    return digits.to_bytes(length, "big")
        raise AssertionError("some k bytes always hit")

    def _escapes(self, values: list[int]) -> None:
        counts = [len(np.base_repr(value, 4)) if value else 0 for value in values]
        left = counts
        while left:
            self.digits(4, [min(count, 3) for count in left])
            left = [count - 3 for count in left if count >= 3]
        for k in range(max(counts, default=0)):
            for value, count in zip(values, counts, strict=True):
                if count > k:
                    self.digits(4, [value // 4**k % 4])
