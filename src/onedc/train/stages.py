"""From a config to the stage it describes: the class of `config.objective` decides."""

from __future__ import annotations

from onedc.errors import ConfigError
from onedc.train.config import TrainConfig
from onedc.train.nets import load_lpips, load_model
from onedc.train.stage import Stage
from onedc.train.stage1 import Stage1, Stage1Config


def build_stage(config: TrainConfig) -> Stage:
    """The stage with its networks, from their files or at random.

    Raises:
        ConfigError: an objective that no stage has.
        WeightsError: a file is missing, damaged or of another network.
    """
    nets = config.nets
    match config.objective:
        case Stage1Config() as objective:
            return Stage1(load_model(config.model, nets), load_lpips(nets), objective, config.optim)
    raise ConfigError(f"objective: no stage for {type(config.objective).__name__}")
