"""Stage I: the whole codec against rate, latent distance, pixel distance, LPIPS, perhaps a discriminator.

Rate and distortion of a batch, nothing of loops, files or devices.
Source: Xue et al. 2025 (OneDC), section 3.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import torch
from torch import Tensor, nn

from onedc.constants import QUALITY_MAX
from onedc.errors import ConfigError
from onedc.model.lpips import LPIPS
from onedc.model.maskgit import MaskGITTokenizer
from onedc.model.onedc import OneDC
from onedc.train.config import OptimConfig
from onedc.train.data.batches import Batch
from onedc.train.data.noise import Noise
from onedc.train.losses.distill import CODE_WEIGHT, DistillConfig, distillation, make_head
from onedc.train.losses.pixels import (
    INSET_PX,
    PixelTerms,
    pixel_terms,
    window_corners,
    window_coverage,
    windows,
)
from onedc.train.losses.rate import rate_weight
from onedc.train.networks.discriminators import Discriminator
from onedc.train.optim.schedule import ramped
from onedc.train.stages.coding import (
    Analysed,
    analysed,
    bpp_of,
    reconstruct,
    spread_lack,
    used_share,
)
from onedc.train.stages.stage import CodecStage, Figures, OptimizerGroup, panels, psnr, trainable
from onedc.train.stages.start import linear_path, linear_start, spread_start
from onedc.train.stages.tokenizer import PixelTokenizer

START_IMAGES = 64  # crops that the linear start is fitted to


@dataclass(frozen=True, kw_only=True)
class Stage1Weights:
    """Weights of the terms of the loss. `rate_low` and `rate_high` belong to quality bytes 1 and 255."""

    lpips: float = 1.0
    pixel: float = 2.0  # mean absolute error in [-1,1]
    coarse: float = 0.0  # that of means of 16x16 pixels: large areas of colour, which LPIPS hardly sees
    latent: float = 1.0  # mean absolute error of vae_latents
    structure: float = 0.0  # what MS-SSIM lacks to 1
    grid: float = 0.0  # what pictures repeat every 8 and 16 px beyond what their originals do
    rate_low: float = 6.0  # per bit per pixel
    rate_high: float = 0.3
    zonly: float = 1.0  # factor of `pixel` and `latent` in pictures decoded from z alone
    spread: float = 0.0  # of what z lacks to use all its values alike; see `spread_lack`

    def __post_init__(self) -> None:
        if min(self.rate_low, self.rate_high) <= 0:
            raise ConfigError(
                f"objective.weights: rate_low {self.rate_low}, rate_high {self.rate_high} must be above 0"
            )


@dataclass(frozen=True, kw_only=True)
class Stage1Config:
    """What stage I minimises, and which qualities it sees."""

    weights: Stage1Weights = field(default_factory=Stage1Weights)
    distill: DistillConfig = field(default_factory=DistillConfig)
    gan_share: float = 0.0  # gradient of a GAN's term at the vae_latents, in that of the others; 0: no GAN
    gan_from: int = 0  # quality byte below which nothing is judged: no texture where no bits tell of it
    ramp_steps: int = 0  # steps of the quadratic rise of the bits to their full weight: see losses/rate.py
    drop_y: float = 0.1  # share of pictures that are decoded from z alone (quality byte 0)
    highest_quality: int = QUALITY_MAX  # quality bytes are drawn from 1 to this one
    quality_power: float = 1.0  # of the uniform draw between them; below 1 high bytes come more often
    rounded_below: int = 0  # below this quality byte the bits are those of rounded values, not of noisy ones
    window_px: int = 128  # side of the window that pixel terms see, its border being context; 0: all
    linear_start: bool = False  # begin as a linear code of the vae_latents
    spread_start: bool = False  # begin with a z that uses all its values
    train_decoder: bool = False  # train the decoder of the model's autoencoder too
    only: tuple[str, ...] = ()  # parts of the codec that are trained, the rest frozen; (): all of it
    slow_share: float = 0.1  # share of the learning rate for that decoder, and for layers of the linear start
    validation_qualities: tuple[int, ...] = (32, 96, 160, 224)  # quality bytes of validation
    inset: bool = True  # pixel terms leave a border out, 8 px on average; false: they see all of a crop
    decoder_fp32: bool = False  # the autoencoder decodes in fp32, whatever the run's precision
    likelihood_offset: float = 0.0  # added to a value's likelihood before its bits are counted

    def __post_init__(self) -> None:
        if not 0 <= self.drop_y <= 1:
            raise ConfigError(f"objective.drop_y: {self.drop_y} is not a share")
        if not self.inset and self.window_px:
            raise ConfigError("objective.inset: false needs objective.window_px=0")
        if not 0 <= self.likelihood_offset < 1:
            raise ConfigError(f"objective.likelihood_offset: {self.likelihood_offset} is not in 0 .. 1")
        if not 1 <= self.highest_quality <= QUALITY_MAX:
            raise ConfigError(f"objective.highest_quality: {self.highest_quality} is no quality byte above 0")
        if self.gan_share < 0:
            raise ConfigError(f"objective.gan_share: {self.gan_share} must not be negative")
        if self.window_px % 8 or 0 < self.window_px < 64:
            raise ConfigError(f"objective.window_px: {self.window_px} is not 0 or a multiple of 8 from 64 on")
        if not self.validation_qualities or not all(0 <= q <= QUALITY_MAX for q in self.validation_qualities):
            raise ConfigError(
                f"objective.validation_qualities: not quality bytes: {self.validation_qualities}"
            )


class Coded(NamedTuple):
    """A batch through the codec in training."""

    sent: Analysed
    decoded: Tensor  # vae_latents [B,C,H/8,W/8]
    target: Tensor | None  # the vae_latents that they should be, where the loss compares them
    quality: Tensor  # bytes [B]


class Stage1(CodecStage):
    """The codec learns rate and distortion at qualities drawn per picture, its VAE's encoder apart.

    With an `autoencoder` beside it, the encoder learns too: the latents to be made are then that one's.
    """

    best_by = "loss"

    def __init__(
        self,
        model: OneDC,
        lpips: LPIPS,
        config: Stage1Config,
        optim: OptimConfig,
        teacher: PixelTokenizer | MaskGITTokenizer | None = None,
        discriminator_optim: OptimConfig | None = None,
        autoencoder: nn.Module | None = None,
    ) -> None:
        super().__init__(model, optim, autoencoder)
        self.lpips, self.config = lpips, config
        self.discriminator = Discriminator(config.gan_share, lpips.widths) if config.gan_share else None
        self.discriminator_optim = discriminator_optim or optim
        self.model.vae.requires_grad_(False)
        self.model.vae.get_submodule("decoder").requires_grad_(config.train_decoder)
        self.model.vae.get_submodule("encoder").requires_grad_(autoencoder is not None)
        if config.only:
            self._freeze_all_but(config.only)
        self.teacher, self.head = teacher, None
        if teacher is not None:
            teacher.requires_grad_(False)
            self.head = make_head(config.distill, model.config, len(teacher.codebook))

    def _freeze_all_but(self, parts: tuple[str, ...]) -> None:
        named = dict(self.model.named_parameters())
        inside = {part: {name for name in named if f"{name}.".startswith(f"{part}.")} for part in parts}
        for part in parts:
            if not inside[part]:
                raise ConfigError(f"objective.only: the codec has no part {part!r}")
        kept = set().union(*inside.values())
        for name, parameter in named.items():
            parameter.requires_grad_(name in kept and parameter.requires_grad)

    def begin(self, samples: Iterable[Batch]) -> None:
        if not (self.config.linear_start or self.config.spread_start):
            return
        few = list(itertools.islice(samples, START_IMAGES))
        x, latents = torch.cat([b.x for b in few]), torch.cat([self.vae_latents(b) for b in few])
        if self.config.linear_start:
            linear_start(self.model, latents)
        if self.config.spread_start:
            spread_start(self.model, x, self.seen(replace(few[0], x=x, vae_latents=latents)))

    def stored(self) -> dict[str, nn.Module]:
        others = {"head": self.head, "discriminator": self.discriminator}
        return {"model": self.model} | {name: net for name, net in others.items() if net is not None}

    def optimizer_groups(self) -> list[OptimizerGroup]:
        parameters = trainable(self.model, "model")
        paths = linear_path(self.model_config) if self.config.linear_start else ()
        prefixes = tuple(f"model.{path}" for path in (*paths, "vae."))
        slow = frozenset(name for name in parameters if name.startswith(prefixes))
        if self.head:
            parameters |= trainable(self.head, "head")
        groups = [
            OptimizerGroup("codec", parameters, self.optim, slow=slow, slow_share=self.config.slow_share)
        ]
        if self.discriminator is not None:
            own = trainable(self.discriminator, "discriminator")
            groups.append(OptimizerGroup("discriminator", own, self.discriminator_optim, ema=False))
        return groups

    def after_step(self, group: str) -> None:
        if group == "discriminator" and self.discriminator is not None:
            self.discriminator.stepped()

    def targets(self, x: Tensor) -> Mapping[str, Tensor]:
        if not self.compares_latents:
            return {}
        return {"vae_latents": self.vae().encode(x)}  # type: ignore[operator]

    @property
    def compares_latents(self) -> bool:
        """Whether the loss needs vae_latents of an autoencoder beside the model's own."""
        return self.autoencoder is None or self.config.weights.latent > 0

    def qualities(self, noise: Noise) -> Tensor:
        """A quality byte for each picture [B]: drawn from 1 to the highest, or 0 for the share without y."""
        if self.model_config.z_only:
            return noise.integers("quality", 0, 1)
        if not self.model_config.quality_knots:
            return noise.integers("quality", QUALITY_MAX, QUALITY_MAX + 1)
        dropped = noise.uniform("drop_y") < self.config.drop_y
        highest = self.config.highest_quality
        share = noise.uniform("quality") ** self.config.quality_power
        drawn = 1 + (highest * share).long().clamp(max=highest - 1)
        return torch.where(dropped, 0, drawn)

    def rate_weights(self, quality: Tensor, step: int) -> Tensor:
        """Weight of each picture's bits at a step of the ramp [B]."""
        weights, ramp = self.config.weights, ramped(step, self.config.ramp_steps)
        return rate_weight(quality, weights.rate_low, weights.rate_high, ramp)

    def loss(self, group: str, batch: Batch, step: int) -> tuple[Tensor, Figures]:
        if group == "discriminator" and self.discriminator is not None:
            return self.discriminator.loss(), {"gan_weight": self.discriminator.weight.clone()}
        coded = self.coded(batch)
        terms = self.pixel_terms(batch, coded.decoded)
        distortion, figures = self.distortion(terms, coded)
        cost, more = self.cost(batch, coded, step)
        if self.discriminator is not None:
            judged = (coded.quality >= self.config.gan_from).float()
            gan, value = self.discriminator.generator_term(terms, distortion, coded.decoded, judged, step)
            return distortion + cost + gan, {**figures, **more, "gan_generator": value}
        return distortion + cost, figures | more

    def coded(self, batch: Batch) -> Coded:
        """The batch through the whole codec but the autoencoder's decoder."""
        quality = self.qualities(batch.noise)
        target = self.vae_latents(batch) if self.compares_latents else None
        offset, below = self.config.likelihood_offset, self.config.rounded_below
        seen = self.seen(replace(batch, vae_latents=target))
        sent = analysed(self.model, batch.x, seen, quality, batch.noise, rounded_below=below, offset=offset)
        decoded = self.model.synthesise(sent.y_hat, sent.z_semantic, quality)
        return Coded(sent, decoded, target, quality)

    def distortion(self, terms: PixelTerms, coded: Coded) -> tuple[Tensor, Figures]:
        """What the loss has of the decoded vae_latents, whose pixels have these terms."""
        weights, (lpips, l1, coarse) = self.config.weights, terms[:3]
        detail, figures = weights.pixel * l1, {"lpips": lpips, "l1": l1, "coarse_l1": coarse}
        if coded.target is not None:
            figures["latent_l1"] = (coded.decoded - coded.target).abs().mean(dim=(1, 2, 3))
            detail = detail + weights.latent * figures["latent_l1"]
        detail = torch.where(coded.quality == 0, weights.zonly, 1.0) * detail
        distortion = weights.lpips * lpips + weights.coarse * coarse + detail
        if weights.structure:
            figures["structure"] = terms.structure
            distortion = distortion + weights.structure * figures["structure"]
        if weights.grid:
            figures["grid"] = terms.grid
            distortion = distortion + weights.grid * figures["grid"]
        return distortion.mean(), {name: value.mean() for name, value in figures.items()}

    def cost(self, batch: Batch, coded: Coded, step: int) -> tuple[Tensor, Figures]:
        """The terms of what was sent: its bits, how z spreads, how well it predicts the teacher's tokens."""
        sent, figures = coded.sent, {"bpp": coded.sent.bpp.mean()}
        side, size = 2 * sent.bits.shape[-1], self.config.window_px // 8
        bits = sent.bits
        if self.config.inset and 0 < size < side:  # else what windows seldom show would be given no bits
            bits = bits * window_coverage(side, size, bits.device)
        total = (self.rate_weights(coded.quality, step) * bpp_of(bits)).mean()
        if self.config.weights.spread:
            figures["spread_lack"] = spread_lack(sent.z)
            total = total + self.config.weights.spread * figures["spread_lack"]
        term, more = self._distillation(batch, sent.z_semantic)
        return total + self.config.distill.weight * term, figures | more

    def _distillation(self, batch: Batch, z_semantic: Tensor) -> tuple[Tensor, Figures]:
        """What the head still gets wrong of the teacher's tokens; zero without a teacher."""
        if self.teacher is None or self.head is None:
            return z_semantic.new_zeros(()), {}
        with torch.no_grad():
            _, indices = self.teacher(batch.x)
        inputs = self.model.semantic(z_semantic) if self.config.distill.head == "swin" else z_semantic
        entropy, error, accuracy = distillation(self.head(inputs), self.teacher.codebook, indices)
        figures = {"distill_ce": entropy, "distill_mse": error, "distill_accuracy": accuracy}
        return entropy + CODE_WEIGHT * error, figures

    def pixel_terms(self, batch: Batch, decoded: Tensor) -> PixelTerms:
        """The terms on each picture's own window."""
        x, side, size = batch.x, decoded.shape[-1], self.config.window_px // 8
        if not self.config.inset:
            return pixel_terms(self._decode, self.lpips, x, decoded, None)
        inset = INSET_PX - 5 + (batch.noise.uniform("inset", 2) * 11).long()
        if 0 < size < side:
            room = side - size
            corners = window_corners(batch.noise.uniform("window", 2), room)
            # A window at the edge of the crop sees that edge as the codec will see the edge of a picture.
            inset = torch.where(corners == 0, 0, torch.where(corners == room, 2 * INSET_PX, inset))
            x, decoded = windows(x, 8 * corners, 8 * size), windows(decoded, corners, size)
        return pixel_terms(self._decode, self.lpips, x, decoded, inset)

    def _decode(self, vae_latents: Tensor) -> Tensor:
        """Pictures [B,3,H,W] of vae_latents, in the precision that the decoder is to have."""
        if not self.config.decoder_fp32:
            return self.model.vae.decode(vae_latents)
        with torch.autocast(vae_latents.device.type, enabled=False):
            return self.model.vae.decode(vae_latents.float())

    def validate(self, batch: Batch) -> Figures:
        seen = self.seen(batch)
        figures: Figures = {}
        for byte in self._validated():
            quality = torch.full((len(batch.x),), byte, device=batch.x.device)
            sent = analysed(self.model, batch.x, seen, quality)
            decoded = self.model.synthesise(sent.y_hat, sent.z_semantic, quality)
            x_hat = self._decode(decoded).clamp(-1, 1)
            own = self._quality_figures(batch.x, x_hat, quality, sent.bpp)
            figures |= {f"{name}_{byte}": value for name, value in own.items()}
        figures["loss"] = torch.stack([figures[f"loss_{byte}"] for byte in self._validated()]).mean()
        figures["z_used"] = used_share(self.model.fsq.to_indices(self.model.fsq(sent.z)))
        return figures | self._distillation(batch, sent.z_semantic)[1]

    def _validated(self) -> tuple[int, ...]:
        if self.model_config.z_only:
            return (0,)
        return self.config.validation_qualities if self.model_config.quality_knots else (QUALITY_MAX,)

    def _quality_figures(self, x: Tensor, x_hat: Tensor, quality: Tensor, bpp: Tensor) -> Figures:
        weights, l1, lpips = self.config.weights, (x_hat - x).abs().mean(), self.lpips(x_hat, x).mean()
        rate = (rate_weight(quality, weights.rate_low, weights.rate_high) * bpp).mean()
        loss = weights.lpips * lpips + weights.pixel * l1 + rate
        return {"bpp": bpp.mean(), "lpips": lpips, "psnr": psnr(x_hat, x), "loss": loss}

    def pictures(self, batch: Batch) -> Tensor:
        quality = torch.full((len(batch.x),), self._validated()[-1], device=batch.x.device)
        seen = self.seen(batch)
        decoded, _ = reconstruct(self.model, batch.x, seen, quality)
        x_hat = self._decode(decoded).clamp(-1, 1)
        return panels(batch.x, x_hat)
