"""Stage II: the generator learns to draw from the data's distribution; the codec stays as it is.

Distribution matching against a frozen diffusion teacher and a trained fake score, a GAN, and the pixel terms
of stage I. The discriminator sees the fake score's middle features (diffusion GAN).
Source: Xue et al. 2025 (OneDC).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from onedc.errors import ConfigError
from onedc.model.lpips import LPIPS
from onedc.model.onedc import PRECISE_NETS, OneDC
from onedc.train.config import OptimConfig
from onedc.train.data.batches import Batch
from onedc.train.losses.dmd import TIMESTEPS, Diffusion, dmd_gradient, dmd_loss, guided
from onedc.train.losses.gan import discriminator_gan_loss, generator_gan_loss
from onedc.train.networks.discriminators import GANHead
from onedc.train.networks.score import ScoreConfig, ScoreNetwork, TextEncoder
from onedc.train.stages.coding import analysed
from onedc.train.stages.stage import Figures, OptimizerGroup, trainable
from onedc.train.stages.stage1 import Coded, Stage1, Stage1Config, Stage1Weights

TIMESTEP_LOW, TIMESTEP_HIGH = 20, 640  # of distribution matching, both inclusive
DISCRIMINATOR_GAN = 1e-2  # weight of the GAN beside the fake score's error
STAGE2_TERMS = Stage1Config(weights=Stage1Weights(lpips=0.625, pixel=0.3125, latent=0.0))
"""The paper's terms of stage I in stage II; its 0.625 is of L1 in [0,1]."""


@dataclass(frozen=True, kw_only=True)
class Stage2Config:
    """`stage1` says the terms of pixels and latents, the qualities, and what validation measures."""

    stage1: Stage1Config = STAGE2_TERMS
    score: ScoreConfig = field(default_factory=ScoreConfig)
    guidance_weight: float = 1.0  # of classifier-free guidance by the real score; 1: none
    dmd: float = 1.0
    gan: float = 1e-3
    generator_every: int = 10  # steps of the discriminator for one of the generator
    storage: str = "fp32"  # or "bf16": how networks that stay as they are and the fake score are kept

    def __post_init__(self) -> None:
        if self.storage not in ("fp32", "bf16"):
            raise ConfigError(f"objective.storage: {self.storage!r} is neither 'fp32' nor 'bf16'")
        if self.generator_every < 1:
            raise ConfigError("objective.generator_every: must be at least 1")


