"""Stage II: the generator learns to draw from the data's distribution; the codec stays as it is.

Distribution matching against a frozen diffusion teacher and a trained fake score, a GAN, and the pixel terms
of stage I. The GAN judges by the fake score's middle features (diffusion GAN), or by vae_latents and those
of LPIPS's network.
Sources: Xue et al. 2025 (OneDC); Sauer et al. 2021, "Projected GANs converge faster".
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from onedc.errors import ConfigError
from onedc.model.lpips import LPIPS
from onedc.model.onedc import OneDC
from onedc.train.balance import GANBalance
from onedc.train.config import OptimConfig
from onedc.train.data import Batch
from onedc.train.dmd import (
    Diffusion,
    DiffusionConfig,
    critic_gan_loss,
    dmd_gradient,
    dmd_loss,
    generator_gan_loss,
    guided,
)
from onedc.train.memory import halve
from onedc.train.score import GANHead, Judges, ScoreConfig, ScoreNetwork
from onedc.train.stage import Figures, Player, Stage, trainable
from onedc.train.stage1 import Stage1, Stage1Config, Stage1Weights, analysed
from onedc.train.text import TextEncoder
from onedc.weights.file import UNPACKED

JUDGES = ("lpips", "latents", "lpips+latents")
"""What a GAN may see instead of the fake score's features: those of LPIPS's network, vae_latents, or both."""


@dataclass(frozen=True, kw_only=True)
class Stage2Config:
    """Weights of the terms, timesteps and turns."""

    score: ScoreConfig = field(default_factory=ScoreConfig)
    diffusion: DiffusionConfig = field(default_factory=DiffusionConfig)
    guidance_weight: float = 1.0  # of classifier-free guidance by the real score; 1: none
    dmd: float = 1.0
    gan: float = 1e-3
    judge: str = "score"  # what the GAN sees: the fake score's middle features, or one of JUDGES
    gan_share: float = (
        0.0  # if above 0: share of the other terms' gradient that sets the GAN's weight, not `gan`
    )
    gan_every: int = 20  # moves of the generator between measurements of that
    gan_after: int = 0  # steps before the GAN's term counts: a critic that has seen nothing tells nothing
    lpips: float = 0.625
    pixel: float = 0.625  # of the mean absolute error in [0,1]
    coarse: float = 0.0  # of that of means of 16x16 pixels
    structure: float = 0.0  # of what MS-SSIM lacks to 1
    latent: float = 0.0  # of the mean absolute error of vae_latents
    critic_gan: float = 1e-2
    timestep_low: int = 20  # of distribution matching
    timestep_high: int = 640
    generator_every: int = 10  # steps; the critic moves at each
    move_synthesis: bool = False  # let g_s learn too
    move_decoder: bool = False  # and the autoencoder's decoder
    storage: str = "fp32"  # or "bf16": how networks that stay as they are and the fake score are kept
    window_px: int = 128  # see Stage1Config
    drop_y: float = 0.1  # see Stage1Config
    scored_qualities: tuple[int, ...] = (32, 96, 160, 224)  # quality bytes of validation
    inset: bool = True  # see Stage1Config
    decoder_fp32: bool = False  # see Stage1Config

    def __post_init__(self) -> None:
        if not 0 <= self.timestep_low < self.timestep_high <= self.diffusion.timesteps:
            bounds = f"{self.timestep_low} and {self.timestep_high}"
            raise ConfigError(f"objective.timestep_low, objective.timestep_high: {bounds} are no range")
        if self.judge not in ("score", *JUDGES):
            known = ", ".join(("score", *JUDGES))
            raise ConfigError(f"objective.judge: {self.judge!r} is none of {known}")
        if self.storage not in ("fp32", "bf16"):
            raise ConfigError(f"objective.storage: {self.storage!r} is neither 'fp32' nor 'bf16'")
        if min(self.gan_after, self.gan_share) < 0:
            raise ConfigError("objective.gan_after, objective.gan_share: must not be negative")
        if min(self.generator_every, self.gan_every) < 1:
            raise ConfigError("objective.generator_every, objective.gan_every: must be at least 1")


class Stage2(Stage):
    """Two players: the generator, and the critic (fake score and GAN head)."""

    best_by = "loss"

    def __init__(
        self,
        model: OneDC,
        lpips: LPIPS,
        real_score: ScoreNetwork,
        config: Stage2Config,
        optim: OptimConfig,
        critic_optim: OptimConfig,
        text: TextEncoder | None = None,
    ) -> None:
        super().__init__()
        self.text = text
        self.config, self.optim, self.critic_optim = config, optim, critic_optim
        weights = Stage1Weights(lpips=config.lpips, pixel=config.pixel / 2, latent=config.latent)
        pixel = Stage1Config(
            weights=weights,
            window_px=config.window_px,
            move_decoder=config.move_decoder,
            drop_y=config.drop_y,
            scored_qualities=config.scored_qualities,
            inset=config.inset,
            decoder_fp32=config.decoder_fp32,
        )
        self.codec = Stage1(model, lpips, pixel, optim)
        self.model_config = model.config
        self.real_score = real_score.requires_grad_(False).eval()
        self._freeze_codec()
        if config.storage == "bf16":
            halve(self.real_score.parameters())
        self.fake_score = ScoreNetwork(config.score, model.config)
        self.fake_score.load_state_dict(real_score.state_dict())
        if config.storage == "bf16":
            halve(self.fake_score.parameters())
        self.head = (
            GANHead(config.score.unet.widths[-1])
            if config.judge == "score"
            else Judges(
                lpips.widths if "lpips" in config.judge else (),
                model.config.vae_channels if "latents" in config.judge else 0,
            )
        )
        self.diffusion = Diffusion(config.diffusion)
        self.balance = (
            GANBalance(config.gan_share, config.gan_every, config.gan) if config.gan_share else None
        )

    def _freeze_codec(self) -> None:
        """Nothing of it moves but the generator, and g_s if it may; what stays is halved if it may be."""
        model, config = self.codec.model, self.config
        parts: list[nn.Module] = [model.generator]
        parts += [model.g_s] if config.move_synthesis else []
        parts += [model.vae.get_submodule("decoder")] if config.move_decoder else []
        moving = [p for part in parts for p in part.parameters() if p.requires_grad]
        model.requires_grad_(False)
        for p in moving:
            p.requires_grad_(True)
        if config.storage == "bf16":
            named = model.named_parameters()
            halve(p for name, p in named if not p.requires_grad and not name.startswith(UNPACKED))

    def stored(self) -> dict[str, nn.Module]:
        found = {"model": self.codec.model, "fake_score": self.fake_score, "head": self.head}
        return found | ({"balance": self.balance} if self.balance else {})

    def moved(self, player: str) -> None:
        if self.balance and player == "generator":
            self.balance.settle()

    def players(self) -> list[Player]:
        generator = trainable(self.codec.model, "model")
        critic = trainable(self.fake_score, "fake_score") | trainable(self.head, "head")
        return [
            Player("generator", generator, self.optim, every=self.config.generator_every),
            Player("critic", critic, self.critic_optim, averaged=False),
        ]

    def vae(self) -> nn.Module:
        return self.codec.vae()

    def train(self, mode: bool = True) -> Stage2:
        super().train(mode)
        self.real_score.eval()
        return self

    def _decoded(self, batch: Batch, target: Tensor) -> tuple[Tensor, Tensor | None]:
        """Decoded vae_latents, with a gradient to what moves, and what scores are told of the pictures."""
        model = self.codec.model
        quality = self.codec.qualities(batch.noise)
        with torch.no_grad():
            y_hat, z_semantic, *_ = analysed(model, batch.x, target, quality, hard=True)
            tokens = model.semantic(z_semantic)
        x_hat = model.g_s(y_hat, tokens, quality)
        if not x_hat.requires_grad:  # torch 2.13 crashes in GroupNorm's backward pass without this gradient
            x_hat = x_hat.detach().requires_grad_(torch.is_grad_enabled())
        decoded = model.generator(x_hat, tokens, quality)
        if self.text is not None:
            return decoded, self.text(batch.captions)
        return decoded, tokens if self.config.score.guidance == "tokens" else None

    def loss(self, player: str, batch: Batch, step: int) -> tuple[Tensor, Figures]:
        target = self.codec.vae_latents(batch)
        if player == "generator":
            return self._generator_loss(batch, target, step)
        return self._critic_loss(batch, target)

    def _generator_loss(self, batch: Batch, target: Tensor, step: int) -> tuple[Tensor, Figures]:
        config = self.config
        decoded, tokens = self._decoded(batch, target)
        terms = self.codec.pixel_terms(batch, decoded)
        lpips, l1, coarse = (term.mean() for term in terms[:3])
        latent = (decoded - target).abs().mean()
        others = config.lpips * lpips + config.latent * latent
        others = others + (config.pixel * l1 + config.coarse * coarse) / 2  # of pictures in [0,1]
        figures = {"lpips": lpips, "l1": l1, "coarse_l1": coarse, "latent_l1": latent}
        if config.structure:
            figures["structure"] = terms.structure.mean()
            others = others + config.structure * figures["structure"]
        if config.dmd:
            figures["dmd"] = dmd_loss(decoded, self._dmd_gradient(batch, decoded.detach(), tokens))
            others = others + config.dmd * figures["dmd"]
        if step < config.gan_after:
            return others, figures
        if isinstance(self.head, Judges):
            logits = self.head(decoded, terms.seen)
        else:
            logits = [self._logits(batch, decoded, tokens, "generator_gan")]
        gan = figures["gan_generator"] = torch.stack([generator_gan_loss(each) for each in logits]).mean()
        weight: Tensor | float = config.gan
        if self.balance:
            self.balance.observe(gan, others, self.codec.model.generator.unet.conv_out.weight)
            weight = figures["gan_weight"] = self.balance.weight.clone()
        return others + weight * gan, figures

    @torch.no_grad()
    def _dmd_gradient(self, batch: Batch, latents: Tensor, tokens: Tensor | None) -> Tensor:
        low, high, weight = self.config.timestep_low, self.config.timestep_high, self.config.guidance_weight
        timesteps = batch.noise.integers("dmd_timestep", low, high + 1).clamp(
            max=self.diffusion.timesteps - 1
        )
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
        timesteps = batch.noise.integers(f"{tag}_timestep", 0, self.diffusion.timesteps)
        noise = batch.noise.normal(f"{tag}_noise", *latents.shape[1:])
        noisy = self.diffusion.add_noise(latents, noise, timesteps)
        return self.head(self.fake_score.middle(noisy, timesteps, tokens))

    def _critic_loss(self, batch: Batch, target: Tensor) -> tuple[Tensor, Figures]:
        with torch.no_grad():
            decoded, tokens = self._decoded(batch, target)
        if isinstance(self.head, Judges):
            seen, wanted = self._features(batch, decoded) if self.head.by_features else ([], [])
            real, fake = self.head(target, wanted), self.head(decoded, seen)
        else:
            real = [self._logits(batch, target, tokens, "real_gan")]
            fake = [self._logits(batch, decoded, tokens, "fake_gan")]
        gan = torch.stack([critic_gan_loss(*pair) for pair in zip(real, fake, strict=True)]).mean()
        mean_logits = (torch.stack([m.mean() for m in maps]).mean() for maps in (real, fake))
        figures = {"gan_critic": gan} | dict(zip(("logit_real", "logit_fake"), mean_logits, strict=True))
        total = self.config.critic_gan * gan
        if self.config.dmd or self.config.judge == "score":
            error = figures["fake_noise_mse"] = self._fake_error(batch, decoded, tokens)
            total = error + total
        return total, figures

    @torch.no_grad()
    def _features(self, batch: Batch, decoded: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """What LPIPS's network sees of decoded windows, and of the photos'."""
        terms = self.codec.pixel_terms(batch, decoded)
        return terms.seen, terms.wanted

    def _fake_error(self, batch: Batch, decoded: Tensor, tokens: Tensor | None) -> Tensor:
        """What the fake score gets wrong of noise added to decoded vae_latents."""
        noise = batch.noise.normal("fake_noise", *decoded.shape[1:])
        timesteps = batch.noise.integers("fake_timestep", 0, self.diffusion.timesteps)
        predicted = self.fake_score(self.diffusion.add_noise(decoded, noise, timesteps), timesteps, tokens)
        return F.mse_loss(predicted.float(), noise)

    def score(self, batch: Batch) -> Figures:
        return self.codec.score(batch)

    def pictures(self, batch: Batch) -> Tensor:
        return self.codec.pictures(batch)
