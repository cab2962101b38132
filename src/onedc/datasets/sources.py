"""Places that encoded images come from: folders, tar shards, Arrow datasets. Bytes and captions by number.

The order is a function of the names alone. Nothing is decoded here, and nothing knows of crops or models.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from onedc.datasets.coco import CocoSource
from onedc.datasets.stream import open_stream
from onedc.datasets.tar import Member, members, sample_key
from onedc.errors import ConfigError, MissingExtraError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".avif")


class Source(Protocol):
    """Encoded images, numbered from 0."""

    @property
    def names(self) -> Sequence[str]:
        """The name of each image, as people know it."""

    @property
    def parts(self) -> Sequence[int]:
        """How many images lie together, part by part; () where any image is as near as any other."""

    def read(self, index: int) -> bytes:
        """The encoded bytes of an image."""

    def caption(self, index: int) -> str:
        """What the image shows, "" where nothing is known."""


class FolderSource:
    """All images below a folder; a text file of the same stem holds the caption."""

    parts: Sequence[int] = ()

    def __init__(self, folder: Path) -> None:
        self._paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES)
        self.names = [p.relative_to(folder).as_posix() for p in self._paths]

    def read(self, index: int) -> bytes:
        return self._paths[index].read_bytes()

    def caption(self, index: int) -> str:
        text = self._paths[index].with_suffix(".txt")
        return text.read_text(encoding="utf-8", errors="replace").strip() if text.exists() else ""


class TarSource:
    """Uncompressed tar shards; WebDataset naming: a sample's members share the name up to its first dot."""

    parts: Sequence[int] = ()

    def __init__(self, shards: Sequence[Path]) -> None:
        images: list[tuple[str, Member]] = []
        self._captions: dict[str, Member] = {}
        for shard in shards:
            for name, member in members(shard):
                suffix = os.path.splitext(name)[1].lower()
                if suffix in IMAGE_SUFFIXES:
                    images.append((name, member))
                elif suffix == ".txt":
                    self._captions[sample_key(name)] = member
        images.sort(key=lambda pair: pair[0])
        self.names = [name for name, _ in images]
        self._images = [member for _, member in images]

    def read(self, index: int) -> bytes:
        return self._images[index].read()

    def caption(self, index: int) -> str:
        member = self._captions.get(sample_key(self.names[index]))
        return member.read().decode("utf-8", errors="replace").strip() if member else ""


class ArrowSource:
    """A Hugging Face dataset with CommonCatalog's columns: jpg, blip2_caption, unickname."""

    parts: Sequence[int] = ()

    def __init__(self, name: str) -> None:
        try:
            import datasets
        except ImportError as error:
            raise MissingExtraError("data.source hf: needs `pip install 'onedc[train]'`") from error
        try:
            if (Path(name) / "state.json").exists():
                table: Any = datasets.load_from_disk(name)
            elif Path(name).is_dir():
                files = sorted(str(p) for p in Path(name).rglob("*") if p.suffix in (".arrow", ".parquet"))
                table = datasets.concatenate_datasets([_arrow_file(datasets, file) for file in files])
            else:
                table = datasets.load_dataset(name, split="train")
        except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
            raise ConfigError(f"data.source: cannot open the dataset {name} ({error})") from error
        if "jpg" not in table.column_names:
            columns = ", ".join(table.column_names)
            raise ConfigError(f"data.source: {name} has no column 'jpg', only {columns}")
        self._table = table.cast_column("jpg", datasets.Image(decode=False))
        self._captioned = "blip2_caption" in table.column_names
        numbers = [str(n) for n in range(len(table))]
        self.names = [str(n) for n in table["unickname"]] if "unickname" in table.column_names else numbers

    def read(self, index: int) -> bytes:
        cell = self._table[index]["jpg"]
        return cell["bytes"] if cell["bytes"] is not None else Path(cell["path"]).read_bytes()

    def caption(self, index: int) -> str:
        return str(self._table[index]["blip2_caption"] or "") if self._captioned else ""


def _arrow_file(datasets: Any, file: str) -> Any:
    reader = datasets.Dataset.from_file if file.endswith(".arrow") else datasets.Dataset.from_parquet
    return reader(file)


class JoinedNames(Sequence[str]):
    """Names of one source, then those of another, without a copy of either."""

    def __init__(self, first: Sequence[str], second: Sequence[str]) -> None:
        self._first, self._second = first, second

    def __len__(self) -> int:
        return len(self._first) + len(self._second)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[n] for n in range(*index.indices(len(self)))]
        past = index - len(self._first)
        return self._first[index] if past < 0 else self._second[past]


class JoinedSource:
    """The images of one source, then those of another."""

    def __init__(self, first: Source, second: Source) -> None:
        self._first, self._second, self._count = first, second, len(first.names)
        self.names = JoinedNames(first.names, second.names)
        self.parts = [*first.parts, len(second.names)] if first.parts else ()

    def _owner(self, index: int) -> tuple[Source, int]:
        return (self._first, index) if index < self._count else (self._second, index - self._count)

    def read(self, index: int) -> bytes:
        source, own = self._owner(index)
        return source.read(own)

    def caption(self, index: int) -> str:
        source, own = self._owner(index)
        return source.caption(own)


def open_source(text: str, stream_gib: float = 0.0) -> Source:
    """The images that a place names; at most `stream_gib` of a streamed dataset are kept on disk.

    Raises:
        ConfigError: nothing there, or no images in it.
    """
    if not text:
        raise ConfigError(
            "data.source: not set; name a folder of images, tar shards, hf:, stream: or coco:PLACE"
        )
    if text.startswith("stream:"):
        source: Source = open_stream(text[7:], stream_gib)
    elif text.startswith("coco:"):
        source = CocoSource(Path(text[5:]))
    elif text.startswith("hf:"):
        source = ArrowSource(text[3:])
    else:
        path = Path(text)
        shards = sorted(path.glob("*.tar")) if path.is_dir() else [path]
        if not path.exists():
            raise ConfigError(f"data.source: {path} does not exist")
        source = TarSource(shards) if shards else FolderSource(path)
    if not source.names:
        raise ConfigError(f"data.source: no images in {text}")
    return source


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
