"""The forms that a data set of pictures has on disk, and its entries: a name, and where the bytes lie.

Bytes are read when asked for, by any thread or machine that sees the same files. Nothing is decoded here.
"""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

from onedc.datasets import tables, tar_index
from onedc.datasets.names import suffix_of
from onedc.errors import ConfigError

FOLDER = "folder"
KINDS = (FOLDER, "tar", "parquet", "arrow")
"""Forms of a data set."""


@dataclass(frozen=True, slots=True)
class FilePlace:
    """A file of its own."""

    path: Path

    def read(self) -> bytes:
        """The file's bytes."""
        return self.path.read_bytes()


Place = FilePlace | tables.Cell | tar_index.Member
"""Where the bytes of one picture lie; reading them raises OSError or OneDCError."""


class Entry(NamedTuple):
    """A file of a folder or of a tar shard, or a row of a table."""

    name: str  # path below the folder or in the shard, with /; of a row its number
    place: Place


def kind_of(source: Path) -> str:
    """Which of KINDS a folder or a shard file is. A folder that holds shards is read as these alone.

    Raises:
        ConfigError: no such folder, or a file that is no shard.
    """
    if source.is_dir():
        suffixes = {suffix_of(path.name) for path in source.iterdir() if not path.name.startswith(".")}
        return next((kind for kind in KINDS[1:] if f".{kind}" in suffixes), FOLDER)
    if not source.exists():
        raise ConfigError(f"{source} does not exist")
    kind = suffix_of(source.name).lstrip(".")
    if kind not in KINDS[1:]:
        raise ConfigError(f"{source}: neither a folder nor a .tar, .parquet or .arrow file")
    return kind


def shard_files(source: Path, kind: str) -> list[Path]:
    """The shard files that a source consists of, sorted."""
    if source.is_file():
        return [source]
    return sorted(path for path in source.iterdir() if suffix_of(path.name) == f".{kind}")


def folder_entries(folder: Path) -> list[Entry]:
    """All files below a folder, of whatever suffix, sorted by name; links are followed, no folder met twice.

    Raises:
        ConfigError: a folder that cannot be read.
    """
    found: list[Path] = []
    seen: set[str] = set()
    for parent, folders, files in os.walk(folder, followlinks=True, onerror=_refuse):
        folders.sort()
        if (real := os.path.realpath(parent)) in seen:
            folders.clear()
            continue
        seen.add(real)
        found += [Path(parent, name) for name in files]
    names = sorted(p.relative_to(folder).as_posix() for p in found if p.is_file() or p.is_symlink())
    return [Entry(name, FilePlace(folder / name)) for name in names]


def _refuse(error: OSError) -> None:
    raise ConfigError(f"{error.filename}: cannot be read: {error.strerror}") from error


def shard_entries(file: Path, column: str | None = None) -> list[Entry]:
    """All members of a tar shard, of whatever suffix; or the rows of a table, by its column of pictures.

    Raises:
        ImageError: it is damaged.
        ConfigError: it has no column of pictures.
        MissingExtraError: pyarrow is not installed.
    """
    if kind_of(file) == "tar":
        return [Entry(name, member) for name, member in tar_index.members(file).items()]
    return [Entry(str(row), cell) for row, cell in enumerate(tables.cells(file, column))]


def named(data: bytes, name: str) -> BinaryIO:
    """A file in memory whose name begins the messages of whoever reads it."""
    file = io.BytesIO(data)
    file.name = name
    return file
