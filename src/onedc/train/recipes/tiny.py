"""Recipes of minutes: a toy of one's own photos, and what tests and examples train."""

from __future__ import annotations

from dataclasses import replace

from onedc.config import SMALL, TINY
from onedc.train.config import HELD_OUT, DataConfig, OptimConfig, RunConfig, TrainConfig
from onedc.train.stages.stage1 import Stage1Config, Stage1Weights

_WIDE = replace(TINY, vae_width=SMALL.vae_width, reduced=SMALL.reduced)


def tiny_stage1() -> TrainConfig:
    """A model that is good for tests only, in a few steps on small crops."""
    return TrainConfig(
        model=TINY,
        objective=Stage1Config(window_px=0, ramp_steps=10, validation_qualities=(64, 192)),
        data=DataConfig(
            batch=4, crop_px=128, view_px=128, validation_px=128, validation_images=2, held_out=HELD_OUT
        ),
        optim=OptimConfig(lr=1e-3, warmup_steps=5, decay_steps=5),
        run=RunConfig(steps=20, ema=0.9, log_every=1, validate_every=10, checkpoint_every=10, pictures=1),
    )


def toy_stage1() -> TrainConfig:
    """To try training: a little codec round the bundled autoencoder, of photos alone, in minutes on a CPU."""
    return TrainConfig(
        model=replace(_WIDE, name="toy", y_channels=64, synthesis_widths=(96, 32)),
        objective=Stage1Config(
            weights=Stage1Weights(lpips=0.0, pixel=3.0), window_px=0, linear_start=True, spread_start=True
        ),
        data=DataConfig(batch=4, crop_px=128),
        optim=OptimConfig(lr=5e-4, clip=1.0, warmup_steps=10, decay_steps=100),
        run=RunConfig(steps=200, ema=0.9, validate_every=0, checkpoint_every=50),
    )
