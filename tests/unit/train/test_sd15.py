"""The paper's recipes at tiny width: CommonCatalog-schema data to train on, COCO's to validate, made here."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tests.unit.train.conftest import write_catalog, write_clip
from tests.unit.train.test_data import write_coco

from onedc.config import TINY
from onedc.model.maskgit import MaskGITTokenizer
from onedc.train.config import TrainConfig, apply_settings
from onedc.train.loop import Trainer
from onedc.train.recipes import find_recipe
from onedc.train.stage1 import Stage1

pytest.importorskip("datasets")
pytest.importorskip("transformers")

NARROW = replace(TINY, vae="sd", vae_channels=4, quality_knots=0, alpha_bar=0.004660095, timestep=999)
QUICK = (
    "run.steps=2", "run.precision=no", "run.validate_every=2", "run.log_every=1", "data.workers=0",
    "data.batch=1", "data.crop_px=64", "data.min_side_px=128", "data.validation_px=64",
    "data.validation_images=1", "data.resize_share=0.5", "data.large_share=0",
)  # fmt: skip


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory, lpips_file: Path) -> tuple[str, ...]:
    folder = tmp_path_factory.mktemp("places")
    catalog = write_catalog(folder / "catalog")
    coco = write_coco(folder / "coco")
    return f"data.source=hf:{catalog}", f"data.validation_source=coco:{coco}", f"nets.lpips={lpips_file}"


def narrow(recipe: str, *settings: str) -> TrainConfig:
    return apply_settings(replace(find_recipe(recipe), model=NARROW), [*QUICK, *settings])


def test_stage1_then_stage2(tmp_path: Path, places: tuple[str, ...]) -> None:
    torch.manual_seed(0)
    teacher = {k: t.bfloat16() for k, t in MaskGITTokenizer().state_dict().items()}
    save_file(teacher, tmp_path / "maskgit.safetensors")
    own = (f"nets.teacher={tmp_path / 'maskgit.safetensors'}", "objective.distill.window=2")
    trainer = Trainer(narrow("sd15-stage1", *places, *own), tmp_path / "one", resume=False)
    assert trainer.run().finished
    assert isinstance(trainer.stage, Stage1)
    assert {"distill_ce", "val_bpp_255"} <= _names(tmp_path / "one")
    own = (
        f"nets.start={tmp_path / 'one'}",
        f"nets.text={write_clip(tmp_path)}",
        "objective.generator_every=1",
        "objective.score.unet.widths=32",
        "objective.score.unet.attention=true",
        "objective.score.unet.layers=1",
    )
    assert Trainer(narrow("sd15-stage2", *places, *own), tmp_path / "two", resume=False).run().finished
    assert {"dmd", "gan_generator", "fake_noise_mse", "val_loss"} <= _names(tmp_path / "two")


def _names(run: Path) -> set[str]:
    return {name for line in (run / "log.jsonl").read_text().splitlines() for name in json.loads(line)}
