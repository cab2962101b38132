from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tests.unit.train.conftest import write_clip

from onedc.errors import ConfigError, WeightsError
from onedc.train.config import TrainConfig
from onedc.train.loop import Trainer

pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("clip"))


def test_captions_become_a_row_of_words(clip_folder: Path) -> None:
    from onedc.train.networks.score import TextEncoder

    encoder = TextEncoder(clip_folder)
    rows = encoder(["a b", "c", "a b"])
    assert rows.shape == (3, 64, 1, 8)
    assert torch.equal(rows[0], rows[2])
    assert not torch.equal(rows[0], rows[1])


def test_what_is_no_encoder_is_named(tmp_path: Path) -> None:
    from onedc.train.networks.score import TextEncoder

    with pytest.raises(WeightsError, match="not a CLIP text encoder"):
        TextEncoder(tmp_path)


@pytest.mark.parametrize("recipe", ["tiny-teacher", "tiny-stage2"])
def test_stages_run_with_guidance_by_text(
    tiny: Callable[..., TrainConfig], tmp_path: Path, clip_folder: Path, recipe: str
) -> None:
    settings = ("objective.score.guidance=text", "run.steps=1", "run.validate_every=0")
    with pytest.raises(ConfigError, match=r"nets\.text"):
        Trainer(tiny(*settings, recipe=recipe), tmp_path, resume=False)
    config = tiny(*settings, f"nets.text={clip_folder}", recipe=recipe)
    assert Trainer(config, tmp_path, resume=False).run().finished
