"""Recipes of lighter models: `small` with its lighter parts; the light model, in the order of its life.

Each goes on from the run before it (nets.start). Those that end in -gpu are for minutes of one large GPU.
"""

from __future__ import annotations

from dataclasses import replace

from onedc.config import LIGHT, SMALL
from onedc.train.config import HELD_OUT, DataConfig, OptimConfig, RunConfig, TrainConfig
from onedc.train.recipes.small import RATES, ROUNDED_BELOW
from onedc.train.stages.imitation import ImitationConfig
from onedc.train.stages.stage1 import Stage1Config, Stage1Weights

STAGE1 = Stage1Config(
    weights=Stage1Weights(
        lpips=2.5, pixel=2.5, coarse=4.0, latent=0.2, structure=0.8, zonly=2.0, spread=0.1, **RATES
    ),
    drop_y=0.15,
    gan_share=0.4,
    plain_below=64,  # a quarter of all qualities, below 0.01 bpp
    window_px=0,
    train_decoder=True,
    slow_share=1.0,
    rounded_below=ROUNDED_BELOW,
    validation_qualities=(0, 43, 107, 162, 237),
)
OPTIM = OptimConfig(kind="muon", lr=6e-4, betas=(0.9, 0.99), clip=1.0, warmup_steps=50, decay_share=0.7)


def light_imitation() -> TrainConfig:
    """The light model's parts, each taught by the codec of nets.codec."""
    weights = Stage1Weights(lpips=1.0, pixel=4.0, **RATES)
    return TrainConfig(
        model=LIGHT,
        objective=ImitationConfig(stage1=replace(STAGE1, weights=weights, drop_y=0.2, gan_share=0.0)),
        data=DataConfig(batch=8, crop_px=256, held_out=HELD_OUT),
        optim=replace(OPTIM, lr=1e-3, decay_share=0.5, final_share=0.05),
        run=RunConfig(steps=4000, precision="auto", ema=0.995, log_every=25),
    )


def small_reduced() -> TrainConfig:
    """What `small` has lighter than a codec round the whole TAEF2 (nets.codec), taught by that."""
    config = light_imitation()
    objective = replace(config.objective, stage1=replace(config.objective.stage1, window_px=128))
    optim = replace(config.optim, lr=6e-4)
    return replace(config, model=SMALL, objective=objective, optim=optim)


def light_stage1() -> TrainConfig:
    """The light model, stage I beside a discriminator, from a run of light-imitation (nets.start) on."""
    return TrainConfig(
        needs=("start",),
        model=LIGHT,
        objective=STAGE1,
        data=DataConfig(batch=8, crop_px=256, held_out=HELD_OUT),
        optim=OPTIM,
        discriminator_optim=OptimConfig(lr=1e-3, betas=(0.5, 0.99)),
        run=RunConfig(steps=20_000, precision="auto", ema=0.998, log_every=25),
    )


def light_imitation_gpu() -> TrainConfig:
    """light-imitation at the speed of one large GPU: three minutes there."""
    return _on_gpu(light_imitation(), 3.0)


def light_stage1_gpu() -> TrainConfig:
    """light-stage1 at the speed of one large GPU: five minutes there."""
    return _on_gpu(light_stage1(), 5.0)


def _on_gpu(config: TrainConfig, minutes: float) -> TrainConfig:
    """So many minutes behind the making of a pool."""
    return replace(
        config,
        data=replace(config.data, batch=32, crop_px=320, pool_windows=4),
        run=replace(
            config.run,
            steps=1_000_000,
            minutes=minutes,
            graph=True,
            ema=0.997,
            validate_every=0,
            checkpoint_every=2000,
        ),
    )
