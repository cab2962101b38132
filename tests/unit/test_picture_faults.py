"""Files that bit users elsewhere: read as they look, or refused in one line."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin
from tests.unit.test_image import gradient, read_with_remark, saved

from onedc.errors import ImageError, PictureWarning
from onedc.image import read_image, read_picture, to_picture

RGB = gradient(40, 56)
RGB[...] = np.random.default_rng(0).integers(0, 256, (5, 7, 1)).repeat(8, 0).repeat(8, 1).astype(np.uint8)
RGB[..., 1] //= 2
GREY = RGB[..., 0]
HEIGHT, WIDTH = GREY.shape


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(rows: np.ndarray, *chunks: bytes, depth: int = 8) -> bytes:
    """A PNG of [H,W,3] or [H,W] samples, with more chunks before the picture's."""
    samples = rows.astype(">u2" if depth == 16 else "u1")
    lines = b"".join(b"\0" + line.tobytes() for line in samples)
    size = struct.pack(">IIBBBBB", rows.shape[1], rows.shape[0], depth, 2 if rows.ndim == 3 else 0, 0, 0, 0)
    parts = (chunk(b"IHDR", size), *chunks, chunk(b"IDAT", zlib.compress(lines)), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def tiff(samples: np.ndarray, bits: int, **tags: int | Sequence[int]) -> bytes:
    """A little-endian TIFF of one strip, [H,W] or [H,W,3]; `tags` are t<number>=value."""
    height, width, *rest = samples.shape
    if bits == 12:
        pairs = samples.reshape(-1, 2).astype(int)
        packed = [pairs[:, 0] >> 4, (pairs[:, 0] & 15) << 4 | pairs[:, 1] >> 8, pairs[:, 1] & 255]
        data = np.stack(packed, axis=1).astype(np.uint8).tobytes()
    else:
        data = samples.tobytes()
    bands = rest[0] if rest else 1
    entries: dict[int, int | Sequence[int]] = {
        256: width, 257: height, 258: [bits] * bands, 259: 1, 262: 2 if rest else 1, 273: 0, 277: bands,
        278: height, 279: len(data),
    }  # fmt: skip
    entries |= {int(name[1:]): value for name, value in tags.items()}
    start = 8 + 2 + 12 * len(entries) + 4
    directory, beyond = struct.pack("<H", len(entries)), b""
    for tag in sorted(entries):
        value = entries[tag]
        values = [value] if isinstance(value, int) else list(value)
        body = struct.pack(f"<{len(values)}I", *values)
        if len(body) > 4:
            body, beyond = struct.pack("<I", start + len(beyond)), beyond + body
        directory += struct.pack("<HHI", tag, 4, len(values)) + body
    place = struct.pack("<I", start + len(beyond))
    old = struct.pack("<HHII", 273, 4, 1, 0)
    return b"II*\0\x08\0\0\0" + directory.replace(old, old[:8] + place) + bytes(4) + beyond + data


def near(found: np.ndarray, expected: np.ndarray, most: float) -> bool:
    return found.shape == expected.shape and float(np.abs(found.astype(int) - expected).mean()) <= most


# Samples


@pytest.mark.parametrize("inverted", [False, True])
@pytest.mark.parametrize("bits", [12, 16])
def test_tiff_samples_are_scaled_by_their_bits(bits: int, inverted: bool) -> None:
    samples = (GREY.astype(np.uint32) * (2**bits - 1) // 255).astype(np.uint16)
    if bits == 12 and inverted:  # not among what Pillow reads
        pytest.skip()
    data = tiff(2**bits - 1 - samples if inverted else samples, bits, t262=0 if inverted else 1)
    assert near(read_image(data)[..., 0], GREY, 0.5)


def test_a_declared_white_counts() -> None:
    assert near(read_image(tiff(GREY.astype(np.uint16) * 4, 16, t281=1020))[..., 0], GREY, 0)


@pytest.mark.parametrize(
    "data",
    [
        saved(Image.fromarray(GREY.astype(np.uint16))),
        saved(Image.fromarray(GREY.astype(np.uint16) * 16), "TIFF"),
        png(RGB.astype(np.uint16) * 16, depth=16),
        png(RGB, depth=16),
    ],
    ids=["8 in 16 grey", "12 in 16 grey", "12 in 16 RGB", "8 in 16 RGB"],
)
def test_fewer_bits_in_16_are_refused(data: bytes) -> None:
    with pytest.raises(ImageError, match="not clear what is white"):
        read_image(data)


@pytest.mark.parametrize("most", [255, 4095])
@pytest.mark.parametrize("kind", [np.int32, np.uint16])
def test_integer_images_of_no_known_scale_are_refused(kind: type, most: int) -> None:
    with pytest.raises(ImageError, match="not clear what is white"):
        to_picture(Image.fromarray((GREY.astype(int) * most // 255).astype(kind)))


def test_black_is_black_at_any_scale() -> None:
    assert not to_picture(Image.fromarray(np.zeros((2, 2), np.uint16))).rgb.any()


@pytest.mark.parametrize(("kind", "code"), [(np.int16, 2), (np.int32, 2), (np.uint32, 1), (np.float32, 3)])
def test_samples_without_a_range_are_refused(kind: type, code: int) -> None:
    bits = 8 * np.dtype(kind).itemsize
    with pytest.raises(ImageError, match="no fixed range"):
        read_image(tiff(GREY.astype(kind), bits, t339=code))


def test_ppm_says_its_white() -> None:
    data = b"P5 %d %d 4095\n" % (WIDTH, HEIGHT) + (GREY.astype(int) * 4095 // 255).astype(">u2").tobytes()
    assert near(read_image(data)[..., 0], GREY, 0.6)


# Colours


def linear(rgb: np.ndarray) -> np.ndarray:
    share = rgb / 255
    return np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)


def to_p3(rgb: np.ndarray) -> np.ndarray:
    """sRGB to Display P3 with sRGB's curve, in floats of 0..65535; its matrix is that of Apple's note."""
    matrix = np.array([[0.8225, 0.1774, 0], [0.0332, 0.9669, 0], [0.0171, 0.0724, 0.9108]])
    light = linear(rgb) @ matrix.T
    share = np.where(light <= 0.0031308, light * 12.92, 1.055 * light.clip(0) ** (1 / 2.4) - 0.055)
    return np.asarray((share.clip(0, 1) * 65535).round())


P3_CHROMATICITIES = struct.pack(">8I", 31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000)


@pytest.mark.parametrize(
    "said",
    [
        (chunk(b"cICP", bytes([12, 13, 0, 1])),),
        (chunk(b"gAMA", struct.pack(">I", 45455)), chunk(b"cHRM", P3_CHROMATICITIES)),
        (chunk(b"cHRM", P3_CHROMATICITIES),),
    ],
    ids=["cICP", "gAMA, cHRM", "cHRM"],
)
def test_wide_colours_of_png_are_converted(said: tuple[bytes, ...]) -> None:
    data = png(to_p3(RGB), *said, depth=16)
    assert near(read_image(data), RGB, 1)
    assert not near(read_image(png(to_p3(RGB), depth=16)), RGB, 2)  # there is something to convert
    assert read_picture(data, keep=["icc"]).side_data.icc is not None


def test_linear_png_is_converted() -> None:
    rows = (linear(RGB) * 65535).round()
    assert near(read_image(png(rows, chunk(b"gAMA", struct.pack(">I", 100000)), depth=16)), RGB, 6)
    grey = (linear(GREY) * 255).round()
    assert near(read_image(png(grey, chunk(b"gAMA", struct.pack(">I", 100000))))[..., 0], GREY, 6)


@pytest.mark.parametrize(
    "said",
    [
        (chunk(b"gAMA", struct.pack(">I", 45455)),),
        (chunk(b"sRGB", b"\0"), chunk(b"gAMA", struct.pack(">I", 100000))),
        (chunk(b"cICP", bytes([1, 13, 0, 1])), chunk(b"gAMA", struct.pack(">I", 100000))),
    ],
    ids=["gAMA", "sRGB before gAMA", "cICP before gAMA"],
)
def test_srgb_said_in_other_words_changes_nothing(said: tuple[bytes, ...]) -> None:
    assert np.array_equal(read_image(png(RGB, *said)), RGB)


@pytest.mark.parametrize(("transfer", "name"), [(16, "PQ"), (18, "HLG")])
def test_hdr_is_refused(transfer: int, name: str) -> None:
    with pytest.raises(ImageError, match=rf"for HDR \({name}\)"):
        read_image(png(RGB, chunk(b"cICP", bytes([9, transfer, 0, 1]))))
    avif = saved(Image.fromarray(RGB), "AVIF", quality=95)
    place = avif.index(b"colrnclx") + 8
    with pytest.raises(ImageError, match=rf"for HDR \({name}\)"):
        read_image(avif[:place] + struct.pack(">HH", 9, transfer) + avif[place + 4 :])


def test_wide_colours_of_avif_are_converted() -> None:
    avif = saved(
        Image.fromarray((to_p3(RGB) / 257).astype(np.uint8)), "AVIF", quality=100, subsampling="4:4:4"
    )
    place = avif.index(b"colrnclx") + 8
    assert near(read_image(avif[:place] + struct.pack(">HH", 12, 13) + avif[place + 4 :]), RGB, 3)


def test_nonsense_about_colours_is_ignored() -> None:
    for said in (chunk(b"gAMA", bytes(4)), chunk(b"cHRM", bytes(32)), chunk(b"cICP", bytes([77, 13, 0, 1]))):
        assert np.array_equal(read_with_remark(png(RGB, said), "taken as sRGB"), RGB)


def exif_with(space: int, index: str = "") -> Image.Exif:
    exif = Image.Exif()
    exif[0x8769] = {0xA001: space, **({0xA005: {1: index}} if index else {})}
    return exif


@pytest.mark.parametrize("exif", [exif_with(2), exif_with(65535, "R03")], ids=["2", "R03"])
def test_adobe_rgb_of_exif_is_converted(exif: Image.Exif) -> None:
    """Adobe RGB (219, 255, 145) is about the yellowish green that clips sRGB's green; grey stays grey."""
    image = Image.new("RGB", (16, 16), (200, 100, 100))
    found = read_image(saved(image, "JPEG", quality=100, exif=exif))[8, 8].tolist()
    assert np.abs(np.subtract(found, (230, 98, 98))).max() <= 4, found


def test_uncalibrated_colours_are_said() -> None:
    data = saved(Image.fromarray(RGB), "PNG", exif=exif_with(65535))
    assert np.array_equal(read_with_remark(data, "not what they are; taken as sRGB"), RGB)


# Previews and pages


def thumbnail_first(**tags: int) -> bytes:
    return tiff(RGB[::4, ::4].copy(), 8, **tags)


@pytest.mark.parametrize("tags", [{"t254": 1}, {"t50706": 0x401}, {"t262": 32803}, {"t255": 2}])
def test_raw_files_are_refused_not_shown_by_their_preview(tags: dict[str, int]) -> None:
    with pytest.raises(ImageError, match=r"raw file|Pillow"):
        read_image(thumbnail_first(**tags))


def test_a_larger_picture_in_a_subdirectory_is_seen() -> None:
    whole = tiff(RGB, 8)
    preview = thumbnail_first(t330=0)
    old = struct.pack("<HHII", 330, 4, 1, 0)
    data = preview.replace(old, old[:8] + struct.pack("<I", len(preview) + 8)) + whole
    with pytest.raises(ImageError, match="larger picture than the 14x10 preview"):
        read_image(data)


def tiff_pages(*pages: tuple[Image.Image, int]) -> bytes:
    """A TIFF of pages and their NewSubfileType."""
    buffer = io.BytesIO()
    with TiffImagePlugin.AppendingTiffWriter(buffer, True) as writer:
        for image, kind in pages:
            directory = TiffImagePlugin.ImageFileDirectory_v2()
            directory[254] = kind
            image.save(writer, "TIFF", tiffinfo=directory)
            writer.newFrame()
    return buffer.getvalue()


@pytest.mark.parametrize("first", [True, False])
def test_a_reduced_page_is_no_page(first: bool) -> None:
    whole, small = (Image.fromarray(RGB), 0), (Image.fromarray(RGB[::4, ::4].copy()), 1)
    assert np.array_equal(read_image(tiff_pages(*((small, whole) if first else (whole, small)))), RGB)


@pytest.mark.parametrize("file_format", ["TIFF", "GIF", "PNG", "WEBP"])
def test_a_page_can_be_chosen(file_format: str) -> None:
    frames = [Image.fromarray(np.roll(RGB, 8 * shift, axis=1) // 64 * 64) for shift in range(3)]
    lossless = {"lossless": True} if file_format == "WEBP" else {}
    data = saved(frames[0], file_format, save_all=True, append_images=frames[1:], **lossless)
    for page, frame in enumerate(frames, 1):
        assert near(read_image(data, page=page), np.asarray(frame), 1)
    with pytest.raises(ImageError, match="3 frames or pages"):
        read_image(data)
    for page in (0, 4, -1):
        with pytest.raises(ImageError, match=f"no page {page}; its pages are 1 to 3"):
            read_image(data, page=page)


# What a file is named, and what Pillow may start


@pytest.mark.parametrize("name", ["a.jpg", "a.eps", "a.png"])
def test_no_program_is_started(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[Any] = []
    monkeypatch.setattr("subprocess.Popen", lambda *args, **kwargs: started.append(args))
    monkeypatch.setattr("subprocess.check_call", lambda *args, **kwargs: started.append(args))
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n%%EOF\n"
    (tmp_path / name).write_bytes(eps)
    for source in (tmp_path / name, eps, io.BytesIO(eps)):
        with pytest.raises(ImageError, match="not a picture"):
            read_image(source)
    assert not started


# Damage


def jpeg(**options: Any) -> bytes:
    noise = np.random.default_rng(1).integers(0, 256, (10, 14, 3), dtype=np.uint8)
    return saved(Image.fromarray(noise).resize((200, 152)), "JPEG", quality=90, **options)


@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_without_its_end_is_read(progressive: bool) -> None:
    data = jpeg(progressive=progressive)
    assert np.array_equal(read_with_remark(data[:-2], "end marker is missing"), read_image(data))


@pytest.mark.parametrize("end", [b"", b"\xff\xd9", b"\xff\xd9 and a motion photo"])
@pytest.mark.parametrize("share", [0.5, 0.8, 0.97])
def test_a_jpeg_without_some_of_its_picture_is_refused(share: float, end: bytes) -> None:
    data = jpeg()
    with pytest.raises(ImageError, match=r"ends too early|truncated"):
        read_image(data[: int(share * len(data))] + end)


def test_flat_and_trailed_jpegs_are_not_taken_for_cut_ones() -> None:
    flat = saved(Image.new("RGB", (64, 64), (9, 99, 199)), "JPEG")
    for data in (flat, flat + b"MOTION" * 99, flat + flat, jpeg(restart_marker_blocks=4)):
        read_image(data)


def test_a_progressive_jpeg_is_cut_where_scans_are_missing() -> None:
    data = jpeg(progressive=True)
    scans = [place for place in range(len(data)) if data[place : place + 2] == b"\xff\xda"]
    assert len(scans) > 5
    for end in (*scans[1:], data.rindex(b"\xff\xc4", 0, scans[3])):
        with pytest.raises(ImageError, match="truncated"):
            read_image(data[:end])
        with pytest.warns(PictureWarning, match="its last scans are missing"):
            read_image(data[:end] + b"\xff\xd9")
        with pytest.raises(ImageError, match="its last scans are missing"):
            read_image(data[:end] + b"\xff\xd9", strict=True)
    with pytest.warns(PictureWarning, match="end marker is missing"):
        read_image(data[:-2])
    read_image(data, strict=True)


@pytest.mark.parametrize(
    "file_format", ["PNG", "GIF", "TIFF", "BMP", "WEBP", "PPM", "QOI", "JPEG2000", "AVIF"]
)
def test_a_cut_picture_is_refused(file_format: str) -> None:
    data = saved(Image.fromarray(RGB), file_format, **({"lossless": True} if file_format == "WEBP" else {}))
    for share in (0.6, 0.9):
        with pytest.raises(ImageError):
            read_image(data[: int(share * len(data))])


def test_damage_beside_a_png_is_passed_over() -> None:
    spoiled = bytearray(chunk(b"tEXt", b"Comment\0hello"))
    spoiled[-1] ^= 1
    date = bytearray(chunk(b"tIME", bytes(7)))
    date[-1] ^= 1
    huge = chunk(b"zTXt", b"parameters\0\0" + zlib.compress(b"a" * 3_000_000))
    long = chunk(b"iTXt", b"XML\0\1\0\0\0" + zlib.compress(b"a" * 3_000_000))
    for damage in (bytes(spoiled), bytes(date), huge, long):
        assert np.array_equal(read_with_remark(png(RGB, damage), "chunk is damaged or huge"), RGB)


def test_a_damaged_picture_chunk_is_refused() -> None:
    data = bytearray(png(RGB))
    data[data.index(b"IDAT") + 40] ^= 1
    with pytest.raises(ImageError):
        read_image(bytes(data))


def with_exif(exif: bytes) -> bytes:
    data = saved(Image.fromarray(RGB).transpose(Image.Transpose.ROTATE_90), "JPEG", quality=95)
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 8) + b"Exif\0\0" + exif + data[2:]


def directory(*entries: tuple[int, int, int, bytes], tail: bytes = b"") -> bytes:
    rows = b"".join(struct.pack("<HHI", *entry[:3]) + entry[3] for entry in entries)
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + rows + bytes(4) + tail


TURNED = (0x112, 3, 1, struct.pack("<HH", 6, 0))


@pytest.mark.parametrize(
    "exif",
    [
        directory(TURNED),
        directory(TURNED, (0x11A, 5, 1, struct.pack("<I", 38)), tail=bytes(8)),
        directory((0x10F, 3, 1, b"\5\0\0\0"), TURNED, (0x11A, 2, 4, b"abc\0"), (0x132, 4, 1, b"\7\0\0\0")),
        directory(TURNED, (0x10F, 2, 20, struct.pack("<I", 60000))),
        directory((0x112, 4, 1, struct.pack("<I", 6))),
        directory((0x112, 3, 2, struct.pack("<HH", 6, 6))),
    ],
    ids=["good", "zero over zero", "wrong types", "beyond the end", "long", "two"],
)
@pytest.mark.filterwarnings("ignore::onedc.errors.PictureWarning")
def test_orientation_is_read_from_odd_exif(exif: bytes) -> None:
    found = read_picture(with_exif(exif), keep=["exif"])
    assert near(found.rgb, RGB, 12)


def test_junk_for_exif_is_ignored() -> None:
    junk = np.random.default_rng(3).bytes(300)
    found = read_with_remark(with_exif(junk), "EXIF is damaged")
    assert found.shape == RGB.transpose(1, 0, 2).shape
    with pytest.warns(PictureWarning, match="picture: its EXIF is damaged"):
        assert read_picture(with_exif(junk), keep=["exif"]).side_data.exif is None


# Formats by plugin


@pytest.mark.parametrize(("module", "package", "name"), [
    ("pillow_heif", "pillow-heif", "HEIF"), ("pillow_jxl", "pillow-jxl-plugin", "JXL"),
])  # fmt: skip
def test_formats_of_plugins(module: str, package: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plugin = pytest.importorskip(module)
    if name == "HEIF":
        plugin.register_heif_opener()
    options = {"quality": 95} if name == "HEIF" else {"lossless": True}
    exif = Image.Exif()
    exif[274] = 6
    turned = Image.fromarray(RGB).transpose(Image.Transpose.ROTATE_90)
    data = saved(Image.fromarray(RGB), name, **options)
    assert near(read_image(data), RGB, 12)
    if name == "JXL":  # of HEIF, EXIF's orientation does not count
        assert near(read_image(saved(turned, name, exif=exif.tobytes(), **options)), RGB, 12)
    monkeypatch.setattr("onedc.image.formats.find_spec", lambda module: None)
    with pytest.raises(ImageError, match=f"pip install {package}$"):
        read_image(data)


# Pillow's images


def test_an_image_closed_before_use_is_named() -> None:
    image = Image.open(io.BytesIO(saved(Image.fromarray(RGB))))
    image.close()
    with pytest.raises(ImageError, match="closed before its pixels were read"):
        to_picture(image)
    with Image.open(io.BytesIO(saved(Image.fromarray(RGB)))) as image:
        image.load()
    assert np.array_equal(to_picture(image).rgb, RGB)
