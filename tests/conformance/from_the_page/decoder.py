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
from tests.conformance.from_the_page.refusal import RefusedError, require


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


def decode(
    data: bytes,
    model: Model,
    cdf: Integers,
    *,
    cut: bool = False,
    preview: bool = False,
    max_pixels: int = 1 << 26,
) -> Decoded:
    """Decode a file by its model and the tables' cumulative frequencies `cdf` [256,103].

    With `cut` the file may end anywhere behind z, section 3.4; a `preview` is of z alone, section 4.4.

    Raises:
        RefusedError: the page says so.
    """
    header = parse_header(data)
    require(header.model_id == model.model_id, f"the file needs model {header.model_id}")
    require(header.width * header.height <= max_pixels, "more pixels than the limit")
    if header.form != UNCHECKED and not cut:
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
    quality = 0 if preview else header.quality
    if not header.quality:
        reader.finish()
    elif cut:
        require(reader.is_whole(), "z is not complete")
    parts = _Parts(YReader(reader, cdf), decoded, 4 if quality else 0, cut=cut)
    decoded.y_hat = model.y_hat(levels, quality, parts)
    if cut and quality and not parts.whole:
        parts = _Parts(YReader(reader, cdf), decoded, 0, cut=cut)
        decoded.y_hat = model.y_hat(levels, 0, parts)
    elif quality and not cut:
        reader.finish()
    return decoded


class _Parts:
    """Reads the first `count` parts of y of a file, while they are whole if it may be cut; the rest is 0."""

    def __init__(self, y: YReader, decoded: Decoded, count: int, *, cut: bool) -> None:
        self._y, self._decoded, self._count, self._cut = y, decoded, count, cut
        self.whole = 0
        decoded.tables, decoded.values = [], []

    def __call__(self, tables: Integers) -> Integers:
        part = len(self._decoded.tables)
        values = np.zeros_like(tables)
        if part < self._count and self.whole == part:
            values = self._whole(tables) if self._cut else self._read(tables)
        self._decoded.tables.append(tables)
        self._decoded.values.append(values)
        return values

    def _read(self, tables: Integers) -> Integers:
        values = self._y.part(tables)
        self.whole += 1
        return values

    def _whole(self, tables: Integers) -> Integers:
        before = self.whole
        try:
            values = self._read(tables)
            if self.whole == 4:
                self._y.reader.finish()
            else:
                require(self._y.reader.is_whole(), "the part is not complete")
        except RefusedError:
            self.whole = before
            return np.zeros_like(tables)
        return values
