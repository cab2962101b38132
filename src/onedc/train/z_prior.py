"""The learned prior of z, fitted to a finished model: z of photos, a float twin of the prior, its integers.

`entropy.z_prior` is the prior itself, in integers. No command line, no weights files here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from onedc.datasets.photos import Photos, Source, split
from onedc.engine.torch_engine import TorchEngine
from onedc.entropy.tables import FREQUENCY_TOTAL
from onedc.entropy.z_prior import CODEBOOK_SIZE, UNIT_BITS, Integers, LearnedZPrior, levels_of, near_levels
from onedc.errors import ConfigError
from onedc.train.config import DataConfig
from onedc.train.data.crops import Crops

Levels = list[Integers]
"""z of some photos: levels [h, w, 7] of each."""


@dataclass(frozen=True, kw_only=True)
class FitConfig:
    """How a prior of z is fitted."""

    photos: int = 1500  # most training photos, drawn by the seed
    held_out: tuple[str, ...] = ()  # photos whose name begins so are for the figures and never trained on
    scored_photos: int = 120  # most photos that the figures are taken from
    view_px: int = 512  # largest side of a photo's window
    hidden: int = 32  # units of the prior
    epochs: int = 12
    batch: int = 1024  # positions of one step
    lr: float = 5e-3  # at its peak
    seed: int = 1

    def __post_init__(self) -> None:
        for name in ("photos", "scored_photos", "epochs", "batch", "hidden"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} {getattr(self, name)} must be at least 1")
        if self.seed < 0:
            raise ConfigError(f"seed {self.seed} must not be negative")
        if self.view_px < 64 or self.view_px % 64:
            raise ConfigError(f"view-px {self.view_px} must be a multiple of 64")


class ZPriorTwin(nn.Module):
    """`LearnedZPrior` in floats: levels -> logits in bits."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        for name, shape in LearnedZPrior.shapes(hidden).items():
            spread = {"near": 0.05, "own": 0.05, "out": 0.1 / hidden**0.5}.get(name, 0.0)
            self.register_parameter(name, nn.Parameter(spread * torch.randn(shape)))

    def forward(self, near: Tensor, levels: Tensor) -> Tensor:
        """Levels of the neighbours [n,7,7] and of the positions themselves [n,7] -> logits [n,7,4]."""
        p = dict(self.named_parameters())
        hidden = self._sum(near.flatten(1), p["near"].flatten(0, 1)) + p["bias"]
        states = [hidden]
        for dim, own in enumerate(p["own"]):
            states.append(states[-1] + F.embedding(levels[:, dim], own))
        return torch.einsum("ndh,dlh->ndl", torch.stack(states, 1).relu(), p["out"]) + p["out_bias"]

    @staticmethod
    def _sum(values: Tensor, tables: Tensor) -> Tensor:
        """Sum of the rows that `values` [n,m] choose from `tables` [m,levels,hidden]: [n,hidden]."""
        starts = tables.shape[1] * torch.arange(len(tables))
        return F.embedding_bag(values + starts, tables.flatten(0, 1), mode="sum")

    def bits(self, near: Tensor, levels: Tensor) -> Tensor:
        """Mean information of the positions, in bits."""
        nats = np.log(2) * self(near, levels)
        return F.cross_entropy(nats.transpose(1, 2), levels, reduction="sum") / (np.log(2) * len(levels))

    def integers(self) -> dict[str, NDArray[np.integer]]:
        """What `LearnedZPrior` takes."""
        found: dict[str, NDArray[np.integer]] = {}
        for name, value in self.named_parameters():
            bits, dtype = (2 * UNIT_BITS, np.int32) if name == "out_bias" else (UNIT_BITS, np.int16)
            limits = np.iinfo(dtype)
            scaled = (value.detach().double() * 2.0**bits).round().clamp(limits.min, limits.max)
            found[name] = scaled.numpy().astype(dtype)
        return found


