"""A second reader and writer of payloads, from docs/format.md alone: exact numbers, one symbol at a time.

Slow and plain on purpose. It imports nothing of onedc and reads the tables from the packaged file itself.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

TABLES = Path(__file__).parents[2] / "src" / "onedc" / "entropy" / "tables.npz"
TWO24, TWO32, TWO64 = 1 << 24, 1 << 32, 1 << 64

with np.load(TABLES) as _arrays:
    _CDF = _arrays["cdf"].tolist()


class RefusedError(Exception):
    """The page says: refuse."""


def table_model(table: int) -> list[int]:
    cum = _CDF[table][: _CDF[table].index(65536) + 1]
    n = len(cum) - 1
    return [(c * (TWO24 - n) >> 16) + i for i, c in enumerate(cum)]


def uniform_model(base: int) -> list[int]:
    return [i * (TWO24 // base) for i in range(base)] + [TWO24]


class Interval:
    """Section 3.2, with `low` as one big number."""

    def __init__(self) -> None:
        self.low, self.size, self.bits = 0, TWO64 - 1, 64

    def step(self, model: list[int], i: int) -> None:
        scale = self.size >> 24
        self.low += scale * model[i]
        self.size = scale * (model[i + 1] - model[i])
        if self.size < TWO32:
            self.low, self.size, self.bits = self.low * TWO32, self.size * TWO32, self.bits + 32

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


class Writer:
    def __init__(self) -> None:
        self.interval = Interval()

    def code(self, model: list[int], i: int) -> int:
        self.interval.step(model, i)
        return i


class Reader:
    """The same steps, with the symbol found where the payload points; `code` ignores what it is given."""

    def __init__(self, payload: bytes) -> None:
        self.interval = Interval()
        self.payload = payload

    def code(self, model: list[int], i: int | None = None) -> int:
        state = self.interval
        size = state.bits // 8
        v = int.from_bytes(self.payload[:size].ljust(size, b"\0"), "big")
        quantile = (v - state.low) // (state.size >> 24)
        if quantile >= TWO24:
            raise RefusedError
        i = max(j for j in range(len(model) - 1) if model[j] <= quantile)
        state.step(model, i)
        return i

    def finish(self) -> None:
        if self.interval.payload() != self.payload:
            raise RefusedError


def code_digits(coder: Writer | Reader, base: int, count: int, values: list[int] | None = None) -> list[int]:
    model = uniform_model(base)
    return [coder.code(model, values[i] if values else None) for i in range(count)]


def code_part(coder: Writer | Reader, tables: list[int], values: list[int] | None = None) -> list[int]:
    """Section 4.4; writes `values` if there are any, else reads them."""
    out = [0] * len(tables)
    escaped: list[int] = []
    for at in sorted(range(len(tables)), key=lambda at: tables[at]):
        model = table_model(tables[at])
        n = len(model) - 1
        c = (n - 2) // 2
        symbol = None
        if values:
            symbol = values[at] + c if -c <= values[at] <= c else n - 1
        symbol = coder.code(model, symbol)
        out[at] = symbol - c
        if symbol == n - 1:
            escaped.append(at)
    half = {at: (len(table_model(tables[at])) - 3) // 2 for at in escaped}
    r = {at: _fold(values[at], half[at]) if values else 0 for at in escaped}
    d = {at: len(np.base_repr(r[at], 4)) if r[at] else 0 for at in escaped}
    for at, value in _code_escapes(coder, escaped, r, d, reading=values is None).items():
        out[at] = -half[at] - (value + 1) // 2 if value % 2 else half[at] + 1 + value // 2
    if any(abs(value) > 30000 for value in out):
        raise RefusedError
    return out


def _fold(value: int, c: int) -> int:
    return -2 * (value + c) - 1 if value < -c else 2 * (value - c - 1)


def _code_escapes(
    coder: Writer | Reader, escaped: list[int], r: dict[int, int], d: dict[int, int], reading: bool
) -> dict[int, int]:
    model = uniform_model(4)
    left, counts, active = dict(d), dict.fromkeys(escaped, 0), escaped
    while active:
        digits = {at: coder.code(model, min(left[at], 3)) for at in active}
        for at in active:
            counts[at] += digits[at]
            left[at] -= 3
            if counts[at] > 8:
                raise RefusedError
        active = [at for at in active if digits[at] == 3]
    out = dict.fromkeys(escaped, 0)
    for k in range(8):
        for at in escaped:
            if counts[at] > k:
                out[at] += coder.code(model, r[at] // 4**k % 4) * 4**k
    assert reading or out == r
    return out
