"""Recipes of the other stages beside `tiny-stage1`, which train in a few steps on small crops."""

from __future__ import annotations

from dataclasses import replace

from onedc.config import UNetConfig
from onedc.train.config import OptimConfig, TrainConfig
from onedc.train.networks.score import ScoreConfig
from onedc.train.recipes import RECIPES
from onedc.train.recipes.tiny import tiny_stage1
from onedc.train.stages.stage2 import STAGE2_TERMS, Stage2Config
from onedc.train.stages.teacher import TeacherConfig
from onedc.train.stages.tokenizer import TokenizerConfig

SCORE = ScoreConfig(
    unet=UNetConfig(widths=(32, 32), layers=1, attention=(False, True), heads=2, time_channels=32),
    guidance="tokens",
)


def tiny_tokenizer() -> TrainConfig:
    """A codebook of 16 codes."""
    objective, optim = TokenizerConfig(codes=16), OptimConfig(lr=1e-2, weight_decay=0.0)
    return replace(tiny_stage1(), objective=objective, optim=optim)


def tiny_teacher() -> TrainConfig:
    """A narrow diffusion model."""
    return replace(tiny_stage1(), objective=TeacherConfig(score=SCORE))


def tiny_stage2() -> TrainConfig:
    """Stage II with scores of that width, and with guidance."""
    config = tiny_stage1()
    objective = Stage2Config(
        score=SCORE,
        guidance_weight=1.5,
        generator_every=2,
        stage1=replace(STAGE2_TERMS, window_px=0, validation_qualities=(128,)),
    )
    return replace(config, objective=objective, discriminator_optim=config.optim)


RECIPES |= {"tiny-tokenizer": tiny_tokenizer, "tiny-teacher": tiny_teacher, "tiny-stage2": tiny_stage2}
