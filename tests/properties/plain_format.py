"""A second reader and writer, from docs/format.md alone: of headers, and of payloads one symbol at a time.

Slow and plain on purpose. It imports nothing of onedc and reads the tables from the packaged file itself.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import numpy as np

TABLES = Path(__file__).parents[2] / "src" / "onedc" / "entropy" / "tables.npz"
TWO24, TWO32, TWO64 = 1 << 24, 1 << 32, 1 << 64

with np.load(TABLES) as _arrays:
    _CDF = _arrays["cdf"].tolist()


class RefusedError(Exception):
    """The page says: refuse."""


RATIOS = "1:1 3:2 2:3 4:3 3:4 16:9 9:16 5:4 4:5 2:1 1:2 8:5 5:8 20:9 9:20".split()


class PlainHeader(NamedTuple):
    """Section 1: what a header states; `original` (width, height) or None, `check` as (first byte, bytes)."""

    model_id: int
    quality: int
    size: tuple[int, int]
    original: tuple[int, int] | None
    check: tuple[int, int]
    payload: int  # where sections or the payload begin


def plain_header(data: bytes) -> PlainHeader:
    """Read a header whose file is known to be valid."""
    return _full_header(data) if data[1] == 0xC0 else _compact_header(data)


def _full_header(data: bytes) -> PlainHeader:
    sides, at = [], 8
    for _ in range(3 if data[2] & 8 else 2):
        side = shift = 0
        more = True
        while more:
            side |= (data[at] & 127) << shift
            more = data[at] > 127
            shift, at = shift + 7, at + 1
        sides.append(side)
    size = (sides[0], sides[1])
    if len(sides) == 3:
        return PlainHeader(data[3], data[4], shrunk(size, sides[2]), size, (5, 3), at)
    return PlainHeader(data[3], data[4], size, None, (5, 3), at)


def _compact_header(data: bytes) -> PlainHeader:
    checked, flags, at = int(data[1] >> 4 == 0xB), data[1] & 15, 2
    at += checked
    model_id, at = (data[at], at + 1) if flags & 2 else (1, at)
    quality, at = (data[at], at + 1) if flags & 1 else (0, at)
    count = (2 if flags & 4 else 3) + (2 if flags & 8 else 0)
    digits = "".join(f"{byte:08b}" for byte in data[at : at + count])
    if flags & 4:
        width, height = map(int, RATIOS[int(digits[:4], 2)].split(":"))
        stop = 20 if flags & 8 else 16
        size = shrunk((width, height), int(digits[4:stop], 2) + 1)
    else:
        side, stop = (14, 28) if flags & 8 else (12, 24)
        size = int(digits[:side], 2) + 1, int(digits[side:stop], 2) + 1
    original = size if flags & 8 else None
    if original:
        size = shrunk(original, int(digits[stop:], 2) + 1)
    return PlainHeader(model_id, quality, size, original, (2, checked), at + count)


def shrunk(size: tuple[int, int], longer: int) -> tuple[int, int]:
    """Both sides times longer / (the longer of both), rounded, halves up, and at least 1."""
    a, b = (max(1, int(Fraction(side * longer, max(size)) + Fraction(1, 2))) for side in size)
    return a, b


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
