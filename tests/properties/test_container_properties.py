"""Any header, sections and payload come back; any bytes, random or mutated, give FormatError or a file."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from tests.properties.mutations import MUTATIONS, mutants

from onedc.container import SECTIONS, Header, pack, read_header, seal, unpack
from onedc.entropy.coder import SymbolDecoder, SymbolEncoder
from onedc.entropy.z_prior import UniformZPrior
from onedc.errors import FormatError

FINGERPRINT = b"a fingerprint of thirty-two bytes"

headers = st.builds(
    Header,
    model_id=st.integers(0, 255),
    quality=st.integers(0, 255),
    width=st.integers(1, 65535),
    height=st.integers(1, 65535),
)


@given(
    headers,
    st.binary(max_size=300),
    st.dictionaries(st.sampled_from(sorted(SECTIONS)), st.binary(max_size=200)),
)
def test_files_round_trip(header: Header, payload: bytes, sections: dict[int, bytes]) -> None:
    data = pack(header, payload, FINGERPRINT, sections)
    assert unpack(data, fingerprint=FINGERPRINT, max_pixels=1 << 32) == (header, payload, sections)
    assert read_header(data) == header


@given(st.binary(max_size=200), st.sampled_from([b"", b"\x1d\xc0", b"\x1d\xc0\x10", b"\x1d\xc0\x11"]))
def test_any_bytes_give_an_error_or_a_file(data: bytes, start: bytes) -> None:
    data = start + data
    if len(data) >= 8:
        data = seal(data, FINGERPRINT)
    try:
        contents = unpack(data, fingerprint=FINGERPRINT)
    except FormatError:
        return
    if not any(key not in SECTIONS for key in contents.sections):
        assert pack(contents.header, contents.payload, FINGERPRINT, contents.sections) == data


def test_mutated_files_give_an_error_or_the_declared_size() -> None:
    """Container, z and a y of fixed tables: the reader that a codec is, without its networks."""
    files = [_file(width, height, quality) for width, height, quality in _SIZES]
    outcomes = {kind: [0, 0] for kind in MUTATIONS}
    for mutant in mutants(files, FINGERPRINT, 6000):
        try:
            _read(mutant.data)
        except FormatError:
            outcomes[mutant.kind][0] += 1
        else:
            outcomes[mutant.kind][1] += 1
    assert sum(accepted for _, accepted in outcomes.values()) > 50  # resealed ones that are valid again
    assert all(refused > 50 for refused, _ in outcomes.values())


_SIZES = [(1, 1, 0), (64, 64, 1), (130, 70, 90), (200, 300, 255), (768, 768, 0)]


def _tables(height: int, width: int) -> np.ndarray:
    return (np.arange(height * width * 2) * 7 % 256).astype(np.uint8)


def _file(width: int, height: int, quality: int) -> bytes:
    rng = np.random.default_rng(width)
    encoder = SymbolEncoder()
    h, w = -(-height // 64), -(-width // 64)
    UniformZPrior().encode(encoder, rng.integers(0, 1 << 14, (h, w)))
    if quality:
        for _ in range(4):
            encoder.encode(np.round(rng.normal(size=h * w * 2) * 3).astype(np.int32), _tables(h, w))
    header = Header(model_id=255, quality=quality, width=width, height=height)
    return pack(header, encoder.finish(), FINGERPRINT)


def _read(data: bytes) -> None:
    bits = UniformZPrior.least_position_bits
    header, payload, _ = unpack(data, fingerprint=FINGERPRINT, model_id=255, least_position_bits=bits)
    h, w = -(-header.height // 64), -(-header.width // 64)
    assert h * w * 14 <= 8 * (len(payload) + 1)
    decoder = SymbolDecoder(payload)
    assert UniformZPrior().decode(decoder, h, w).shape == (h, w)
    if header.quality:
        for _ in range(4):
            decoder.decode(_tables(h, w))
    decoder.finish()
