"""Recipes: functions that return the whole config of a run. `onedc train NAME` looks them up here.

A recipe says everything but where the files of this machine are; `--set` changes any field.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from onedc.config import SD15, SMALL, TINY, UNetConfig
from onedc.errors import ConfigError
from onedc.pretrained.table import net_files
from onedc.train.config import HELD_OUT, DataConfig, NetsConfig, OptimConfig, RunConfig, TrainConfig
from onedc.train.distill import DistillConfig
from onedc.train.light_recipes import LIGHT_RECIPES
from onedc.train.nets import has_taef2
from onedc.train.score import ScoreConfig
from onedc.train.stage1 import Stage1Config, Stage1Weights
from onedc.train.stage2 import Stage2Config
from onedc.train.teacher import TeacherConfig
from onedc.train.tokenizer import TokenizerConfig

Recipe = Callable[[], TrainConfig]


def small_stage1() -> TrainConfig:
    """The bundled model, stage I: everything but the autoencoder, from a linear code."""
    return TrainConfig(
        recipe="small-stage1",
        model=SMALL,
        objective=Stage1Config(
            weights=Stage1Weights(
                lpips=1.3,
                pixel=3.0,
                coarse=4.0,
                latent=0.7,
                structure=0.5,
                rate_low=30.0,
                rate_high=0.4,
                zonly=0.3,
                spread=0.1,
            ),
            drop_y=0.25,
            window_px=96,
            linear_start=True,
            spread_start=True,
            validation_qualities=(0, 32, 96, 224),
        ),
        data=DataConfig(batch=8, crop_px=256, held_out=HELD_OUT),
        optim=OptimConfig(kind="muon", lr=2e-4, betas=(0.9, 0.99), clip=1.0, warmup_steps=200),
        run=RunConfig(steps=20000, precision="auto", ema=0.998, log_every=25),
    )


def tiny_stage1() -> TrainConfig:
    """A model that is good for tests only, in a few steps on small crops."""
    return TrainConfig(
        recipe="tiny-stage1",
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
        recipe="toy-stage1",
        model=replace(TINY, name="toy", vae_width=SMALL.vae_width, y_channels=64, synthesis_widths=(96, 32)),
        objective=Stage1Config(
            weights=Stage1Weights(lpips=0.0, pixel=3.0),
            window_px=0,
            linear_start=True,
            spread_start=True,
        ),
        data=DataConfig(batch=4, crop_px=128),
        optim=OptimConfig(lr=5e-4, clip=1.0, warmup_steps=10, decay_steps=100),
        run=RunConfig(steps=200, ema=0.9, validate_every=0, checkpoint_every=50),
    )


PAPER_LPIPS = NetsConfig(lpips_net="vgg", lpips_averages=True)
LAMBDAS = (12.2, 7.4, 4.6, 2.9, 1.8, 1.1, 0.6)
"""Weights of the bits of the paper's seven models that have y, lowest rate first; 1.1 is our guess."""


def sd15_stage1() -> TrainConfig:
    """The paper's model, stage I. Its single rate is the weight of the bits: 4.6."""
    return TrainConfig(
        recipe="sd15-stage1",
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
        recipe="small-decay",
        needs=("start",),
        optim=optim,
        objective=objective,
        run=replace(config.run, steps=4000),
    )


def small_zonly() -> TrainConfig:
    """Stage I without y, from nets.start on: everything a picture has to say fits into z."""
    config = small_decay()
    model = replace(config.model, z_only=True)
    return replace(config, recipe="small-zonly", model=model, run=replace(config.run, steps=10_000))


def small_gpu() -> TrainConfig:
    """Stage I at the speed of one large GPU, from nets.start on: eight minutes there."""
    config = small_decay()
    objective = replace(
        config.objective,
        weights=replace(config.objective.weights, lpips=2.0),
        drop_y=0.15,
        window_px=168,
    )
    return replace(
        config,
        recipe="small-gpu",
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
        recipe="small-gpu-gan",
        objective=objective,
        optim=replace(config.optim, lr=1.5e-4, decay_share=0.6),
        discriminator_optim=OptimConfig(lr=1e-3, betas=(0.5, 0.99)),
        run=replace(config.run, minutes=4.0),
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
        recipe="small-preview",
        objective=objective,
        data=replace(config.data, batch=6, crop_px=384),
        optim=replace(config.optim, lr=2e-2, warmup_steps=5, decay_steps=60),
        run=replace(config.run, steps=120, ema=0.9, validate_every=60),
    )


def small_tokenizer() -> TrainConfig:
    """The tokens that small-stage1 may learn to predict: nets.teacher is a run of this."""
    return TrainConfig(
        recipe="small-tokenizer",
        model=SMALL,
        objective=TokenizerConfig(),
        data=DataConfig(batch=32, crop_px=256, held_out=HELD_OUT),
        optim=OptimConfig(lr=1e-2, weight_decay=0.0, warmup_steps=20, decay_steps=300),
        run=RunConfig(steps=1000, log_every=25, validate_every=250, checkpoint_every=250),
    )


