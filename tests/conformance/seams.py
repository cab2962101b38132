"""The integers of .1dc files by three programs: the seam in torch, in numpy and in the browser's package.

As a script it makes a table for the goldens and for pictures, encoded by the bundled model:

    python -m tests.conformance.seams IMAGES... [--qualities 10 50 90]
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias
from unittest import mock

import numpy as np
from numpy.typing import NDArray
from tests.conformance.recording import recorded
from tests.e2e.exactness import analysed_once
from tests.web_package import build, node

from onedc.codec import Codec
from onedc.loading import load
from onedc.seam.conversion import arrays_of
from onedc.seam.fixed_point import Seam
from onedc.weights.file import load_weights

HERE = Path(__file__).parent
WEIGHTS = {
    "cases": HERE / "fixture.safetensors",
    "bundled": HERE.parents[1] / "src/onedc/weights/small.safetensors",
}
Result: TypeAlias = "dict[str, Any]"
"""{"integers": {name: sha256}, "again": sha256 of a file of them} or {"error": line, "name": class}."""


def by_browser(
    library: Path, weights: Path | None, files: Sequence[Path], *, partial: bool = False
) -> list[Result]:
    """What the browser's package makes of files; `weights` None: of the model of the example in format.md."""
    job = {
        "library": str(library),
        "weights": weights and str(weights),
        "files": [str(path) for path in files],
        "partial": partial,
    }
    command = [node(), str(HERE / "web_integers.mjs")]
    done = subprocess.run(command, input=json.dumps(job), capture_output=True, text=True, timeout=1000)
    assert done.returncode == 0, done.stderr[-2000:]
    results: list[Result] = json.loads(done.stdout)
    return results


@contextmanager
def synthesised(codec: Codec) -> Iterator[list[NDArray[np.float32]]]:
    """y_hat and z_semantic of a file that is decoded inside the block; the picture comes out grey."""
    latents: list[NDArray[np.float32]] = []

    def grey(y_hat: NDArray[Any], z_semantic: NDArray[Any], *_: Any, **how: Any) -> NDArray[np.uint8]:
        latents.extend((y_hat, z_semantic))
        height, width = (64 * side for side in z_semantic.shape[-2:])
        return np.full((1, height, width, 3), 128, np.uint8)

    with mock.patch.object(codec.model.engine, "synthesise", grey):
        yield latents


def by_python(codec: Codec, data: bytes) -> Result:
    """What a codec makes of a file; of one without y no tables are recorded."""
    with recorded(codec) as recording, synthesised(codec) as latents:
        codec.decode(data)
    found = {"y_hat": digest(latents[0], "<f4"), "z_semantic": digest(latents[1], "<f4")}
    for name, array in recording.arrays().items():
        found[name] = digest(array, "u1" if name.startswith("table") else "<i4")
    return {"integers": found, "again": hashlib.sha256(data).hexdigest()}


def digest(array: NDArray[Any], dtype: str) -> str:
    return hashlib.sha256(np.ascontiguousarray(array, dtype).tobytes()).hexdigest()


def differing(wanted: Result, found: Result) -> int:
    """Of the arrays of a result and the file made of them, how many are not the same in another."""
    others = found.get("integers", {})
    wrong = sum(others.get(name) != value for name, value in wanted["integers"].items())
    return wrong + (found.get("again") != wanted["again"])


def row(name: str, weights: Path, library: Path, files: Sequence[Path]) -> str:
    """Files of one model, and how many of their arrays differ between the programs."""
    codec = load(weights, engine="torch", precision="fp32", threads=1)
    seam = Seam(arrays_of(load_weights(weights).seam_integers))
    torch = [by_python(codec, path.read_bytes()) for path in files]
    with mock.patch.object(codec.model.engine, "seam", seam):
        numpy = [by_python(codec, path.read_bytes()) for path in files]
    browser = by_browser(library, weights, files)
    arrays = sum(1 + len(result["integers"]) for result in torch)
    wrong = [sum(map(differing, torch, others)) for others in (numpy, browser)]
    return f"| {name} | {len(files)} | {arrays} | {wrong[0]} | {wrong[1]} |"


def encoded(images: Sequence[Path], qualities: Sequence[float], out: Path) -> Iterator[list[Path]]:
    """Files of all images, quality by quality."""
    codec = load(threads=1)
    with analysed_once(codec):
        for quality in qualities:
            files = [out / f"{path.stem}-{quality:g}.1dc" for path in images]
            for path, file in zip(images, files, strict=True):
                file.write_bytes(codec.encode(path, quality=quality))
            yield files


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("images", type=Path, nargs="*")
    parser.add_argument("--qualities", type=float, nargs="+", default=[10, 50, 90])
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        build(Path(temporary) / "dist")
        library = Path(temporary) / "dist/integers.js"
        print("| files | number | arrays and files | numpy: differ | browser: differ |")
        print("|---|---|---|---|---|")
        for suite, weights in WEIGHTS.items():
            goldens = sorted(HERE.glob(f"{suite}/*/file.1dc"))
            print(row(f"goldens/{suite}", weights, library, goldens), flush=True)
        made = encoded(args.images, args.qualities, Path(temporary))
        for quality, files in zip(args.qualities, made, strict=True):
            name = f"{len(args.images)} pictures, quality {quality:g}"
            print(row(name, WEIGHTS["bundled"], library, files), flush=True)


if __name__ == "__main__":
    main()
