"""From a config to the stage it describes: the class of `config.objective` decides."""

from __future__ import annotations

from onedc.errors import ConfigError
from onedc.model.onedc import OneDC
from onedc.train.adapters import adapt
from onedc.train.autoencoder import Autoencoder, AutoencoderConfig
from onedc.train.config import TrainConfig
from onedc.train.memory import recompute
from onedc.train.nets import load_features, load_lpips, load_model, load_score, load_teacher, load_text
from onedc.train.stage import Stage
from onedc.train.stage1 import Stage1, Stage1Config
from onedc.train.stage2 import Stage2, Stage2Config
from onedc.train.teacher import Teacher, TeacherConfig
from onedc.train.tokenizer import FeatureTokenizer, Tokenizer, TokenizerConfig


def build_stage(config: TrainConfig) -> Stage:
    """The stage with its networks, from their files or at random.

    Raises:
        ConfigError: an objective that no stage has.
        WeightsError: a file is missing, damaged or of another network.
    """
    stage = _bare_stage(config)
    if config.run.recompute:
        recompute(stage)
    return stage


def _bare_stage(config: TrainConfig) -> Stage:
    nets, optim = config.nets, config.optim
    match config.objective:
        case Stage1Config() as objective:
            teacher = load_teacher(nets) if objective.distill.weight else None
            return Stage1(_codec(config), load_lpips(nets), objective, optim, teacher)
        case AutoencoderConfig() as objective:
            model, lpips = load_model(config.model, nets), load_lpips(nets)
            return Autoencoder(model, lpips, objective, optim, config.critic_optim)
        case TokenizerConfig() as objective:
            tokenizer = FeatureTokenizer(load_features(nets), objective)
            return Tokenizer(tokenizer, config.model, objective, optim)
        case TeacherConfig() as objective:
            model, text = load_model(config.model, nets), load_text(objective.score, config.model, nets)
            return Teacher(model, objective, optim, text)
        case Stage2Config() as objective:
            if objective.storage == "bf16" and config.run.precision != "bf16":
                raise ConfigError("objective.storage: bf16 needs run.precision=bf16")
            model, lpips = _codec(config), load_lpips(nets)
            real = load_score(objective.score, config.model, nets)
            text = load_text(objective.score, config.model, nets)
            return Stage2(model, lpips, real, objective, optim, config.critic_optim, text)
    raise ConfigError(f"objective: no stage for {type(config.objective).__name__}")


def _codec(config: TrainConfig) -> OneDC:
    """The model of a stage that moves the generator, with adapters where the run asks for them."""
    model = load_model(config.model, config.nets)
    if config.run.adapter_rank:
        adapt(model.generator.unet, config.run.adapter_rank)
    return model
