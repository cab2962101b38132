"""What a batch works on: the pictures of a data set, shard by shard, and what becomes of each."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from onedc.datasets.shards import Entry, Place, folder_entries, kind_of, shard_entries
from onedc.datasets.tables import suffix_of
from onedc.errors import ConfigError


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


def folder_shards(source: Path, wanted: Wanted, shard_size: int | None) -> list[Shard]:
    """All files below a folder with an accepted suffix, sorted, as one shard or cut into shards of a size.

    Raises:
        ConfigError: there are none.
    """
    entries = [entry for entry in folder_entries(source) if suffix_of(entry.name) in wanted.accepted]
    if not entries:
        raise ConfigError(f"{source}: holds no file to read ({' '.join(sorted(wanted.accepted))})")
    if shard_size is None:
        return [Shard("", None, [_file_item("", entry, wanted) for entry in entries])]
    shards = []
    for number, start in enumerate(range(0, len(entries), shard_size)):
        name = f"{number:06d}"
        part = entries[start : start + shard_size]
        shards.append(Shard(name, None, [_file_item(name, entry, wanted) for entry in part]))
    return shards


def read_shard(file: Path, wanted: Wanted) -> Shard:
    """The items of one shard file.

    Raises:
        ImageError: it is damaged.
        ConfigError: it has no column of pictures.
        MissingExtraError: pyarrow is not installed.
    """
    entries = shard_entries(file, wanted.column)
    if kind_of(file) == "tar":
        entries = [entry for entry in entries if suffix_of(entry.name) in wanted.accepted]
        outputs = [os.path.splitext(entry.name)[0] + wanted.suffix for entry in entries]
    else:
        outputs = [f"{row:08d}{wanted.suffix}" for row in range(len(entries))]
    items = [
        Item(f"{file.stem}/{entry.name}", file.stem, output, entry.place)
        for entry, output in zip(entries, outputs, strict=True)
    ]
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


def _file_item(shard: str, entry: Entry, wanted: Wanted) -> Item:
    """A file as an item. In shards, where a sample's name ends at its first dot, it keeps no other dots."""
    stem = os.path.splitext(entry.name)[0]
    if shard:
        folder, base = os.path.split(stem)
        stem = os.path.join(folder, base.replace(".", "_"))
    return Item(entry.name, shard, stem + wanted.suffix, entry.place)
