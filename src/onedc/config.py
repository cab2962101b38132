"""Model configuration: frozen, keyword-only, checked; and the two presets.

A configuration travels inside the weights file as JSON, so decoding needs nothing else.
No torch here, and nothing is read from disk.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from typing import Any

from onedc.errors import ConfigError

FSQ_LEVELS = 4
FSQ_DIMS = 7
PARTS = 4
"""Steps in which y is coded, each seeing those before it."""
TURN = (0, 3, 2, 1)
"""Positions have a parity (0: even row and column, 1: odd column, 2: odd row, 3: both odd). Those of parity
group ^ TURN[part] of a quarter of the channels (group) belong to the part."""


@dataclass(frozen=True, kw_only=True)
class UNetConfig:
    """Widths of one UNet. Level i works at 1/2**i of the input resolution."""

    widths: tuple[int, ...]  # channels of each level
    layers: int  # residual blocks per level on the way down; one more on the way up
    attention: tuple[bool, ...]  # which levels have attention
    up_attention: tuple[bool, ...] = ()  # the same for the way up where it differs; empty: as on the way down
    heads: int = 8  # attention heads (generator only)
    head_width: int = 8  # channels per attention head (analysis only)
    time_channels: int = 0  # width of the time embedding; 0: none

    def __post_init__(self) -> None:
        if len(self.widths) != len(self.attention) or not self.widths:
            raise ConfigError(f"UNetConfig.attention: {self.attention} does not match widths {self.widths}")
        if self.up_attention and len(self.up_attention) != len(self.widths):
            raise ConfigError(
                f"UNetConfig.up_attention: {self.up_attention} does not match widths {self.widths}"
            )
        if any(w <= 0 or w % 32 for w in self.widths):
            raise ConfigError(f"UNetConfig.widths: {self.widths} must be positive multiples of 32")
        if self.layers < 1:
            raise ConfigError(f"UNetConfig.layers: {self.layers} must be at least 1")


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Every width and depth of a onedc model. Scales in comments are fractions of the image size."""

    name: str  # preset name, for people
    vae: str  # "sd" (Stable Diffusion KL autoencoder) or "taef2"
    vae_channels: int  # channels of vae_latents at 1/8
    # g_a
    pixel_channels: int  # channels of the 8x8 patch embedding of the image, 1/8
    fusion_channels: int  # channels after fusing pixels and vae_latents, 1/8
    analysis_unet: UNetConfig  # levels at 1/16, 1/32, 1/64
    analysis_in_blocks: int = 0  # residual blocks before the step from 1/8 to 1/16
    analysis_attention: bool = False  # single-head attention at 1/16 behind the UNet
    analysis_skip: bool = False  # linear path from vae_latents to y, where training starts
    y_channels: int  # channels of y at 1/16, a multiple of 4
    # h_a, h_s, prior: the integer seam is h_s and prior
    hyper_analysis_widths: tuple[int, int]  # widths of the two fusion stages of h_a, 1/64
    hyper_analysis_norm: bool = False  # h_a scales what it reads, and what z is made of, by picture
    hyper_channels: int  # channels of z_semantic (1/64) and of the hyper features (1/16)
    prior_blocks: int  # depth-convolution blocks of the shared spatial prior
    seam_expansion: int = 2  # hidden width of the feed-forward layers of h_s and prior, in widths
    # tokens, g_s
    token_channels: int  # width of a semantic token
    semantic_stages: int  # residual + attention + attention stages of the semantic adaptor
    synthesis_widths: tuple[int, int]  # g_s channels at 1/16 and 1/8
    synthesis_blocks: tuple[int, int]  # residual blocks of g_s at 1/16 and at 1/8
    semantic_up_widths: tuple[int, int]  # g_s: widths of the tokens' way up, at 1/32 and 1/16 (then 1/8)
    # generator
    generator_channels: int  # channels of the generator's input at 1/8
    generator_unet: UNetConfig  # levels at 1/8 and below
    guidance: str = "tokens"  # what its attention sees; "none": one learned vector in place of every token
    noise_channels: int = 0  # of fixed noise, mixed into the vae_latents that it makes; 0: none
    timestep: int = 999  # constant timestep fed to the generator
    alpha_bar: float = 0.004660095  # cumulative signal power at that timestep
    # one model for many rates
    vae_width: int = 64  # channels of TAEF2's layers
    reduced: bool = False  # less work: TAEF2 between 1/4 and 1/2 and narrower, transposed convolutions double
    z_only: bool = False  # trained without a y section; every file has quality 0
    quality_knots: int = 0  # trained points of the continuous quality; 0: a model of a single rate
    attention_positions: int = 4096  # attention is global up to this many positions
    attention_window: int = 32  # side of the windows above that, in positions

    def __post_init__(self) -> None:
        if self.vae not in ("sd", "taef2"):
            raise ConfigError(f"ModelConfig.vae: {self.vae!r} is neither 'sd' nor 'taef2'")
        if self.reduced and self.vae != "taef2":
            raise ConfigError("ModelConfig.reduced: goes with vae 'taef2' alone")
        if self.y_channels % 4 or self.y_channels <= 0:
            raise ConfigError(f"ModelConfig.y_channels: {self.y_channels} is not a positive multiple of 4")
        if self.guidance not in ("tokens", "none"):
            raise ConfigError(f"ModelConfig.guidance: {self.guidance!r} is neither 'tokens' nor 'none'")
        if not 0.0 < self.alpha_bar < 1.0:
            raise ConfigError(f"ModelConfig.alpha_bar: {self.alpha_bar} is not between 0 and 1")
        if self.quality_knots == 1 or self.quality_knots < 0:
            raise ConfigError(f"ModelConfig.quality_knots: {self.quality_knots} must be 0 or at least 2")

    def to_json(self) -> str:
        """This configuration as one line of JSON."""
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> ModelConfig:
        """Read what `to_json` wrote.

        Raises:
            ConfigError: not JSON, or unknown, missing or bad fields.
        """
        try:
            values = json.loads(text)
        except ValueError as error:
            raise ConfigError(f"model configuration is not JSON: {error}") from error
        config: ModelConfig = _build(cls, values)
        return config


