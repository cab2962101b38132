"""Discriminators: stage I's on features of LPIPS's network, stage II's a head on the fake score's."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from accelerate.utils import reduce
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from onedc.model.blocks import GROUPS
from onedc.train.losses.gan import balanced, discriminator_gan_loss, generator_gan_loss
from onedc.train.losses.pixels import PixelTerms

FIRST = 0.3  # weight of the GAN's term before anything is measured
MEASURED_EVERY = 8  # steps between two measurements of the weight, which cost two backward passes
FOLLOW = 0.3  # how far the weight goes towards what is measured
ALONE = 100  # steps of the discriminator before its term counts


class FeatureHeads(nn.Module):
    """Unit-length features at several scales, each [B,C,h,w] -> logits [B,1,h,w] at each of them."""

    def __init__(self, widths: Sequence[int], hidden: int = 64) -> None:
        super().__init__()
        self.heads = nn.ModuleList(
            nn.Sequential(
                spectral_norm(nn.Conv2d(width, hidden, 1)),
                nn.LeakyReLU(0.2),
                spectral_norm(nn.Conv2d(hidden, hidden, 3, padding=1)),
                nn.LeakyReLU(0.2),
                nn.Conv2d(hidden, 1, 1),
            )
            for width in widths
        )

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        scaled = (f * f.shape[1] ** 0.5 for f in features)
        return [head(f) for head, f in zip(self.heads, scaled, strict=True)]


class Discriminator(nn.Module):
    """Stage I's: heads on LPIPS's features of some `widths`, and the weight that makes their `share`."""

    weight: Tensor
    steps: Tensor
    counts: Tensor

    def __init__(self, share: float, widths: Sequence[int]) -> None:
        super().__init__()
        self.share = share
        self.heads = FeatureHeads(widths)
        self.register_buffer("weight", torch.tensor(FIRST))
        self.register_buffer("steps", torch.tensor(0))
        self.register_buffer("counts", torch.tensor(0.0))  # 0 or 1
        self._seen: tuple[list[Tensor], list[Tensor], Tensor] | None = None

    def generator_term(
        self, terms: PixelTerms, others: Tensor, decoded: Tensor, judged: Tensor, step: int
    ) -> tuple[Tensor, Tensor]:
        """The weighted term for the codec, and its value; at some steps the next weight follows from it.

        Args:
            others: the other terms that pass through `decoded`.
            decoded: vae_latents [B,C,h,w], where both gradients are measured.
            judged: 1 for each picture that has a part in it, 0 for the others [B].
        """
        self._seen = [f.detach() for f in terms.features], terms.target_features, judged
        losses = [generator_gan_loss(logits, judged) for logits in self.heads(terms.features)]
        value = torch.stack(losses).mean()
        captured = decoded.is_cuda and torch.cuda.is_current_stream_capturing()  # then it is every step
        if decoded.requires_grad and (captured or step % MEASURED_EVERY == 0):
            own, rest = (torch.autograd.grad(t, decoded, retain_graph=True)[0] for t in (value, others))
            with torch.no_grad():
                norms = own.float().norm(), rest.float().norm()
                measured = balanced(*norms, self.share)
                self.weight.lerp_(measured, FOLLOW * judged.amax())  # nothing judged: nothing measured
        return self.counts * self.weight.clone() * value, value

    def loss(self) -> Tensor:
        """Its own loss on the pictures of the last `generator_term`."""
        assert self._seen is not None
        generated, target, judged = self._seen
        pairs = zip(self.heads(target), self.heads(generated), strict=True)
        return torch.stack([discriminator_gan_loss(*pair, judged) for pair in pairs]).mean()

    def stepped(self) -> None:
        """Called after each of its optimizer steps, in all processes."""
        self.steps += 1
        self.counts.copy_(self.steps >= ALONE)
        self.weight.copy_(reduce(self.weight, "mean"))


class GANHead(nn.Module):
    """Middle features [B,M,h,w] -> logits [B,1,h/8,w/8], at least one: small maps are padded with zeros."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        groups = min(GROUPS, channels // 4)  # a group of one value would be normalised to nothing
        self.conv1 = nn.Conv2d(channels, channels, 4, stride=2, padding=1)
        self.norm1 = nn.GroupNorm(groups, channels)
        self.conv2 = nn.Conv2d(channels, channels, 4, stride=4)
        self.norm2 = nn.GroupNorm(groups, channels)
        self.out = nn.Conv2d(channels, 1, 1)

    def forward(self, middle: Tensor) -> Tensor:
        h = F.silu(self.norm1(self.conv1(middle)))
        h = F.pad(h, (0, max(4 - h.shape[-1], 0), 0, max(4 - h.shape[-2], 0)))
        return self.out(F.silu(self.norm2(self.conv2(h))))
