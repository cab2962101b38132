"""The entropy coder: exact bits, two coders alike, the size near the ideal, the end of the payload."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import numpy.typing as npt
import pytest
from tests.conformance.from_the_page.coder import Reader, uniform
from tests.conformance.from_the_page.payload import YReader
from tests.properties import plain_writer
from tests.properties.streams import Stream, random_stream

from onedc.entropy import native, pure
from onedc.entropy.coder import RANGE_CODER, SYMBOL_MAX, SymbolDecoder, SymbolEncoder
from onedc.entropy.range_coder import Interval
from onedc.entropy.tables import load_tables
from onedc.errors import FormatError

CODERS = (native, pure)


def test_the_compiled_coder_is_the_default() -> None:
    assert RANGE_CODER is native


def test_both_coders_write_and_read_the_same_bits() -> None:
    """1,000 random streams; each coder also reads what the other wrote."""
    for seed in range(1000):
        stream = random_stream(seed, most_symbols=60)
        data = stream.encode(native)
        assert stream.encode(pure) == data
        for coder in CODERS:
            assert stream.equals(stream.decode_like(data, coder))


def test_the_page_is_enough_to_write_and_read() -> None:
    """The plain implementation of docs/format.md agrees in both directions."""
    for seed in range(60):
        stream = random_stream(seed, most_symbols=60)
        writer = plain_writer.Writer()
        writer.digits(stream.base, stream.digits.tolist())
        for symbols, table_idx in stream.parts:
            writer.part(table_idx.tolist(), symbols.tolist())
        data = stream.encode()
        assert writer.payload() == data
        reader = Reader(data)
        model = uniform(stream.base)
        assert [reader.symbol(model) for _ in stream.digits] == stream.digits.tolist()
        parts = YReader(reader, plain_writer.CDF)
        for symbols, table_idx in stream.parts:
            assert parts.part(table_idx.astype(np.int64)).tolist() == symbols.tolist()
        reader.finish()


def test_both_coders_refuse_the_same_garbage() -> None:
    rng = np.random.default_rng(3)
    accepted = 0
    for seed in range(300):
        stream = random_stream(seed, most_symbols=40)
        data = rng.bytes(int(rng.integers(0, 60)))
        outcomes = []
        for coder in CODERS:
            try:
                outcomes.append([p[0].tolist() for p in stream.decode_like(data, coder).parts])
            except FormatError as error:
                outcomes.append(str(error))
        assert outcomes[0] == outcomes[1]
        accepted += isinstance(outcomes[0], list)
    assert accepted < 30  # only streams of next to nothing


@pytest.mark.parametrize("coder", CODERS, ids=lambda coder: coder.__name__)
def test_model_boundaries_are_those_of_the_page(coder: ModuleType) -> None:
    """Every edge of every table, as realised by the first symbol of a fresh encoder."""
    tables = load_tables()
    for index in range(0, 256, 1 if coder is native else 16):
        model, edges = coder.categorical(tables.freq[index]), plain_writer.table_model(index)
        for symbol in range(len(edges) - 1):
            encoder = coder.Encoder()
            encoder.encode(np.array([symbol], np.int32), model)
            interval = encoder.interval()
            scale = (2**64 - 1 >> 24) << interval.bits - 64
            assert interval.low == edges[symbol] * scale
            assert interval.size == (edges[symbol + 1] - edges[symbol]) * scale


def test_carries_run_through_settled_words() -> None:
    """Streams that stay at the top of their interval owe a carry over many words."""
    top, model = np.full(200, 65535, np.int32), (65536,)
    for tail in ([0] * 8, [65535] * 8, [1, 0, 65535] * 3):
        stream = Stream(np.array([*top, *tail], np.int32), model[0], [])
        assert stream.encode(native) == stream.encode(pure)
        assert stream.equals(stream.decode_like(stream.encode(native), pure))


@pytest.mark.parametrize("wildness", [0.6, 1.0, 1.4])
def test_size_is_within_a_thousandth_of_the_tables(wildness: float) -> None:
    """At most 0.1 % + 4 bytes above the ideal code length, escapes' digits counted as they are."""
    tables, rng = load_tables(), np.random.default_rng(5)
    for count in (100, 10_000, 200_000):
        table_idx = np.minimum(rng.geometric(0.02, count) - 1, 255).astype(np.uint8)
        symbols = np.round(rng.normal(size=count) * tables.scale[table_idx] * wildness).astype(np.int32)
        encoder = SymbolEncoder()
        encoder.encode(symbols, table_idx)
        ideal = ideal_bits(symbols, table_idx)
        assert len(encoder.finish()) <= ideal / 8 * 1.001 + 4


