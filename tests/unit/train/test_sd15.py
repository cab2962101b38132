"""The paper's recipes at tiny width: CommonCatalog-schema data to train on, COCO's to validate, made here."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import reduce
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tests.unit.train.conftest import write_catalog, write_clip
from tests.unit.train.test_data import write_coco
from tests.unit.train.test_maskgit import small_tokenizer

from onedc.config import TINY
from onedc.model.lora import UP
from onedc.model.onedc import OneDC
from onedc.train.config import NetsConfig, TrainConfig, apply_settings
from onedc.train.loop import Trainer
from onedc.train.networks.loading import load_model
from onedc.train.recipes import find_recipe
from onedc.train.stages.stage1 import Stage1
from onedc.weights.lora import merged

pytest.importorskip("datasets")
pytest.importorskip("transformers")

SINGLE_RATE = replace(TINY, quality_knots=0)
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
    lpips = f"nets.lpips={lpips_file}"
    return f"data.source=hf:{catalog}", f"data.validation_source=coco:{coco}", lpips, "nets.lpips_net=squeeze"


def narrow(recipe: str, *settings: str) -> TrainConfig:
    return apply_settings(replace(find_recipe(recipe), model=NARROW), [*QUICK, *settings])


def test_stage1_then_stage2(tmp_path: Path, places: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onedc.train.networks.loading.MaskGITTokenizer", small_tokenizer)
    monkeypatch.setattr("onedc.model.vae_kl.WIDTHS", (32, 32, 32, 32))
    teacher = {k: t.bfloat16() for k, t in small_tokenizer().state_dict().items()}
    save_file(teacher, tmp_path / "maskgit.safetensors")
    random = ("nets.vae=random", "nets.generator=random")
    own = (f"nets.teacher={tmp_path / 'maskgit.safetensors'}", "objective.distill.window=2", *random)
    trainer = Trainer(narrow("sd15-stage1", *places, *own), tmp_path / "one", resume=False)
    assert trainer.run().finished
    assert isinstance(trainer.stage, Stage1)
    assert {"distill_ce", "val_bpp_255"} <= _names(tmp_path / "one")
    own = (
        f"nets.start={tmp_path / 'one'}",
        "nets.score=random",
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


def test_published_files_come_in_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Older attention names, a trainer's prefix, a DMD2 UNet whose input is not the codec's."""
    monkeypatch.setattr("onedc.model.vae_kl.WIDTHS", (32, 32, 32, 32))
    model = OneDC(NARROW)
    older = (("to_q.", "query."), ("to_k.", "key."), ("to_v.", "value."), ("to_out.0.", "proj_attn."))
    state = model.vae.state_dict()
    vae = {reduce(lambda k, pair: k.replace(*pair), older, key): t for key, t in state.items()}
    assert any("proj_attn" in key for key in vae)
    (tmp_path / "vae").mkdir()
    torch.save(vae, tmp_path / "vae" / "diffusion_pytorch_model.bin")
    unet = {f"module.{key}": t + 1 for key, t in model.generator.unet.state_dict().items()}
    unet["module.conv_in.weight"] = torch.zeros(32, 4, 3, 3)
    save_file(unet, tmp_path / "unet.safetensors")
    nets = NetsConfig(vae=str(tmp_path), generator=str(tmp_path / "unet.safetensors"))
    loaded = load_model(NARROW, nets)
    for key, t in loaded.vae.state_dict().items():
        assert torch.equal(t, model.vae.state_dict()[key])
    for key, t in loaded.generator.unet.state_dict().items():
        assert key.startswith("conv_in.") or torch.equal(t, unet[f"module.{key}"])


def test_stage2_goes_on_with_the_adapters_of_stage1(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = load_model(SINGLE_RATE, NetsConfig(), adapter_rank=4)
    for name, parameter in model.named_parameters():
        if name.endswith(UP):
            torch.nn.init.normal_(parameter)
    run = tmp_path / "run"
    run.mkdir()
    (run / "state.json").write_text("{}")
    save_file({f"model.{key}": t for key, t in model.state_dict().items()}, run / "model.safetensors")
    same = load_model(SINGLE_RATE, NetsConfig(start=str(run)), adapter_rank=4).state_dict()
    assert all(torch.equal(t, same[key]) for key, t in model.state_dict().items())
    other = load_model(SINGLE_RATE, NetsConfig(start=str(run)), adapter_rank=2).state_dict()
    for key, t in merged(model.state_dict(), "run").items():
        assert torch.equal(t, other[key])
    assert all((t == 0).all() for key, t in other.items() if key.endswith(UP))
