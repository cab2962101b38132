"""One file: latents of a picture to its bytes, and bytes to a picture.

`write` and `decode` are mirror images, one verb a line. Networks are behind an engine (`engine.protocol`);
all between z and y runs in integers there, so that both walk through the same entropy tables on any machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from onedc.container.header import Form
from onedc.container.packing import Contents, least_payload_bytes, note, pack
from onedc.container.side_data import from_sections
from onedc.effort.level import Effort
from onedc.engine.source import ReadyModel
from onedc.entropy.coder import SymbolDecoder
from onedc.errors import FormatError
from onedc.image.forms import Output, Source, as_output, common_positions
from onedc.latents import Latents, gained
from onedc.seam.parts import check_z, read_cut, read_whole, y_writer


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
