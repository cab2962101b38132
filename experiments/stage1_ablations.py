"""The recipes of `runs/ablations.py`: short runs of the bundled model's stages, in which one thing differs.

A run begins from a model whose generator is random, so that one without guidance by tokens begins no
worse than one with it. The decoder of latents stays as it is, as the paper's does.
"""

from __future__ import annotations

from dataclasses import replace

from onedc.config import UNetConfig
from onedc.train.config import OptimConfig, TrainConfig
from onedc.train.networks.score import ScoreConfig
from onedc.train.recipes import RECIPES
from onedc.train.recipes.small import small_decay, small_stage2, small_teacher

BYTES = (43, 85, 128, 165)
"""Quality bytes of all figures: 0.017 to 0.09 bpp, rates of the paper."""
SCORE = ScoreConfig(
    unet=UNetConfig(widths=(64, 96), layers=1, attention=(False, True), heads=4, time_channels=128)
)


def _short(config: TrainConfig) -> TrainConfig:
    """The config of a short run with crops of 128 px from windows whose latents are kept."""
    return replace(
        config,
        data=replace(config.data, batch=8, crop_px=128, view_px=256, validation_images=32),
        run=replace(config.run, precision="no", ema=0.99),
    )


def ablation_stage1() -> TrainConfig:
    """Stage I of the bundled model, up to the paper's rates."""
    config = _short(small_decay())
    return replace(
        config,
        objective=replace(
            config.objective,
            window_px=0,
            train_decoder=False,
            highest_quality=BYTES[-1] + 16,
            validation_qualities=BYTES,
        ),
        optim=replace(
            config.optim, lr=5e-4, warmup_steps=20, decay_steps=0, decay_share=0.7, final_share=0.0
        ),
    )


def ablation_teacher() -> TrainConfig:
    """A narrow diffusion model of TAEF2's latents, the real score of ablation-stage2."""
    config = _short(small_teacher())
    optim = OptimConfig(kind="muon", lr=1e-3, betas=(0.9, 0.99), clip=1.0, warmup_steps=20, decay_share=0.5)
    return replace(config, objective=replace(config.objective, score=SCORE), optim=optim)


def ablation_stage2() -> TrainConfig:
    """Stage II of the bundled model: its generator alone learns, so files stay as they are."""
    config = _short(small_stage2())
    terms, own = config.objective.stage1, small_decay().objective.weights
    weights = replace(terms.weights, coarse=own.coarse, structure=own.structure)
    terms = replace(terms, weights=weights, window_px=0, validation_qualities=BYTES)
    return replace(
        config,
        objective=replace(config.objective, score=SCORE, stage1=terms),
        optim=replace(config.optim, lr=1e-4, warmup_steps=20),
    )


RECIPES |= {
    "ablation-stage1": ablation_stage1,
    "ablation-teacher": ablation_teacher,
    "ablation-stage2": ablation_stage2,
}
