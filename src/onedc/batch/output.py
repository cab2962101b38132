"""Where the results of a batch go: files of their own, packed into shards once all of a shard are there.

Every write is whole or not at all, so that after a kill what exists counts. Knows no codec.
"""

from __future__ import annotations

import shutil
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from onedc.batch.items import Item, Shard
from onedc.datasets.entries import FOLDER
from onedc.datasets.tables import Cell, open_arrow, pyarrow
from onedc.datasets.tar_index import members, sample_key
from onedc.files import make_folder, write_whole

PARTS_FOLDER = ".parts"
"""Folder of the results of unfinished shards."""


class Output:
    """The place of the results, below the folder of the batch; `kind` is one of `entries.KINDS`."""

    def __init__(self, root: Path, kind: str) -> None:
        self.root, self.kind = root, kind

    def path(self, item: Item) -> Path:
        """The file that holds an item's result until its shard is packed."""
        folder = self.root if self.kind == FOLDER else self.root / PARTS_FOLDER
        return folder / item.shard / item.output

    def holds(self, item: Item) -> bool:
        """Whether an item's result is there, not packed yet."""
        return not item.refusal and self.path(item).exists()

    def write(self, item: Item, data: bytes) -> None:
        """Write an item's result. Raises OutputError."""
        path = self.path(item)
        make_folder(path.parent)
        write_whole(path, data, force=True)

    def shard_path(self, name: str) -> Path:
        """The packed shard of this name."""
        return self.root / f"{name}.{self.kind}"

    def finished(self, name: str) -> bool:
        """Whether a shard is packed; never in a folder."""
        return self.kind != FOLDER and self.shard_path(name).exists()

    def finish(self, shard: Shard) -> None:
        """Pack a shard whose items are all done, and remove its parts. Raises OutputError."""
        if self.kind == FOLDER:
            return
        write_whole(self.shard_path(shard.name), self._packed(shard), force=True)
        shutil.rmtree(self.root / PARTS_FOLDER / shard.name, ignore_errors=True)

    def clear(self) -> None:
        """Remove what kills have left of the parts, once no shard needs them."""
        shutil.rmtree(self.root / PARTS_FOLDER, ignore_errors=True)

    def _packed(self, shard: Shard) -> bytes | Iterable[bytes]:
        """The bytes of a shard file: its results, and what else a source of the same kind holds of them."""
        same_kind = shard.origin is not None and shard.origin.suffix.lower() == f".{self.kind}"
        if self.kind == "tar":
            return tar_bytes(self._samples(shard) if same_kind else self._results(shard))
        if same_kind and shard.origin is not None:
            cells = [(item.place, item) for item in shard.items if isinstance(item.place, Cell)]
            results = {
                row: (item.output, self.path(item).read_bytes())
                for row, (_, item) in enumerate(cells)
                if self.holds(item)
            }
            if not cells:
                return shard.origin.read_bytes()
            return replace_column(shard.origin, cells[0][0].column, results)
        return table_bytes(list(self._results(shard)), self.kind)

    def _results(self, shard: Shard) -> Iterator[tuple[str, bytes]]:
        for item in shard.items:
            if self.holds(item):
                yield item.output, self.path(item).read_bytes()

    def _samples(self, shard: Shard) -> Iterator[tuple[str, bytes]]:
        """The members of a tar shard with the results in place of their sources. Of a sample in which
        something failed nothing is left."""
        items = {item.name.removeprefix(f"{shard.name}/"): item for item in shard.items}
        assert shard.origin is not None
        found = [(name, place, items.get(name)) for name, place in members(shard.origin).items()]
        failed = {sample_key(name) for name, _, item in found if item and not self.holds(item)}
        for name, member, item in found:
            if sample_key(name) not in failed:
                yield (name, member.read()) if item is None else (item.output, self.path(item).read_bytes())


def tar_bytes(files: Iterable[tuple[str, bytes]]) -> Iterator[bytes]:
    """An uncompressed tar of these names and contents, piece by piece; always the same bytes."""
    size = 0
    for name, data in files:
        info = tarfile.TarInfo(name)
        info.size = len(data)
        head = info.tobuf(tarfile.PAX_FORMAT)
        padding = -len(data) % tarfile.BLOCKSIZE
        size += len(head) + len(data) + padding
        yield head
        yield data
        yield bytes(padding)
    end = 2 * tarfile.BLOCKSIZE
    yield bytes(end + -(size + end) % tarfile.RECORDSIZE)


def table_bytes(results: Sequence[tuple[str, bytes]], form: str) -> bytes:
    """A file of the columns `name` and `image` {bytes, path}, in the form "parquet" or "arrow"."""
    pa = pyarrow()
    names = pa.array([name for name, _ in results], pa.string())
    images = pa.array(
        [{"bytes": data, "path": name} for name, data in results],
        pa.struct([("bytes", pa.binary()), ("path", pa.string())]),
    )
    return _file_of(pa.table({"name": names, "image": images}), form)


def replace_column(origin: Path, column: str, results: dict[int, tuple[str, bytes]]) -> bytes:
    """The file `origin` with other cells in `column`, by row number; rows without a result are left out."""
    pa = pyarrow()
    form = origin.suffix.lower().lstrip(".")
    if form == "parquet":
        schema = pa.parquet.read_schema(origin)
        others = [name for name in schema.names if name != column]
        table = pa.parquet.read_table(origin, columns=others)
    else:
        table = open_arrow(origin)
        schema = table.schema
    rows = sorted(results)
    cells: list[object] = [results[row][1] for row in rows]
    if pa.types.is_struct(schema.field(column).type):
        cells = [{"bytes": results[row][1], "path": results[row][0]} for row in rows]
    arrays = [
        pa.chunked_array([cells], field.type) if field.name == column else table.column(field.name).take(rows)
        for field in schema
    ]
    return _file_of(pa.table(arrays, schema=schema), form)


def _file_of(table: Any, form: str) -> bytes:
    pa = pyarrow()
    sink = pa.BufferOutputStream()
    if form == "parquet":
        pa.parquet.write_table(table, sink, compression="zstd")
    else:
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
    return bytes(sink.getvalue().to_pybytes())
