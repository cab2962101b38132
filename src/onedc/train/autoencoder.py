"""The autoencoder of `small`, fine-tuned or from nothing: pixels, LPIPS and a patch discriminator."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from onedc.errors import ConfigError
from onedc.model.lpips import LPIPS
from onedc.model.onedc import OneDC
from onedc.train.balance import GANBalance
from onedc.train.config import OptimConfig
from onedc.train.data import Batch
from onedc.train.stage import Figures, Player, Stage, panels, psnr, trainable


@dataclass(frozen=True, kw_only=True)
class AutoencoderConfig:
    """Weights of the terms."""

    pixel: float = 1.0  # of the mean absolute error in [-1,1]
    lpips: float = 1.0
    gan: float = 0.05  # 0: no discriminator
    gan_share: float = 0.0  # see Stage2Config
    gan_every: int = 20  # see Stage2Config
    keep_encoder: bool = True  # only the decoder moves, so that cached vae_latents stay true
    discriminator_width: int = 48

    def __post_init__(self) -> None:
        if self.gan_every < 1:
            raise ConfigError(f"objective.gan_every: {self.gan_every} must be at least 1")
        if min(self.pixel, self.lpips, self.gan, self.gan_share) < 0:
            raise ConfigError("objective: the weights of the autoencoder's terms must not be negative")


class PatchDiscriminator(nn.Module):
    """x [B,3,H,W] -> logits [B,1,H/8,W/8], each judging a patch of 46 px."""

    def __init__(self, width: int) -> None:
        super().__init__()
        widths = (3, width, 2 * width, 4 * width)
        steps: list[nn.Module] = []
        for c_in, c_out in itertools.pairwise(widths):
            steps += [spectral_norm(nn.Conv2d(c_in, c_out, 4, stride=2, padding=1)), nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*steps, nn.Conv2d(widths[-1], 1, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.layers(x)
        return logits


class Autoencoder(Stage):
    """Two players: the autoencoder and, where its term has a weight, the discriminator (hinge loss)."""

    best_by = "loss"

    def __init__(
        self,
        model: OneDC,
        lpips: LPIPS,
        config: AutoencoderConfig,
        optim: OptimConfig,
        critic_optim: OptimConfig,
    ) -> None:
        super().__init__()
        self.model, self.lpips, self.config = model.requires_grad_(False), lpips, config
        self.model_config, self.optim, self.critic_optim = model.config, optim, critic_optim
        moving = model.vae.get_submodule("decoder") if config.keep_encoder else model.vae
        moving.requires_grad_(True)
        self.discriminator = PatchDiscriminator(config.discriminator_width) if config.gan else None
        self.balance = (
            GANBalance(config.gan_share, config.gan_every, config.gan) if config.gan_share else None
        )

    def stored(self) -> dict[str, nn.Module]:
        found: dict[str, nn.Module] = {"model": self.model}
        found |= {"balance": self.balance} if self.balance else {}
        return found | ({"discriminator": self.discriminator} if self.discriminator else {})

    def moved(self, player: str) -> None:
        if self.balance and player == "autoencoder":
            self.balance.settle()

    def players(self) -> list[Player]:
        players = [Player("autoencoder", trainable(self.model, "model"), self.optim)]
        if self.discriminator:
            parameters = trainable(self.discriminator, "discriminator")
            players.append(Player("discriminator", parameters, self.critic_optim, averaged=False))
        return players

    def _decoded(self, x: Tensor) -> Tensor:
        vae = self.model.vae
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.config.keep_encoder):
            latents = vae.encode(x)  # type: ignore[operator]
        if self.config.keep_encoder and torch.is_grad_enabled():
            latents.requires_grad_()  # torch 2.13 crashes in GroupNorm's backward pass without this gradient
        decoded: Tensor = vae.decode(latents)  # type: ignore[operator]
        return decoded

    def loss(self, player: str, batch: Batch, step: int) -> tuple[Tensor, Figures]:
        config = self.config
        if player == "discriminator":
            return self._discriminator_loss(batch.x)
        x_hat = self._decoded(batch.x)
        l1, lpips = (x_hat - batch.x).abs().mean(), self.lpips(x_hat, batch.x).mean()
        total, figures = config.pixel * l1 + config.lpips * lpips, {"l1": l1, "lpips": lpips}
        if self.discriminator:
            gan = figures["gan_autoencoder"] = -self.discriminator(x_hat).mean()
            weight: Tensor | float = config.gan
            if self.balance:
                self.balance.observe(gan, total, self._last_layer())
                weight = figures["gan_weight"] = self.balance.weight.clone()
            total = total + weight * gan
        return total, figures

    def _last_layer(self) -> nn.Parameter:
        """The kernel that makes the picture."""
        kernels = [p for p in self.model.vae.get_submodule("decoder").parameters() if p.ndim == 4]
        return kernels[-1]

    def _discriminator_loss(self, x: Tensor) -> tuple[Tensor, Figures]:
        assert self.discriminator is not None
        with torch.no_grad():
            x_hat = self._decoded(x)
        hinge = F.relu(1 - self.discriminator(x)).mean() + F.relu(1 + self.discriminator(x_hat)).mean()
        return hinge, {"gan_discriminator": hinge}

    def score(self, batch: Batch) -> Figures:
        x_hat = self._decoded(batch.x).clamp(-1, 1)
        l1, lpips = (x_hat - batch.x).abs().mean(), self.lpips(x_hat, batch.x).mean()
        loss = self.config.pixel * l1 + self.config.lpips * lpips
        return {"l1": l1, "lpips": lpips, "psnr": psnr(x_hat, batch.x), "loss": loss}

    def pictures(self, batch: Batch) -> Tensor:
        x_hat = self._decoded(batch.x).clamp(-1, 1)
        return panels(batch.x, x_hat)
