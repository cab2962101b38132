"""GAN losses of both stages, and the discriminator that trains beside stage I on features of LPIPS's network.

Stage II's discriminator is a head on the fake score: `onedc.train.stages.stage2`.

Sources: Sauer et al. 2021, "Projected GANs converge faster"; Esser et al. 2021 (VQGAN) for its weight.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from accelerate.utils import reduce
from torch import Tensor, nn

from onedc.train.losses.pixels import PixelTerms
from onedc.train.networks.discriminators import FeatureHeads

FIRST, LARGEST = 0.3, 3.0  # weight of the term before anything is measured, and at most
FOLLOW = 0.1  # how far the weight goes towards what each step measures
ALONE = 100  # steps of the discriminator before its term counts


def generator_gan_loss(fake_logits: Tensor) -> Tensor:
    """Non-saturating, of each picture [B]: softplus(-D(fake))."""
    return F.softplus(-fake_logits.float()).mean(dim=(1, 2, 3))


def discriminator_gan_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Of each pair [B]: softplus(D(fake)) + softplus(-D(real))."""
    return (F.softplus(fake_logits.float()) + F.softplus(-real_logits.float())).mean(dim=(1, 2, 3))


class Discriminator(nn.Module):
    """Heads on LPIPS's features of some `widths`, and the weight that gives their term its `share`."""

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
        self, terms: PixelTerms, others: Tensor, decoded: Tensor, judged: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The weighted term for the codec, and its value; the next step's weight follows from this one.

        Args:
            others: the other terms that pass through `decoded`.
            decoded: vae_latents [B,C,h,w], where both gradients are measured.
            judged: pictures [B] that have the term, and that the discriminator learns from.
        """
        self._seen = [f.detach() for f in terms.features], terms.target_features, judged
        values = torch.stack([generator_gan_loss(logits) for logits in self.heads(terms.features)])
        value = _mean(values, judged)
        if decoded.requires_grad:
            own, rest = (torch.autograd.grad(t, decoded, retain_graph=True)[0] for t in (value, others))
            with torch.no_grad():
                norms = own.float().norm(), rest.float().norm()
                measured = balanced(*norms, self.share)
                self.weight.lerp_(measured, FOLLOW)
        return self.counts * self.weight.clone() * value, value

    def loss(self) -> Tensor:
        """Its own loss on the pictures of the last `generator_term`."""
        assert self._seen is not None
        generated, target, judged = self._seen
        pairs = zip(self.heads(target), self.heads(generated), strict=True)
        return _mean(torch.stack([discriminator_gan_loss(*pair) for pair in pairs]), judged)

    def stepped(self) -> None:
        """Called after each of its optimizer steps, in all processes."""
        self.steps += 1
        self.counts.copy_(self.steps >= ALONE)
        self.weight.copy_(reduce(self.weight, "mean"))


def _mean(values: Tensor, judged: Tensor) -> Tensor:
    """The mean of losses [heads,B] over the pictures that are judged; 0 where none is."""
    return (values.mean(dim=0) * judged).sum() / judged.sum().clamp(min=1)


def balanced(adversarial: Tensor, others: Tensor, share: float) -> Tensor:
    """The weight, at most LARGEST, that makes the first gradient's norm `share` times the second's.

    Source: Esser et al. 2021 (VQGAN), equation 7.
    """
    return (share * others / adversarial).nan_to_num(0.0, LARGEST).clamp(max=LARGEST)
