"""A player's turn: gradients averaged over processes, clipped, one move of its optimiser. Means of figures.

Gradients are averaged here, once a turn, so that players whose networks overlap need no wrapping.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from onedc.train.muon import Muon
from onedc.train.stage import Figures, Player

REDUCE_AT_ONCE = 1 << 24  # elements of gradient in one collective call


def summed(accelerator: Accelerator, value: Tensor, how: str = "sum") -> Tensor:
    """`value` summed (or "mean": averaged) over all processes."""
    if accelerator.num_processes == 1:
        return value
    result: Tensor = accelerator.reduce(value, how)
    return result


class Turn:
    """A player with its optimiser."""

    def __init__(self, player: Player, accelerator: Accelerator) -> None:
        self.player = player
        groups = grouped(player)
        self.names = [name for names, _, _ in groups for name in names]
        self.parameters = [player.parameters[name] for name in self.names]
        self.shares = [share for _, share, _ in groups]
        self.optimizer = accelerator.prepare(make_optimizer(player, groups))

    def forget(self) -> None:
        """No parameter has a gradient any more."""
        for p in self.parameters:
            p.grad = None

    def step(self, accelerator: Accelerator, lr: float, *, keep: bool = False) -> Tensor:
        """Average the gradients, clip, update; returns their norm before clipping.

        With `keep` the gradients' memory stays, for a captured graph to write to again.
        """
        average_gradients(accelerator, self.parameters)
        accelerator.unscale_gradients(self.optimizer)
        norm = nn.utils.clip_grad_norm_(self.parameters, self.player.optim.clip)
        for group, share in zip(self.optimizer.param_groups, self.shares, strict=True):
            group["lr"] = lr * share
        self.optimizer.step()
        if not keep:
            self.optimizer.zero_grad(set_to_none=True)
        return norm.detach()


Group = tuple[list[str], float, float]
"""Names, share of the learning rate, weight decay."""


def grouped(player: Player) -> list[Group]:
    """A player's parameters in groups: weights decay, vectors (biases, norms, gains) and slow ones do not."""
    weights: list[str] = []
    vectors: list[str] = []
    slow: list[str] = []
    for name, p in player.parameters.items():
        (slow if name in player.slow else weights if p.ndim > 1 else vectors).append(name)
    groups = [(weights, 1.0, player.optim.weight_decay), (vectors, 1.0, 0.0), (slow, player.slow_share, 0.0)]
    return [group for group in groups if group[0]]


def make_optimizer(player: Player, groups: list[Group]) -> torch.optim.Optimizer:
    """The optimiser that a player's config describes."""
    optim = player.optim
    settings = [
        {"params": [player.parameters[name] for name in names], "weight_decay": decay}
        for names, _, decay in groups
    ]
    if optim.kind == "sgd":
        return torch.optim.SGD(settings, lr=optim.lr)
    if optim.kind == "muon":
        return Muon(settings, lr=optim.lr, betas=optim.betas)
    return torch.optim.AdamW(settings, lr=optim.lr, betas=optim.betas)


def average_gradients(accelerator: Accelerator, parameters: list[nn.Parameter]) -> None:
    """Replace gradients by their mean over processes; a parameter that was not used counts as zero."""
    for p in parameters:
        if p.grad is None:
            p.grad = torch.zeros_like(p)
    if accelerator.num_processes == 1:
        return
    for group in _chunks(parameters):
        grads = [p.grad for p in group if p.grad is not None]
        flat = summed(accelerator, torch.cat([g.flatten() for g in grads]), "mean")
        for grad, mean in zip(grads, flat.split([g.numel() for g in grads]), strict=True):
            grad.copy_(mean.view_as(grad))


def _chunks(parameters: list[nn.Parameter]) -> Iterator[list[nn.Parameter]]:
    group: list[nn.Parameter] = []
    size = 0
    for p in parameters:
        if group and size + p.numel() > REDUCE_AT_ONCE:
            yield group
            group, size = [], 0
        group.append(p)
        size += p.numel()
    yield group


class Meter:
    """Weighted means of figures since they were last taken, over all processes."""

    def __init__(self, accelerator: Accelerator) -> None:
        self._accelerator = accelerator
        self._sums: dict[str, Tensor] = {}
        self._weights: dict[str, float] = {}

    def add(self, figures: Figures, weight: float = 1.0) -> None:
        """Take in one measurement of each figure."""
        for name, value in figures.items():
            value = weight * value.detach().float()
            self._sums[name] = self._sums[name] + value if name in self._sums else value
            self._weights[name] = self._weights.get(name, 0.0) + weight

    def take(self) -> dict[str, float]:
        """The means by name, and start afresh. All processes must have measured the same figures."""
        names = sorted(self._sums)
        if not names:
            return {}
        sums = torch.stack([self._sums[n] for n in names])
        weights = sums.new_tensor([self._weights[n] for n in names])
        self._sums, self._weights = {}, {}
        both = summed(self._accelerator, torch.stack([sums, weights]))
        return dict(zip(names, (both[0] / both[1]).tolist(), strict=True))
