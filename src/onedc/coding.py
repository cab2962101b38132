"""One file: latents of a picture to its bytes, and bytes to a picture.

`write` and `decode` are mirror images, one verb a line. Networks are behind an engine (`engine.protocol`);
all between z and y runs in integers there, so that both walk through the same entropy tables on any machine.
Below them stands who writes and reads the symbols of y on that walk (`Seam.scan`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onedc.config import PARTS
from onedc.container.header import Form
from onedc.container.packing import Contents, least_payload_bytes, note, pack
from onedc.container.side_data import from_sections
from onedc.effort.level import Effort
from onedc.engine.models import ReadyModel
from onedc.entropy.coder import SYMBOL_MAX, SymbolDecoder, SymbolEncoder
from onedc.errors import FormatError
from onedc.image.forms import Output, Source, as_output, common_positions
from onedc.latents import Latents, gained
from onedc.model.parts import collapse
from onedc.seam.fixed_point import Code, Seam


def least_bytes(model: ReadyModel, source: Source, form: Form | None) -> int:
    """No file of the picture has fewer bytes: what is known before the networks run."""
    header = source.header(model.model_id, 0)
    payload = bytes(least_payload_bytes(header, model.z_prior.least_position_millibits))
    return len(pack(header, payload, model.fingerprint, source.sections, form=form))


def write(model: ReadyModel, latents: Latents, byte: int, effort: Effort, form: Form | None) -> list[bytes]:
    """Latents of pictures to .1dc files of one quality."""
    byte = 0 if model.config.z_only else byte
    streams = [stream.copy() for stream in latents.z_streams]
    if byte:
        y_gained = gained(model, latents, byte, effort)
        qualities = np.full(len(streams), byte, np.int64)
        code = y_writer(streams, y_gained, latents.seen(byte))
        model.engine.seam.scan(latents.hyper.features, qualities, code)
    files = []
    for stream, source in zip(streams, latents.sources, strict=True):
        header = source.header(model.model_id, byte)
        files.append(pack(header, stream.finish(), model.fingerprint, source.sections, form=form))
    return files


def decode(
    model: ReadyModel,
    contents: Sequence[Contents],
    output: Output,
    *,
    preview: bool,
    cut: bool,
    full_size: bool,
) -> list[Any]:
    """Files of one model to pictures; `cut`: they may end anywhere behind z."""
    headers = [content.header for content in contents]
    sizes = {(header.width, header.height) for header in headers}
    positions = common_positions(sizes, "files of one picture size", FormatError)
    side_data = [from_sections(c.sections, c.header.width, c.header.height) for c in contents]
    streams = [SymbolDecoder(content.payload) for content in contents]
    z_idx = np.stack([model.z_prior.decode(stream, *positions) for stream in streams])
    features, z_semantic = model.engine.seam.hyper(z_idx)
    qualities = np.array([0 if preview else header.quality for header in headers])
    if cut:
        check_z(streams, [header.quality for header in headers])
        y_hat, parts = read_cut(model.engine.seam, features, streams, qualities)
        qualities = np.where(parts, qualities, 0)
    else:
        y_hat, parts = read_whole(model.engine.seam, features, streams, qualities, to_end=not preview)
    del features  # of a large picture more than y
    batch = model.engine.synthesise(y_hat, z_semantic, qualities, as_floats=output == "torch")
    pictures = []
    for row, (pixels, content) in enumerate(zip(batch, contents, strict=True)):
        verified = not cut and content.form is not Form.UNCHECKED
        text = note(model.model_id, int(qualities[row]), parts=int(parts[row]), verified=verified)
        pictures.append(as_output(pixels, output, side_data[row], content.header, text, full_size=full_size))
    return pictures


def y_writer(
    streams: Sequence[SymbolEncoder], y_gained: NDArray[Any], seen: Sequence[tuple[int, int]] | None = None
) -> Code:
    """The encoder's visitor of the four-step walk: quantises y and writes its symbols.

    Args:
        seen: rows and columns of each picture's y that are coded, the others being their means; None: all.
    """

    def code(part: int, table_idx: NDArray[Any], mean: NDArray[Any]) -> NDArray[np.int32]:
        residual = np.rint(collapse(y_gained, part) - mean)
        symbols: NDArray[np.int32] = np.clip(residual, -SYMBOL_MAX, SYMBOL_MAX).astype(np.int32)
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
