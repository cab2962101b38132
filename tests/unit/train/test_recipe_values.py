"""Every recipe's effective values at its first step and at its last, against a table: none undoes another."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields, replace
from functools import cache
from typing import Any, NamedTuple

import pytest
import torch

from onedc.config import SMALL, ModelConfig
from onedc.constants import QUALITY_MAX
from onedc.model.lora import DOWN, adapt
from onedc.model.lpips import LPIPS
from onedc.model.maskgit import MaskGITTokenizer
from onedc.model.onedc import OneDC
from onedc.model.taef2 import TAEF2
from onedc.train.config import NetsConfig, RunConfig, TrainConfig
from onedc.train.optim.schedule import lr_at
from onedc.train.recipes import RECIPES, find_recipe
from onedc.train.recipes.paper import LAMBDAS
from onedc.train.stages import build as stages
from onedc.train.stages import imitation
from onedc.train.stages.imitation import ImitationConfig
from onedc.train.stages.stage1 import Stage1, Stage1Config, Stage1Weights
from onedc.train.stages.stage2 import DISCRIMINATOR_GAN, Stage2Config


class Row(NamedTuple):
    """What a recipe comes to. Bits: their weights at the qualities 1 and 255, at the first > last step."""

    rates: str  # learning rate at the first > last step, of the discriminator's behind a comma
    bits: str = ""
    terms: str = ""  # weights of the other terms
    moves: str = ""


CODEC = "codec: g_a g_s generator h_a h_s prior semantic"
WITH_ENCODER, WITH_BOTH = f"{CODEC} vae.encoder", f"{CODEC} vae.decoder vae.encoder"
DISCRIMINATOR = "; discriminator: discriminator"
PAPER = "codec: g_a g_s generator+ h_a h_s head prior semantic"
SMALL_REST = "pixel 3, coarse 4, latent 0.7, structure 0.5, zonly 0.3, spread 0.1"
PAPER_TERMS = "lpips 1, pixel 0.5, zonly 1, distill 0.001"
STAGE2_TERMS = "zonly 1, dmd 1, gan 0.001, discriminator_gan 0.01"
GAN = "3e-06 > 0, 0.001 > 0.001"

SMALL_BITS = "655 0.4 > 655 0.4"

EXPECTED = {
    "small-reduced": Row(
        "1.2e-05 > 3e-05", "25.59 0.6325 > 25.59 0.6325",
        "y 1, z 2, lpips 1, pixel 4, latent 1, zonly 1", "codec: g_s vae.decoder vae.encoder",
    ),
    "small-tokenizer": Row("0.0005 > 0", moves="codebook: tokenizer.codebook"),
    "small-teacher": Row("1.5e-06 > 0", moves="teacher: score"),
    "small-stage1": Row("1e-06 > 0.0002", SMALL_BITS, f"lpips 1.3, {SMALL_REST}", WITH_ENCODER),
    "small-stage2": Row(
        "2e-07 > 2e-05, 1e-06 > 0.0001", "", f"lpips 0.625, pixel 0.3125, latent 0.5, {STAGE2_TERMS}",
        "generator: generator; discriminator: fake_score head",
    ),
    "small-decay": Row("2.5e-06 > 5e-06", SMALL_BITS, f"lpips 1.3, {SMALL_REST}", WITH_BOTH),
    "small-gpu": Row("1e-05 > 0", SMALL_BITS, f"lpips 2, {SMALL_REST}", WITH_BOTH),
    "small-gpu-gan": Row(
        GAN, SMALL_BITS, f"lpips 2, {SMALL_REST}, gan_share 0.5", WITH_ENCODER + DISCRIMINATOR
    ),
    "small-cores": Row(
        "1.25e-05 > 0, 0.001 > 0.001", SMALL_BITS,
        "lpips 3.5, pixel 2, coarse 4, structure 1, zonly 0.3, spread 0.1, gan_share 0.5",
        WITH_BOTH + DISCRIMINATOR,
    ),
    "small-preview": Row(
        "0.004 > 0.0004", SMALL_BITS,
        "lpips 1, pixel 3, coarse 4, latent 0.7, structure 0.5, zonly 1, spread 0.1",
        "codec: g_s.quality_bias.zero generator.quality.zero",
    ),
    "small-low": Row(
        "0.0025 > 0", SMALL_BITS,
        "lpips 3, pixel 1, coarse 4, latent 0.2, structure 0.5, zonly 0.3, spread 0.1",
        "codec: g_s.quality_bias.knots generator.quality.knots",
    ),
    "small-texture": Row(
        "0.000167 > 0", SMALL_BITS,
        "lpips 1.6, pixel 2, coarse 1, structure 0.8, grid 0.45, zonly 0.3, spread 0.1",
        "codec: generator",
    ),
    "sd15-stage1": Row("4e-07 > 5e-05", "0.0001 0.0001 > 4.6 4.6", PAPER_TERMS, PAPER),
    "sd15-stage2": Row(
        "8e-09 > 1e-06, 8e-09 > 1e-06", "", f"lpips 0.625, pixel 0.3125, {STAGE2_TERMS}",
        "generator: generator+; discriminator: fake_score head",
    ),
    "sd15-decay": Row("5e-05 > 0", "4.6 4.6 > 4.6 4.6", PAPER_TERMS, PAPER),
    "sd15-zonly": Row("5e-05 > 0", "", PAPER_TERMS, PAPER),
    **{
        f"sd15-rate-{w:g}": Row("5e-05 > 0", f"{w} {w} > {w} {w}", PAPER_TERMS, PAPER)
        for w in LAMBDAS
    },
    "toy-stage1": Row("5e-05 > 0", "6 0.3 > 6 0.3", "pixel 3, latent 1, zonly 1", CODEC),
    "tiny-tokenizer": Row("0.01 > 0.01", moves="codebook: tokenizer.codebook"),
    "tiny-teacher": Row("0.0002 > 0", moves="teacher: score"),
    "tiny-stage1": Row("0.0002 > 0", "0.0001 0.0001 > 6 0.3", "lpips 1, pixel 2, latent 1, zonly 1", CODEC),
    "tiny-stage2": Row(
        "0.0002 > 0, 0.0002 > 0", "", f"lpips 0.625, pixel 0.3125, {STAGE2_TERMS}",
        "generator: generator; discriminator: fake_score head",
    ),
}  # fmt: skip
"""Parts behind a + move by adapters."""


def bits(config: TrainConfig) -> str:
    objective = config.objective
    power = imitation.RATE_POWER if isinstance(objective, ImitationConfig) else 1.0
    stage1 = getattr(objective, "stage1", objective)
    if isinstance(objective, Stage2Config) or not isinstance(stage1, Stage1Config) or config.model.z_only:
        return ""
    stage = Stage1.__new__(Stage1)
    torch.nn.Module.__init__(stage)
    stage.config = stage1
    ends = torch.tensor([1, QUALITY_MAX])
    steps = (0, config.run.steps - 1)
    return " > ".join(listed(stage.rate_weights(ends, step) ** power) for step in steps)


def listed(numbers: Iterable[Any]) -> str:
    return " ".join(f"{float(number):.4g}" for number in numbers)


def rates(config: TrainConfig, moves: str) -> str:
    steps = config.run.steps
    optims = [config.optim, config.discriminator_optim][: moves.count(":")]
    return ", ".join(
        " > ".join(f"{lr_at(optim, step, steps):.3g}" for step in (0, steps - 1)) for optim in optims
    )


def terms(config: TrainConfig) -> str:
    objective, found = config.objective, {}
    if isinstance(objective, ImitationConfig):
        found = {"y": 1.0, "z": imitation.Z_WEIGHT}
    stage1 = getattr(objective, "stage1", objective)
    if isinstance(stage1, Stage1Config):
        weights = stage1.weights
        found |= {f.name: getattr(weights, f.name) for f in fields(weights) if "rate" not in f.name}
        found |= {"distill": stage1.distill.weight, "gan_share": stage1.gan_share}
    if isinstance(objective, Stage2Config):
        found |= {"dmd": objective.dmd, "gan": objective.gan, "discriminator_gan": DISCRIMINATOR_GAN}
    return ", ".join(f"{name} {value:g}" for name, value in found.items() if value)


def moves(config: TrainConfig) -> str:
    objective = config.objective
    if isinstance(objective, Stage1Config):  # what does not change what moves
        objective = replace(objective, weights=Stage1Weights(), ramp_steps=0, window_px=0, drop_y=0.0)
    return built(config.model, objective, config.run.adapter_rank)


@cache
def built(model: ModelConfig, objective: Any, adapter_rank: int) -> str:
    """Who moves what: without memory for the weights."""
    run = RunConfig(adapter_rank=adapter_rank)
    config = TrainConfig(model=model, objective=objective, run=run)
    with pytest.MonkeyPatch.context() as patch, torch.device("meta"):
        patch.setattr(stages, "load_model", random_model)
        patch.setattr(stages, "load_lpips", lambda nets, weight=1.0: LPIPS())
        patch.setattr(stages, "load_tokenizer", lambda nets: MaskGITTokenizer())
        patch.setattr(stages, "load_autoencoder", beside)
        patch.setattr(stages, "load_codec", lambda nets: OneDC(replace(SMALL, reduced=False)))
        patch.setattr(stages, "load_text", lambda *_: None)
        groups = stages.build_stage(config).optimizer_groups()
    return "; ".join(f"{group.name}: {parts(group.parameters)}" for group in groups)


def beside(model: ModelConfig, nets: NetsConfig) -> TAEF2 | None:
    """The autoencoder that the folder of networks brings for `small`."""
    return TAEF2() if model.name == "small" else None


def random_model(model: ModelConfig, nets: NetsConfig, adapter_rank: int = 0) -> OneDC:
    made = OneDC(model)
    if adapter_rank:
        adapt(made.generator.unet, adapter_rank)
    return made


def parts(names: Iterable[str]) -> str:
    """The parts of networks that parameters are of; an adapted one is marked by a +."""
    bare = [name.removeprefix("model.") for name in names]
    if len(bare) < 3:
        return " ".join(sorted(bare))
    adapted = {name.split(".")[0] for name in bare if name.endswith(DOWN)}
    found = {".".join(name.split(".")[: 2 if name.startswith("vae.") else 1]) for name in bare}
    return " ".join(f"{part}+" if part in adapted else part for part in sorted(found))


@pytest.mark.parametrize("recipe", RECIPES)
def test_effective_values(recipe: str) -> None:
    config = find_recipe(recipe)
    who = moves(config)
    assert Row(rates(config, who), bits(config), terms(config), who) == EXPECTED[recipe]
