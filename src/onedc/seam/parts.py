"""The four parts that y is coded in: which of its values belong to which, and who writes and reads them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from onedc.config import PARTS, TURN
from onedc.entropy.coder import SYMBOL_MAX, SymbolDecoder, SymbolEncoder
from onedc.errors import FormatError
from onedc.seam.protocol import Code, Seam

T = TypeVar("T", bound=np.generic)


def collapse(values: NDArray[T], part: int) -> NDArray[T]:
    """[B,N,h,w] -> [B,N/4,h,w]: at each position the one group of channels that belongs to the part."""
    batch, channels, height, width = values.shape
    groups = values.reshape(batch, PARTS, channels // PARTS, height, width)
    out = np.empty_like(groups[:, 0], order="C")
    for group in range(PARTS):
        row, column = divmod(group ^ TURN[part], 2)
        out[..., row::2, column::2] = groups[:, group, :, row::2, column::2]
    return out


def expand(values: NDArray[T], part: int) -> NDArray[T]:
    """The inverse of `collapse`: [B,N/4,h,w] -> [B,N,h,w], zero where the part has nothing."""
    batch, channels, height, width = values.shape
    groups = np.zeros((batch, PARTS, channels, height, width), values.dtype)
    for group in range(PARTS):
        row, column = divmod(group ^ TURN[part], 2)
        groups[:, group, :, row::2, column::2] = values[..., row::2, column::2]
    return groups.reshape(batch, PARTS * channels, height, width)


def y_writer(
    streams: Sequence[SymbolEncoder], y_gained: NDArray[Any], seen: Sequence[tuple[int, int]] | None = None
) -> Code:
    """The encoder's visitor of the four-step walk: quantises y and writes its symbols.

    Args:
        seen: rows and columns of each picture's y that are coded, the others being their means; None: all.
    """

    def code(part: int, table_idx: NDArray[Any], mean: NDArray[Any]) -> NDArray[np.int32]:
        residual = np.rint(collapse(y_gained, part) - mean)
        symbols = np.clip(residual, -SYMBOL_MAX, SYMBOL_MAX).astype(np.int32)
        for values, (rows, columns) in zip(symbols, seen or (), strict=seen is not None):
            values[:, rows:], values[:, :, columns:] = 0, 0
        for stream, values, tables in zip(streams, symbols, table_idx, strict=True):
            stream.encode(values.reshape(-1), tables.reshape(-1))
        return symbols

    return code


def y_reader(streams: Sequence[SymbolDecoder], qualities: NDArray[np.int64]) -> Code:
    """The decoder's visitor of the four-step walk: reads symbols; zeros where there is no y section."""

    def code(part: int, table_idx: NDArray[np.uint8], mean: NDArray[np.float64]) -> NDArray[np.int32]:
        symbols = np.zeros(table_idx.shape, np.int32)
        for row, stream in enumerate(streams):
            if qualities[row]:
                symbols[row] = stream.decode(table_idx[row].reshape(-1)).reshape(symbols[row].shape)
        return symbols

    return code


def check_z(streams: Sequence[SymbolDecoder], qualities: Sequence[int]) -> None:
    """Check that files that may be cut, of which z was read, hold all of it; those of quality 0 all in all.

    Raises:
        FormatError: one does not.
    """
    for stream, quality in zip(streams, qualities, strict=True):
        if quality:
            stream.check_cut()
        else:
            stream.finish()


def read_whole(
    seam: Seam,
    features: NDArray[np.float64],
    streams: Sequence[SymbolDecoder],
    qualities: NDArray[np.int64],
    *,
    to_end: bool,
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """y of whole files, of which z was read; results as of `read_cut`.

    Args:
        to_end: the files end behind y; False where y stands in them but is not read.

    Raises:
        FormatError: damaged files.
    """
    y_hat = seam.scan(features, qualities, y_reader(streams, qualities))
    for stream in streams if to_end else []:
        stream.finish()
    return y_hat, np.full(len(streams), PARTS)


def read_cut(
    seam: Seam, features: NDArray[np.float64], streams: Sequence[SymbolDecoder], qualities: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """y of files that may end anywhere behind z: of each the parts that are whole, the others as their means.

    Returns:
        y_hat [B,N,h/16,w/16], and how many parts of each are whole [B]. Where none is, y_hat is that of
        quality 0.
    """
    whole = np.zeros(len(streams), np.int64)
    read: list[NDArray[np.int32]] = []

    def code(part: int, table_idx: NDArray[np.uint8], mean: NDArray[np.float64]) -> NDArray[np.int32]:
        read.append(np.zeros(table_idx.shape, np.int32))
        for row, stream in enumerate(streams):
            if qualities[row] and whole[row] == part:
                values = _whole_part(stream, part, table_idx[row].reshape(-1))
                if values is not None:
                    read[part][row] = values.reshape(table_idx[row].shape)
                    whole[row] += 1
        return read[part]

    y_hat = seam.scan(features, qualities, code)
    if (qualities > 0)[whole == 0].any():
        y_hat = seam.scan(features, np.where(whole, qualities, 0), lambda part, table_idx, mean: read[part])
    return y_hat, whole


def _whole_part(stream: SymbolDecoder, part: int, table_idx: NDArray[np.uint8]) -> NDArray[np.int32] | None:
    if part < PARTS - 1:
        return stream.decode_fixed(table_idx)
    try:
        symbols = stream.decode(table_idx)
        stream.finish()
    except FormatError:
        return None
    return symbols
