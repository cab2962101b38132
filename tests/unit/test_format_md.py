"""docs/format.md against the code: its example is made anew, its tables are compared.

`python tests/unit/test_format_md.py` writes the example into the page.
"""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType

import numpy as np

from onedc.container import packing as container
from onedc.container.header import FIELDS, RATIOS, Form, Header, _standing, _values, parse_header, varint
from onedc.container.packing import pack, unpack
from onedc.entropy import pure
from onedc.entropy.coder import RANGE_CODER, SymbolDecoder, SymbolEncoder
from onedc.entropy.tables import load_tables
from onedc.entropy.z_prior import UniformZPrior

PAGE = Path(__file__).parents[2] / "docs" / "format.md"
FINGERPRINT = bytes(range(32))
HEADER = Header(model_id=255, quality=100, width=64, height=64)
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


def example_payload(coder: ModuleType = RANGE_CODER) -> bytes:
    encoder = SymbolEncoder(coder)
    UniformZPrior().encode(encoder, Z_IDX)
    for part in PARTS:
        encoder.encode(part.reshape(-1), TABLE_IDX.reshape(-1))
    return encoder.finish()


def example_files() -> dict[Form, bytes]:
    payload = example_payload()
    return {form: pack(HEADER, payload, FINGERPRINT, form=form) for form in Form}


def pieces(data: bytes) -> list[tuple[str, int]]:
    """What stands in the bytes of a file, and how many they are: fields that share bytes are one piece."""
    read = parse_header(data)
    values = _values(read.header, read.form, has_sections=read.has_sections)
    found: list[tuple[str, int]] = []
    names, bits = [], 0
    for field in _standing(values):
        names.append(field.name)
        bits += field.bits or 8 * len(varint(values[field.name]))
        if bits % 8 == 0:
            found.append((", ".join(names), bits // 8))
            names, bits = [], 0
    return [*found, ("payload", len(data) - read.stop)] if len(data) > read.stop else found


def example_values() -> str:
    columns = [TABLE_IDX, *PARTS]
    names = ["tables", *(f"part {k}" for k in range(len(PARTS)))]
    rows = ["".join(f"{name:>24}" for name in names)]
    for row in range(len(TABLE_IDX)):
        cells = ["".join(f"{value:5d}" for value in column[row].tolist()) for column in columns]
        rows.append("".join(f"{cell:>24}" for cell in cells))
    return "\n".join(rows)


def dump(data: bytes) -> str:
    lines, at = [], 0
    for name, length in pieces(data):
        for start in range(at, at + length, 16):
            chunk = data[start : min(start + 16, at + length)].hex(" ").upper()
            lines.append(f"    {start:04X}  {chunk:<47}  {name}")
            name = ""
        at += length
    assert at == len(data)
    return "\n".join(line.rstrip() for line in lines)


def fill_in(page: str) -> str:
    files = example_files()
    shrunk = Header(model_id=1, quality=0, width=64, height=64, original=(1000, 1000))
    for name, text in (
        ("values", example_values()),
        ("file", f"{dump(files[Form.FULL])}\n\n{dump(files[Form.COMPACT])}"),
        ("header", dump(pack(shrunk, b"", FINGERPRINT))),
    ):
        pattern = rf"(<!-- example {name} -->\n).*?(<!-- end -->)"
        page, count = re.subn(pattern, lambda m, text=text: f"{m[1]}\n{text}\n\n{m[2]}", page, flags=re.S)
        assert count == 1
    return page


def test_the_example_is_what_the_code_writes() -> None:
    page = PAGE.read_text()
    assert fill_in(page) == page
    assert example_payload(pure) == example_payload()
    compact, unchecked = example_files()[Form.COMPACT], example_files()[Form.UNCHECKED]
    assert unchecked == b"\x1d\x67" + compact[3:]


def test_the_example_reads_back() -> None:
    for form, data in example_files().items():
        contents = unpack(data, fingerprint=FINGERPRINT)
        assert (contents.header, contents.form) == (HEADER, form)
        decoder = SymbolDecoder(contents.payload)
        assert np.array_equal(UniformZPrior().decode(decoder, 1, 1), Z_IDX)
        for part in PARTS:
            assert np.array_equal(decoder.decode(TABLE_IDX.reshape(-1)), part.reshape(-1))
        decoder.finish()


def test_the_header_tables_list_the_fields() -> None:
    page = PAGE.read_text()
    rows = re.findall(r"^\| (\d+|8 to 24) \| (\w+) \|", page.split("### 1.1")[0], flags=re.M)
    for form in ("full", "compact"):
        fields = [field for field in FIELDS if field.where.split()[:1] in ([], [form])]
        listed = [(str(field.bits) if field.bits else "8 to 24", field.name) for field in fields]
        assert listed == rows[: len(listed)], form
        rows = rows[len(listed) :]
    assert not rows
    stated = re.findall(r"(\d+) is (\d+):(\d+)", page)
    assert [tuple(map(int, row)) for row in stated] == [(i, *ratio) for i, ratio in enumerate(RATIOS)]


def test_the_page_states_the_codes_constants() -> None:
    page = PAGE.read_text()
    assert load_tables().sha256 in page
    assert str(container.DEFAULT_MAX_PIXELS) in page
    assert f"more than {container.COMPACT_MOST_BYTES} bytes" in page
    assert all(f"`{form.value:X}0`" in page for form in Form)
    ids = {int(text, 16) for text in re.findall(r"^\| 0x([0-9A-F]{2}) \|", page, flags=re.M)}
    assert ids == set(container.SECTIONS)


if __name__ == "__main__":
    PAGE.write_text(fill_in(PAGE.read_text()))
