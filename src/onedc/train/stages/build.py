"""From a config to the stage it describes: the class of `config.objective` decides."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from onedc.errors import ConfigError
from onedc.model.blocks import Link
from onedc.model.onedc import OneDC
from onedc.train.config import TrainConfig
from onedc.train.losses.pixels import GRID_PX
from onedc.train.networks.loading import (
    load_autoencoder,
    load_codec,
    load_lpips,
    load_model,
    load_score,
    load_text,
    load_tokenizer,
)
from onedc.train.stages.imitation import Imitation, ImitationConfig
from onedc.train.stages.stage import Stage
from onedc.train.stages.stage1 import Stage1, Stage1Config
from onedc.train.stages.stage2 import Stage2, Stage2Config
from onedc.train.stages.teacher import Teacher, TeacherConfig
from onedc.train.stages.tokenizer import PixelTokenizer, Tokenizer, TokenizerConfig


def build_stage(config: TrainConfig) -> Stage:
    """The stage with its networks, from their files or at random.

    Raises:
        ConfigError: an objective that no stage has, or a network that is needed and not named.
        WeightsError: a file is missing, damaged or of another network.
    """
    config = config.with_networks()
    kind = type(config.objective)
    if kind not in STAGES:
        raise ConfigError(f"objective: no stage for {kind.__name__}")
    stage = STAGES[kind](config.objective, config)
    if config.run.recompute:
        recompute(stage)
    return stage


def recompute(module: nn.Module) -> None:
    """From now on only the inputs of its links are kept; the backward pass runs each link again."""
    for part in module.modules():
        if isinstance(part, Link):
            part.recompute = True


def _stage1(objective: Stage1Config, config: TrainConfig) -> Stage:
    teacher = load_tokenizer(config.nets) if objective.distill.weight else None
    lpips = load_lpips(config.nets, weight=objective.weights.lpips)
    if objective.weights.grid and (objective.window_px or config.data.crop_px) < GRID_PX:
        raise ConfigError(f"objective.weights.grid: needs crops and windows of at least {GRID_PX} px")
    if objective.gan_share and config.run.accumulation > 1:
        raise ConfigError("objective.gan_share: needs run.accumulation=1")
    autoencoder = load_autoencoder(config.model, config.nets)
    return Stage1(
        _codec(config), lpips, objective, config.optim, teacher, config.discriminator_optim, autoencoder
    )


def _imitation(objective: ImitationConfig, config: TrainConfig) -> Stage:
    lpips = load_lpips(config.nets)
    return Imitation(_codec(config), lpips, objective, config.optim, load_codec(config.nets))


def _tokenizer(objective: TokenizerConfig, config: TrainConfig) -> Stage:
    return Tokenizer(PixelTokenizer(objective.codes), config.model, config.optim)


def _teacher(objective: TeacherConfig, config: TrainConfig) -> Stage:
    model = load_model(config.model, config.nets)
    text = load_text(objective.score, config.model, config.nets)
    autoencoder = load_autoencoder(config.model, config.nets)
    return Teacher(model, objective, config.optim, text, autoencoder)


def _stage2(objective: Stage2Config, config: TrainConfig) -> Stage:
    if objective.storage == "bf16" and config.run.precision != "bf16":
        raise ConfigError("objective.storage: bf16 needs run.precision=bf16")
    model, lpips = _codec(config), load_lpips(config.nets)
    real = load_score(objective.score, config.model, config.nets)
    text = load_text(objective.score, config.model, config.nets)
    autoencoder = load_autoencoder(config.model, config.nets)
    return Stage2(model, lpips, real, objective, config.optim, config.discriminator_optim, text, autoencoder)


def _codec(config: TrainConfig) -> OneDC:
    """The model of a stage that trains the generator, with adapters where the run asks for them."""
    return load_model(config.model, config.nets, config.run.adapter_rank)


STAGES: dict[type, Callable[[Any, TrainConfig], Stage]] = {
    Stage1Config: _stage1,
    ImitationConfig: _imitation,
    TokenizerConfig: _tokenizer,
    TeacherConfig: _teacher,
    Stage2Config: _stage2,
}
"""Who builds the stage of an objective."""
