"""Recipes of the bundled model, and of the networks that its training takes."""

from __future__ import annotations

from dataclasses import replace

from onedc.config import SMALL
from onedc.train.config import HELD_OUT, DataConfig, OptimConfig, RunConfig, TrainConfig
from onedc.train.stages.imitation import ImitationConfig
from onedc.train.stages.stage1 import Stage1Config, Stage1Weights
from onedc.train.stages.stage2 import Stage2Config
from onedc.train.stages.teacher import TeacherConfig
from onedc.train.stages.tokenizer import TokenizerConfig

RATES = {"rate_low": 655.0, "rate_high": 0.4}
"""Weights of the bits: from what hardly pays beside z to some 0.3 bpp. A knot is a factor of 1.85."""
ROUNDED_BELOW = 107
"""That of the sixth knot. Below it nearly all values of y are 0, and noise would cost more than they do."""


def small_stage1() -> TrainConfig:
    """The bundled model, stage I: everything but the autoencoder, from a linear code."""
    return TrainConfig(
        model=SMALL,
        objective=Stage1Config(
            weights=Stage1Weights(
                lpips=1.3,
                pixel=3.0,
                coarse=4.0,
                latent=0.7,
                structure=0.5,
                **RATES,
                zonly=0.3,
                spread=0.1,
            ),
            drop_y=0.25,
            rounded_below=ROUNDED_BELOW,
            window_px=96,
            linear_start=True,
            spread_start=True,
            validation_qualities=(0, 43, 107, 162, 237),
        ),
        data=DataConfig(batch=8, crop_px=256, held_out=HELD_OUT),
        optim=OptimConfig(kind="muon", lr=2e-4, betas=(0.9, 0.99), clip=1.0, warmup_steps=200),
        run=RunConfig(steps=20000, precision="auto", ema=0.998, log_every=25),
    )


def small_reduced() -> TrainConfig:
    """What `small` has lighter than a codec round the whole TAEF2 (nets.codec), taught by that."""
    stage1 = Stage1Config(
        weights=Stage1Weights(lpips=1.0, pixel=4.0, **RATES),
        drop_y=0.2,
        train_decoder=True,
        slow_share=1.0,
        rounded_below=ROUNDED_BELOW,
        validation_qualities=(0, 43, 107, 162, 237),
    )
    return TrainConfig(
        model=SMALL,
        objective=ImitationConfig(stage1=stage1),
        data=DataConfig(batch=8, crop_px=256, held_out=HELD_OUT),
        optim=OptimConfig(
            kind="muon", lr=6e-4, betas=(0.9, 0.99), clip=1.0,
            warmup_steps=50, decay_share=0.5, final_share=0.05,
        ),
        run=RunConfig(steps=4000, precision="auto", ema=0.995, log_every=25),
    )  # fmt: skip


def small_decay() -> TrainConfig:
    """Stage I on its last legs: from nets.start on, the learning rate falls to a fiftieth."""
    config = small_stage1()
    optim = replace(config.optim, lr=2.5e-4, warmup_steps=100, decay_steps=4000, final_share=0.02)
    objective = replace(
        config.objective,
        linear_start=False,
        spread_start=False,
        window_px=112,
        train_decoder=True,
        slow_share=0.25,
    )
    return replace(
        config,
        needs=("start",),
        optim=optim,
        objective=objective,
        run=replace(config.run, steps=4000),
    )


def small_gpu() -> TrainConfig:
    """Stage I at the speed of one large GPU, from nets.start on: eight minutes there."""
    config = small_decay()
    objective = replace(
        config.objective, weights=replace(config.objective.weights, lpips=2.0), drop_y=0.15, window_px=168
    )
    return replace(
        config,
        objective=objective,
        data=replace(config.data, batch=56, crop_px=384, pool_windows=8),
        optim=replace(
            config.optim, lr=5e-4, warmup_steps=50, decay_steps=0, decay_share=0.65, final_share=0.0
        ),
        run=replace(config.run, steps=1_000_000, minutes=8.2, graph=True, ema=0.997, validate_every=0),
    )


def small_gpu_gan() -> TrainConfig:
    """Stage I beside a discriminator on LPIPS's features, from a run of small-gpu on: four minutes there."""
    config = small_gpu()
    objective = replace(config.objective, gan_share=0.5, train_decoder=False)
    return replace(
        config,
        objective=objective,
        optim=replace(config.optim, lr=1.5e-4, decay_share=0.6),
        discriminator_optim=OptimConfig(lr=1e-3, betas=(0.5, 0.99)),
        run=replace(config.run, minutes=4.0),
    )


