"""A whole file to its integers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from tests.conformance.from_the_page.coder import Reader
from tests.conformance.from_the_page.header import (
    UNCHECKED,
    Header,
    checksum,
    parse_header,
    section,
    split_sections,
)
from tests.conformance.from_the_page.payload import Integers, ReadPart, YReader, read_levels
from tests.conformance.from_the_page.refusal import require


class Model(Protocol):
    """Whose files are read, and the networks that choose the tables of y."""

    model_id: int
    fingerprint: bytes
    z_prior: dict[str, Integers]
    """The integers of the learned prior of z by name; empty for the uniform code."""

    def y_hat(self, levels: Integers, quality: int, read: ReadPart) -> Integers:
        """y_hat [N,4h,4w] in units of 2^-14 from levels [7,h,w].

        `read` gives the values of the next of four parts by their tables, both [N/4,4h,4w].
        """


@dataclass
class Decoded:
    """The integers of a file."""

    header: Header
    sections: dict[int, bytes]
    z_idx: Integers  # [h,w]
    y_hat: Integers  # [N,4h,4w], in units of 2^-14
    tables: list[Integers] = field(default_factory=list)  # four times [N/4,4h,4w]
    values: list[Integers] = field(default_factory=list)  # likewise


def decode(data: bytes, model: Model, cdf: Integers, *, max_pixels: int = 1 << 26) -> Decoded:
    """Decode a file by its model and the tables' cumulative frequencies `cdf` [256,103].

    Raises:
        RefusedError: the page says so.
    """
    header = parse_header(data)
    require(header.model_id == model.model_id, f"the file needs model {header.model_id}")
    require(header.width * header.height <= max_pixels, "more pixels than the limit")
    if header.form != UNCHECKED:
        require(data[header.checksum] == checksum(data, header, model.fingerprint), "checksum")
    bodies, at = split_sections(data, header.length) if header.has_sections else ({}, header.length)
    height, width = -(-header.height // 64), -(-header.width // 64)
    thousandths = 7 if model.z_prior else 14000
    require(len(data) - at >= -(-thousandths * height * width // 8000) - 1, "the payload is too short")
    sections = {key: section(key, body, header) for key, body in bodies.items()}

    reader = Reader(data[at:])
    levels = read_levels(reader, height, width, model.z_prior)
    z_idx = (levels * 4 ** np.arange(7)[:, None, None]).sum(axis=0)
    decoded = Decoded(header, sections, z_idx, np.zeros(0, np.int64))
    y = YReader(reader, cdf)

    def read(tables: Integers) -> Integers:
        decoded.tables.append(tables)
        decoded.values.append(y.part(tables) if header.quality else np.zeros_like(tables))
        return decoded.values[-1]

    decoded.y_hat = model.y_hat(levels, header.quality, read)
    reader.finish()
    return decoded
