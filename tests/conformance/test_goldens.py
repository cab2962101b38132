"""Golden files of the fixture model and the bundled weights: integers exactly, pixels within a tolerance."""

from __future__ import annotations

import json
import re
from functools import partial
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image
from tests.conformance.recording import recorded
from tests.conformance.regenerate import SUITES, Suite, stated

from onedc.codec import Codec
from onedc.container.packing import PUBLISHED_MODELS
from onedc.engine.protocol import EngineName
from onedc.entropy import native, pure
from onedc.entropy.coder import SymbolDecoder
from onedc.loading import load

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def codecs() -> dict[tuple[str, EngineName], Codec]:
    engines: tuple[EngineName, ...] = "auto", "torch"
    return {
        (name, engine): load(suite.weights, engine=engine, precision="fp32")
        for name, suite in SUITES.items()
        for engine in engines
    }


@pytest.mark.parametrize("suite", SUITES.values(), ids=list(SUITES))
def test_every_case_has_its_folder_and_no_folder_is_left(suite: Suite) -> None:
    assert sorted(path.name for path in suite.folder.iterdir()) == sorted(case.name for case in suite.cases)


def test_the_bundled_weights_are_those_that_the_format_names(
    codecs: dict[tuple[str, EngineName], Codec],
) -> None:
    codec, text = codecs["bundled", "auto"], (ROOT / "docs/format.md").read_text()
    name = PUBLISHED_MODELS[codec.model_id]
    assert re.search(rf"^\| {codec.model_id} \| `{name}` .*`{codec.model.fingerprint.hex()}` \|$", text, re.M)


@pytest.mark.parametrize(("coder", "engine"), [(native, "auto"), (pure, "torch")])
@pytest.mark.parametrize(
    ("suite", "name"), [(key, case.name) for key, suite in SUITES.items() for case in suite.cases]
)
def test_golden_case(
    codecs: dict[tuple[str, EngineName], Codec],
    suite: str,
    name: str,
    coder: ModuleType,
    engine: EngineName,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of the bundled model, "auto" is onnxruntime."""
    codec = codecs[suite, engine]
    monkeypatch.setattr("onedc.coding.SymbolDecoder", partial(SymbolDecoder, coder=coder))
    folder = SUITES[suite].folder / name
    facts = json.loads((folder / "case.json").read_text())
    data = (folder / "file.1dc").read_bytes()
    assert {**stated(data), "tolerance": facts["tolerance"]} == facts
    with recorded(codec) as recording:
        decoded = codec.decode(data, output="numpy")
    found = recording.arrays()
    with np.load(folder / "symbols.npz") as golden:
        assert sorted(golden) == sorted(found)
        for key in golden:
            np.testing.assert_array_equal(found[key], golden[key], err_msg=key)
    reference = np.asarray(Image.open(folder / "ref.png")).astype(int)
    assert reference.shape == (facts["height"], facts["width"], 3)
    assert abs(decoded.astype(int) - reference).max() <= facts["tolerance"]


def test_goldens_have_every_form() -> None:
    facts = [json.loads(path.read_text()) for path in SUITES["fixture"].folder.glob("*/case.json")]
    forms = {(fact["form"], fact["check_bits"], "original" in fact, fact["quality"] > 0) for fact in facts}
    compact = {("compact", bits, shrunk, True) for bits in (8, 0) for shrunk in (False, True)}
    assert forms >= compact | {("full", 24, False, True), ("full", 24, True, True)}
    assert forms >= {("compact", 8, True, False), ("compact", 8, False, False), ("compact", 0, False, False)}
