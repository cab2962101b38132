"""A running mean of the weights, which validation and export use instead of the last step's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class RunningMean:
    """float32 mean of parameters with exponential decay; early on it follows faster."""

    def __init__(self, parameters: Mapping[str, nn.Parameter], decay: float) -> None:
        self.parameters, self.decay = parameters, decay
        self.means: dict[str, Tensor] = {}
        self.restart()

    def restart(self) -> None:
        """Forget the past: the mean is the weights as they are."""
        self.means = {n: p.detach().float().clone() for n, p in self.parameters.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after step `step`, counted from 0."""
        weight = 1 - min(self.decay, (step + 1) / (step + 10))
        current = [p.detach().float() for p in self.parameters.values()]
        torch._foreach_lerp_(list(self.means.values()), current, weight)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Within this context the parameters hold the mean."""
        kept = {name: p.detach().clone() for name, p in self.parameters.items()}
        self._write(self.means)
        try:
            yield
        finally:
            self._write(kept)

    @torch.no_grad()
    def _write(self, values: Mapping[str, Tensor]) -> None:
        for name, parameter in self.parameters.items():
            parameter.copy_(values[name])
