"""The browser's codec, run in Node.js: goldens have Python's integers and bytes, rejects are refused."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias
from unittest import mock

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tests.conformance.pictures import picture
from tests.conformance.recording import recorded
from tests.conformance.reject import FOLDER
from tests.unit.z_integers import z_integers
from tests.web_package import build, node

from onedc.codec import Codec
from onedc.container.packing import seal, unpack
from onedc.errors import FormatError
from onedc.loading import load
from onedc.weights.file import read_content, save_changed

HERE = Path(__file__).parent
WEIGHTS = {
    "cases": HERE / "fixture.safetensors",
    "bundled": HERE.parents[1] / "src/onedc/weights/small.safetensors",
}
CASES = json.loads((FOLDER / "cases.json").read_text())
Result: TypeAlias = "dict[str, Any]"
"""{"integers": {name: sha256}, "again": sha256 of a file of them} or {"error": line, "name": class}."""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("web") / "dist"
    build(out)
    return out / "integers.js"


def read(library: Path, weights: Path | None, files: Sequence[Path]) -> list[Result]:
    """What the browser's package makes of files; `weights` None: of the model of the example in format.md."""
    job = {
        "library": str(library),
        "weights": weights and str(weights),
        "files": [str(path) for path in files],
    }
    command = [node(), str(HERE / "web_integers.mjs")]
    done = subprocess.run(command, input=json.dumps(job), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    results: list[Result] = json.loads(done.stdout)
    return results


def digest(array: NDArray[Any], dtype: str) -> str:
    return hashlib.sha256(np.ascontiguousarray(array, dtype).tobytes()).hexdigest()


def integers(codec: Codec, data: bytes) -> Result:
    """Python's side of a result."""
    latents: list[NDArray[np.float32]] = []

    def grey(y_hat: NDArray[Any], z_semantic: NDArray[Any], *_: Any, **how: Any) -> NDArray[np.uint8]:
        latents.extend((y_hat, z_semantic))
        height, width = (64 * side for side in z_semantic.shape[-2:])
        return np.full((1, height, width, 3), 128, np.uint8)

    with recorded(codec) as recording, mock.patch.object(codec.model.engine, "synthesise", grey):
        codec.decode(data, output="numpy")
    found = {"y_hat": digest(latents[0], "<f4"), "z_semantic": digest(latents[1], "<f4")}
    for name, array in recording.arrays().items():
        found[name] = digest(array, "u1" if name.startswith("table") else "<i4")
    return {"integers": found, "again": hashlib.sha256(data).hexdigest()}


@pytest.mark.parametrize("suite", WEIGHTS)
def test_goldens_have_the_same_integers(library: Path, suite: str) -> None:
    files = sorted((HERE / suite).glob("*/file.1dc"))
    codec = load(WEIGHTS[suite], threads=1)
    expected = [integers(codec, path.read_bytes()) for path in files]
    results = read(library, WEIGHTS[suite], files)
    for path, found, wanted in zip(files, results, expected, strict=True):
        quality = unpack(path.read_bytes(), fingerprint=None).header.quality
        if not quality:  # Python records no table there
            found["integers"] = {key: found["integers"][key] for key in wanted["integers"]}
        assert found == wanted, path


def test_rejects_are_refused_in_the_same_words(library: Path) -> None:
    names = sorted(CASES)
    for name, found in zip(
        names, read(library, None, [FOLDER / f"{name}.1dc" for name in names]), strict=True
    ):
        words = re.sub(r"^\d+ ", "", CASES[name])
        assert found["name"] == "FormatError" and words in found["error"], (name, found)
        assert "\n" not in found["error"]


def test_a_learned_prior_of_z_is_read(library: Path, tmp_path: Path) -> None:
    weights, prior = tmp_path / "prior.safetensors", z_integers(3)
    tensors = {name: torch.from_numpy(value) for name, value in prior.items()}
    save_changed(read_content(WEIGHTS["cases"]), weights, z_prior=tensors, force=False)
    codec = load(weights, threads=1)
    files = []
    for index, (width, height) in enumerate([(64, 64), (300, 200), (70, 500)]):
        files.append(tmp_path / f"{index}.1dc")
        files[-1].write_bytes(codec.encode(picture(width, height), quality=30))
    assert read(library, weights, files) == [integers(codec, path.read_bytes()) for path in files]


def test_damaged_files_meet_the_same_verdict(library: Path, tmp_path: Path) -> None:
    """Bytes changed anywhere behind the header, sealed again: both sides refuse them, or read the same."""
    codec, rng = load(WEIGHTS["cases"], threads=1), np.random.default_rng(0)
    data = codec.encode(picture(90, 70), quality=40)
    files, expected = [], []
    for index in range(60):
        damaged = bytearray(data)
        for at in rng.integers(12, len(data), rng.integers(1, 4)):
            damaged[at] = rng.integers(256)
        cut = len(damaged) - int(rng.integers(3)) * (index % 3 == 0)
        sealed = seal(bytes(damaged[:cut]), codec.model.fingerprint)
        files.append(tmp_path / f"{index}.1dc")
        files[-1].write_bytes(sealed)
        try:
            expected.append(integers(codec, sealed))
        except FormatError:
            expected.append({"name": "FormatError"})
    results = [
        {k: v for k, v in found.items() if k != "error"} for found in read(library, WEIGHTS["cases"], files)
    ]
    assert results == expected
    assert {"name": "FormatError"} in expected
