"""Section 4 of the page but for its networks: z and the values of y."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from tests.conformance.from_the_page.coder import Reader, from_table, uniform
from tests.conformance.from_the_page.refusal import require

Integers = NDArray[np.int64]
ReadPart = Callable[[Integers], Integers]

NEIGHBOURS = (0, -2), (0, -1), (-1, -2), (-1, -1), (-1, 0), (-1, 1), (-2, 0)
OUTSIDE = 4
DIGIT = uniform(4)
MOST_DIGITS = 8
MOST_VALUE = 30000


def read_levels(reader: Reader, height: int, width: int, prior: dict[str, Integers]) -> Integers:
    """Levels [7,h,w] of z, by the learned prior unless there is none.

    Raises:
        RefusedError: the payload holds something else.
    """
    if prior:
        return _learned(reader, height, width, prior)
    levels = [reader.symbol(DIGIT) for _ in range(7 * height * width)]
    return np.array(levels).reshape(height, width, 7).transpose(2, 0, 1)


def _learned(reader: Reader, height: int, width: int, prior: dict[str, Integers]) -> Integers:
    """Section 4.2; the levels stand in a frame of neighbours outside: two above, two left, one right."""
    framed = np.full((7, height + 2, width + 3), OUTSIDE)
    for wave in _waves(height, width):
        sums = [prior["bias"] + _near(framed, row, column, prior["near"]) for row, column in wave]
        for d in range(7):
            for at, (row, column) in enumerate(wave):
                level = reader.symbol(_level_table(sums[at], d, prior))
                framed[d, row + 2, column + 2] = level
                if d < 6:
                    sums[at] = sums[at] + prior["own"][d, level]
    return framed[:, 2:, 2:-1]


def _waves(height: int, width: int) -> Iterator[list[tuple[int, int]]]:
    for wave in range(width + 2 * height - 2):
        yield [(row, wave - 2 * row) for row in range(height) if 0 <= wave - 2 * row < width]


def _near(framed: Integers, row: int, column: int, near: Integers) -> Integers:
    """The neighbours' share of s [H]."""
    seen = np.array([framed[:, row + 2 + down, column + 2 + across] for down, across in NEIGHBOURS])
    return near[np.arange(7)[:, None], np.arange(7), seen].sum(axis=(0, 1))


def _level_table(sums: Integers, d: int, prior: dict[str, Integers]) -> list[int]:
    g = (prior["out_bias"][d] + (prior["out"][d] * np.maximum(sums, 0)).sum(axis=1) + 2**15) >> 16
    b = np.minimum(g.max() - g, 5120)
    w = ((512 - b % 256) * 4096) >> (b // 256)
    cum = 16 * np.arange(5) + 65472 * np.append(0, w.cumsum()) // w.sum()
    return from_table(cum.tolist())


class YReader:
    """Reads the values of y, part by part; `cdf` [256,103] are the tables."""

    def __init__(self, reader: Reader, cdf: Integers) -> None:
        self.reader = reader
        self._models = [from_table([0, *(cum for cum in row.tolist() if cum)]) for row in cdf]

    def part(self, tables: Integers) -> Integers:
        """The values of a part by their tables, both [N/4,4h,4w].

        Raises:
            RefusedError: the payload holds something else.
        """
        order = np.argsort(tables, axis=None, kind="stable")
        values = np.zeros(tables.size, np.int64)
        escaped = []
        for at in order.tolist():
            model = self._models[tables.flat[at]]
            symbol, n = self.reader.symbol(model), len(model) - 1
            values[at] = symbol - (n - 2) // 2
            if symbol == n - 1:
                escaped.append((at, (n - 2) // 2))
        for (at, c), r in zip(escaped, self._escapes(len(escaped)), strict=True):
            values[at] = -(r + 1) // 2 - c if r % 2 else r // 2 + c + 1
        require(bool((abs(values) <= MOST_VALUE).all()), f"a value is beyond {MOST_VALUE}")
        return values.reshape(tables.shape)

    def _escapes(self, count: int) -> list[int]:
        digits = self._digit_counts(count)
        r = [0] * count
        for k in range(max(digits, default=0)):
            for i in range(count):
                if digits[i] > k:
                    digit = self.reader.symbol(DIGIT)
                    require(digit > 0 or digits[i] > k + 1, "an escape begins with 0")
                    r[i] |= digit << 2 * k
        return r

    def _digit_counts(self, count: int) -> list[int]:
        digits = [0] * count
        going = list(range(count))
        while going:
            steps = [self.reader.symbol(DIGIT) for _ in going]
            for i, step in zip(going, steps, strict=True):
                digits[i] += step
                require(digits[i] <= MOST_DIGITS, "an escape is too long")
            going = [i for i, step in zip(going, steps, strict=True) if step == 3]
        return digits
