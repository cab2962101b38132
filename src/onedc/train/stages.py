"""From a config to the stage it describes: the class of `config.objective` decides."""

from __future__ import annotations

from onedc.errors import ConfigError
from onedc.train.config import TrainConfig
from onedc.train.nets import load_lpips, load_model, load_score
from onedc.train.stage import Stage
from onedc.train.stage1 import Stage1, Stage1Config
from onedc.train.stage2 import Stage2, Stage2Config
from onedc.train.teacher import Teacher, TeacherConfig


def build_stage(config: TrainConfig) -> Stage:
    """The stage with its networks, from their files or at random.

    Raises:
        ConfigError: an objective that no stage has.
        WeightsError: a file is missing, damaged or of another network.
    """
    nets, optim = config.nets, config.optim
    match config.objective:
        case Stage1Config() as objective:
            return Stage1(load_model(config.model, nets), load_lpips(nets), objective, optim)
        case TeacherConfig() as objective:
            return Teacher(load_model(config.model, nets), objective, optim)
        case Stage2Config() as objective:
            model, lpips = load_model(config.model, nets), load_lpips(nets)
            real = load_score(objective.score, config.model, nets)
            return Stage2(model, lpips, real, objective, optim, config.critic_optim)
    raise ConfigError(f"objective: no stage for {type(config.objective).__name__}")