def ideal_bits(symbols: npt.NDArray[np.int32], table_idx: npt.NDArray[np.uint8]) -> float:
    """Code length of one part by the 16-bit frequencies, plus two bits for each digit of an escape."""
    tables = load_tables()
    above = symbols - tables.offset[table_idx]
    escape_bin = tables.length[table_idx] - 2
    escaped = (above < 0) | (above >= escape_bin)
    bins = np.where(escaped, escape_bin, above)
    freq = tables.cdf[table_idx, bins + 1] - tables.cdf[table_idx, bins]
    bits = -np.log2(freq / 65536).sum()
    for v, top in zip(above[escaped].tolist(), escape_bin[escaped].tolist(), strict=True):
        raw = -2 * v - 1 if v < 0 else 2 * (v - top)
        digits = (raw.bit_length() + 1) // 2
        bits += 2 * (digits // 3 + 1 + digits)
    return float(bits)


@pytest.mark.parametrize("value", [0, 2, 3, -3, 4, 50, 51, -51, 1000, -1000, SYMBOL_MAX, -SYMBOL_MAX])
@pytest.mark.parametrize("table", [0, 63, 64, 191, 255])
def test_every_escape_length_comes_back(value: int, table: int) -> None:
    symbols, table_idx = np.array([0, value, -value], np.int32), np.full(3, table, np.uint8)
    stream = Stream(np.zeros(0, np.int32), 4, [(symbols, table_idx)])
    assert stream.equals(stream.decode_like(stream.encode()))


def test_symbols_are_written_by_table() -> None:
    """The order inside a part is by table, then as given: a sorted part has the same bytes."""
    symbols, table_idx = random_stream(12).parts[0]
    order = np.argsort(table_idx, kind="stable")
    given, by_table = SymbolEncoder(), SymbolEncoder()
    given.encode(symbols, table_idx)
    by_table.encode(symbols[order], table_idx[order])
    assert given.finish() == by_table.finish()


def test_encoder_checks_its_input() -> None:
    encoder = SymbolEncoder()
    flat = np.zeros(4, np.uint8)
    with pytest.raises(ValueError, match="exceed 30000"):
        encoder.encode(np.array([0, 0, 0, SYMBOL_MAX + 1]), flat)
    with pytest.raises(ValueError, match="must be flat"):
        encoder.encode(np.zeros((2, 2), np.int32), flat)
    with pytest.raises(ValueError, match="do not fit base 4"):
        encoder.encode_uniform(np.array([4]), 4)


# ---- the end of the payload


def test_nothing_takes_no_bytes() -> None:
    assert SymbolEncoder().finish() == b""
    SymbolDecoder(b"").finish()
    with pytest.raises(FormatError, match="left over"):
        SymbolDecoder(b"\0").finish()


def test_tail_is_under_one_byte() -> None:
    for seed in range(300):
        stream = random_stream(seed, most_symbols=30)
        encoder = SymbolEncoder()
        encoder.encode_uniform(stream.digits, stream.base)
        for part in stream.parts:
            encoder.encode(*part)
        interval = encoder._range.interval()
        information = interval.bits - math.log2(interval.size)
        assert len(encoder.finish()) < information / 8 + 1


def test_payload_is_the_shortest_that_the_page_allows() -> None:
    for low in range(0, 1 << 16, 7):
        for size in (1, 2, 255, 256, 257, 300, 511, 512, 5000):
            if low + size > 1 << 16:
                continue
            data = Interval(low, size, 16).payload()
            most = next(k for k in range(3) if 1 << 16 - 8 * k <= size)
            assert most - 1 <= len(data) <= most
            value = int.from_bytes(data.ljust(2, b"\0"), "big")
            assert low <= value < low + size


def test_any_other_end_is_refused() -> None:
    """Bytes added, taken away or replaced at the end: never the same symbols, mostly an error."""
    for seed in range(60):
        stream = random_stream(seed, most_symbols=60)
        data = stream.encode()
        ends = [data + b"\0", data + b"\0\0", data + b"\x01", data[:-1], data[:-2], data[:-1] + b"\xff"]
        for other in ends:
            if other == data:
                continue
            try:
                decoded = stream.decode_like(other)
            except FormatError:
                continue
            assert not decoded.equals(stream)
            assert decoded.encode() == other


def test_endless_zeros_are_not_read() -> None:
    """An empty payload stands for one byte at most, however likely its symbols are."""
    decoder = SymbolDecoder(b"")
    with pytest.raises(FormatError, match="ends too early"):
        decoder.decode_uniform(1000, 4)
    decoder = SymbolDecoder(b"\x80")
    with pytest.raises(FormatError):
        decoder.decode(np.zeros(1_000_000, np.uint8))


def test_bytes_read_fix_what_was_decoded() -> None:
    """Any continuation behind them decodes to the same digits, and one byte fewer does not fix them."""
    for seed in range(100):
        stream = random_stream(seed, most_symbols=60)
        if not stream.digits.size or not stream.parts:
            continue
        data = stream.encode()
        decoder = SymbolDecoder(data)
        decoder.decode_uniform(stream.digits.size, stream.base)
        count = decoder.bytes_read
        padded = data.ljust(count + 12, b"\0")
        for end in (b"\0" * 12, b"\xff" * 12):
            assert _digits_of(padded[:count] + end, stream) == stream.digits.tolist()
        if count:
            short = [_digits_of(padded[: count - 1] + end, stream) for end in (b"\0" * 12, b"\xff" * 12)]
            assert any(digits != stream.digits.tolist() for digits in short)


def test_a_cut_is_accepted_only_with_the_right_digits() -> None:
    """Payloads cut at every byte: behind `check_cut` stand the digits of the whole payload, or an error."""
    accepted = 0
    for seed in range(100):
        stream = random_stream(seed, most_symbols=60)
        data = stream.encode()
        for length in range(len(data) + 1):
            decoder = SymbolDecoder(data[:length])
            try:
                digits = decoder.decode_uniform(stream.digits.size, stream.base)
                decoder.check_cut()
            except FormatError:
                continue
            assert np.array_equal(digits, stream.digits)
            accepted += 1
    assert accepted > 1000


def _digits_of(data: bytes, stream: Stream) -> list[int] | None:
    try:
        return SymbolDecoder(data).decode_uniform(stream.digits.size, stream.base).tolist()
    except FormatError:
        return None


def test_plain_python_takes_over_without_constriction() -> None:
    """The same bytes, in a process where constriction cannot be imported."""
    code = (
        "import sys; sys.modules['constriction'] = None\n"
        "from onedc.entropy.coder import RANGE_CODER\n"
        "from tests.properties.streams import random_stream\n"
        "print(RANGE_CODER.__name__, random_stream(7).encode().hex())"
    )
    root = Path(__file__).parents[2]
    run = subprocess.run([sys.executable, "-c", code], cwd=root, check=True, capture_output=True, text=True)
    assert run.stdout.split() == ["onedc.entropy.pure", random_stream(7).encode().hex()]
