"""Any valid symbols come back from their bytes; any bytes give FormatError or symbols."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.properties.streams import Stream

from onedc.entropy import native, pure
from onedc.entropy.coder import SYMBOL_MAX, SymbolDecoder
from onedc.entropy.z_prior import UniformZPrior
from onedc.errors import FormatError

CODERS = (native, pure)

pairs = st.lists(
    st.tuples(st.integers(-SYMBOL_MAX, SYMBOL_MAX) | st.integers(-3, 3), st.integers(0, 255)), max_size=80
)


@st.composite
def streams(draw: st.DrawFn) -> Stream:
    base = draw(st.integers(2, 1 << 16))
    digits = draw(st.lists(st.integers(0, base - 1), max_size=20))
    parts = [
        (np.array([p[0] for p in part], np.int32), np.array([p[1] for p in part], np.uint8))
        for part in draw(st.lists(pairs, max_size=4))
    ]
    return Stream(np.array(digits, np.int32), base, parts)


@pytest.mark.parametrize("coder", CODERS, ids=lambda coder: coder.__name__)
@given(stream=streams())
def test_symbols_come_back(coder: ModuleType, stream: Stream) -> None:
    data = stream.encode(coder)
    assert stream.equals(stream.decode_like(data, coder))
    assert data == stream.encode(CODERS[0])


@pytest.mark.parametrize("coder", CODERS, ids=lambda coder: coder.__name__)
@given(
    data=st.binary(max_size=120),
    positions=st.integers(0, 9),
    tables=st.lists(st.lists(st.integers(0, 255), max_size=60), max_size=4),
)
def test_any_bytes_give_an_error_or_symbols(
    coder: ModuleType, data: bytes, positions: int, tables: list[list[int]]
) -> None:
    """What is accepted is exactly what an encoder writes."""
    decoder = SymbolDecoder(data, coder)
    try:
        z_idx = UniformZPrior().decode(decoder, 1, positions)
        assert 0 <= decoder.bytes_read <= 4 * len(data) + 16
        parts = [(decoder.decode(np.array(t, np.uint8)), np.array(t, np.uint8)) for t in tables]
        decoder.finish()
    except FormatError:
        return
    digits = (z_idx[..., None] >> 2 * np.arange(7) & 3).reshape(-1).astype(np.int32)
    assert Stream(digits, 4, parts).encode(coder) == data
