"""Recipes of the paper's models, round Stable Diffusion 1.5."""

from __future__ import annotations

from dataclasses import replace

from onedc.config import SD15
from onedc.train.config import DataConfig, NetsConfig, OptimConfig, RunConfig, TrainConfig
from onedc.train.losses.distill import DistillConfig
from onedc.train.networks.score import ScoreConfig
from onedc.train.stages.stage1 import Stage1Config, Stage1Weights
from onedc.train.stages.stage2 import STAGE2_TERMS, Stage2Config

PAPER_LPIPS = NetsConfig(lpips_net="vgg", lpips_averages=True)
LAMBDAS = (12.2, 7.4, 4.6, 2.9, 1.8, 1.1, 0.6)
"""Weights of the bits of the paper's seven models that have y, lowest rate first; 1.1 is our guess."""


def sd15_stage1() -> TrainConfig:
    """The paper's model, stage I. Its single rate is the weight of the bits: 4.6."""
    return TrainConfig(
        needs=("vae", "generator"),
        model=SD15,
        objective=Stage1Config(
            weights=Stage1Weights(lpips=1.0, pixel=0.5, latent=0.0, rate_low=4.6, rate_high=4.6),
            distill=DistillConfig(weight=1e-3, head="swin"),
            ramp_steps=4000,
            drop_y=0.0,
            window_px=0,
            inset=False,
            decoder_fp32=True,
            likelihood_offset=1e-5,
        ),
        nets=PAPER_LPIPS,
        data=DataConfig(
            batch=32, crop_px=512, resize_share=0.2, large_share=0.3, min_side_px=1024,
            workers=8, memory_mib=0, validation_px=512, validation_images=500,
        ),
        optim=OptimConfig(lr=5e-5, warmup_steps=125),
        run=RunConfig(
            steps=400_000, precision="bf16", adapter_rank=64,
            log_every=50, validate_every=10_000, checkpoint_every=10_000,
        ),
    )  # fmt: skip


def sd15_decay() -> TrainConfig:
    """The end of the paper's stage I, from nets.start on: the rate falls to 0, bits weigh in full."""
    config = sd15_stage1()
    objective = replace(config.objective, ramp_steps=0)
    optim = replace(config.optim, warmup_steps=0, decay_steps=50_000)
    run = replace(config.run, steps=50_000)
    return replace(config, needs=("start",), objective=objective, optim=optim, run=run)


def sd15_rate(weight: float) -> TrainConfig:
    """Another of the paper's rates, from nets.start on: as the decay, with another weight of the bits."""
    config = sd15_decay()
    weights = replace(config.objective.weights, rate_low=weight, rate_high=weight)
    return replace(config, objective=replace(config.objective, weights=weights))


def sd15_zonly() -> TrainConfig:
    """The paper's model at 0.0034 bpp: z alone, from nets.start on."""
    config = sd15_decay()
    return replace(config, model=replace(config.model, z_only=True))


def sd15_stage2() -> TrainConfig:
    """The paper's model, stage II. nets.score and nets.text: the UNet and text encoder of SD 1.5."""
    optim = OptimConfig(lr=1e-6, warmup_steps=125)
    return TrainConfig(
        needs=("start", "score"),
        model=SD15,
        objective=Stage2Config(
            score=ScoreConfig(unet=SD15.generator_unet, guidance="text"),
            guidance_weight=1.75,
            stage1=replace(STAGE2_TERMS, window_px=0, drop_y=0.0, inset=False, decoder_fp32=True),
        ),
        nets=PAPER_LPIPS,
        data=sd15_stage1().data,
        optim=optim,
        discriminator_optim=optim,
        run=replace(sd15_stage1().run, steps=1_000_100),
    )
