"""Distribution matching, on latents of any shape [B,...]. Networks come as arguments.

Source: Yin et al. 2024 (DMD2); constants of Xue et al. 2025 (OneDC).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

TIMESTEPS = 1000
BETA_START, BETA_END = 0.00085, 0.012


class Diffusion(nn.Module):
    """Noise at timesteps 0 .. TIMESTEPS-1: square roots of variances rise linearly, as Stable Diffusion's."""

    alpha_bars: Tensor

    def __init__(self) -> None:
        super().__init__()
        roots = torch.linspace(BETA_START**0.5, BETA_END**0.5, TIMESTEPS, dtype=torch.float64)
        self.register_buffer("alpha_bars", torch.cumprod(1 - roots.square(), dim=0), persistent=False)

    def _powers(self, timesteps: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        """Amplitudes of signal and noise, shaped to multiply `like`."""
        alpha_bar = self.alpha_bars[timesteps].reshape(-1, *[1] * (like.ndim - 1))
        return alpha_bar.sqrt(), (1 - alpha_bar).sqrt()

    def add_noise(self, clean: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """Clean latents at timesteps [B]: sqrt(a) clean + sqrt(1 - a) noise, in the type of `clean`."""
        signal, sigma = self._powers(timesteps, clean)
        return (signal * clean + sigma * noise).to(clean.dtype)

    def clean(self, noisy: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """What a noise prediction says the clean latents are, float64: at late timesteps it is amplified."""
        signal, sigma = self._powers(timesteps, noisy)
        return (noisy.double() - sigma * noise.double()) / signal


def dmd_gradient(latents: Tensor, real_clean: Tensor, fake_clean: Tensor) -> Tensor:
    """The direction in which the generator's distribution departs from the data's.

    (p_real - p_fake) / mean |p_real| for each sample, with p the latents less a clean prediction.
    """
    p_real, p_fake = latents - real_clean, latents - fake_clean
    scale = p_real.abs().mean(dim=tuple(range(1, latents.ndim)), keepdim=True)
    return torch.nan_to_num((p_real - p_fake) / scale, nan=0.0, posinf=0.0, neginf=0.0)


def dmd_loss(latents: Tensor, gradient: Tensor) -> Tensor:
    """A loss whose gradient at the latents is `gradient` over their number."""
    target = (latents.double() - gradient).detach()
    return 0.5 * F.mse_loss(latents.double(), target)


def guided(conditional: Tensor, unconditional: Tensor, weight: float) -> Tensor:
    """Classifier-free guidance; weight 1 is the conditional prediction itself."""
    return unconditional + weight * (conditional - unconditional)
