"""How much damage of small files nobody notices: with a checksum of 8 bits, of 24, and without one.

`python -m tests.properties.check_misses --count 100000` prints, for each kind of damage and each form, of how
many files that it changed how many still decode. The model is the example of docs/format.md.
"""

from __future__ import annotations

import argparse
import random
from collections import Counter
from collections.abc import Callable

import numpy as np
from tests.conformance.reject import FINGERPRINT, MODEL_ID, TABLE_IDX, read

from onedc.container.header import Form, Header
from onedc.container.packing import pack
from onedc.entropy.coder import SymbolEncoder
from onedc.entropy.z_prior import UniformZPrior
from onedc.errors import FormatError


def small_files(rng: np.random.Generator) -> list[tuple[bytes, ...]]:
    """Files of every form of Form, in its order, of the same payloads, without and with y."""
    files = []
    for down, across in ((1, 1), (2, 1), (2, 3), (4, 4), (4, 6), (6, 9)):
        for quality in (0, 90) if down * across < 9 else (0,):
            encoder = SymbolEncoder()
            UniformZPrior().encode(encoder, rng.integers(0, 1 << 14, (down, across)))
            for _ in range(4 if quality else 0):
                values = np.round(rng.normal(size=16 * down * across) * 0.5).astype(np.int32)
                encoder.encode(values, np.tile(TABLE_IDX, down * across))
            header = Header(model_id=MODEL_ID, quality=quality, width=64 * across, height=64 * down)
            payload = encoder.finish()
            files.append(tuple(pack(header, payload, FINGERPRINT, form=form) for form in Form))
    return files


def _bits(count: int) -> Callable[[random.Random, bytes, bytes], bytes]:
    def flip(rng: random.Random, data: bytes, other: bytes) -> bytes:
        bits = int.from_bytes(data, "big")
        for _ in range(count):
            bits ^= 1 << rng.randrange(8 * len(data))
        return bits.to_bytes(len(data), "big")

    return flip


def _bytes(rng: random.Random, data: bytes, other: bytes) -> bytes:
    start, length = rng.randrange(len(data)), rng.randrange(1, 9)
    return data[:start] + rng.randbytes(len(data[start : start + length])) + data[start + length :]


def _lose(rng: random.Random, data: bytes, other: bytes) -> bytes:
    start = rng.randrange(len(data))
    return data[:start] + data[start + rng.randrange(1, 4) :]


def _cut(rng: random.Random, data: bytes, other: bytes) -> bytes:
    return data[: rng.randrange(len(data))]


def _splice(rng: random.Random, data: bytes, other: bytes) -> bytes:
    at = rng.randrange(1, len(data))
    return data[:at] + other[at:]


DAMAGE: dict[str, Callable[[random.Random, bytes, bytes], bytes]] = {
    "1 bit": _bits(1),
    "2 bits": _bits(2),
    "8 bits": _bits(8),
    "1 to 8 bytes in a row": _bytes,
    "1 to 3 bytes lost": _lose,
    "cut": _cut,
    "the rest of another file": _splice,
}


def misses(count: int, seed: int) -> dict[str, Counter[str]]:
    """Kind of damage -> how many files were damaged ("files"), and how many of each form still decode."""
    rng = random.Random(seed)
    files = small_files(np.random.default_rng(seed))
    found: dict[str, Counter[str]] = {kind: Counter() for kind in DAMAGE}
    for index in range(count):
        kind = list(DAMAGE)[index % len(DAMAGE)]
        (one, other), chance = rng.sample(files, 2), rng.getrandbits(64)
        found[kind]["files"] += 1
        for form, data, rest in zip(Form, one, other, strict=True):
            damaged = DAMAGE[kind](random.Random(chance), data, rest)
            found[kind][form.name] += damaged not in (data, rest) and _decodes(damaged)
    return found


def _decodes(data: bytes) -> bool:
    try:
        read(data)
    except FormatError:
        return False
    return True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    print(f"{'damage':25} {'files':>7} {'24 bits':>8} {'8 bits':>8} {'none':>8}")
    for kind, counts in misses(args.count, args.seed).items():
        print(f"{kind:25} {counts['files']:7}" + "".join(f" {counts[form.name]:8}" for form in Form))


if __name__ == "__main__":
    main()
