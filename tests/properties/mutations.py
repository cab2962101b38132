"""Mutated .1dc files: flips, truncations, splices, header fields at their extremes, random bytes.

`mutants` is for any reader of files: of the container here, of the whole codec in the end-to-end fuzz.
Half of the mutants get a checksum that fits again, so that parser and entropy decoder are reached.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from onedc.container.header import Form, fits_compact
from onedc.container.packing import pack, seal, unpack

HEADER_BYTES = 12
SIDES = (0, 1, 63, 64, 65, 127, 128, 16383, 16384, 65535, 65536, 2**21, 2**35 - 1)


class Mutant(NamedTuple):
    """One damaged file. `kind` names the mutation, `sealed` says that the checksum was made anew."""

    kind: str
    sealed: bool
    data: bytes


def mutants(files: Sequence[bytes], fingerprint: bytes, count: int, seed: int = 0) -> Iterator[Mutant]:
    """`count` mutants of the given valid files; the same for the same arguments."""
    rng = random.Random(seed)
    kinds = list(MUTATIONS)
    for index in range(count):
        kind = kinds[index // 2 % len(kinds)]
        data = MUTATIONS[kind](rng, files)
        sealed = index % 2 == 1 and len(data) >= 8
        yield Mutant(kind, sealed, seal(data, fingerprint) if sealed else data)


def _flip_bits(rng: random.Random, files: Sequence[bytes]) -> bytes:
    data = bytearray(rng.choice(files))
    for _ in range(rng.choice((1, 1, 2, 8, 64))):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(data)


def _flip_header(rng: random.Random, files: Sequence[bytes]) -> bytes:
    data = bytearray(rng.choice(files))
    data[rng.randrange(min(HEADER_BYTES, len(data)))] ^= 1 << rng.randrange(8)
    return bytes(data)


def _set_bytes(rng: random.Random, files: Sequence[bytes]) -> bytes:
    data = bytearray(rng.choice(files))
    start = rng.randrange(len(data))
    stop = min(len(data), start + rng.choice((1, 2, 4, 32)))
    data[start:stop] = bytes([rng.choice((0x00, 0x01, 0x7F, 0x80, 0xFF))]) * (stop - start)
    return bytes(data)


def _truncate(rng: random.Random, files: Sequence[bytes]) -> bytes:
    data = rng.choice(files)
    return data[: rng.choice((rng.randrange(len(data)), len(data) - 1, max(0, len(data) - 2)))]


def _append(rng: random.Random, files: Sequence[bytes]) -> bytes:
    return rng.choice(files) + rng.choice((b"\0", b"\0\0", b"\xff", rng.randbytes(rng.randrange(1, 200))))


def _splice(rng: random.Random, files: Sequence[bytes]) -> bytes:
    head, tail = rng.choice(files), rng.choice(files)
    return head[: rng.randrange(len(head) + 1)] + tail[rng.randrange(len(tail) + 1) :]


def _swap_payload(rng: random.Random, files: Sequence[bytes]) -> bytes:
    return rng.choice(files)[:HEADER_BYTES] + rng.choice(files)[HEADER_BYTES:]


def _cut_out(rng: random.Random, files: Sequence[bytes]) -> bytes:
    data = rng.choice(files)
    start = rng.randrange(len(data))
    return data[:start] + data[start + rng.randrange(1, 9) :]


def _repeat(rng: random.Random, files: Sequence[bytes]) -> bytes:
    data = rng.choice(files)
    start = rng.randrange(len(data))
    return data[:start] + data[start : start + 16] * rng.randrange(2, 5) + data[start:]


def _in_form(data: bytes, form: Form) -> bytes:
    """A valid file in another form, its checksum zero; as it is where that form cannot hold it."""
    contents = unpack(data, fingerprint=None)
    if form is not Form.FULL and (contents.sections or not fits_compact(contents.header)):
        return data
    return pack(contents.header, contents.payload, b"", contents.sections, form=form)


def _compact_flags(rng: random.Random, files: Sequence[bytes]) -> bytes:
    data = _in_form(rng.choice(files), rng.choice((Form.COMPACT, Form.UNCHECKED)))
    return data[:1] + bytes([rng.choice((0x60, 0x60, 0xB0, 0xC0)) | rng.randrange(16)]) + data[2:]


def _compact_fields(rng: random.Random, files: Sequence[bytes]) -> bytes:
    """Every field of a compact header at random, before a payload that was valid."""
    data = rng.choice(files)
    form = rng.choice((0x60, 0xB0)) | rng.randrange(16)
    fields = rng.choice((rng.randbytes(8), bytes(8), b"\xff" * 8))[: rng.randrange(9)]
    return bytes([0x1D, form]) + fields + unpack(data, fingerprint=None).payload


def _other_form(rng: random.Random, files: Sequence[bytes]) -> bytes:
    """The same file in another form, which is valid once it is sealed, flipped now and then."""
    data = bytearray(_in_form(rng.choice(files), rng.choice(list(Form))))
    for _ in range(rng.choice((0, 1, 2))):
        data[rng.randrange(min(HEADER_BYTES, len(data)))] ^= 1 << rng.randrange(8)
    return bytes(data)


def _extreme_fields(rng: random.Random, files: Sequence[bytes]) -> bytes:
    data = _in_form(rng.choice(files), Form.FULL)
    form = rng.choice((data[2], data[2], data[2], 0x00, 0x0F, 0x11, 0x1F, 0x20, 0xF0))
    model_id = rng.choice((data[3], data[3], 0, 1, 191, 192, 255))
    quality = rng.choice((data[4], 0, 1, 127, 254, 255))
    sides = raw_number(rng, rng.choice(SIDES)) + raw_number(rng, rng.choice(SIDES))
    return data[:2] + bytes((form, model_id, quality)) + data[5:8] + sides + _after_sides(data)


def _small_sides(rng: random.Random, files: Sequence[bytes]) -> bytes:
    data = _in_form(rng.choice(files), Form.FULL)
    sides = raw_number(rng, rng.randrange(1, 200)) + raw_number(rng, rng.randrange(1, 200))
    return data[:8] + sides + _after_sides(data)


def _largest_sides(rng: random.Random, files: Sequence[bytes]) -> bytes:
    """About as large as the payload allows: the most work for the fewest bytes."""
    data = _in_form(rng.choice(files), Form.FULL)
    payload = _after_sides(data)[: rng.choice((40, 100, 450))]
    positions = max(1, (len(payload) + 1) * 8 // 14 + rng.randrange(-1, 2))
    across = rng.randrange(1, positions + 1)
    sides = raw_number(rng, 64 * across) + raw_number(rng, 64 * max(1, positions // across))
    return data[:8] + sides + rng.choice((payload, rng.randbytes(len(payload)), bytes(len(payload))))


def _sections(rng: random.Random, files: Sequence[bytes]) -> bytes:
    data = _in_form(rng.choice(files), Form.FULL)
    body = b""
    for _ in range(rng.randrange(4)):
        length = rng.choice((0, 1, 5, 200))
        stated = rng.choice((length, length, length + 1, 2**28))
        body += bytes([rng.choice((1, 2, 3, 0x80, 0x81, 0x82, 0x83, 0xFF))])
        body += raw_number(rng, stated) + rng.randbytes(length)
    after = _after_sides(data)
    start = len(data) - len(after)
    return data[:2] + bytes([data[2] | 1]) + data[3:start] + body + rng.choice((b"\0", b"\0", b"")) + after


def _random_payload(rng: random.Random, files: Sequence[bytes]) -> bytes:
    data = _in_form(rng.choice(files), Form.FULL)
    start = len(data) - len(_after_sides(data))
    fill = rng.choice((None, 0x00, 0xFF))
    length = rng.choice((0, 1, 2, 14, len(data) - start, 4 * len(data)))
    return data[:start] + (rng.randbytes(length) if fill is None else bytes([fill]) * length)


def _random_bytes(rng: random.Random, files: Sequence[bytes]) -> bytes:
    start = rng.choice(
        (b"", b"\x1d", b"\x1d\xc0", b"\x1d\xc0\x10", b"\x1d\xb5", b"\x1d\x60", rng.choice(files)[:8])
    )
    return start + rng.randbytes(rng.choice((0, 1, 5, 40, 400)))


MUTATIONS: dict[str, Callable[[random.Random, Sequence[bytes]], bytes]] = {
    "flip bits": _flip_bits,
    "flip header": _flip_header,
    "set bytes": _set_bytes,
    "truncate": _truncate,
    "append": _append,
    "splice": _splice,
    "swap payload": _swap_payload,
    "cut out": _cut_out,
    "repeat": _repeat,
    "compact flags": _compact_flags,
    "compact fields": _compact_fields,
    "other form": _other_form,
    "extreme fields": _extreme_fields,
    "small sides": _small_sides,
    "largest sides": _largest_sides,
    "sections": _sections,
    "random payload": _random_payload,
    "random bytes": _random_bytes,
}


def raw_number(rng: random.Random, value: int) -> bytes:
    """A number of variable length; now and then in a form that is longer than it need be."""
    out = []
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    if rng.random() < 0.1:
        return bytes([*out, value | 0x80, 0])
    return bytes([*out, value])


def _after_sides(data: bytes) -> bytes:
    """What stands behind width and height."""
    at = 8
    for _ in range(2):
        while at < len(data) - 1 and data[at] & 0x80:
            at += 1
        at += 1
    return data[at:]
