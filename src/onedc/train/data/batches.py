"""Batches of a process: which positions of the run it handles, crops put together, noise, validation."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from onedc.datasets.photos import Photos
from onedc.errors import ConfigError, ImageError, OneDCError
from onedc.train.config import DataConfig
from onedc.train.data.crops import Crop, Crops, View, kind_of_step, resize_shorter
from onedc.train.data.noise import Noise


@dataclass
class Batch:
    """One process's share of a step (or of a part of it, with accumulation)."""

    x: Tensor  # [B,3,H,W] float32 in [-1,1]
    vae_latents: Tensor | None  # [B,C,H/8,W/8] where they come from a cache
    noise: Noise
    names: list[str]
    captions: list[str]
    skipped: int  # corrupt images that others stood in for
    targets: Mapping[str, Tensor] = field(default_factory=dict)  # other maps that a pool holds of the crops


class Positions(Sampler[list[int]]):
    """For each step from `start` on and each part of it: the positions that this process handles."""

    def __init__(
        self, config: DataConfig, seed: int, *, start: int, steps: int, rank: int, world: int, parts: int
    ) -> None:
        if config.batch % (world * parts) or (config.large_share and config.batch % (4 * world * parts)):
            raise ConfigError(
                f"data.batch: {config.batch} does not divide into {world} processes x {parts} parts"
                + (", quartered for large crops" if config.large_share else "")
            )
        self.config, self.seed, self.start, self.steps = config, seed, start, steps
        self.rank, self.world, self.parts = rank, world, parts

    def __iter__(self) -> Iterator[list[int]]:
        for step in range(self.start, self.steps):
            first = step * self.config.batch
            large = kind_of_step(self.config, self.seed, first) == "large"
            share = self.config.batch // (4 if large else 1) // (self.world * self.parts)
            for part in range(self.parts):
                begin = first + (part * self.world + self.rank) * share
                yield list(range(begin, begin + share))

    def __len__(self) -> int:
        return max(self.steps - self.start, 0) * self.parts


def unit(pixels: Tensor) -> Tensor:
    """Bytes [B,3,H,W] -> float32 in [-1,1], channels last."""
    return (pixels.float() / 127.5 - 1).contiguous(memory_format=torch.channels_last)


class Collate:
    """Crops -> batch; a class, so that loader processes get the seed."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def __call__(self, crops: Sequence[Crop | OneDCError]) -> Batch | OneDCError:
        for crop in crops:
            if isinstance(crop, OneDCError):
                return crop
        return self.batch([crop for crop in crops if isinstance(crop, Crop)])

    def batch(self, crops: Sequence[Crop]) -> Batch:
        """The batch of crops that all went well."""
        latents = [c.vae_latents for c in crops if c.vae_latents is not None]
        return Batch(
            x=unit(torch.from_numpy(np.stack([c.pixels for c in crops])).permute(0, 3, 1, 2)),
            vae_latents=torch.from_numpy(np.stack(latents)).float() if latents else None,
            noise=Noise(self.seed, [c.position for c in crops], torch.device("cpu")),
            names=[c.name for c in crops],
            captions=[c.caption for c in crops],
            skipped=sum(c.skipped for c in crops),
        )


class _ErrorsAsValues(Dataset[Crop | OneDCError]):
    """Crops whose errors are values, since a loader process would wrap them in a traceback."""

    def __init__(self, crops: Crops) -> None:
        self.crops = crops

    def __getitem__(self, position: int) -> Crop | OneDCError:
        try:
            return self.crops[position]
        except OneDCError as error:
            return error


def loader(crops: Crops, positions: Positions) -> Iterator[Batch]:
    """Batches of this process, in order; with `data.workers` processes that prepare them ahead.

    Raises:
        OneDCError: an image could not be had or prepared, in whichever process; or a loader process died.
    """
    batches = DataLoader(
        _ErrorsAsValues(crops),
        batch_sampler=positions,
        collate_fn=Collate(crops.seed),
        num_workers=crops.config.workers,
        persistent_workers=crops.config.workers > 0,
    )
    try:
        for batch in _started(batches):
            if isinstance(batch, OneDCError):
                raise batch
            yield batch
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise OneDCError(f"data.workers: a loader process failed ({reason}); is memory short?") from error


def _started(batches: DataLoader[Crop | OneDCError]) -> Iterator[Batch | OneDCError]:
    """The iterator of a loader, which alone reports a dead loader process.

    torch's handler of SIGCHLD would raise in whatever code runs at that moment, such as a training step.
    """
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "SIGCHLD"):
        return iter(batches)
    before = signal.getsignal(signal.SIGCHLD)
    try:
        return iter(batches)
    finally:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL if before is None else before)


def to_device(batch: Batch, device: torch.device) -> Batch:
    """The same batch with its tensors, and those its noise will make, on `device`."""
    latents = None if batch.vae_latents is None else batch.vae_latents.to(device)
    noise = Noise(batch.noise.seed, batch.noise.positions, device)
    return replace(batch, x=batch.x.to(device), vae_latents=latents, noise=noise)


def validation_batches(photos: Photos, indices: Sequence[int], side: int) -> Iterator[Batch]:
    """The centre crops of some images, one at a time: no chance in it. Damaged images are left out."""
    for index in indices:
        try:
            pixels = photos[index]
        except ImageError:
            continue
        if min(pixels.shape[:2]) < side:
            pixels = resize_shorter(pixels, side)
        top, left = ((n - side) // 2 for n in pixels.shape[:2])
        window = View(top, left, side, side, mirrored=False).cut(pixels)
        crop = Crop(window, None, index, photos.source.names[index], photos.source.caption(index), 0)
        yield Collate(0).batch([crop])
