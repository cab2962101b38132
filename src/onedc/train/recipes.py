"""Recipes: functions that return the whole config of a run. `onedc train NAME` looks them up here.

A recipe says everything but where the files of this machine are; `--set` changes any field.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from onedc.config import SD15, SMALL, TINY
from onedc.errors import ConfigError
from onedc.train.config import DataConfig, OptimConfig, RunConfig, TrainConfig
from onedc.train.stage1 import Stage1Config, Stage1Weights

Recipe = Callable[[], TrainConfig]
HELD_OUT = tuple(f"p-0{n}" for n in range(8))
"""The validation photos of the bundled model's data: names that begin so are never trained on."""


def small_stage1() -> TrainConfig:
    """The bundled model, stage I: everything but the autoencoder, from a linear code."""
    return TrainConfig(
        recipe="small-stage1",
        model=SMALL,
        objective=Stage1Config(weights=Stage1Weights(rate_high=0.12), linear_start=True),
        data=DataConfig(batch=8, crop_px=256, held_out=HELD_OUT),
        optim=OptimConfig(
            lr=2.5e-4, betas=(0.9, 0.99), clip=1.0, warmup_steps=200, decay_steps=3000, final_share=0.02
        ),
        run=RunConfig(steps=20000, ema=0.998, log_every=25),
    )


def tiny_stage1() -> TrainConfig:
    """A model that is good for tests only, in a few steps on small crops."""
    return TrainConfig(
        recipe="tiny-stage1",
        model=TINY,
        objective=Stage1Config(window_px=0, ramp_steps=10, scored_qualities=(64, 192)),
        data=DataConfig(batch=4, crop_px=128, validation_px=128, validation_images=2, held_out=HELD_OUT),
        optim=OptimConfig(lr=1e-3, warmup_steps=5, decay_steps=5),
        run=RunConfig(steps=20, ema=0.9, log_every=1, validate_every=10, checkpoint_every=10, pictures=1),
    )


def sd15_stage1() -> TrainConfig:
    """The paper's model, stage I. Its single rate is the weight of the bits: 4.6."""
    return TrainConfig(
        recipe="sd15-stage1",
        model=SD15,
        objective=Stage1Config(
            weights=Stage1Weights(lpips=1.0, pixel=0.5, latent=0.0, rate_low=4.6, rate_high=4.6),
            ramp_steps=4000,
            drop_y=0.0,
            window_px=0,
        ),
        data=DataConfig(
            batch=32, crop_px=512, resize_share=0.2, large_share=0.3, min_side_px=1024,
            workers=8, memory_mib=0, validation_px=512, validation_images=500,
        ),
        optim=OptimConfig(lr=5e-5, warmup_steps=500),
        run=RunConfig(
            steps=400_000, precision="bf16", log_every=50, validate_every=10_000, checkpoint_every=10_000
        ),
    )  # fmt: skip


RECIPES: dict[str, Recipe] = {
    "small-stage1": small_stage1,
    "sd15-stage1": sd15_stage1,
    "tiny-stage1": tiny_stage1,
}

NET_FILES = {
    "vae_encoder": "taef2_encoder.safetensors",
    "vae_decoder": "taef2_decoder.safetensors",
    "lpips": "lpips_squeeze.safetensors",
    "features": "mobilenet_v2_qat.safetensors",
}
"""What the files of pretrained networks are called in the folder given by --nets."""


def find_recipe(name: str) -> TrainConfig:
    """The config of a recipe.

    Raises:
        ConfigError: no recipe of that name.
    """
    if name not in RECIPES:
        raise ConfigError(f"no recipe {name!r}; there are {', '.join(RECIPES)}")
    return RECIPES[name]()


def with_places(config: TrainConfig, *, data: str | None, nets: Path | None) -> TrainConfig:
    """The config with the places of this machine: a data source, a folder of pretrained networks."""
    if data is not None:
        config = replace(config, data=replace(config.data, source=data))
    if nets is not None:
        files = {name: str(nets / file) for name, file in NET_FILES.items() if (nets / file).exists()}
        if config.model.vae != "taef2" or config.model.vae_width != SMALL.vae_width:
            files = {name: file for name, file in files.items() if not name.startswith("vae")}
        config = replace(config, nets=replace(config.nets, **files))
    return config
