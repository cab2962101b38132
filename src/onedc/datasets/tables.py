"""Pictures in Parquet and Arrow files: a column of bytes, or of structs {bytes, path} as in Hugging Face.

pyarrow lives only here, and is imported when such a file is met.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from onedc.errors import ConfigError, ImageError, MissingExtraError

_USUAL = ("image", "jpg", "png", "webp", "img", "picture", "1dc")
"""Names of picture columns, the likeliest first."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One picture of a column."""

    file: Path
    column: str
    group: int  # row group of a Parquet file, 0 in an Arrow file
    row: int  # in the group

    def read(self) -> bytes:
        """The picture's bytes. Raises ImageError where there are none."""
        value = _column(self.file, self.column, self.group)[self.row].as_py()
        if isinstance(value, dict):
            path = value.get("path")
            value = value["bytes"]
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
    pa = pyarrow()
    try:
        if file.suffix.lower() == ".parquet":
            with pa.parquet.ParquetFile(file) as parquet:
                rows = [parquet.metadata.row_group(g).num_rows for g in range(parquet.num_row_groups)]
                schema = parquet.schema_arrow
        else:
            table = _arrow_table(file)
            rows, schema = [table.num_rows], table.schema
    except (pa.ArrowException, OSError) as error:
        raise ImageError(f"{file}: cannot be read: {' '.join(str(error).split())}") from error
    column = _picture_column(file, schema, wanted)
    return [Cell(file, column, group, row) for group, count in enumerate(rows) for row in range(count)]


def pack_table(results: Sequence[tuple[str, bytes]], form: str) -> bytes:
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
        table = _arrow_table(origin)
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


def pyarrow() -> Any:
    """The library. Raises MissingExtraError where it is not installed."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtraError('Parquet and Arrow files need pyarrow: pip install "onedc[batch]"') from error
    return pyarrow


def _picture_column(file: Path, schema: Any, wanted: str | None) -> str:
    found = [field.name for field in schema if _holds_bytes(field.type)]
    usual = [name for name in _USUAL if name in found]
    chosen = [wanted] if wanted else (usual or found)
    if not chosen or chosen[0] not in found or (not usual and len(found) > 1 and not wanted):
        known = ", ".join(schema.names)
        what = f"no column {wanted!r} of pictures" if wanted else "no single column of pictures"
        raise ConfigError(f"{file}: {what}; name one with --column. Its columns: {known}")
    return str(chosen[0])


def _holds_bytes(kind: Any) -> bool:
    types = pyarrow().types
    if types.is_struct(kind):
        index = kind.get_field_index("bytes")
        return index >= 0 and _holds_bytes(kind.field(index).type)
    return bool(types.is_binary(kind) or types.is_large_binary(kind))


@lru_cache(maxsize=2)
def _column(file: Path, column: str, group: int) -> Any:
    """One column of one row group; the last ones stay in memory."""
    if file.suffix.lower() == ".parquet":
        with pyarrow().parquet.ParquetFile(file) as parquet:
            return parquet.read_row_group(group, columns=[column]).column(column)
    return _arrow_table(file).column(column)


def _arrow_table(file: Path) -> Any:
    """A memory-mapped Arrow file of either form: random access or stream."""
    pa = pyarrow()
    source = pa.memory_map(str(file))
    try:
        return pa.ipc.open_file(source).read_all()
    except pa.ArrowInvalid:
        source.seek(0)
        return pa.ipc.open_stream(source).read_all()


def _file_of(table: Any, form: str) -> bytes:
    pa = pyarrow()
    sink = pa.BufferOutputStream()
    if form == "parquet":
        pa.parquet.write_table(table, sink, compression="zstd")
    else:
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
    return bytes(sink.getvalue().to_pybytes())
