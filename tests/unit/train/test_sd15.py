"""The paper's recipes at tiny width, on CommonCatalog-schema data made here."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tests.unit.train.conftest import write_catalog

from onedc.config import TINY
from onedc.train.config import TrainConfig, apply_settings
from onedc.train.loop import Trainer
from onedc.train.recipes import find_recipe

pytest.importorskip("datasets")
pytestmark = pytest.mark.long

NARROW = replace(TINY, vae="sd", vae_channels=4, quality_knots=0, alpha_bar=0.004660095, timestep=999)
QUICK = (
    "run.steps=2", "run.precision=no", "run.validate_every=2", "run.log_every=1", "data.workers=0",
    "data.batch=4", "data.crop_px=128", "data.min_side_px=128", "data.validation_px=128",
    "data.validation_images=1", "data.held_out=u0", "data.resize_share=0.5", "data.large_share=0",
)  # fmt: skip


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_catalog(tmp_path_factory.mktemp("catalog") / "saved")


def narrow(recipe: str, catalog: Path, lpips: Path, *settings: str) -> TrainConfig:
    config = replace(find_recipe(recipe), model=NARROW)
    places = (f"data.source=hf:{catalog}", f"nets.lpips={lpips}")
    return apply_settings(config, [*places, *QUICK, *settings])


def test_stage1_then_stage2(tmp_path: Path, catalog: Path, lpips_file: Path) -> None:
    first = narrow("sd15-stage1", catalog, lpips_file, "objective.distill.weight=0", "run.ema=0")
    assert Trainer(first, tmp_path / "one", resume=False).run().finished
    second = narrow(
        "sd15-stage2",
        catalog,
        lpips_file,
        f"nets.start={tmp_path / 'one'}",
        "objective.score.guidance=tokens",
        "objective.score.unet.widths=32,32",
        "objective.score.unet.attention=false,true",
        "objective.score.unet.up_attention=",
        "objective.score.unet.layers=1",
    )
    assert Trainer(second, tmp_path / "two", resume=False).run().finished
    assert '"dmd"' in (tmp_path / "two/log.jsonl").read_text()
