"""GAN losses of both stages, and the weight of stage I's term. Knows no discriminator.

Sources: Sauer et al. 2021, "Projected GANs converge faster"; Esser et al. 2021 (VQGAN) for its weight.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

LARGEST = 3.0  # most that the term weighs


def generator_gan_loss(fake_logits: Tensor, weights: Tensor | None = None) -> Tensor:
    """Non-saturating: softplus(-D(fake)); in the mean over pictures, each by its weight [B]."""
    return _mean(F.softplus(-fake_logits.float()), weights)


def discriminator_gan_loss(real_logits: Tensor, fake_logits: Tensor, weights: Tensor | None = None) -> Tensor:
    """softplus(D(fake)) + softplus(-D(real)); in the mean over pictures, each by its weight [B]."""
    return _mean(F.softplus(fake_logits.float()) + F.softplus(-real_logits.float()), weights)


def _mean(values: Tensor, weights: Tensor | None) -> Tensor:
    if weights is None:
        return values.mean()
    return (weights * values.flatten(1).mean(dim=1)).sum() / weights.sum().clamp(min=1e-3)


def balanced(adversarial: Tensor, others: Tensor, share: float) -> Tensor:
    """The weight, at most LARGEST, that makes the first gradient's norm `share` times the second's.

    Source: Esser et al. 2021 (VQGAN), equation 7.
    """
    return (share * others / adversarial).nan_to_num(0.0, LARGEST).clamp(max=LARGEST)
