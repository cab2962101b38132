"""What a batch works on: pictures in folders, tar shards, Parquet and Arrow files, shard by shard.

Names and places; bytes are read when asked for, by any thread or machine that sees the same files.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol

from onedc.datasets import tables
from onedc.datasets.tar import members
from onedc.errors import ConfigError, ImageError

FOLDER = "folder"
KINDS = (FOLDER, "tar", "parquet", "arrow")
"""Forms of a data set."""


class Place(Protocol):
    """Where the bytes of one picture lie."""

    def read(self) -> bytes:
        """The bytes. Raises OSError or OneDCError."""


@dataclass(frozen=True, slots=True)
class FilePlace:
    """A file of its own."""

    path: Path

    def read(self) -> bytes:
        """The file's bytes."""
        return self.path.read_bytes()


@dataclass(frozen=True, slots=True)
class Item:
    """One picture, or .1dc file, of a data set."""

    name: str  # unique: its path below the source, behind its shard's name if it is in one
    shard: str  # name of its shard, "" in a folder
    output: str  # path of its result below the output of its shard, with the result's suffix
    place: Place


@dataclass(frozen=True)
class Shard:
    """Items whose results belong together."""

    name: str  # "" for a folder as a whole
    origin: Path | None  # the shard file that they come from
    items: Sequence[Item]


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What to look for in a data set, and what becomes of it."""

    accepted: Collection[str]  # suffixes of the files that are read
    suffix: str  # of the results
    column: str | None = None  # of Parquet and Arrow files; None: found by type and name


def kind_of(source: Path) -> str:
    """Which of KINDS a folder or a shard file is. A folder that holds shards is read as these alone.

    Raises:
        ConfigError: no such folder, or a file that is no shard.
    """
    if source.is_dir():
        suffixes = {path.suffix.lower() for path in source.iterdir() if not path.name.startswith(".")}
        return next((kind for kind in KINDS[1:] if f".{kind}" in suffixes), FOLDER)
    if not source.exists():
        raise ConfigError(f"{source}: no such file or folder")
    if source.suffix.lower().lstrip(".") not in KINDS[1:]:
        raise ConfigError(f"{source}: neither a folder nor a .tar, .parquet or .arrow file")
    return source.suffix.lower().lstrip(".")


def folder_shards(source: Path, wanted: Wanted, shard_size: int | None) -> list[Shard]:
    """All files below a folder with an accepted suffix, sorted, as one shard or cut into shards of a size.

    Raises:
        ConfigError: there are none.
    """
    paths = sorted(
        path.relative_to(source).as_posix()
        for path in source.rglob("*")
        if path.suffix.lower() in wanted.accepted and path.is_file()
    )
    if not paths:
        raise ConfigError(f"{source}: holds no file to read ({' '.join(sorted(wanted.accepted))})")
    if shard_size is None:
        return [Shard("", None, [_file_item(source, "", path, wanted) for path in paths])]
    shards = []
    for number, start in enumerate(range(0, len(paths), shard_size)):
        name = f"{number:06d}"
        part = paths[start : start + shard_size]
        shards.append(Shard(name, None, [_file_item(source, name, path, wanted) for path in part]))
    return shards


def shard_files(source: Path, kind: str) -> list[Path]:
    """The shard files that a source consists of, sorted."""
    if source.is_file():
        return [source]
    return sorted(path for path in source.iterdir() if path.suffix.lower() == f".{kind}")


def read_shard(file: Path, kind: str, wanted: Wanted) -> Shard:
    """The items of one shard file.

    Raises:
        ImageError: it is damaged.
        ConfigError: it has no column of pictures.
        MissingExtraError: pyarrow is not installed.
    """
    found: Iterator[tuple[str, str, Place]]
    if kind == "tar":
        try:
            inside = members(file)
        except ConfigError as error:
            raise ImageError(str(error)) from error
        found = (
            (name, str(PurePosixPath(name).with_suffix(wanted.suffix)), member)
            for name, member in inside
            if os.path.splitext(name)[1].lower() in wanted.accepted
        )
    else:
        cells = tables.cells(file, wanted.column)
        found = ((str(row), f"{row:08d}{wanted.suffix}", cell) for row, cell in enumerate(cells))
    items = [Item(f"{file.stem}/{name}", file.stem, output, place) for name, output, place in found]
    return Shard(file.stem, file, items)


def refusals(shard: Shard) -> Iterator[tuple[Item, str]]:
    """Items that cannot be written, with the reason: a second one of a name, or a path that leads away."""
    taken: dict[str, Item] = {}
    for item in shard.items:
        path = PurePosixPath(item.output)
        if path.is_absolute() or ".." in path.parts or "\\" in item.output:
            yield item, "its name leads out of its folder"
        elif item.output in taken:
            yield item, f"would become {item.output}, as {taken[item.output].name} does"
        else:
            taken[item.output] = item


def _file_item(source: Path, shard: str, path: str, wanted: Wanted) -> Item:
    """A file as an item. In shards, where a sample's name ends at its first dot, it keeps no other dots."""
    stem = path.removesuffix(PurePosixPath(path).suffix)
    if shard:
        folder, base = os.path.split(stem)
        stem = os.path.join(folder, base.replace(".", "_"))
    return Item(path, shard, stem + wanted.suffix, FilePlace(source / path))
