"""Golden files of the fixture model: integers exactly, pixels within each case's tolerance."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.conformance.fixture_model import FIXTURE
from tests.conformance.recording import recorded
from tests.conformance.regenerate import CASES, CASES_DIR

from onedc.codec import Codec, load
from onedc.entropy.coder import SymbolDecoder
from onedc.entropy.native import NativeCoder
from onedc.entropy.pure import PureCoder
from onedc.entropy.range_coder import RangeCoder


@pytest.fixture(scope="module")
def codec() -> Codec:
    return load(FIXTURE, precision="fp32")


def test_every_case_has_its_folder_and_no_folder_is_left() -> None:
    assert sorted(path.name for path in CASES_DIR.iterdir()) == sorted(case.name for case in CASES)


@pytest.mark.parametrize("coder", [NativeCoder(), PureCoder()], ids=lambda coder: coder.name)
@pytest.mark.parametrize("name", [case.name for case in CASES])
def test_golden_case(codec: Codec, name: str, coder: RangeCoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onedc.codec.SymbolDecoder", partial(SymbolDecoder, coder=coder))
    folder: Path = CASES_DIR / name
    facts = json.loads((folder / "case.json").read_text())
    with recorded(codec) as recording:
        decoded = codec.decode((folder / "file.1dc").read_bytes(), output="numpy")
    found = recording.arrays()
    with np.load(folder / "symbols.npz") as golden:
        assert sorted(golden) == sorted(found)
        for key in golden:
            np.testing.assert_array_equal(found[key], golden[key], err_msg=key)
    reference = np.asarray(Image.open(folder / "ref.png")).astype(int)
    assert reference.shape == (facts["height"], facts["width"], 3)
    assert abs(decoded.astype(int) - reference).max() <= facts["tolerance"]
