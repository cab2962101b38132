"""A dataset that is never on this machine as a whole: each file is brought when an image of it is due.

Files are kept as Arrow tables, mapped into memory, in a folder of bounded size that all processes of the
machine share. How long every file is, is known from the start, so an image's place in a run stays a pure
function of its position, and a run resumes without reading what it has seen.
"""

from __future__ import annotations

import bisect
import itertools
import json
import os
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from onedc.datasets.hub import GIB, DataFile, DataFiles, FolderFiles, HubFiles, one_line
from onedc.errors import ConfigError, OneDCError
from onedc.files import write_whole

COLUMNS = ("jpg", "blip2_caption", "unickname")
"""CommonCatalog's; all but the first may be missing."""

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


class StreamSource:
    """Images of a dataset in Parquet files with CommonCatalog's columns, brought file by file."""

    def __init__(self, dataset: DataFiles, folder: Path, keep_gib: float) -> None:
        """Ask for the lengths of all files, once; they are noted in `folder`.

        Raises:
            ConfigError: no files, or no images in them.
            OneDCError: the dataset cannot be reached.
        """
        self._dataset, self._folder, self._keep = dataset, folder, keep_gib * GIB
        self._files = dataset.files()
        if not self._files:
            raise ConfigError(f"data.source: {dataset.name} has no Parquet files")
        self.parts = self._lengths()
        self._starts = [0, *itertools.accumulate(self.parts)]
        self.names = RowNames([f.name for f in self._files], self._starts)
        self._tables: OrderedDict[int, Any] = OrderedDict()

    def _lengths(self) -> list[int]:
        note = self._folder / "rows.json"
        known: dict[str, int] = json.loads(note.read_text()) if note.exists() else {}
        keys = [f"{f.name} {f.size}" for f in self._files]
        unknown = [f for f, key in zip(self._files, keys, strict=True) if key not in known]
        if unknown:
            with ThreadPoolExecutor(ASKING) as pool:
                counts = pool.map(self._dataset.rows, unknown)
                known |= {f"{f.name} {f.size}": n for f, n in zip(unknown, counts, strict=True)}
            self._folder.mkdir(parents=True, exist_ok=True)
            write_whole(note, json.dumps(known).encode(), force=True)
        return [known[key] for key in keys]

    def read(self, index: int) -> bytes:
        cell = self._cell(index, "jpg")
        return bytes(cell["bytes"] if isinstance(cell, dict) else cell)

    def caption(self, index: int) -> str:
        return str(self._cell(index, "blip2_caption") or "")

    def _cell(self, index: int, column: str) -> Any:
        file = bisect.bisect_right(self._starts, index) - 1
        table = self._table(file)
        return table[column][index - self._starts[file]].as_py() if column in table.column_names else None

    def _table(self, number: int) -> Any:
        if number not in self._tables:
            while len(self._tables) >= OPEN_TABLES:
                self._tables.popitem(last=False)
            self._tables[number] = self._brought(self._files[number])
        self._tables.move_to_end(number)
        return self._tables[number]

    def _brought(self, file: DataFile) -> Any:
        """The file's table, from the folder or, once for all processes, from the dataset."""
        path = self._folder / "tables" / f"{file.name.replace('/', '--')}.arrow"
        with one_line(f"{self._dataset.name}/{file.name}"):
            path.parent.mkdir(parents=True, exist_ok=True)
            table = self._unpacked(file, path)
            self._drop_oldest()
        return table

    def _unpacked(self, file: DataFile, path: Path) -> Any:
        from filelock import FileLock

        with FileLock(path.with_suffix(".lock")):
            if not path.exists():
                fetched = self._dataset.fetch(file, self._folder / "files")
                self._convert(fetched, path)
                if self._dataset.temporary:
                    fetched.unlink()
            table = open_table(path)
            with suppress(FileNotFoundError):  # another process may drop it at any time
                os.utime(path)
        return table

    def _convert(self, parquet: Path, path: Path) -> None:
        import pyarrow
        import pyarrow.parquet

        part = path.with_suffix(".part")
        try:
            with pyarrow.parquet.ParquetFile(parquet) as file:
                columns = [name for name in COLUMNS if name in file.schema_arrow.names]
                if "jpg" not in columns:
                    known = ", ".join(file.schema_arrow.names)
                    raise OneDCError(f"data.source: {parquet} has no column 'jpg', only {known}")
                rows = file.iter_batches(batch_size=64, columns=columns)
                schema = pyarrow.schema([file.schema_arrow.field(name) for name in columns])
                with pyarrow.OSFile(str(part), "wb") as sink, pyarrow.ipc.new_file(sink, schema) as writer:
                    for batch in rows:
                        writer.write_batch(batch.select(columns))
            part.replace(path)
        except (OSError, pyarrow.ArrowInvalid) as error:
            raise OneDCError(f"data.source: {parquet} cannot be unpacked ({error})") from error
        finally:
            part.unlink(missing_ok=True)

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


def open_table(path: Path) -> Any:
    """A table in Arrow's file format, mapped into memory."""
    import pyarrow

    return pyarrow.ipc.open_file(pyarrow.memory_map(str(path))).read_all()


def open_stream(place: str, keep_gib: float) -> StreamSource:
    """Stream a folder of Parquet files, or a dataset of the hub; tables lie in the hub library's folder.

    Raises:
        MissingExtraError: pyarrow or huggingface_hub is not installed.
        ConfigError: no such dataset.
        OneDCError: it cannot be reached.
    """
    dataset: DataFiles = FolderFiles(Path(place)) if Path(place).is_dir() else HubFiles(place)
    return StreamSource(dataset, stream_folder(dataset.name), keep_gib)


def stream_folder(name: str) -> Path:
    """Where the tables of a dataset are kept; HF_HOME or HF_ASSETS_CACHE move it."""
    from huggingface_hub import cached_assets_path

    return cached_assets_path(library_name="onedc", namespace="stream", subfolder=name.strip("/"))
