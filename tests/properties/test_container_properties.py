"""Any header, sections and payload come back; any bytes, random or mutated, give FormatError or a file."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from tests.conformance.from_the_page.header import parse_header
from tests.properties.check_misses import misses
from tests.properties.mutations import MUTATIONS, mutants

from onedc.container.header import RATIOS, Form, Header, checksum_place, fits_compact, working_size
from onedc.container.packing import SECTIONS, pack, read_header, seal, unpack
from onedc.entropy.coder import SymbolDecoder, SymbolEncoder
from onedc.entropy.z_prior import UniformZPrior
from onedc.errors import FormatError

FINGERPRINT = b"a fingerprint of thirty-two bytes"

sides = st.integers(1, 65535) | st.integers(1, 4096)


@st.composite
def headers(draw: st.DrawFn) -> Header:
    """Any header: pictures of any size and of common ratios, shrunk or not."""
    width, height = draw(sides), draw(sides)
    if draw(st.booleans()):
        width, height = working_size(*draw(st.sampled_from(RATIOS)), max(width, height))
    original, longer = None, max(width, height)
    if longer > 1 and draw(st.booleans()):
        original = width, height
        width, height = working_size(width, height, draw(st.integers(1, longer - 1)))
    return Header(
        model_id=draw(st.integers(0, 255) | st.just(1)),
        quality=draw(st.integers(0, 255) | st.just(0)),
        width=width,
        height=height,
        original=original,
    )


@given(
    headers(),
    st.binary(max_size=300),
    st.dictionaries(st.sampled_from(sorted(SECTIONS)), st.binary(max_size=200)),
)
def test_files_round_trip(header: Header, payload: bytes, sections: dict[int, bytes]) -> None:
    data = pack(header, payload, FINGERPRINT, sections)
    read = unpack(data, fingerprint=FINGERPRINT, max_pixels=1 << 32)
    assert read == (header, payload, sections, read.form)
    assert read_header(data) == header
    if not sections and fits_compact(header):
        assert read.form is Form.COMPACT
        unchecked = pack(header, payload, FINGERPRINT, form=Form.UNCHECKED)
        assert len(unchecked) == len(data) - 1 <= len(payload) + 9
        assert unpack(unchecked, fingerprint=FINGERPRINT, max_pixels=1 << 32).header == header
    else:
        assert read.form is Form.FULL


@given(headers(), st.sampled_from(Form))
def test_the_plain_reader_of_the_page_agrees(header: Header, form: Form) -> None:
    if form is not Form.FULL and not fits_compact(header):
        form = Form.FULL
    data = pack(header, b"payload", FINGERPRINT, form=form)
    plain = parse_header(data)
    assert (plain.model_id, plain.quality, plain.original) == (
        header.model_id,
        header.quality,
        header.original,
    )
    assert (plain.form, plain.width, plain.height) == (form.value, header.width, header.height)
    place = checksum_place(data)
    assert form is Form.UNCHECKED or plain.checksum == place
    assert form.check_bytes == place.stop - place.start
    assert data[plain.length :] == b"payload"


@given(
    st.binary(max_size=200),
    st.sampled_from([b"", b"\x1d\xc0", b"\x1d\xc0\x10", b"\x1d\xc0\x11", b"\x1d\xc0\x18"])
    | st.sampled_from([*range(0x60, 0x70), *range(0xB0, 0xC0)]).map(lambda flags: bytes([0x1D, flags])),
)
def test_any_bytes_give_an_error_or_a_file(data: bytes, start: bytes) -> None:
    data = start + data
    if len(data) >= 8:
        data = seal(data, FINGERPRINT)
    try:
        contents = unpack(data, fingerprint=FINGERPRINT)
    except FormatError:
        return
    if not any(key not in SECTIONS for key in contents.sections):
        assert pack(*contents[:2], FINGERPRINT, contents.sections, form=contents.form) == data


def test_mutated_files_give_an_error_or_the_declared_size() -> None:
    """Container, z and a y of fixed tables: the reader that a codec is, without its networks."""
    files = [_file(*size, form) for size in _SIZES for form in (None, Form.FULL)]
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


def _file(width: int, height: int, quality: int, form: Form | None) -> bytes:
    rng = np.random.default_rng(width)
    encoder = SymbolEncoder()
    h, w = -(-height // 64), -(-width // 64)
    UniformZPrior().encode(encoder, rng.integers(0, 1 << 14, (h, w)))
    if quality:
        for _ in range(4):
            encoder.encode(np.round(rng.normal(size=h * w * 2) * 3).astype(np.int32), _tables(h, w))
    header = Header(model_id=255, quality=quality, width=width, height=height)
    return pack(header, encoder.finish(), FINGERPRINT, form=form)


def _read(data: bytes) -> None:
    bits = UniformZPrior.least_position_millibits
    header, payload, *_ = unpack(data, fingerprint=FINGERPRINT, model_id=255, least_position_millibits=bits)
    h, w = -(-header.height // 64), -(-header.width // 64)
    assert h * w * 14 <= 8 * (len(payload) + 1)
    decoder = SymbolDecoder(payload)
    assert UniformZPrior().decode(decoder, h, w).shape == (h, w)
    if header.quality:
        for _ in range(4):
            decoder.decode(_tables(h, w))
    decoder.finish()


def test_what_the_checksums_miss() -> None:
    """A sample of `check_misses`: 24 bits catch all, 8 bits nearly all, the end rule alone far less."""
    total = sum(misses(1400, seed=1).values(), start=Counter())
    assert total["FULL"] == 0
    assert total["COMPACT"] <= 0.004 * total["files"]
    assert total["UNCHECKED"] > 5 * total["COMPACT"]
