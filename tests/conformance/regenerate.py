"""Golden files of the fixture model and of the bundled weights, and the only way to change them.

`python -m tests.conformance.regenerate` makes them anew and prints what differs from the committed ones;
with `--write` it replaces them. Changed integers of the fixture model are a new format: they need a new
format version. Those of the bundled weights never change: other weights take another model id.
"""

from __future__ import annotations

import argparse
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tests.conformance.fixture_model import FIXTURE
from tests.conformance.pictures import picture
from tests.conformance.recording import recorded

from onedc.codec import Codec
from onedc.container.info import info
from onedc.loading import load
from onedc.options import EncodeOptions
from onedc.weights import BUNDLED

TOLERANCE = 2
"""Largest difference of a decoded sample from the golden picture, in steps of 8 bit, in fp32."""


@dataclass(frozen=True)
class Case:
    """How the file of a golden case was made."""

    name: str
    width: int
    height: int
    quality: float
    seed: int
    target_bytes: int | None = None  # in place of the quality
    max_side: int | None = None
    check: bool = True


@dataclass(frozen=True)
class Suite:
    """The golden cases of one file of weights, a folder for each."""

    weights: Path
    folder: Path
    cases: tuple[Case, ...]


CASES = (
    Case("one-pixel", 1, 1, 50, 0),
    Case("z-only-130x70", 130, 70, 0, 1),
    Case("low-64x64", 64, 64, 5, 2),
    Case("middle-200x150", 200, 150, 50, 3),
    Case("high-65x129", 65, 129, 100, 4),
    Case("unchecked-90x70", 90, 70, 30, 5, check=False),
    Case("unchecked-z-only-64x48", 64, 48, 0, 6, check=False),
    Case("shrunk-300x200", 300, 200, 0, 7, target_bytes=300),
    Case("shrunk-sides-unchecked-317x200", 317, 200, 0, 8, target_bytes=300, check=False),
    Case("shrunk-z-only-160x90", 160, 90, 0, 9, max_side=80),
    Case("shrunk-full-300x220", 300, 220, 60, 10, max_side=150),
)
MESSAGES = (
    Case("message-640x480", 640, 480, 0, 11, target_bytes=157),
    Case("message-unchecked-640x427", 640, 427, 0, 12, target_bytes=157, check=False),
)
SUITES = {
    "fixture": Suite(FIXTURE, Path(__file__).parent / "cases", CASES),
    "bundled": Suite(BUNDLED, Path(__file__).parent / "bundled", (*CASES[1:4], *MESSAGES)),
}


def golden_files(codec: Codec, case: Case) -> dict[str, bytes]:
    """The files of a case's folder, by name."""
    pixels = picture(case.width, case.height, case.seed)
    options: EncodeOptions = {"max_side": case.max_side, "check": case.check}
    if case.target_bytes is None:
        data = codec.encode(pixels, quality=case.quality, **options)
    else:
        data = codec.encode_to_size(pixels, case.target_bytes, **options)
    with recorded(codec) as recording:
        decoded = codec.decode(data)
    symbols, png = io.BytesIO(), io.BytesIO()
    np.savez_compressed(symbols, **recording.arrays())
    decoded.save(png, "PNG", optimize=True)
    facts = {**stated(data), "tolerance": TOLERANCE}
    return {
        "file.1dc": data,
        "symbols.npz": symbols.getvalue(),
        "ref.png": png.getvalue(),
        "case.json": (json.dumps(facts) + "\n").encode(),
    }


def stated(data: bytes) -> dict[str, Any]:
    """What a golden case says of its file's header."""
    found = info(data)
    facts: dict[str, Any] = {"width": found.width, "height": found.height, "quality": found.quality}
    if found.original_width is not None:
        facts["original"] = [found.original_width, found.original_height]
    return facts | {"form": found.form, "check_bits": found.check_bits}


def differences(folder: Path, files: dict[str, bytes]) -> list[str]:
    """What differs between a golden folder and new files, in words; zip dates do not count."""
    found = []
    for name, new in files.items():
        path = folder / name
        if not path.exists():
            found.append(f"{path}: new")
        elif name.endswith(".npz"):
            found += [f"{path}: {key} differs" for key in _unequal(path.read_bytes(), new)]
        elif name.endswith(".png"):
            old = np.asarray(Image.open(path)).astype(int)
            fresh = np.asarray(Image.open(io.BytesIO(new))).astype(int)
            change = abs(old - fresh).max() if old.shape == fresh.shape else "size"
            found += [f"{path}: pixels differ by up to {change}"] if change else []
        elif path.read_bytes() != new:
            found.append(f"{path}: {path.stat().st_size} bytes become {len(new)} other ones")
    return found


def _unequal(old: bytes, new: bytes) -> list[str]:
    with np.load(io.BytesIO(old)) as a, np.load(io.BytesIO(new)) as b:
        return [
            key
            for key in sorted({*a, *b})
            if key not in a or key not in b or not np.array_equal(a[key], b[key])
        ]


def regenerated(suite: Suite, *, write: bool) -> list[str]:
    """Make a suite's files anew and say what differs; with `write` replace them."""
    codec, found = load(suite.weights, precision="fp32"), []
    for case in suite.cases:
        folder, files = suite.folder / case.name, golden_files(codec, case)
        found += differences(folder, files)
        if write:
            folder.mkdir(parents=True, exist_ok=True)
            for name, content in files.items():
                (folder / name).write_bytes(content)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="replace the golden files")
    write = parser.parse_args().write
    changed = [line for suite in SUITES.values() for line in regenerated(suite, write=write)]
    print("\n".join(changed) or "nothing differs")


if __name__ == "__main__":
    main()
