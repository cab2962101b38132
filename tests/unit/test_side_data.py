"""What is kept beside the picture comes back, alpha exactly; hostile sections are refused."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageDraw, ImageFilter
from tests.conformance.fixture_model import FIXTURE, MODEL_ID
from tests.conformance.pictures import picture

import onedc.pillow
from onedc.cli.main import main
from onedc.codec import Codec
from onedc.container.info import info
from onedc.container.packing import SECTION_ALPHA, SECTION_EXIF, SECTION_ICC, unpack
from onedc.container.side_data import MAX_BYTES, SideData, compact_profile, from_sections, to_sections
from onedc.errors import ConfigError, FormatError, ImageError
from onedc.image import image_bytes, read_image, read_picture
from onedc.loading import load

WIDTH, HEIGHT = 90, 70
PICTURE = picture(WIDTH, HEIGHT)


def wide_profile() -> bytes:
    """An RGB profile with the primaries of Display P3, gamma 2.2, a description and a tag of no use."""
    xyz = {
        "rXYZ": (0.5151, 0.2412, -0.0011),
        "gXYZ": (0.2920, 0.6922, 0.0419),
        "bXYZ": (0.1571, 0.0666, 0.7841),
    }
    tags = {"desc": b"desc\0\0\0\0" + struct.pack(">I", 5) + b"Wide\0" + bytes(78)}
    tags |= {"wtpt": xyz_tag(0.9642, 1.0, 0.8249), "zzzz": b"text\0\0\0\0" + b"nothing to do with colour" * 9}
    tags |= {name: xyz_tag(*value) for name, value in xyz.items()}
    gamma = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(2.2 * 256)) + bytes(2)
    tags |= {"rTRC": gamma, "gTRC": gamma, "bTRC": gamma}
    table, body, start = b"", b"", 128 + 4 + 12 * len(tags)
    for name, value in tags.items():
        value += bytes(-len(value) % 4)
        table += name.encode() + struct.pack(">II", start + len(body), len(value))
        body += value
    head = struct.pack(">I4sI4s4s4s", start + len(body), b"test", 0x02400000, b"mntr", b"RGB ", b"XYZ ")
    head += struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + xyz_tag(0.9642, 1.0, 0.8249)[8:]
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body


def xyz_tag(*values: float) -> bytes:
    return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(value * 65536) for value in values))


@pytest.fixture(scope="module")
def codec() -> Codec:
    return load(FIXTURE, precision="fp32")


def soft_plane() -> Image.Image:
    plane = Image.new("L", (WIDTH, HEIGHT))
    ImageDraw.Draw(plane).ellipse((9, 5, 70, 60), fill=255)
    return plane.filter(ImageFilter.GaussianBlur(2))


def hard_plane() -> Image.Image:
    return soft_plane().point(lambda value: 255 * (value > 99))


@pytest.fixture(scope="module")
def rich() -> Image.Image:
    """A transparent picture in a wide profile, with EXIF."""
    image = Image.fromarray(PICTURE)
    image.putalpha(soft_plane())
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = "A camera", 1
    file = io.BytesIO()
    image.save(file, "PNG", icc_profile=wide_profile(), exif=exif)
    return Image.open(file)


@pytest.mark.parametrize("plane", [soft_plane(), hard_plane(), Image.new("L", (WIDTH, HEIGHT))])
def test_alpha_is_lossless_and_smaller_than_png(plane: Image.Image) -> None:
    body = to_sections(SideData(alpha=plane))[SECTION_ALPHA]
    back = from_sections({SECTION_ALPHA: body}, WIDTH, HEIGHT).alpha
    assert back is not None and (back.mode, back.tobytes()) == ("L", plane.tobytes())
    assert body[0] == (8 if set(plane.tobytes()) - {0, 255} else 1)
    assert len(body) < len(image_bytes(np.asarray(plane)))


def test_only_what_is_asked_for_is_kept(codec: Codec, rich: Image.Image) -> None:
    def sections(**options: object) -> set[int]:
        data = codec.encode(rich, **options)  # type: ignore[arg-type]
        return set(unpack(data, fingerprint=codec.model.fingerprint).sections)

    assert sections(background="white") == set()
    assert sections(background="white", keep=["icc"]) == {SECTION_ICC}
    assert sections(keep=["alpha", "exif"]) == {SECTION_ALPHA, SECTION_EXIF}
    assert sections(keep=["alpha", "icc", "exif"]) == {SECTION_ALPHA, SECTION_ICC, SECTION_EXIF}
    with pytest.raises(ImageError, match="--keep-alpha"):
        sections()
    with pytest.raises(ConfigError, match="can hold alpha, exif, icc"):
        sections(keep=["xmp"])
    opaque = codec.encode(Image.fromarray(PICTURE), keep=["alpha", "icc", "exif"])
    assert opaque == codec.encode(PICTURE)


def test_alpha_is_the_fourth_channel_of_any_output(codec: Codec, rich: Image.Image) -> None:
    data = codec.encode(rich, keep=["alpha"])
    plane = np.asarray(soft_plane())
    array, tensor = codec.decode(data, output="numpy"), codec.decode(data, output="torch")
    assert array.shape == (HEIGHT, WIDTH, 4) and np.array_equal(array[..., 3], plane)
    assert tensor.shape == (4, HEIGHT, WIDTH)
    assert np.abs((tensor[3].numpy() + 1) * 127.5 - plane).max() < 1e-3
    image = codec.decode(data)
    assert image.mode == "RGBA" and np.array_equal(np.asarray(image), array)
    assert len(codec.encode_to_size(rich, 1500, keep=["alpha"])) <= 1500


def test_places_that_nobody_sees_cost_nothing(codec: Codec) -> None:
    image = Image.fromarray(PICTURE)
    image.putalpha(Image.new("L", (WIDTH, HEIGHT)))
    flat = codec.encode(np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    clear = codec.encode(image, keep=["alpha"])
    alpha = to_sections(SideData(alpha=image.getchannel("A")))[SECTION_ALPHA]
    headers = [len(data) - len(unpack(data, fingerprint=None).payload) for data in (flat, clear)]
    assert len(clear) - headers[1] == len(flat) - headers[0]
    assert headers[1] == 10 + len(alpha) + 3


def test_a_kept_profile_is_compact_and_its_colours_come_back(codec: Codec, rich: Image.Image) -> None:
    profile = wide_profile()
    srgb = codec.encode(rich, background="white")
    data = codec.encode(rich, background="white", keep=["icc"])
    body = unpack(data, fingerprint=codec.model.fingerprint).sections[SECTION_ICC]
    assert len(body) < 230 < 0.5 * len(profile)
    image = codec.decode(data)
    compact = ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"]))
    assert ImageCms.getProfileDescription(compact).strip() == "Wide"
    assert np.array_equal(codec.decode(data, output="numpy"), codec.decode(srgb, output="numpy"))
    for suffix in (".png", ".webp", ".tif", ".jpg"):
        seen = read_image(image_bytes(image, suffix)).astype(int)
        assert np.abs(seen - codec.decode(srgb, output="numpy")).mean() < 2
    assert not np.array_equal(np.asarray(image), codec.decode(srgb, output="numpy"))


def test_compact_profiles_convert_as_the_whole_ones() -> None:
    image, target = Image.fromarray(PICTURE), ImageCms.createProfile("sRGB")
    for profile in (wide_profile(), ImageCms.ImageCmsProfile(target).tobytes()):
        compact = compact_profile(profile)
        assert len(compact) < len(profile)
        a, b = (
            np.asarray(ImageCms.profileToProfile(image, ImageCms.ImageCmsProfile(io.BytesIO(p)), target))
            for p in (profile, compact)
        )
        assert np.array_equal(a, b)
    for damaged in (b"", b"short", wide_profile()[:300]):
        assert compact_profile(damaged) == damaged


def test_profiles_of_other_kinds_of_pictures_are_not_kept() -> None:
    grey = Image.new("L", (8, 8))
    profile = bytearray(wide_profile())
    profile[16:20] = b"GRAY"
    assert read_picture(saved(grey), keep=["icc"]).side_data.icc is None
    assert read_picture(saved(grey), keep=["alpha", "icc", "exif"]).side_data == SideData()


def saved(image: Image.Image, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG", **options)
    return file.getvalue()


def test_exif_comes_back_upright_and_in_the_files(codec: Codec) -> None:
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = "A camera", 6
    turned = saved(Image.fromarray(PICTURE), exif=exif)
    data = codec.encode(turned, keep=["exif"])
    image = codec.decode(data)
    assert image.size == (HEIGHT, WIDTH)
    for suffix in (".png", ".webp", ".tif", ".jpg"):
        with Image.open(io.BytesIO(image_bytes(image, suffix))) as back:
            assert back.getexif()[0x010F] == "A camera"
            assert back.getexif().get(0x0112, 1) == 1


def test_decoded_pictures_say_that_details_are_generated(codec: Codec) -> None:
    data = codec.encode(PICTURE, quality=40)
    expected = f"details are generated by onedc model {MODEL_ID} at quality 40: plausible, not evidence"
    assert info(data).note == codec.decode(data).info["Description"] == expected
    with Image.open(io.BytesIO(image_bytes(codec.decode(data)))) as png:
        assert png.text == {"Description": expected}
    with Image.open(io.BytesIO(image_bytes(codec.decode(data), ".tif"))) as tif:
        assert tif.tag_v2[270] == expected
    with Image.open(io.BytesIO(image_bytes(codec.decode(data), ".jpg"))) as jpg:
        assert jpg.info["comment"].decode() == expected
    assert "at quality 0 (the semantic layer alone)" in codec.decode(data, preview=True).info["Description"]


def deflated(data: bytes) -> bytes:
    return zlib.compress(data, 9)[2:-4]


@pytest.mark.parametrize(
    "sections",
    [
        {SECTION_ALPHA: b""},
        {SECTION_ALPHA: b"\x08"},
        {SECTION_ALPHA: b"\x04" + deflated(bytes(71 * 90))},
        {SECTION_ALPHA: b"\x08" + deflated(bytes(91 * 69))},
        {SECTION_ALPHA: b"\x08" + deflated(bytes(91 * 70 + 1))},
        {SECTION_ALPHA: b"\x08" + deflated(b"\x05" * (91 * 70))},
        {SECTION_ALPHA: b"\x08" + deflated(bytes(91 * 70)) + b"\0"},
        {SECTION_ALPHA: b"\x08" + deflated(bytes(91 * 70))[:-2]},
        {SECTION_ICC: b"\xff\xff"},
        {SECTION_EXIF: deflated(bytes(MAX_BYTES + 1))},
        {SECTION_EXIF: deflated(bytes(9)) + b"more"},
    ],
)
def test_hostile_sections_are_refused(sections: dict[int, bytes]) -> None:
    with pytest.raises(FormatError, match=r"^the file's .* section is damaged"):
        from_sections(sections, WIDTH, HEIGHT)


def test_an_unusable_profile_is_refused(codec: Codec) -> None:
    side_data = SideData(icc=b"no profile")
    picture = read_picture(saved(Image.fromarray(PICTURE)))._replace(side_data=side_data)
    with pytest.raises(FormatError, match="ICC profile cannot be used"):
        codec.decode(codec.encode(picture))


def test_pillow_keeps_too(codec: Codec, rich: Image.Image) -> None:
    onedc.pillow.use(codec)
    try:
        file = io.BytesIO()
        rich.save(file, "1DC", keep=["alpha", "icc", "exif"])
        with Image.open(file) as image:
            assert image.mode == "RGBA" and "details are generated" in image.info["Description"]
            image.load()
            assert image.getexif()[0x010F] == "A camera" and "icc_profile" in image.info
            assert np.array_equal(np.asarray(image), np.asarray(codec.decode(file.getvalue())))
    finally:
        onedc.pillow.use(None)


def test_the_command_line_keeps_too(
    rich: Image.Image, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rich.save(tmp_path / "a.png", icc_profile=wide_profile(), exif=rich.getexif())
    model = ["--weights", str(FIXTURE)]
    path, coded, back = (str(tmp_path / name) for name in ("a.png", "a.1dc", "back.png"))
    assert main(["encode", path, "--keep-alpha", "--keep-icc", "--keep-exif", *model]) == 0
    assert main(["decode", coded, "-o", back, *model]) == 0
    assert main(["decode", coded, "-o", str(tmp_path / "a.jpg"), *model]) == 1
    assert ".jpg pictures cannot be transparent" in capsys.readouterr().err
    assert main(["info", coded]) == 0
    printed = capsys.readouterr().out
    assert (
        "sections alpha, ICC profile, EXIF" in printed and "details are generated by onedc model" in printed
    )
    with Image.open(back) as image:
        assert image.mode == "RGBA" and image.info["icc_profile"] and image.getexif()[0x010F] == "A camera"
        assert "details are generated" in image.info["Description"]
