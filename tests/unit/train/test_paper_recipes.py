"""The recipes of the paper's model: what they start and end with, against the published training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from onedc.errors import ConfigError, WeightsError
from onedc.train.config import NetsConfig, TrainConfig
from onedc.train.networks.loading import load_lpips
from onedc.train.recipes import RECIPES, find_recipe, with_places
from onedc.train.stages.build import build_stage


@pytest.mark.parametrize("recipe", [name for name in RECIPES if name.startswith("sd15-")])
def test_what_all_of_them_share_is_the_papers(recipe: str) -> None:
    config = find_recipe(recipe)
    assert (config.nets.lpips_net, config.nets.lpips_averages) == ("vgg", True)
    stage1 = getattr(config.objective, "stage1", config.objective)
    assert (stage1.inset, stage1.decoder_fp32) == (False, True)
    assert (config.run.adapter_rank, config.run.precision, config.data.batch) == (64, "bf16", 32)
    assert config.recipe == recipe
    if recipe == "sd15-stage2":
        assert (config.optim.lr, config.optim.warmup_steps, config.run.steps) == (1e-6, 125, 1_000_100)
    else:
        assert config.objective.likelihood_offset == 1e-5
        assert config.objective.distill.weight == 1e-3


def test_another_lpips_needs_to_be_named(lpips_file: Path) -> None:
    nets = find_recipe("sd15-stage1").nets
    with pytest.raises(ConfigError, match="LPIPS over vgg"):
        load_lpips(nets)
    with pytest.raises(WeightsError, match="LPIPS over vgg"):
        load_lpips(NetsConfig(lpips=str(lpips_file), lpips_net="vgg"))
    assert load_lpips(NetsConfig(lpips=str(lpips_file))).backbone == "squeeze"


def test_a_folder_of_networks_is_enough(tmp_path: Path, tiny: Callable[..., TrainConfig]) -> None:
    for name in ("lpips_vgg", "sd_vae", "dmd2_unet", "sd15_unet", "maskgit_vqgan", "taef2_encoder"):
        (tmp_path / f"{name}.safetensors").touch()
    (tmp_path / "sd15_text").mkdir()
    nets = with_places(find_recipe("sd15-stage2"), data=None, nets=tmp_path).nets
    for setting in ("lpips", "vae", "generator", "score", "teacher", "text"):
        assert Path(getattr(nets, setting)).parent == tmp_path
    assert nets.vae_encoder == ""
    assert with_places(tiny(), data=None, nets=tmp_path).nets.vae == ""


@pytest.mark.parametrize("recipe", [name for name in RECIPES if RECIPES[name]().needs])
def test_a_network_that_is_needed_is_named_or_meant_to_be_random(recipe: str) -> None:
    config = find_recipe(recipe)
    for name in config.needs:
        others = {other: "random" for other in config.needs if other != name}
        lacking = replace(config, nets=replace(config.nets, **others))
        with pytest.raises(ConfigError, match=f"nets.{name}: not set, but {recipe} needs it"):
            build_stage(lacking)
    meant = replace(config, nets=replace(config.nets, **dict.fromkeys(config.needs, "random")))
    assert all(getattr(meant.with_networks().nets, name) == "" for name in config.needs)


def test_recipes_that_begin_from_others_need_a_start() -> None:
    ends = ("decay", "zonly", "preview", "stage2", "gan")
    for name in RECIPES:
        if not name.startswith("tiny-") and (name.endswith(ends) or "-rate-" in name):
            assert "start" in find_recipe(name).needs, name