def small_teacher() -> TrainConfig:
    """A diffusion model of TAEF2's latents: the real score of small-stage2."""
    return TrainConfig(
        recipe="small-teacher",
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
        recipe="small-stage2",
        needs=("start", "score"),
        model=SMALL,
        objective=Stage2Config(
            weights=Stage1Weights(lpips=0.625, pixel=0.3125, latent=0.5), generator_every=2
        ),
        data=DataConfig(batch=8, crop_px=256, held_out=HELD_OUT),
        optim=optim,
        discriminator_optim=replace(optim, lr=1e-4),
        run=RunConfig(steps=10_000, precision="auto", ema=0.998, log_every=25),
    )


def sd15_decay() -> TrainConfig:
    """The end of the paper's stage I, from nets.start on: the rate falls to 0, bits weigh in full."""
    config = sd15_stage1()
    objective = replace(config.objective, ramp_steps=0)
    optim = replace(config.optim, warmup_steps=0, decay_steps=50_000)
    run = replace(config.run, steps=50_000)
    return replace(config, recipe="sd15-decay", needs=("start",), objective=objective, optim=optim, run=run)


def sd15_rate(weight: float) -> TrainConfig:
    """Another of the paper's rates, from nets.start on: as the decay, with another weight of the bits."""
    config = sd15_decay()
    weights = replace(config.objective.weights, rate_low=weight, rate_high=weight)
    return replace(
        config, recipe=f"sd15-rate-{weight:g}", objective=replace(config.objective, weights=weights)
    )


def sd15_zonly() -> TrainConfig:
    """The paper's model at 0.0034 bpp: z alone, from nets.start on."""
    config = sd15_decay()
    return replace(config, recipe="sd15-zonly", model=replace(config.model, z_only=True))


def sd15_stage2() -> TrainConfig:
    """The paper's model, stage II. nets.score and nets.text: the UNet and text encoder of SD 1.5."""
    optim = OptimConfig(lr=1e-6, warmup_steps=125)
    return TrainConfig(
        recipe="sd15-stage2",
        needs=("start", "score"),
        model=SD15,
        objective=Stage2Config(
            score=ScoreConfig(unet=SD15.generator_unet, guidance="text"),
            guidance_weight=1.75,
            window_px=0,
            drop_y=0.0,
            inset=False,
            decoder_fp32=True,
        ),
        nets=PAPER_LPIPS,
        data=sd15_stage1().data,
        optim=optim,
        discriminator_optim=optim,
        run=replace(sd15_stage1().run, steps=1_000_100),
    )


def tiny_tokenizer() -> TrainConfig:
    """For tests only."""
    config = tiny_stage1()
    objective = TokenizerConfig(codes=16, channels=8, start_images=4)
    optim = OptimConfig(lr=1e-2, weight_decay=0.0)
    return replace(config, recipe="tiny-tokenizer", objective=objective, optim=optim)


_TINY_SCORE = ScoreConfig(
    unet=UNetConfig(widths=(32, 32), layers=1, attention=(False, True), heads=2, time_channels=32),
    guidance="tokens",
)


def tiny_teacher() -> TrainConfig:
    """For tests only."""
    return replace(tiny_stage1(), recipe="tiny-teacher", objective=TeacherConfig(score=_TINY_SCORE))


def tiny_stage2() -> TrainConfig:
    """For tests only."""
    config = tiny_stage1()
    objective = Stage2Config(
        score=_TINY_SCORE, guidance_weight=1.5, generator_every=2, window_px=0, validation_qualities=(128,)
    )
    return replace(config, recipe="tiny-stage2", objective=objective, discriminator_optim=config.optim)


RECIPES: dict[str, Recipe] = {
    **LIGHT_RECIPES,
    "small-tokenizer": small_tokenizer,
    "small-teacher": small_teacher,
    "small-stage1": small_stage1,
    "small-stage2": small_stage2,
    "small-decay": small_decay,
    "small-zonly": small_zonly,
    "small-gpu": small_gpu,
    "small-gpu-gan": small_gpu_gan,
    "small-preview": small_preview,
    "sd15-stage1": sd15_stage1,
    "sd15-stage2": sd15_stage2,
    "sd15-decay": sd15_decay,
    "sd15-zonly": sd15_zonly,
    **{f"sd15-rate-{weight:g}": partial(sd15_rate, weight) for weight in LAMBDAS},
    "toy-stage1": toy_stage1,
    "tiny-tokenizer": tiny_tokenizer,
    "tiny-teacher": tiny_teacher,
    "tiny-stage1": tiny_stage1,
    "tiny-stage2": tiny_stage2,
}


def find_recipe(name: str) -> TrainConfig:
    """The config of a recipe.

    Raises:
        ConfigError: no recipe of that name.
    """
    if name not in RECIPES:
        raise ConfigError(f"no recipe {name!r}; there are {', '.join(RECIPES)}")
    return RECIPES[name]()


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
        if not has_taef2(config.model) and config.model.light is None:
            files = {name: file for name, file in files.items() if not name.startswith("vae_")}
        config = replace(config, nets=replace(config.nets, **files))
    return config
