"""What the loop asks of a stage: optimizer groups, a loss for each, figures and pictures.

A stage knows its networks and its objective; it knows no files, processes or schedules.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from onedc.config import ModelConfig
from onedc.model.onedc import OneDC
from onedc.train.config import OptimConfig
from onedc.train.data.batches import Batch

Figures = dict[str, Tensor]  # scalars, for the log


@dataclass(frozen=True)
class OptimizerGroup:
    """Parameters with an optimizer of their own, which steps at each `every`-th step of the run."""

    name: str
    parameters: Mapping[str, nn.Parameter]
    optim: OptimConfig
    every: int = 1
    ema: bool = True  # whether an EMA of them is kept
    slow: frozenset[str] = frozenset()  # names trained at `slow_share` of the learning rate, without decay
    slow_share: float = 1.0


class Stage(nn.Module, ABC):
    """One stage of training."""

    model_config: ModelConfig
    best_by: str  # the figure of `validate` by which checkpoints are compared; less is better

    def begin(self, samples: Iterable[Batch]) -> None:
        """Called once, before the first step of a run: fit what is not learned to some training crops."""

    @abstractmethod
    def stored(self) -> dict[str, nn.Module]:
        """What a checkpoint holds; frozen networks that come from files need not be in it."""

    @abstractmethod
    def optimizer_groups(self) -> list[OptimizerGroup]:
        """What is trained, in the order of the optimizers within a step."""

    @abstractmethod
    def loss(self, group: str, batch: Batch, step: int) -> tuple[Tensor, Figures]:
        """The mean loss of a batch for one group, and figures for the log."""

    def after_step(self, group: str) -> None:
        """Called in all processes after each optimizer step of a group."""

    @abstractmethod
    def validate(self, batch: Batch) -> Figures:
        """Validation figures of one batch; nothing random in them."""

    def targets(self, x: Tensor) -> Mapping[str, Tensor]:
        """What the loss compares pictures [B,3,H,W] with and never changes: maps that a pool may keep."""
        return {}

    def vae(self) -> nn.Module | None:
        """The frozen autoencoder whose `encode` makes the vae_latents that a cache may hold."""
        return None

    def pictures(self, batch: Batch) -> Tensor | None:
        """[B,3,H,W'] in [-1,1] to look at, or None."""
        return None


class CodecStage(Stage):
    """A stage round a codec. `autoencoder`: one beside it, whose latents the codec learns to make."""

    def __init__(self, model: OneDC, optim: OptimConfig, autoencoder: nn.Module | None) -> None:
        super().__init__()
        self.model, self.optim, self.model_config = model, optim, model.config
        self.autoencoder = None if autoencoder is None else autoencoder.requires_grad_(False).eval()

    def vae(self) -> nn.Module:
        """The autoencoder whose latents the generator is to make: the model's, or the one beside it."""
        return self.model.vae if self.autoencoder is None else self.autoencoder

    def vae_latents(self, batch: Batch) -> Tensor:
        """The vae_latents [B,C,H/8,W/8] to be made of a batch: by `vae`, unless they came with it."""
        if batch.vae_latents is not None:
            return batch.vae_latents
        with torch.no_grad(), torch.autocast(batch.x.device.type, enabled=False):
            return self.vae().encode(batch.x)  # type: ignore[operator]

    def seen(self, batch: Batch) -> Tensor:
        """What g_a takes beside the pictures: what the model's own encoder makes of them."""
        return self.vae_latents(batch) if self.autoencoder is None else self.model.vae.encode(batch.x)


def trainable(module: nn.Module, prefix: str) -> dict[str, nn.Parameter]:
    """The trainable parameters of a module, by full name."""
    return {f"{prefix}.{name}": p for name, p in module.named_parameters() if p.requires_grad}


def psnr(x_hat: Tensor, x: Tensor) -> Tensor:
    """Of a batch in [-1,1], in dB."""
    return -10 * torch.log10(((x_hat - x) / 2).square().mean())


def panels(x: Tensor, x_hat: Tensor) -> Tensor:
    """Input, decoded and error [B,3,H,W] side by side: [B,3,H,3W]."""
    return torch.cat([x, x_hat, (x_hat - x).abs() - 1], dim=-1)
