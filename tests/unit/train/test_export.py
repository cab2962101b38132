from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from onedc.datasets.photos import open_source
from onedc.errors import OutputError, WeightsError
from onedc.image import read_image
from onedc.loading import load
from onedc.train.checkpoint import find_checkpoint
from onedc.train.config import TrainConfig
from onedc.train.export import export_checkpoint
from onedc.train.loop import Trainer


def test_a_checkpoint_becomes_weights_that_code_pictures(
    tiny: Callable[..., TrainConfig], tmp_path: Path, quick_export: None
) -> None:
    config = tiny("run.steps=2", "run.validate_every=2", "model.hyper_analysis_norm=false")  # as the fixture
    Trainer(config, tmp_path / "run", resume=False).run()
    checkpoint = find_checkpoint(tmp_path / "run")
    assert checkpoint.name == "step-00000002"
    weights = tmp_path / "w.safetensors"
    export_checkpoint(checkpoint, weights, model_id=200, storage="fp32", force=False)
    picture = tmp_path / "p.png"
    picture.write_bytes(open_source(config.data.source).read(0))
    codec = load(weights)
    decoded = codec.decode(codec.encode(read_image(picture)))
    assert decoded.size == (96, 80)
    card = (tmp_path / "w.safetensors.md").read_text()
    assert "after 2 steps of tiny-stage1" in card
    assert "TAEF2" in card
    assert "MIT licence. Its notice" in card
    weights.write_bytes(b"kept")
    with pytest.raises(OutputError):
        export_checkpoint(checkpoint, weights, model_id=200, storage="fp32", force=False)
    assert weights.read_bytes() == b"kept"


def test_a_folder_without_checkpoints_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="neither a checkpoint nor a run"):
        find_checkpoint(tmp_path)


def test_the_card_counts_licences(tmp_path: Path) -> None:
    from onedc.train.export import _images

    (tmp_path / "MANIFEST.csv").write_text(
        "source_repo,licence_as_stated\nx.org/one,CC0\nx.org/one,CC0\ny.org,MIT\n", encoding="utf-8-sig"
    )
    card = _images(tmp_path)
    assert "| CC0 | 2 |" in card
    assert "x.org/one (2), y.org (1)" in card
    (tmp_path / "MANIFEST.csv").write_text("member\na.webp\n")
    assert "| not stated | 1 |" in _images(tmp_path)
