"""Windows of all photos on the device, where crops are cut without a loader, as fast as a GPU takes them.

The random numbers of such a run are drawn on the device too, so that it is not repeatable to the bit as a run
fed by `onedc.train.data.batches.loader` is. No losses here.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from onedc.datasets.photos import Photos
from onedc.errors import ImageError, OneDCError
from onedc.image import RGBArray
from onedc.train.config import DataConfig
from onedc.train.data.batches import Batch, unit
from onedc.train.data.noise import derived_seed
from onedc.train.losses.pixels import windows

SMALLEST_PX = 250
"""Photos with a shorter side below this are left out; others grow to a window by reflection."""
SHRUNK_SHARE, SHRUNK = 0.5, 0.35
"""So many windows are cut from a photo made smaller, to this share of its size at least: small pictures are
trained on as well."""
ENCODED_AT_ONCE = 16

Targets = Callable[[Tensor], Mapping[str, Tensor]]
"""Pictures [B,3,H,W] in [-1,1] -> maps [B,C,h,w] that a loss compares with, by name."""


@dataclass(frozen=True)
class DeviceNoise:
    """What a batch takes for `onedc.train.data.noise.Noise`: drawn on the device, by its own generator."""

    count: int
    device: torch.device

    def uniform(self, _tag: str, *shape: int) -> Tensor:
        """[B,*shape] in 0 <= u < 1."""
        return torch.rand(self.count, *shape, device=self.device)

    def normal(self, _tag: str, *shape: int) -> Tensor:
        """[B,*shape], mean 0, variance 1."""
        return torch.randn(self.count, *shape, device=self.device)

    def integers(self, _tag: str, low: int, high: int) -> Tensor:
        """[B] int64, low <= n < high."""
        return torch.randint(low, high, (self.count,), device=self.device)


class Pool:
    """Windows of photos as bytes and their targets in half precision, all on one device.

    Args:
        targets: computed once for each window; crops lie on a grid that all of its maps share.

    Raises:
        OneDCError: no photo is large enough.
    """

    def __init__(
        self,
        photos: Photos,
        indices: Sequence[int],
        config: DataConfig,
        seed: int,
        targets: Targets,
        device: torch.device,
    ) -> None:
        self.config, self.device = config, device

        def cut(index: int) -> list[RGBArray]:
            try:
                rng = np.random.default_rng(derived_seed(seed, index, "windows"))
                return list(cut_windows(photos[index], config, rng))
            except ImageError:
                return []

        with ThreadPoolExecutor(os.cpu_count()) as workers:
            found = [window for made in workers.map(cut, indices) for window in made]
        if not found:
            raise OneDCError(f"{config.source}: no photo of {SMALLEST_PX} px or more a side")
        self.x = torch.stack([torch.from_numpy(window).permute(2, 0, 1) for window in found]).to(device)
        self.targets = self._computed(targets)
        sides = [t.shape[-1] for t in self.targets.values()]
        self.grid_px = config.view_px // min(sides) if sides else 1

    @torch.no_grad()
    def _computed(self, targets: Targets) -> dict[str, Tensor]:
        parts: dict[str, list[Tensor]] = {}
        for x in self.x.split(ENCODED_AT_ONCE):
            with torch.autocast(self.device.type, torch.float16, enabled=self.device.type == "cuda"):
                found = targets(unit(x))
            for name, value in found.items():
                parts.setdefault(name, []).append(value.half())
        return {name: torch.cat(values) for name, values in parts.items()}

    def batch(self) -> Batch:
        """Crops of random windows, with what lies under them of the targets."""
        count, side, view = self.config.batch, self.config.crop_px, self.config.view_px
        chosen = torch.randint(0, len(self.x), (count,), device=self.device)
        corners = torch.randint(0, (view - side) // self.grid_px + 1, (count, 2), device=self.device)
        found = {}
        for name, value in self.targets.items():
            step = self.grid_px * value.shape[-1] // view
            found[name] = windows(value[chosen], corners * step, side * value.shape[-1] // view).float()
        x = unit(windows(self.x[chosen], corners * self.grid_px, side))
        noise: Any = DeviceNoise(count, self.device)
        return Batch(x, found.pop("vae_latents", None), noise, [""] * count, [""] * count, 0, found)


def cut_windows(pixels: RGBArray, config: DataConfig, rng: np.random.Generator) -> Iterator[RGBArray]:
    """Windows of a photo, some made smaller first, half mirrored; none of a photo below SMALLEST_PX."""
    shortest, side = min(pixels.shape[:2]), config.view_px
    for _ in range(config.pool_windows if shortest >= SMALLEST_PX else 0):
        view, least = pixels, max(SHRUNK, SMALLEST_PX / shortest)
        if rng.random() < SHRUNK_SHARE and least < 1:
            share = rng.uniform(least, 1.0)
            size = (round(pixels.shape[1] * share), round(pixels.shape[0] * share))
            view = np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC))
        lacking = [(0, max(side - n, 0)) for n in view.shape[:2]]
        view = np.pad(view, (*lacking, (0, 0)), mode="symmetric")
        top, left = (int(rng.integers(0, n - side + 1)) for n in view.shape[:2])
        view = view[top : top + side, left : left + side]
        yield np.ascontiguousarray(view[:, ::-1] if rng.random() < 0.5 else view)
