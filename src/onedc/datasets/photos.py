"""What training draws from: images and captions by number, whatever form they come in.

The order is a function of the names alone. `Photos` reads them as the encoder does; crops and models are not
known here.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from onedc.datasets import entries
from onedc.datasets.entries import Entry, FilePlace, Place, named
from onedc.datasets.names import suffix_of
from onedc.datasets.rows import TableSource, open_tables
from onedc.datasets.tar_index import sample_key
from onedc.errors import ConfigError, ImageError, OneDCError
from onedc.image import READABLE_SUFFIXES, RGBArray, read_image


class FileSource:
    """Images that lie in files or in members of tar shards, by name; their captions too, or known already."""

    parts: Sequence[int] = ()  # how many images lie together; () where any image is as near as any other

    def __init__(self, images: Iterable[tuple[Entry, Place | str]]) -> None:
        self._images = sorted(images, key=lambda image: image[0].name)
        self.names = [entry.name for entry, _ in self._images]

    def read(self, index: int) -> bytes:
        """The encoded bytes of an image. Raises OSError, or ImageError where there are none."""
        return self._images[index][0].place.read()

    def caption(self, index: int) -> str:
        """What the image shows, "" where nothing is known."""
        said = self._images[index][1]
        return (said if isinstance(said, str) else said.read().decode("utf-8", errors="replace")).strip()


Source = FileSource | TableSource
"""Encoded images, numbered from 0: their `names`, as people know them, `parts`, bytes and captions."""


def folder_source(folder: Path) -> FileSource:
    """All images below a folder; a text file of the same stem holds the caption."""
    return FileSource(_captioned(entries.folder_entries(folder), lambda name: os.path.splitext(name)[0]))


def tar_source(files: Sequence[Path]) -> FileSource:
    """The images of tar shards, in WebDataset naming: a sample's members share the name up to its first dot.

    Raises:
        ImageError: a file that is no uncompressed tar.
    """
    return FileSource(pair for file in files for pair in _captioned(entries.shard_entries(file), sample_key))


def coco_source(folder: Path) -> FileSource:
    """Photos of a COCO split: annotations/captions_NAME.json beside NAME/; of several, the validation split.

    Of an image's captions the one with the lowest id, always.

    Raises:
        ConfigError: there is no captions file, or it is not of COCO's schema.
    """
    found = sorted(folder.glob("annotations/captions_*.json"))
    chosen = [f for f in found if "val" in f.name] if len(found) > 1 else found
    if not chosen:
        raise ConfigError(f"{folder} has no annotations/captions_*.json of COCO")
    photos = folder / chosen[0].stem.removeprefix("captions_")
    try:
        notes = json.loads(chosen[0].read_text(encoding="utf-8"))
        names = {int(image["id"]): str(image["file_name"]) for image in notes["images"]}
        said = sorted((int(a["id"]), int(a["image_id"]), str(a["caption"])) for a in notes["annotations"])
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{chosen[0]} is not of COCO's schema ({error})") from error
    captions = {image: caption for _, image, caption in reversed(said)}
    return FileSource(
        (Entry(name, FilePlace(photos / name)), captions.get(image, "")) for image, name in names.items()
    )


def _captioned(found: Sequence[Entry], key: Callable[[str], str]) -> list[tuple[Entry, Place | str]]:
    """The images among files, each with the text file of the same key."""
    texts = {key(entry.name): entry.place for entry in found if suffix_of(entry.name) == ".txt"}
    images = [entry for entry in found if suffix_of(entry.name) in READABLE_SUFFIXES]
    return [(entry, texts.get(key(entry.name), "")) for entry in images]


def open_source(text: str, stream_gib: float = 0.0) -> Source:
    """The images that a place names; at most `stream_gib` of a streamed dataset are kept on disk.

    Raises:
        ConfigError: nothing there, or no images in it.
        ImageError: a damaged shard.
        MissingExtraError: Parquet or Arrow files without pyarrow, or a hub without its library.
        OneDCError: a hub that cannot be reached.
    """
    if not text:
        raise ConfigError(
            "data.source: not set; name a folder of images, tar shards, hf:, stream: or coco:PLACE"
        )
    try:
        source = _opened(text, stream_gib)
    except ConfigError as error:
        raise ConfigError(f"data.source: {error}") from error
    if not source.names:
        raise ConfigError(f"data.source: no images in {text}")
    return source


def _opened(text: str, stream_gib: float) -> Source:
    form, _, place = text.partition(":")
    place = os.path.expanduser(place)  # a shell leaves ~ behind a colon
    if form == "coco":
        return coco_source(Path(place))
    if form in ("hf", "stream"):
        return open_tables(place, stream_gib if form == "stream" else None)
    kind = entries.kind_of(Path(text))
    if kind == entries.FOLDER:
        return folder_source(Path(text))
    return tar_source(entries.shard_files(Path(text), kind)) if kind == "tar" else open_tables(text, None)


def split(source: Source, held_out: tuple[str, ...]) -> tuple[list[int], list[int]]:
    """Numbers of the images to train on, and of those for validation: names that begin with `held_out`."""
    training: list[int] = []
    validation: list[int] = []
    for index, name in enumerate(source.names):
        kept = bool(held_out) and os.path.basename(name).startswith(held_out)
        (validation if kept else training).append(index)
    if not training:
        raise ConfigError(f"data.held_out: {held_out} leaves no image to train on")
    return training, validation


def parts_of(source: Source, indices: Sequence[int]) -> tuple[int, ...]:
    """How many of some images, in rising order, lie in each part of their source."""
    if not source.parts:
        return ()
    ends = np.searchsorted(np.asarray(indices), np.cumsum(source.parts))
    return tuple(int(n) for n in np.diff(ends, prepend=0) if n)


class Photos:
    """Decoded images of a source by number, kept in memory as far as the budget reaches."""

    def __init__(self, source: Source, memory_mib: int) -> None:
        self.source = source
        self._budget = memory_mib << 20
        self._kept: dict[int, RGBArray] = {}

    def __getitem__(self, index: int) -> RGBArray:
        """Pixels [H,W,3] of an image, with white under transparent places.

        Raises:
            ImageError: it cannot be read, or is damaged; whoever loads photos goes on without it.
            OneDCError: the source cannot be had, or the disk is full.
        """
        pixels = self._kept.get(index)
        if pixels is None:
            pixels = self._read(index)
            if pixels.nbytes <= self._budget:
                self._budget -= pixels.nbytes
                self._kept[index] = pixels
        return pixels

    def _read(self, index: int) -> RGBArray:
        name = self.source.names[index]
        try:
            return read_image(named(self.source.read(index), name), background="white").copy()
        except OneDCError as error:
            if isinstance(error.__cause__, MemoryError):
                raise error.__cause__ from None
            raise
        except (OSError, ValueError) as error:
            raise ImageError(f"{name}: cannot be read: {error}") from error