class Stage2(Stage1):
    """Two optimizers: of the generator, and of the discriminator (fake score and GAN head)."""

    def __init__(
        self,
        model: OneDC,
        lpips: LPIPS,
        real_score: ScoreNetwork,
        config: Stage2Config,
        optim: OptimConfig,
        discriminator_optim: OptimConfig,
        text: TextEncoder | None = None,
        autoencoder: nn.Module | None = None,
    ) -> None:
        super().__init__(model, lpips, config.stage1, optim, None, discriminator_optim, autoencoder)
        self.stage2, self.text = config, text
        self.real_score = real_score.requires_grad_(False).eval()
        self._freeze_codec()
        if config.storage == "bf16":
            halve(self.real_score.parameters())
        self.fake_score = ScoreNetwork(config.score, model.config)
        self.fake_score.load_state_dict(real_score.state_dict())
        if config.storage == "bf16":
            halve(self.fake_score.parameters())
        self.gan_head = GANHead(config.score.unet.widths[-1])
        self.diffusion = Diffusion()

    def _freeze_codec(self) -> None:
        """Train the generator alone; keep what is frozen in bf16 if asked for."""
        model = self.model
        trained = [p for p in model.generator.parameters() if p.requires_grad]
        model.requires_grad_(False)
        for p in trained:
            p.requires_grad_(True)
        if self.stage2.storage == "bf16":
            kept, named = ("vae.", *PRECISE_NETS), model.named_parameters()
            halve(p for name, p in named if not p.requires_grad and not name.startswith(kept))

    def stored(self) -> dict[str, nn.Module]:
        return {"model": self.model, "fake_score": self.fake_score, "head": self.gan_head}

    def optimizer_groups(self) -> list[OptimizerGroup]:
        generator = trainable(self.model, "model")
        discriminator = trainable(self.fake_score, "fake_score") | trainable(self.gan_head, "head")
        return [
            OptimizerGroup("generator", generator, self.optim, every=self.stage2.generator_every),
            OptimizerGroup("discriminator", discriminator, self.discriminator_optim, ema=False),
        ]

    def train(self, mode: bool = True) -> Stage2:
        super().train(mode)
        self.real_score.eval()
        return self

    def _conditioned(self, batch: Batch) -> tuple[Coded, Tensor | None]:
        """The batch with gradients to what is trained, and the condition of the score networks."""
        model = self.model
        quality, target = self.qualities(batch.noise), self.vae_latents(batch)
        with torch.no_grad():
            seen = self.seen(replace(batch, vae_latents=target))
            sent = analysed(model, batch.x, seen, quality)
            tokens = model.semantic(sent.z_semantic)
        x_hat = model.g_s(sent.y_hat, tokens, quality)
        if not x_hat.requires_grad:  # torch 2.13 crashes in GroupNorm's backward pass without this gradient
            x_hat = x_hat.detach().requires_grad_(torch.is_grad_enabled())
        coded = Coded(sent, model.generator(x_hat, tokens, quality), target, quality)
        if self.text is not None:
            return coded, self.text(batch.captions)
        return coded, tokens if self.stage2.score.guidance == "tokens" else None

    def loss(self, group: str, batch: Batch, step: int) -> tuple[Tensor, Figures]:
        return self._generator_loss(batch) if group == "generator" else self._discriminator_loss(batch)

    def _generator_loss(self, batch: Batch) -> tuple[Tensor, Figures]:
        config, (coded, tokens) = self.stage2, self._conditioned(batch)
        total, figures = self.distortion(self.pixel_terms(batch, coded.decoded), coded)
        if config.dmd:
            gradient = self._dmd_gradient(batch, coded.decoded.detach(), tokens)
            figures["dmd"] = dmd_loss(coded.decoded, gradient)
            total = total + config.dmd * figures["dmd"]
        logits = self._logits(batch, coded.decoded, tokens, "generator_gan")
        figures["gan_generator"] = generator_gan_loss(logits)
        return total + config.gan * figures["gan_generator"], figures

    @torch.no_grad()
    def _dmd_gradient(self, batch: Batch, latents: Tensor, tokens: Tensor | None) -> Tensor:
        weight = self.stage2.guidance_weight
        timesteps = batch.noise.integers("dmd_timestep", TIMESTEP_LOW, TIMESTEP_HIGH + 1)
        noisy = self.diffusion.add_noise(
            latents, batch.noise.normal("dmd_noise", *latents.shape[1:]), timesteps
        )
        real = self.real_score(noisy, timesteps, tokens)
        if tokens is not None and weight != 1:
            blind = self.text([""] * len(latents)) if self.text else None
            real = guided(real, self.real_score(noisy, timesteps, blind), weight)
        fake = self.fake_score(noisy, timesteps, tokens)
        clean = (self.diffusion.clean(noisy, noise, timesteps) for noise in (real, fake))
        return dmd_gradient(latents.double(), *clean)

    def _logits(self, batch: Batch, latents: Tensor, tokens: Tensor | None, tag: str) -> Tensor:
        timesteps = batch.noise.integers(f"{tag}_timestep", 0, TIMESTEPS)
        noise = batch.noise.normal(f"{tag}_noise", *latents.shape[1:])
        noisy = self.diffusion.add_noise(latents, noise, timesteps)
        return self.gan_head(self.fake_score.middle(noisy, timesteps, tokens))

    def _discriminator_loss(self, batch: Batch) -> tuple[Tensor, Figures]:
        with torch.no_grad():
            coded, tokens = self._conditioned(batch)
        assert coded.target is not None
        real = self._logits(batch, coded.target, tokens, "real_gan")
        fake = self._logits(batch, coded.decoded, tokens, "fake_gan")
        error = self._fake_error(batch, coded.decoded, tokens)
        figures = {
            "gan_discriminator": discriminator_gan_loss(real, fake),
            "logit_real": real.mean(),
            "logit_fake": fake.mean(),
            "fake_noise_mse": error,
        }
        return error + DISCRIMINATOR_GAN * figures["gan_discriminator"], figures

    def _fake_error(self, batch: Batch, decoded: Tensor, tokens: Tensor | None) -> Tensor:
        """What the fake score gets wrong of noise added to decoded vae_latents."""
        noise = batch.noise.normal("fake_noise", *decoded.shape[1:])
        timesteps = batch.noise.integers("fake_timestep", 0, TIMESTEPS)
        predicted = self.fake_score(self.diffusion.add_noise(decoded, noise, timesteps), timesteps, tokens)
        return F.mse_loss(predicted.float(), noise)


def halve(parameters: Iterable[nn.Parameter]) -> None:
    """Keep matrices and kernels in bf16, for use under autocast; vectors (norms, biases) stay fp32."""
    for parameter in parameters:
        if parameter.ndim > 1:
            parameter.data = parameter.data.to(torch.bfloat16)