def small_cores() -> TrainConfig:
    """Stage I beside a discriminator, from nets.start on: an hour of two cores that multiply bf16 fast."""
    config = small_gpu_gan()
    objective = replace(
        config.objective,
        weights=replace(config.objective.weights, lpips=3.5, pixel=2.0, latent=0.0, structure=1.0),
        drop_y=0.08,
        quality_power=0.7,
        window_px=176,
        train_decoder=True,
        slow_share=1.0,
        gan_from=100,
    )
    return replace(
        config,
        objective=objective,
        data=replace(config.data, batch=12, crop_px=320, pool_windows=1),
        optim=replace(config.optim, lr=2.5e-4, warmup_steps=20, decay_share=0.75),
        run=replace(config.run, minutes=57.0, graph=False, ema=0.995),
    )


def small_preview() -> TrainConfig:
    """The two vectors that belong to quality byte 0 alone: pictures of z, all others staying as they are."""
    config = small_decay()
    objective = replace(
        config.objective,
        weights=replace(config.objective.weights, lpips=1.0, zonly=1.0),
        drop_y=1.0,
        window_px=168,
        only=("generator.quality.zero", "g_s.quality_bias.zero"),
        validation_qualities=(0,),
    )
    return replace(
        config,
        objective=objective,
        data=replace(config.data, batch=6, crop_px=384),
        optim=replace(config.optim, lr=2e-2, warmup_steps=5, decay_steps=60),
        run=replace(config.run, steps=120, ema=0.9, validate_every=60),
    )


def small_texture() -> TrainConfig:
    """Noise in the vae_latents, where it takes the place of a grid; all else and all files stay."""
    config = small_decay()
    weights = replace(
        config.objective.weights, lpips=1.6, pixel=2.0, coarse=1.0, latent=0.0, structure=0.8, grid=0.45
    )
    objective = replace(
        config.objective,
        weights=weights,
        drop_y=0.08,
        highest_quality=230,
        window_px=0,
        train_decoder=False,
        only=("generator.noise",),
    )
    return replace(
        config,
        objective=objective,
        data=replace(config.data, batch=4),
        optim=OptimConfig(lr=5e-3, betas=(0.9, 0.98), weight_decay=0.0, warmup_steps=30, decay_share=0.65),
        run=replace(config.run, steps=450, ema=0.99),
    )


def small_low() -> TrainConfig:
    """The five lowest knots of quality, which a start may lack: rates next to z alone, all others staying."""
    config = small_decay()
    objective = replace(
        config.objective,
        weights=replace(config.objective.weights, lpips=3.0, pixel=1.0, latent=0.2),
        drop_y=0.0,
        highest_quality=85,  # the fifth of 13 knots
        only=("generator.quality.knots", "g_s.quality_bias.knots"),
        validation_qualities=(1, 22, 43, 64, 85),
    )
    return replace(
        config,
        objective=objective,
        optim=OptimConfig(lr=2.5e-2, betas=(0.8, 0.98), weight_decay=0.0, warmup_steps=10, decay_share=0.7),
        run=replace(config.run, steps=150, ema=0.95, log_every=10, validate_every=50),
    )


def small_tokenizer() -> TrainConfig:
    """The tokens that small-stage1 may learn to predict: nets.teacher is a run of this."""
    return TrainConfig(
        model=SMALL,
        objective=TokenizerConfig(),
        data=DataConfig(batch=32, crop_px=256, held_out=HELD_OUT),
        optim=OptimConfig(lr=1e-2, weight_decay=0.0, warmup_steps=20, decay_steps=300),
        run=RunConfig(steps=1000, log_every=25, validate_every=250, checkpoint_every=250),
    )


def small_teacher() -> TrainConfig:
    """A diffusion model of TAEF2's latents: the real score of small-stage2."""
    return TrainConfig(
        model=SMALL,
        objective=TeacherConfig(),
        data=DataConfig(batch=16, crop_px=256, held_out=HELD_OUT),
        optim=OptimConfig(lr=3e-4, betas=(0.9, 0.99), clip=1.0, warmup_steps=200, decay_steps=2000),
        run=RunConfig(steps=10_000, precision="auto", ema=0.998, log_every=25),
    )


def small_stage2() -> TrainConfig:
    """The bundled model, stage II: nets.start is a run of stage I, nets.score one of the teacher."""
    optim = OptimConfig(lr=2e-5, betas=(0.9, 0.99), clip=1.0, warmup_steps=100)
    return TrainConfig(
        needs=("start", "score"),
        model=SMALL,
        objective=Stage2Config(
            stage1=Stage1Config(weights=Stage1Weights(lpips=0.625, pixel=0.3125, latent=0.5)),
            generator_every=2,
        ),
        data=DataConfig(batch=8, crop_px=256, held_out=HELD_OUT),
        optim=optim,
        discriminator_optim=replace(optim, lr=1e-4),
        run=RunConfig(steps=10_000, precision="auto", ema=0.998, log_every=25),
    )
