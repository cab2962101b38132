"""The wiring: every network of the codec under one roof, in the order the data walks.

x --vae--> vae_latents --g_a--> y --h_a--> z --fsq--> z_hat --h_s--> hyper --prior--> y_hat
z_semantic --semantic--> tokens;  y_hat, tokens --g_s--> x_hat --generator--> vae_latents --vae--> x
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from onedc.config import ModelConfig
from onedc.constants import Y_PX
from onedc.model.analysis import AnalysisTransform
from onedc.model.autoencoder import Autoencoder, Finish, as_made
from onedc.model.blocks import in_blended_tiles
from onedc.model.hyperprior import FSQ, HyperAnalysis, HyperSynthesis, SemanticAdaptor, SpatialPrior
from onedc.model.synthesis import OneStepGenerator, SynthesisTransform
from onedc.model.taef2 import TAEF2, Block

PRECISE_NETS = ("generator.vae_reduction.", "generator.unet.conv_out.")
"""How names of parameters that stay fp32 begin: clean latents are their difference, which sd15 amplifies 15
times."""


def unpacked_nets(config: ModelConfig) -> tuple[str, ...]:
    """The same of those never stored in 8 bits: a whole autoencoder, kept as it came, and what is precise.

    Of a reduced one it is the encoder: in 8 bits it costs 12 % of LPIPS at 0.16 bpp, the decoder nothing.
    """
    return ("vae.encoder.",) if config.reduced else ("vae.", *PRECISE_NETS)


class OneDC(nn.Module):
    """The networks of one configuration. Names and shapes: docs/architecture.md."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.vae = _vae(config)
        self.g_a = AnalysisTransform(config)
        self.h_a = HyperAnalysis(config)
        self.fsq = FSQ()
        self.h_s = HyperSynthesis(config)
        self.prior = SpatialPrior(config)
        self.semantic = SemanticAdaptor(config)
        self.g_s = SynthesisTransform(config)
        self.generator = OneStepGenerator(config)

    def to_precision(self, dtype: torch.dtype) -> OneDC:
        """All networks in `dtype` but the PRECISE_NETS, which stay fp32."""
        for name, parameter in self.named_parameters():
            parameter.data = parameter.data.to(torch.float32 if name.startswith(PRECISE_NETS) else dtype)
        return self

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x [B,3,H,W], in [-1,1] or bytes -> y [B,N,H/16,W/16] and z_hat [B,7,H/64,W/64].

        Large pictures run in tiles.
        """

        def analyse(x: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
            y, sem = self.g_a(x, self.vae.behind_pixels(features))
            return y, sem

        height, width = x.shape[-2:]
        y, sem = in_blended_tiles(analyse, [x, self.vae.from_pixels(x)], height, width, self.vae.overlap)
        return y, self.fsq(self.h_a(y, sem))

    def analyse(self, x: Tensor, vae_latents: Tensor) -> tuple[Tensor, Tensor]:
        """What `encode` gives, of x and its `vae_latents`; in one piece."""
        y, z = self.analyse_unquantised(x, vae_latents)
        return y, self.fsq(z)

    def analyse_unquantised(self, x: Tensor, vae_latents: Tensor) -> tuple[Tensor, Tensor]:
        """What `analyse` gives, but z [B,7,H/64,W/64] as h_a made it."""
        y, sem = self.g_a(x, vae_latents)
        return y, self.h_a(y, sem)

    def synthesise(self, y_hat: Tensor, z_semantic: Tensor, quality: Tensor) -> Tensor:
        """Decoded latents and z_semantic -> vae_latents [B,C,H/8,W/8] float32; large pictures in tiles."""
        return self._synthesised(y_hat, z_semantic, quality, lambda vae_latents: vae_latents)

    def decode(self, y_hat: Tensor, z_semantic: Tensor, quality: Tensor, finish: Finish = as_made) -> Tensor:
        """What `synthesise` takes -> picture [B,3,H,W], about [-1,1], not clamped; large ones in tiles."""

        def features(vae_latents: Tensor) -> Tensor:
            as_taken = vae_latents.to(y_hat.dtype, memory_format=torch.channels_last)
            return self.vae.before_pixels(as_taken)

        return self.vae.to_pixels(self._synthesised(y_hat, z_semantic, quality, features), finish)

    def _synthesised(
        self, y_hat: Tensor, z_semantic: Tensor, quality: Tensor, behind: Callable[[Tensor], Tensor]
    ) -> Tensor:
        """What `behind` makes of the vae_latents of each tile."""

        def generate(y_hat: Tensor, z_semantic: Tensor) -> list[Tensor]:
            tokens = self.semantic(z_semantic)
            return [behind(self.generator(self.g_s(y_hat, tokens, quality), tokens, quality))]

        height, width = (Y_PX * side for side in y_hat.shape[-2:])
        return in_blended_tiles(generate, [y_hat, z_semantic], height, width, self.vae.overlap)[0]

    def compiled_parts(self) -> list[str]:
        """Names of the float networks, in the pieces that are compiled anew for each size of picture."""
        parts = ["g_a", "h_a", "semantic", "g_s", "generator"]
        if self.config.vae == "sd":
            return [*parts, "vae.encoder", "vae.decoder"]
        blocks = (name for name, module in self.vae.named_modules() if isinstance(module, Block))
        return [*parts, *(f"vae.{name}" for name in blocks)]


def _vae(config: ModelConfig) -> Autoencoder:
    if config.vae == "sd":
        from onedc.model.vae_kl import AutoencoderKL

        return AutoencoderKL()
    return TAEF2(config.vae_channels, config.vae_width, config.reduced)