def _build(cls: type[Any], values: Any) -> Any:
    """A dataclass from plain JSON values; lists become tuples, nested objects their own dataclasses."""
    if not isinstance(values, dict):
        raise ConfigError(f"{cls.__name__}: expected an object, got {type(values).__name__}")
    known = {f.name for f in fields(cls)}
    unknown = sorted(set(values) - known)
    if unknown:
        raise ConfigError(f"{cls.__name__}: unknown field {unknown[0]!r}")
    kwargs: dict[str, Any] = {}
    for name, value in values.items():
        if name.endswith("_unet"):
            value = _build(UNetConfig, value)
        kwargs[name] = tuple(value) if isinstance(value, list) else value
    try:
        return cls(**kwargs)
    except TypeError as error:
        raise ConfigError(f"{cls.__name__}: {error}") from error


SD15 = ModelConfig(
    name="sd15",
    vae="sd",
    vae_channels=4,
    pixel_channels=192,
    fusion_channels=320,
    analysis_unet=UNetConfig(
        widths=(512, 768, 768),
        layers=2,
        attention=(True, True, False),
        up_attention=(False, True, True),
        time_channels=2048,
    ),
    analysis_in_blocks=3,
    analysis_attention=True,
    y_channels=128,
    hyper_analysis_widths=(768, 512),
    hyper_channels=128,
    prior_blocks=3,
    token_channels=768,
    semantic_stages=2,
    synthesis_widths=(512, 256),
    synthesis_blocks=(3, 3),
    semantic_up_widths=(512, 256),
    generator_channels=320,
    generator_unet=UNetConfig(
        widths=(320, 640, 1280, 1280),
        layers=2,
        attention=(True, True, True, False),
        heads=8,
        time_channels=1280,
    ),
    attention_positions=16384,
)
"""The paper's model round Stable Diffusion 1.5."""

SMALL = ModelConfig(
    name="small",
    vae="taef2",
    vae_channels=32,
    reduced=True,
    pixel_channels=32,
    fusion_channels=96,
    analysis_unet=UNetConfig(widths=(128, 64, 96), layers=1, attention=(False, True, False), head_width=32),
    analysis_in_blocks=1,
    analysis_attention=False,
    analysis_skip=True,
    y_channels=64,
    hyper_analysis_widths=(128, 128),
    hyper_analysis_norm=True,
    hyper_channels=96,
    prior_blocks=1,
    seam_expansion=1,
    token_channels=128,
    semantic_stages=1,
    synthesis_widths=(160, 96),
    synthesis_blocks=(1, 1),
    semantic_up_widths=(96, 64),
    generator_channels=96,
    generator_unet=UNetConfig(widths=(32, 32), layers=1, attention=(False, True), heads=2, time_channels=128),
    noise_channels=8,
    timestep=500,
    alpha_bar=0.5,
    quality_knots=13,
    attention_positions=256,
    attention_window=16,
)
"""The bundled model for CPUs, round the tiny autoencoder TAEF2."""

TINY = ModelConfig(
    name="tiny",
    vae="taef2",
    vae_channels=32,
    vae_width=16,
    pixel_channels=16,
    fusion_channels=32,
    analysis_unet=UNetConfig(widths=(32, 64, 64), layers=1, attention=(False, True, False), head_width=16),
    analysis_in_blocks=1,
    analysis_attention=False,
    analysis_skip=True,
    y_channels=16,
    hyper_analysis_widths=(64, 64),
    hyper_analysis_norm=True,
    hyper_channels=32,
    prior_blocks=1,
    token_channels=64,
    semantic_stages=1,
    synthesis_widths=(32, 32),
    synthesis_blocks=(1, 1),
    semantic_up_widths=(32, 32),
    generator_channels=32,
    generator_unet=UNetConfig(widths=(32, 32), layers=1, attention=(False, True), heads=2, time_channels=32),
    timestep=500,
    alpha_bar=0.5,
    quality_knots=2,
)
"""A model that is only good for tests: everything runs in a moment."""
