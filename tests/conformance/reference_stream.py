"""The reference implementation's own bitstream, for tests only: rANS with 16-bit tables and its file layout.

Written from section 3.4 and 7 of the specification, so that recorded streams can be read and written again.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LOWER = 1 << 23
FLAG_ONE_STREAM = 0x01
Z_BITS = 14


@dataclass(frozen=True, kw_only=True)
class ReferenceTables:
    """The reference's integer tables: cumulative counts [256,103] of 65536, lengths and offsets [256]."""

    cdf: NDArray[np.int32]
    length: NDArray[np.int32]
    offset: NDArray[np.int32]


@dataclass(frozen=True, kw_only=True)
class ReferenceFile:
    """What a stream of the reference holds."""

    height: int
    width: int
    y_stream: bytes
    z_indices: NDArray[np.int64]  # [padded height / 64, padded width / 64]


def read_file(data: bytes) -> ReferenceFile:
    """Take the reference's file apart."""
    height, width, y_length, caption = struct.unpack(">4I", data[:16])
    assert caption == 0
    rows, columns = -(-height // 64), -(-width // 64)
    z = int.from_bytes(data[16 + y_length :], "big")
    indices = [z >> Z_BITS * (rows * columns - 1 - i) & (1 << Z_BITS) - 1 for i in range(rows * columns)]
    return ReferenceFile(
        height=height,
        width=width,
        y_stream=data[16 : 16 + y_length],
        z_indices=np.array(indices).reshape(rows, columns),
    )


def write_file(file: ReferenceFile) -> bytes:
    """Put the reference's file together."""
    z = 0
    for index in file.z_indices.flat:
        z = z << Z_BITS | int(index)
    z_length = -(-Z_BITS * file.z_indices.size // 8)
    header = struct.pack(">4I", file.height, file.width, len(file.y_stream), 0)
    return header + file.y_stream + z.to_bytes(z_length, "big")


class SymbolReader:
    """Reads the y stream; the state travels on from one part to the next."""

    def __init__(self, y_stream: bytes, tables: ReferenceTables) -> None:
        assert y_stream[0] == FLAG_ONE_STREAM
        self._state = int.from_bytes(y_stream[1:5], "little")
        self._data, self._position = y_stream, 5
        self._tables = tables
        self._rows = [tables.cdf[i, : tables.length[i]] for i in range(len(tables.cdf))]

    def read(self, scale_index: NDArray[np.int16]) -> NDArray[np.int32]:
        """The symbols whose table indices are given, in their order and shape."""
        symbols = [self._symbol(int(i)) for i in scale_index.flat]
        return np.array(symbols, np.int32).reshape(scale_index.shape)

    def at_end(self) -> bool:
        """Whether the whole stream is read and the state is back where the writer began."""
        return self._position == len(self._data) and self._state == LOWER

    def _symbol(self, index: int) -> int:
        row = self._rows[index]
        slot = self._state & 0xFFFF
        value = int(np.searchsorted(row, slot, side="right")) - 1
        start = int(row[value])
        self._state = (int(row[value + 1]) - start) * (self._state >> 16) + slot - start
        self._renormalise()
        if value == int(self._tables.length[index]) - 2:
            value = self._escaped(value)
        return value + int(self._tables.offset[index])

    def _escaped(self, escape: int) -> int:
        count = digit = self._digit()
        while digit == 3:
            digit = self._digit()
            count += digit
        raw = sum(self._digit() << 2 * i for i in range(count))
        return -(raw + 1) // 2 if raw & 1 else raw // 2 + escape

    def _digit(self) -> int:
        digit = self._state & 3
        self._state >>= 2
        self._renormalise()
        return digit

    def _renormalise(self) -> None:
        while self._state < LOWER:
            self._state = self._state << 8 | self._data[self._position]
            self._position += 1


def write_symbols(
    symbols: NDArray[np.int16], scale_index: NDArray[np.int16], tables: ReferenceTables
) -> bytes:
    """The y stream of symbols with their table indices, both in coding order."""
    steps = [
        step
        for symbol, index in zip(symbols.flat, scale_index.flat, strict=True)
        for step in _steps(int(symbol), int(index), tables)
    ]
    state, emitted = LOWER, bytearray()
    for start, count in reversed(steps):
        bypass = count == 0
        limit = 1 << 29 if bypass else count << 15
        while state >= limit:
            emitted.append(state & 0xFF)
            state >>= 8
        state = state << 2 | start if bypass else (state // count << 16) + state % count + start
    return bytes([FLAG_ONE_STREAM]) + state.to_bytes(4, "little") + bytes(reversed(emitted))


def _steps(symbol: int, index: int, tables: ReferenceTables) -> Iterator[tuple[int, int]]:
    """(start, count) of each coding step of one symbol; (digit, 0) where a digit goes past the table."""
    row = tables.cdf[index]
    escape = int(tables.length[index]) - 2
    value = max(-30000, min(30000, symbol)) - int(tables.offset[index])
    entry = value if 0 <= value < escape else escape
    yield int(row[entry]), int(row[entry + 1] - row[entry])
    if entry == escape:
        raw = -2 * value - 1 if value < 0 else 2 * (value - escape)
        digits = [raw >> 2 * i & 3 for i in range(-(-raw.bit_length() // 2))]
        for digit in (*[3] * (len(digits) // 3), len(digits) % 3, *digits):
            yield digit, 0
