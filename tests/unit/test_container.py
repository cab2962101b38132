"""The container: header size, every refusal with its message, sections, limits, checksum."""

from __future__ import annotations

import subprocess
import sys

import pytest

from onedc.container.header import RATIOS, Form, Header, begins_file, working_size
from onedc.container.packing import (
    SECTION_ALPHA,
    SECTION_EXIF,
    SECTION_ICC,
    describe_model,
    least_payload_bytes,
    pack,
    read_header,
    seal,
    unpack,
)
from onedc.errors import FormatError

FINGERPRINT = bytes(range(32))
HEADER = Header(model_id=200, quality=64, width=768, height=512)
PAYLOAD = bytes(range(1, 200))
FILE = pack(HEADER, PAYLOAD, FINGERPRINT, form=Form.FULL)


def overwrite(at: int, values: bytes, data: bytes = FILE) -> bytes:
    """`data` with other bytes at `at` and a checksum that fits."""
    return seal(data[:at] + values + data[at + len(values) :], FINGERPRINT)


@pytest.mark.parametrize(
    ("width", "height", "size"),
    [(1, 1, 10), (127, 127, 10), (128, 127, 11), (16383, 16383, 12), (16384, 1, 12), (65535, 65535, 14)],
)
def test_header_size(width: int, height: int, size: int) -> None:
    header = Header(model_id=255, quality=255, width=width, height=height)
    data = pack(header, b"", FINGERPRINT, form=Form.FULL)
    assert len(data) == size
    assert unpack(data, fingerprint=FINGERPRINT, max_pixels=1 << 32).header == read_header(data) == header


@pytest.mark.parametrize(
    ("width", "height", "original", "quality", "size"),
    [
        (768, 512, None, 0, 5),
        (768, 512, None, 200, 6),
        (512, 768, None, 0, 5),
        (1365, 768, None, 1, 6),
        (4096, 4095, None, 0, 6),
        (4095, 4096, None, 1, 7),
        (640, 480, (4032, 3024), 0, 7),
        (640, 480, (4032, 3024), 5, 8),
        (300, 199, (6001, 3980), 0, 8),
        (300, 199, (6001, 3980), 9, 9),
    ],
)
def test_compact_header_size(
    width: int, height: int, original: tuple[int, int] | None, quality: int, size: int
) -> None:
    for model_id, more in ((1, 0), (255, 1)):
        header = Header(model_id=model_id, quality=quality, width=width, height=height, original=original)
        checked = pack(header, b"", FINGERPRINT)
        unchecked = pack(header, b"", FINGERPRINT, form=Form.UNCHECKED)
        full = pack(header, b"", FINGERPRINT, form=Form.FULL)
        assert (len(checked), len(unchecked)) == (size + more, size + more - 1)
        for data, form in ((checked, Form.COMPACT), (unchecked, Form.UNCHECKED), (full, Form.FULL)):
            assert begins_file(data)
            contents = unpack(data, fingerprint=FINGERPRINT)
            assert contents == (header, b"", {}, form)
            assert pack(contents.header, b"", FINGERPRINT, form=form) == data


@pytest.mark.parametrize(
    ("header", "payload", "sections", "form"),
    [
        (HEADER, bytes(1017), {}, Form.COMPACT),
        (HEADER, bytes(1018), {}, Form.FULL),
        (HEADER, b"", {SECTION_ICC: b"x"}, Form.FULL),
        (Header(model_id=1, quality=0, width=4096, height=4096), b"", {}, Form.COMPACT),
        (Header(model_id=1, quality=0, width=4096, height=4097), b"", {}, Form.FULL),
        (Header(model_id=1, quality=0, width=9, height=3, original=(16384, 5461)), b"", {}, Form.COMPACT),
        (Header(model_id=1, quality=0, width=9, height=3, original=(16385, 5462)), b"", {}, Form.FULL),
        (Header(model_id=1, quality=0, width=9, height=6, original=(65535, 43690)), b"", {}, Form.COMPACT),
    ],
)
def test_which_form_a_writer_takes(
    header: Header, payload: bytes, sections: dict[int, bytes], form: Form
) -> None:
    data = pack(header, payload, FINGERPRINT, sections)
    assert unpack(data, fingerprint=FINGERPRINT, max_pixels=1 << 40) == (header, payload, sections, form)


def test_what_the_compact_form_cannot_hold_is_refused() -> None:
    with pytest.raises(FormatError, match="only the full form"):
        pack(HEADER, PAYLOAD, FINGERPRINT, {SECTION_ICC: b"x"}, form=Form.UNCHECKED)
    with pytest.raises(FormatError, match="height 4097 is not between 1 and 4096"):
        large = Header(model_id=1, quality=0, width=4090, height=4097)
        pack(large, PAYLOAD, FINGERPRINT, form=Form.COMPACT)
    larger = pack(HEADER, bytes(1018), FINGERPRINT, form=Form.COMPACT)
    with pytest.raises(FormatError, match="1025 bytes in the compact form"):
        unpack(larger, fingerprint=FINGERPRINT)
    unchecked = pack(HEADER, bytes(5000), FINGERPRINT, form=Form.UNCHECKED)
    assert len(unpack(unchecked, fingerprint=FINGERPRINT).payload) == 5000


