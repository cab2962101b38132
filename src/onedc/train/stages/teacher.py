"""The diffusion teacher: a score network learns to denoise vae_latents. Stage II's real score is one.

Noise prediction, mean squared error, timesteps uniform.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from onedc.model.onedc import OneDC
from onedc.train.config import OptimConfig
from onedc.train.data.batches import Batch
from onedc.train.losses.dmd import TIMESTEPS, Diffusion
from onedc.train.networks.score import ScoreConfig, ScoreNetwork, TextEncoder
from onedc.train.stages.stage import CodecStage, Figures, OptimizerGroup, trainable

DROPOUT = 0.1  # share of training images whose tokens or captions are dropped
VALIDATION_TIMESTEPS = (100, 300, 500, 700)


@dataclass(frozen=True, kw_only=True)
class TeacherConfig:
    """What the teacher is."""

    score: ScoreConfig = field(default_factory=ScoreConfig)


class Teacher(CodecStage):
    """Only the score network is trained. With guidance by tokens these come from a frozen codec."""

    best_by = "loss"

    def __init__(
        self,
        model: OneDC,
        config: TeacherConfig,
        optim: OptimConfig,
        text: TextEncoder | None = None,
        autoencoder: nn.Module | None = None,
    ) -> None:
        super().__init__(model.requires_grad_(False), optim, autoencoder)
        self.text, self.config = text, config
        self.score_net = ScoreNetwork(config.score, model.config)
        self.diffusion = Diffusion()

    def stored(self) -> dict[str, nn.Module]:
        return {"score": self.score_net}

    def optimizer_groups(self) -> list[OptimizerGroup]:
        return [OptimizerGroup("teacher", trainable(self.score_net, "score"), self.optim)]

    def _condition(self, batch: Batch, latents: Tensor) -> Tensor | None:
        """The condition of the score network for each picture: tokens, its caption, or none."""
        if self.text is not None:
            return self.text(batch.captions)
        if self.config.score.guidance != "tokens":
            return None
        return tokens_of(self.model, batch.x, self.seen(replace(batch, vae_latents=latents)))

    def loss(self, group: str, batch: Batch, step: int) -> tuple[Tensor, Figures]:
        latents = self.vae_latents(batch)
        timesteps = batch.noise.integers("timestep", 0, TIMESTEPS)
        condition = self._condition(batch, latents)
        if condition is not None:
            dropped = batch.noise.uniform("dropout") < DROPOUT
            null = self.text([""] * len(dropped)) if self.text else self.score_net.null_token[:, None, None]
            condition = torch.where(dropped[:, None, None, None], null, condition)
        noise = batch.noise.normal("noise", *latents.shape[1:])
        predicted = self.score_net(self.diffusion.add_noise(latents, noise, timesteps), timesteps, condition)
        error = F.mse_loss(predicted.float(), noise)
        return error, {"noise_mse": error}

    def validate(self, batch: Batch) -> Figures:
        latents = self.vae_latents(batch)
        condition, errors = self._condition(batch, latents), {}
        for timestep in VALIDATION_TIMESTEPS:
            at = torch.full((len(latents),), timestep, device=latents.device)
            noise = batch.noise.normal(f"noise{timestep}", *latents.shape[1:])
            predicted = self.score_net(self.diffusion.add_noise(latents, noise, at), at, condition)
            errors[f"noise_mse_{timestep}"] = F.mse_loss(predicted.float(), noise)
        return {**errors, "loss": torch.stack(list(errors.values())).mean()}


@torch.no_grad()
def tokens_of(model: OneDC, x: Tensor, latents: Tensor) -> Tensor:
    """The semantic tokens [B,D,H/64,W/64] that a decoder would see."""
    _, z_hat = model.analyse(x, latents)
    _, z_semantic = model.h_s(z_hat)
    return model.semantic(z_semantic)
