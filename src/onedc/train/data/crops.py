"""Crops: which image, which window, which mirroring is a pure function of (seed, position in the run).

So any number of processes see the same images in the same order, and a run continues mid-epoch exactly.
The position of an image in a run is step * batch + its place in the batch. No model is known here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch.utils.data import Dataset

from onedc.datasets.photos import Photos, Source, open_source, parts_of, split
from onedc.errors import ConfigError, ImageError, OneDCError
from onedc.image import RGBArray
from onedc.train.config import DataConfig
from onedc.train.data.latents import LatentCache
from onedc.train.data.noise import derived_seed

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
    """All images of a run. Raises OneDCError: as `open_source`."""
    source = open_source(config.source, config.stream_gib)
    training, validation = split(source, config.held_out)
    if not config.validation_source:
        return Data(source, training, source, validation)
    other = open_source(config.validation_source, config.stream_gib)
    return Data(source, training, other, list(range(len(other.names))))


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


def place_of(seed: int, position: int, count: int, parts: tuple[int, ...] = ()) -> int:
    """Which of the `count` training images comes at a position; each epoch is a fresh permutation.

    Of images that lie together in `parts` the parts are permuted, and the images of a few at a time.
    """
    epoch, offset = divmod(position, count)
    return int(_permutation(seed, epoch, count, parts)[offset])


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
        place = place_of(self.seed, position, len(self.indices), self.parts)
        rng = np.random.default_rng(derived_seed(self.seed, position, "crop"))
        for skipped in range(min(len(self.indices), 100)):
            index = self.indices[(place + skipped) % len(self.indices)]
            name = self.photos.source.names[index]
            try:
                pixels = self._enlarged(self.photos[index], crop_side(self.config, self.seed, position))
            except ImageError:
                continue
            caption = self.photos.source.caption(index)
            try:
                pixels, latents = self._cut(pixels, name, position, rng)
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
