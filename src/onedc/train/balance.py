"""The weight of an adversarial term, set by the gradients that it and the other terms have at one place.

Source: Esser et al. 2021 (VQGAN), equation 7.
"""

from __future__ import annotations

from torch import Tensor

LARGEST = 1e4  # weight, where the adversarial gradient vanishes


def balanced(adversarial: Tensor, others: Tensor, share: float, largest: float = LARGEST) -> Tensor:
    """The weight, at most `largest`, that makes the first gradient's norm `share` times the second's."""
    return (share * others / adversarial).nan_to_num(0.0, largest).clamp(max=largest)
