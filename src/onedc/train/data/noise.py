"""Random numbers that belong to an image of the run, not to a process.

The n-th image of a run meets the same numbers however many processes share the work and wherever
the run was interrupted. Nothing here keeps state.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


def derived_seed(*parts: int | str) -> int:
    """A 63-bit seed out of any few numbers and names."""
    digest = hashlib.blake2b("/".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


@dataclass(frozen=True)
class Noise:
    """Random tensors for a batch whose images are the run's `positions`-th; one stream for each tag."""

    seed: int
    positions: Sequence[int]
    device: torch.device

    def _generators(self, tag: str) -> list[torch.Generator]:
        return [torch.Generator().manual_seed(derived_seed(self.seed, p, tag)) for p in self.positions]

    def uniform(self, tag: str, *shape: int) -> Tensor:
        """[B,*shape] float32 in 0 <= u < 1."""
        return torch.stack([torch.rand(shape, generator=g) for g in self._generators(tag)]).to(self.device)

    def normal(self, tag: str, *shape: int) -> Tensor:
        """[B,*shape] float32, mean 0, variance 1."""
        return torch.stack([torch.randn(shape, generator=g) for g in self._generators(tag)]).to(self.device)

    def integers(self, tag: str, low: int, high: int) -> Tensor:
        """[B] int64, low <= n < high."""
        draws = [torch.randint(low, high, (), generator=g) for g in self._generators(tag)]
        return torch.stack(draws).to(self.device)