@pytest.mark.parametrize(
    ("width", "height", "original"), [(300, 201, (6000, 4000)), (60, 40, (60, 40)), (90, 60, (60, 40))]
)
def test_a_size_that_is_not_the_original_shrunk_is_refused(
    width: int, height: int, original: tuple[int, int]
) -> None:
    with pytest.raises(FormatError, match=r"is not \d+x40\d* shrunk|is not \d+x40 shrunk"):
        Header(model_id=1, quality=0, width=width, height=height, original=original)


def test_ratios_are_distinct_and_turned_ones_are_there() -> None:
    assert len(set(RATIOS)) == len(RATIOS) < 16
    assert {(height, width) for width, height in RATIOS} == set(RATIOS)
    assert [working_size(*ratio, 1000) for ratio in ((3, 2), (2, 3), (16, 9))] == [
        (1000, 667),
        (667, 1000),
        (1000, 563),
    ]
    assert working_size(6000, 1, 10) == (10, 1)


def test_unpack_gives_back_what_was_packed() -> None:
    contents = unpack(FILE, fingerprint=FINGERPRINT, model_id=200, least_position_millibits=14000)
    assert contents == (HEADER, PAYLOAD, {}, Form.FULL)
    assert read_header(FILE) == HEADER


def test_sections_round_trip_in_the_order_of_ids() -> None:
    sections = {SECTION_EXIF: b"MM\0*", SECTION_ICC: bytes(300), SECTION_ALPHA: b""}
    contents = unpack(pack(HEADER, PAYLOAD, FINGERPRINT, sections), fingerprint=FINGERPRINT)
    assert contents == (HEADER, PAYLOAD, sections, Form.FULL)
    assert list(contents.sections) == [SECTION_ALPHA, SECTION_ICC, SECTION_EXIF]
    with pytest.raises(FormatError, match="section id 4 is not defined"):
        pack(HEADER, PAYLOAD, FINGERPRINT, {4: b""})


def with_sections(packed: bytes) -> bytes:
    return seal(FILE[:2] + b"\x11" + FILE[3:12] + packed + FILE[12:], FINGERPRINT)


def test_unknown_sections_are_skipped_only_if_they_say_so() -> None:
    contents = unpack(with_sections(b"\x90\x02hi\x00"), fingerprint=FINGERPRINT)
    assert contents == (HEADER, PAYLOAD, {0x90: b"hi"}, Form.FULL)
    with pytest.raises(FormatError, match="section 16 is unknown"):
        unpack(with_sections(b"\x10\x02hi\x00"), fingerprint=FINGERPRINT)


