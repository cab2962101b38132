"""The second decoder agrees with every golden and refuses every reject; it had docs/format.md alone."""

from __future__ import annotations

import ast
import json
import random
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from tests.conformance.from_the_page.coder import Reader
from tests.conformance.from_the_page.decoder import decode
from tests.conformance.from_the_page.header import parse_header
from tests.conformance.from_the_page.networks import Networks, load_cdf
from tests.conformance.from_the_page.payload import Integers, ReadPart
from tests.conformance.from_the_page.refusal import RefusedError
from tests.conformance.recording import integers_only, recorded

from onedc.codec import Codec
from onedc.errors import FormatError
from onedc.loading import load

HERE = Path(__file__).parent
PACKAGE = HERE.parents[1] / "src/onedc"
WEIGHTS = {"cases": HERE / "fixture.safetensors", "bundled": PACKAGE / "weights/small.safetensors"}
GOLDENS = [folder for suite in WEIGHTS for folder in sorted((HERE / suite).iterdir())]
REJECTS = sorted((HERE / "reject").rglob("*.1dc"))
CDF = load_cdf(PACKAGE / "entropy/tables.npz")


class Example:
    """The model of section 5, N = 4: the tables of the four parts are the same."""

    model_id = 255
    fingerprint = bytes(range(32))
    z_prior: ClassVar[dict[str, Integers]] = {}
    tables = np.array([0, 0, 10, 0, 30, 60, 90, 120, 120, 90, 60, 30, 200, 200, 255, 255]).reshape(1, 4, 4)

    def y_hat(self, levels: Integers, quality: int, read: ReadPart) -> Integers:
        for _ in range(4):
            read(np.tile(self.tables, levels.shape[1:]))
        return np.zeros(0, np.int64)


@pytest.fixture(scope="module")
def networks() -> dict[str, Networks]:
    return {suite: Networks(path) for suite, path in WEIGHTS.items()}


