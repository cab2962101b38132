"""Damaged and hostile files through the whole decoder: a FormatError or a picture of the declared size.

Work is bounded by what a file declares. CPU time and memory of one decode, on the fixture model, stay below
`SECONDS` + `SECONDS_PER_PIXEL` and `BYTES` + `BYTES_PER_PIXEL` for each declared pixel, padding included.
"""

from __future__ import annotations

import resource
import sys
import time
from collections import Counter

import pytest
from tests.conformance.fixture_model import FIXTURE
from tests.conformance.pictures import picture
from tests.properties.mutations import Mutant, mutants

from onedc.codec import Codec
from onedc.container.packing import read_header
from onedc.errors import FormatError
from onedc.loading import load

SECONDS, SECONDS_PER_PIXEL = 0.5, 20e-6
BYTES, BYTES_PER_PIXEL = 100e6, 2000
SIZES = ((1, 1), (64, 64), (130, 70), (200, 150))


@pytest.fixture(scope="module")
def codec() -> Codec:
    return load(FIXTURE, precision="fp32")


def valid_files(codec: Codec) -> list[bytes]:
    return [codec.encode(picture(*size), quality=q) for size in SIZES for q in (0, 10, 100)]


def outcome(codec: Codec, mutant: Mutant) -> str:
    """Decode one mutant: "refused" or "decoded"; fails on anything else, and beyond the bounds."""
    memory, start = peak_bytes(), time.thread_time()
    try:
        decoded = codec.decode(mutant.data)
        result = "decoded"
    except FormatError:
        result = "refused"
    seconds, growth = time.thread_time() - start, peak_bytes() - memory
    pixels = 0
    if result == "decoded":
        header = read_header(mutant.data)
        assert decoded.size == (header.width, header.height)
        pixels = header.positions * 4096
    elif mutant.sealed:
        pixels = declared_pixels(codec, mutant)
    assert seconds <= SECONDS + SECONDS_PER_PIXEL * pixels, (mutant, seconds)
    assert growth <= BYTES + BYTES_PER_PIXEL * pixels, (mutant, growth)
    return result


def declared_pixels(codec: Codec, mutant: Mutant) -> int:
    """Pixels of a refused file that passed the container's checks, else 0: it was refused at once."""
    try:
        return codec.model.unpack(mutant.data, max_pixels=1 << 26).header.positions * 4096
    except FormatError:
        return 0


def peak_bytes() -> int:
    """Largest memory that this process ever held."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def fuzz(codec: Codec, count: int, seed: int) -> Counter[str]:
    files = valid_files(codec)
    return Counter(outcome(codec, mutant) for mutant in mutants(files, codec.model.fingerprint, count, seed))


def test_a_sample_of_mutants(codec: Codec) -> None:
    results = fuzz(codec, 600, seed=1)
    assert results["refused"] > results["decoded"] > 0


@pytest.mark.long
def test_twenty_thousand_mutants(codec: Codec) -> None:
    results = fuzz(codec, 20_000, seed=2)
    print(dict(results))
    assert results.total() == 20_000