def fit_z_prior(
    engine: TorchEngine, source: Source, config: FitConfig, say: Callable[[str], None] = lambda _: None
) -> tuple[dict[str, NDArray[np.integer]], str]:
    """Fit a prior to the z that a model, in fp32 on the CPU, makes of photos.

    Args:
        say: is told of the progress.

    Returns:
        The prior's integers, and a line of figures in bits for each position of z; the uniform code takes 14.

    Raises:
        ConfigError: no photos to fit to.
    """
    training, scored = split(source, config.held_out)
    order = np.random.default_rng(config.seed).permutation(training)[: config.photos]
    fitted = _levels(engine, source, order.tolist(), config, say)
    held_out = _levels(engine, source, scored[: config.scored_photos], config, say)
    if not fitted:
        raise ConfigError("none of the photos can be read")
    twin = fit_levels(fitted, config)
    integers = twin.integers()
    prior = LearnedZPrior(integers)
    text = f"{position_bits(prior, fitted):.3f} bits a position of z on {len(fitted)} photos fitted to"
    if held_out:
        floats = float(twin.bits(*_examples(held_out)).detach())
        text += f", {position_bits(prior, held_out):.3f} on {len(held_out)} held out ({floats:.3f} in floats)"
    codes = len(np.unique(_positions(fitted), axis=0))
    return integers, f"{text}, 14 without; {codes} of {CODEBOOK_SIZE} values in use"


def position_bits(prior: LearnedZPrior, photos: Levels) -> float:
    """Mean information of the positions of some photos by the prior's integers, in bits."""
    information = [_information(prior, levels) for levels in photos]
    return float(np.concatenate(information).sum() / len(_positions(photos)))


def _information(prior: LearnedZPrior, levels: Integers) -> NDArray[np.float64]:
    """Bits of every level of a photo, in coding order."""
    found: list[NDArray[np.float64]] = []

    def code(rows: Integers, cols: Integers, dim: int, freq: Integers) -> Integers:
        values: Integers = levels[rows, cols, dim]
        found.append(-np.log2(freq[np.arange(len(values)), values] / FREQUENCY_TOTAL))
        return values

    height, width, _ = levels.shape
    prior.walk(height, width, code)
    return np.concatenate(found)


def fit_levels(photos: Levels, config: FitConfig) -> ZPriorTwin:
    """Fit a twin to z of some photos by its information."""
    torch.manual_seed(config.seed)
    twin = ZPriorTwin(config.hidden)
    near, levels = _examples(photos)
    steps = config.epochs * -(-len(levels) // config.batch)
    optimizer = torch.optim.Adam(twin.parameters(), lr=config.lr, betas=(0.9, 0.99))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, config.lr, total_steps=steps, pct_start=0.1)
    for _ in range(config.epochs):
        for some in torch.randperm(len(levels)).split(config.batch):
            optimizer.zero_grad()
            twin.bits(near[some], levels[some]).backward()
            optimizer.step()
            schedule.step()
    return twin


def _examples(photos: Levels) -> tuple[Tensor, Tensor]:
    """What the twin takes: levels of neighbours [n,7,7] and of positions [n,7], all photos together."""
    near = np.concatenate([near_levels(levels) for levels in photos])
    return torch.from_numpy(near), torch.from_numpy(_positions(photos))


def _positions(photos: Levels) -> Integers:
    """Levels [n,7] of the positions of all photos."""
    return np.concatenate([levels.reshape(-1, levels.shape[-1]) for levels in photos])


def _levels(
    engine: TorchEngine, source: Source, indices: Sequence[int], config: FitConfig, say: Callable[[str], None]
) -> Levels:
    """z of one window of each photo; damaged photos are left out."""
    data = DataConfig(crop_px=64, view_px=config.view_px)
    crops = Crops(Photos(source, memory_mib=0), indices, data, config.seed, None)
    found: Levels = []
    for count, index in enumerate(indices, 1):
        window = crops.view(index)
        if window is not None:
            height, width = (side // 64 * 64 for side in window.shape[:2])  # whole positions of z
            found.append(levels_of(engine.analyse(window[:height, :width])[1]))
        if count % 50 == 0:
            say(f"z of {count} of {len(indices)} photos")
    return found
