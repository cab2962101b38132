"""The weight of an adversarial term, set by what it does: its gradient at the generator's last layer.

Source: Esser et al. 2021 (VQGAN), equation 7; measured over the whole batch, in all processes.
"""

from __future__ import annotations

import torch
from accelerate.utils import reduce
from torch import Tensor, nn

LARGEST = 1e4  # weight, where the adversarial gradient vanishes


def balanced(adversarial: Tensor, others: Tensor, share: float, largest: float = LARGEST) -> Tensor:
    """The weight, at most `largest`, that makes the first gradient's norm `share` times the second's."""
    return (share * others / adversarial).nan_to_num(0.0, largest).clamp(max=largest)


class GANBalance(nn.Module):
    """Keeps the norm of the weighted adversarial gradient at `share` times that of the other terms'.

    Both are measured at one layer in every `every`-th move, and the weight holds from the next move on.
    """

    weight: Tensor
    moves: Tensor

    def __init__(self, share: float, every: int, first: float) -> None:
        """Begin with the weight `first`."""
        super().__init__()
        self.share, self.every = share, every
        self.register_buffer("weight", torch.tensor(first))
        self.register_buffer("moves", torch.tensor(0))
        self._sums: Tensor | None = None

    def observe(self, adversarial: Tensor, others: Tensor, layer: Tensor) -> None:
        """Take in the terms of one part of a batch, if this move is one to measure; the graph is kept."""
        if int(self.moves) % self.every or not layer.requires_grad:
            return
        pair = [torch.autograd.grad(term, layer, retain_graph=True)[0] for term in (adversarial, others)]
        gradients = torch.stack([gradient.float().flatten() for gradient in pair])
        self._sums = gradients if self._sums is None else self._sums + gradients

    def settle(self) -> None:
        """The move is over, in all processes: set the weight by what was measured."""
        self.moves += 1
        if self._sums is None:
            return
        adversarial, others = reduce(self._sums, "sum").norm(dim=1)
        self.weight.copy_(balanced(adversarial, others, self.share))
        self._sums = None
