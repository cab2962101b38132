"""Means of figures between two lines of the log, over all processes."""

from __future__ import annotations

import torch
from accelerate import Accelerator
from torch import Tensor

from onedc.train.processes import summed
from onedc.train.stages.stage import Figures


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
