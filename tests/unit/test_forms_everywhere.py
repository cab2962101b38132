"""Files of every form, shrunk or not, through all that opens files: info, Pillow, the server, batch."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.conformance.fixture_model import FIXTURE
from tests.conformance.regenerate import SUITES, stated

import onedc.pillow
from onedc.batch.run import Batch
from onedc.batch.work import Spec
from onedc.cli.main import main
from onedc.codec import Codec
from onedc.image import read_image
from onedc.loading import load
from onedc.serve.service import Limits, Service

FILES = sorted(SUITES["fixture"].folder.glob("*/file.1dc"))


@pytest.fixture(scope="module")
def codec() -> Iterator[Codec]:
    codec = load(FIXTURE, precision="fp32")
    onedc.pillow.use(codec)
    yield codec
    onedc.pillow.use(None)


def facts_of(path: Path) -> dict[str, Any]:
    return dict(json.loads((path.parent / "case.json").read_text()))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.parent.name)
def test_info(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    facts = facts_of(path)
    assert stated(path.read_bytes()).items() <= facts.items()
    assert main(["info", str(path)]) == 0
    told = capsys.readouterr().out
    assert ("unverified" in told) == (facts["check_bits"] == 0)
    original = facts.get("original")
    assert ("{}x{} of {}x{}".format(facts["width"], facts["height"], *original) in told) if original else True


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.parent.name)
def test_pillow_and_the_server_show_what_the_codec_decodes(codec: Codec, path: Path) -> None:
    facts, wanted = facts_of(path), codec.decode(path, output="numpy")
    with Image.open(path) as image:
        assert image.size == (facts["width"], facts["height"])
        assert np.array_equal(np.asarray(image), wanted)
    service = Service(codec, Limits())
    assert np.array_equal(np.asarray(service.decode(path.read_bytes())[0]), wanted)
    size = tuple(facts.get("original", (facts["width"], facts["height"])))
    assert service.decode(path.read_bytes(), full_size=True)[0].size == size


def test_batch_decodes_them(codec: Codec, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for path in FILES:
        (tmp_path / "in" / f"{path.parent.name}.1dc").write_bytes(path.read_bytes())
    back = Spec(weights=FIXTURE, precision="fp32", decode=True)
    assert Batch(tmp_path / "in", tmp_path / "out", back).run().done == len(FILES)
    for path in FILES:
        decoded = read_image(tmp_path / "out" / f"{path.parent.name}.png")
        assert np.array_equal(decoded, codec.decode(path, output="numpy"))
