"""Codec: what it takes, what it gives, what it refuses; on the fixture model, by both engines."""

from __future__ import annotations

import io
import re
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from tests.conformance.fixture_model import FIXTURE, MODEL_ID
from tests.conformance.pictures import picture
from tests.conformance.recording import recorded

from onedc import loading
from onedc.codec import Codec
from onedc.container.header import Header
from onedc.container.info import info
from onedc.container.packing import pack, quality_byte, read_header, unpack
from onedc.container.side_data import DESCRIPTION
from onedc.entropy.tables import load_tables
from onedc.errors import ConfigError, FormatError, ImageError
from onedc.latents import BEYOND_FROM
from onedc.loading import bundled_codec, load
from onedc.pillow import open as onedc_open

PICTURE = picture(90, 70)


@pytest.fixture(scope="module", params=["torch", "onnx"])
def codec(request: pytest.FixtureRequest, with_graphs: Path) -> Codec:
    return load(with_graphs, engine=request.param, precision="fp32")


@pytest.fixture(scope="module")
def data(codec: Codec) -> bytes:
    return codec.encode(PICTURE, quality=50)


def ideal_bits(symbols: NDArray[np.int32], table_idx: NDArray[np.uint8]) -> float:
    """Information of symbols by the frozen tables, escapes as base-4 digits included."""
    tables, symbols = load_tables(), symbols.ravel()
    table_idx = table_idx.ravel()
    escape = (tables.length - 2)[table_idx]
    above = symbols - tables.offset[table_idx]
    escaped = (above < 0) | (above >= escape)
    bins = np.where(escaped, escape, above)
    mass = (tables.cdf[table_idx, bins + 1] - tables.cdf[table_idx, bins]) / 65536
    folded = np.where(above < 0, -2 * above - 1, 2 * (above - escape))[escaped]
    digits = sum((folded >= 4**k).astype(int) for k in range(9))
    return float(-np.log2(mass).sum() + (2 * (digits // 3 + 1) + 2 * digits).sum())


@pytest.mark.parametrize("size", [(1, 1), (64, 64), (65, 3), (1, 130)])
@pytest.mark.parametrize("quality", [0, 40])
def test_any_size_comes_back(codec: Codec, size: tuple[int, int], quality: float) -> None:
    decoded = codec.decode(codec.encode(picture(*size), quality=quality))
    assert decoded.size == size


def test_inputs_of_every_kind_give_the_same_bytes(codec: Codec, data: bytes) -> None:
    tensor = torch.from_numpy(PICTURE).permute(2, 0, 1).float().mul(2 / 255).sub(1)
    assert codec.encode(Image.fromarray(PICTURE), quality=50) == data
    assert codec.encode(tensor, quality=50) == data


def test_outputs_of_every_kind_are_the_same_picture(codec: Codec, data: bytes) -> None:
    pil, array = codec.decode(data), codec.decode(data, output="numpy")
    tensor = codec.decode(data, output="torch")
    assert np.array_equal(np.asarray(pil), array)
    assert (tensor.shape, tensor.dtype) == ((3, 70, 90), torch.float32)
    back = ((tensor + 1) * 127.5).permute(1, 2, 0).numpy()
    assert abs(back - array).max() <= 0.5001


@pytest.mark.parametrize("quality", [5, 50, 100])
def test_the_payload_is_near_the_ideal(codec: Codec, quality: float) -> None:
    data = codec.encode(PICTURE, quality=quality)
    with recorded(codec) as recording:
        codec.decode(data)
    bits = sum(map(ideal_bits, recording.symbols, recording.table_idx)) + 14 * recording.z_idx.size
    payload = unpack(data, fingerprint=codec.model.fingerprint).payload
    assert bits / 8 - 1 <= len(payload) <= bits / 8 * 1.001 + 4


def test_z_only_file_has_the_stated_size(codec: Codec) -> None:
    assert len(codec.encode(picture(768, 768), quality=0)) <= 266


def test_higher_quality_takes_more_bytes(codec: Codec) -> None:
    sizes = [len(codec.encode(PICTURE, quality=quality)) for quality in (0, 10, 50, 100)]
    assert sizes == sorted(set(sizes))


def test_a_batch_of_several_qualities(codec: Codec) -> None:
    files = [codec.encode(PICTURE, quality=quality) for quality in (0, 30, 100)]
    together = codec.decode_batch(files, output="torch")
    for data, decoded in zip(files, together, strict=True):
        assert (codec.decode(data, output="torch") - decoded).abs().max() < 0.01
    assert codec.decode_batch([]) == []


def test_the_preview_of_any_file_is_its_z_only_picture(codec: Codec, data: bytes) -> None:
    z_only = codec.encode(PICTURE, quality=0)
    preview = codec.decode(data, preview=True, output="numpy")
    assert np.array_equal(preview, codec.decode(z_only, output="numpy"))
    assert not np.array_equal(preview, codec.decode(data, output="numpy"))


def test_partial_shows_z_and_every_whole_part_of_y(codec: Codec, data: bytes) -> None:
    preview, whole = (codec.decode(data, preview=p, output="numpy") for p in (True, False))
    shortest = next(n for n in range(10, 60) if _decodes(codec, data[:n]))
    assert shortest <= 12 + 14 * 4 // 8 + 2
    notes = []
    for cut in (shortest, shortest + 1, *range(150, len(data), 60), len(data) - 1, len(data)):
        shown = codec.decode(data[:cut], partial=True)
        notes.append(shown.info[DESCRIPTION])
        assert notes[-1].endswith("; the file was not verified")
        assert np.array_equal(np.asarray(shown), preview) == ("semantic layer alone" in notes[-1])
        assert np.array_equal(np.asarray(shown), whole) == (cut == len(data))
        assert np.array_equal(codec.decode(data[:cut], partial=True, preview=True, output="numpy"), preview)
    parts = [re.search(r"from (\d) of 4 parts", note) for note in notes]
    assert [int(found[1]) for found in parts if found] == sorted(int(found[1]) for found in parts if found)
    assert {found[1] for found in parts if found} == {"1", "2", "3"}


def test_the_parts_of_a_cut_file_are_those_of_the_whole(codec: Codec, data: bytes) -> None:
    with recorded(codec) as whole:
        codec.decode(data)
    with recorded(codec) as cut:
        codec.decode(data[: len(data) - 40], partial=True)
    for part in range(3):
        assert np.array_equal(whole.symbols[part], cut.symbols[part])
    assert not cut.symbols[3].any() and np.array_equal(whole.table_idx[3], cut.table_idx[3])


def test_a_file_without_a_checksum_says_so(codec: Codec) -> None:
    data = codec.encode(PICTURE, quality=0, check=False)
    checked = codec.encode(PICTURE, quality=0)
    assert len(data) == len(checked) - 1
    assert info(data).check_bits == 0 and info(checked).check_bits == 8
    assert codec.decode(data).info[DESCRIPTION].endswith("; the file was not verified")
    assert np.array_equal(codec.decode(data, output="numpy"), codec.decode(checked, output="numpy"))
    with pytest.raises(FormatError, match="no checksum"):
        codec.verify(data)
    codec.verify(checked)


def test_max_side_and_full_size(codec: Codec) -> None:
    data = codec.encode(PICTURE, max_side=45)
    found = info(data)
    assert (found.width, found.height) == (45, 35)
    assert (found.original_width, found.original_height) == (90, 70)
    assert codec.decode(data).size == (45, 35)
    assert codec.decode(data, full_size=True).size == (90, 70)
    assert codec.decode(data, full_size=True, output="torch").shape == (3, 70, 90)
    small = codec.decode(data, full_size=True, output="numpy")
    assert small.shape == (70, 90, 3)
    with pytest.raises(FormatError, match="declares 90x70 pixels, more than the limit of 6000"):
        codec.decode(data, full_size=True, max_pixels=6000)
    assert codec.decode(data, max_pixels=6000).size == (45, 35)
    tensor = torch.from_numpy(PICTURE).permute(2, 0, 1) / 127.5 - 1
    assert codec.encode(tensor, max_side=45) == data
    assert codec.encode(PICTURE, max_side=90) == codec.encode(PICTURE)
    with pytest.raises(ConfigError, match="max_side 0"):
        codec.encode(PICTURE, max_side=0)


def _decodes(codec: Codec, data: bytes) -> bool:
    try:
        codec.decode(data, partial=True)
    except FormatError:
        return False
    return True


@pytest.mark.parametrize(
    "change",
    ["cut", "longer", "flipped", "other model", "other weights", "text", "alpha", "ICC profile", "EXIF"],
)
def test_damaged_and_foreign_files_are_refused(codec: Codec, data: bytes, change: str) -> None:
    header, payload, _, _ = unpack(data, fingerprint=None)
    sides = {"width": header.width, "height": header.height, "quality": header.quality}
    changed: Any = {
        "cut": pack(header, payload[:-1], codec.model.fingerprint),
        "longer": pack(header, payload + b"\0", codec.model.fingerprint),
        "flipped": data[:-3] + bytes([data[-3] ^ 1]) + data[-2:],
        "other model": pack(Header(model_id=7, **sides), payload, codec.model.fingerprint),
        "other weights": pack(header, payload, bytes(32)),
        "text": "not bytes",
        "alpha": pack(header, payload, codec.model.fingerprint, {3: b"x"}),
        "ICC profile": pack(header, payload, codec.model.fingerprint, {0x81: b"\x4b\x04\x00"}),
        "EXIF": pack(header, payload, codec.model.fingerprint, {0x82: b"x"}),
    }[change]
    with pytest.raises(FormatError):
        codec.decode(changed)


def test_pictures_above_the_limit_are_refused(codec: Codec, data: bytes) -> None:
    with pytest.raises(FormatError, match="more than the limit"):
        codec.decode(data, max_pixels=90 * 70 - 1)
    codec.decode(data, max_pixels=90 * 70)


def test_a_batch_of_sizes_that_pad_alike(codec: Codec) -> None:
    pictures = [picture(90, 70), picture(128, 128), picture(65, 100)]
    files = [codec.encode(x) for x in pictures]
    assert codec.encode_batch(pictures) == files
    for x, decoded in zip(pictures, codec.decode_batch(files, output="numpy"), strict=True):
        assert decoded.shape == x.shape


def test_batches_need_one_size(codec: Codec, data: bytes) -> None:
    with pytest.raises(FormatError, match="one picture size"):
        codec.decode_batch([data, codec.encode(picture(64, 64))])
    with pytest.raises(ImageError, match="one size"):
        codec.encode_batch([PICTURE, picture(64, 64)])


@pytest.mark.parametrize(
    "image",
    [
        "a path",
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        np.zeros((0, 4, 3), np.uint8),
        torch.zeros(4, 4, 3),
        torch.zeros(3, 4, 4, dtype=torch.uint8),
        torch.full((3, 4, 4), 1.5),
        torch.full((3, 4, 4), float("nan")),
        Image.new("RGBA", (4, 4), (0, 0, 0, 0)),
    ],
)
def test_what_is_no_picture_is_refused(codec: Codec, image: Any) -> None:
    with pytest.raises(ImageError):
        codec.encode(image)


@pytest.mark.parametrize("quality", [-0.1, 100.1, float("nan"), "50", None])
def test_qualities_out_of_range_are_refused(codec: Codec, quality: Any) -> None:
    with pytest.raises(ConfigError, match="quality"):
        codec.encode(PICTURE, quality=quality)


def test_quality_is_the_header_byte_over_2_55(codec: Codec, data: bytes) -> None:
    assert [quality_byte(q) for q in (0, 1, 50, 100)] == [0, 3, 128, 255]
    assert read_header(data) == Header(model_id=MODEL_ID, quality=128, width=90, height=70)


@pytest.mark.parametrize(
    "options", [{"precision": "fp8"}, {"threads": 0}, {"device": "nowhere"}, {"device": "cuda:99"}]
)
def test_bad_options_of_load_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        load(FIXTURE, **options)


def test_unknown_output_is_refused(codec: Codec, data: bytes) -> None:
    with pytest.raises(ConfigError, match="output"):
        codec.decode(data, output="jpeg")  # type: ignore[call-overload]


def test_pictures_and_files_come_from_paths_bytes_and_file_objects(
    codec: Codec, data: bytes, tmp_path: Path
) -> None:
    path, coded = tmp_path / "a.png", tmp_path / "a.1dc"
    Image.fromarray(PICTURE).save(path)
    coded.write_bytes(data)
    for picture_file in (path, str(path), path.read_bytes(), io.BytesIO(path.read_bytes())):
        assert codec.encode(picture_file, quality=50) == data
    expected = codec.decode(data, output="numpy")
    for file in (coded, str(coded), io.BytesIO(data), bytearray(data), memoryview(data)):
        assert np.array_equal(codec.decode(file, output="numpy"), expected)
    fsspec = pytest.importorskip("fsspec")
    memory = fsspec.filesystem("memory")
    memory.pipe({"/a.png": path.read_bytes(), "/a.1dc": data})
    with memory.open("/a.png") as picture_file, memory.open("/a.1dc") as file:
        assert codec.encode(picture_file, quality=50) == data
        assert np.array_equal(codec.decode(file, output="numpy"), expected)
        file.seek(0)
        assert info(file).size_bytes == len(data)
        file.seek(0)
        with onedc_open(file, codec=codec) as image:
            assert image.size == (90, 70) and np.array_equal(np.asarray(image), expected)
    with open(__file__, encoding="utf-8") as text, pytest.raises(FormatError, match="open it as binary"):
        codec.decode(text)  # type: ignore[arg-type]
    with pytest.raises(FormatError, match=r"absent\.1dc: cannot be read"):
        codec.decode("absent.1dc")


def test_threads_share_a_codec(codec: Codec) -> None:
    pictures = [picture(70 + 9 * n, 64 + 5 * n) for n in range(6)]
    files = [codec.encode(x, quality=15 * n) for n, x in enumerate(pictures)]
    decoded = [codec.decode(data, output="numpy") for data in files]

    def both_ways(n: int) -> tuple[bytes, NDArray[np.uint8]]:
        return codec.encode(pictures[n], quality=15 * n), codec.decode(files[n], output="numpy")

    with ThreadPoolExecutor(4) as pool:
        for n, (data, pixels) in zip([*range(6)] * 4, pool.map(both_ways, [*range(6)] * 4), strict=True):
            assert data == files[n] and np.array_equal(pixels, decoded[n])


def test_threads_load_the_bundled_model_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "_load_bundled", cache(lambda: load(FIXTURE)))
    with ThreadPoolExecutor(4) as pool:
        assert len(set(map(id, pool.map(lambda _: bundled_codec(), range(8))))) == 1


def test_bf16_decodes_nearly_the_same_picture(codec: Codec, data: bytes) -> None:
    coarse = load(FIXTURE, precision="bf16").decode(data, output="torch")
    assert (coarse - codec.decode(data, output="torch")).abs().mean() < 0.05


@pytest.mark.parametrize(
    "how",
    [
        {"quality": 40},
        {"quality": 0},
        {"target_bytes": 300, "check": False},
        {"target_bytes": 700, "shrink": False, "keep": ["alpha"]},
        {"quality": 50, "effort": 1},
    ],
)
def test_what_is_shown_is_what_decodes(codec: Codec, how: dict[str, Any]) -> None:
    image = Image.fromarray(picture(90, 70) if "effort" in how else picture(200, 150))
    if "keep" in how:
        image.putalpha(Image.linear_gradient("L").resize(image.size))
    rate = {key: value for key, value in how.items() if key != "target_bytes"}
    limit = how.get("target_bytes")
    data = codec.encode(image, **rate) if limit is None else codec.encode_to_size(image, limit, **rate)
    decoded = codec.decode(data)
    again, shown = codec.encode_and_show(image, **how)
    assert again == data
    assert np.array_equal(np.asarray(shown), np.asarray(decoded))
    assert shown.mode == decoded.mode and shown.info == decoded.info


@pytest.mark.parametrize("size", [(65, 129), (100, 70)])
def test_what_lies_beyond_a_small_picture_costs_little(codec: Codec, size: tuple[int, int]) -> None:
    pixels, (width, height) = picture(*size), size
    with recorded(codec) as recording:
        codec.decode(codec.encode(pixels, quality=BEYOND_FROM / 2.55 - 1))
    rows, columns = -(-height // 16), -(-width // 16)
    for symbols in recording.symbols:
        assert symbols[0, :, :rows, :columns].any()
        assert not symbols[0, :, rows:].any() and not symbols[0, :, :, columns:].any()
    with recorded(codec) as recording:
        codec.decode(codec.encode(pixels, quality=BEYOND_FROM / 2.55))
    assert any(
        symbols[0, :, rows:].any() or symbols[0, :, :, columns:].any() for symbols in recording.symbols
    )
