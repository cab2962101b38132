"""The browser's codec, run in Node.js: goldens have Python's integers and bytes, rejects are refused."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.conformance.pictures import picture
from tests.conformance.reject import FOLDER
from tests.conformance.seams import (
    HERE,
    WEIGHTS,
    Result,
    by_browser,
    by_python,
    differing,
    digest,
    synthesised,
)
from tests.unit.z_integers import z_integers
from tests.web_package import build

from onedc.codec import Codec
from onedc.container.packing import seal
from onedc.container.side_data import DESCRIPTION
from onedc.errors import FormatError
from onedc.loading import load
from onedc.weights.file import read_content, save_changed

CASES = json.loads((FOLDER / "cases.json").read_text())


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("web") / "dist"
    build(out)
    return out / "integers.js"


@pytest.mark.parametrize("suite", WEIGHTS)
def test_goldens_have_the_same_integers(library: Path, suite: str) -> None:
    files = sorted((HERE / suite).glob("*/file.1dc"))
    codec = load(WEIGHTS[suite], threads=1)
    expected = [by_python(codec, path.read_bytes()) for path in files]
    results = by_browser(library, WEIGHTS[suite], files)
    for path, found, wanted in zip(files, results, expected, strict=True):
        assert not differing(wanted, found), (path, found)


def test_rejects_are_refused_in_the_same_words(library: Path) -> None:
    names = sorted(CASES)
    for name, found in zip(
        names, by_browser(library, None, [FOLDER / f"{name}.1dc" for name in names]), strict=True
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
    assert by_browser(library, weights, files) == [by_python(codec, path.read_bytes()) for path in files]


def test_files_that_are_cut_show_as_much(library: Path, tmp_path: Path) -> None:
    """At every length: the same parts of y and the same y_hat, or refused in the same words."""
    codec = load(WEIGHTS["cases"], threads=1)
    data = codec.encode(picture(64, 64), quality=5)
    cuts, expected = [tmp_path / f"{size}.1dc" for size in range(len(data) + 1)], []
    for size, cut in enumerate(cuts):
        cut.write_bytes(data[:size])
        expected.append(cut_by_python(codec, data[:size]))
    found = by_browser(library, WEIGHTS["cases"], cuts, partial=True)
    assert [{**result, "name": None} if "error" in result else result for result in found] == expected
    assert {result.get("parts") for result in found} == {None, 0, 1, 2, 3, 4}


def cut_by_python(codec: Codec, data: bytes) -> Result:
    """As `by_browser` of a file that is cut."""
    try:
        with synthesised(codec) as latents:
            decoded = codec.decode(data, partial=True)
    except FormatError as error:
        return {"error": str(error), "name": None}
    found = re.search(r"from (\d) of 4 parts|the semantic layer", decoded.info[DESCRIPTION])
    parts = 4 if found is None else int(found[1] or 0)
    y_hat, z_semantic = (digest(array, "<f4") for array in latents)
    return {"parts": parts, "integers": {"y_hat": y_hat, "z_semantic": z_semantic}}


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
            expected.append(by_python(codec, sealed))
        except FormatError:
            expected.append({"name": "FormatError"})
    results = by_browser(library, WEIGHTS["cases"], files)
    for found in results:
        found.pop("error", None)
    assert results == expected
    assert {"name": "FormatError"} in expected
