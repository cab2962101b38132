"""Symbols to bytes and back: grouping by table, escapes, uniform digits, and the end of the payload.

`SymbolEncoder` and `SymbolDecoder` are mirror images. Normative text: `docs/format.md`.
Must not know what the symbols mean, nor the header.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from onedc.entropy import pure
from onedc.entropy.range_coder import IntArray, Interval
from onedc.entropy.tables import load_tables
from onedc.errors import FormatError

SYMBOL_MAX = 30000
"""Symbols are integers from -SYMBOL_MAX to SYMBOL_MAX; encoders clamp."""

_ESCAPE_BASE = 4
_NOT_CANONICAL = "the coded data is damaged: it is not what an encoder writes"
_MOST_ESCAPE_DIGITS = 8  # 4**8 is the first power above any escaped value


def _fastest_coder() -> ModuleType:
    try:
        from onedc.entropy import native
    except ImportError:
        return pure
    return native


RANGE_CODER = _fastest_coder()
"""The module `native` where constriction is installed, else `pure`: the same bits."""


@cache
def _table_models(coder: ModuleType) -> tuple[Any, ...]:
    return tuple(map(coder.categorical, load_tables().freq))


@cache
def _uniform_model(coder: ModuleType, base: int) -> Any:
    return coder.uniform(base)


class SymbolEncoder:
    """Appends uniform digits and table-coded symbols to one payload."""

    def __init__(self, coder: ModuleType = RANGE_CODER) -> None:
        self._coder = coder
        self._range = coder.Encoder()

    def copy(self) -> SymbolEncoder:
        """Another encoder with the same symbols behind it."""
        twin = SymbolEncoder(self._coder)
        twin._range = self._range.copy()
        return twin

    def encode_uniform(self, values: npt.NDArray[Any], base: int) -> None:
        """Append `values` [n], integers from 0 to base - 1, each at log2(base) bits; 2 <= base <= 65536.

        Raises:
            ValueError: a value out of range.
        """
        if values.size and not 0 <= int(values.min()) <= int(values.max()) < base:
            raise ValueError(f"digits from {values.min()} to {values.max()} do not fit base {base}")
        self._encode_bins(values, _uniform_model(self._coder, base))

    def encode_each(self, values: npt.NDArray[Any], freq: npt.NDArray[np.int64]) -> None:
        """Append `values` [n], integers from 0 to k - 1, each by its own table.

        Args:
            freq: frequencies [n, k], positive; each row adds up to 65536.

        Raises:
            ValueError: a value out of range.
        """
        if values.size and not 0 <= int(values.min()) <= int(values.max()) < freq.shape[1]:
            raise ValueError(f"values from {values.min()} to {values.max()} do not fit {freq.shape[1]} bins")
        self._encode_bins(values, self._coder.each(freq))

    def encode(self, symbols: npt.NDArray[Any], table_idx: npt.NDArray[Any]) -> None:
        """Append one part: `symbols` [n] with `table_idx` [n] (0..255), both in format order.

        The part is written table by table; its escapes follow behind.

        Raises:
            ValueError: lengths differ, or a symbol is beyond SYMBOL_MAX.
        """
        if symbols.shape != table_idx.shape or symbols.ndim != 1:
            raise ValueError(f"symbols {symbols.shape} and tables {table_idx.shape} must be flat and match")
        if symbols.size and max(-int(symbols.min()), int(symbols.max())) > SYMBOL_MAX:
            raise ValueError(f"symbols from {symbols.min()} to {symbols.max()} exceed {SYMBOL_MAX}")
        tables, models = load_tables(), _table_models(self._coder)
        order = np.argsort(table_idx, kind="stable")
        escape_bin = (tables.length - 2)[table_idx[order]]
        above = symbols[order].astype(np.int32) - tables.offset[table_idx[order]]
        escaped = (above < 0) | (above >= escape_bin)
        bins = np.where(escaped, escape_bin, above)
        for table, start, stop in _groups(table_idx):
            self._encode_bins(bins[start:stop], models[table])
        self._encode_escapes(_fold(above[escaped], escape_bin[escaped]))

    def finish(self) -> bytes:
        """The payload: less than one byte above the information of what was appended."""
        payload: bytes = self._range.interval().payload()
        return payload

    def _encode_escapes(self, values: IntArray) -> None:
        """Digit counts of all `values` in base 4 (as threes and a rest), then their digits, in rounds."""
        counts = sum((values >= _ESCAPE_BASE**k).astype(np.int32) for k in range(_MOST_ESCAPE_DIGITS))
        counts = np.asarray(counts, np.int32)
        left = counts
        while left.size:
            self.encode_uniform(np.minimum(left, 3), _ESCAPE_BASE)
            left = left[left >= 3] - 3
        for k in range(int(counts.max(initial=0))):
            self.encode_uniform(values[counts > k] >> 2 * k & 3, _ESCAPE_BASE)

    def _encode_bins(self, bins: npt.NDArray[Any], model: Any) -> None:
        if bins.size:
            self._range.encode(np.ascontiguousarray(bins, np.int32), model)


class SymbolDecoder:
    """Reads a payload back. A range encoder follows what is read, which tells where the payload must end."""

    def __init__(self, data: bytes, coder: ModuleType = RANGE_CODER) -> None:
        self._data = bytes(data)
        self._coder = coder
        self._range = coder.Decoder(self._data)
        self._follower = coder.Encoder()

    def decode_uniform(self, count: int, base: int) -> IntArray:
        """The next `count` digits [count] from 0 to base - 1.

        Raises:
            FormatError: damaged data, or its end was passed.
        """
        values = self._decode_bins(_uniform_model(self._coder, base), count)
        self._check_end()
        return values

    def decode_each(self, freq: npt.NDArray[np.int64]) -> IntArray:
        """The next values [n], each by its own table; `freq` [n, k] as in `SymbolEncoder.encode_each`.

        Raises:
            FormatError: damaged data, or its end was passed.
        """
        values = self._decode_bins(self._coder.each(freq), len(freq))
        self._check_end()
        return values

    def decode(self, table_idx: npt.NDArray[Any]) -> IntArray:
        """The next part [n] in format order, given its tables [n] (0..255).

        Raises:
            FormatError: damaged data, or its end was passed.
        """
        tables, models = load_tables(), _table_models(self._coder)
        order = np.argsort(table_idx, kind="stable")
        escape_bin = (tables.length - 2)[table_idx[order]]
        above = np.empty(table_idx.size, np.int32)
        for table, start, stop in _groups(table_idx):
            above[start:stop] = self._decode_bins(models[table], stop - start)
        escaped = above == escape_bin
        above[escaped] = _unfold(self._decode_escapes(int(escaped.sum())), escape_bin[escaped])
        symbols = np.empty(table_idx.size, np.int32)
        symbols[order] = above + tables.offset[table_idx[order]]
        if symbols.size and max(-int(symbols.min()), int(symbols.max())) > SYMBOL_MAX:
            raise FormatError(f"the coded data is damaged: a symbol is beyond {SYMBOL_MAX}")
        self._check_end()
        return symbols

    def decode_fixed(self, table_idx: npt.NDArray[Any]) -> IntArray | None:
        """As `decode`, of data whose end was cut off: None where the data does not fix the whole part."""
        try:
            symbols = self.decode(table_idx)
        except FormatError:
            return None
        return symbols if self.bytes_read <= len(self._data) else None

    @property
    def bytes_read(self) -> int:
        """How many leading bytes of the payload fix all that was read so far.

        May exceed the length of a payload that ends here, since zero bytes are implied behind it.
        """
        count: int = self._follower.interval().fixed_bytes(self._data)
        return count

    def check_cut(self) -> None:
        """Check that a payload whose end was cut off still fixes all that was read so far.

        Raises:
            FormatError: it does not.
        """
        missing = self.bytes_read - len(self._data)
        if missing > 0:
            raise FormatError(f"the file is cut too early: {missing} more bytes are needed for a preview")

    def finish(self) -> None:
        """Check that the payload is exactly what an encoder writes for the symbols that were read.

        Raises:
            FormatError: bytes are left over or missing, or the payload is not in its canonical form.
        """
        canonical = self._follower.interval().payload()
        if len(self._data) > len(canonical):
            raise FormatError(f"{len(self._data) - len(canonical)} bytes are left over behind the coded data")
        if self._data != canonical:
            raise FormatError(_NOT_CANONICAL)

    def _decode_escapes(self, count: int) -> IntArray:
        """Mirror image of `SymbolEncoder._encode_escapes`."""
        counts = np.zeros(count, np.int32)
        active = np.arange(count)
        while active.size:
            digits = self._decode_bins(_uniform_model(self._coder, _ESCAPE_BASE), active.size)
            counts[active] += digits
            active = active[digits == 3]
            if counts.max() > _MOST_ESCAPE_DIGITS:
                raise FormatError("the coded data is damaged: an escape is too long")
        values = np.zeros(count, np.int32)
        for k in range(int(counts.max(initial=0))):
            active = np.flatnonzero(counts > k)
            digits = self._decode_bins(_uniform_model(self._coder, _ESCAPE_BASE), active.size)
            values[active] |= digits << 2 * k
            if (digits[counts[active] == k + 1] == 0).any():  # the highest digit of a value
                raise FormatError(_NOT_CANONICAL)
        return values

    def _decode_bins(self, model: Any, count: int) -> IntArray:
        if not count:
            return np.empty(0, np.int32)
        bins: IntArray = self._range.decode(model, count)
        self._follower.encode(bins, model)
        return bins

    def _check_end(self) -> None:
        if Interval(0, *self._follower.extent()).most_bytes() - 1 > len(self._data):
            raise FormatError("the coded data ends too early")


def _groups(table_idx: npt.NDArray[Any]) -> Iterator[tuple[int, int, int]]:
    """(table, start, stop) of each table in use, in the order of tables."""
    stops = np.cumsum(np.bincount(table_idx, minlength=1))
    start = 0
    for table, stop in enumerate(stops.tolist()):
        if stop > start:
            yield table, start, stop
        start = stop


def _fold(above: IntArray, escape_bin: IntArray) -> IntArray:
    """Symbols outside 0..escape_bin - 1 as integers from 0: odd below, even above."""
    return np.where(above < 0, -2 * above - 1, 2 * (above - escape_bin)).astype(np.int32)


def _unfold(values: IntArray, escape_bin: IntArray) -> IntArray:
    """Inverse of `_fold`."""
    return np.where(values % 2 == 1, -(values + 1) // 2, values // 2 + escape_bin).astype(np.int32)
