"""Mutated files by the million, in pieces: `python -m tests.properties.fuzz STATE.json --count 1000000`.

Each piece goes through container, side data and entropy coder by the tables of the reject corpus, without
networks; a share of it through Pillow's `open`, and another, of the golden files, through the whole codec.
STATE.json says how many are done, what became of them, and what must not be: an exception that is no
FormatError. The same command goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import io
import json
import re
import resource
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from tests.conformance import reject
from tests.conformance.fixture_model import FIXTURE
from tests.conformance.regenerate import SUITES
from tests.properties.mutations import Mutant, mutants

from onedc.codec import Codec
from onedc.container.header import Form, Header
from onedc.container.info import info
from onedc.container.packing import pack, read_header
from onedc.container.side_data import SideData, to_sections
from onedc.entropy.coder import SymbolEncoder
from onedc.entropy.z_prior import UniformZPrior
from onedc.errors import FormatError
from onedc.files import write_whole
from onedc.loading import load
from onedc.pillow import FORMAT

MAX_PIXELS = 1 << 20
SHARES = {"parts": 38, "pillow": 1, "codec": 1}
"""How many of forty files each way of reading gets."""
MOST_FAULTS = 20

PILLOW_REFUSALS = (OSError, SyntaxError, Image.DecompressionBombError)
"""What Pillow's users catch."""

Read = Callable[[bytes], object]


@dataclass
class State:
    """What is done, and what came of it."""

    pieces: int = 0
    files: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    faults: list[dict[str, str]] = field(default_factory=list)
    peak_mib: int = 0
    slowest_s: dict[str, float] = field(default_factory=dict)  # by way of reading, processor time
    slowest_file: dict[str, str] = field(default_factory=dict)

    def note(self, way: str, mutant: Mutant, trial: Trial) -> None:
        """Count one file in."""
        self.files += 1
        self.outcomes[f"{way}: {trial.outcome}"] += 1
        if trial.fault and len(self.faults) < MOST_FAULTS:
            self.faults.append({"way": way, "file": mutant.data.hex(), "error": trial.fault})
        if trial.seconds > self.slowest_s.get(way, 0.0):
            self.slowest_s[way] = round(trial.seconds, 4)
            self.slowest_file[way] = f"{mutant.kind}, {len(mutant.data)} bytes: {mutant.data[:40].hex()}"
        self.peak_mib = max(self.peak_mib, peak_bytes() >> 20)


class Trial(NamedTuple):
    """What became of one file."""

    outcome: str
    seconds: float  # of processor time
    fault: str = ""  # the traceback of what must not be


def attempt(read: Read, data: bytes, refusals: tuple[type[Exception], ...] = (FormatError,)) -> Trial:
    """Read one file: "read", or the first words of its refusal."""
    start, outcome, fault = time.process_time(), "read", ""
    try:
        read(data)
    except refusals as error:
        outcome = " ".join(re.sub(r"[\d.]+|<.*>", "N", str(error)).split()[:6])
        fault = "the message is not one line" if "\n" in str(error) else ""
    except Exception:
        outcome, fault = "FAULT", traceback.format_exc(limit=-4)
    return Trial(outcome, time.process_time() - start, fault)


def read_parts(data: bytes) -> None:
    """All of a file of the reject corpus' model but its pictures."""
    info(data)
    reject.read(data)


def read_by_pillow(data: bytes) -> None:
    """What Pillow reads before the pixels."""
    with Image.open(io.BytesIO(data), formats=[FORMAT]) as image:
        image.getexif()


def reader(codec: Codec) -> Read:
    """A file to its picture, of the size that it says."""

    def read(data: bytes) -> None:
        picture = codec.decode(data, output="numpy", max_pixels=MAX_PIXELS)
        header = read_header(data)
        assert picture.shape[:2] == (header.height, header.width)

    return read


def small_files() -> list[bytes]:
    """Valid files of the reject corpus' model: of 1 to 6 squares, in each form, bare and with side data."""
    files = []
    for width, height in ((64, 64), (1, 1), (65, 129), (64, 200)):
        squares = -(-width // 64) * -(-height // 64)
        for quality in (0, 100):
            encoder = SymbolEncoder()
            UniformZPrior().encode(encoder, np.full((-(-height // 64), -(-width // 64)), 9876))
            for part in range(4 if quality else 0):
                symbols = np.array([0, 1, -1, 0] * 3 + [part, 70, -700, 7000], np.int32)
                encoder.encode(np.tile(symbols, squares), np.tile(reject.TABLE_IDX, squares))
            header = Header(model_id=reject.MODEL_ID, quality=quality, width=width, height=height)
            payload = encoder.finish()
            files += [pack(header, payload, reject.FINGERPRINT, form=form) for form in Form]
            files.append(pack(header, payload, reject.FINGERPRINT, side_data(width, height)))
    return files


def side_data(width: int, height: int) -> dict[int, bytes]:
    """Sections with alpha, EXIF and a profile that is none."""
    alpha = Image.fromarray(
        np.arange(width * height, dtype=np.uint32).astype(np.uint8).reshape(height, width)
    )
    exif = Image.Exif()
    exif[0x010E] = "a picture"
    return to_sections(SideData(alpha=alpha, icc=bytes(200), exif=exif.tobytes()[6:]))


def golden_files() -> list[bytes]:
    """The fixture's golden files."""
    return [path.read_bytes() for path in sorted(SUITES["fixture"].folder.glob("*/file.1dc"))]


def run_piece(codec: Codec, state: State, size: int) -> None:
    """Read a piece of so many files, the same for the same number of pieces before it."""
    small, golden = small_files(), golden_files()
    ways: dict[str, tuple[Sequence[bytes], bytes, Read, tuple[type[Exception], ...]]] = {
        "parts": (small, reject.FINGERPRINT, read_parts, (FormatError,)),
        "pillow": (small, reject.FINGERPRINT, read_by_pillow, PILLOW_REFUSALS),
        "codec": (golden, codec.model.fingerprint, reader(codec), (FormatError,)),
    }
    for way, (files, fingerprint, read, refusals) in ways.items():
        for mutant in mutants(files, fingerprint, size * SHARES[way] // 40, seed=state.pieces):
            state.note(way, mutant, attempt(read, mutant.data, refusals))
    state.pieces += 1


def peak_bytes() -> int:
    """The largest resident size of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def read_state(path: Path) -> State:
    """What an earlier command left, or a new beginning."""
    if not path.exists():
        return State()
    stored: dict[str, Any] = json.loads(path.read_text())
    return State(**{**stored, "outcomes": Counter(stored["outcomes"])})


def run(codec: Codec, file: Path, *, count: int, piece: int) -> State:
    """Read pieces until so many files are done, the state in `file` after each; what came of all."""
    state = read_state(file)
    while state.files < count:
        run_piece(codec, state, piece)
        write_whole(file, f"{json.dumps(vars(state), indent=1)}\n".encode(), force=True)
    return state


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("state", type=Path)
    parser.add_argument("--count", type=int, default=1_000_000, help="files in all")
    parser.add_argument("--piece", type=int, default=2000, help="files between two writings of the state")
    args = parser.parse_args()
    state = run(load(FIXTURE, precision="fp32"), args.state, count=args.count, piece=args.piece)
    print(
        f"{state.files:,} files, {len(state.faults)} faults; slowest {state.slowest_s}; {state.peak_mib} MiB"
    )
    return 1 if state.faults else 0


if __name__ == "__main__":
    sys.exit(main())
