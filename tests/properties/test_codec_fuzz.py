"""Mutated files in every way of reading them: a FormatError, or what the file says, within bounds.

A sample; `python -m tests.properties.fuzz` reads a million. Work is bounded by what a file declares: time and
memory of one decode, on the fixture model, stay below what `SECONDS` and `MEMORY_BYTES` give for it and for
each of its pixels, padding included.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.conformance.fixture_model import FIXTURE
from tests.conformance.pictures import picture
from tests.properties import fuzz
from tests.properties.mutations import MUTATIONS, Mutant, mutants

from onedc.codec import Codec
from onedc.errors import FormatError
from onedc.loading import load

SECONDS = (0.5, 20e-6)  # of processor time: for each file, for each declared pixel
MEMORY_BYTES = (64 << 20, 1000)
SIZES = ((1, 1), (64, 64), (130, 70), (200, 150))


@pytest.fixture(scope="module")
def codec() -> Codec:
    return load(FIXTURE, precision="fp32")


@pytest.fixture(scope="module")
def files(codec: Codec) -> list[bytes]:
    return [codec.encode(picture(*size), quality=q) for size in SIZES for q in (0, 10, 100)]


def test_a_sample_of_mutated_files_is_bounded_by_what_they_declare(codec: Codec, files: list[bytes]) -> None:
    check(codec, files, 300)


@pytest.mark.full
def test_twenty_thousand_mutated_files_are_bounded(codec: Codec, files: list[bytes]) -> None:
    check(codec, files, 20_000)


def check(codec: Codec, files: Sequence[bytes], count: int) -> None:
    """Decode mutants of `files` and of the golden files, half of the count each."""
    outcomes: Counter[str] = Counter()
    for sources in (files, fuzz.golden_files()):
        for data in sources:
            codec.decode(data)
        for mutant in mutants(sources, codec.model.fingerprint, count // 2, seed=1):
            outcomes[bounded(codec, mutant)] += 1
    print(outcomes)
    assert outcomes["read"] > 10
    assert len(outcomes) > len(MUTATIONS) // 2


def bounded(codec: Codec, mutant: Mutant) -> str:
    """What became of a mutant; fails on what must not be, and beyond the bounds."""
    memory = fuzz.peak_bytes()
    trial = fuzz.attempt(fuzz.reader(codec), mutant.data)
    growth, pixels = fuzz.peak_bytes() - memory, declared_pixels(codec, mutant)
    assert not trial.fault, (mutant, trial.fault)
    assert trial.seconds < SECONDS[0] + SECONDS[1] * pixels, (mutant, trial.seconds)
    assert growth < MEMORY_BYTES[0] + MEMORY_BYTES[1] * pixels, (mutant, growth)
    return trial.outcome


def declared_pixels(codec: Codec, mutant: Mutant) -> int:
    """Pixels of a file that passes the container's checks, else 0: it is refused at once."""
    try:
        contents = codec.model.unpack(mutant.data, max_pixels=fuzz.MAX_PIXELS)
    except FormatError:
        return 0
    return contents.header.positions * 4096


def test_pieces_go_on_where_they_were_stopped(codec: Codec, tmp_path: Path) -> None:
    whole = fuzz.State()
    for _ in range(2):
        fuzz.run_piece(codec, whole, 120)
    halves = tmp_path / "state.json"
    for count in (120, 240):
        fuzz.run(codec, halves, count=count, piece=120)
    resumed = fuzz.read_state(halves)
    assert (resumed.files, resumed.outcomes) == (whole.files, whole.outcomes)
    assert resumed.files == 240 and not resumed.faults
    assert {outcome.split(":")[0] for outcome in resumed.outcomes} == set(fuzz.SHARES)


def test_an_exception_that_is_no_refusal_is_kept_with_its_file(codec: Codec) -> None:
    def fails(data: bytes) -> None:
        raise IndexError(len(data))

    state = fuzz.State()
    mutant = Mutant("flip bits", False, b"\x1d\xc0")
    state.note("parts", mutant, fuzz.attempt(fails, mutant.data))
    assert [fault["file"] for fault in state.faults] == ["1dc0"]
    assert "IndexError: 2" in state.faults[0]["error"]
