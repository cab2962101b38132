"""Mutated files through the whole codec: FormatError, or a picture of the declared size, within bounds.

`pytest -m full` runs 20,000 of them, else a sample runs.
"""

from __future__ import annotations

import json
import re
import resource
import time
from collections import Counter

import pytest
from tests.conformance.fixture_model import FIXTURE
from tests.conformance.regenerate import SUITES
from tests.properties.mutations import MUTATIONS, mutants

from onedc.codec import Codec
from onedc.container.packing import read_header
from onedc.errors import FormatError
from onedc.loading import load

SAMPLE, FULL = 300, 20_000
MAX_PIXELS = 1 << 20
SECONDS = (1.0, 20e-6)  # of processor time: for each file, for each declared pixel
MEMORY_BYTES = (64 << 20, 1000)  # above what the model takes: at all, for each pixel of MAX_PIXELS


@pytest.fixture(scope="module")
def codec() -> Codec:
    return load(FIXTURE, precision="fp32")


def test_a_sample_of_mutated_files(codec: Codec) -> None:
    check(codec, SAMPLE)


@pytest.mark.full
def test_twenty_thousand_mutated_files(codec: Codec) -> None:
    check(codec, FULL)


def check(codec: Codec, count: int) -> None:
    """Decode `count` mutants of the golden files and print what became of them."""
    files = [path.read_bytes() for path in sorted(SUITES["fixture"].folder.glob("*/file.1dc"))]
    for data in files:
        codec.decode(data)
    before = peak_memory_bytes()
    outcomes: Counter[str] = Counter()
    slowest = 0.0
    for mutant in mutants(files, codec.model.fingerprint, count):
        start = time.process_time()
        outcome, pixels = decode(codec, mutant.data)
        seconds = time.process_time() - start
        assert seconds < SECONDS[0] + SECONDS[1] * pixels, (mutant.kind, mutant.data.hex())
        slowest = max(slowest, seconds)
        outcomes[outcome] += 1
    grown = peak_memory_bytes() - before
    facts = {"outcomes": outcomes, "slowest_s": round(slowest, 3), "grown_mb": grown >> 20}
    print(json.dumps(facts, indent=1))
    assert grown < MEMORY_BYTES[0] + MEMORY_BYTES[1] * MAX_PIXELS
    assert outcomes["picture"] > 0
    assert len(outcomes) > len(MUTATIONS) // 2


def decode(codec: Codec, data: bytes) -> tuple[str, int]:
    """What became of a file, in words, and how many pixels it declares (0 if it is no file at all)."""
    try:
        header = read_header(data)
    except FormatError:
        pixels = 0
    else:
        pixels = min(header.width * header.height, MAX_PIXELS)
    try:
        picture = codec.decode(data, output="numpy", max_pixels=MAX_PIXELS)
    except FormatError as error:
        message = str(error)
        assert "\n" not in message
        return " ".join(re.sub(r"\d+", "N", message).split()[:6]), pixels
    assert picture.shape == (header.height, header.width, 3)
    return "picture", pixels


def peak_memory_bytes() -> int:
    """The largest resident size of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
