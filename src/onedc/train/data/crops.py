"""Crops: which image, which window, which mirroring is a pure function of (seed, position in the run).

So any number of processes see the same images in the same order, and a run continues mid-epoch exactly.
The position of an image in a run is step * batch + its place in the batch. No model is known here.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from onedc.datasets.photos import Photos
from onedc.datasets.sources import Source, open_source, parts_of, split
from onedc.errors import ConfigError, ImageError, OneDCError
from onedc.image import RGBArray
from onedc.train.config import DataConfig
from onedc.train.data.latents import LatentCache
from onedc.train.data.noise import Noise, derived_seed

MIXED = 8
"""Parts of a streamed dataset whose images are shuffled together."""


@dataclass(frozen=True)
class Data:
    """The images of a run, by their numbers in a source each for training and validation."""

    source: Source
    training: list[int]
    validation_source: Source  # the same one, unless the config names another
    validation: list[int]


def open_data(config: DataConfig) -> Data:
    """All images of a run.

    Raises:
        OneDCError: as `open_source`.
    """
    source = open_source(config.source, config.stream_gib)
    training, validation = split(source, config.held_out)
    if not config.validation_source:
        return Data(source, training, source, validation)
    other = open_source(config.validation_source, config.stream_gib)
    return Data(source, training, other, list(range(len(other.names))))


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


@dataclass(frozen=True)
class View:
    """A window of a photo, maybe mirrored: what vae_latents are computed of when they are cached."""

    top: int
    left: int
    height: int
    width: int
    mirrored: bool

    def cut(self, pixels: RGBArray) -> RGBArray:
        """The window of `pixels`, as a contiguous array."""
        window = pixels[self.top : self.top + self.height, self.left : self.left + self.width]
        return np.ascontiguousarray(window[:, ::-1] if self.mirrored else window)


def resize_shorter(pixels: RGBArray, side_px: int) -> RGBArray:
    """Resize so that the shorter side is `side_px`."""
    height, width = pixels.shape[:2]
    scale = side_px / min(height, width)
    size = (max(round(width * scale), side_px), max(round(height * scale), side_px))
    return np.array(Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC))


@dataclass(frozen=True)
class Draw:
    """Which of the training images comes at a position, and the random numbers for its crop."""

    place: int  # index into the list of training images
    rng: np.random.Generator


def draw(seed: int, position: int, count: int, parts: tuple[int, ...] = ()) -> Draw:
    """The draw at a position of the run; each epoch of `count` images is a fresh permutation.

    Of images that lie together in `parts` the parts are permuted, and the images of a few at a time.
    """
    epoch, offset = divmod(position, count)
    order = _permutation(seed, epoch, count, parts)
    rng = np.random.default_rng(derived_seed(seed, position, "crop"))
    return Draw(int(order[offset]), rng)


@lru_cache(maxsize=2)  # a batch touches two epochs at most
def _permutation(seed: int, epoch: int, count: int, parts: tuple[int, ...]) -> NDArray[np.int64]:
    rng = np.random.default_rng(derived_seed(seed, epoch, "order"))
    if not parts:
        return rng.permutation(count)
    pieces = np.split(np.arange(count), np.cumsum(parts)[:-1])
    order = rng.permutation(len(parts))
    groups = [np.concatenate([pieces[n] for n in order[i : i + MIXED]]) for i in range(0, len(order), MIXED)]
    return np.concatenate([rng.permutation(group) for group in groups])


def view_of(shape: tuple[int, ...], config: DataConfig, name: str) -> View:
    """The fixed view of a photo: a function of its name and size alone."""
    rng = np.random.default_rng(derived_seed(name, 0, "view"))
    height, width = (min(config.view_px, side // 8 * 8) for side in shape[:2])
    top, left = int(rng.integers(0, shape[0] - height + 1)), int(rng.integers(0, shape[1] - width + 1))
    return View(top, left, height, width, bool(rng.integers(0, 2)))


@dataclass
class Crop:
    """One image on its way into a batch."""

    pixels: RGBArray
    vae_latents: NDArray[np.float16] | None
    position: int
    name: str
    caption: str
    skipped: int


class Crops(Dataset[Crop]):
    """Position in the run -> crop. Corrupt images are stood in for by the next good one, and counted."""

    def __init__(
        self, photos: Photos, indices: Sequence[int], config: DataConfig, seed: int, cache: LatentCache | None
    ) -> None:
        self.photos, self.indices, self.config, self.seed, self.cache = photos, indices, config, seed, cache
        self.parts = parts_of(photos.source, indices)

    def __getitem__(self, position: int) -> Crop:
        drawn = draw(self.seed, position, len(self.indices), self.parts)
        for skipped in range(min(len(self.indices), 100)):
            index = self.indices[(drawn.place + skipped) % len(self.indices)]
            name = self.photos.source.names[index]
            try:
                pixels = self._enlarged(self.photos[index], crop_side(self.config, self.seed, position))
            except ImageError:
                continue
            caption = self.photos.source.caption(index)
            try:
                pixels, latents = self._cut(pixels, name, position, drawn.rng)
            except Exception as error:
                reason = " ".join(f"{type(error).__name__}: {error}".split())
                raise OneDCError(f"{name}: cannot be prepared ({reason})") from error
            return Crop(pixels, latents, position, name, caption, skipped)
        raise ConfigError("data.source: a hundred damaged images in a row")

    def view(self, index: int) -> RGBArray | None:
        """The view of an image that `__getitem__` cuts from where there is a cache; None of a damaged one."""
        try:
            pixels = self._enlarged(self.photos[index], self.config.crop_px)
        except ImageError:
            return None
        return view_of(pixels.shape, self.config, self.photos.source.names[index]).cut(pixels)

    def _enlarged(self, pixels: RGBArray, side: int) -> RGBArray:
        needed = max(self.config.min_side_px, side)
        return resize_shorter(pixels, needed) if min(pixels.shape[:2]) < needed else pixels

    def _cut(
        self, pixels: RGBArray, name: str, position: int, rng: np.random.Generator
    ) -> tuple[RGBArray, NDArray[np.float16] | None]:
        side = crop_side(self.config, self.seed, position)
        if self.cache is not None:
            return self._cut_view(pixels, name, side, rng)
        resized = kind_of_step(self.config, self.seed, position) == "resize"
        window = max(self.config.min_side_px, side) if resized else side
        top, left = (int(rng.integers(0, n - window + 1)) for n in pixels.shape[:2])
        cut = View(top, left, window, window, mirrored=bool(rng.integers(0, 2))).cut(pixels)
        return (resize_shorter(cut, side) if window > side else cut), None

    def _cut_view(
        self, pixels: RGBArray, name: str, side: int, rng: np.random.Generator
    ) -> tuple[RGBArray, NDArray[np.float16]]:
        assert self.cache is not None
        window = view_of(pixels.shape, self.config, name).cut(pixels)
        latents = self.cache.read(window)
        top, left = (8 * int(rng.integers(0, (n - side) // 8 + 1)) for n in window.shape[:2])
        rows, cols = slice(top // 8, (top + side) // 8), slice(left // 8, (left + side) // 8)
        return window[top : top + side, left : left + side], np.array(latents[:, rows, cols])


def kind_of_step(config: DataConfig, seed: int, position: int) -> str:
    """One of crop, resize and large: the same for all images of a step, whichever process asks."""
    step = position // config.batch
    u = np.random.default_rng(derived_seed(seed, step, "kind")).random()
    if u < config.resize_share:
        return "resize"
    return "large" if u < config.resize_share + config.large_share else "crop"


def crop_side(config: DataConfig, seed: int, position: int) -> int:
    """Side in pixels of the crop at a position."""
    return config.crop_px * (2 if kind_of_step(config, seed, position) == "large" else 1)


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


class Collate:
    """Crops -> batch; a class, so that loader processes can be told the seed."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def __call__(self, crops: Sequence[Crop | OneDCError]) -> Batch | OneDCError:
        for crop in crops:
            if isinstance(crop, OneDCError):
                return crop
        return self.batch([crop for crop in crops if isinstance(crop, Crop)])

    def batch(self, crops: Sequence[Crop]) -> Batch:
        """The batch of crops that all went well."""
        x = torch.from_numpy(np.stack([c.pixels for c in crops])).permute(0, 3, 1, 2).float() / 127.5 - 1
        latents = [c.vae_latents for c in crops if c.vae_latents is not None]
        return Batch(
            x=x.contiguous(memory_format=torch.channels_last),
            vae_latents=torch.from_numpy(np.stack(latents)).float() if latents else None,
            noise=Noise(self.seed, [c.position for c in crops], torch.device("cpu")),
            names=[c.name for c in crops],
            captions=[c.caption for c in crops],
            skipped=sum(c.skipped for c in crops),
        )


class _Told(Dataset[Crop | OneDCError]):
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
        _Told(crops),
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
    """The iterator of a loader, by which alone a dead loader process is told.

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
    return Batch(
        x=batch.x.to(device),
        vae_latents=None if batch.vae_latents is None else batch.vae_latents.to(device),
        noise=Noise(batch.noise.seed, batch.noise.positions, device),
        names=batch.names,
        captions=batch.captions,
        skipped=batch.skipped,
    )


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
