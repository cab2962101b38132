"""Images that are rows of tables with CommonCatalog's columns, in files that are brought when one is due.

How long every file is, is known from the start, so an image's place in a run stays a pure function of its
position, and a run resumes without reading what it has seen.
"""

from __future__ import annotations

import bisect
import itertools
import json
import os
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from onedc.datasets.hub import GIB, DataFile, DataFiles, FolderFiles, HubFiles, one_line
from onedc.datasets.tables import cell_bytes, open_arrow, picture_column, unpack
from onedc.errors import ConfigError
from onedc.files import write_whole

CAPTION, NAME = "blip2_caption", "unickname"
"""CommonCatalog's columns beside the picture's; they may be missing."""

T = TypeVar("T")

OPEN_TABLES = 16
ASKING = 16  # threads that ask for the files' lengths


class RowNames(Sequence[str]):
    """FILE:ROW for every image, made when asked for: there may be many millions."""

    def __init__(self, files: Sequence[str], starts: Sequence[int]) -> None:
        self._files, self._starts = files, starts

    def __len__(self) -> int:
        return self._starts[-1]

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[n] for n in range(*index.indices(len(self)))]
        file = bisect.bisect_right(self._starts, index) - 1
        return f"{self._files[file]}:{index - self._starts[file]}"

    def __iter__(self) -> Iterator[str]:
        for file, (start, end) in zip(self._files, itertools.pairwise(self._starts), strict=True):
            yield from (f"{file}:{row}" for row in range(end - start))


class TableSource:
    """Images of a dataset in Parquet or Arrow files, which are brought one by one.

    Parquet files are kept as Arrow tables, mapped into memory, in a folder of bounded size that all processes
    of the machine share.

    Args:
        folder: of the tables. The lengths of all files are asked for once and noted there.
        keep_gib: so much stays there; None: all is brought now and stays.

    Raises:
        ConfigError: no files, or no images in them.
        OneDCError: the dataset cannot be reached, or a file is damaged.
    """

    def __init__(self, dataset: DataFiles, folder: Path, keep_gib: float | None) -> None:
        self._dataset, self._folder = dataset, folder
        self._keep = float("inf") if keep_gib is None else keep_gib * GIB
        self._files = dataset.files()
        if not self._files:
            raise ConfigError(f"{dataset.name} has no Parquet or Arrow files")
        self._most_open = OPEN_TABLES if keep_gib is not None else len(self._files)
        self._tables: OrderedDict[int, tuple[Any, str]] = OrderedDict()
        lengths = self._lengths()
        self._starts = [0, *itertools.accumulate(lengths)]
        self.parts: Sequence[int] = () if keep_gib is None else lengths
        self.names: Sequence[str] = RowNames([f.name for f in self._files], self._starts)
        if keep_gib is None:
            numbers = range(len(self._files))
            tables = [self._table(number)[0] for number in _shown(numbers, "opening tables", len(numbers))]
            if all(NAME in table.column_names for table in tables):
                self.names = [str(name) for table in tables for name in table[NAME].to_pylist()]

    def read(self, index: int) -> bytes:
        table, pictures, row = self._row(index)
        return cell_bytes(table[pictures][row].as_py())

    def caption(self, index: int) -> str:
        table, _, row = self._row(index)
        return str(table[CAPTION][row].as_py() or "") if CAPTION in table.column_names else ""

    def _row(self, index: int) -> tuple[Any, str, int]:
        """The table of an image, its column of pictures, and the row."""
        number = bisect.bisect_right(self._starts, index) - 1
        return *self._table(number), index - self._starts[number]

    def _lengths(self) -> list[int]:
        note = self._folder / "rows.json"
        known: dict[str, int] = {}
        with suppress(FileNotFoundError, ValueError, TypeError):
            known = dict(json.loads(note.read_text()))
        keys = [f"{f.name} {f.size}" for f in self._files]
        unknown = [f for f, key in zip(self._files, keys, strict=True) if key not in known]
        if unknown:
            with ThreadPoolExecutor(ASKING) as pool:
                counts = _shown(pool.map(self._dataset.rows, unknown), "lengths of tables", len(unknown))
                known |= {f"{f.name} {f.size}": n for f, n in zip(unknown, counts, strict=True)}
            self._folder.mkdir(parents=True, exist_ok=True)
            write_whole(note, json.dumps(known).encode(), force=True)
        return [known[key] for key in keys]

    def _table(self, number: int) -> tuple[Any, str]:
        """A file's table and its column of pictures."""
        if number not in self._tables:
            while len(self._tables) >= self._most_open:
                self._tables.popitem(last=False)
            self._tables[number] = self._brought(self._files[number])
        self._tables.move_to_end(number)
        return self._tables[number]

    def _brought(self, file: DataFile) -> tuple[Any, str]:
        """From the dataset if it is an Arrow file; else from the folder, once for all processes."""
        path = self._folder / "tables" / f"{file.name.replace('/', '--')}.{file.size}.arrow"
        with one_line(f"{self._dataset.name}/{file.name}"):
            if file.name.endswith(".parquet"):
                path.parent.mkdir(parents=True, exist_ok=True)
                table = self._unpacked(file, path)
                self._drop_oldest()
            else:
                table = open_arrow(self._dataset.fetch(file, self._folder))
        return table, picture_column(f"{self._dataset.name}/{file.name}", table.schema)

    def _unpacked(self, file: DataFile, path: Path) -> Any:
        from filelock import FileLock

        with FileLock(path.with_suffix(".lock")):
            if not path.exists():
                fetched = self._dataset.fetch(file, self._folder / "files")
                unpack(fetched, (CAPTION, NAME), path)
                if self._dataset.temporary:
                    fetched.unlink()
            table = open_arrow(path)
            with suppress(FileNotFoundError):  # another process may drop it at any time
                os.utime(path)
        return table

    def _drop_oldest(self) -> None:
        """Delete the tables longest unused until the rest fits; where one is open it can still be read."""
        found = []
        for path in (self._folder / "tables").glob("*.arrow"):
            with suppress(FileNotFoundError):  # another process drops them too
                there = path.stat()
                found.append((there.st_mtime_ns, path, there.st_size))
        left = sum(size for _, _, size in found)
        for _, path, size in sorted(found)[:-1]:
            if left <= self._keep:
                return
            path.unlink(missing_ok=True)
            left -= size


def _shown(things: Iterable[T], what: str, total: int) -> Iterable[T]:
    """The same things, with a bar on a terminal if they take over two seconds."""
    from tqdm import tqdm

    shown: Iterable[T] = tqdm(things, what, total, delay=2, disable=None, leave=False)
    return shown


def open_tables(place: str, keep_gib: float | None) -> TableSource:
    """A table, a folder of tables, or a dataset of the hub; unpacked ones lie in the hub library's folder.

    Raises:
        MissingExtraError: pyarrow or huggingface_hub is not installed.
        ConfigError, OneDCError: as `TableSource`, or no such dataset.
    """
    path = Path(place)
    if not path.exists() and (path.is_absolute() or place.startswith(".")):
        raise ConfigError(f"{place} does not exist")
    dataset: DataFiles = FolderFiles(path.resolve()) if path.exists() else HubFiles(place)
    return TableSource(dataset, tables_folder(dataset.name), keep_gib)


def tables_folder(name: str) -> Path:
    """Where the tables of a dataset are kept; HF_HOME or HF_ASSETS_CACHE move it."""
    from huggingface_hub import cached_assets_path

    return cached_assets_path(library_name="onedc", namespace="stream", subfolder=name.strip("/"))
