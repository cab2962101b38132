"""The diffusion teacher: a score network learns to denoise vae_latents. Stage II's real score is one.

Noise prediction, mean squared error, timesteps uniform.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from onedc.model.onedc import OneDC
from onedc.train.config import OptimConfig
from onedc.train.data import Batch
from onedc.train.dmd import TIMESTEPS, Diffusion
from onedc.train.score import ScoreConfig, ScoreNetwork
from onedc.train.stage import Figures, Player, Stage, trainable
from onedc.train.stage1 import vae_latents_of
from onedc.train.text import TextEncoder

DROPOUT = 0.1  # share of training images whose tokens or captions are withheld
SCORED_TIMESTEPS = (100, 300, 500, 700)  # of validation


@dataclass(frozen=True, kw_only=True)
class TeacherConfig:
    """What the teacher is."""

    score: ScoreConfig = field(default_factory=ScoreConfig)


class Teacher(Stage):
    """Only the score network moves. With guidance by tokens these come from a codec that stays as it is."""

    best_by = "loss"

    def __init__(
        self, model: OneDC, config: TeacherConfig, optim: OptimConfig, text: TextEncoder | None = None
    ) -> None:
        super().__init__()
        self.text = text
        self.model, self.config, self.optim = model.requires_grad_(False), config, optim
        self.model_config = model.config
        self.score_net = ScoreNetwork(config.score, model.config)
        self.diffusion = Diffusion()

    def stored(self) -> dict[str, nn.Module]:
        return {"score": self.score_net}

    def players(self) -> list[Player]:
        return [Player("teacher", trainable(self.score_net, "score"), self.optim)]

    def vae(self) -> nn.Module:
        return self.model.vae

    def _told(self, batch: Batch, latents: Tensor) -> Tensor | None:
        """What the score is told of each picture: tokens, its caption, or nothing."""
        if self.text is not None:
            return self.text(batch.captions)
        return tokens_of(self.model, batch.x, latents) if self.config.score.guidance == "tokens" else None

    def loss(self, player: str, batch: Batch, step: int) -> tuple[Tensor, Figures]:
        latents = vae_latents_of(self.model.vae, batch)
        timesteps = batch.noise.integers("timestep", 0, TIMESTEPS)
        told = self._told(batch, latents)
        if told is not None:
            withheld = batch.noise.uniform("told") < DROPOUT
            blind = self.text([""] * len(withheld)) if self.text else self.score_net.withheld[:, None, None]
            told = torch.where(withheld[:, None, None, None], blind, told)
        noise = batch.noise.normal("noise", *latents.shape[1:])
        predicted = self.score_net(self.diffusion.add_noise(latents, noise, timesteps), timesteps, told)
        error = F.mse_loss(predicted.float(), noise)
        return error, {"noise_mse": error}

    def score(self, batch: Batch) -> Figures:
        latents = vae_latents_of(self.model.vae, batch)
        told, errors = self._told(batch, latents), {}
        for timestep in SCORED_TIMESTEPS:
            at = torch.full((len(latents),), timestep, device=latents.device)
            noise = batch.noise.normal(f"noise{timestep}", *latents.shape[1:])
            predicted = self.score_net(self.diffusion.add_noise(latents, noise, at), at, told)
            errors[f"noise_mse_{timestep}"] = F.mse_loss(predicted.float(), noise)
        return {**errors, "loss": torch.stack(list(errors.values())).mean()}


@torch.no_grad()
def tokens_of(model: OneDC, x: Tensor, latents: Tensor) -> Tensor:
    """The semantic tokens [B,D,H/64,W/64] that a decoder would see."""
    _, z_hat = model.analyse(x, latents)
    _, z_semantic = model.h_s(z_hat)
    return model.semantic(z_semantic)