@pytest.mark.parametrize("folder", GOLDENS, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_it_agrees_with_the_golden(networks: dict[str, Networks], folder: Path) -> None:
    decoded = decode((folder / "file.1dc").read_bytes(), networks[folder.parent.name], CDF)
    facts = json.loads((folder / "case.json").read_text())
    header = decoded.header
    assert (header.width, header.height) == (facts["width"], facts["height"])
    assert header.quality == round(255 * facts["quality"] / 100)
    found = {"z_idx": decoded.z_idx}
    for part, (tables, values) in enumerate(zip(decoded.tables, decoded.values, strict=True)):
        found |= {f"table_idx_{part}": tables, f"symbols_{part}": values}
    with np.load(folder / "symbols.npz") as golden:
        assert set(golden) == set(found)
        for key in golden:
            np.testing.assert_array_equal(found[key], golden[key], err_msg=key)


CUT = HERE / "cases" / "one-pixel"


@pytest.fixture(scope="module")
def codec() -> Codec:
    return load(WEIGHTS["cases"], precision="fp32")


def integers(codec: Codec, data: bytes, **how: bool) -> dict[str, Integers] | None:
    """What the package reads of a file, if it does not refuse it."""
    with recorded(codec) as recording, integers_only(codec):
        try:
            codec.decode(data, **how)
        except FormatError:
            return None
    recording.symbols, recording.table_idx = recording.symbols[-4:], recording.table_idx[-4:]
    return recording.arrays()


def assert_same(networks: Networks, codec: Codec, data: bytes, **how: bool) -> dict[str, Integers] | None:
    """Compare both decoders; what they read, if they do not refuse it."""
    expected = integers(codec, data, **{name.replace("cut", "partial"): value for name, value in how.items()})
    if expected is None:
        with pytest.raises(RefusedError):
            decode(data, networks, CDF, **how)
        return None
    decoded = decode(data, networks, CDF, **how)
    np.testing.assert_array_equal(decoded.z_idx, expected["z_idx"])
    for part, (tables, values) in enumerate(zip(decoded.tables, decoded.values, strict=True)):
        np.testing.assert_array_equal(tables, expected[f"table_idx_{part}"])
        np.testing.assert_array_equal(values, expected[f"symbols_{part}"])
    return expected


@pytest.mark.parametrize("folder", sorted((HERE / "cases").iterdir()), ids=lambda path: path.name)
def test_its_previews_are_the_packages(networks: dict[str, Networks], codec: Codec, folder: Path) -> None:
    assert assert_same(networks["cases"], codec, (folder / "file.1dc").read_bytes(), preview=True)


def test_it_reads_of_a_cut_file_what_the_package_reads(networks: dict[str, Networks], codec: Codec) -> None:
    data = (CUT / "file.1dc").read_bytes()
    ends = sorted({*range(len(data) - 1, 8, -len(data) // 24), *range(8, 16), len(data)})
    read = [assert_same(networks["cases"], codec, data[:end], cut=True) for end in ends]
    whole = [sum(found[f"symbols_{part}"].any() for part in range(4)) if found else -1 for found in read]
    assert whole == sorted(whole) and set(whole) == {-1, 0, 1, 2, 3, 4}


@pytest.mark.parametrize("path", REJECTS, ids=lambda path: path.stem)
def test_it_refuses_the_reject(path: Path) -> None:
    with pytest.raises(RefusedError):
        decode(path.read_bytes(), Example(), CDF)


def test_it_reads_the_example_of_the_page() -> None:
    page = (HERE.parents[1] / "docs/format.md").read_text()
    block = page.split("<!-- example file -->")[1].split("<!-- end -->")[0].split("\n\n")
    files = [part for part in block if part.strip()]
    assert len(files) == 2
    for text in files:
        data = bytes.fromhex("".join(line.strip()[6:53] for line in text.splitlines() if line.strip()))
        decoded = decode(data, Example(), CDF)
        assert decoded.z_idx == 9876
        assert decoded.values[3].ravel().tolist()[-4:] == [1, -1, 2, -2]


def test_it_reads_the_header_of_a_shrunk_picture() -> None:
    header = parse_header(bytes.fromhex("1D BC E1 00 3E 70 3F"))
    assert (header.model_id, header.quality, header.width, header.height) == (1, 0, 64, 64)
    assert header.original == (1000, 1000)


def test_the_end_rule_without_large_integers_is_the_end_rule() -> None:
    """Random intervals [low, low + size) and payloads in and round them, against section 3.3 word by word."""
    rng, seen = random.Random(0), Counter[bool]()
    for _ in range(5000):
        bits = rng.choice([96, 128])
        size = rng.choice(
            [rng.randrange(2**32, 2**64), 1 << rng.randrange(32, 64), 2 ** rng.randrange(33, 65) - 1]
        )
        low = rng.randrange(2**bits - size) >> (zeros := rng.randrange(bits)) << zeros
        canonical = _canonical(low, size, bits)
        for length in {len(canonical), rng.randrange(bits // 8)}:
            unit = 1 << bits - 8 * length
            for number in (-(-low // unit), -(-low // unit) + 1, (low + size - 1) // unit):
                if low <= number * unit < low + size and number < 1 << 8 * length:
                    payload = number.to_bytes(length, "big")
                    valid = _ends(payload, number * unit - low, size, bits)
                    assert valid == (payload == canonical), (low, size, bits, payload)
                    seen[valid] += 1
    assert min(seen.values()) > 1000


def _canonical(low: int, size: int, bits: int) -> bytes:
    """The payload of an interval."""
    most = next(k for k in range(bits) if 2 ** max(0, bits - 8 * k) <= size)
    for count in (most - 1, most):
        unit = 1 << bits - 8 * count
        if -(-low // unit) * unit < low + size:
            return (-(-low // unit)).to_bytes(count, "big")
    raise AssertionError("some K bytes surely name a number in the interval")


def _ends(payload: bytes, above: int, size: int, bits: int) -> bool:
    reader = Reader(payload)
    reader.above, reader.size, reader.bits = above, size, bits
    try:
        reader.finish()
    except RefusedError:
        return False
    return reader.may_go_on()


def test_it_knows_nothing_of_the_package() -> None:
    allowed = sys.stdlib_module_names | {"numpy", "tests.conformance.from_the_page"}
    for path in (HERE / "from_the_page").glob("*.py"):
        for name in _imports(path):
            assert name in allowed or name.split(".")[0] in allowed or name.rpartition(".")[0] in allowed


def _imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or "."
