"""Recipes: functions that return the whole config of a run. `onedc train NAME` looks them up here.

A recipe says everything but where the files of this machine are; `--set` changes any field.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from onedc.errors import ConfigError
from onedc.pretrained.table import net_files
from onedc.train.config import TrainConfig
from onedc.train.networks.loading import takes_taef2
from onedc.train.recipes import paper, small, tiny

Recipe = Callable[[], TrainConfig]

RECIPES: dict[str, Recipe] = {
    "small-reduced": small.small_reduced,
    "small-tokenizer": small.small_tokenizer,
    "small-teacher": small.small_teacher,
    "small-stage1": small.small_stage1,
    "small-stage2": small.small_stage2,
    "small-decay": small.small_decay,
    "small-gpu": small.small_gpu,
    "small-gpu-gan": small.small_gpu_gan,
    "small-cores": small.small_cores,
    "small-preview": small.small_preview,
    "small-low": small.small_low,
    "small-texture": small.small_texture,
    "sd15-stage1": paper.sd15_stage1,
    "sd15-stage2": paper.sd15_stage2,
    "sd15-decay": paper.sd15_decay,
    "sd15-zonly": paper.sd15_zonly,
    **{f"sd15-rate-{weight:g}": partial(paper.sd15_rate, weight) for weight in paper.LAMBDAS},
    "toy-stage1": tiny.toy_stage1,
    "tiny-stage1": tiny.tiny_stage1,
}


def find_recipe(name: str) -> TrainConfig:
    """The config of a recipe, which bears its name.

    Raises:
        ConfigError: no recipe of that name.
    """
    if name not in RECIPES:
        raise ConfigError(f"no recipe {name!r}; there are {', '.join(RECIPES)}")
    return replace(RECIPES[name](), recipe=name)


def listed() -> str:
    """A line for each recipe: its name and what it is for."""
    width = max(map(len, RECIPES))
    lines = []
    for name, recipe in RECIPES.items():
        purpose = (getattr(recipe, "func", recipe).__doc__ or "").strip().partition("\n")[0]
        lines.append(f"{name:{width}}  {purpose}".rstrip())
    return "\n".join(lines)


def with_places(config: TrainConfig, *, data: str | None, nets: Path | None) -> TrainConfig:
    """The config with the places of this machine: a data source, a folder of pretrained networks.

    Raises:
        ConfigError: no such folder.
    """
    if data is not None:
        config = replace(config, data=replace(config.data, source=data))
    if nets is not None:
        if not nets.is_dir():
            raise ConfigError(f"--nets {nets}: no such folder")
        table = net_files("paper" if config.model.vae == "sd" else "small")
        files: dict[str, Any] = {
            name: str(nets / file) for name, file in table.items() if (nets / file).exists()
        }
        if not takes_taef2(config.model):
            files = {name: file for name, file in files.items() if not name.startswith("vae_")}
        config = replace(config, nets=replace(config.nets, **files))
    return config
