"""Pictures in Parquet and Arrow files: a column of bytes, or of structs {bytes, path} as in Hugging Face.

pyarrow is imported when such a file is met.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from onedc.datasets.names import suffix_of
from onedc.errors import ConfigError, ImageError, optional

_USUAL = ("jpg", "image", "png", "webp", "img", "picture", "1dc")
"""Names of picture columns, the likeliest first."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One picture of a column."""

    file: Path
    column: str
    group: int  # row group of a Parquet file, 0 in an Arrow file
    row: int  # in the group

    def read(self) -> bytes:
        """The picture's bytes. Raises ImageError where there are none, OSError."""
        with reading(self.file):
            value = _column(self.file, self.column, self.group)[self.row].as_py()
        return cell_bytes(value)


def cell_bytes(value: Any) -> bytes:
    """The bytes of a cell: its own, or those of the file that it names. Raises ImageError: it is empty."""
    if isinstance(value, dict):
        path, value = value.get("path"), value["bytes"]
        if value is None and path:
            return Path(path).read_bytes()
    if value is None:
        raise ImageError("the cell is empty")
    return bytes(value)


def cells(file: Path, wanted: str | None) -> list[Cell]:
    """The cells of the picture column, row by row.

    Raises:
        ConfigError: no such column, or several that could be meant.
        ImageError: a damaged file.
        MissingExtraError: pyarrow is not installed.
    """
    with reading(file):
        if suffix_of(file.name) == ".parquet":
            with pyarrow().parquet.ParquetFile(file) as parquet:
                rows = [parquet.metadata.row_group(g).num_rows for g in range(parquet.num_row_groups)]
                schema = parquet.schema_arrow
        else:
            table = open_arrow(file)
            rows, schema = [table.num_rows], table.schema
    column = picture_column(file, schema, wanted)
    return [Cell(file, column, group, row) for group, count in enumerate(rows) for row in range(count)]


def picture_column(file: object, schema: Any, wanted: str | None = None) -> str:
    """The column of pictures: that of the name `wanted`, else of a usual name, else the only one of bytes.

    Raises:
        ConfigError: none, or several.
    """
    found = [field.name for field in schema if _holds_bytes(field.type)]
    usual = [name for name in _USUAL if name in found]
    chosen = [wanted] if wanted else (usual or found)
    if not chosen or chosen[0] not in found or (not usual and len(found) > 1 and not wanted):
        known = ", ".join(schema.names)
        what = f"no column {wanted!r} of pictures" if wanted else "no single column of pictures"
        raise ConfigError(f"{file}: {what}; name one with --column, or 'jpg'. Its columns: {known}")
    return str(chosen[0])


def open_arrow(file: Path) -> Any:
    """The table of an Arrow file of either form, random access or stream, mapped into memory."""
    pa = pyarrow()
    source = pa.memory_map(str(file))
    try:
        return pa.ipc.open_file(source).read_all()
    except pa.ArrowInvalid:
        source.seek(0)
        return pa.ipc.open_stream(source).read_all()


def unpack(parquet: Path, columns: Sequence[str], arrow: Path) -> None:
    """Write those of `columns` that a Parquet file has into an Arrow file, a few rows at a time.

    Raises:
        ConfigError: it has no column of pictures.
        OSError, pyarrow.ArrowException: it is damaged, or the disk is full.
    """
    pa = pyarrow()
    part = arrow.with_suffix(".part")
    try:
        with pa.parquet.ParquetFile(parquet) as file:
            known = file.schema_arrow
            kept = [picture_column(parquet, known), *(name for name in columns if name in known.names)]
            schema = pa.schema([known.field(name) for name in kept])
            with pa.OSFile(str(part), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
                for batch in file.iter_batches(batch_size=64, columns=kept):
                    writer.write_batch(batch.select(kept))
        part.replace(arrow)
    finally:
        part.unlink(missing_ok=True)


def pyarrow() -> Any:
    """The library. Raises MissingExtraError where it is not installed."""
    optional("pyarrow.parquet", "batch")
    return optional("pyarrow", "batch")


@contextmanager
def reading(file: Path) -> Iterator[None]:
    """Within this context what cannot be read becomes an ImageError that names the file."""
    pa = pyarrow()
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        raise ImageError(f"{file}: cannot be read: {' '.join(str(error).split())}") from error


def _holds_bytes(kind: Any) -> bool:
    types = pyarrow().types
    if types.is_struct(kind):
        index = kind.get_field_index("bytes")
        return index >= 0 and _holds_bytes(kind.field(index).type)
    return bool(types.is_binary(kind) or types.is_large_binary(kind))


@lru_cache(maxsize=2)
def _column(file: Path, column: str, group: int) -> Any:
    """One column of one row group; the last ones stay in memory."""
    if suffix_of(file.name) == ".parquet":
        with pyarrow().parquet.ParquetFile(file) as parquet:
            return parquet.read_row_group(group, columns=[column]).column(column)
    return open_arrow(file).column(column)
