"""docs/format.md against the code: its example is made anew, its tables are compared.

`python tests/unit/test_format_md.py` writes the example into the page.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from onedc import container
from onedc.container import Header, pack, unpack
from onedc.entropy.coder import RANGE_CODER, SymbolDecoder, SymbolEncoder
from onedc.entropy.pure import PureCoder
from onedc.entropy.range_coder import RangeCoder
from onedc.entropy.tables import load_tables
from onedc.entropy.z_prior import UniformZPrior

PAGE = Path(__file__).parents[2] / "docs" / "format.md"
FINGERPRINT = bytes(range(32))
Z_IDX = np.array([[9876]])
TABLE_IDX = np.array([[0, 0, 10, 0], [30, 60, 90, 120], [120, 90, 60, 30], [200, 200, 255, 255]], np.uint8)
PARTS = np.array(
    [
        [[0, 0, 0, 1], [-1, 1, 0, 2], [-4, 0, 1, 0], [17, -23, 90, -3]],
        [[0, 0, 0, 0], [0, 0, 2, 0], [3, -1, 0, 0], [-8, 5, -61, 44]],
        [[0, 0, 7, 0], [0, 0, -1, 1], [0, 0, 0, 0], [12, 0, 0, 1000]],
        [[0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0], [1, -1, 2, -2]],
    ],
    np.int32,
)


def example_file(coder: RangeCoder = RANGE_CODER) -> tuple[bytes, list[tuple[str, int]]]:
    """The file, and how many bytes each of its pieces takes."""
    encoder = SymbolEncoder(coder)
    UniformZPrior().encode(encoder, Z_IDX)
    for part in PARTS:
        encoder.encode(part.reshape(-1), TABLE_IDX.reshape(-1))
    payload = encoder.finish()
    data = pack(Header(model_id=255, quality=100, width=64, height=64), payload, FINGERPRINT)
    pieces = [("magic", 2), ("form", 1), ("model_id", 1), ("quality", 1), ("checksum", 3), ("width", 1)]
    pieces += [("height", 1), ("payload", len(payload))]
    return data, pieces


def example_values() -> str:
    columns = [TABLE_IDX, *PARTS]
    names = ["tables", *(f"part {k}" for k in range(len(PARTS)))]
    rows = ["".join(f"{name:>24}" for name in names)]
    for row in range(len(TABLE_IDX)):
        cells = ["".join(f"{value:5d}" for value in column[row].tolist()) for column in columns]
        rows.append("".join(f"{cell:>24}" for cell in cells))
    return "\n".join(rows)


def example_dump() -> str:
    data, pieces = example_file()
    lines, at = [], 0
    for name, length in pieces:
        for start in range(at, at + length, 16):
            chunk = data[start : min(start + 16, at + length)].hex(" ").upper()
            lines.append(f"    {start:04X}  {chunk:<47}  {name}")
            name = ""
        at += length
    assert at == len(data)
    return "\n".join(line.rstrip() for line in lines)


def fill_in(page: str) -> str:
    for name, text in (("values", example_values()), ("file", example_dump())):
        pattern = rf"(<!-- example {name} -->\n).*?(<!-- end -->)"
        page, count = re.subn(pattern, lambda m, text=text: f"{m[1]}\n{text}\n\n{m[2]}", page, flags=re.S)
        assert count == 1
    return page


def test_the_example_is_what_the_code_writes() -> None:
    page = PAGE.read_text()
    assert fill_in(page) == page
    assert example_file(PureCoder()) == example_file()


def test_the_example_reads_back() -> None:
    contents = unpack(example_file()[0], fingerprint=FINGERPRINT)
    assert contents.header == Header(model_id=255, quality=100, width=64, height=64)
    decoder = SymbolDecoder(contents.payload)
    assert np.array_equal(UniformZPrior().decode(decoder, 1, 1), Z_IDX)
    for part in PARTS:
        assert np.array_equal(decoder.decode(TABLE_IDX.reshape(-1)), part.reshape(-1))
    decoder.finish()


def test_the_header_table_lists_the_fields() -> None:
    section = PAGE.read_text().split("### 1.1")[0]
    rows = re.findall(r"^\| (\d*) ?\| (\d|1 to 3) \| (\w+) \|", section, flags=re.M)
    assert [row[2] for row in rows] == [field.name for field in container._FIELDS]
    assert [row[1] for row in rows] == [
        str(field.size) if field.size else "1 to 3" for field in container._FIELDS
    ]
    sizes = [field.size for field in container._FIELDS]
    assert [int(row[0]) for row in rows[:-1]] == [sum(sizes[:i]) for i in range(len(sizes) - 1)]
    before = sum(sizes[: [field.name for field in container._FIELDS].index("checksum")])
    assert (container._CHECKSUM.start, container._CHECKSUM.stop) == (before, before + 3)


def test_the_page_states_the_codes_constants() -> None:
    page = PAGE.read_text()
    assert load_tables().sha256 in page
    assert str(container.DEFAULT_MAX_PIXELS) in page
    assert f"{container.MAGIC:04X}"[:2] + " " + f"{container.MAGIC:04X}"[2:] in page
    ids = {int(text, 16) for text in re.findall(r"^\| 0x([0-9A-F]{2}) \|", page, flags=re.M)}
    assert ids == set(container.SECTIONS)


if __name__ == "__main__":
    PAGE.write_text(fill_in(PAGE.read_text()))