@pytest.mark.parametrize(
    ("packed", "message"),
    [
        (b"\x00", "out of order, or there is none"),
        (b"\x82\x00\x81\x00\x00", "out of order"),
        (b"\x81\x00\x81\x00\x00", "out of order"),
        (b"\x81\x81\x00", "shortest form"),
        (b"\x81\xff\xff\xff\xff\x7f", "not complete"),
        (b"\x81\xff\xff\xff\xff\xff", "shortest form"),
    ],
)
def test_malformed_sections_are_refused(packed: bytes, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        unpack(with_sections(packed), fingerprint=FINGERPRINT)


def test_every_cut_is_refused() -> None:
    sections = {SECTION_ICC: bytes(9)}
    whole = pack(HEADER, b"", FINGERPRINT, sections)
    for length in range(len(whole)):
        with pytest.raises(FormatError, match=r"cut short|not a \.1dc file"):
            unpack(whole[:length], fingerprint=None)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not a .1dc file"),
        (b"\x89PNG\r\n\x1a\n" + bytes(40), "not a .1dc file"),
        (overwrite(2, b"\x20"), "format version 2 is not 1"),
        (overwrite(2, b"\x00"), "format version 0 is not 1"),
        (overwrite(2, b"\x14"), "flags 0x4"),
        (overwrite(8, b"\x00"), "width 0 is not between 1 and 65535"),
        (overwrite(8, b"\x80\x00"), "shortest form"),
        (overwrite(8, b"\xff\xff\x7f\x01"), "width 2097151 is not between"),
        (overwrite(8, b"\xff\xff\xff\xff\xff\xff"), "shortest form"),
        (overwrite(8, b"\xff\xff\x03\xff\xff\x03"), "more than the limit"),
        (FILE[:-1] + b"\0", "checksum mismatch"),
        (FILE[:-1], "checksum mismatch"),
        (FILE + b"\0", "checksum mismatch"),
    ],
)
def test_malformed_files_are_refused(data: bytes, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        unpack(data, fingerprint=FINGERPRINT)


def test_the_checksum_covers_every_byte_and_the_fingerprint() -> None:
    for at in range(len(FILE)):
        for bit in (1, 0x80):
            damaged = FILE[:at] + bytes([FILE[at] ^ bit]) + FILE[at + 1 :]
            with pytest.raises(FormatError):
                unpack(damaged, fingerprint=FINGERPRINT)
    with pytest.raises(FormatError, match="other weights"):
        unpack(FILE, fingerprint=FINGERPRINT[::-1])


def test_the_checksum_of_a_compact_file_misses_no_damage_within_a_byte() -> None:
    data = pack(HEADER, PAYLOAD[:60], FINGERPRINT)
    for at in range(len(data)):
        for change in range(1, 256):
            damaged = data[:at] + bytes([data[at] ^ change]) + data[at + 1 :]
            if at == 1 and damaged[1] >> 4 == Form.UNCHECKED.value:
                assert change.bit_count() > 2
                continue
            with pytest.raises(FormatError):
                unpack(damaged, fingerprint=FINGERPRINT)
    with pytest.raises(FormatError, match="other weights"):
        unpack(data, fingerprint=FINGERPRINT[::-1])


def test_a_file_without_a_check_is_not_verified() -> None:
    data = pack(HEADER, PAYLOAD, FINGERPRINT, form=Form.UNCHECKED)
    assert unpack(data, fingerprint=FINGERPRINT[::-1]) == (HEADER, PAYLOAD, {}, Form.UNCHECKED)


def test_compact_headers_that_no_writer_makes_are_refused() -> None:
    """The same facts in more bytes, a ratio that is none, no quality where one is due."""
    named = bytes.fromhex("1DB6 00 01 12FF")  # model 1 named
    plain = bytes.fromhex("1DB0 00 2FF1FF")  # 768x512 by both sides
    unknown = bytes.fromhex("1DB4 00 F2FF")
    second = bytes.fromhex("1DB4 00 1000")  # one pixel as 3:2
    nothing = bytes.fromhex("1DB5 00 00 12FF")
    larger = bytes.fromhex("1DBC 00 102FF2FF")  # shrunk to what it was
    for data, message in (
        (named, "shortest form"),
        (plain, "shortest form"),
        (unknown, "ratio 15 is not between 0 and 14"),
        (second, "shortest form"),
        (nothing, "quality 0 is not between 1 and 255"),
        (larger, "shrunk"),
    ):
        with pytest.raises(FormatError, match=message):
            unpack(seal(data, FINGERPRINT), fingerprint=FINGERPRINT)


def test_partial_skips_the_checksum_alone() -> None:
    cut = FILE[:-100]
    assert unpack(cut, fingerprint=FINGERPRINT, partial=True).payload == PAYLOAD[:-100]
    with pytest.raises(FormatError, match="cut short or damaged"):
        unpack(cut, fingerprint=FINGERPRINT, partial=True, least_position_millibits=14000)


def test_size_is_bounded_by_the_callers_limit() -> None:
    assert unpack(FILE, fingerprint=FINGERPRINT, max_pixels=768 * 512).header == HEADER
    with pytest.raises(FormatError, match="768x512 pixels, more than the limit of 393215; raise max_pixels"):
        unpack(FILE, fingerprint=FINGERPRINT, max_pixels=768 * 512 - 1)


def test_size_is_bounded_by_the_payload() -> None:
    """20 bytes of payload cannot hold z of 16383x16383 pixels, whatever the caller's limit."""
    header = Header(model_id=200, quality=255, width=16383, height=16383)
    bomb = pack(header, bytes(20), FINGERPRINT)
    with pytest.raises(FormatError, match="take at least 114687 bytes, there are 20"):
        unpack(bomb, fingerprint=FINGERPRINT, max_pixels=1 << 40, least_position_millibits=14000)
    assert least_payload_bytes(Header(model_id=0, quality=0, width=64, height=64), 14000) == 1
    assert least_payload_bytes(Header(model_id=0, quality=0, width=65, height=64), 14000) == 3
    headers = [Header(model_id=0, quality=0, width=64 * w, height=64 * h) for w, h in [(571, 2), (127, 9)]]
    assert [(h.positions, least_payload_bytes(h, 7)) for h in headers] == [(1142, 0), (1143, 1)]


def test_a_foreign_model_is_named() -> None:
    with pytest.raises(FormatError, match=r"needs model 200 \(private.*loaded is 0 \(experimental"):
        unpack(FILE, fingerprint=FINGERPRINT, model_id=0)
    assert describe_model(1) == "1 (small)"
    assert "unknown" in describe_model(7)


@pytest.mark.parametrize("field", ["width", "height"])
@pytest.mark.parametrize("value", [0, 65536])
def test_a_header_checks_itself(field: str, value: int) -> None:
    with pytest.raises(FormatError, match=f"{field} {value} is not between 1 and 65535"):
        Header(**{"model_id": 0, "quality": 0, "width": 1, "height": 1, field: value})


def test_the_container_needs_neither_numpy_nor_torch() -> None:
    code = (
        "import sys, onedc.container.info; assert not {'numpy', 'torch', 'constriction'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
