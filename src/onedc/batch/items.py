"""What a batch works on: the pictures of a data set, shard by shard, and what becomes of each."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from onedc.datasets.entries import Entry, Place, folder_entries, kind_of, shard_entries
from onedc.datasets.names import outputs, suffix_of
from onedc.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Item:
    """One picture, or .1dc file, of a data set."""

    name: str  # unique: its path below the source, behind its shard's name if it is in one
    shard: str  # name of its shard, "" in a folder
    output: str  # path of its result below the output of its shard, with the result's suffix
    place: Place
    refusal: str = ""  # why it has no result


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

    def pick(self, entries: Iterable[Entry], passed: Counter[str]) -> list[Entry]:
        """The entries that are read; the suffixes of the others are counted in `passed`."""
        picked = []
        for entry in entries:
            if suffix_of(entry.name) in self.accepted:
                picked.append(entry)
            else:
                passed[suffix_of(entry.name)] += 1
        return picked


def folder_shards(source: Path, wanted: Wanted, shard_size: int | None, passed: Counter[str]) -> list[Shard]:
    """The files below a folder that are wanted, sorted, as one shard or cut into shards of a size.

    Raises:
        ConfigError: there are none.
    """
    entries = wanted.pick(folder_entries(source), passed)
    if not entries:
        raise ConfigError(f"{source}: holds no file to read ({' '.join(sorted(wanted.accepted))})")
    if shard_size is None:
        return [Shard("", None, _items("", entries, [entry.name for entry in entries], wanted.suffix))]
    shards = []
    for number, start in enumerate(range(0, len(entries), shard_size)):
        part = entries[start : start + shard_size]
        names = [_sample_name(entry.name) for entry in part]
        shards.append(Shard(f"{number:06d}", None, _items(f"{number:06d}", part, names, wanted.suffix)))
    return shards


def read_shard(file: Path, wanted: Wanted, passed: Counter[str]) -> Shard:
    """The items of one shard file.

    Raises:
        ImageError: it is damaged.
        ConfigError: it has no column of pictures.
        MissingExtraError: pyarrow is not installed.
    """
    entries = all_entries = shard_entries(file, wanted.column)
    if kind_of(file) == "tar":
        entries = wanted.pick(all_entries, passed)
        names = [entry.name for entry in entries]
    else:
        names = [f"{row:08d}" for row in range(len(entries))]
    taken = {entry.name for entry in all_entries} - {entry.name for entry in entries}
    located = [Entry(f"{file.stem}/{entry.name}", entry.place) for entry in entries]
    return Shard(file.stem, file, _items(file.stem, located, names, wanted.suffix, sorted(taken)))


def _items(
    shard: str, entries: Sequence[Entry], names: Sequence[str], suffix: str, taken: Sequence[str] = ()
) -> list[Item]:
    """Items; outputs follow from `names`; a second one of an output, or one that leads away, is refused."""
    first = {name: name for name in taken}
    items = []
    for entry, output in zip(entries, outputs(names, suffix, taken), strict=True):
        path = PurePosixPath(output)
        if path.is_absolute() or ".." in path.parts or "\\" in output:
            refusal = "its name leads out of its folder"
        elif first.setdefault(output, entry.name) != entry.name:
            refusal = f"would become {output}, as {first[output]} does"
        else:
            refusal = ""
        items.append(Item(entry.name, shard, output, entry.place, refusal))
    return items


def _sample_name(name: str) -> str:
    """A file's name for a shard, where a sample's name ends at its first dot: with no other dots."""
    stem, suffix = os.path.splitext(name)
    folder, base = os.path.split(stem)
    return os.path.join(folder, base.replace(".", "_")) + suffix
